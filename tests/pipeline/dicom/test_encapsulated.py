"""The pixel element without its streams, and whole again."""

from __future__ import annotations

import struct

import pytest

from tilepress.errors import DamagedStore
from tilepress.pipeline.dicom.encapsulated import are_lossless, family_of, with_streams

HEAD = b"\xe0\x7f\x10\x00OB\0\0\xff\xff\xff\xff"
END = b"\xfe\xff\xdd\xe0\0\0\0\0"


def item(length: int, content: bytes = b"") -> bytes:
    return b"\xfe\xff\x00\xe0" + struct.pack("<I", length) + content


def joined(kept: bytes, *streams: bytes) -> bytes:
    return b"".join(with_streams(kept, 12, iter(streams)))


@pytest.mark.parametrize("table", [b"", bytes(8), item(3)])
@pytest.mark.parametrize("end", [END, b"", END + b"more"])
def test_fragments_are_filled_from_streams(table: bytes, end: bytes):
    kept = HEAD + item(len(table), table) + item(4) + item(2) + item(6) + end
    want = HEAD + item(len(table), table) + item(4, b"abcd") + item(2, b"ef") + item(6, b"ghijkl")
    assert joined(kept, b"abcdef", b"ghijkl") == want + end


@pytest.mark.parametrize("streams", [(b"abc",), (b"abcde",), (b"abcd", b"e"), ()])
def test_streams_that_are_longer_or_shorter_are_damage(streams: tuple[bytes, ...]):
    with pytest.raises(DamagedStore):
        joined(HEAD + item(0) + item(4) + END, *streams)


@pytest.mark.parametrize(
    ("endings", "samples", "family"),
    [
        ((50,), 2**24, "jpeg"),
        ((50, 51), 2**24, "jpeg"),
        ((91,), 2**24, "jpeg2000"),
        ((203,), 2**24, "jpeg2000"),
        ((90,), 2**20, "jpeg2000"),
        ((90,), 2**20 + 1, None),
        ((90, 91), 2**20 + 1, None),
        ((112,), 2**24, "jpegxl"),
        ((111, 112), 2**24, "jpegxl"),
        ((50, 91), 2**10, None),
        ((91, 70), 2**10, None),
        ((80,), 2**10, None),
    ],
)
def test_frames_are_kept_by_transfer_syntax(
    endings: tuple[int, ...], samples: int, family: str | None
):
    """Lossless ones are recoded untried where chunks of whole frames would be large."""
    found = family_of([f"1.2.840.10008.1.2.4.{ending}" for ending in endings], samples)
    assert found == family


@pytest.mark.parametrize(
    ("endings", "are"),
    [((90,), True), ((201, 202), True), ((91,), False), ((203,), False), ((90, 91), False)],
)
def test_transfer_syntaxes_declare_streams_lossless(endings: tuple[int, ...], are: bool):
    assert are_lossless({f"1.2.840.10008.1.2.4.{ending}" for ending in endings}) == are
