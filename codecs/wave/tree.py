"""The context tree of a plane: flags and table of each of its samples (FORMAT.md §4.5).

A node asks whether a property of the sample (what is known before it: predictions, differences of
neighbours, earlier planes) is above a threshold; a leaf names the probabilities of both match flags
and the table of the tokens, one of the plane's own or the model's by scale and shape. As the trees
of JPEG XL (ISO/IEC 18181-1, modular mode), but beside a predictor that has been chosen already.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tilepress.codecs.limits import MAX_TREE_NODES, MAX_TREE_TABLES
from tilepress.codecs.wave.arithmetic import contexts, decode_bit, encode_bits, start
from tilepress.codecs.wave.compiled import jit
from tilepress.codecs.wave.layout import MATCH_CONTEXTS, MATCH_LEVELS, PROPERTIES
from tilepress.codecs.wave.rans import TABLE_BITS
from tilepress.codecs.wave.symbols import TOKENS
from tilepress.errors import InvalidRecord

__all__ = [
    "LEVELS",
    "NO_TREE",
    "ContextTree",
    "TreeArrays",
    "frequencies_of",
    "pack_tree",
    "read_tree",
]

LEVELS = 62
"""Levels of a token's frequency: 0 where it does not occur, else quarters of an octave."""
_WEIGHTS = np.array(
    [0] + [(32, 38, 45, 54)[k & 3] << (k >> 2) for k in range(LEVELS - 1)], np.int64
)


class TreeArrays(NamedTuple):
    """A tree as the decoder takes it; no tree has no nodes."""

    nodes: npt.NDArray[np.int32]
    """(n, 4): property, threshold, where to go from ≤ and from > it: a node, or ~leaf."""
    leaf_tables: npt.NDArray[np.int32]
    """(MATCH_CONTEXTS,) of each leaf: 0 for the model's tables, else 1 + number of an own one."""
    cumulative: npt.NDArray[np.int32]
    """(tables, TOKENS + 2), as of the model's tables."""
    used: npt.NDArray[np.int32]
    """(tables,): no token is an escape."""
    lookup: npt.NDArray[np.uint8]
    """(tables, 256)."""

    def after(
        self,
        cumulative: npt.NDArray[np.int32],
        used: npt.NDArray[np.int32],
        lookup: npt.NDArray[np.uint8],
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32], npt.NDArray[np.uint8]]:
        """Return the model's tables, as given, and then the own ones."""
        if not len(self.used):
            return cumulative, used, lookup
        return (
            np.concatenate([cumulative, self.cumulative]),
            np.concatenate([used, self.used]),
            np.concatenate([lookup, self.lookup]),
        )


NO_TREE = TreeArrays(
    np.zeros((0, 4), np.int32),
    np.zeros(MATCH_CONTEXTS, np.int32),
    np.zeros((0, TOKENS + 2), np.int32),
    np.zeros(0, np.int32),
    np.zeros((0, 256), np.uint8),
)


class ContextTree(NamedTuple):
    """A tree as its body holds it."""

    nodes: npt.NDArray[np.int32]
    """As in ``TreeArrays``, in the order of a walk that goes first where the answer is no."""
    flags: npt.NDArray[np.int32]
    """(leaves, 2): 1 + index into MATCH_LEVELS of "as west", "as north"; 0 where not coded."""
    tables: npt.NDArray[np.int32]
    """(leaves,): 0 for the model's tables, else 1 + number of an own one."""
    levels: npt.NDArray[np.int32]
    """(own tables, TOKENS): level of each token's frequency."""

    def arrays(self) -> TreeArrays:
        """Return what the decoder takes."""
        own = len(self.levels)
        cumulative = np.zeros((own, TOKENS + 2), np.int32)
        lookup = np.zeros((own, 256), np.uint8)
        slots = np.arange(256) << (TABLE_BITS - 8)
        for row in range(own):
            cumulative[row, 1:-1] = np.cumsum(frequencies_of(self.levels[row]))
            cumulative[row, -1] = cumulative[row, -2]
            lookup[row] = np.searchsorted(cumulative[row, 1:-2], slots, side="right")
        leaf_tables = np.zeros(MATCH_CONTEXTS, np.int32)
        leaf_tables[: len(self.tables)] = self.tables
        return TreeArrays(
            self.nodes, leaf_tables, cumulative, np.full(own, TOKENS, np.int32), lookup
        )

    def match_levels(self) -> npt.NDArray[np.int32]:
        """Return (2, MATCH_CONTEXTS) levels of the match flags, by leaf."""
        out = np.zeros((2, MATCH_CONTEXTS), np.int32)
        out[:, : len(self.flags)] = self.flags.T
        return out


