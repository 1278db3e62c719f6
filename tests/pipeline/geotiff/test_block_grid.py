"""Where blocks lie, and which a window touches. Files are in test_blocks and test_stream_blocks."""

from __future__ import annotations

from pathlib import Path

import pytest
from rasterio.windows import Window

from tilepress.pipeline.geotiff.block_grid import BlockGrid
from tilepress.pipeline.geotiff.header import read_header

from ..images import tiff


@pytest.fixture
def grid(tmp_path: Path) -> BlockGrid:
    """Return that of a plane of 20 × 30 in tiles of 16 × 16."""
    path = tiff(tmp_path / "a.tif", tiled=True, blockxsize=16, blockysize=16)
    header = read_header(path)
    assert header is not None
    found = BlockGrid.of(header.first)
    assert found is not None
    return found


def test_a_block_at_the_end_has_fewer_samples_of_the_image(grid: BlockGrid):
    assert (grid.height, grid.width, grid.down, grid.across) == (20, 30, 2, 2)
    assert [grid.size_of(number) for number in range(4)] == [(16, 16), (16, 14), (4, 16), (4, 14)]
    assert grid.is_whole


@pytest.mark.parametrize(
    ("window", "numbers"),
    [
        (Window(0, 0, 30, 20), [0, 1, 2, 3]),
        (Window(0, 0, 16, 16), [0]),
        (Window(15, 15, 2, 2), [0, 1, 2, 3]),
        (Window(16, 0, 1, 1), [1]),
    ],
)
def test_a_window_touches_the_blocks_below_it(grid: BlockGrid, window: Window, numbers: list[int]):
    assert list(grid.below([1], window)) == numbers
