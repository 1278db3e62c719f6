"""Properties of the codec that hold for every array, whatever its dtype, shape and content.

``test_tile.py`` shows what the codec promises on arrays as images are; here Hypothesis looks for
the array that breaks a promise. Bounds are checked without rounding: integers as Python's, floats
as fractions.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tilepress.codecs.record import DTYPES, OVERHEAD_BYTES
from tilepress.codecs.tile import TileCodec
from tilepress.codecs.wave import plane_format

Array = npt.NDArray[Any]

INTEGERS = [name for name in DTYPES if np.dtype(name).kind in "ui"]
FLOATS = [name for name in DTYPES if np.dtype(name).kind == "f"]

# more than the profile asks for, as these cases are small: 200 by default, 2000 in the nightly one
thorough = settings(max_examples=min(8 * settings().max_examples, 2000), print_blob=True)

SHAPES = st.one_of(
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.tuples(st.integers(1, 3), st.integers(1, 40), st.integers(1, 40)),
    st.tuples(st.integers(4, 9), st.integers(1, 12), st.integers(1, 12)),
    st.sampled_from([(0, 0), (0, 7), (7, 0), (0, 5, 5), (2, 0, 5), (2, 5, 0), (1, 1), (1, 1, 1)]),
)
"""(y, x) or (planes, y, x), also with nothing in it."""

CONTENTS = [
    "constant", "levels", "sparse", "gradient", "noise", "smooth", "steps", "extremes", "ends",
    "special", "replicated", "copies", "stretched", "told",
]  # fmt: skip


def limits(dtype: str) -> tuple[int, int]:
    """Return the smallest and the largest integer of ``dtype`` that content may use."""
    kind = np.dtype(dtype).kind
    if kind == "b":
        return 0, 1
    if kind == "f":
        return (-1000, 1000) if dtype == "float16" else (-(2**40), 2**40)
    info = np.iinfo(dtype)
    return int(info.min), int(info.max)


def of_integers(values: Array, dtype: str) -> Array:
    """Wrap int64 ``values`` into ``dtype``; floats get quarters of them."""
    if dtype == "bool":
        return values % 2 == 1
    if dtype in FLOATS:
        low, high = limits(dtype)
        return (np.clip(values, low, high) / 4).astype(dtype)
    return values.astype(dtype)


def special(shape: tuple[int, ...], dtype: str, rng: np.random.Generator) -> Array:
    """Zeros of both signs, infinities, subnormals and NaN of any payload; ends for integers."""
    if dtype not in FLOATS:
        return noise(shape, dtype, rng)
    info = np.finfo(dtype)
    unsigned = np.dtype(f"u{info.bits // 8}")
    nans = np.array([info.bits // 8 * b"\xff", info.bits // 8 * b"\x7f"]).view(unsigned)
    plain = np.array(
        [0.0, -0.0, np.inf, -np.inf, np.nan, info.max, info.min, info.tiny, info.eps], dtype
    )
    choices = np.concatenate([plain.view(unsigned), nans, np.array([1, 2], unsigned)])
    some = rng.integers(1, len(choices) + 1)
    return rng.permutation(choices)[:some][rng.integers(0, some, shape)].view(dtype)


def noise(shape: tuple[int, ...], dtype: str, rng: np.random.Generator) -> Array:
    """Random bits: of floats one in some hundred is NaN with some payload."""
    if dtype == "bool":
        return rng.random(shape) < 0.5
    return rng.integers(0, 256, (*shape, np.dtype(dtype).itemsize), np.uint8).view(dtype)[..., 0]


def content(kind: str, shape: tuple[int, ...], dtype: str, seed: int) -> Array:
    """Return an array of ``kind``, the same on every machine for the same seed."""
    rng = np.random.default_rng(seed)
    low, high = limits(dtype)
    if 0 in shape:
        return np.zeros(shape, dtype)
    if kind == "noise":
        return noise(shape, dtype, rng)
    if kind == "special":
        return special(shape, dtype, rng)
    if kind in ("constant", "levels"):
        some = noise((1 if kind == "constant" else int(rng.integers(2, 9)),), dtype, rng)
        return some[rng.integers(0, len(some), shape)]
    if kind == "sparse":
        return np.where(rng.random(shape) < 0.02, noise(shape, dtype, rng), np.zeros(1, dtype))
    if kind == "extremes":
        ends = np.array([low, high], object).astype(dtype)
        return ends[rng.integers(0, 2, shape)]
    if kind == "ends":  # close to both ends of the range: where bounds and offsets wrap
        near = [e + d for e, s in ((low, 1), (high, -1)) for d in range(0, 9 * s, s)]
        near = [n for n in near if low <= n <= high]
        return np.array(near, object).astype(dtype)[rng.integers(0, len(near), shape)]
    ramp = np.indices(shape).astype(np.int64)
    slope = int(rng.integers(-300, 300))
    plain = ramp[-1] * slope + ramp[-2] * int(rng.integers(-300, 300)) + int(rng.integers(0, 2**14))
    if kind == "gradient":
        return of_integers(plain, dtype)
    walk = rng.integers(-6, 7, shape).cumsum(-1).cumsum(-2)
    if kind == "smooth":
        return of_integers(walk + plain // 64, dtype)
    if kind == "stretched":  # holes in the histogram, as gain and bit depth leave them
        return of_integers(walk // 9 * int(rng.integers(2, 40)), dtype)
    if kind == "steps":
        return of_integers((walk // 40) ** 3, dtype)
    if kind == "told":  # steps, the higher ones noisy: a context tree tells which
        level = np.abs(walk) // 20 % 4
        few = level * int(rng.integers(4, 30)) + (level > 1) * rng.integers(0, 4, shape)
        return of_integers(few, dtype)
    if kind == "replicated":
        factors = [int(f) for f in rng.integers(1, 9, 2)]
        phases = [int(rng.integers(0, f)) for f in factors]
        picks = [
            (np.arange(n) - p) // f + (p > 0)
            for n, p, f in zip(shape[-2:], phases, factors, strict=True)
        ]
        return of_integers(walk, dtype)[..., picks[0][:, None], picks[1]]
    assert kind == "copies"
    out = of_integers(walk, dtype)
    if len(shape) == 3:
        out[1:] = out[rng.integers(0, len(out), len(out) - 1)]
    return out


@st.composite
def images(draw: st.DrawFn, dtypes: Sequence[str] = DTYPES) -> Array:
    """An array of any of ``dtypes``, any shape and any content, with and without holes."""
    dtype = draw(st.sampled_from(dtypes))
    shape = draw(SHAPES)
    seed = draw(st.integers(0, 2**32 - 1))
    array = content(draw(st.sampled_from(CONTENTS)), shape, dtype, seed)
    if array.size and draw(st.booleans()):  # a border or holes of one value, as nodata lies
        hole = array.ravel()[draw(st.integers(0, array.size - 1))]
        rng = np.random.default_rng(seed + 1)
        holes = rng.random(shape) < rng.choice([0.02, 0.5, 0.97])
        if draw(st.booleans()):
            holes = np.indices(shape)[-2:].sum(0) >= int(rng.integers(1, 50))
        array = np.where(holes, hole, array)
    return array


def small(dtypes: Sequence[str]) -> st.SearchStrategy[Array]:
    """Arrays of a few samples, each drawn by itself: what fails shrinks to its essence."""
    return st.sampled_from(dtypes).flatmap(
        lambda name: hnp.arrays(name, hnp.array_shapes(min_dims=2, max_dims=3, max_side=6))
    )


def any_image(dtypes: Sequence[str]) -> st.SearchStrategy[Array]:
    return st.one_of(images(dtypes), images(dtypes), small(dtypes))


def nodata_of(draw: st.DrawFn, array: Array) -> float | int | None:
    """Draw none, a value that occurs, a neighbour of one, zero, an end of the range or NaN."""
    if array.dtype.kind == "b" or not array.size:
        return None
    value = array.ravel()[draw(st.integers(0, array.size - 1))].item()
    kind = draw(st.sampled_from(["none", "occurs", "occurs", "near", "zero", "low", "high", "nan"]))
    if array.dtype.kind == "f":
        info = np.finfo(array.dtype)
        return {
            "none": None, "occurs": value, "near": float(np.rint(value)) if abs(value) < 1e9 else 0,
            "zero": 0.0, "low": float(info.min), "high": float(info.max), "nan": float("nan"),
        }[kind]  # fmt: skip
    low, high = limits(array.dtype.name)
    near = min(max(value + draw(st.integers(-3, 3)), low), high)
    return {
        "none": None, "occurs": value, "near": near, "zero": 0, "low": low, "high": high, "nan": 7,
    }[kind]  # fmt: skip


@st.composite
def with_nodata(draw: st.DrawFn, dtypes: Sequence[str]) -> tuple[Array, float | int | None]:
    array = draw(any_image(dtypes))
    return array, nodata_of(draw, array)


def bits(array: Array) -> Array:
    """The samples' bits as unsigned integers: NaN equals NaN, −0.0 differs from 0.0."""
    return np.ascontiguousarray(array).view(f"u{array.dtype.itemsize}")


