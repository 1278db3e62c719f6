"""Colours come back from what is coded in their places; Y, Cb, Cr are found where there are any."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tilepress.codecs.wave.colour import (
    KINDS,
    LESS_GREEN,
    YCBCR,
    YCOCG,
    Group,
    group_of_each,
    transformed,
    undone,
)
from tilepress.errors import InvalidRecord


def formula(luma: np.ndarray, cb: np.ndarray, cr: np.ndarray) -> np.ndarray:
    """Red, green, blue as the decoder of the Independent JPEG Group computes them."""
    b, r = cb.astype(np.int64) - 128, cr.astype(np.int64) - 128
    red = luma + (91881 * r + 32768 >> 16)
    green = luma + (-22554 * b - 46802 * r + 32768 >> 16)
    blue = luma + (116130 * b + 32768 >> 16)
    return np.clip(np.stack([red, green, blue]), 0, 255)


def all_of(kind: int, coded: np.ndarray, first: int = 0) -> np.ndarray:
    group = Group(first, kind)
    planes = {first + place: plane for place, plane in enumerate(coded)}
    whole = []
    for index in range(first, first + 3):
        needed = {part: planes[part] for part in group.parts(index)}
        assert index in needed
        whole.append(undone(group, index, needed))
    return np.stack(whole)


def made(shape: tuple[int, int] = (40, 50), seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Y, Cb, Cr at random, and the colours that they make."""
    planes = np.random.default_rng(seed).integers(0, 256, (3, *shape))
    return planes, formula(*planes)


class TestUndone:
    @pytest.mark.parametrize("kind", [YCOCG, LESS_GREEN])
    @given(hnp.arrays(np.int64, (3, 4, 5), elements=st.integers(-(2**60), 2**60)))
    def test_is_what_was_transformed(self, kind: int, planes: np.ndarray) -> None:
        coded = transformed(planes, kind)
        assert coded is not None
        assert np.array_equal(all_of(kind, coded, 5), planes)

    def test_follows_the_formula_for_every_cb_and_cr(self) -> None:
        cb, cr = np.mgrid[:256, :256]
        for luma in (0, 1, 77, 128, 254, 255):
            y = np.full_like(cb, luma)
            assert np.array_equal(all_of(YCBCR, np.stack([cr, y, cb])), formula(y, cb, cr))

    @pytest.mark.parametrize("wrong", [-1, 256, 2**40, -(2**63)])
    def test_refuses_what_is_no_byte(self, wrong: int) -> None:
        planes = np.full((3, 2, 3), 128)
        planes[2, 1, 2] = wrong
        red, green = (
            {0: planes[0], 1: planes[1]},
            {place: planes[place] for place in range(3)},
        )
        assert (undone(Group(0, YCBCR), 0, red) == 128).all()  # made without Cb
        for index in (1, 2):
            with pytest.raises(InvalidRecord, match=r"not within 0 … 255"):
                undone(Group(0, YCBCR), index, green)

    def test_takes_planes_of_any_layout(self) -> None:
        planes, rgb = made((30, 20))
        coded = np.stack([planes[2], planes[0], planes[1]])
        turned = np.asfortranarray(coded[:, ::-1])[:, ::-1]
        assert np.array_equal(all_of(YCBCR, turned), rgb)

    @given(st.integers(-(2**63), 2**63 - 1), st.sampled_from(KINDS[3]))
    def test_of_any_integers_is_an_answer_or_an_error(self, value: int, kind: int) -> None:
        try:
            all_of(kind, np.full((3, 1, 9), value))
        except InvalidRecord:
            assert kind == YCBCR
            assert not 0 <= value <= 255


class TestYCbCr:
    def test_makes_the_colours_again(self) -> None:
        _, rgb = made((300, 400))
        coded = transformed(rgb, YCBCR)
        assert coded is not None
        assert coded.min() >= 0
        assert coded.max() <= 255
        assert np.array_equal(all_of(YCBCR, coded), rgb)

    def test_are_what_they_were_where_nothing_is_clipped(self) -> None:
        planes, rgb = made()
        planes[0] = planes[0] // 4 + 96
        planes[1:] = planes[1:] // 8 + 112
        rgb = formula(*planes)
        coded = transformed(rgb, YCBCR)
        assert coded is not None
        assert np.array_equal(coded, planes[[2, 0, 1]])

    @pytest.mark.parametrize("red", [0, 1, 77, 254, 255])
    def test_are_found_exactly_where_there_are_any(self, red: int) -> None:
        luma, cr = np.mgrid[:256, :256].reshape(2, -1)
        some = formula(luma, np.full_like(cr, 128), cr)[0] == red
        cb = np.arange(256)[:, None]
        _, green, blue = formula(*np.broadcast_arrays(luma[some], cb, cr[some]))
        there = np.zeros((256, 256), np.bool_)
        there[green, blue] = True
        for g in range(0, 256, 3):
            for b in (*range(g % 5, 255, 5), 255):
                pixel = np.array([red, g, b]).reshape(3, 1, 1)
                assert (transformed(pixel, YCBCR) is not None) == there[g, b]

    @pytest.mark.parametrize("place", [0, 777, 1999])
    def test_are_none_where_one_pixel_has_none(self, place: int) -> None:
        _, rgb = made()
        spoilt = rgb.reshape(3, -1).copy()
        spoilt[:, place] = 10, 201, 90
        assert transformed(np.array([10, 201, 90]).reshape(3, 1, 1), YCBCR) is None
        assert transformed(spoilt.reshape(rgb.shape), YCBCR) is None

    def test_leave_absent_pixels_alone(self) -> None:
        _, rgb = made()
        mask = np.zeros(rgb.shape[1:], np.bool_)
        mask[3:9, 5:] = mask[0, 0] = True
        rgb[:, mask] = np.array([10, 201, 90])[:, None]
        assert transformed(rgb, YCBCR) is None
        coded = transformed(rgb, YCBCR, mask)
        assert coded is not None
        assert np.array_equal(all_of(YCBCR, coded)[:, ~mask], rgb[:, ~mask])
        assert (coded[:, 3:9, 5:] == coded[:, 3:9, 4:5]).all()

    def test_of_clipped_pixels_are_near_those_to_the_left(self) -> None:
        """White is made of 700 combinations: an edge of one of them would have to be coded."""
        planes = np.full((3, 4, 40), 128)
        planes[0] = np.linspace(200, 255, 40).astype(int)
        planes[1] += 20
        rgb = formula(*planes)
        assert (rgb[2] == 255).any()
        coded = transformed(rgb, YCBCR)
        assert coded is not None
        assert np.abs(np.diff(coded, axis=2)).max() <= 4
        white = transformed(np.full((3, 5, 6), 255), YCBCR)
        assert white is not None
        assert (white == white[:, :1, :1]).all()


class TestGroups:
    def test_tell_what_each_plane_is_made_of(self) -> None:
        groups = group_of_each([Group(0), Group(4, YCBCR), Group(7, LESS_GREEN)])
        assert sorted(groups) == [0, 1, 2, 4, 5, 6, 7, 8, 9]
        assert {index: group.parts(index) for index, group in groups.items()} == {
            **{0: (0, 1, 2), 1: (1, 2), 2: (0, 1, 2)},
            **{4: (4, 5), 5: (4, 5, 6), 6: (5, 6)},
            **{7: (7, 8), 8: (8,), 9: (8, 9)},
        }

    def test_of_format_2_are_of_one_kind(self) -> None:
        every = (YCOCG, YCBCR, LESS_GREEN)
        assert {2: (YCOCG,), 3: every, 4: every} == KINDS
