"""Keep what encapsulated pixel data are beside their streams, and put both together again.

PS3.5 A.4: the element, an offset table, and streams in one fragment or several. All of it but the
streams is kept as it lies; lengths of fragments are among it, so that nothing needs to be told of
them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tilepress.errors import DamagedStore
from tilepress.pipeline.dicom.bytes import fragments, open_bytes
from tilepress.pipeline.dicom.frame_reader import FrameReader
from tilepress.pipeline.dicom.header import Instance

__all__ = ["are_lossless", "encapsulation", "family_of", "with_streams"]

_JPEG, _JPEG_2000, _JPEG_XL = "jpeg", "jpeg2000", "jpegxl"
FAMILIES = {
    "1.2.840.10008.1.2.4.50": _JPEG,
    "1.2.840.10008.1.2.4.51": _JPEG,
    "1.2.840.10008.1.2.4.90": _JPEG_2000,
    "1.2.840.10008.1.2.4.91": _JPEG_2000,
    "1.2.840.10008.1.2.4.201": _JPEG_2000,
    "1.2.840.10008.1.2.4.202": _JPEG_2000,
    "1.2.840.10008.1.2.4.203": _JPEG_2000,
    "1.2.840.10008.1.2.4.110": _JPEG_XL,
    "1.2.840.10008.1.2.4.111": _JPEG_XL,
    "1.2.840.10008.1.2.4.112": _JPEG_XL,
}
"""Families of streams by transfer syntax: JPEG Baseline (8 bits) and Extended (12 bits), JPEG 2000
and its High-Throughput kind, JPEG XL."""

_LOSSLESS = frozenset(f"1.2.840.10008.1.2.4.{last}" for last in (90, 201, 202, 110))
"""Syntaxes that lose nothing: samples of theirs mostly take fewer bytes when they are recoded."""

_MAX_LOSSLESS_SAMPLES = 2**20
"""Rows · columns of such a frame at most: chunks of whole frames would be larger than others, in
vain most of the time."""


def family_of(syntaxes: Iterable[str], samples: int) -> str | None:
    """Return the family of streams that frames of these syntaxes are kept as; None for others.

    samples : rows · columns of a frame.
    """
    syntaxes = frozenset(syntaxes)
    families = {FAMILIES.get(one) for one in syntaxes}
    if len(families) > 1 or (syntaxes & _LOSSLESS and samples > _MAX_LOSSLESS_SAMPLES):
        return None
    return families.pop()


def are_lossless(syntaxes: Iterable[str]) -> bool:
    """Whether all of these syntaxes declare that streams lose nothing."""
    return _LOSSLESS.issuperset(syntaxes)


_ITEM = b"\xfe\xff\x00\xe0"


def encapsulation(instance: Instance, reader: FrameReader) -> bytes:
    """Return the bytes of the pixel element without those of its streams.

    Empty where the frames' streams are not all that its fragments hold, in their order: then the
    element cannot be put together of them.
    """
    element = instance.element
    if not element.encapsulated or instance.container.syntax not in FAMILIES:
        return b""
    source = open_bytes(instance.container)
    try:
        _, *items = fragments(source, element.value_offset, instance.container.path)
        frames = range(len(instance.planes))
        used = [part for frame in frames for part in reader.fragments_of(frame)]
        if used != items:
            return b""
        end = element.value_offset + element.value_length
        starts = [element.element_offset, *(part.offset + part.length for part in items)]
        stops = [*(part.offset for part in items), end]
        return b"".join(source.read(a, b - a) for a, b in zip(starts, stops, strict=True))
    finally:
        source.close()


def with_streams(kept: bytes, value_at: int, streams: Iterator[bytes]) -> Iterator[bytes]:
    """Yield the bytes of a pixel element again.

    kept : what ``encapsulation`` gave; value_at : where its first item begins there. Raises
    DamagedStore where the streams are more or less than its fragments.
    """
    first = int.from_bytes(kept[value_at + 4 : value_at + 8], "little")
    at = value_at + 8 + first
    yield kept[:at]
    rest = b""
    while kept[at : at + 4] == _ITEM:
        length = int.from_bytes(kept[at + 4 : at + 8], "little")
        yield kept[at : at + 8]
        at += 8
        while len(rest) < length:
            more = next(streams, None)
            if more is None:
                raise DamagedStore("exporting DICOM: its fragments are longer than its streams")
            rest += more
        yield rest[:length]
        rest = rest[length:]
    if rest or next(streams, None) is not None:
        raise DamagedStore("exporting DICOM: its streams are longer than its fragments")
    yield kept[at:]
