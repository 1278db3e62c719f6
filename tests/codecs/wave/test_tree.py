"""Context trees: packed and read, and what their nodes ask of a sample."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tilepress.codecs.limits import MAX_TREE_BYTES, MAX_TREE_NODES, MAX_TREE_TABLES
from tilepress.codecs.wave import tree, wavefront
from tilepress.codecs.wave.layout import MATCH_CONTEXTS, MATCH_LEVELS, OWN_PROPERTIES, PROPERTIES
from tilepress.codecs.wave.native.fitting import plane_leaves, plane_properties
from tilepress.codecs.wave.native.structures import Sheared
from tilepress.codecs.wave.rans import TABLE_BITS
from tilepress.codecs.wave.symbols import TOKENS
from tilepress.codecs.wave.tree import (
    LEVELS,
    NO_TREE,
    ContextTree,
    frequencies_of,
    pack_tree,
    read_tree,
)
from tilepress.errors import InvalidRecord

from .range_coder import LEVEL, NORTH, PROPERTY, SIZE, SPLIT, TABLE, TOKENS_OF, WEST, numbers

Node = tuple[int, int]
MOST = 2**24 - 1
"""Threshold of the most bits."""


def known(n_refs: int) -> int:
    return OWN_PROPERTIES + 6 * n_refs


def random_levels(rng: np.random.Generator, tables: int) -> np.ndarray:
    """Levels of own tables: dense, sparse, and of one token alone."""
    levels = rng.integers(1, LEVELS, (tables, TOKENS))
    levels *= rng.random((tables, TOKENS)) < rng.choice([0.0, 0.1, 1.0], (tables, 1))
    levels[np.arange(tables), rng.integers(0, TOKENS, tables)] = LEVELS - 1
    return levels.astype(np.int32)


def random_tree(seed: int, splits: int, tables: int, n_refs: int = 2) -> ContextTree:
    """A tree of any shape; nodes and leaves in the order of a walk, as encoders number them."""
    rng = np.random.default_rng(seed)
    nodes: list[list[int]] = []
    leaves = 0

    def walk(left: int) -> int:
        nonlocal leaves
        if left == 0:
            leaves += 1
            return ~(leaves - 1)
        here = len(nodes)
        size = int(rng.choice([0, 1, 4, 12, 24]))
        kind = int(rng.integers(0, known(n_refs)))
        nodes.append([kind, int(rng.integers(-(2**size) + 1, 2**size)), 0, 0])
        low = int(rng.choice([0, rng.integers(0, left), left - 1]))
        nodes[here][2] = walk(low)
        nodes[here][3] = walk(left - 1 - low)
        return here

    walk(splits)
    return ContextTree(
        np.array(nodes, np.int32),
        rng.integers(0, len(MATCH_LEVELS) + 1, (leaves, 2)).astype(np.int32),
        rng.integers(0, tables + 1, leaves).astype(np.int32),
        random_levels(rng, tables),
    )


def chain(splits: int, side: int = 1) -> ContextTree:
    """A tree whose every node has a leaf on one side: the deepest of its size."""
    here, there = np.arange(1, splits + 1), ~np.arange(splits)
    nodes = np.zeros((splits, 4), np.int32)
    if side:  # leaf, then the rest
        nodes[:, 2], nodes[:, 3] = there, np.append(here[:-1], ~splits)
    else:  # the rest, then the leaf: the deepest leaf is the first
        nodes[:, 2], nodes[:, 3] = np.append(here[:-1], -1), ~np.arange(splits, 0, -1)
    none = np.zeros(splits + 1, np.int32)
    return ContextTree(nodes, np.stack([none, none], 1), none, np.zeros((0, TOKENS), np.int32))


def read(data: bytes, n_refs: int = 2) -> ContextTree:
    return read_tree(memoryview(data), n_refs)


def assert_same(one: ContextTree, other: ContextTree) -> None:
    for ours, theirs in zip(one, other, strict=True):
        assert ours.dtype == theirs.dtype
        assert np.array_equal(ours, theirs)


def assert_sound(found: ContextTree, n_refs: int) -> None:
    """Whatever was read can be walked and used: each node and leaf has one parent, all in range."""
    assert 1 <= len(found.nodes) <= MAX_TREE_NODES
    children = np.sort(found.nodes[:, 2:].ravel())
    leaves = len(found.nodes) + 1
    assert np.array_equal(children, [*range(-leaves, 0), *range(1, len(found.nodes))])
    assert found.nodes[:, 0].min() >= 0
    assert found.nodes[:, 0].max() < known(n_refs)
    assert np.abs(found.nodes[:, 1]).max() <= MOST
    assert found.flags.shape == (leaves, 2)
    assert found.flags.max() <= len(MATCH_LEVELS)
    assert found.tables.max() <= len(found.levels) <= MAX_TREE_TABLES
    arrays = found.arrays()
    assert (arrays.cumulative[:, -1] == 1 << TABLE_BITS).all()
    assert (np.diff(arrays.cumulative) >= 0).all()


class TestTreesComeBack:
    @given(
        st.integers(0, 2**32 - 1),
        st.integers(1, 40) | st.just(MAX_TREE_NODES),
        st.integers(0, 5) | st.just(MAX_TREE_TABLES),
        st.integers(0, 2),
    )
    def test_random(self, seed: int, splits: int, tables: int, n_refs: int) -> None:
        made = random_tree(seed, splits, tables, n_refs)
        packed = pack_tree(made)
        assert len(packed) <= MAX_TREE_BYTES
        found = read(packed, n_refs)
        assert_same(found, made)
        assert_sound(found, n_refs)
        assert pack_tree(found) == packed

    @pytest.mark.parametrize("threshold", [0, 1, -1, 63, -64, 2**23, -(2**23), MOST, -MOST])
    def test_thresholds_up_to_24_bits(self, threshold: int) -> None:
        made = chain(3)
        made.nodes[:, 1] = [threshold, -threshold, threshold // 2]
        assert_same(read(pack_tree(made)), made)

    @pytest.mark.parametrize("side", [0, 1])
    def test_the_deepest(self, side: int) -> None:
        made = chain(MAX_TREE_NODES, side)
        assert_same(read(pack_tree(made)), made)

    @pytest.mark.parametrize("n_refs", [0, 1, 2])
    def test_every_property(self, n_refs: int) -> None:
        made = chain(known(n_refs))
        made.nodes[:, 0] = np.arange(known(n_refs))
        assert_same(read(pack_tree(made), n_refs), made)

    def test_a_common_one_takes_a_few_bytes(self) -> None:
        assert len(pack_tree(chain(1))) < 8


def with_table(tokens: int, *levels: int) -> bytes:
    """A tree of one node and one own table, of which all that is said is given."""
    leaf = [(0, 1, SPLIT), (0, 7, WEST), (0, 7, NORTH), (1, 6, TABLE)]
    out = [(1, 6, TABLE), (1, 1, SPLIT), (0, 5, PROPERTY), (0, 5, SIZE)]
    out += [*leaf, *leaf, (tokens, 7, TOKENS_OF)]
    before = 0
    for level in levels:
        out.append((level, 6, LEVEL + 64 * (before >> 2)))
        before = level
    return numbers(*out)


def forged(**fields: object) -> bytes:
    """A sound tree with one own table, some of its fields replaced, as pack_tree spells it."""
    return pack_tree(random_tree(1, 6, 1, 0)._replace(**fields))


def with_node(kind: int, threshold: int) -> bytes:
    made = chain(2)
    made.nodes[1, :2] = kind, threshold
    return pack_tree(made)


FAULTY = [
    (1, numbers((0, 6, TABLE), (0, 1, SPLIT))),
    (1, b""),
    (2, forged(flags=np.full((7, 2), 65, np.int32))),
    (2, forged(flags=np.array([[0, 0]] * 6 + [[64, 127]], np.int32))),
    (3, forged(tables=np.full(7, 2, np.int32))),
    (3, pack_tree(chain(1)._replace(tables=np.array([0, 1], np.int32)))),
    (4, pack_tree(chain(MAX_TREE_NODES + 1))),
    (4, pack_tree(chain(MAX_TREE_NODES + 1, 0))),
    (4, numbers((63, 6, TABLE), *[(1, 1, SPLIT), (0, 5, PROPERTY), (0, 5, SIZE)] * 900)),
    (5, with_node(PROPERTIES, 0)),
    (5, with_node(31, 0)),
    (5, with_node(0, MOST + 1)),
    (5, with_node(0, -(2**30))),
    (6, with_table(0)),
    (6, with_table(TOKENS + 1, *[9] * (TOKENS + 1))),
    (6, with_table(3, 5, LEVELS, 5)),
    (6, with_table(3, 63, 1, 1)),
    (6, with_table(3, 5, 9, 0)),
]


class TestWhatNoTreeIsIsRefused:
    @pytest.mark.parametrize(("fault", "data"), FAULTY)
    def test_and_named(self, fault: int, data: bytes) -> None:
        with pytest.raises(InvalidRecord, match=tree._FAULTS[fault]):
            read(data)

    def test_each_fault_has_a_case(self) -> None:
        assert {fault for fault, _ in FAULTY} == set(range(1, len(tree._FAULTS)))

    def test_but_what_comes_close_is_read(self) -> None:
        """What the cases above spell is what they are refused for."""
        assert read(with_table(3, 5, 9, 7)).levels[0, :4].tolist() == [5, 9, 7, 0]
        assert read(with_table(TOKENS, *[9] * TOKENS)).levels.min() == 9
        assert read(with_table(1, LEVELS - 1)).levels[0, 0] == LEVELS - 1
        assert read(with_node(PROPERTIES - 1, MOST)).nodes[1, 1] == MOST

    @pytest.mark.parametrize("n_refs", [0, 1])
    def test_property_of_a_reference_that_is_not_there(self, n_refs: int) -> None:
        for kind in range(known(n_refs), PROPERTIES):
            with pytest.raises(InvalidRecord, match="a property or threshold out of range"):
                read(with_node(kind, 0), n_refs)
        assert read(with_node(known(n_refs) - 1, 0), n_refs).nodes[1, 0] == known(n_refs) - 1

    @pytest.mark.parametrize("tail", [b"\1", b"\0", b"\0\0\xff", b"\1" * 9])
    def test_bytes_left_over(self, tail: bytes) -> None:
        """Zeros, too, once they are more than the decoder reads ahead."""
        packed = pack_tree(random_tree(2, 20, 3)) + b"\0" * 4
        with pytest.raises(InvalidRecord, match="bytes are left over"):
            read(packed + tail)

    @pytest.mark.parametrize("n_refs", [0, 2])
    def test_every_cut_is_refused_or_sound(self, n_refs: int) -> None:
        packed = pack_tree(random_tree(3, 30, 4, n_refs))
        refused = 0
        for length in range(len(packed)):
            try:
                assert_sound(read(packed[:length], n_refs), n_refs)
            except InvalidRecord:
                refused += 1
        assert refused > len(packed) / 3

    @given(st.binary(max_size=400), st.integers(0, 2))
    def test_any_bytes_are_refused_or_sound(self, data: bytes, n_refs: int) -> None:
        try:
            found = read(data, n_refs)
        except InvalidRecord as error:
            assert str(error).startswith("decoding a context tree: ")  # noqa: PT017
        else:
            assert_sound(found, n_refs)

    @given(st.integers(0, 2**32 - 1))
    def test_any_damage_is_refused_or_sound(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        data = bytearray(pack_tree(random_tree(seed, int(rng.integers(1, 60)), 3)))
        for _ in range(int(rng.integers(1, 4))):
            data[int(rng.integers(0, len(data)))] ^= 1 << int(rng.integers(0, 8))
        try:
            assert_sound(read(bytes(data)), 2)
        except InvalidRecord as error:
            assert "context tree" in str(error)  # noqa: PT017


class TestFrequencies:
    @given(st.integers(0, 2**32 - 1), st.sampled_from([0.0, 0.05, 0.5, 1.0]))
    @settings(max_examples=100)
    def test_sum_up_and_leave_no_token_out(self, seed: int, share: float) -> None:
        rng = np.random.default_rng(seed)
        levels = rng.integers(1, LEVELS, TOKENS) * (rng.random(TOKENS) < share)
        levels[int(rng.integers(0, TOKENS))] = rng.integers(1, LEVELS)
        found = frequencies_of(levels)
        assert found.sum() == 1 << TABLE_BITS
        assert np.array_equal(found > 0, levels > 0)
        assert found.argmax() == levels.argmax()
        assert (np.diff(found[np.argsort(levels, kind="stable")]) >= -TOKENS).all()

    def test_a_level_is_a_quarter_of_an_octave(self) -> None:
        levels = np.zeros(TOKENS, np.int32)
        levels[:2] = 61, 57
        assert frequencies_of(levels)[:3].tolist() == [21846, 10922, 0]
        assert frequencies_of(np.eye(TOKENS, dtype=np.int32)[5])[5] == 1 << TABLE_BITS

    def test_the_rarest_beside_the_most(self) -> None:
        """Each keeps one of 2^15; the first of the most frequent pays for it."""
        levels = np.ones(TOKENS, np.int32)
        levels[[7, 9]] = LEVELS - 1
        found = frequencies_of(levels)
        assert found.sum() == 1 << TABLE_BITS
        assert (np.delete(found, [7, 9]) == 1).all()
        assert found[9] - found[7] == TOKENS - 2 - (2**15 - 2 * found[9])


class TestTablesOfItsOwn:
    def test_are_looked_up_as_they_are_summed(self) -> None:
        """From its 1/256 of the interval the decoder steps up to the symbol, and past no other."""
        arrays = ContextTree(
            chain(1).nodes,
            np.zeros((2, 2), np.int32),
            np.array([2, 0], np.int32),
            random_levels(np.random.default_rng(4), 12),
        ).arrays()
        slots = np.arange(1 << TABLE_BITS)
        for row, lookup in zip(arrays.cumulative, arrays.lookup, strict=True):
            wanted = np.searchsorted(row, slots, side="right") - 1
            assert (wanted < TOKENS).all()  # no escape
            assert (lookup[slots >> 7] <= wanted).all()
            assert (lookup == wanted[:: 1 << (TABLE_BITS - 8)]).all()
        assert (arrays.used == TOKENS).all()
        assert arrays.leaf_tables[:3].tolist() == [2, 0, 0]
        assert len(arrays.leaf_tables) == MATCH_CONTEXTS

    def test_come_after_the_models(self) -> None:
        arrays = random_tree(5, 3, 2).arrays()
        cumulative = np.arange(3 * (TOKENS + 2), dtype=np.int32).reshape(3, -1)
        used, lookup = np.arange(3, dtype=np.int32), np.zeros((3, 256), np.uint8)
        joined = arrays.after(cumulative, used, lookup)
        for both, model, own in zip(joined, (cumulative, used, lookup), arrays[2:], strict=True):
            assert np.array_equal(both, np.concatenate([model, own]))
            assert both.dtype == model.dtype
        assert NO_TREE.after(cumulative, used, lookup) == (cumulative, used, lookup)

    def test_flags_are_by_leaf(self) -> None:
        made = random_tree(6, 9, 1)
        levels = made.match_levels()
        assert levels.shape == (2, MATCH_CONTEXTS)
        assert np.array_equal(levels[:, :10], made.flags.T)
        assert not levels[:, 10:].any()


# What nodes ask, said once more, sample by sample -----------------------------------------------


def own_at(plane: np.ndarray, y: int, x: int, first: int) -> int:
    """A sample or what stands in for it: above ``first``, left the row above's first."""
    if y < 0:
        return first
    if x < 0:
        return int(plane[y - 1, 0]) if y > 0 else first
    return int(plane[y, min(x, plane.shape[1] - 1)])


