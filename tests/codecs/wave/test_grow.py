"""Growing context trees: where they help they are found, and what was coded comes back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tilepress.codecs.limits import MAX_TREE_NODES, MAX_TREE_TABLES
from tilepress.codecs.tile import TileCodec
from tilepress.codecs.wave import choices, costs, grow, plane_format, wavefront
from tilepress.codecs.wave.backend import TreeEffort
from tilepress.codecs.wave.codec import load_model
from tilepress.codecs.wave.layout import MATCH_LEVELS, OWN_PROPERTIES
from tilepress.codecs.wave.model import COST_UNIT
from tilepress.codecs.wave.native.fitting import BINS, plane_examples, plane_properties
from tilepress.codecs.wave.native.structures import Sheared
from tilepress.codecs.wave.plane_decode import decode_body
from tilepress.codecs.wave.plane_encode import Coder, encode_body
from tilepress.codecs.wave.plane_format import DecodedPlane
from tilepress.codecs.wave.symbols import TOKENS, tokenise
from tilepress.codecs.wave.tree import LEVELS, ContextTree, frequencies_of
from tilepress.codecs.wave.wire import Reader

MODEL = load_model("auto")
NONE = TreeEffort(0, 0)


def field(seed: int, shape: tuple[int, ...], top: int) -> np.ndarray:
    """A smooth int64 field of 0 … ``top``."""
    rng = np.random.default_rng(seed)
    smooth = rng.normal(size=shape).cumsum(-1) + rng.normal(size=shape).cumsum(-2)
    smooth -= smooth.min(axis=(-2, -1), keepdims=True)
    return np.rint(smooth / smooth.max() * top).astype(np.int64)


def posterised(seed: int, shape: tuple[int, ...], levels: int = 6) -> np.ndarray:
    """Steps, of which the brighter ones are noisy: what a sample is like, its level tells."""
    steps = field(seed, shape, 5 * levels) // 5 * 5
    noise = np.random.default_rng(seed + 1).integers(0, 3, shape)
    return steps + np.where(steps > 2 * levels, noise, 0)


def holes(seed: int, shape: tuple[int, ...]) -> np.ndarray:
    """A mask of a block and of single samples."""
    mask = np.random.default_rng(seed).random(shape) < 0.04
    mask[..., shape[-2] // 4 : shape[-2] // 2, shape[-1] // 5 : shape[-1] // 2] = True
    return mask


@pytest.fixture
def trees(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ContextTree]]:
    """Every tree that a decoder reads, with the number of references of its plane."""
    seen: list[tuple[int, ContextTree]] = []

    def read(data: memoryview, n_refs: int) -> ContextTree:
        seen.append((n_refs, read_tree(data, n_refs)))
        return seen[-1][1]

    read_tree = plane_format.read_tree
    monkeypatch.setattr(plane_format, "read_tree", read)
    return seen


def there_and_back(
    samples: np.ndarray,
    mask: np.ndarray | None = None,
    refs: tuple[DecodedPlane, ...] = (),
    coder: Coder | None = None,
) -> tuple[bytes, DecodedPlane]:
    """Code a plane, check that it comes back; return its body and what later planes see."""
    coder = coder or Coder(MODEL)
    body, seen = encode_body(samples, mask, list(refs), coder)
    reader = Reader(memoryview(body))
    back, found = decode_body(reader, samples.shape, list(refs), coder.model)
    reader.finish()
    there = np.ones(samples.shape, bool) if mask is None else ~mask
    assert np.array_equal(back[there], samples[there])
    assert np.array_equal(found.samples, seen.samples)
    assert np.array_equal(found.errors, seen.errors)
    return body, seen


class TestTreesMakePlanesSmaller:
    def test_where_the_level_tells_of_the_noise(self, trees: list[Any]) -> None:
        samples = posterised(1, (120, 131))
        body, _ = there_and_back(samples)
        assert len(trees) == 1
        without, _ = there_and_back(samples, coder=Coder(MODEL, trees=NONE))
        assert len(trees) == 1
        assert len(body) < 0.95 * len(without)

    def test_where_an_earlier_plane_tells_it(self, trees: list[Any]) -> None:
        """Not even the neighbours know what is noisy here; the reference does."""
        where = (np.random.default_rng(2).random((100, 90)) < 0.5).astype(np.int64)
        samples = where * np.random.default_rng(3).integers(0, 3, where.shape) + 5
        _, first = there_and_back(where)
        trees.clear()
        body, _ = there_and_back(samples, None, (first,))
        assert [n for n, _ in trees] == [1]
        assert (trees[0][1].nodes[:, 0] >= OWN_PROPERTIES).any()
        without, _ = there_and_back(samples, None, (first,), Coder(MODEL, trees=NONE))
        assert len(body) < 0.9 * len(without)

    @pytest.mark.parametrize("levels", [6, 30])
    def test_leaves_that_share_tables(self, levels: int, trees: list[Any]) -> None:
        """More of them, with tables of which each has its leaves; and no node parts equals."""
        samples = posterised(1, (260, 300), levels)
        sizes = []
        for sharing in (False, True):
            coder = Coder(MODEL, trees=TreeEffort(8.0, 1 << 18, sharing=sharing))
            sizes.append(len(there_and_back(samples, coder=coder)[0]))
        assert sizes[1] < sizes[0]
        (_, alone), (_, shared) = trees
        assert len(shared.tables) > len(alone.tables)
        assert set(shared.tables) - {0} == set(range(1, len(shared.levels) + 1))
        leaves = np.column_stack([shared.tables, shared.flags])
        for _, _, low, high in shared.nodes.tolist():
            assert low >= 0 or high >= 0 or (leaves[~low] != leaves[~high]).any()

    @pytest.mark.parametrize("masked", [False, True])
    def test_with_two_references(self, masked: bool, trees: list[Any]) -> None:
        """And with holes: routed as the decoder will, or nothing comes back."""
        mask = holes(4, (90, 83)) if masked else None
        one, other = posterised(5, (90, 83)), posterised(7, (90, 83))
        _, first = there_and_back(one, mask)
        _, second = there_and_back(other, None, (first,))
        trees.clear()
        there_and_back(np.maximum(one, other) // 2 * 3, mask, (first, second))
        assert [n for n, _ in trees] == [2]
        assert trees[0][1].nodes[:, 0].max() >= OWN_PROPERTIES + 6

    @pytest.mark.parametrize("size", [(1, 1201), (1009, 1), (67, 71), (2, 700), (300, 4)])
    def test_of_any_size(self, size: tuple[int, int], trees: list[Any]) -> None:
        rng = np.random.default_rng(9)
        level = rng.choice([0, 40], size[0] * size[1], p=[0.5, 0.5]).reshape(size)
        level = np.sort(level.reshape(-1, 20) if level.size % 20 == 0 else level, -1).reshape(size)
        samples = level + np.where(level > 0, rng.integers(0, 4, size), 0)
        body, _ = there_and_back(samples)
        assert len(trees) == 1
        assert len(body) < len(there_and_back(samples, coder=Coder(MODEL, trees=NONE))[0])


class TestNoTreeIsGrown:
    @pytest.fixture(autouse=True)
    def nothing_grows(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def never(*_: object) -> None:
            raise AssertionError

        monkeypatch.setattr(choices, "grow_tree", never)

    def test_for_planes_of_many_bits(self) -> None:
        there_and_back(np.random.default_rng(1).integers(0, 200, (64, 64)) + field(2, (64, 64), 99))

    def test_for_planes_of_few_samples(self) -> None:
        there_and_back(posterised(1, (15, 17)))

    def test_where_nothing_is_to_be_spent(self) -> None:
        there_and_back(posterised(1, (80, 90)), coder=Coder(MODEL, trees=NONE))

    def test_for_trials_of_colour(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Else the strip would be grown twice, to decide what is decided as well without."""
        from tilepress.codecs.wave.bodies import choose_colours

        levels = posterised(1, (3, 48, 50))
        choose_colours(levels, None, 3, Coder(MODEL), np.dtype("u1"), 1)
        with pytest.raises(AssertionError):
            there_and_back(levels[0])


