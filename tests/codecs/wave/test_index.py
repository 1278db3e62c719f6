"""The index: every body once, after those that it refers to, and held no longer than needed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tilepress.codecs.wave.colour import LESS_GREEN, YCBCR, YCOCG, Group, group_of_each
from tilepress.codecs.wave.index import Entry, pack_index, parts_of, read_index, release, scheduled
from tilepress.codecs.wave.wire import Reader
from tilepress.errors import InvalidRecord


def entry(*refs: int) -> Entry:
    return Entry(refs, False, None, b"", 0, b"")


@st.composite
def indices(draw: st.DrawFn) -> list[Entry]:
    """Planes that refer to others in any direction, but never in a circle."""
    count = draw(st.integers(1, 12))
    order = draw(st.permutations(range(count)))
    entries = {}
    for place, index in enumerate(order):
        known = order[:place]
        refs = draw(st.lists(st.sampled_from(known), max_size=2)) if known else []
        entries[index] = entry(*refs)
    return [entries[i] for i in range(count)]


class TestSchedule:
    @given(indices(), st.data())
    def test_decodes_what_is_needed_once_and_in_time(
        self, entries: list[Entry], data: st.DataObject
    ) -> None:
        wanted = sorted(data.draw(st.sets(st.integers(0, len(entries) - 1), min_size=1)))
        schedule = scheduled(wanted, entries, {})
        left, held, most = schedule.uses.copy(), set[int](), 0
        seen: list[int] = []
        for index, decoded in schedule.steps:
            for plane in decoded:
                assert held >= set(entries[plane].refs)
                held.add(plane)
                seen.append(plane)
                most = max(most, len(held))
                held -= set(release(left, entries[plane].refs))
            assert index in held
            held -= set(release(left, [index]))
        assert not held
        assert len(set(seen)) == len(seen)
        assert [index for index, _ in schedule.steps] == wanted
        assert schedule.most_held(entries, {}) == most

    def test_leaves_out_what_nobody_needs(self) -> None:
        schedule = scheduled([2], [entry(), entry(), entry(0)], {})
        assert schedule.steps == [(2, [0, 2])]

    def test_takes_a_colour_group_as_a_whole(self) -> None:
        groups = group_of_each([Group(0)])
        assert parts_of(0, groups) == (0, 1, 2)
        assert parts_of(3, groups) == (3,)
        schedule = scheduled([0, 3], [entry(), entry(), entry(), entry()], groups)
        assert schedule.steps == [(0, [0, 1, 2]), (3, [3])]
        assert schedule.most_held([entry()] * 4, groups) == 3

    def test_takes_no_more_of_a_colour_group_than_a_plane_needs(self) -> None:
        entries = [entry(1), entry(), entry(1)]
        for kind, steps in ((YCOCG, [1, 2]), (YCBCR, [0, 1, 2]), (LESS_GREEN, [1])):
            groups = group_of_each([Group(0, kind)])
            assert [sorted(new) for _, new in scheduled([1], entries, groups).steps] == [steps]

    @pytest.mark.parametrize("entries", [[entry(0)], [entry(1), entry(2), entry(0)]])
    def test_refuses_circles(self, entries: list[Entry]) -> None:
        with pytest.raises(InvalidRecord, match="circle"):
            scheduled([0], entries, {})


class TestColourGroups:
    """How they stand in the index."""

    @staticmethod
    def read(groups: list[Group], form: int, dtype: str = "u1", step: int = 1) -> list[Group]:
        packed = pack_index([entry()] * 7, groups, step, None, form)
        return read_index(Reader(memoryview(packed)), 7, np.dtype(dtype), form)[2]

    def test_have_kinds_in_format_3(self) -> None:
        groups = [Group(0, LESS_GREEN), Group(4, YCBCR)]
        assert self.read(groups, 3) == groups
        assert self.read([Group(1), Group(4)], 2) == [Group(1), Group(4)]
        plain, kinds = (pack_index([entry()] * 3, [Group(0)], 1, None, form) for form in (2, 3))
        assert len(kinds) == len(plain) + 1

    def test_of_other_kinds_are_refused(self) -> None:
        for kind in (3, 255):
            with pytest.raises(InvalidRecord, match=f"colours of kind {kind}"):
                self.read([Group(0, kind)], 3)

    @pytest.mark.parametrize("first", [[5], [0, 2], [3, 0], [2, 2]])
    def test_that_overlap_are_refused(self, first: list[int]) -> None:
        with pytest.raises(InvalidRecord, match="overlap or exceed"):
            self.read([Group(one, LESS_GREEN) for one in first], 3)

    @pytest.mark.parametrize(("dtype", "step"), [("i1", 1), ("<u2", 1), ("?", 1), ("u1", 3)])
    def test_of_bytes_alone_may_be_y_cb_cr(self, dtype: str, step: int) -> None:
        assert self.read([Group(0, LESS_GREEN)], 3, dtype, step)
        with pytest.raises(InvalidRecord, match="Y, Cb, Cr of"):
            self.read([Group(0, YCBCR)], 3, dtype, step)
