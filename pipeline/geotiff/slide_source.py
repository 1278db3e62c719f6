"""Read a slide of a TIFF file: its levels, each made of one page or of one for every band.

Samples are GDAL's, page by page, as they are of all TIFF files. What ``source/`` keeps of a slide
is said in ``slide_record``.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rasterio.windows import Window

from tilepress.errors import DamagedSource, UnsupportedSource
from tilepress.pipeline.geotiff.header import find_pages, read_header
from tilepress.pipeline.geotiff.ndpi import NdpiLevel
from tilepress.pipeline.geotiff.raster_file import RasterFile, open_directory
from tilepress.pipeline.geotiff.slide_pages import Slide, SlidePages, find_slides
from tilepress.pipeline.geotiff.slide_record import PageLayout, dump_slide
from tilepress.pipeline.geotiff.slide_told import pixel_size_um, told_attributes
from tilepress.pipeline.image.fingerprint import file_print
from tilepress.pipeline.image.grid import Box
from tilepress.pipeline.image.info import ImageInfo, Level, SlideGeometry
from tilepress.pipeline.image.source import SourceSpec
from tilepress.pipeline.image.streams import Streams, blocks_of
from tilepress.pipeline.privacy.recipe import DEIDENTIFIED, DEIDENTIFY, is_deidentified, profile_of
from tilepress.pipeline.storage.regular import open_regular

__all__ = ["SLIDE_KIND", "SlideSource"]

SLIDE_KIND = "slide"
"""A slide of a TIFF file, with its levels."""

HEADER_BYTES = 64 * 2**10
"""What the fingerprint hashes at either end of a file."""

MAX_OPEN_PAGES = 512
"""Pages of all levels together: each takes a handle."""


@dataclass(frozen=True, slots=True)
class _Level:
    """One level: its pages, whose bands follow each other."""

    pages: tuple[RasterFile, ...]

    @property
    def size(self) -> tuple[int, int]:
        record = self.pages[0].record
        return int(record["height"]), int(record["width"])

    @property
    def bands(self) -> int:
        return sum(page.count for page in self.pages)

    def read_into(self, bands: range, window: Window, out: npt.NDArray[Any]) -> None:
        """Read bands, from 0, into ``out``, (bands, y, x)."""
        first = 0
        for page in self.pages:
            own = range(max(bands.start, first), min(bands.stop, first + page.count))
            if own:
                at = slice(own.start - bands.start, own.stop - bands.start)
                page.read_into([band - first + 1 for band in own], window, out[at])
            first += page.count

    def block(self) -> tuple[int, int, int] | None:
        """Return bands, rows and columns of what is one stream; None where that is nothing."""
        if (ndpi := self.ndpi) is not None:
            return None if ndpi.unit is None else (self.bands, *ndpi.unit)
        found = [page.stream_blocks for page in self.pages]
        first = found[0]
        if first is None or first.bands not in (1, self.pages[0].count):
            return None
        if len(found) > 1 and first.bands != 1:
            return None  # streams of all bands of a page, and pages whose bands follow each other
        grid = first.grid
        for one in found[1:]:
            if one is None or one.bands != first.bands or one.tables != first.tables:
                return None
            if one.family != first.family:
                return None
            if (one.grid.rows, one.grid.columns) != (grid.rows, grid.columns):
                return None
        return first.bands, grid.rows, grid.columns

    @property
    def ndpi(self) -> NdpiLevel | None:
        """The level, where it is one JPEG stream of Hamamatsu's; None for others."""
        decoded = self.pages[0].decoded
        return decoded if isinstance(decoded, NdpiLevel) and len(self.pages) == 1 else None

    def stream_of(self, ndpi: NdpiLevel, box: Box) -> Streams | None:
        """Return whole intervals of such a level as one stream."""
        (top, left), (bottom, right) = box.start[-2:], box.stop[-2:]
        if box.shape[:-2] not in ((), (self.bands,)):
            return None
        stream = ndpi.stream(top, left, bottom, right)
        if stream is None:
            return None
        return Streams(
            streams=(stream,), rows=1, columns=1, height=bottom - top, width=right - left
        )

    def streams(self, frames: range, rows: range, columns: range) -> Streams | None:
        if len(self.pages) == 1:
            blocks = self.pages[0].stream_blocks
            return None if blocks is None else blocks.streams(frames, rows, columns)
        parts: list[Streams] = []
        first = 0
        for page in self.pages:
            own = range(max(frames.start, first), min(frames.stop, first + page.count))
            if own and page.stream_blocks is not None:
                within = range(own.start - first, own.stop - first)
                parts.append(page.stream_blocks.streams(within, rows, columns))
            first += page.count
        streams = tuple(one for part in parts for one in part.streams)
        return replace(parts[0], streams=streams)