def frequencies_of(levels: npt.NDArray[np.int32]) -> npt.NDArray[np.int64]:
    """Return (TOKENS,) frequencies that sum to 2^TABLE_BITS, of levels of which one is not 0."""
    weights = _WEIGHTS[levels]
    out = np.maximum((weights << TABLE_BITS) // weights.sum(), 1) * (levels > 0)
    out[levels.argmax()] += (1 << TABLE_BITS) - out.sum()
    return np.asarray(out, np.int64)


# Numbers of a tree: the first context of each kind, and how many bits a number has ----------------

_SPLIT, _PROPERTY, _SIZE, _SIGN, _REST = 0, 1, 1 + 32, 1 + 64, 2 + 64
_WEST, _NORTH, _TABLE, _TOKENS, _LEVEL = 3 + 64, 3 + 192, 3 + 320, 3 + 384, 3 + 512
_CONTEXTS = _LEVEL + 16 * 64
_COUNT_BITS, _TOKEN_BITS, _LEVEL_BITS, _FLAG_BITS = 6, 7, 6, 7
_MAX_SIZE = 24


@jit
def _spelt(numbers: Any) -> Any:
    """Return the bits of numbers, (n, 3) value, width and first context, and their contexts.

    Most significant bit first; what went before it of a number is its context.
    """
    count = numbers[:, 1].sum()
    bits, places = np.empty(count, np.uint8), np.empty(count, np.int64)
    at = 0
    for value, width, first in numbers:
        prefix = 1
        for k in range(width - 1, -1, -1):
            bits[at] = (value >> k) & 1
            places[at] = first + prefix - 1
            prefix = 2 * prefix + bits[at]
            at += 1
    return bits, places


def pack_tree(tree: ContextTree) -> bytes:
    """Pack a tree: number of own tables, nodes and leaves in the order of a walk, own tables."""
    out: list[tuple[int, int, int]] = []

    def put(value: int, width: int, first: int) -> None:
        out.append((value, width, first))

    put(len(tree.levels), _COUNT_BITS, _TABLE)

    def walk(node: int) -> None:
        put(int(node >= 0), 1, _SPLIT)
        if node < 0:
            leaf = ~node
            put(int(tree.flags[leaf, 0]), _FLAG_BITS, _WEST)
            put(int(tree.flags[leaf, 1]), _FLAG_BITS, _NORTH)
            put(int(tree.tables[leaf]), _COUNT_BITS, _TABLE)
            return
        kind, threshold, low, high = (int(v) for v in tree.nodes[node])
        put(kind, 5, _PROPERTY)
        size = abs(threshold).bit_length()
        put(size, 5, _SIZE)
        if size:
            put(int(threshold < 0), 1, _SIGN)
            for k in range(size - 2, -1, -1):
                put(abs(threshold) >> k & 1, 1, _REST)
        walk(low)
        walk(high)

    walk(0)
    for row in tree.levels:
        tokens = int(np.flatnonzero(row)[-1]) + 1
        put(tokens, _TOKEN_BITS, _TOKENS)
        before = 0
        for level in row[:tokens].tolist():
            put(level, _LEVEL_BITS, _LEVEL + 64 * (before >> 2))
            before = level
    bits, places = _spelt(np.array(out, np.int64))
    return bytes(encode_bits(bits, places, _CONTEXTS).tobytes())


@jit
def _number(data: Any, place: Any, state: Any, width: int, first: int) -> int:
    prefix = 1
    for _ in range(width):
        prefix = 2 * prefix + decode_bit(data, place, state, first + prefix - 1)
    return prefix - (1 << width)


@jit
def _read(data: Any, nodes: Any, flags: Any, tables: Any, levels: Any, properties: int) -> Any:
    """Fill the arrays of a tree; return nodes, leaves, own tables, bytes read and a fault code."""
    state, place = contexts(_CONTEXTS), start(data)
    n_nodes, n_leaves = 0, 0
    own = _number(data, place, state, _COUNT_BITS, _TABLE)
    waiting = np.zeros((len(nodes) + 1, 2), np.int64)  # which node's which child comes next
    depth = 0
    waiting[0, 0] = -1
    while depth >= 0:
        parent, side = waiting[depth]
        depth -= 1
        split = _number(data, place, state, 1, _SPLIT)
        if parent >= 0:
            nodes[parent, 2 + side] = n_nodes if split else ~n_leaves
        elif not split:
            return n_nodes, n_leaves, own, np.int64(place[2]), 1
        if not split:
            for k in range(2):
                flag = _number(data, place, state, _FLAG_BITS, _WEST if k == 0 else _NORTH)
                if flag > len(MATCH_LEVELS):
                    return n_nodes, n_leaves, own, np.int64(place[2]), 2
                flags[n_leaves, k] = flag
            tables[n_leaves] = _number(data, place, state, _COUNT_BITS, _TABLE)
            if tables[n_leaves] > own:
                return n_nodes, n_leaves, own, np.int64(place[2]), 3
            n_leaves += 1
            continue
        if n_nodes == len(nodes):
            return n_nodes, n_leaves, own, np.int64(place[2]), 4
        kind = _number(data, place, state, 5, _PROPERTY)
        size = _number(data, place, state, 5, _SIZE)
        if kind >= properties or size > _MAX_SIZE:
            return n_nodes, n_leaves, own, np.int64(place[2]), 5
        threshold = 0
        if size > 0:
            negative = _number(data, place, state, 1, _SIGN)
            threshold = 1
            for _ in range(size - 1):
                threshold = 2 * threshold + _number(data, place, state, 1, _REST)
            threshold = -threshold if negative else threshold
        nodes[n_nodes, 0], nodes[n_nodes, 1] = kind, threshold
        waiting[depth + 1, 0], waiting[depth + 1, 1] = n_nodes, 1
        waiting[depth + 2, 0], waiting[depth + 2, 1] = n_nodes, 0
        depth += 2
        n_nodes += 1
    for row in range(own):
        tokens = _number(data, place, state, _TOKEN_BITS, _TOKENS)
        if tokens == 0 or tokens > TOKENS:
            return n_nodes, n_leaves, own, np.int64(place[2]), 6
        before = 0
        for token in range(tokens):
            before = _number(data, place, state, _LEVEL_BITS, _LEVEL + 64 * (before >> 2))
            if before >= LEVELS:
                return n_nodes, n_leaves, own, np.int64(place[2]), 6
            levels[row, token] = before
        if before == 0:
            return n_nodes, n_leaves, own, np.int64(place[2]), 6
    return n_nodes, n_leaves, own, np.int64(place[2]), 0


_FAULTS = (
    "",
    "it has no nodes",
    "a flag's probability beyond the last one",
    "a table beyond the last one",
    f"more than {MAX_TREE_NODES} nodes",
    "a property or threshold out of range",
    "a table without tokens",
)


def read_tree(data: memoryview, n_refs: int) -> ContextTree:
    """Unpack a tree of a plane with ``n_refs`` references; raises InvalidRecord."""
    nodes = np.zeros((MAX_TREE_NODES, 4), np.int32)
    flags = np.zeros((MAX_TREE_NODES + 1, 2), np.int32)
    tables = np.zeros(MAX_TREE_NODES + 1, np.int32)
    levels = np.zeros((MAX_TREE_TABLES, TOKENS), np.int32)
    known = PROPERTIES - 6 * (2 - n_refs)
    found = _read(np.frombuffer(data, np.uint8), nodes, flags, tables, levels, known)
    n_nodes, n_leaves, own, used, fault = (int(v) for v in found)
    if fault:
        raise InvalidRecord(f"decoding a context tree: {_FAULTS[fault]}")
    if used < len(data):
        raise InvalidRecord(f"decoding a context tree: {len(data) - used} bytes are left over")
    return ContextTree(nodes[:n_nodes], flags[:n_leaves], tables[:n_leaves], levels[:own])
