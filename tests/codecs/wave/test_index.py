"""The index: every body once, after those that it refers to, and held no longer than needed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tilepress.codecs.wave.index import Entry, parts_of, release, scheduled
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
        groups = {0: 0, 1: 0, 2: 0}
        assert list(parts_of(1, groups)) == [0, 1, 2]
        schedule = scheduled([1, 3], [entry(), entry(), entry(), entry()], groups)
        assert schedule.steps == [(1, [0, 1, 2]), (3, [3])]
        assert schedule.most_held([entry()] * 4, groups) == 3

    @pytest.mark.parametrize("entries", [[entry(0)], [entry(1), entry(2), entry(0)]])
    def test_refuses_circles(self, entries: list[Entry]) -> None:
        with pytest.raises(InvalidRecord, match="circle"):
            scheduled([0], entries, {})
