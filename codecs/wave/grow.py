"""The encoder's half of context trees: grow one on some of a plane's samples, fit it to all.

Best split first by entropy on samples of every few steps, then pruning from the leaves up, where
the model's own tables are the rival: they are finer in scale, and cost nothing. All sums are of
integers. What a tree is, ``tree.py`` says.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tilepress.codecs.limits import MAX_TREE_NODES, MAX_TREE_TABLES
from tilepress.codecs.native.library import bind, check_memory
from tilepress.codecs.wave.backend import PlaneToEncode
from tilepress.codecs.wave.costs import (
    BIT,
    TABLE,
    entropies,
    flag_levels,
    frequency_levels,
    n_log_n,
)
from tilepress.codecs.wave.model import COST_UNIT
from tilepress.codecs.wave.native.fitting import (
    BINS,
    plane_examples,
    plane_leaves,
    plane_properties,
)
from tilepress.codecs.wave.native.structures import Holder, Sheared
from tilepress.codecs.wave.sharing import best_groups, group_counts, without_equals
from tilepress.codecs.wave.symbols import TOKENS, raw_bits
from tilepress.codecs.wave.tree import LEVELS, ContextTree, pack_tree

__all__ = ["GrownTree", "grow_tree"]

_NODE_SAMPLES = 1 << 15
"""Samples that one split is chosen on, at most; counts of them have 16 bits."""
_EDGE_SHIFT = 13
"""Binary logarithm of the samples that edges of bins are chosen by, about."""
_MIN_NODE = 24
"""Sampled samples that a node needs to be split."""
_SPLIT_BITS = 40
"""What a split must save at least before pruning: about what a leaf with a table costs."""
_CHANCE_BITS = 6
"""Plus one a symbol: bits that the best of many splits saves by chance."""
_NODE_BITS = 14
_LEAF_BITS = 12
_TOKEN_BITS = 4
_TABLE_BITS = 7
_SHARED_TOKEN_BITS = 2
_SHARED_TABLE_BITS = 4
"""The same of leaves of which some will share a table."""

_grow_nodes = bind("tp_grow", "pBllldl", "w")
_count_leaves = bind("tp_count_leaves", "ihiinilll")
_merge_rows = bind("tp_merge_rows", "lnwlnnnl", "w")


class GrownTree(NamedTuple):
    """A tree, the leaf of every sample, and the bits that the plane takes with it."""

    tree: ContextTree
    leaves: npt.NDArray[np.int32]
    """(N,) in coding order."""
    bits: float
    """Symbols, raw bits and the tree itself."""


def grow_tree(
    plane: PlaneToEncode,
    errors: npt.NDArray[np.int32],
    contexts: npt.NDArray[np.int32],
    means: npt.NDArray[np.int32],
    begins: npt.NDArray[np.int64],
    tables: npt.NDArray[np.int16],
    folded: npt.NDArray[np.int32],
    candidates: npt.NDArray[np.int32],
    costs: npt.NDArray[np.int32],
    most: int,
) -> GrownTree | None:
    """Grow a tree for a plane whose predictions are known, or None where it has no split.

    contexts, means, tables, folded : (N,) in coding order; candidates : (2, N), or (2, 0) where no
    flags may be coded; costs : (tables, TOKENS), of ``WaveModel``; most : samples to look at.
    """
    n = len(folded)
    where = Sheared.of(plane)
    predicted = (errors, contexts, means, begins)
    stride = -(-n // most)
    count = int(np.diff(begins)[::stride].sum())
    sharing = plane.trees.sharing
    some, _ = plane_properties(where, *predicted, stride, max(1, count >> _EDGE_SHIFT))
    edges = [_edges(values) for values in some]
    coded = (tables, folded, candidates)
    examples = plane_examples(where, *predicted, stride, edges, coded, costs)
    kinds, cuts, children, leaf_costs = _grow(
        examples, len(edges), n / max(1, count), sharing=sharing
    )
    nodes = _pruned(kinds, cuts, children, leaf_costs, edges)
    if nodes is None:
        return None
    leaves = plane_leaves(where, *predicted, nodes)
    return _fitted(nodes, leaves, tables, folded, candidates, costs, sharing=sharing)


def _edges(values: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    """Return the values, fewer than BINS, that a property may be split at, by some of its values.

    They have about as many samples between them, by the square root of their number: most
    differences are 0 or nearly so, and the rare ones tell.
    """
    levels, times = np.unique(values, return_counts=True)
    if len(levels) <= BINS:
        return levels[:-1]
    share = np.cumsum(np.sqrt(times))
    wanted = share[-1] * np.arange(1, BINS) / BINS
    return np.unique(levels[np.searchsorted(share, wanted)])


class _Growth(ctypes.Structure):
    """``Growth`` of grow.c."""

    _fields_ = (
        ("m", ctypes.c_int64),
        ("known", ctypes.c_int32),
        ("cost_shift", ctypes.c_int32),
        ("logs", ctypes.c_void_p),
        ("scale", ctypes.c_double),
        *(
            (name, ctypes.c_int32)
            for name in (
                "least",
                "most",
                "node_samples",
                "split_bits",
                "chance_bits",
                "leaf_bits",
                "token_bits",
                "table_bits",
            )
        ),
    )


def _grow(
    examples: npt.NDArray[np.uint8], known: int, scale: float, *, sharing: bool = False
) -> tuple[
    npt.NDArray[np.int64],
    npt.NDArray[np.int64],
    npt.NDArray[np.int64],
    npt.NDArray[np.float64],
]:
    """Split breadth first while it pays. Returns per node: property, cut, children, cost as leaf.

    examples : ``plane_examples``, of ``known`` properties, whose order changes; scale : samples
    that each stands for; sharing : of ``TreeEffort``. Children of a leaf are −1.
    """
    m = examples.shape[1]
    most = 2 * MAX_TREE_NODES + 1
    hold = Holder()
    growth = _Growth(
        m=m,
        known=known,
        cost_shift=(BIT // COST_UNIT).bit_length() - 1,
        logs=hold.at(n_log_n(m), np.int64),
        scale=scale,
        least=_MIN_NODE,
        most=most,
        node_samples=_NODE_SAMPLES,
        split_bits=_SPLIT_BITS,
        chance_bits=_CHANCE_BITS,
        leaf_bits=_LEAF_BITS,
        token_bits=_SHARED_TOKEN_BITS if sharing else _TOKEN_BITS,
        table_bits=_SHARED_TABLE_BITS if sharing else _TABLE_BITS,
    )
    kinds, cuts = np.zeros((2, most), np.int64)
    children, costs = np.full((most, 2), -1, np.int64), np.zeros(most)
    counted = np.zeros(1, np.int64)
    check_memory(_grow_nodes(ctypes.byref(growth), examples, kinds, cuts, children, costs, counted))
    count = int(counted[0])
    return kinds[:count], cuts[:count], children[:count], costs[:count]


def _pruned(
    kinds: npt.NDArray[np.int64],
    cuts: npt.NDArray[np.int64],
    children: npt.NDArray[np.int64],
    costs: npt.NDArray[np.float64],
    edges: Sequence[npt.NDArray[np.int32]],
) -> npt.NDArray[np.int32] | None:
    """Return the nodes of ``TreeArrays`` whose splits pay; None if none does."""
    below, left = children.tolist(), costs.tolist()
    split = [node[0] >= 0 for node in below]
    for node in range(len(split) - 1, -1, -1):  # children come after their parents
        if split[node]:
            whole = left[below[node][0]] + left[below[node][1]] + _NODE_BITS * BIT
            split[node] = whole < left[node]
            left[node] = min(whole, left[node])
    if not split[0]:
        return None
    asked = list(zip(kinds.tolist(), cuts.tolist(), strict=True))
    nodes: list[list[int]] = []
    leaves = 0

    def walk(node: int) -> int:
        nonlocal leaves
        if not split[node]:
            leaves += 1
            return ~(leaves - 1)
        kind, cut = asked[node]
        here = len(nodes)
        nodes.append([kind, int(edges[kind][cut]), 0, 0])
        for side in range(2):
            nodes[here][2 + side] = walk(below[node][side])
        return here

    walk(0)
    return np.array(nodes, np.int32)


def _leaf_counts(
    leaves: npt.NDArray[np.int32],
    tables: npt.NDArray[np.int16],
    folded: npt.NDArray[np.int32],
    candidates: npt.NDArray[np.int32],
    costs: npt.NDArray[np.int32],
    n_leaves: int,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Count per leaf: tokens (L, 3, TOKENS), their cost by the model's tables (L, 3), flags (L, 4).

    Of three ways to code it: no flags, "as west", both. Flags: west yes, no, north yes, no.
    """
    tokens = np.zeros((n_leaves, 3, TOKENS), np.int64)
    theirs, flags = np.zeros((n_leaves, 3), np.int64), np.zeros((n_leaves, 4), np.int64)
    given = (candidates if candidates.size else None, len(folded), costs)
    _count_leaves(leaves, tables, folded, *given, tokens, theirs, flags)
    return tokens, theirs, flags


