"""Which blocks make up a box."""

from __future__ import annotations

import pytest

from tilepress.pipeline.image.grid import Box, choose_grid
from tilepress.pipeline.image.streams import blocks_of


@pytest.mark.parametrize(
    ("start", "stop", "found"),
    [
        ((0, 0), (32, 48), (range(2), range(3))),
        ((16, 32), (40, 50), (range(1, 3), range(2, 4))),
        ((0, 0), (20, 48), None),
        ((8, 0), (32, 48), None),
    ],
)
def test_a_box_consists_of_whole_blocks_or_of_none(start, stop, found):
    assert blocks_of(Box(start, stop), (16, 16), (40, 50)) == found


class TestChunksOfBlocks:
    @pytest.mark.parametrize(
        ("shape", "block", "chunk"),
        [
            ((3, 2000, 3000), (3, 256, 256), (3, 512, 512)),
            ((3, 2000, 3000), (3, 240, 240), (3, 480, 480)),
            ((3, 2000, 3000), (3, 1024, 1024), (3, 1024, 1024)),
            ((3, 2000, 3000), (3, 16, 3000), (3, 80, 3000)),
            ((2000, 3000), (1, 3000), (87, 3000)),
            ((3, 300, 400), (3, 256, 256), (3, 300, 400)),
            ((40, 512, 512), (1, 512, 512), (14, 512, 512)),
            ((40, 3, 2000, 2000), (1, 3, 2000, 2000), (1, 3, 2000, 2000)),
            ((300, 5000), (256, 256), (300, 512)),
            ((5000, 300), (256, 256), (512, 300)),
        ],
    )
    def test_are_about_a_tile(self, shape, block, chunk):
        grid = choose_grid(shape, 1, block=block)
        assert grid.chunk == chunk
        for part, side, size in zip(grid.chunk, block, shape, strict=True):
            assert part % side == 0 or part == size

    def test_without_blocks_nothing_changes(self):
        assert choose_grid((3, 2000, 3000), 1).chunk == (3, 512, 512)
