"""Established codecs, a module each, imported at first use; a line adds one."""

from __future__ import annotations

import functools
import importlib
from typing import TYPE_CHECKING

from tilepress.errors import UnsupportedFormat

if TYPE_CHECKING:
    from tilepress.codecs.classical.base import Anchor
    from tilepress.codecs.classical.stream import Stream

__all__ = ["ANCHORS", "FALLBACK", "STREAMS", "anchor", "numbered_stream", "stream_of"]

ANCHORS: dict[str, str] = {
    "zstd": "tilepress.codecs.classical.zstd",
    "jpegls": "tilepress.codecs.classical.jpegls",
    "jpeg2000": "tilepress.codecs.classical.jpeg2000",
    "jpegxl": "tilepress.codecs.classical.jpegxl",
    "webp": "tilepress.codecs.classical.webp",
    "lerc": "tilepress.codecs.classical.lerc",
    "htj2k": "tilepress.codecs.classical.htj2k",
}
"""What lossless sizes and speeds are measured against: modules by the names that users say; the
object ``ANCHOR`` of each describes its codec."""

STREAMS: dict[str, tuple[int, str]] = {
    "jpeg2000": (1, "tilepress.codecs.classical.jpeg2000"),
    "jpegxl": (2, "tilepress.codecs.classical.jpegxl"),
    "webp": (3, "tilepress.codecs.classical.webp"),
    "htj2k": (4, "tilepress.codecs.classical.htj2k"),
    "jpegls": (5, "tilepress.codecs.classical.jpegls"),
    "lerc": (6, "tilepress.codecs.classical.lerc"),
    "avif": (7, "tilepress.codecs.classical.avif"),
    "zstd": (8, "tilepress.codecs.classical.zstd"),
}
"""What tiles may be coded by: numbers that payloads have (FORMAT.md §14; append only), and modules,
whose object ``STREAM`` codes."""

FALLBACK = "zstd"
"""What codes the planes that another one refuses: it takes all."""


def anchor(name: str) -> Anchor:
    """Return the established codec of a name."""
    found: Anchor = importlib.import_module(ANCHORS[name]).ANCHOR
    return found


@functools.cache
def stream_of(name: str) -> Stream:
    """Return how tiles are coded by an established codec."""
    found: Stream = importlib.import_module(STREAMS[name][1]).STREAM
    return found


def numbered_stream(number: int) -> Stream:
    """Return the codec that payloads call so; raises UnsupportedFormat where there is none."""
    for name, (known, _) in STREAMS.items():
        if known == number:
            return stream_of(name)
    raise UnsupportedFormat(f"decoding a payload: its stream is of a codec {number} unknown")