def _fitted(
    nodes: npt.NDArray[np.int32],
    leaves: npt.NDArray[np.int32],
    tables: npt.NDArray[np.int16],
    folded: npt.NDArray[np.int32],
    candidates: npt.NDArray[np.int32],
    costs: npt.NDArray[np.int32],
    *,
    sharing: bool = False,
) -> GrownTree | None:
    """Choose flags and table of every leaf by what all samples of the plane cost.

    None if that leaves no split; without ``sharing``, of ``TreeEffort``, it leaves all.
    """
    n_leaves = len(nodes) + 1
    tokens, theirs, flags = _leaf_counts(leaves, tables, folded, candidates, costs, n_leaves)
    raw = tokens @ raw_bits() * BIT
    per_table = _SHARED_TABLE_BITS if sharing else _TABLE_BITS
    per_token = _SHARED_TOKEN_BITS if sharing else _TOKEN_BITS
    table = per_table + per_token * np.count_nonzero(tokens, axis=-1)
    own = entropies(tokens.reshape(-1, TOKENS)).reshape(n_leaves, 3) + raw + table * BIT
    model = theirs * (BIT // COST_UNIT)
    level, spent = flag_levels(flags.reshape(n_leaves, 2, 2))
    both = np.cumsum(np.pad(spent, ((0, 0), (1, 0))), axis=1)
    ways = 1 if candidates.shape[1] == 0 else 3
    mode = (np.minimum(own, model) + both)[:, :ways].argmin(1)
    rows = np.arange(n_leaves)
    is_own = (own < model)[rows, mode]
    chosen = tokens[rows, mode]
    leaf_flags = np.where(np.arange(2) < mode[:, None], level + 1, 0)
    group = np.full(n_leaves, -1)
    group[is_own] = _merged(chosen[is_own])
    if sharing:
        theirs_alone = (model - raw)[rows, mode]
        group = best_groups(chosen, theirs_alone, group, _TABLE_BITS, _TOKEN_BITS)
    shared = group_counts(chosen, group, int(group.max(initial=-1)) + 1)
    total = both[rows, mode].sum() + np.where(group >= 0, raw[rows, mode], model[rows, mode]).sum()
    total += entropies(shared).sum()
    kinds = np.concatenate([group[:, None] + 1, leaf_flags], axis=1)
    if sharing:
        nodes, kinds, leaf_of = without_equals(nodes, kinds)
        if not len(nodes):
            return None
        leaves = leaf_of[leaves]
    table_of, flags_of = kinds[:, 0].astype(np.int32), kinds[:, 1:].astype(np.int32)
    tree = ContextTree(nodes, flags_of, table_of, frequency_levels(shared, LEVELS))
    return GrownTree(tree, leaves, float(total / BIT) + 8 * len(pack_tree(tree)))


def _merged(counts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return (rows,) which table each row of (rows, TOKENS) counts shares, in order of use."""
    if not len(counts):
        return np.zeros(0, np.int64)
    used = np.ascontiguousarray(counts[:, counts.any(axis=0)])
    group = np.zeros(len(used), np.int64)
    prices = (TABLE, _TABLE_BITS * BIT, _TOKEN_BITS * BIT, MAX_TREE_TABLES)
    check_memory(_merge_rows(used, len(used), used.shape[1], *prices, group))
    _, first, inverse = np.unique(group, return_index=True, return_inverse=True)
    rank = np.argsort(np.argsort(first))
    return np.asarray(rank[inverse], np.int64)
