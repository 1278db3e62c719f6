"""Give a slide's TIFF file back: its levels as they lay, with the same entries, as one file.

Tiles that are compressed streams come back byte by byte where the store keeps the streams of a
level. Other levels are written with lossless compression, from samples; what lies beside a slide in
its file (label, macro, thumbnail) was left out. As OME-TIFF the levels hang below the first page of
each band. An NDPI file comes back as one where all of its streams are kept (ndpi_export.py).
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePath
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from tilepress.errors import DamagedStore, FileInTheWay, StoreError, UsageError
from tilepress.pipeline.geotiff.header import (
    COMPRESSION,
    JPEG_TABLES,
    NEW_SUBFILE_TYPE,
    PHOTOMETRIC,
    PREDICTOR,
    REDUCED,
    SUBSAMPLING,
    Entry,
)
from tilepress.pipeline.geotiff.ndpi_export import NDPI_SUFFIX, is_whole_ndpi, write_ndpi
from tilepress.pipeline.geotiff.slide_ome import ome_description
from tilepress.pipeline.geotiff.slide_record import PageLayout, StoredSlide, parse_slide
from tilepress.pipeline.geotiff.slide_told import taken_at
from tilepress.pipeline.geotiff.stream_blocks import FAMILIES
from tilepress.pipeline.geotiff.tiff_writer import PageBlocks, TiffWriter
from tilepress.pipeline.image.grid import Box
from tilepress.pipeline.image.names import path_to_write
from tilepress.pipeline.image.slide import LevelToWrite, SlideToWrite, places_of_streams
from tilepress.pipeline.image.source import ExportReader, StoredLevels
from tilepress.pipeline.image.streams import KeptStreams
from tilepress.pipeline.storage.atomic import make_directory, sync_directory
from tilepress.pipeline.storage.unfinished import unfinished

__all__ = ["ICC_PROFILE", "export_ome_tiff", "export_slide", "slide_to_write", "write_ome"]

SUFFIXES = (".tif", ".tiff", ".svs", ".btf", ".tf8", ".ndpi")

WINDOW_BYTES = 64 * 2**20
"""Samples that are read at a time."""

CLASSIC_BYTES = 3 * 2**30
"""What a file of offsets of 32 bits is expected to hold: one that may grow past 4 GiB is big."""

NONE, DEFLATE, RGB = 1, 8, 2
DESCRIPTION, ICC_PROFILE = 270, 34675
TILE = 256
"""Rows and columns of tiles that are made of strips."""
SHORT = 3


def export_slide(reader: ExportReader, out: Path) -> list[Path]:
    """Write the file that a slide was made of; return it.

    ``out`` is a file, or a folder, which gets the original name. Several slides of one file are
    files each. Of an NDPI file a pyramid of tiles is made where that is asked for by another
    ending, or where streams are missing. Raises UsageError for a store of anything else,
    DamagedStore where its record is none.
    """
    slide, levels = _slide(reader), list(_levels(reader))
    name = _file_name(reader, slide)
    if is_whole_ndpi(levels, slide):
        target = _target(out, name)
        if target.name == name or target.suffix.lower() == NDPI_SUFFIX:
            return [_put(target, lambda file: write_ndpi(file, levels, slide))]
    elif name.lower().endswith(NDPI_SUFFIX):
        name = f"{PurePath(name).stem}.tif"
    target = _target(out, name)
    if target.suffix.lower() == NDPI_SUFFIX:
        text = "the store has not the JPEG streams of all levels; name a .tif, of tiles"
        raise UsageError(f"export: {target} cannot be an NDPI file: {text}")
    return [_written(levels, _known_again(slide), target)]


def slide_to_write(reader: ExportReader) -> SlideToWrite:
    """Return a slide for whoever writes it as another format. Raises DamagedStore."""
    slide = _slide(reader)
    first = slide.levels[0][0]
    size, power = reader.attrs.get("pixel_size_um"), reader.attrs.get("objective_power")
    profile = first.entries.get(ICC_PROFILE)
    is_colour = first.bands == 3 and len(slide.levels[0]) == 1
    return SlideToWrite(
        levels=tuple(
            _level_to_write(at, pages, slide.order)
            for at, pages in zip(_levels(reader), slide.levels, strict=True)
        ),
        is_colour=is_colour,
        pixel_size_um=None if size is None else (float(size[0]), float(size[1])),
        objective_power=None if power is None else float(power),
        taken_at=taken_at(first.entries),
        icc_profile=None if profile is None else profile.data,
        band_names=() if is_colour else tuple(reader.attrs.get("band_names", ())),
    )


def _level_to_write(at: ExportReader, pages: Sequence[PageLayout], order: str) -> LevelToWrite:
    page = pages[0]

    def number(tag: int) -> int:
        entry = page.entries.get(tag)
        return 0 if entry is None else int(np.frombuffer(entry.data[:2], f"{order}u2")[0])

    together = page.bands if not page.apart else 1
    whole = at.shape[0] if len(at.shape) == 3 else 1
    tables = page.entries.get(JPEG_TABLES)
    keeps = page.tiled and together in (1, whole) and _come_as_streams(at, pages)
    return LevelToWrite(
        reader=at,
        rows=page.block[0] if page.tiled else TILE,
        columns=page.block[1] if page.tiled else TILE,
        family=FAMILIES.get(number(COMPRESSION)) if keeps else None,
        came_as=FAMILIES.get(number(COMPRESSION)),
        tables=b"" if tables is None else tables.data,
        ycbcr=page.converted,
    )


def _known_again(slide: StoredSlide) -> StoredSlide:
    """Return a slide whose pages say that they are levels, where its description did and is gone.

    De-identified ones have none.
    """
    first = slide.levels[0][0]
    if slide.below or DESCRIPTION in first.entries:
        return slide
    levels = tuple(
        tuple(_described(page, None, slide.order, reduced=True) for page in pages) if at else pages
        for at, pages in enumerate(slide.levels)
    )
    return replace(slide, levels=levels)


def export_ome_tiff(reader: ExportReader, out: Path) -> list[Path]:
    """Write a slide as OME-TIFF: levels in SubIFDs, and OME-XML that says how large samples are."""
    slide = _slide(reader)
    stem = PurePath(_file_name(reader, slide)).stem.removesuffix(".ome")
    return write_ome(list(_levels(reader)), replace(slide, name=f"{stem}.ome.tif"), out)


def write_ome(levels: Sequence[ExportReader], slide: StoredSlide, out: Path) -> list[Path]:
    """Write levels as OME-TIFF, with pages as a slide lays them out; see ``export_ome_tiff``."""
    text = ome_description(levels[0], slide.levels[0]).encode() + b"\0"
    pages = tuple(
        tuple(
            _described(page, text if number == band == 0 else None, slide.order, reduced=number > 0)
            for band, page in enumerate(pages)
        )
        for number, pages in enumerate(slide.levels)
    )
    target = _target(out, slide.name)
    return [_written(levels, replace(slide, levels=pages, below=True), target)]


def _described(page: PageLayout, text: bytes | None, order: str, *, reduced: bool) -> PageLayout:
    """Return the layout of a page that has this description, as a level or as the whole."""
    entries = {tag: entry for tag, entry in page.entries.items() if tag != DESCRIPTION}
    kind = np.array([REDUCED if reduced else 0], f"{order}u4")
    entries[NEW_SUBFILE_TYPE] = Entry(4, 1, kind.tobytes())
    if text is not None:
        entries[DESCRIPTION] = Entry(2, len(text), text)
    return replace(page, entries=entries)


def _slide(reader: ExportReader) -> StoredSlide:
    if reader.origin.get("kind") != "slide":
        raise UsageError(f"export a slide: the store was made of {reader.origin.get('kind')!r}")
    try:
        slide = parse_slide(reader.source_bytes(str(reader.origin["files"][0]["item"])))
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise DamagedStore("export: source/ has no record of the slide") from error
    if not isinstance(reader, StoredLevels) or reader.level_count != len(slide.levels):
        raise DamagedStore("export: source/ tells of other levels than the store has")
    for number, pages in enumerate(slide.levels):
        at = reader.at_level(number)
        bands = sum(page.bands for page in pages)
        sizes = {(page.height, page.width) for page in pages}
        if sizes != {at.shape[-2:]} or (bands,) != (at.shape[:-2] or (1,)):
            raise DamagedStore(f"export: source/ tells of another level {number}")
    return slide


def _file_name(reader: ExportReader, slide: StoredSlide) -> str:
    """Return the name of the original file, with its first page where that has several slides."""
    name, page = path_to_write(slide.name, "export"), reader.origin["files"][0].get("page")
    own = name if page is None else name.with_name(f"{name.stem}-page{int(page)}{name.suffix}")
    return str(own)


def _target(out: Path, name: str) -> Path:
    is_folder = out.is_dir() or (not out.exists() and out.suffix.lower() not in SUFFIXES)
    target = out / name if is_folder else out
    if target.exists():
        text = f"export: {target} exists; remove it or choose another name"
        raise FileInTheWay(text, str(target))
    return target


def _written(levels: Sequence[ExportReader], slide: StoredSlide, target: Path) -> Path:
    def write(file: BinaryIO) -> None:
        writer = TiffWriter(file, big=slide.big or _is_large(levels, slide), order=slide.order)
        _write_levels(writer, levels, slide)

    return _put(target, write)


def _put(target: Path, write: Callable[[BinaryIO], None]) -> Path:
    """Put a file that is written as a whole, or not at all; return it."""
    make_directory(target.parent)
    try:
        with unfinished(target) as partial:
            with open(partial, "r+b") as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(target)
        sync_directory(target.parent)
    except OSError as error:
        raise StoreError(f"write {target}: {error.strerror or error}") from error
    return target


def _is_large(levels: Sequence[ExportReader], slide: StoredSlide) -> bool:
    statement = levels[0].attrs["tilepress"]
    return int(statement["stored_bytes"]) > CLASSIC_BYTES // 4 or (
        int(statement["raw_bytes"]) > CLASSIC_BYTES
        and not all(map(_come_as_streams, levels, slide.levels))
    )


def _levels(reader: ExportReader) -> Iterator[ExportReader]:
    assert isinstance(reader, StoredLevels), "asked before"
    return map(reader.at_level, range(reader.level_count))


def _write_levels(writer: TiffWriter, levels: Sequence[ExportReader], slide: StoredSlide) -> None:
    placed: list[list[PageBlocks]] = []
    for pages, at in zip(slide.levels, levels, strict=True):
        placed.append(_write_level(writer, at, pages, slide.order))
    if slide.below:
        bands = list(zip(*placed, strict=True))
        writer.finish([(first, below) for first, *below in bands])
    else:
        writer.finish([(page, []) for level in placed for page in level])


def _write_level(
    writer: TiffWriter, at: ExportReader, pages: Sequence[PageLayout], order: str
) -> list[PageBlocks]:
    """Write the blocks of a level, as streams or from samples; return where they lie."""
    streams = _come_as_streams(at, pages)
    written = [PageBlocks.of(page if streams else _lossless(page, order)) for page in pages]
    if streams:
        _write_streams(writer, at, written)
    else:
        _write_samples(writer, at, written, order)
    return written


def _come_as_streams(at: ExportReader, pages: Sequence[PageLayout]) -> bool:
    """Whether the tiles of a level are written as the streams that are kept of it.

    All of its chunks keep streams then, or have nothing that there was a stream of.
    """
    return (
        all(page.has_streams for page in pages)
        and isinstance(at, KeptStreams)
        and all(at.keeps_streams(index) or _is_absent(at, index) for index in _chunks(at))
    )


def _chunks(at: ExportReader) -> Iterator[tuple[int, ...]]:
    return np.ndindex(*(-(-n // c) for n, c in zip(at.shape, at.chunk, strict=True)))


def _is_absent(at: ExportReader, index: tuple[int, ...]) -> bool:
    """Whether a chunk has the samples of blocks that a sparse file has not."""
    return not at.read(Box.of_chunk(index, at.chunk, at.shape)).any()


def _write_streams(writer: TiffWriter, at: ExportReader, pages: Sequence[PageBlocks]) -> None:
    first = pages[0].layout
    sides = (first.bands if not first.apart else 1, *first.block)
    assert isinstance(at, KeptStreams), "asked before"
    for index in _chunks(at):
        if not at.keeps_streams(index):
            continue  # absent, as it is now
        for (frame, top, left), stream in places_of_streams(at, index, sides):
            if stream is not None:
                page, plane = (0, frame) if first.apart or len(pages) == 1 else (frame, 0)
                pages[page].put(plane, top, left, *writer.block(stream))


def _lossless(page: PageLayout, order: str) -> PageLayout:
    """Return the layout of a page that is written from samples."""

    def short(value: int) -> Entry:
        return Entry(SHORT, 1, np.array([value], f"{order}u2").tobytes())

    before = page.entries.get(COMPRESSION)
    plain = before is not None and NONE in np.frombuffer(before.data, f"{order}u2")[:1]
    is_integer = np.dtype(page.dtype).kind in "iu"
    gone = {JPEG_TABLES, PREDICTOR} | ({SUBSAMPLING, 529, 531, 532} if page.converted else set())
    entries = {tag: entry for tag, entry in page.entries.items() if tag not in gone}
    entries[COMPRESSION] = short(NONE if plain else DEFLATE)
    if is_integer and not plain:
        entries[PREDICTOR] = short(2)
    if page.converted:
        entries[PHOTOMETRIC] = short(RGB)
    return replace(page, entries=entries)


def _write_samples(
    writer: TiffWriter, at: ExportReader, pages: Sequence[PageBlocks], order: str
) -> None:
    """Write the blocks of a level from samples, some rows of chunks at a time."""
    rows, columns = pages[0].layout.block
    height, width = at.shape[-2:]
    bands = at.shape[0] if len(at.shape) == 3 else 1
    pixel = bands * at.dtype.itemsize
    down = rows * max(1, at.chunk[-2] // rows)
    across = columns * max(1, WINDOW_BYTES // max(1, pixel * down * columns))
    for top in range(0, height, down):
        for left in range(0, width, across):
            bottom, right = min(top + down, height), min(left + across, width)
            start, stop = (0, top, left), (bands, bottom, right)
            axes = len(at.shape)
            box = Box(start[-axes:], stop[-axes:])
            samples = at.read(box).reshape(bands, bottom - top, right - left)
            first = 0
            for page in pages:
                own = samples[first : first + page.layout.bands]
                first += page.layout.bands
                _write_window(writer, page, own, (top, left), order)


def _write_window(
    writer: TiffWriter,
    page: PageBlocks,
    samples: npt.NDArray[Any],
    origin: tuple[int, int],
    order: str,
) -> None:
    layout = page.layout
    rows, columns = layout.block
    planes = (
        [samples[band : band + 1] for band in range(layout.bands)] if layout.apart else [samples]
    )
    plain = NONE in np.frombuffer(layout.entries[COMPRESSION].data, f"{order}u2")[:1]
    for plane, own in enumerate(planes):
        for top in range(0, samples.shape[1], rows):
            for left in range(0, samples.shape[2], columns):
                part = own[:, top : top + rows, left : left + columns]
                if layout.tiled and part.shape[1:] != (rows, columns):
                    whole = np.zeros((len(part), rows, columns), part.dtype)
                    whole[:, : part.shape[1], : part.shape[2]] = part
                    part = whole
                data = _coded(np.moveaxis(part, 0, -1), layout.entries, order, plain=plain)
                place = (origin[0] + top) // rows, (origin[1] + left) // columns
                page.put(plane, *place, *writer.block(data))


def _coded(
    samples: npt.NDArray[Any], entries: Mapping[int, Entry], order: str, *, plain: bool
) -> bytes:
    """Return a block (y, x, bands) as it lies in the file."""
    if PREDICTOR in entries:
        before = np.zeros_like(samples[:, :1])
        with np.errstate(over="ignore"):
            samples = np.diff(samples, axis=1, prepend=before)
    data = np.ascontiguousarray(samples, np.dtype(f"{order}{samples.dtype.str[1:]}")).tobytes()
    return data if plain else zlib.compress(data, 6)
