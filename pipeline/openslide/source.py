"""Read a slide by OpenSlide: its levels, tile by tile.

Samples are red, green and blue as ``read_region`` gives them for the tiles of a level, each asked
for at its own place, so that a sample does not depend on the window it is read in. Where a scanner
took nothing, OpenSlide says transparent: there is the slide's background colour, or white.
"""

from __future__ import annotations

import errno
import json
import math
import os
import re
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import openslide
from openslide import lowlevel

from tilepress.errors import DamagedSource, UnsupportedSource
from tilepress.pipeline.image.fingerprint import file_print
from tilepress.pipeline.image.grid import Box
from tilepress.pipeline.image.info import ImageInfo, Level, SlideGeometry
from tilepress.pipeline.image.names import below_common_folder
from tilepress.pipeline.image.source import SourceSpec
from tilepress.pipeline.image.streams import Streams

__all__ = ["ICC_PROFILE", "PROPERTIES", "OpenSlideSource"]

HEADER_BYTES = 64 * 2**10
"""What the fingerprint hashes at either end of a file."""

PLAIN_SIDE = 512
"""Sides of what is read at a time, or about that in whole tiles."""

MIN_TILE_SIDE, MAX_TILE_SIDE = 8, 1024
"""Chunks are not cut by smaller or larger tiles."""

MAX_HELD_TILES = 32

MAX_LEVELS = 64

PROPERTIES, ICC_PROFILE = "openslide-properties", "icc-profile"
"""Items of ``source/``: what OpenSlide tells of the slide, as JSON, and its colour profile."""

PLANES = ("ventana.Z-layers", "hamamatsu.NoLayers")
"""Properties that count focal planes."""

WHITE = (255, 255, 255)

_HEX = re.compile(r"[0-9A-Fa-f]{6}")

_OWN_WORDS = re.compile(r"(Can't|Couldn't|Expected|Short read|Not a|Tile size not) ")
_PLAIN = re.compile(r"(?:[A-Za-z0-9 <>=,_().-]|(?<=[a-z])'){1,200}")
_USUAL_FILE = re.compile(r"/[^:]*/((?:Index|Data[0-9]{1,6})\.dat|Slidedat\.ini)\b")
"""A path of a MIRAX slide, whose files are called the same in all of them."""
_OF_SYSTEM = frozenset(os.strerror(number) for number in errno.errorcode)