def is_nodata(array: Array, nodata: float | int) -> Array:
    with np.errstate(over="ignore"):
        return bits(array) == bits(np.array([nodata]).astype(array.dtype))


def check_record(codec: TileCodec, array: Array, bands: int = 1) -> Array:
    """Code and decode ``array``; check what holds at every bound, return what came back."""
    before = array.tobytes()
    record = codec.encode(array, bands=bands)
    assert array.tobytes() == before, "coding changed its input"
    assert len(record) <= array.nbytes + OVERHEAD_BYTES
    assert codec.encode(array.copy(), bands=bands) == record, "the same array gave other bytes"
    back = codec.decode(record, expect=(array.shape, array.dtype))
    assert back.dtype == array.dtype
    assert back.shape == array.shape
    assert TileCodec.from_config(codec.to_config()).decode(record).tobytes() == back.tobytes()
    return back


def check_again(codec: TileCodec, back: Array, bands: int = 1) -> None:
    """Coding what was decoded changes nothing more."""
    again = codec.decode(codec.encode(back, bands=bands))
    assert again.tobytes() == back.tobytes(), "coding its own output again changed samples"


class TestAnyArrayComesBack:
    """An archive holds whatever its owners have; a dtype or pattern forgotten is an image lost."""

    @given(with_nodata(DTYPES), st.sampled_from([1, 3, 4]))
    @thorough
    def test_bit_for_bit(self, case: tuple[Array, float | int | None], bands: int) -> None:
        array, nodata = case
        back = check_record(TileCodec(nodata=nodata), array, bands)
        assert back.tobytes() == array.tobytes()

    @pytest.mark.parametrize("dtype", DTYPES)
    @pytest.mark.parametrize("kind", CONTENTS)
    def test_every_dtype_with_every_content(self, dtype: str, kind: str) -> None:
        """What chance may leave out: each pair once, with a prime and a round size."""
        for shape in ((37, 31), (3, 16, 16)):
            array = content(kind, shape, dtype, 5)
            assert check_record(TileCodec(), array).tobytes() == array.tobytes()

    @given(images(), st.sampled_from(["fortran", "strided", "reversed", "swapped", "readonly"]))
    @settings(print_blob=True)
    def test_layout_in_memory_is_no_matter(self, array: Array, layout: str) -> None:
        """A view of an image is that image: the same bytes, whatever its strides and byte order."""
        other = array
        if layout == "fortran":
            other = np.asfortranarray(array)
        elif layout == "strided":
            wide = np.zeros((*array.shape[:-1], 2 * array.shape[-1]), array.dtype)
            wide[..., ::2] = array
            other = wide[..., ::2]
        elif layout == "reversed":
            other = np.ascontiguousarray(array[..., ::-1, ::-1])[..., ::-1, ::-1]
        elif layout == "swapped":
            other = array.astype(array.dtype.newbyteorder(">"))
        else:
            other = array.copy()
            other.flags.writeable = False
        codec = TileCodec()
        assert codec.encode(other) == codec.encode(array)
        back = codec.decode(codec.encode(other))
        assert back.tobytes() == np.ascontiguousarray(array).tobytes()
        assert back.flags.writeable
        assert back.dtype.isnative


