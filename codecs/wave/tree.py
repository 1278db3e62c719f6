"""The context tree of a plane: flags and table of each of its samples (FORMAT.md §4.5).

A node asks whether a property of the sample (what is known before it: predictions, differences of
neighbours, earlier planes) is above a threshold; a leaf names the probabilities of both match flags
and the table of the tokens, one of the plane's own or the model's by scale and shape. As the trees
of JPEG XL (ISO/IEC 18181-1, modular mode), but beside a predictor that has been chosen already.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tilepress.codecs.limits import MAX_TREE_NODES, MAX_TREE_TABLES
from tilepress.codecs.native.library import bind, check_memory
from tilepress.codecs.wave.layout import (
    MATCH_CONTEXTS,
    MATCH_LEVELS,
    OWN_PROPERTIES,
    REFERENCE_PROPERTIES,
)
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
        cumulative[:, 1:-1] = np.cumsum(frequencies_of(self.levels), axis=1)
        cumulative[:, -1] = cumulative[:, -2]
        lookup = np.zeros((own, 256), np.uint8)
        slots = np.arange(256) << (TABLE_BITS - 8)
        for row, ends in zip(lookup, cumulative[:, 1:-2], strict=True):
            row[:] = np.searchsorted(ends, slots, side="right")
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
    """Return (…, TOKENS) frequencies that sum to 2^TABLE_BITS, of levels of which one is not 0."""
    weights = _WEIGHTS[levels]
    whole = weights.sum(-1, keepdims=True)
    out = np.maximum((weights << TABLE_BITS) // whole, 1) * (levels > 0)
    most = levels.argmax(-1)[..., None]
    rest = (1 << TABLE_BITS) - out.sum(-1, keepdims=True)
    np.put_along_axis(out, most, np.take_along_axis(out, most, -1) + rest, -1)
    return np.asarray(out, np.int64)


_pack_tree = bind("tp_pack_tree", "iniiiwB", "n")
_read_tree = bind("tp_read_tree", "Bnwwwwwiiiil", "w")


def pack_tree(tree: ContextTree) -> bytes:
    """Pack a tree: number of own tables, nodes and leaves in the order of a walk, own tables."""
    own = len(tree.levels)
    coded = np.empty(64 + 112 * (len(tree.nodes) + 1) + (14 + 12 * TOKENS) * own, np.uint8)
    of_leaves = (np.ascontiguousarray(tree.flags), tree.tables)
    size = _pack_tree(tree.nodes, len(tree.nodes), *of_leaves, tree.levels, own, coded)
    if size < 0:
        raise MemoryError("the native kernel found no memory for a context tree")
    return coded[1 : 1 + size].tobytes()


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
    known = OWN_PROPERTIES + REFERENCE_PROPERTIES * n_refs
    coded, counts = np.frombuffer(data, np.uint8), np.zeros(4, np.int64)
    limits = (MAX_TREE_NODES, MAX_TREE_TABLES, known, len(MATCH_LEVELS), LEVELS)
    fault = _read_tree(coded, len(coded), *limits, nodes, flags, tables, levels, counts)
    n_nodes, n_leaves, own, used = counts.tolist()
    check_memory(fault)
    if fault:
        raise InvalidRecord(f"decoding a context tree: {_FAULTS[fault]}")
    if used < len(data):
        raise InvalidRecord(f"decoding a context tree: {len(data) - used} bytes are left over")
    return ContextTree(nodes[:n_nodes], flags[:n_leaves], tables[:n_leaves], levels[:own])
