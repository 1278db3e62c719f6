"""Keep what a catalogue knows of every store: one line each, sorted, in segments.

    catalogue/index.json                    how many segments there are, and in which folder
    catalogue/index/<generation>/00000.json   a list with one store per line

A generation is written whole before ``index.json`` names it, so that readers see the old or the new
index. What cannot be read of it counts as not known: the stores are then opened.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from tilepress.pipeline.catalogue.listed import ListedStore
from tilepress.pipeline.storage.path import StoragePath

__all__ = ["FOLDER", "RASTER", "SEGMENT", "SERIES", "Entry", "Index", "merged", "order"]

SEGMENT = 2000
"""Lines of a segment: about a megabyte in memory."""

INDEX_VERSION = 1

HEAD = "index.json"
FOLDER = "index"

RASTER: Literal["raster"] = "raster"
"""A store that has a STAC item."""

SERIES: Literal["dicom"] = "dicom"
"""A store that the index of DICOM studies lists."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What the catalogue knows of one sealed store."""

    summary: ListedStore
    tag: str
    """Mark of the root document when it was read: see ``StoragePath.tag``."""
    seal: str
    """Digest that seals the store: it survives a copy of the archive, the mark does not."""
    kind: Literal["raster", "dicom"]
    """RASTER or SERIES."""
    codec: str
    bbox: tuple[float, float, float, float] | None = None
    """In WGS 84, of a raster with a place."""
    span: tuple[str, str] | None = None
    """When a raster was taken, first and last moment, where that is known."""
    thumbnail: bool | None = None
    """Whether a raster has one; None: nobody has tried to draw one."""
    study: str | None = None
    """Hash of a DICOM series' study."""
    patient: str | None = None
    """Keyed hash of a DICOM series' PatientID; "": it has none, None: nobody looked with a key."""
    series: Mapping[str, Any] | None = None
    """What the DICOM index says of it."""

    @property
    def key(self) -> str:
        return self.summary.path

    def dump(self) -> str:
        """Return the entry as one line."""
        fields = {
            name: value
            for name in (
                "tag",
                "seal",
                "kind",
                "codec",
                "bbox",
                "span",
                "thumbnail",
                "study",
                "patient",
                "series",
            )
            if (value := getattr(self, name)) is not None
        }
        fields["summary"] = self.summary.to_json()
        return json.dumps(fields, separators=(",", ":"))

    @classmethod
    def load(cls, line: str) -> Entry:
        """Return the entry of a line."""
        return cls.of(json.loads(line))

    @classmethod
    def of(cls, fields: dict[str, Any]) -> Entry:
        """Return the entry of a parsed line; KeyError or TypeError where it is none."""
        summary = ListedStore.from_json(fields.pop("summary"))
        for name in ("bbox", "span"):
            if name in fields:
                fields[name] = tuple(fields[name])
        return cls(summary=summary, **fields)


class Index:
    """The index in the catalogue's folder, which need not exist."""

    def __init__(self, catalogue: StoragePath) -> None:
        self._catalogue = catalogue

    @property
    def exists(self) -> bool:
        return self._head() is not None

    @property
    def lies_there(self) -> bool:
        """Whether there is an object of its name, whatever it holds."""
        return (self._catalogue / HEAD).exists()

    @property
    def name(self) -> str | None:
        """The name that the collection was given; None where there is no index."""
        head = self._head()
        return None if head is None else head.name

    @property
    def generation(self) -> str | None:
        """The folder of the segments that are valid; None where there is no index."""
        head = self._head()
        return None if head is None else head.generation

    def entries(self) -> Iterator[Entry]:
        """Yield the entries in order; stops where a segment is missing or damaged."""
        head = self._head()
        if head is None:
            return
        for number in range(head.segments):
            try:
                listed = json.loads(self._segment(head.generation, number).read())
                entries = [Entry.of(fields) for fields in listed]
            except (OSError, ValueError, KeyError, TypeError, AttributeError):
                return
            yield from entries

    def write(self, lines: Iterator[str], generation: str, name: str) -> None:
        """Replace the index by ``lines``, which are sorted."""
        segments, block = 0, list[str]()
        for line in lines:
            block.append(line)
            if len(block) == SEGMENT:
                self._write_segment(generation, segments, block)
                segments, block = segments + 1, []
        if block:
            self._write_segment(generation, segments, block)
            segments += 1
        head = _Head(generation, segments, name)
        fields = {"version": INDEX_VERSION} | asdict(head)
        (self._catalogue / HEAD).write(json.dumps(fields).encode())

    def _write_segment(self, generation: str, number: int, lines: list[str]) -> None:
        data = "[\n" + ",\n".join(lines) + "\n]\n"
        self._segment(generation, number).write(data.encode())

    def _segment(self, generation: str, number: int) -> StoragePath:
        return self._catalogue / f"{FOLDER}/{generation}/{number:05d}.json"

    def _head(self) -> _Head | None:
        try:
            fields = json.loads((self._catalogue / HEAD).read())
            if fields["version"] != INDEX_VERSION:
                return None
            return _Head(str(fields["generation"]), int(fields["segments"]), str(fields["name"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None


@dataclass(frozen=True, slots=True)
class _Head:
    """What ``index.json`` says."""

    generation: str
    segments: int
    name: str


def merged(
    stores: Iterator[str], entries: Iterator[Entry]
) -> Iterator[tuple[str, Entry | None, bool]]:
    """Yield (key, what the index knows, whether the archive has it) of every store of either."""
    key, entry = next(stores, None), next(entries, None)
    while key is not None or entry is not None:
        if entry is None or (key is not None and order(key) < order(entry.key)):
            assert key is not None
            yield key, None, True
            key = next(stores, None)
        elif key is None or order(entry.key) < order(key):
            yield entry.key, entry, False
            entry = next(entries, None)
        else:
            yield key, entry, True
            key, entry = next(stores, None), next(entries, None)


def order(key: str) -> list[str]:
    """Return what stores are sorted by: the parts of their keys."""
    return key.split("/")
