"""Group DICOM files into images by their headers, however many there are.

A series may be spread over folders, so that no image is whole before the last file was seen. What
is kept of a file until then is one row of a temporary database on disk: memory does not grow.
"""

from __future__ import annotations

import contextlib
import posixpath
import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from tilepress.errors import SourceError
from tilepress.pipeline.dicom.copies import left_out_copies
from tilepress.pipeline.dicom.geometry import are_parallel
from tilepress.pipeline.dicom.header import Instance, hashed
from tilepress.pipeline.dicom.slide_recipe import (
    Tile,
    dump_member,
    load_member,
    member_of,
    slide_of,
    without_pictures,
)
from tilepress.pipeline.image.pseudonyms import UNKEYED, Pseudonyms
from tilepress.pipeline.image.source import SIBLINGS, SourceSpec
from tilepress.pipeline.packed.unpack import look_up

__all__ = ["SeriesGroups", "group_key", "series_name"]

MAX_ORIENTATIONS = 64
"""A series of more is one image, unsorted: planes turned about an axis."""

_NUMBER_LIMIT = 2**62
"""Instance numbers beyond are those of damaged headers; SQLite's integers end at 2⁶³."""

_MIXED = "mixed"
"""Orientation of a file whose own frames differ in it."""

_TABLES = """
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
CREATE TABLE image (id INTEGER PRIMARY KEY, key TEXT UNIQUE, study TEXT, series TEXT, shape TEXT);
CREATE TABLE file (path TEXT, number INTEGER, identity BLOB, image INTEGER, size INTEGER,
                   version TEXT, name TEXT, named TEXT, turn TEXT, place TEXT, planes INTEGER,
                   start INTEGER, length INTEGER, packed INTEGER, part TEXT DEFAULT '');
CREATE TABLE remark (image INTEGER, part TEXT, text TEXT);
CREATE TABLE copies (name TEXT PRIMARY KEY, count INTEGER);
CREATE TABLE slide (path TEXT PRIMARY KEY, series TEXT, name TEXT, shows TEXT, member BLOB);
"""


def series_name(instance: Instance) -> str:
    """Return the name of a series: its modality, and the unkeyed hash of its UID.

    Of a file without SeriesInstanceUID the SOPInstanceUID is hashed, else the file's name.
    """
    series = instance.series or hashed(instance.identity or instance.path.rpartition("/")[2])
    return f"{instance.modality}-{series}"


def _pseudonym(name: str, pseudonyms: Pseudonyms) -> str:
    """Return the name of a series with what stands for its UID."""
    modality, dash, series = name.rpartition("-")
    return f"{modality}{dash}{pseudonyms.of(series)}"


def group_key(instance: Instance) -> tuple[Any, ...]:
    """Return what the instances of one image share.

    BitsStored may differ: samples have the same dtype whatever it is. Files without
    SeriesInstanceUID are one series where they lie in one folder and have one geometry.
    """
    pixels = instance.pixels
    shape = pixels.rows, pixels.columns, pixels.bands
    bits = pixels.allocated, pixels.signed, pixels.floating, pixels.photometric
    return _series_key(instance), *shape, *bits, *_tail(instance)


def _tail(instance: Instance) -> tuple[Any, ...]:
    alone = (instance.identity or hashed(instance.path)) if instance.alone else ""
    decoded = instance.element.encapsulated and instance.pixels.bands > 1
    return instance.element.keyword, alone, decoded


def _series_key(instance: Instance) -> tuple[Any, ...]:
    if instance.series or not _turn(instance):
        return (series_name(instance),)
    spacing = instance.planes[0].spacing
    folder = posixpath.dirname(instance.path)
    study = instance.attributes.get("study")
    return instance.modality, folder, study, instance.frame_of_reference, _turn(instance), spacing


def _named(instance: Instance) -> str:
    """Return what the ending of an image's name is a hash of, where its series has several."""
    return repr((series_name(instance), instance.pixels.group, *_tail(instance)))


def _turn(instance: Instance) -> str:
    """Return the orientation that all planes of a file have; "" where it says where none lies."""
    turns = [p.orientation for p in instance.planes if p.position is not None and p.orientation]
    if instance.alone or len(turns) < len(instance.planes):
        return ""
    if not are_parallel(turn for turn in turns if turn):
        return _MIXED
    return ",".join(f"{round(float(cosine), 4) + 0.0:.4f}" for cosine in turns[0] or ())


class _Image(NamedTuple):
    """One image of a series; ``part`` is "" where all files of its layout are one."""

    id: int
    part: str
    name: str
    named: str
    study: str | None
    series: str | None
    shape: str