def property_values(
    own: np.ndarray,
    first: int,
    refs: list[np.ndarray],
    ref_errors: list[np.ndarray],
    errors: np.ndarray,
    y: int,
    x: int,
    context: int,
    mean: int,
) -> list[int]:
    """Every property of one sample."""
    w, n, nw, ne = (
        own_at(own, y + dy, x + dx, first) for dy, dx in ((0, -1), (-1, 0), (-1, -1), (-1, 1))
    )
    ww, nn = own_at(own, y, x - 2, first), own_at(own, y - 2, x, first)
    p = (mean + 32) // 64
    out = [context, mean - 64 * p, p, w, n, w - nw, n - nw, n - ne, w - ww, n - nn, w - n]
    out += [w - p, n - p, own_at(errors, y, x - 1, 0), own_at(errors, y - 1, x, 0)]
    for ref, error in zip(refs, ref_errors, strict=True):
        wide = np.pad(ref, 1, mode="edge").astype(int)
        here = wide[y + 1, x + 1]
        out += [here, here - wide[y + 1, x], here - wide[y, x + 1]]
        out += [here - wide[y + 1, x + 2], here - wide[y + 2, x + 1], int(error[y, x])]
    return out


def coding_order(height: int, width: int) -> tuple[list[tuple[int, int]], np.ndarray]:
    """Samples as they are coded, and where each step begins."""
    order, begins = [], [0]
    for t in range(wavefront.steps(height, width)):
        order += [(y, t - 2 * y) for y in range(*wavefront.active_rows(t, height, width))]
        begins.append(len(order))
    return order, np.array(begins)