class TestTreesAreAmongThem:
    """What is told by a tree is drawn above: else nothing of trees would be looked into."""

    def test_in_most_arrays_of_some_size(self, monkeypatch: pytest.MonkeyPatch) -> None:
        read: list[int] = []
        read_tree = plane_format.read_tree
        monkeypatch.setattr(
            plane_format, "read_tree", lambda *a: read.append(seed) or read_tree(*a)
        )
        for seed in range(20):
            array = content("told", (2, 36, 40), "uint16", seed)
            assert check_record(TileCodec(), array).tobytes() == array.tobytes()
        assert len(set(read)) > 10


class TestErrorIsBounded:
    """Whoever gives up exactness gets a bound in return, at range ends and beside nodata too."""

    @given(with_nodata(INTEGERS), st.data(), st.sampled_from([1, 3]))
    @thorough
    def test_integers(
        self, case: tuple[Array, int | None], data: st.DataObject, bands: int
    ) -> None:
        array, nodata = case
        most = min(int(np.iinfo(array.dtype).max) // 2, 2**31 - 1)
        k = data.draw(st.sampled_from([1, 2, 3, 4, 16, 40, most]) | st.integers(1, most), "k")
        codec = TileCodec(max_error=min(k, most), nodata=nodata)
        back = check_record(codec, array, bands)
        error = abs(back.astype(object) - array.astype(object))
        assert max(error.ravel(), default=0) <= k
        if nodata is not None:
            assert np.array_equal(is_nodata(back, nodata), is_nodata(array, nodata))
        check_again(codec, back, bands)

    @given(
        with_nodata(FLOATS),
        st.sampled_from([1e-3, 0.05, 0.25, 1, 2.5, 1e5, 1e-30]),
        st.sampled_from([1, 3]),
    )
    @example((np.array([[0.0, 0.1], [5.0, 0.2]], np.float32), 0.0), 0.25, 1)
    @example((np.array([[0.0, -0.0], [5.0, -0.0]], np.float64), 0.0), 0.25, 1)
    @thorough
    def test_floats(self, case: tuple[Array, float | None], max_error: float, bands: int) -> None:
        array, nodata = case
        codec = TileCodec(max_error=max_error, nodata=nodata)
        back = check_record(codec, array, bands)
        same = bits(back) == bits(array)
        for was, now in {(w.item(), n.item()) for w, n in zip(array[~same], back[~same])}:  # noqa: B905
            assert np.isfinite(was), f"{was} became {now}"
            assert np.isfinite(now), f"{was} became {now}"
            assert abs(Fraction(was) - Fraction(now)) <= Fraction(max_error)
        if nodata is not None:
            assert np.array_equal(is_nodata(back, nodata), is_nodata(array, nodata))
        check_again(codec, back, bands)
