"""Tell which directories of an OME-TIFF file are planes of which image (OME data model 2016-06).

The first directory's description is OME-XML: every <Image> has a name, and its <TiffData> say in
which directories of the chain its planes lie, counted from 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tilepress.pipeline.geotiff.xml_text import read_xml

__all__ = ["OmeImage", "is_ome", "ome_images"]

MAX_CLAIMS = 65_536
"""Directories that are named, repeated ones counted again."""


@dataclass(frozen=True, slots=True)
class OmeImage:
    """One image of a file."""

    number: int
    """Among the images of the file, from 0."""
    name: str


def is_ome(description: bytes) -> bool:
    """Whether a description is OME-XML."""
    return b"<OME" in description[:4096] or b":OME" in description[:4096]


def ome_images(description: bytes, count: int) -> dict[int, OmeImage]:
    """Return the image of each of ``count`` directories that OME-XML names.

    What cannot be parsed names none from there on. Planes that lie in other files are left out.
    """
    if not is_ome(description):
        return {}
    reader = _Reader(count)
    read_xml(description, reader.start, reader.end, reader.text)
    return reader.found


class _Reader:
    """What has been read of a text up to an element."""

    def __init__(self, count: int) -> None:
        self.found: dict[int, OmeImage] = {}
        self._count, self._claims = count, 0
        self._file: str | None = None
        self._image = OmeImage(-1, "")
        self._pixels: Mapping[str, str] = {}
        self._channels = 0
        self._places: list[Mapping[str, str]] = []
        self._other: str | None = None

    def start(self, name: str, attributes: Mapping[str, str]) -> None:
        match name.rpartition(":")[2]:
            case "OME":
                self._file = attributes.get("UUID")
            case "Image":
                self._image = OmeImage(self._image.number + 1, attributes.get("Name", ""))
            case "Pixels":
                self._pixels, self._channels, self._places = attributes, 0, []
            case "Channel":
                self._channels += 1
            case "TiffData":
                self._places.append(attributes)
            case "UUID":
                self._other = ""

    def text(self, data: str) -> None:
        if self._other is not None:
            self._other += data[:100] if len(self._other) < 100 else ""

    def end(self, name: str) -> None:
        match name.rpartition(":")[2]:
            case "UUID":
                said = (self._other or "").strip()
                if self._places and self._file is not None and said != self._file:
                    self._places.pop()  # a plane of another file
                self._other = None
            case "Pixels":
                for place in self._places:
                    self._claim(place)
                self._places = []

    def _claim(self, place: Mapping[str, str]) -> None:
        sizes = [int(self._pixels.get(key, "1")) for key in ("SizeZ", "SizeT", "SizeC")]
        planes = sizes[0] * sizes[1] * (self._channels or sizes[2])
        first = int(place.get("IFD", "0"))
        planes = int(place.get("PlaneCount", "1" if "IFD" in place else str(planes)))
        for at in range(max(first, 0), min(first + planes, self._count)):
            self._claims += 1
            if self._claims > MAX_CLAIMS:
                raise ValueError("too many planes")
            self.found.setdefault(at, self._image)
