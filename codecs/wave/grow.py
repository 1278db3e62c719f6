"""The encoder's half of context trees: grow one on some of a plane's samples, fit it to all.

Best split first by entropy on samples of every few steps, then pruning from the leaves up, where
the model's own tables are the rival: they are finer in scale, and cost nothing. All sums are of
integers. What a tree is, ``tree.py`` says.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tilepress.codecs.limits import MAX_TREE_NODES, MAX_TREE_TABLES
from tilepress.codecs.wave.backend import PlaneToEncode
from tilepress.codecs.wave.compiled import jit
from tilepress.codecs.wave.costs import (
    BIT,
    entropies,
    entropy,
    flag_levels,
    frequency_levels,
    n_log_n,
)
from tilepress.codecs.wave.layout import (
    OWN_PROPERTIES,
    PROPERTIES,
)
from tilepress.codecs.wave.model import COST_UNIT
from tilepress.codecs.wave.properties import step_leaves, step_properties
from tilepress.codecs.wave.symbols import TOKENS, raw_bits, token_of
from tilepress.codecs.wave.tree import LEVELS, ContextTree, pack_tree
from tilepress.codecs.wave.wavefront import active_rows, most_rows, pitch_of, position_of, steps

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
    where = (plane.own, plane.refs, plane.ref_errors, plane.n_refs, errors, plane.mask)
    size = (plane.height, plane.width)
    values, picked = _gather(*where, *size, -(-n // most), begins, contexts, means)
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
        n_log_n(len(picked)),
        n / max(1, len(picked)),
    )
    kinds, cuts, children, leaf_costs = found
    nodes = _pruned(kinds, cuts, children, leaf_costs, edges)
    if nodes is None:
        return None
    leaves = _route(*where, *size, begins, contexts, means, nodes, _wanted(nodes))
    return _fitted(nodes, leaves, tables, folded, candidates, costs)


def _wanted(nodes: npt.NDArray[np.int32]) -> npt.NDArray[np.bool_]:
    wanted = np.zeros(PROPERTIES, np.bool_)
    wanted[nodes[:, 0]] = True
    return wanted


@jit
def _gather(
    own: Any,
    refs: Any,
    ref_errors: Any,
    n_refs: int,
    errors: Any,
    mask: Any,
    height: int,
    width: int,
    stride: int,
    begins: Any,
    contexts: Any,
    means: Any,
) -> Any:
    """Return properties (P, M) int32 of the samples of every ``stride``-th step, and which."""
    count = 0
    for t in range(0, len(begins) - 1, stride):
        count += begins[t + 1] - begins[t]
    known = OWN_PROPERTIES + 6 * n_refs
    out = np.empty((known, count), np.int32)
    picked = np.empty(count, np.int64)
    rows, pitch = most_rows(height, width), pitch_of(height, width)
    step = np.zeros((PROPERTIES, rows), np.int32)
    wanted = np.arange(PROPERTIES) < known
    context, mean = np.zeros(rows, np.int32), np.zeros(rows, np.int32)
    m = 0
    for t in range(0, len(begins) - 1, stride):
        y0, y1 = active_rows(t, height, width)
        n = y1 - y0
        at = position_of(t, y0, pitch)
        j = begins[t]
        for i in range(n):
            if mask.shape[0] > 0 and mask[at + i]:
                continue
            context[i], mean[i] = contexts[j], means[j]
            j += 1
        step_properties(
            own, refs, ref_errors, n_refs, errors, at, pitch, n, context, mean, wanted, step
        )
        j = begins[t]
        for i in range(n):
            if mask.shape[0] > 0 and mask[at + i]:
                continue
            for k in range(known):
                out[k, m] = step[k, i]
            picked[m] = j
            j += 1
            m += 1
    return out, picked


@jit
def _route(
    own: Any,
    refs: Any,
    ref_errors: Any,
    n_refs: int,
    errors: Any,
    mask: Any,
    height: int,
    width: int,
    begins: Any,
    contexts: Any,
    means: Any,
    nodes: Any,
    wanted: Any,
) -> Any:
    """Return the leaf of every sample, (N,) int32 in coding order."""
    out = np.empty(len(contexts), np.int32)
    rows, pitch = most_rows(height, width), pitch_of(height, width)
    step = np.zeros((PROPERTIES, rows), np.int32)
    context, mean = np.zeros(rows, np.int32), np.zeros(rows, np.int32)
    leaves = np.zeros(rows, np.int32)
    for t in range(steps(height, width)):
        y0, y1 = active_rows(t, height, width)
        n = y1 - y0
        at = position_of(t, y0, pitch)
        j = begins[t]
        for i in range(n):
            if mask.shape[0] > 0 and mask[at + i]:
                continue
            context[i], mean[i] = contexts[j], means[j]
            j += 1
        step_properties(
            own, refs, ref_errors, n_refs, errors, at, pitch, n, context, mean, wanted, step
        )
        step_leaves(nodes, step, n, leaves)
        j = begins[t]
        for i in range(n):
            if mask.shape[0] > 0 and mask[at + i]:
                continue
            out[j] = leaves[i]
            j += 1
    return out


def _binned(
    values: npt.NDArray[np.int32],
) -> tuple[list[npt.NDArray[np.int32]], npt.NDArray[np.uint8]]:
    """Return edges of each property, and (M, P) bins: how many edges lie below the value.

    Edges have about as many samples between them, by the square root of their number: most
    differences are 0 or nearly so, and the rare ones tell.
    """
    count = values.shape[1]
    some = values[:, :: max(1, count >> 13)]
    edges: list[npt.NDArray[np.int32]] = []
    bins = np.empty((count, len(values)), np.uint8)
    for k, row in enumerate(some):
        levels, times = np.unique(row, return_counts=True)
        if len(levels) > _BINS:
            share = np.cumsum(np.sqrt(times))
            wanted = share[-1] * np.arange(1, _BINS) / _BINS
            levels = np.unique(levels[np.searchsorted(share, wanted)])
        else:
            levels = levels[:-1]
        edges.append(levels)
        _fill_bins(values[k], levels, bins, k)
    return edges, bins


@jit
def _fill_bins(values: Any, edges: Any, bins: Any, column: int) -> None:
    """Count for each value, (M,), how many edges, ascending, lie below it."""
    count = len(edges)
    if count == 0:
        bins[:, column] = 0
        return
    first, span = np.int64(edges[0]), np.int64(edges[-1]) - edges[0] + 1
    if span <= 4096:
        below = np.empty(span + 1, np.uint8)
        passed = 0
        for k in range(span + 1):
            while passed < count and edges[passed] < first + k:
                passed += 1
            below[k] = passed
        for i in range(len(values)):
            bins[i, column] = below[min(max(values[i] - first, 0), span)]
        return
    for i in range(len(values)):
        low, high = 0, count
        while low < high:
            middle = (low + high) >> 1
            if edges[middle] < values[i]:
                low = middle + 1
            else:
                high = middle
        bins[i, column] = low


@jit
def _joint(picked: Any, tables: Any, folded: Any, candidates: Any, costs: Any) -> Any:
    """Return joint symbols, (M,): 0 as west, 1 as north, else 2 + token of what is left.

    And what samples cost by the model's tables: all of them whole, and those left over after both
    flags.
    """
    m = len(picked)
    joint, plain, left = np.empty(m, np.int64), np.empty(m, np.int64), np.zeros(m, np.int64)
    flagged = candidates.shape[1] > 0
    for k in range(m):
        i = picked[k]
        z = folded[i]
        plain[k] = costs[tables[i], token_of(z)]
        if flagged:
            west, north = candidates[0, i], candidates[1, i]
            if z == west:
                joint[k] = 0
                continue
            if z == north:
                joint[k] = 1
                continue
            z -= np.int32(z > west) + np.int32(north != west and z > north)
        joint[k] = 2 + token_of(z)
        left[k] = costs[tables[i], token_of(z)]
    return joint, plain, left


@jit
def _grow(
    bins: Any,
    joint: Any,
    plain: Any,
    left_open: Any,
    n_symbols: int,
    flags_at: Any,
    logs: Any,
    scale: float,
) -> Any:
    """Split breadth first while it pays. Returns per node: property, cut, children, cost as leaf.

    scale : samples that each sampled one stands for. Children of a leaf are −1.
    """
    m, known = bins.shape
    most = 2 * MAX_TREE_NODES + 1
    unit = np.float64(BIT)
    kinds, cuts = np.zeros(most, np.int64), np.zeros(most, np.int64)
    children = np.full((most, 2), -1, np.int64)
    costs = np.zeros(most, np.float64)
    begin, end = np.zeros(most, np.int64), np.zeros(most, np.int64)
    order, spare = np.arange(m), np.empty(m, np.int64)
    counts = np.zeros((known, _BINS, n_symbols), np.int32)
    total, below = np.zeros(n_symbols, np.int64), np.zeros(n_symbols, np.int64)
    number = np.zeros(n_symbols, np.int64)  # of the symbols that a node has
    end[0] = m
    count, node = 1, 0
    while node < count:
        first, last = begin[node], end[node]
        n = last - first
        total[:] = 0
        plain_cost, left_cost = np.int64(0), np.int64(0)
        for a in range(first, last):
            i = order[a]
            total[joint[i]] += 1
            plain_cost += plain[i]
            left_cost += left_open[i]
        entropy = logs[n]
        used = 0
        for s in range(n_symbols):
            entropy -= logs[total[s]]
            used += total[s] > 0
        west = total[flags_at[0]] if flags_at[0] >= 0 else 0
        north = total[flags_at[1]] if flags_at[1] >= 0 else 0
        flags = logs[n] - logs[west] - logs[north] - logs[n - west - north]
        own = entropy * scale + unit * (_TABLE_BITS + _TOKEN_BITS * used)
        per_unit = BIT // COST_UNIT
        theirs = min(plain_cost * per_unit, left_cost * per_unit + flags) * scale
        costs[node] = min(own, theirs) + unit * _LEAF_BITS
        if n >= _MIN_NODE and count + 2 <= most:
            u = 0
            for s in range(n_symbols):
                if total[s] > 0:
                    number[s] = u
                    u += 1
            counts[:, :, :u] = 0
            stride = -(-n // _NODE_SAMPLES)
            for a in range(first, last, stride):
                i = order[a]
                s = number[joint[i]]
                for k in range(known):
                    counts[k, bins[i, k], s] += 1
            some = -(-n // stride)
            total[:u] = 0
            for b in range(_BINS):
                for s in range(u):
                    total[s] += counts[0, b, s]
            entropy = logs[some]
            for s in range(u):
                entropy -= logs[total[s]]
            best, kind, cut = np.int64(1) << np.int64(62), -1, -1
            for k in range(known):
                below[:u] = 0
                n_below = 0
                for b in range(_BINS - 1):
                    here = 0
                    for s in range(u):
                        here += counts[k, b, s]
                    if here == 0:
                        continue
                    n_below += here
                    if n_below == some:
                        break
                    cost = logs[n_below] + logs[some - n_below]
                    for s in range(u):
                        below[s] += counts[k, b, s]
                        cost -= logs[below[s]] + logs[total[s] - below[s]]
                    if cost < best:
                        best, kind, cut = cost, k, b
            if kind >= 0 and (entropy - best) * (scale * stride) > unit * max(
                _SPLIT_BITS, (_CHANCE_BITS + u) * scale * stride
            ):
                kinds[node], cuts[node] = kind, cut
                a, z = first, 0
                for p in range(first, last):
                    i = order[p]
                    if bins[i, kind] <= cut:
                        order[a] = i
                        a += 1
                    else:
                        spare[z] = i
                        z += 1
                order[a:last] = spare[:z]
                children[node, 0], children[node, 1] = count, count + 1
                begin[count], end[count] = first, a
                begin[count + 1], end[count + 1] = a, last
                count += 2
        node += 1
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


@jit
def _leaf_counts(
    leaves: Any, tables: Any, folded: Any, candidates: Any, costs: Any, n_leaves: int
) -> Any:
    """Count per leaf: tokens (L, 3, TOKENS), their cost by the model's tables (L, 3), flags (L, 4).

    Of three ways to code it: no flags, "as west", both. Flags: west yes, no, north yes, no.
    """
    tokens = np.zeros((n_leaves, 3, TOKENS), np.int64)
    theirs = np.zeros((n_leaves, 3), np.int64)
    flags = np.zeros((n_leaves, 4), np.int64)
    flagged = candidates.shape[1] > 0
    for i in range(len(leaves)):
        leaf, table, z = leaves[i], tables[i], folded[i]
        token = token_of(z)
        tokens[leaf, 0, token] += 1
        theirs[leaf, 0] += costs[table, token]
        if not flagged:
            continue
        west, north = candidates[0, i], candidates[1, i]
        if z == west:
            flags[leaf, 0] += 1
            continue
        flags[leaf, 1] += 1
        open_ = z - np.int32(z > west)
        token = token_of(open_)
        tokens[leaf, 1, token] += 1
        theirs[leaf, 1] += costs[table, token]
        if north != west:
            if z == north:
                flags[leaf, 2] += 1
                continue
            flags[leaf, 3] += 1
            open_ -= np.int32(z > north)
        token = token_of(open_)
        tokens[leaf, 2, token] += 1
        theirs[leaf, 2] += costs[table, token]
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
    group = _merge(used, _TABLE_BITS * BIT, _TOKEN_BITS * BIT, MAX_TREE_TABLES)
    _, first, inverse = np.unique(group, return_index=True, return_inverse=True)
    rank = np.argsort(np.argsort(first))
    return np.asarray(rank[inverse], np.int64)


@jit
def _merge(counts: Any, table_cost: int, token_cost: int, most: int) -> Any:
    """Merge rows while that saves bits, or more than ``most`` are left; return each row's group."""
    n = len(counts)
    never = np.int64(1) << np.int64(62)
    group = np.arange(n)
    alive = np.ones(n, np.bool_)
    cost = np.zeros(n, np.int64)
    for i in range(n):
        cost[i] = entropy(counts[i]) + table_cost + token_cost * np.count_nonzero(counts[i])
    extra = np.full((n, n), never)
    for i in range(n):
        for j in range(i + 1, n):
            both = counts[i] + counts[j]
            whole = entropy(both) + table_cost + token_cost * np.count_nonzero(both)
            extra[i, j] = whole - cost[i] - cost[j]
    best = np.zeros(n, np.int64)  # of each row, the later row that suits it best
    for i in range(n):
        best[i] = i + extra[i, i:].argmin()
    left = n
    while left > 1:
        a = -1
        for i in range(n):
            if alive[i] and (a < 0 or extra[i, best[i]] < extra[a, best[a]]):
                a = i
        b = best[a]
        if extra[a, b] >= 0 and left <= most:
            break
        counts[a] += counts[b]
        cost[a] += cost[b] + extra[a, b]
        alive[b] = False
        left -= 1
        extra[b, :] = never
        extra[:, b] = never
        for i in range(n):
            if group[i] == b:
                group[i] = a
            if alive[i] and i != a:
                both = counts[i] + counts[a]
                whole = entropy(both) + table_cost + token_cost * np.count_nonzero(both)
                extra[min(i, a), max(i, a)] = whole - cost[i] - cost[a]
        for i in range(n):
            if alive[i]:
                best[i] = i + extra[i, i:].argmin()
    return group
