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
    entropy,
    flag_levels,
    frequency_levels,
    n_log_n,
)
from tilepress.codecs.wave.model import COST_UNIT
from tilepress.codecs.wave.native.fitting import plane_leaves, plane_properties
from tilepress.codecs.wave.native.structures import Holder, Sheared
from tilepress.codecs.wave.symbols import TOKENS, raw_bits
from tilepress.codecs.wave.tree import LEVELS, ContextTree, pack_tree

__all__ = ["GrownTree", "grow_tree"]

_NODE_SAMPLES = 1 << 15
"""Samples that one split is chosen on, at most."""
_BINS = 32
"""Values of a property that splits are tried between."""
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

_bins = bind("tp_fill_bins", "iniwB")
_joint_symbols = bind("tp_joint", "lnhiinilll")
_grow_nodes = bind("tp_grow", "pllldl", "w")
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
    values, picked = plane_properties(where, *predicted, -(-n // most))
    edges, bins = _binned(values)
    joint, plain, left_open = _joint(picked, tables, folded, candidates, costs)
    seen = np.bincount(joint, minlength=2) > 0
    dense = np.cumsum(seen) - 1
    found = _grow(
        bins,
        dense[joint].astype(np.uint8),
        plain,
        left_open,
        int(np.count_nonzero(seen)),
        np.where(seen[:2], dense[:2], -1),
        n / max(1, len(picked)),
    )
    kinds, cuts, children, leaf_costs = found
    nodes = _pruned(kinds, cuts, children, leaf_costs, edges)
    if nodes is None:
        return None
    leaves = plane_leaves(where, *predicted, nodes)
    return _fitted(nodes, leaves, tables, folded, candidates, costs)


def _binned(
    values: npt.NDArray[np.int32],
) -> tuple[list[npt.NDArray[np.int32]], npt.NDArray[np.uint8]]:
    """Return edges of each property, and (P, M) bins: how many edges lie below the value.

    Edges have about as many samples between them, by the square root of their number: most
    differences are 0 or nearly so, and the rare ones tell.
    """
    count = values.shape[1]
    some = values[:, :: max(1, count >> 13)]
    edges: list[npt.NDArray[np.int32]] = []
    bins = np.empty((len(values), count), np.uint8)
    for k, row in enumerate(some):
        levels, times = np.unique(row, return_counts=True)
        if len(levels) > _BINS:
            share = np.cumsum(np.sqrt(times))
            wanted = share[-1] * np.arange(1, _BINS) / _BINS
            levels = np.unique(levels[np.searchsorted(share, wanted)])
        else:
            levels = levels[:-1]
        edges.append(levels)
        _fill_bins(values[k], levels, bins[k])
    return edges, bins


def _fill_bins(
    values: npt.NDArray[np.int32], edges: npt.NDArray[np.int32], out: npt.NDArray[np.uint8]
) -> None:
    """Count for each value, (M,), how many edges, ascending, lie below it."""
    _bins(values, len(values), edges, len(edges), out)


def _joint(
    picked: npt.NDArray[np.int64],
    tables: npt.NDArray[np.int16],
    folded: npt.NDArray[np.int32],
    candidates: npt.NDArray[np.int32],
    costs: npt.NDArray[np.int32],
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return joint symbols, (M,): 0 as west, 1 as north, else 2 + token of what is left.

    And what samples cost by the model's tables: all of them whole, and those left over after both
    flags.
    """
    joint, plain, left = np.empty((3, len(picked)), np.int64)
    given = (tables, folded, candidates if candidates.size else None, len(folded), costs)
    _joint_symbols(picked, len(picked), *given, joint, plain, left)
    return joint, plain, left


class _Growth(ctypes.Structure):
    """``Growth`` of grow.c."""

    _fields_ = (
        ("bins", ctypes.c_void_p),
        ("joint", ctypes.c_void_p),
        ("plain", ctypes.c_void_p),
        ("left", ctypes.c_void_p),
        ("m", ctypes.c_int64),
        ("known", ctypes.c_int32),
        ("symbols", ctypes.c_int32),
        ("west", ctypes.c_int32),
        ("north", ctypes.c_int32),
        ("logs", ctypes.c_void_p),
        ("scale", ctypes.c_double),
        *(
            (name, ctypes.c_int32)
            for name in (
                "cost_shift",
                "bin_count",
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
    bins: npt.NDArray[np.uint8],
    joint: npt.NDArray[np.uint8],
    plain: npt.NDArray[np.int64],
    left_open: npt.NDArray[np.int64],
    n_symbols: int,
    flags_at: npt.NDArray[np.int64],
    scale: float,
) -> tuple[
    npt.NDArray[np.int64],
    npt.NDArray[np.int64],
    npt.NDArray[np.int64],
    npt.NDArray[np.float64],
]:
    """Split breadth first while it pays. Returns per node: property, cut, children, cost as leaf.

    scale : samples that each sampled one stands for. Children of a leaf are −1.
    """
    known, m = bins.shape
    most = 2 * MAX_TREE_NODES + 1
    hold = Holder()
    growth = _Growth(
        bins=hold.at(bins, np.uint8),
        joint=hold.at(joint, np.uint8),
        plain=hold.at(plain, np.int64),
        left=hold.at(left_open, np.int64),
        m=m,
        known=known,
        symbols=n_symbols,
        west=int(flags_at[0]),
        north=int(flags_at[1]),
        logs=hold.at(n_log_n(m), np.int64),
        scale=scale,
        cost_shift=(BIT // COST_UNIT).bit_length() - 1,
        bin_count=_BINS,
        least=_MIN_NODE,
        most=most,
        node_samples=_NODE_SAMPLES,
        split_bits=_SPLIT_BITS,
        chance_bits=_CHANCE_BITS,
        leaf_bits=_LEAF_BITS,
        token_bits=_TOKEN_BITS,
        table_bits=_TABLE_BITS,
    )
    kinds, cuts = np.zeros((2, most), np.int64)
    children, costs = np.full((most, 2), -1, np.int64), np.zeros(most)
    counted = np.zeros(1, np.int64)
    check_memory(_grow_nodes(ctypes.byref(growth), kinds, cuts, children, costs, counted))
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
    split = children[:, 0] >= 0
    for node in range(len(kinds) - 1, -1, -1):  # children come after their parents
        if split[node]:
            whole = costs[children[node]].sum() + _NODE_BITS * BIT
            split[node] = whole < costs[node]
            costs[node] = min(whole, costs[node])
    if not split[0]:
        return None
    nodes: list[list[int]] = []
    leaves = 0

    def walk(node: int) -> int:
        nonlocal leaves
        if not split[node]:
            leaves += 1
            return ~(leaves - 1)
        kind = int(kinds[node])
        here = len(nodes)
        nodes.append([kind, int(edges[kind][cuts[node]]), 0, 0])
        for side in range(2):
            nodes[here][2 + side] = walk(int(children[node, side]))
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
) -> GrownTree:
    """Choose flags and table of every leaf by what all samples of the plane cost."""
    n_leaves = len(nodes) + 1
    tokens, theirs, flags = _leaf_counts(leaves, tables, folded, candidates, costs, n_leaves)
    raw = tokens @ raw_bits() * BIT
    table = _TABLE_BITS + _TOKEN_BITS * np.count_nonzero(tokens, axis=-1)
    own = entropies(tokens.reshape(-1, TOKENS)).reshape(n_leaves, 3) + raw + table * BIT
    model = theirs * (BIT // COST_UNIT)
    level, spent = flag_levels(flags.reshape(n_leaves, 2, 2))
    both = np.cumsum(np.pad(spent, ((0, 0), (1, 0))), axis=1)
    ways = 1 if candidates.shape[1] == 0 else 3
    mode = (np.minimum(own, model) + both)[:, :ways].argmin(1)
    rows = np.arange(n_leaves)
    is_own = (own < model)[rows, mode]
    chosen = tokens[rows, mode]
    leaf_flags = np.where(np.arange(2) < mode[:, None], level + 1, 0).astype(np.int32)
    group = _merged(chosen[is_own])
    table_of = np.zeros(n_leaves, np.int32)
    table_of[is_own] = group + 1
    levels = np.zeros((int(group.max(initial=-1)) + 1, TOKENS), np.int32)
    total = both[rows, mode].sum() + np.where(is_own, raw[rows, mode], model[rows, mode]).sum()
    for k in range(len(levels)):
        counts = chosen[table_of == k + 1].sum(0)
        levels[k] = frequency_levels(counts, LEVELS)
        total += entropy(counts)
    tree = ContextTree(nodes, leaf_flags, table_of, levels)
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
