"""Tell which directories of scanners' TIFF files are pictures beside the slide.

Leica's files (SCN) say in the XML of their first directory which directories an image has. The one
whose view is the whole glass slide is the macro image, as OpenSlide (4.0) has it, and shows the
label; labels may be supplemental images. Ventana's (BIF) say in words what a directory shows, and
the label comes first.
"""

from __future__ import annotations

from collections.abc import Mapping

from tilepress.pipeline.geotiff.xml_text import read_xml

__all__ = ["is_scn", "is_ventana", "pictures_of_scn"]

MAX_NAMED = 65_536
"""Directories of one text."""


def is_scn(description: bytes) -> bool:
    """Whether the description of a file's first directory is that of Leica's slides."""
    return b"http://www.leica-microsystems.com/scn/" in description[:4096]


def is_ventana(xmp: bytes) -> bool:
    """Whether the XMP of a directory is what Ventana's scanners write there."""
    return b"iScan" in xmp


def pictures_of_scn(description: bytes) -> dict[int, str]:
    """Return what directories show beside the slide, by their numbers in the chain, from 0.

    Of a text that is cut off, what stands before the cut is told.
    """
    if not is_scn(description):
        return {}
    reader = _Reader()
    read_xml(description, reader.start, reader.end)
    return reader.found


class _Reader:
    """What has been read of a text up to an element."""

    def __init__(self) -> None:
        self.found: dict[int, str] = {}
        self._whole: tuple[str | None, ...] = ()
        self._is_macro = False
        self._own: list[int] = []
        self._named = 0

    def start(self, name: str, attributes: Mapping[str, str]) -> None:
        match name.rpartition(":")[2]:
            case "collection":
                self._whole = _size(attributes)
            case "image":
                self._own, self._is_macro = [], False
            case "dimension":
                self._own.append(self._number(attributes))
            case "view":
                place = attributes.get("offsetX"), attributes.get("offsetY")
                self._is_macro = place == ("0", "0") and _size(attributes) == self._whole
            case "supplementalImage":
                shows = attributes.get("type", "").lower()
                known = shows in ("label", "macro", "overview", "thumbnail")
                self.found[self._number(attributes)] = shows if known else "label"

    def end(self, name: str) -> None:
        if name.rpartition(":")[2] == "image" and self._is_macro:
            self.found |= dict.fromkeys(self._own, "macro")

    def _number(self, attributes: Mapping[str, str]) -> int:
        self._named += 1
        if self._named > MAX_NAMED:
            raise ValueError("too many directories")
        return int(attributes.get("ifd", ""))


def _size(attributes: Mapping[str, str]) -> tuple[str | None, ...]:
    return attributes.get("sizeX"), attributes.get("sizeY")