class TestNoTreeIsKept:
    def test_that_does_not_pay(self, trees: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
        samples = posterised(1, (80, 90))
        without, _ = there_and_back(samples, coder=Coder(MODEL, trees=NONE))
        grown = grow.grow_tree
        monkeypatch.setattr(choices, "grow_tree", lambda *a: grown(*a)._replace(bits=1e9))
        assert there_and_back(samples)[0] == without
        monkeypatch.setattr(choices, "grow_tree", lambda *a: None)
        assert there_and_back(samples)[0] == without
        assert not trees

    def test_of_uniform_noise(self, trees: list[Any]) -> None:
        """Nothing tells of it: a node would only cost."""
        there_and_back(np.random.default_rng(5).integers(0, 6, (90, 90)))
        assert not any(len(tree.nodes) > 2 for _, tree in trees)


class TestGrowingIsDeterministic:
    def test_the_same_bytes_twice(self, trees: list[Any]) -> None:
        samples, mask = posterised(11, (96, 97)), holes(2, (96, 97))
        bodies = {there_and_back(samples.copy(), mask.copy())[0] for _ in range(3)}
        assert len(bodies) == 1
        assert len(trees) == 3

    def test_also_on_some_of_the_samples(self, trees: list[Any]) -> None:
        samples = posterised(11, (96, 97))
        coder = Coder(MODEL, trees=TreeEffort(8, 1 << 10))
        bodies = {there_and_back(samples.copy(), coder=coder)[0] for _ in range(2)}
        assert len(bodies) == 1
        assert len(trees) == 2


class TestTreesThatSaveLittle:
    @pytest.mark.parametrize(("share", "taken"), [(0.0, True), (0.01, True), (0.9, False)])
    def test_are_not_taken(self, share: float, taken: bool) -> None:
        """They are walked for every sample; the share is of what the plane takes without."""
        samples = posterised(11, (96, 97))
        body, _ = there_and_back(samples, coder=Coder(MODEL, trees=TreeEffort(8, 1 << 14, share)))
        without, _ = there_and_back(samples, coder=Coder(MODEL, trees=TreeEffort(0, 0)))
        assert (body != without) == taken


def grown_from(
    samples: np.ndarray, mask: np.ndarray | None, monkeypatch: pytest.MonkeyPatch
) -> tuple[tuple[Any, ...], grow.GrownTree]:
    """Return what ``grow_tree`` was given for a plane, and what it found."""
    calls: list[Any] = []

    def spy(*arguments: Any) -> Any:
        calls.append((arguments, grow.grow_tree(*arguments)))
        return calls[-1][1]

    monkeypatch.setattr(choices, "grow_tree", spy)
    encode_body(samples, mask, [], Coder(MODEL))
    monkeypatch.undo()
    assert len(calls) == 1
    assert calls[0][1] is not None
    return calls[0]


class TestWhatIsGrown:
    @pytest.mark.parametrize("masked", [False, True])
    def test_routes_each_sample_to_the_leaf_of_its_properties(
        self, masked: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        mask = holes(3, (61, 70)) if masked else None
        given_, grown = grown_from(posterised(13, (61, 70)), mask, monkeypatch)
        asked, *about = given_[:5]
        values, _ = plane_properties(Sheared.of(asked), *about, 1)

        def leaf(node: int, sample: np.ndarray) -> int:
            if node < 0:
                return ~node
            kind, threshold, low, high = grown.tree.nodes[node].tolist()
            return leaf(high if sample[kind] > threshold else low, sample)

        leaves = [leaf(0, sample) for sample in values.T]
        assert grown.leaves.tolist() == leaves
        assert len(set(leaves)) == len(grown.tree.nodes) + 1

    def test_takes_the_bits_that_it_says(self, monkeypatch: pytest.MonkeyPatch) -> None:
        samples = posterised(15, (140, 150))
        _, grown = grown_from(samples, None, monkeypatch)
        body, _ = encode_body(samples, None, [], Coder(MODEL))
        rest = 100  # header, weights, lanes, and what levels and tables are rounded to
        assert 0.98 * grown.bits / 8 < len(body) < 1.03 * grown.bits / 8 + rest

    def test_has_no_more_tables_than_a_body_may(self) -> None:
        """The largest tree, each of its leaves of a distribution of its own."""
        nodes = np.zeros((MAX_TREE_NODES, 4), np.int32)
        nodes[:, 2] = ~np.arange(MAX_TREE_NODES)
        nodes[:, 3] = np.append(np.arange(1, MAX_TREE_NODES), ~MAX_TREE_NODES)
        rng = np.random.default_rng(17)
        n = 60_000
        leaves = rng.integers(0, MAX_TREE_NODES + 1, n).astype(np.int32)
        folded = (leaves * 7 % 61 + rng.integers(0, 3, n)).astype(np.int32)
        prices = np.full((1, TOKENS), 30 * COST_UNIT, np.int32)
        nobody = np.zeros((2, 0), np.int32)
        found = grow._fitted(nodes, leaves, np.zeros(n, np.int16), folded, nobody, prices)
        assert 2 < len(found.tree.levels) <= MAX_TREE_TABLES
        assert set(found.tree.tables) == set(range(1, len(found.tree.levels) + 1))
        assert not found.tree.flags.any()


def told(*shape: int) -> np.ndarray:
    return posterised(sum(shape), shape)


TILES: dict[str, tuple[np.ndarray, dict[str, Any], int]] = {
    "grey": (told(97, 89).astype(np.uint8), {}, 1),
    "fast": (posterised(1, (120, 131), 3).astype(np.uint8), {"tier": "fast"}, 1),
    "max": (told(97, 89).astype(np.uint8), {"tier": "max"}, 1),
    "rgb": (np.stack([told(80, 81), told(80, 81) // 2, told(81, 81)[1:]]).astype(np.uint8), {}, 3),
    "nodata": (
        np.where(holes(1, (83, 101)), 65535, told(83, 101) * 99).astype(np.uint16),
        {"nodata": 65535},
        1,
    ),
    "near": ((told(90, 91) * 40).astype(np.uint16), {"max_error": 16}, 1),
    "near-nodata": (
        np.where(holes(2, (90, 91)), 0, told(90, 91) * 40 + 1).astype(np.uint16),
        {"max_error": 16, "nodata": 0},
        1,
    ),
    "row": (told(1, 2003).astype(np.int16) - 9, {}, 1),
    "column": (told(2003, 1).astype(np.int16) - 9, {}, 1),
    "blocks": (told(51, 47).repeat(3, 0).repeat(2, 1).astype(np.uint8), {}, 1),
    "split": ((told(60, 61) << 20).astype(np.int32) + (told(60, 61) > 15), {}, 1),
    "float": ((told(97, 89) / 8).astype(np.float32), {}, 1),
    "slices": (
        (told(60, 61)[None] + np.arange(4)[:, None, None] * 3).astype(np.uint16) ** 2,
        {},
        1,
    ),
}


class TestTilesWithTreesComeBack:
    @pytest.mark.parametrize("name", TILES)
    def test_within_their_error(self, name: str, trees: list[Any]) -> None:
        array, arguments, bands = TILES[name]
        codec = TileCodec(**arguments)
        record = codec.encode(array, bands=bands)
        back = TileCodec.from_config(codec.to_config()).decode(record)
        assert trees, "no tree was read"
        assert codec.encode(array, bands=bands) == record
        assert back.dtype == array.dtype
        if not codec.max_error:
            assert back.tobytes() == array.tobytes()
        error = np.abs(back.astype(np.float64) - array.astype(np.float64))
        assert error.max() <= codec.max_error
        if codec.nodata is not None:
            assert np.array_equal(back == codec.nodata, array == codec.nodata)

    def test_with_clusters_of_levels(self, trees: list[Any]) -> None:
        late = np.random.default_rng(26).integers(-8, 9, (96, 90)).cumsum(0) > 0
        array = ((300 + field(27, (96, 90), 40)) * 274 // 10 + late).astype(np.uint16)
        codec = TileCodec()
        assert codec.decode(codec.encode(array)).tobytes() == array.tobytes()
        assert 1 in {n for n, _ in trees}  # of what is within clusters, told by their numbers


def pieces_of_a_plane(
    rng: np.random.Generator, n_refs: int, masked: bool, spread: int
) -> tuple[Sheared, tuple[Any, ...], tuple[Any, ...]]:
    """A plane, what is predicted of it, and how it is coded: all of it chance."""
    size = (int(rng.integers(1, 12)), int(rng.integers(1, 40)))
    mask = rng.random(size) < 0.3 if masked else np.zeros(size, bool)
    own, *planes = rng.integers(0, spread, (2 + 2 * n_refs, *size)).astype(np.int32)
    errors, *planes = planes[::-1]
    earlier = np.zeros((2, 2, wavefront.sheared_size(*size)), np.int32)
    for slot, plane in enumerate(planes):
        earlier[slot % 2, slot // 2] = wavefront.shear_reference(plane)
    told = plane_format.shear_mask(mask) if masked else plane_format.NO_MASK
    plane = Sheared(wavefront.shear(own, 3), *earlier, n_refs, told, *size)
    steps = np.add.outer(2 * np.arange(size[0]), np.arange(size[1]))[~mask]
    begins = np.searchsorted(np.sort(steps), np.arange(wavefront.steps(*size) + 1))
    n = len(steps)
    predicted = rng.integers(0, 64 * spread, (2, n)).astype(np.int32)
    about = (wavefront.shear(errors, 0), *predicted, begins.astype(np.int64))
    coded = (
        rng.integers(0, 3, n).astype(np.int16),
        rng.integers(0, 30, n).astype(np.int32),
        rng.integers(0, 30, (2, n)).astype(np.int32),
    )
    return plane, about, coded


class TestExamples:
    @given(
        st.integers(0, 2**32 - 1),
        st.integers(0, 2),
        st.booleans(),
        st.sampled_from([3, 300, 2**20]),
    )
    def test_are_bins_symbols_and_costs(
        self, seed: int, n_refs: int, masked: bool, spread: int
    ) -> None:
        """Where edges lie close together, and where they lie far apart."""
        rng = np.random.default_rng(seed)
        plane, about, (tables, folded, pair) = pieces_of_a_plane(rng, n_refs, masked, spread)
        flagged, stride = bool(rng.integers(2)), int(rng.integers(1, 4))
        prices = rng.integers(0, 2**16, (3, TOKENS)).astype(np.int32)
        values, picked = plane_properties(plane, *about, stride)
        edges = [
            np.unique(rng.choice(np.append(row, [-spread, spread]), rng.integers(0, BINS)))
            for row in values
        ]
        coded = (tables, folded, pair if flagged else pair[:, :0])
        made = plane_examples(plane, *about, stride, edges, coded, prices)
        assert made.shape[:2] == (2, len(picked))
        for row, own, bins in zip(values, edges, made[0].T, strict=False):
            assert np.array_equal(bins, np.searchsorted(own, row, side="left"))
        for at, example in zip(picked, made[0], strict=True):
            z, (west, north), row = int(folded[at]), pair[:, at].tolist(), prices[tables[at]]
            symbol, left = 2 + int(tokenise(np.array(z))), row[tokenise(np.array(z))]
            if flagged and z in (west, north):
                symbol, left = int(z != west), 0
            elif flagged:
                rest = tokenise(np.array(z - sum(z > other for other in {west, north})))
                symbol, left = 2 + int(rest), row[rest]
            assert example[27] == symbol
            assert example[28:].view(np.uint16).tolist() == [row[tokenise(np.array(z))], left]

    def test_edges_are_chosen_by_some_of_the_samples(self) -> None:
        plane, about, _ = pieces_of_a_plane(np.random.default_rng(3), 1, True, 99)
        whole, picked = plane_properties(plane, *about, 2)
        some, which = plane_properties(plane, *about, 2, 3)
        assert np.array_equal(some, whole[:, ::3])
        assert np.array_equal(which, picked[::3])


def examples(rng: np.random.Generator, m: int, known: int, symbols: int) -> np.ndarray:
    """Examples whose bins tell of the symbols, the first property most: (2, m, 32)."""
    out = np.zeros((2, m, 32), np.uint8)
    out[0, :, :known] = rng.integers(0, BINS, (m, known))
    told = out[0, :, 0] // 4 * (out[0, :, 1] > 9) + (out[0, :, known - 1] > 20)
    out[0, :, 27] = np.minimum(told + rng.integers(0, 3, m), symbols - 1)
    out[0, :, 28:] = rng.integers(0, 2**11, (m, 2)).astype(np.uint16).view(np.uint8)
    return out


def grown_breadth_first(of: np.ndarray, known: int, scale: float) -> list[list[Any]]:
    """What ``grow._grow`` returns, said plainly: node after node, every split counted anew."""
    logs = costs.n_log_n(len(of))
    found: list[list[Any]] = []
    waiting = [of]
    for here in waiting:
        totals = np.bincount(here[:, 27], minlength=2)
        used, n = np.count_nonzero(totals), len(here)
        plain, left = here[:, 28:].copy().view(np.uint16).sum(0, dtype=np.int64) * 256
        flags = logs[n] - logs[totals[:2]].sum() - logs[n - totals[:2].sum()]
        own = (logs[n] - logs[totals].sum()) * scale + costs.BIT * (7 + 4 * used)
        found.append([0, 0, [-1, -1], min(own, min(plain, left + flags) * scale) + costs.BIT * 12])
        if n < 24 or len(waiting) + 2 > 2 * grow.MAX_TREE_NODES + 1:
            continue
        stride = -(-n // grow._NODE_SAMPLES)
        some = here[::stride]
        best = (2**62, -1, -1)
        whole = logs[len(some)] - logs[np.bincount(some[:, 27])].sum()
        for k in range(known):
            for cut in np.unique(some[:, k])[:-1].tolist():
                sides = [some[some[:, k] <= cut, 27], some[some[:, k] > cut, 27]]
                cost = sum(logs[len(side)] - logs[np.bincount(side)].sum() for side in sides)
                best = min(best, (int(cost), k, cut))
        wanted = max((6 + used) * scale * stride, 40) * costs.BIT
        if best[1] < 0 or (whole - best[0]) * scale * stride <= wanted:
            continue
        found[-1][:3] = [best[1], best[2], [len(waiting), len(waiting) + 1]]
        low = here[:, best[1]] <= best[2]
        waiting += [here[low], here[~low]]
    return found


class TestGrowing:
    @pytest.mark.parametrize(
        ("m", "known", "symbols", "most"),
        [(3000, 15, 9, 511), (6000, 21, 20, 511), (4000, 27, 74, 511), (3000, 15, 20, 5)],
    )
    def test_is_breadth_first(
        self, m: int, known: int, symbols: int, most: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """However it goes about it: below so many nodes, from so many samples a node."""
        monkeypatch.setattr(grow, "MAX_TREE_NODES", most)
        monkeypatch.setattr(grow, "_NODE_SAMPLES", 1500)
        of = examples(np.random.default_rng([m, known]), m, known, symbols)
        wanted = grown_breadth_first(of[0].copy(), known, 1.5)
        found = [part.tolist() for part in grow._grow(of, known, 1.5)]
        assert [list(node) for node in zip(*found, strict=True)] == wanted
        assert len(wanted) == 2 * most + 1 if most < 9 else len(wanted) > 15

    def test_of_nothing_and_of_what_never_changes(self) -> None:
        nothing = np.zeros((2, 0, 32), np.uint8)
        assert [len(part) for part in grow._grow(nothing, 15, 1.0)] == [1] * 4
        same = np.zeros((2, 500, 32), np.uint8)
        assert grow._grow(same, 15, 1.0)[2].tolist() == [[-1, -1]]


class TestPartsOfGrowing:
    def test_logarithms_are_near_enough(self) -> None:
        """They come from a table of integers, so that they are the same on every processor."""
        n = np.arange(1, 100_001)
        found = costs.n_log_n(100_000)[1:] / costs.BIT
        assert np.abs(found / n - np.log2(n)).max() < 2 / costs.BIT
        counts = np.array([[5, 0, 3], [4, 4, 0], [0, 0, 9], [0, 0, 0]])
        wanted = [5 * np.log2(8 / 5) + 3 * np.log2(8 / 3), 8, 0, 0]
        np.testing.assert_allclose(costs.entropies(counts) / costs.BIT, wanted, atol=1e-3)

    def test_a_property_has_fewer_edges_than_bins(self) -> None:
        values = np.array([[5] * 90, [1, 2] * 45, [*range(90)]], np.int32)
        assert [grow._edges(row).tolist() for row in values[:2]] == [[], [1]]
        many = grow._edges(values[2])
        assert 20 < len(many) < BINS
        assert (np.diff(many) > 0).all()

    def test_levels_cost_hardly_more_than_what_was_counted(self) -> None:
        rng = np.random.default_rng(18)
        for spread in (1, 5, 40):
            counts = rng.geometric(1 / spread, 5000)
            counted = np.bincount(np.minimum(counts - 1, TOKENS - 1), minlength=TOKENS)
            p = frequencies_of(costs.frequency_levels(counted, LEVELS)) / 2**15
            there = counted > 0
            assert (p[there] > 0).all()
            bits = -(counted[there] * np.log2(p[there])).sum()
            entropy = costs.entropy(counted) / costs.BIT
            assert entropy <= bits <= 1.01 * entropy + 8

    def test_the_levels_of_flags_are_the_nearest(self) -> None:
        counts = np.array([[[0, 0], [999, 1]], [[1, 999], [50, 50]]])
        level, bits = costs.flag_levels(counts)
        assert level.shape == bits.shape == (2, 2)
        p = MATCH_LEVELS[level] / 2**15
        assert p[0, 1] > 0.99
        assert p[1, 0] < 0.03
        assert abs(p[1, 1] - 0.5) < 0.05
        assert bits[0, 0] == 0

    def test_like_tables_become_one(self) -> None:
        rng = np.random.default_rng(19)
        kinds = rng.permutation(np.repeat([0, 1, 2], 20))
        likely = np.zeros((3, TOKENS))
        likely[0, :4], likely[1, 2:9], likely[2, 60:] = 0.25, 1 / 7, 1 / 12
        counts = np.stack([rng.multinomial(400, likely[k]) for k in kinds])
        group = grow._merged(counts)
        assert len(set(group)) == 3
        assert len({(k, g) for k, g in zip(kinds, group, strict=True)}) == 3
        first = [group.tolist().index(g) for g in range(3)]
        assert first == sorted(first)  # numbered by first use

    @pytest.mark.parametrize("seed", range(6))
    def test_the_best_pair_is_merged_first(
        self, seed: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Of equals the first, and on while it saves bits or more are left than may be."""
        rng = np.random.default_rng(seed)
        kinds = rng.integers(0, 40, (3, 12)) ** 2 * rng.integers(0, 2, (3, 12))
        rows = kinds[rng.integers(0, 3, 30)] * rng.integers(0, 3, (30, 12)) + (np.arange(12) == 5)
        rows[20:24] = rows[3]
        most = (64, 64, 64, 3, 1, 2)[seed]
        monkeypatch.setattr(grow, "MAX_TREE_TABLES", most)

        def price(counts: np.ndarray) -> int:
            return costs.entropy(counts) + (7 + 4 * np.count_nonzero(counts)) * costs.BIT

        left = {k: row.copy() for k, row in enumerate(rows)}
        group = np.arange(len(rows))
        while len(left) > 1:
            pairs = [(i, j) for i in left for j in left if i < j]
            extra, i, j = min(
                (price(left[i] + left[j]) - price(left[i]) - price(left[j]), i, j) for i, j in pairs
            )
            if extra >= 0 and len(left) <= most:
                break
            left[i] += left.pop(j)
            group[group == j] = i
        assert 1 <= len(left) <= most
        first = np.unique(group, return_index=True)[1]
        number = {int(group[at]): k for k, at in enumerate(np.sort(first))}
        assert grow._merged(rows).tolist() == [number[g] for g in group.tolist()]

    def test_no_more_tables_than_allowed(self) -> None:
        """Each row has a token to itself; they are merged all the same."""
        rows = np.zeros((200, TOKENS), np.int64)
        rows[np.arange(200), np.arange(200) % TOKENS] = 10**6
        rows[np.arange(200), (np.arange(200) * 5 + 1) % TOKENS] += 10**6
        assert len(set(grow._merged(rows))) <= MAX_TREE_TABLES
        assert len(grow._merged(rows[:0])) == 0

    def test_splits_that_do_not_pay_are_pruned(self) -> None:
        kinds, cuts = np.array([4, 0, 6, 0, 0]), np.array([1, 0, 0, 0, 0])
        children = np.array([[1, 2], [-1, -1], [3, 4], [-1, -1], [-1, -1]])
        edges = [np.array([10, 20], np.int32)] * 7
        pays = np.array([1000.0, 100, 500, 100, 100]) * costs.BIT
        nodes = grow._pruned(kinds, cuts, children, pays.copy(), edges)
        assert nodes.tolist() == [[4, 20, -1, 1], [6, 10, -2, -3]]
        half = np.array([1000.0, 100, 200, 100, 100]) * costs.BIT
        assert grow._pruned(kinds, cuts, children, half, edges).tolist() == [[4, 20, -1, -2]]
        none = np.array([200.0, 100, 500, 100, 100]) * costs.BIT
        assert grow._pruned(kinds, cuts, children, none, edges) is None

    def test_leaves_count_what_each_way_leaves_to_code(self) -> None:
        """Of no flags, "as west" and both; a candidate that failed is ruled out."""
        rng = np.random.default_rng(20)
        n = 400
        leaves = rng.integers(0, 3, n).astype(np.int32)
        tables = rng.integers(0, 2, n).astype(np.int16)
        folded, west, north = rng.integers(0, 5, (3, n)).astype(np.int32)
        prices = rng.integers(1, 99, (2, TOKENS)).astype(np.int32)
        tokens, theirs = np.zeros((3, 3, TOKENS), int), np.zeros((3, 3), int)
        flags = np.zeros((3, 4), int)
        for leaf, table, z, w, m in zip(leaves, tables, folded, west, north, strict=True):
            left = [z]
            flags[leaf, 0 if z == w else 1] += 1
            if z != w:
                left.append(z - (z > w))
                if m != w:
                    flags[leaf, 2 if z == m else 3] += 1
                if m == w or z != m:
                    left.append(left[1] - (m != w and z > m))
            for way, token in enumerate(left):  # all are below 16, so their own tokens
                tokens[leaf, way, token] += 1
                theirs[leaf, way] += prices[table, token]
        found = grow._leaf_counts(leaves, tables, folded, np.stack([west, north]), prices, 3)
        for ours, wanted in zip(found, (tokens, theirs, flags), strict=True):
            assert np.array_equal(ours, wanted)
