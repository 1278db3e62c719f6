"""Where the strips or tiles of a TIFF image lie: on the image, and in the file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt
from rasterio.windows import Window

from tilepress.pipeline.geotiff.header import (
    FILL_ORDER,
    LENGTH,
    PLANAR,
    ROWS_PER_STRIP,
    SAMPLES,
    STRIP_BYTES,
    STRIP_OFFSETS,
    TILE_BYTES,
    TILE_LENGTH,
    TILE_OFFSETS,
    TILE_WIDTH,
    WIDTH,
    Directory,
)

__all__ = ["BlockGrid"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockGrid:
    """The strips or tiles of one image, in the order in which its directory names them."""

    tiled: bool
    height: int
    """Of the image."""
    width: int
    rows: int
    """Of a block."""
    columns: int
    down: int
    """Blocks of a plane from top to bottom."""
    across: int
    planes: int
    """Planes of blocks: one, or with PlanarConfiguration 2 one for each band."""
    offsets: npt.NDArray[np.int64]
    lengths: npt.NDArray[np.int64]

    @classmethod
    def of(cls, directory: Directory) -> BlockGrid | None:
        """Return the blocks of an image; None where it has no size, or the bits of its bytes are
        in the other order: such files are not looked at."""
        height, width = directory.integer(LENGTH), directory.integer(WIDTH)
        tiled = TILE_OFFSETS in directory.entries
        rows = directory.integer(TILE_LENGTH if tiled else ROWS_PER_STRIP, 0 if tiled else height)
        rows = rows if tiled else min(rows, height) or height
        columns = directory.integer(TILE_WIDTH) if tiled else width
        if min(rows, columns, height, width) <= 0 or directory.integer(FILL_ORDER, 1) != 1:
            return None
        offsets = directory.integers(TILE_OFFSETS if tiled else STRIP_OFFSETS)
        lengths = directory.integers(TILE_BYTES if tiled else STRIP_BYTES)
        count = min(offsets.size, lengths.size)
        return cls(
            tiled=tiled,
            height=height,
            width=width,
            rows=rows,
            columns=columns,
            down=-(-height // rows),
            across=-(-width // columns),
            planes=directory.integer(SAMPLES, 1) if directory.integer(PLANAR, 1) == 2 else 1,
            offsets=offsets[:count],
            lengths=lengths[:count],
        )

    @property
    def is_whole(self) -> bool:
        """Whether the directory names all blocks that the image has."""
        return self.offsets.size >= self.planes * self.down * self.across

    def number(self, plane: int, row: int, column: int) -> int:
        """Return the number of a block, by its place."""
        return (plane * self.down + row) * self.across + column

    def size_of(self, number: int) -> tuple[int, int]:
        """Return how many rows and columns of a block are the image's."""
        row, column = divmod(number % (self.down * self.across), self.across)
        high = min(self.rows, self.height - row * self.rows)
        return high, min(self.columns, self.width - column * self.columns)

    def below(self, bands: Iterable[int], window: Window) -> Iterator[int]:
        """Yield the numbers of the blocks of bands (from 1) that a window touches."""
        planes = [band - 1 for band in bands] if self.planes > 1 else [0]
        top, left = int(window.row_off), int(window.col_off)
        bottom, right = top + int(window.height), left + int(window.width)
        rows = range(top // self.rows, -(-bottom // self.rows))
        columns = range(left // self.columns, -(-right // self.columns))
        for place in product(planes, rows, columns):
            number = self.number(*place)
            if number < self.offsets.size:
                yield number
