"""Leaves that share tables: which suits each, and nodes that part nothing."""

from __future__ import annotations

import numpy as np

from tilepress.codecs.wave.costs import BIT
from tilepress.codecs.wave.sharing import best_groups, group_counts, without_equals
from tilepress.codecs.wave.symbols import TOKENS

DEAR = 1 << 40
"""What the model's tables take that suit a leaf not at all."""


def counts(*rows: dict[int, int]) -> np.ndarray:
    out = np.zeros((len(rows), TOKENS), np.int64)
    for row, counted in zip(out, rows, strict=True):
        row[list(counted)] = list(counted.values())
    return out


LOW, HIGH = {0: 900, 1: 100}, {4: 100, 5: 900}


class TestBestGroups:
    def test_leaves_go_to_the_table_that_suits_them(self) -> None:
        of = counts(LOW, HIGH, LOW, HIGH, LOW)
        found = best_groups(of, np.full(5, DEAR), np.array([0, 1, 0, 1, 1]), 7, 4)
        assert found.tolist() == [0, 1, 0, 1, 0]

    def test_the_models_tables_are_free(self) -> None:
        of = counts(LOW, HIGH, {7: 3})
        theirs = np.array([0, DEAR, 5 * BIT])
        assert best_groups(of, theirs, np.array([0, 1, 2]), 7, 4).tolist() == [-1, 0, -1]

    def test_a_table_pays_for_what_it_saves_beside_the_others(self) -> None:
        of = counts(LOW, {0: 90, 1: 10}, HIGH)
        theirs = np.full(3, DEAR)
        assert best_groups(of, theirs, np.array([0, 1, 2]), 7, 4).tolist() in ([0, 0, 1], [1, 1, 0])

    def test_no_group_at_all(self) -> None:
        none = np.array([-1, -1])
        assert best_groups(counts(LOW, HIGH), np.full(2, DEAR), none, 7, 4).tolist() == [-1, -1]

    def test_large_planes_stay_in_64_bits(self) -> None:
        of = counts({0: 1 << 25}, {71: 1 << 25})
        assert best_groups(of, np.full(2, DEAR << 8), np.array([0, 1]), 7, 4).tolist() == [0, 1]


def test_counts_of_groups() -> None:
    found = group_counts(counts(LOW, HIGH, LOW), np.array([1, -1, 1]), 2)
    assert found.sum(axis=1).tolist() == [0, 2000]


class TestWithoutEquals:
    # 0 ─► 1 ─► leaves 0, 1;  0 ─► 2 ─► leaf 2, 3 ─► leaves 3, 4
    NODES = np.array([[5, 9, 1, 2], [6, 8, ~0, ~1], [7, 7, ~2, 3], [8, 6, ~3, ~4]], np.int32)

    def parted(self, *kinds: int) -> tuple[list[list[int]], list[int], list[int]]:
        found = without_equals(self.NODES, np.array(kinds)[:, None])
        return found.nodes.tolist(), found.kinds[:, 0].tolist(), found.leaf_of.tolist()

    def test_leaves_that_differ_stay(self) -> None:
        assert self.parted(1, 2, 1, 2, 1) == (self.NODES.tolist(), [1, 2, 1, 2, 1], [0, 1, 2, 3, 4])

    def test_a_node_of_equals_becomes_a_leaf(self) -> None:
        nodes, kinds, leaf_of = self.parted(1, 1, 1, 2, 3)
        assert nodes == [[5, 9, ~0, 1], [7, 7, ~1, 2], [8, 6, ~2, ~3]]
        assert (kinds, leaf_of) == ([1, 1, 2, 3], [0, 0, 1, 2, 3])

    def test_and_its_parent_with_it(self) -> None:
        nodes, kinds, leaf_of = self.parted(1, 2, 3, 3, 3)
        assert nodes == [[5, 9, 1, ~2], [6, 8, ~0, ~1]]
        assert (kinds, leaf_of) == ([1, 2, 3], [0, 1, 2, 2, 2])

    def test_nothing_is_left_of_a_tree_of_equals(self) -> None:
        nodes, kinds, leaf_of = self.parted(4, 4, 4, 4, 4)
        assert (nodes, kinds, leaf_of) == ([], [4], [0, 0, 0, 0, 0])
