"""What a codestream claims is known before a decoder allocates anything for it."""

from __future__ import annotations

import struct

import imagecodecs
import pytest

from tilepress.codecs.passed.head import Refused
from tilepress.codecs.passed.jpeg2000 import read_head

from .codestreams import codestream, segment
from .pictures import picture, stream


@pytest.mark.parametrize("kind", ["jpeg2000", "htj2k"])
@pytest.mark.parametrize(("bands", "dtype"), [(1, "uint8"), (3, "uint8"), (1, "uint16")])
def test_what_encoders_write(kind: str, bands: int, dtype: str):
    head = read_head(stream(kind, picture(40, 55, bands, dtype)))
    assert (head.rows, head.columns, head.components) == (40, 55, (bands,))
    assert (head.bits, head.signed, head.exact) == (8 if dtype == "uint8" else 16, False, True)
    assert 40 * 55 * bands * 8 < head.memory < 2**20


def test_a_file_and_bytes_that_fill_up_change_nothing():
    bare = bytes(imagecodecs.jpeg2k_encode(picture(40, 55), reversible=True, codecformat="j2k"))
    boxed = bytes(imagecodecs.jpeg2k_encode(picture(40, 55), reversible=True, codecformat="jp2"))
    assert boxed[4:8] == b"jP  "
    assert read_head(bare) == read_head(boxed) == read_head(bare + b"\0")


def test_the_irreversible_transform_is_not_exact():
    assert not read_head(stream("jpeg2000", picture(40, 55), lossy=True)).exact
    assert not read_head(codestream(40, 55, transform=0)).exact
    of_one_tile = segment(0xFF53, bytes([0, 0, 5, 4, 4, 0, 0]))
    assert read_head(codestream(40, 55)).exact
    assert not read_head(codestream(40, 55, first=of_one_tile)).exact


@pytest.mark.parametrize(
    ("claim", "least"),
    [
        ({"rows": 2**13, "columns": 2**13}, 2**29),
        ({"rows": 2**20, "columns": 2**20}, 2**40),
        ({"rows": 2048, "columns": 2048, "block": (2, 2)}, 120 * 2**20),
        ({"rows": 512, "columns": 512, "precinct": 0x11}, 142 * 2**20),
        ({"rows": 512, "columns": 512, "levels": 1, "layers": 2000, "precinct": 0x55}, 2**22),
        ({"rows": 1024, "columns": 1024, "components": 16}, 2**28),
        ({"rows": 512, "columns": 512, "tile": (32, 32), "tiles": 256}, 2**22),
    ],
)
def test_memory_is_foretold(claim: dict[str, int], least: int):
    """``least``: what OpenJPEG 2.5.4 was seen to take, or what its samples do."""
    assert read_head(codestream(**claim)).memory >= least  # type: ignore[arg-type]


GOOD = codestream(40, 55)


def changed(at: int, value: bytes) -> bytes:
    return GOOD[:at] + value + GOOD[at + len(value) :]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        GOOD[:1],
        GOOD[:60],
        GOOD[:-3],
        b"\xff\x4f\xff\x52" + GOOD[4:],
        changed(8, struct.pack(">I", 0)),
        changed(24, struct.pack(">I", 0)),
        changed(24, struct.pack(">I", 1)) + b"\0",
        codestream(40, 55, components=17),
        codestream(40, 55, depth=16),
        codestream(4096, 4096, tile=(16, 16), tiles=1),
        codestream(64, 64, tile=(32, 32), tiles=3),
        codestream(64, 64, tile=(32, 32), tiles=5),
        codestream(40, 55, block=(7, 7)),
        codestream(40, 55, levels=33),
        codestream(40, 55, layers=0, first=segment(0xFF5F, bytes(9))),
        codestream(512, 512, layers=65535, precinct=0x55),
        GOOD.replace(b"\x07\1\1", b"\x07\2\2"),
        GOOD.replace(b"\xff\x5c", b"\xff\x60"),
        GOOD.replace(b"\xff\x93", b"\xff\x60"),
        b"\0\0\0\x0cjP  \r\n\x87\n" + b"\0\0\0\x10jp2h" + b"\0\0\0\x08pclr",
        b"\0\0\0\x0cjP  \r\n\x87\n" + b"\0\0\0\x07jp2c",
        b"\0\0\0\x0cjP  \r\n\x87\n",
    ],
)
def test_what_makes_no_sense_is_refused(data: bytes):
    with pytest.raises(Refused, match="keeping a JPEG 2000 stream: "):
        read_head(data)