NO_MASK = np.zeros(0, np.uint8)
SIZES = [(1, 1), (1, 9), (8, 1), (2, 3), (7, 5), (6, 13)]


class TestPropertiesAreWhatTheFormatSays:
    @pytest.mark.parametrize("n_refs", [0, 1, 2])
    @pytest.mark.parametrize("size", SIZES)
    def test_at_every_sample(self, size: tuple[int, int], n_refs: int) -> None:
        rng = np.random.default_rng([*size, n_refs])
        top = 5000
        own, *refs = rng.integers(0, top, (1 + n_refs, *size)).astype(np.int32)
        errors, *ref_errors = rng.integers(-64 * top, 64 * top, (1 + n_refs, *size)).astype(
            np.int32
        )
        contexts, means = rng.integers(0, 64, (2, *size)).astype(np.int32)
        means += rng.integers(0, top, size).astype(np.int32) * 64
        first = int(own[0, 0]) + 1
        sheared = wavefront.shear(own, first), wavefront.shear(errors, 0)
        planes = np.zeros((2, 2, *sheared[0].shape), np.int32)
        for slot in range(n_refs):
            planes[0, slot] = wavefront.shear_reference(refs[slot])
            planes[1, slot] = wavefront.shear_reference(ref_errors[slot])
        where = Sheared(sheared[0], *planes, n_refs, NO_MASK, *size)
        order, begins = coding_order(*size)
        told = [np.array([of[p] for p in order], np.int32) for of in (contexts, means)]
        found, picked = plane_properties(where, sheared[1], *told, begins, 1)
        assert picked.tolist() == [*range(own.size)]
        wanted = [
            property_values(
                own, first, refs, ref_errors, errors, *p, int(contexts[p]), int(means[p])
            )
            for p in order
        ]
        assert found.T.tolist() == wanted
        some, picked = plane_properties(where, sheared[1], *told, begins, 3)
        assert some.shape[1] == len(picked) == sum(np.diff(begins)[::3])
        assert np.array_equal(some, found[:, picked])

    def test_absent_samples_are_passed_over(self) -> None:
        rng = np.random.default_rng(4)
        size = (9, 8)
        own, errors = rng.integers(0, 90, (2, *size)).astype(np.int32)
        mask = rng.random(size) < 0.3
        sheared = [wavefront.shear(p, 0) for p in (own, errors, mask.astype(np.int32))]
        none = np.zeros((2, len(sheared[0])), np.int32)
        order, begins = coding_order(*size)
        told = rng.integers(0, 64, (2, own.size)).astype(np.int32)
        whole, _ = plane_properties(
            Sheared(sheared[0], none, none, 0, NO_MASK, *size), sheared[1], *told, begins, 1
        )
        there = np.array([not mask[p] for p in order])
        fewer = np.append(0, np.cumsum(there))[begins]
        where = Sheared(sheared[0], none, none, 0, sheared[2].astype(np.uint8), *size)
        found, picked = plane_properties(
            where, sheared[1], *(np.ascontiguousarray(t[there]) for t in told), fewer, 1
        )
        assert picked.tolist() == [*range(there.sum())]
        assert np.array_equal(found, whole[:, there])


