"""Blocks of a chunk's streams lie as they do in the image."""

from __future__ import annotations

import pytest

from tilepress.codecs.grid import Grid
from tilepress.codecs.jpeg.layout import lay_out
from tilepress.codecs.jpeg.markers import JpegTables, Refused
from tilepress.codecs.jpeg.stream import Stream, read_stream

from .pictures import jpeg, picture


def stream(height: int, width: int, sampling: str = "420") -> Stream:
    return read_stream(jpeg(picture(height, width), sampling=sampling), JpegTables())[0]


class TestPlanes:
    def test_tiles_side_by_side(self) -> None:
        layout = lay_out(Grid(1, 2, 2, 32, 32), [stream(32, 32)] * 3 + [None])
        luma, cb, cr = layout.planes
        assert luma.owners.shape == (8, 8)
        assert cb.owners.shape == cr.owners.shape == (4, 4)
        assert luma.owners[::4, ::4].tolist() == [[0, 1], [2, -1]]
        assert (luma.first, cb.first, cr.first) == (0, 64, 80)
        assert layout.places[2] == [(32, 8), (64 + 8, 4), (80 + 8, 4)]
        assert layout.places[3] == []
        assert layout.blocks == 96

    def test_frames_do_not_touch(self) -> None:
        """And what is between them is as high as to keep components in step."""
        layout = lay_out(Grid(2, 1, 1, 16, 16), [stream(16, 16)] * 2)
        assert layout.planes[0].owners[:, 0].tolist() == [0, 0, -1, -1, 1, 1]
        assert layout.planes[1].owners[:, 0].tolist() == [0, -1, 1]

    def test_strips_of_several_heights(self) -> None:
        layout = lay_out(Grid(1, 2, 1, 16, 40), [stream(16, 40), stream(5, 40)])
        assert layout.planes[0].owners.shape == (4, 6)
        assert layout.steps.shape == (3, 2, 64)

    def test_other_components_are_refused(self) -> None:
        with pytest.raises(Refused, match="differ"):
            lay_out(Grid(1, 1, 2, 16, 16), [stream(16, 16), stream(16, 16, "444")])
        with pytest.raises(Refused, match="none"):
            lay_out(Grid(1, 1, 1, 16, 16), [None])

    def test_no_more_blocks_than_a_record_may_need(self) -> None:
        """A forged frame header costs nothing to write: it is refused before it is laid out."""
        one = stream(16, 16)
        huge = Stream(
            one.skeleton, type(one.frame)("baseline", 8, 9000, 7000, one.frame.components)
        )
        huge.coded, huge.steps = [huge.frame.padded(i) for i in range(3)], one.steps
        with pytest.raises(Refused, match="blocks"):
            lay_out(Grid(1, 2, 2, 16, 16), [huge] * 4)