class OpenSlideSource:
    """A slide as a ``TileSource`` and ``LevelSource``. Axes ("band", "y", "x"), 8 bits."""

    kind = "openslide"

    def __init__(self, spec: SourceSpec) -> None:
        """Open it. Raises UnsupportedSource or DamagedSource."""
        self._spec, self._path = spec, Path(spec.paths[0])
        self._tiles: OrderedDict[tuple[int, int, int], npt.NDArray[np.uint8]] = OrderedDict()
        try:
            self._slide = openslide.OpenSlide(spec.paths[0])
        except openslide.OpenSlideUnsupportedFormatError:
            text = "OpenSlide finds no slide in it"
            raise UnsupportedSource(f"open {self._path}: {text}") from None
        except openslide.OpenSlideError as error:
            raise DamagedSource(f"open {self._path}: OpenSlide: {_line(error)}") from None
        try:
            self._told = _properties(self._slide)
            self._background = _background(self._told)
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
        """Return the samples of a box (bands, y, x) of a level. Raises DamagedSource."""
        (first, top, left), (last, bottom, right) = box.start, box.stop
        out = np.empty(box.shape, np.uint8)
        rows, columns = self._sides(level)
        for row in range(top // rows, -(-bottom // rows)):
            for column in range(left // columns, -(-right // columns)):
                tile = self._tile(level, row, column)
                y, x = row * rows, column * columns
                down = slice(max(top, y), min(bottom, y + rows))
                across = slice(max(left, x), min(right, x + columns))
                part = tile[down.start - y : down.stop - y, across.start - x : across.stop - x]
                place = slice(down.start - top, down.stop - top)
                where = slice(across.start - left, across.stop - left)
                out[:, place, where] = np.moveaxis(part, -1, 0)[first:last]
        return out

    def read_mask(self, box: Box) -> npt.NDArray[np.uint8]:
        """Return 255 everywhere: a slide has no mask."""
        return np.full(box.shape, 255, np.uint8)

    def level_streams(self, level: int, box: Box) -> Streams | None:
        """Return none: OpenSlide gives samples alone."""
        return None

    def source_items(self) -> Iterator[tuple[str, bytes]]:
        """Yield "origin", what OpenSlide tells of the slide, and its colour profile."""
        names = below_common_folder(self._spec.paths)
        origin = {
            "version": 1,
            "kind": self.kind,
            "vendor": self._told.get("openslide.vendor", ""),
            "library": openslide.__library_version__,
            "files": [{"name": name} for name in names],
        }
        yield "origin", json.dumps(origin, sort_keys=True).encode()
        yield PROPERTIES, json.dumps(self._told, sort_keys=True).encode()
        if (profile := self._profile()) is not None:
            yield ICC_PROFILE, profile

    def fingerprint(self) -> dict[str, Any]:
        """Return size, mtime and a hash of both ends of every file."""
        names = below_common_folder(self._spec.paths)
        prints = (file_print(Path(p), HEADER_BYTES, at_both_ends=True) for p in self._spec.paths)
        files = [{"name": name, **asdict(found)} for name, found in zip(names, prints, strict=True)]
        return {"kind": self.kind, "files": files}

    def close(self) -> None:
        self._tiles.clear()
        self._slide.close()

    def _sides(self, level: int) -> tuple[int, int]:
        """Return rows and columns of what is read at a time."""
        block = self._info.at_level(level).stream_block
        if block is None:
            return PLAIN_SIDE, PLAIN_SIDE
        rows, columns = (side * max(1, PLAIN_SIDE // side) for side in block[-2:])
        return rows, columns

    def _tile(self, level: int, row: int, column: int) -> npt.NDArray[np.uint8]:
        """Return a tile (y, x, band), clipped to its level."""
        key = level, row, column
        if key in self._tiles:
            self._tiles.move_to_end(key)
            return self._tiles[key]
        (rows, columns), shape = self._sides(level), self._info.at_level(level).shape
        y, x = row * rows, column * columns
        size = min(columns, shape[-1] - x), min(rows, shape[-2] - y)
        scale = self._slide.level_downsamples[level]
        place = round(x * scale), round(y * scale)
        try:
            found = np.asarray(self._slide.read_region(place, level, size))
        except openslide.OpenSlideError as error:
            where = f"level {level}, y {y}, x {x}"
            text = f"read {self._path}: {where}: OpenSlide: {_line(error)}"
            raise DamagedSource(text) from None
        self._tiles[key] = _on_background(found, self._background)
        if len(self._tiles) > MAX_HELD_TILES:
            self._tiles.popitem(last=False)
        return self._tiles[key]

    def _profile(self) -> bytes | None:
        """Return the colour profile as the file has it."""
        try:
            size = lowlevel.get_icc_profile_size(self._slide._osr)
            return lowlevel.read_icc_profile(self._slide._osr) if size > 0 else None
        except openslide.OpenSlideError as error:
            text = f"read {self._path}: its colour profile: OpenSlide: {_line(error)}"
            raise DamagedSource(text) from None

    def _describe(self) -> ImageInfo:
        sizes = self._slide.level_dimensions
        if not 0 < len(sizes) <= MAX_LEVELS or min(min(size) for size in sizes) < 1:
            raise UnsupportedSource(f"open {self._path}: OpenSlide finds no levels in it")
        shapes = [(3, height, width) for width, height in sizes]
        blocks = [_block(self._told, level) for level in range(len(sizes))]
        power = _number(self._told, "openslide.objective-power")
        attributes: dict[str, Any] = {"color_interpretation": ["red", "green", "blue"]}
        attributes |= {} if power is None else {"objective_power": power}
        attributes["background_color"] = "#" + bytes(self._background).hex().upper()
        return ImageInfo(
            name=str(self._spec.options.get("name") or self._path.stem),
            axes=("band", "y", "x"),
            shape=shapes[0],
            dtype=np.dtype(np.uint8),
            slide=SlideGeometry(pixel_size_um=_pixel_size_um(self._told)),
            levels=tuple(
                Level(shape=shape, stream_block=block)
                for shape, block in zip(shapes[1:], blocks[1:], strict=True)
            ),
            attributes=attributes,
            coordinates={"band": np.arange(1, 4, dtype=np.int32)},
            stream_block=blocks[0],
            remarks=tuple(self._remarks(len(sizes), attributes["background_color"])),
        )

    def _remarks(self, levels: int, background: str) -> Iterator[str]:
        if levels > 1:
            yield f"a slide of {levels} levels"
        vendor = self._told.get("openslide.vendor", "an unknown scanner")
        by = f"OpenSlide {openslide.__library_version__} ({vendor})"
        yield f"read by {by}: samples are kept, and no streams of the file"
        yield f"where the scanner took nothing, samples are {background}"
        beside = sorted(self._slide.associated_images)
        if beside:
            what = "picture" if len(beside) == 1 else "pictures"
            why = f"left out, for they may show names: {', '.join(beside)}"
            yield f"{len(beside)} {what} beside the slide {why}"
        planes = [n for name in PLANES if (n := _number(self._told, name)) is not None and n > 1]
        if planes:
            yield f"of {planes[0]:g} focal planes only the one that OpenSlide gives"
        whole = all(abs(scale - round(scale)) < 1e-9 for scale in self._slide.level_downsamples)
        if not whole:
            yield "levels are no whole fractions of the full resolution: OpenSlide resamples them"


def _properties(slide: openslide.OpenSlide) -> dict[str, str]:
    """Return what OpenSlide tells; a name that is no text (UTF-8) has no value, and is left out."""
    told = ((name, slide.properties.get(name)) for name in slide.properties)
    return {name: value for name, value in told if value is not None}


def _on_background(
    samples: npt.NDArray[np.uint8], background: tuple[int, int, int]
) -> npt.NDArray[np.uint8]:
    """Return R, G, B of R, G, B and alpha (y, x, 4), laid on a colour where they cover nothing."""
    colours, alpha = samples[..., :3], samples[..., 3:]
    if alpha.min() == 255:
        return np.ascontiguousarray(colours)
    cover = alpha.astype(np.uint32)
    under = np.array(background, np.uint32)
    mixed = (colours * cover + under * (255 - cover) + 127) // 255
    return mixed.astype(np.uint8)


def _block(told: Mapping[str, str], level: int) -> tuple[int, int, int] | None:
    """Return bands, rows and columns of the tiles of a level; None where it does not say."""
    sides = [told.get(f"openslide.level[{level}].tile-{side}", "") for side in ("height", "width")]
    if not all(re.fullmatch(r"[0-9]{1,9}", side) for side in sides):
        return None
    rows, columns = map(int, sides)
    is_handy = min(rows, columns) >= MIN_TILE_SIDE and max(rows, columns) <= MAX_TILE_SIDE
    return (3, rows, columns) if is_handy else None


def _background(told: Mapping[str, str]) -> tuple[int, int, int]:
    found = _HEX.fullmatch(told.get("openslide.background-color", ""))
    if found is None:
        return WHITE
    red, green, blue = bytes.fromhex(found[0])
    return red, green, blue


def _pixel_size_um(told: Mapping[str, str]) -> tuple[float, float] | None:
    down, across = (_number(told, f"openslide.mpp-{axis}") for axis in "yx")
    return None if down is None or across is None else (down, across)


def _number(told: Mapping[str, str], name: str) -> float | None:
    """Return a number above zero that a slide tells; None where it tells none."""
    try:
        found = float(told.get(name, ""))
    except ValueError:
        return None
    return found if math.isfinite(found) and 1e-4 < found < 1e5 else None


def _line(error: Exception) -> str:
    """Return what OpenSlide says, without what it took from the file, which may name a patient.

    It says "what: of what: value": kept are the first part, those that begin as its own sentences
    do, each up to the first sign of a path or a quoted text, and what the system said at last.
    """
    text = _USUAL_FILE.sub(r"\1", " ".join(str(error).split()))
    first, *others = text.split(": ")
    own = [part for part in others if _OWN_WORDS.match(part)]
    kept = [_PLAIN.match(part) for part in (first, *own)]
    told = [found[0].strip() for found in kept if found is not None]
    told += others[-1:] if others and others[-1] in _OF_SYSTEM else []
    return ": ".join(told) or type(error).__name__