class TestLeaves:
    @given(st.integers(0, 2**32 - 1), st.integers(1, 80), st.integers(0, 2))
    def test_are_where_a_walk_ends(self, seed: int, splits: int, n_refs: int) -> None:
        """Whatever properties a tree asks for: the others are not worked out."""
        rng = np.random.default_rng(seed)
        size = (int(rng.integers(1, 12)), int(rng.integers(1, 30)))
        own, errors, *planes = rng.choice(
            [0, 1, 2, 9, 4000, 2**16], (2 + 2 * n_refs, *size)
        ).astype(np.int32)
        earlier = np.zeros((2, 2, wavefront.sheared_size(*size)), np.int32)
        for slot, plane in enumerate(planes):
            earlier[slot % 2, slot // 2] = wavefront.shear_reference(plane)
        where = Sheared(wavefront.shear(own, 3), *earlier, n_refs, NO_MASK, *size)
        told = rng.integers(0, 4000, (2, own.size)).astype(np.int32)
        about = (wavefront.shear(errors, 0), *told, coding_order(*size)[1])
        values, _ = plane_properties(where, *about, 1)
        made = random_tree(seed, splits, 0, n_refs)
        some = rng.random(splits) < 0.5
        made.nodes[some, 1] = rng.choice(values.ravel(), splits)[some]  # at thresholds

        def leaf(node: int, sample: np.ndarray) -> int:
            if node < 0:
                return ~node
            kind, threshold, low, high = made.nodes[node].tolist()
            return leaf(high if sample[kind] > threshold else low, sample)

        found = plane_leaves(where, *about, made.nodes)
        assert found.tolist() == [leaf(0, sample) for sample in values.T]