class SlideSource:
    """A slide as a ``TileSource`` and ``LevelSource``. Axes (["band",] "y", "x")."""

    kind = SLIDE_KIND

    def __init__(self, spec: SourceSpec) -> None:
        """Open every page of every level. Raises UnsupportedSource or DamagedSource."""
        if len(spec.paths) != 1:
            raise UnsupportedSource(f"open a slide: {len(spec.paths)} files given, one expected")
        self._spec, self._path = spec, Path(spec.paths[0])
        self._found, self._slide = _find(self._path, spec.options.get("page"))
        if is_deidentified(spec):
            from tilepress.pipeline.geotiff.deidentify import refuse_label

            refuse_label(self._path, self._slide.page)
        self._levels: list[_Level] = []
        try:
            self._open()
            self._info = self._describe()
        except BaseException:
            self.close()
            raise

    @property
    def info(self) -> ImageInfo:
        return self._info

    @property
    def spec(self) -> SourceSpec:
        return self._spec

    def read(self, box: Box) -> npt.NDArray[Any]:
        return self.read_level(0, box)

    def read_level(self, level: int, box: Box) -> npt.NDArray[Any]:
        """Return the samples of a box of a level, C-contiguous and in native byte order."""
        (top, left), (bottom, right) = box.start[-2:], box.stop[-2:]
        bands = range(box.start[0], box.stop[0]) if len(box.start) == 3 else range(1)
        out = np.empty((len(bands), bottom - top, right - left), self._info.dtype)
        window = Window(left, top, right - left, bottom - top)
        self._levels[level].read_into(bands, window, out)
        return out.reshape(box.shape)

    def read_mask(self, box: Box) -> npt.NDArray[np.uint8]:
        """Return 255 everywhere: a slide has no mask."""
        return np.full(box.shape, 255, np.uint8)

    def streams(self, box: Box) -> Streams | None:
        return self.level_streams(0, box)

    def level_streams(self, level: int, box: Box) -> Streams | None:
        """Return the streams that a box of whole blocks of a level was decoded of."""
        info = self._info.at_level(level)
        numbers = None
        if info.stream_block is not None:
            numbers = blocks_of(box, info.stream_block, info.shape)
        if numbers is None:
            return None
        if (ndpi := self._levels[level].ndpi) is not None:
            return self._levels[level].stream_of(ndpi, box)
        frames, rows, columns = numbers if len(numbers) == 3 else (range(1), *numbers)
        return self._levels[level].streams(frames, rows, columns)

    def source_items(self) -> Iterator[tuple[str, bytes]]:
        """Yield "origin", and "slide-0": the directories of every level."""
        plain = is_deidentified(self._spec)
        name = "file-1.tif" if plain else self._path.name
        file: dict[str, Any] = {"name": name, "bands": self._levels[0].bands, "item": "slide-0"}
        file |= {"page": self._slide.page} if len(self._found.slides) > 1 else {}
        record, went = self._record(plain=plain)
        how: dict[str, Any] = {}
        if plain:
            key = self._spec.options[DEIDENTIFY]["key"]
            counts = {"removed": dict(sorted(went.items()))}
            how = {DEIDENTIFIED: {**profile_of(self._spec).to_json(), "key": key, "counts": counts}}
        origin = {"version": 1, "kind": self.kind, "files": [file], **how}
        yield "origin", json.dumps(origin, sort_keys=True).encode()
        yield "slide-0", record

    def fingerprint(self) -> dict[str, Any]:
        """Return size, mtime and a hash of both ends of the file."""
        found = file_print(self._path, HEADER_BYTES, at_both_ends=True)
        return {"kind": self.kind, "files": [{"name": self._path.name, **asdict(found)}]}

    def close(self) -> None:
        for level in self._levels:
            for page in level.pages:
                page.dataset.close()
        self._levels.clear()

    def __enter__(self) -> SlideSource:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open(self) -> None:
        count = sum(map(len, self._slide.levels))
        if count > MAX_OPEN_PAGES:
            text = f"its levels have {count} pages, at most {MAX_OPEN_PAGES} are taken"
            raise UnsupportedSource(f"open {self._path}: {text}")
        for starts in self._slide.levels:
            pages: list[RasterFile] = []
            self._levels.append(_Level(()))
            for start in starts:
                pages.append(open_directory(self._path, start))
                self._levels[-1] = _Level(tuple(pages))
        first = self._levels[0]
        for number, level in enumerate(self._levels):
            kinds = {(page.dtype, page.is_complex) for page in level.pages}
            sizes = {(page.record["height"], page.record["width"]) for page in level.pages}
            if len(kinds | {(first.pages[0].dtype, False)}) > 1 or len(sizes) > 1:
                raise UnsupportedSource(f"open {self._path}: pages of level {number} differ")
            if level.bands != first.bands:
                raise UnsupportedSource(f"open {self._path}: level {number} has other bands")

    @cached_property
    def _headers(self) -> list[list[PageLayout]]:
        """The directories of all pages, by level."""
        levels = zip(self._slide.levels, self._levels, strict=True)
        return [
            [PageLayout.of(page, at) for at, page in zip(starts, level.pages, strict=True)]
            for starts, level in levels
        ]

    @property
    def _exported_name(self) -> str:
        """What its file is called when it comes back: an NDPI only if it has all of its streams."""
        lacks = any(level.ndpi is not None and level.block() is None for level in self._levels)
        return f"{self._path.stem}.tif" if lacks else self._path.name

    def _record(self, *, plain: bool) -> tuple[bytes, Counter[str]]:
        header = read_header(self._path)
        assert header is not None, "its directories were read"
        return dump_slide(
            self._headers,
            name="file-1.tif" if plain else self._exported_name,
            big=header.big,
            order=header.order,
            below=self._slide.below,
            beside=self._found.beside,
            plain=plain,
        )

    def _describe(self) -> ImageInfo:
        first, plain = self._levels[0], is_deidentified(self._spec)
        entries = self._headers[0][0].entries
        bands = first.bands
        blocks = [None if plain else level.block() for level in self._levels]
        shapes = [(bands, *level.size) if bands > 1 else level.size for level in self._levels]
        cut = [None if block is None else block[-len(shapes[0]) :] for block in blocks]
        record = first.pages[0].record
        return ImageInfo(
            name=str(self._spec.options.get("name") or self._path.stem),
            axes=("band", "y", "x") if bands > 1 else ("y", "x"),
            shape=shapes[0],
            dtype=first.pages[0].dtype,
            slide=SlideGeometry(pixel_size_um=pixel_size_um(entries, record["order"])),
            levels=tuple(
                Level(shape=shape, stream_block=block)
                for shape, block in zip(shapes[1:], cut[1:], strict=True)
            ),
            attributes=_colors(first)
            | told_attributes(entries, bands, plain=plain, order=record["order"]),
            coordinates=_numbers(bands),
            stream_block=cut[0],
            remarks=tuple(self._remarks(plain=plain)),
        )

    def _remarks(self, *, plain: bool) -> Iterator[str]:
        if len(self._levels) > 1:
            yield f"a slide of {len(self._levels)} levels"
        lacks = sum(level.ndpi is not None and level.block() is None for level in self._levels)
        if lacks and not plain:
            whose = f"{lacks} of {len(self._levels)} levels"
            yield f"the JPEG streams of {whose} cannot be kept: their samples are"
        count = Counter(self._found.beside)
        if count and self._slide is self._found.slides[0]:
            listed = ", ".join(f"{n} × {what}" if n > 1 else what for what, n in count.items())
            number = count.total()
            what = "picture" if number == 1 else "pictures"
            yield f"{number} {what} beside the slide left out, for they may show names: {listed}"
        if len(self._found.slides) > 1 and not plain:
            yield f"slide at page {self._slide.page}, one of {len(self._found.slides)} of the file"


def _find(path: Path, page: int | None) -> tuple[SlidePages, Slide]:
    """Return the slides of a file, and the one that begins with a page, or the only one."""
    try:
        with open_regular(path) as file:
            size = file.seek(0, 2)
            found = find_slides(file, size, find_pages(file, size).found)
    except OSError as error:
        raise DamagedSource(f"open {path}: {error.strerror}") from error
    slides = () if found is None else found.slides
    fitting = [slide for slide in slides if page in (None, slide.page)]
    if found is None or len(fitting) != 1:
        raise DamagedSource(f"open {path}: it holds no such slide")
    return found, fitting[0]


def _colors(level: _Level) -> dict[str, Any]:
    colors = [color for page in level.pages for color in page.record["colors"]]
    return {"color_interpretation": colors} if set(colors) - {"gray", "undefined"} else {}


def _numbers(bands: int) -> dict[str, npt.NDArray[Any]]:
    return {"band": np.arange(1, bands + 1, dtype=np.int32)} if bands > 1 else {}