class SeriesGroups:
    """DICOM files that were seen, to be given back as images."""

    def __init__(self) -> None:
        # "" is a database in a temporary file that SQLite removes, behind a cache of 2 MB
        self._rows = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._rows.create_function("series_of_many", 1, _series_of_many, deterministic=True)
        self._rows.executescript(_TABLES)
        self._rows.execute("BEGIN")

    def add(self, instance: Instance, version: str = "", packed_bytes: int | None = None) -> None:
        """Keep a file; ``version`` is that of an object in a bucket, or of a file in a packed one.

        Raises SourceError.
        """
        key, pixels, element = repr(group_key(instance)), instance.pixels, instance.element
        number = max(-_NUMBER_LIMIT, min(instance.number, _NUMBER_LIMIT))
        identity = bytes.fromhex(instance.identity) or None
        positions = repr([plane.position for plane in instance.planes[:1]])
        deflated = instance.container.deflated
        with _database():
            image_row = (key, instance.attributes.get("study"), instance.series)
            shape = "" if instance.alone else f"{pixels.rows}×{pixels.columns}"
            insert = "INSERT OR IGNORE INTO image (key, study, series, shape) VALUES (?, ?, ?, ?)"
            self._rows.execute(insert, (*image_row, shape))
            (image,) = self._rows.execute("SELECT id FROM image WHERE key = ?", (key,)).fetchone()
            row = (
                *(instance.path, number, identity, image, instance.container.file_size, version),
                *(series_name(instance), _named(instance), _turn(instance)),
                *(f"{number} {positions}", len(instance.planes)),
                *((0, 0) if deflated else (element.value_offset, element.value_length)),
                instance.container.file_size if packed_bytes is None else packed_bytes,
            )
            self._rows.execute(
                """INSERT INTO file (path, number, identity, image, size, version, name, named,
                   turn, place, planes, start, length, packed)
                   VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?)""",
                row,
            )
            if instance.series and (instance.tiling is not None or instance.slide_label):
                member = b"" if instance.tiling is None else dump_member(member_of(instance))
                rest = instance.slide_label, member
                self._rows.execute(
                    "INSERT OR IGNORE INTO slide VALUES (?, ?, ?, ?, ?)",
                    (instance.path, instance.series, series_name(instance), *rest),
                )

    def images(
        self, pseudonyms: Pseudonyms = UNKEYED
    ) -> Iterator[SourceSpec | tuple[str, SourceError]]:
        """Yield every image, in order of the first file's path, and (path, error) of the rest.

        Copies of one instance are left out with a remark, those with other headers, too. Files
        that claim to be one instance and have other pixels are planes of their own, or images of
        their own where they claim one place. Planes of other orientations are images of their own.
        Instances of a series that are the levels of a slide are one image, and come last.
        """
        held: dict[str, list[SourceSpec]] = {}
        with _database():
            for found in self._images(pseudonyms):
                series = self._slide_series(found) if isinstance(found, SourceSpec) else None
                if series is None or not isinstance(found, SourceSpec):
                    yield found
                else:
                    held.setdefault(series, []).append(found)
            for former in held.values():
                yield from self._slides(former, pseudonyms)

    def close(self) -> None:
        self._rows.close()

    def _images(self, pseudonyms: Pseudonyms) -> Iterator[SourceSpec | tuple[str, SourceError]]:
        yield from left_out_copies(self._rows)
        self._split_by_orientation()
        self._rows.execute("CREATE INDEX by_image ON file (image, part, number, path)")
        self._rows.executescript(_NAMES)
        found = self._rows.execute(
            """SELECT id, part, made.name, named, study, series, shape,
                      (SELECT count(*) FROM made AS other WHERE other.name = made.name)
               FROM made JOIN image USING (id) ORDER BY first"""
        )
        for *fields, images_of_name in found:
            image = _Image(*fields)
            options: dict[str, Any] = {"name": _store_name(image, images_of_name, pseudonyms)}
            if siblings := self._siblings(image, images_of_name, pseudonyms):
                options[SIBLINGS] = siblings
            yield self._spec(image, options | pseudonyms.options(image.study, image.series))

    def _spec(self, image: _Image, named: dict[str, Any]) -> SourceSpec:
        at = image.id, image.part
        query = """SELECT path, size, version, packed FROM file WHERE image = ? AND part = ?
                   ORDER BY number, path"""
        files = self._rows.execute(query, at).fetchall()
        query = """SELECT sum(count) FROM copies
                   WHERE name IN (SELECT name FROM file WHERE image = ? AND part = ?)"""
        (copies,) = self._rows.execute(query, at).fetchone()
        remarks = [f"{copies} exact copies of instances were left out"] if copies else []
        query = "SELECT text, count(*) FROM remark WHERE image = ? AND part = ? GROUP BY text"
        remarks += [text.format(count) for text, count in self._rows.execute(query, at)]
        if len(files) > 1 and not image.series:
            remarks.append(
                f"{len(files)} files without SeriesInstanceUID, of one folder and geometry, are "
                "taken for one series"
            )
        options: dict[str, Any] = {**named, "remarks": remarks}
        if any(version for _, _, version, _ in files):
            options["objects"] = [
                [version or look_up(path).version, size] for path, size, version, _ in files
            ]
        return SourceSpec(
            kind="dicom",
            paths=tuple(path for path, _, _, _ in files),
            options=options,
            source_bytes=sum(packed for _, _, _, packed in files),
        )

    def _slide_series(self, spec: SourceSpec) -> str | None:
        """Return the series of an image that shows a slide or its label; None for any other."""
        row = self._rows.execute("SELECT series FROM slide WHERE path = ?", spec.paths[:1])
        return next((series for (series,) in row), None)

    def _slides(self, former: Sequence[SourceSpec], pseudonyms: Pseudonyms) -> Iterator[SourceSpec]:
        """Yield the slide that these images of a series are, or the images where they are none.

        These are without labels then, too.
        """
        query = "SELECT name, shows, member FROM slide WHERE path = ?"
        tiles: list[Tile] = []
        name = ""
        paths = [path for spec in former for path in spec.paths]
        for path in paths:
            row = self._rows.execute(query, (path,)).fetchone()
            if row is not None:
                name, shows, data = row
                tiles.append(Tile(path, shows, load_member(data) if data else None))
        slide: tuple[SourceSpec, ...] | str = ""
        if len(tiles) == len(paths):
            slide = slide_of(former, tiles, _pseudonym(name, pseudonyms))
        if isinstance(slide, str):
            yield from without_pictures(former, tiles, slide)
        else:
            yield from slide

    def _siblings(self, image: _Image, count: int, pseudonyms: Pseudonyms) -> list[str]:
        """Return names of other images of the series whose planes have the same size."""
        if count == 1 or not image.shape:
            return []
        query = """SELECT id, part, made.name, named, study, series, shape
                   FROM made JOIN image USING (id)
                   WHERE made.name = ? AND shape = ? AND NOT (id = ? AND part = ?) ORDER BY first"""
        rows = self._rows.execute(query, (image.name, image.shape, image.id, image.part))
        return [_store_name(_Image(*row), count, pseudonyms) for row in rows.fetchmany(5)]

    def _split_by_orientation(self) -> None:
        """Make images of planes that are parallel, where a layout has several of one orientation.

        Planes of which each has an orientation of its own stay one image.
        """
        query = """SELECT image, part, turn, sum(planes) FROM file WHERE image IN
                   (SELECT image FROM file GROUP BY image, part HAVING count(DISTINCT turn) > 1)
                   GROUP BY image, part, turn ORDER BY image, part, sum(planes) DESC, turn"""
        turns: dict[tuple[int, str], dict[str, int]] = {}
        for image, part, turn, planes in self._rows.execute(query):
            turns.setdefault((image, part), {})[turn] = planes
        for (image, part), found in turns.items():
            same = _same_turns(list(found))
            sizes: dict[str, int] = {}
            for turn, first in same.items():
                sizes[first] = sizes.get(first, 0) + found[turn]
            if not 1 < len(sizes) <= MAX_ORIENTATIONS or max(sizes.values()) == 1:
                continue
            rows = [(f"{part} {first}", image, part, turn) for turn, first in same.items()]
            update = "UPDATE file SET part = ? WHERE image = ? AND part = ? AND turn = ?"
            self._rows.executemany(update, rows)
            largest = f"{part} {max(sizes, key=lambda turn: sizes[turn])}"
            update = "UPDATE remark SET part = ? WHERE image = ? AND part = ?"
            self._rows.execute(update, (largest, image, part))


