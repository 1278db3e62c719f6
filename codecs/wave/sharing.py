"""Leaves of a context tree that share tables (encoder only): which table suits each, and which
nodes part leaves that turned out alike. All sums are of integers.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tilepress.codecs.wave.costs import BIT, frequency_levels, log2
from tilepress.codecs.wave.rans import TABLE_BITS
from tilepress.codecs.wave.symbols import TOKENS
from tilepress.codecs.wave.tree import LEVELS, frequencies_of

__all__ = ["Parted", "best_groups", "group_counts", "without_equals"]

_ROUNDS = 2
_NEVER = 1 << 12
"""Bits of a token that a table does not have."""


class Parted(NamedTuple):
    """Nodes that part a plane, and what each of their leaves is."""

    nodes: npt.NDArray[np.int32]
    """As of ``TreeArrays``; none where all leaves are alike."""
    kinds: npt.NDArray[np.int64]
    """(leaves, k), one row a leaf."""
    leaf_of: npt.NDArray[np.int32]
    """(leaves before,): the leaf that each became."""


def best_groups(
    counts: npt.NDArray[np.int64],
    theirs: npt.NDArray[np.int64],
    group: npt.NDArray[np.int64],
    table_bits: int,
    token_bits: int,
) -> npt.NDArray[np.int64]:
    """Return (leaves,) the group of leaves whose table suits each best; −1: the model's tables.

    counts : (leaves, TOKENS); theirs : (leaves,) what the model's tables take, in 1/BIT, raw bits
    left out; group : (leaves,), to begin with; a table costs ``token_bits`` a token it has and
    ``table_bits`` beside. As k-means goes: tables by leaves, leaves by tables.
    """
    for _ in range(_ROUNDS):
        n = int(group.max(initial=-1)) + 1
        if not n:
            return group
        levels = frequency_levels(group_counts(counts, group, n), LEVELS)
        frequencies = frequencies_of(levels)
        bits = np.where(levels > 0, (TABLE_BITS * BIT) - log2(frequencies), _NEVER * BIT)
        by_table = np.concatenate([theirs[:, None], counts @ bits.T], axis=1)
        price = (table_bits + token_bits * np.count_nonzero(levels, axis=1)) * BIT
        kept = _kept(by_table, price)
        chosen = kept[by_table[:, kept].argmin(1)] - 1
        used = np.unique(chosen[chosen >= 0])
        group = np.where(chosen < 0, -1, np.searchsorted(used, chosen))
    return group


def _kept(by_table: npt.NDArray[np.int64], price: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return which columns of (leaves, 1 + tables) costs stay: the first, and those of tables that
    save more than they cost, (tables,), beside all others that stay."""
    kept = np.ones(by_table.shape[1], np.bool_)
    for k, cost in enumerate(price.tolist(), start=1):
        least = by_table[:, kept].min(1)
        kept[k] = False
        kept[k] = (by_table[:, kept].min(1) - least).sum() > cost
    return np.flatnonzero(kept)


def group_counts(
    counts: npt.NDArray[np.int64], group: npt.NDArray[np.int64], n: int
) -> npt.NDArray[np.int64]:
    """Return (n, TOKENS) counts of groups, of (leaves, TOKENS); leaves of group −1 are in none."""
    out = np.zeros((n, TOKENS), np.int64)
    np.add.at(out, group[group >= 0], counts[group >= 0])
    return out


def without_equals(nodes: npt.NDArray[np.int32], kinds: npt.NDArray[np.int64]) -> Parted:
    """Return nodes without those both of whose branches are leaves of one kind.

    nodes : as of ``TreeArrays``; kinds : (leaves, k).
    """
    asked, rows = nodes.tolist(), kinds.tolist()
    alike: list[list[int] | None] = [None] * len(asked)  # the kind of a node that parts nothing

    def kind_of(branch: int) -> list[int] | None:
        return rows[~branch] if branch < 0 else alike[branch]

    for node in range(len(asked) - 1, -1, -1):  # children come after their parents
        low, high = map(kind_of, asked[node][2:])
        alike[node] = low if low == high else None
    left: list[list[int]] = []
    found: list[list[int]] = []
    leaf_of = np.zeros(len(rows), np.int32)

    def walk(branch: int, inside: bool) -> int:
        """Return the branch that stands for one; ``inside`` one that is a leaf now."""
        kind = kind_of(branch)
        if kind is not None and not inside:
            found.append(kind)
        inside = inside or kind is not None
        if branch < 0:
            leaf_of[~branch] = len(found) - 1
            return ~(len(found) - 1)
        here = len(left)
        if not inside:
            left.append([*asked[branch][:2], 0, 0])
        for side in (2, 3):
            way = walk(asked[branch][side], inside)
            if not inside:
                left[here][side] = way
        return ~(len(found) - 1) if inside else here

    walk(0, False)
    return Parted(np.array(left, np.int32).reshape(-1, 4), np.array(found, np.int64), leaf_of)
