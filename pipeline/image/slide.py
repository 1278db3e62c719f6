"""A slide that is to be written as another format than the one that it came in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import product

from tilepress.errors import DamagedStore
from tilepress.pipeline.image.source import ExportReader
from tilepress.pipeline.image.streams import KeptStreams

__all__ = ["LevelToWrite", "SlideToWrite", "places_of_streams"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelToWrite:
    """One level of a store. Axes (["band",] "y", "x")."""

    reader: ExportReader
    rows: int
    """Of a tile."""
    columns: int
    family: str | None
    """What its tiles are kept as: "jpeg", "jpeg2000"…; None where they are to be made of samples.
    """
    came_as: str | None = None
    """What they were in the source, whether it is kept or not."""
    tables: bytes = field(default=b"", repr=False)
    """The abbreviated stream of JPEG tables that all tiles share."""
    ycbcr: bool = False
    """Whether JPEG tiles are Y, Cb, Cr, and not the colours of the samples."""
    subsampling: tuple[int, int] = (1, 1)
    """Columns and rows of luminance for one of such colours, where somebody has looked."""

    @property
    def height(self) -> int:
        return self.reader.shape[-2]

    @property
    def width(self) -> int:
        return self.reader.shape[-1]

    @property
    def bands(self) -> int:
        return self.reader.shape[0] if len(self.reader.shape) == 3 else 1

    @property
    def down(self) -> int:
        """Tiles from top to bottom."""
        return -(-self.height // self.rows)

    @property
    def across(self) -> int:
        return -(-self.width // self.columns)


@dataclass(frozen=True, slots=True, kw_only=True)
class SlideToWrite:
    """A slide with all of its levels, the full resolution first."""

    levels: tuple[LevelToWrite, ...]
    is_colour: bool
    """Whether its three bands are red, green and blue of one picture; else each is one by itself.
    """
    pixel_size_um: tuple[float, float] | None
    """Of the full resolution, (along y, along x)."""
    objective_power: float | None
    taken_at: datetime | None
    """When it was scanned, in the scanner's zone."""
    icc_profile: bytes | None = field(repr=False)
    band_names: tuple[str, ...] = ()


def places_of_streams(
    reader: ExportReader, index: tuple[int, ...], sides: tuple[int, int, int]
) -> Iterator[tuple[tuple[int, int, int], bytes | None]]:
    """Yield frame, row and column of each block of a chunk that keeps streams, and its stream.

    sides : bands, rows and columns of a block. Raises DamagedStore where there are others.
    """
    assert isinstance(reader, KeptStreams), "asked before"
    bands = reader.shape[0] if len(reader.shape) == 3 else 1
    shape, chunk = (bands, *reader.shape[-2:]), (bands, *reader.chunk)[-3:]
    whole = (0, *index)[-3:]
    ranges = [
        range(i * c // side, -(-min((i + 1) * c, n) // side))
        for i, c, n, side in zip(whole, chunk, shape, sides, strict=True)
    ]
    places = list(product(*ranges))
    streams = reader.streams(index)
    if len(streams) != len(places):
        raise DamagedStore(f"write a slide: chunk {index} has other blocks")
    frames: Iterator[tuple[int, int, int]] = ((f, r, c) for f, r, c in places)
    yield from zip(frames, streams, strict=True)