_NAMES = """
CREATE TABLE made AS
SELECT image AS id, part, min(path) AS first, named, name
FROM file GROUP BY image, part;
UPDATE made SET name = (SELECT series_of_many(min(name)) FROM file WHERE image = id)
WHERE (SELECT series FROM image WHERE image.id = made.id) = ''
  AND (SELECT count(*) FROM file WHERE image = made.id) > 1;
CREATE INDEX by_name ON made (name);
"""
"""SQLite takes the other columns of the row that has the least path."""


def _same_turns(turns: list[str]) -> dict[str, str]:
    """Return for every orientation the first one of which it differs by rounding only."""
    firsts: list[tuple[str, tuple[float, ...]]] = []
    same: dict[str, str] = {}
    for turn in turns:
        cosines = tuple(map(float, turn.split(","))) if "," in turn else ()
        for text, other in firsts:
            if text == turn or (cosines and other and are_parallel((cosines, other))):
                same[turn] = text
                break
        else:
            same[turn] = turn
            firsts.append((turn, cosines))
            if len(firsts) > MAX_ORIENTATIONS:  # nothing is made of so many
                return {turn: turn for turn in turns}
    return same


def _store_name(image: _Image, images_of_name: int, pseudonyms: Pseudonyms) -> str:
    key = image.named + image.part
    split = f"-{pseudonyms.of(hashed(key))[:6]}" if images_of_name > 1 else ""
    return _pseudonym(image.name, pseudonyms) + split


def _series_of_many(name: str) -> str:
    """Return the name of a series without UID, from the first one of its files' names."""
    modality, dash, series = name.rpartition("-")
    return f"{modality}{dash}{hashed(f'series of {series}')}"


@contextlib.contextmanager
def _database() -> Iterator[None]:
    """Translate what SQLite raises, which is that the disk is full."""
    try:
        yield
    except sqlite3.Error as exc:
        text = f"grouping DICOM files: {exc}, in the folder for temporary files (TMPDIR)"
        raise SourceError(text) from exc
