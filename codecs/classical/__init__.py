"""Established codecs to measure against, a module each, imported at first use; a line adds one."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tilepress.codecs.classical.base import Anchor

__all__ = ["ANCHORS", "anchor"]

ANCHORS: dict[str, str] = {
    "zstd": "tilepress.codecs.classical.zstd",
    "jpegls": "tilepress.codecs.classical.jpegls",
    "jpeg2000": "tilepress.codecs.classical.jpeg2000",
    "jpegxl": "tilepress.codecs.classical.jpegxl",
    "webp": "tilepress.codecs.classical.webp",
    "lerc": "tilepress.codecs.classical.lerc",
    "htj2k": "tilepress.codecs.classical.htj2k",
}
"""Modules by the names that users say; the object ``ANCHOR`` of each describes its codec."""


def anchor(name: str) -> Anchor:
    """Return the established codec of a name."""
    found: Anchor = importlib.import_module(ANCHORS[name]).ANCHOR
    return found
