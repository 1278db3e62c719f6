"""What the device must do, on small planes: run by ``test_cuda.py`` in processes of their own.

The environment decides who runs it; the checks are the same:

- ``NUMBA_ENABLE_CUDASIM=1``: numba's simulator, many threads, Python's arithmetic;
- and ``TILEPRESS_CUDA_TYPED=1``: compiled for the CPU, numba's typing, one thread a block;
- neither: a device.
"""

from __future__ import annotations

import dataclasses
import os
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numba as nb
import numpy as np
import pytest

from tilepress.codecs.wave import rans, symbols, wavefront
from tilepress.codecs.wave.backend import (
    LinearPath,
    PlaneToDecode,
    PlaneToEncode,
    Prediction,
    TreeEffort,
)
from tilepress.codecs.wave.choices import plane_means
from tilepress.codecs.wave.cpu import CPU
from tilepress.codecs.wave.cuda import decode, encode, launch, scalar, shared
from tilepress.codecs.wave.cuda.batches import Decisions, decoding_bytes, encoding_bytes, fits
from tilepress.codecs.wave.layout import (
    CELLS,
    FEATURES,
    MATCH_CONTEXTS,
    MATCH_LEVELS,
    OWN_PROPERTIES,
    REGRESSORS,
)
from tilepress.codecs.wave.model import TABLES, WaveModel
from tilepress.codecs.wave.native.fitting import plane_leaves
from tilepress.codecs.wave.native.planes import predict_plane
from tilepress.codecs.wave.native.structures import Sheared
from tilepress.codecs.wave.tree import ContextTree

SIMULATED = os.environ.get("NUMBA_ENABLE_CUDASIM") == "1"
TYPED = os.environ.get("TILEPRESS_CUDA_TYPED") == "1"
THREADS = 4 if SIMULATED else None
"""Fewer threads than rows, so that a thread has several; on a device as many as it is used with."""
_KERNELS = {
    "decode",
    "encode_states",
    "gather_words",
    "predict_contexts",
    "predict_errors",
    "prefix_sums",
    "write_symbols",
}
_NO_MASK = np.zeros(0, np.uint8)


def _module(name: str, **names: Any) -> ModuleType:
    module = ModuleType(name)
    vars(module).update(names)
    return module


def _stand_in() -> ModuleType:
    """What the kernels use of ``numba.cuda``, for one thread on the CPU."""

    @nb.njit
    def nothing():
        pass

    @nb.njit
    def array(shape, dtype):
        return np.full(shape, 77, dtype)  # shared memory comes with anything in it

    @nb.njit
    def itself(a):
        return a

    @nb.njit
    def add(a, i, v):
        a[i] += v

    @nb.njit
    def either(a, i, v):
        a[i] |= v

    @nb.njit
    def least(a, i, v):
        a[i] = min(a[i], v)

    @nb.njit
    def popc(v):
        count, left = 0, np.uint64(v)
        while left:
            left &= left - np.uint64(1)
            count += 1
        return count

    arrays = _module("arrays", array=array)
    return _module(
        "cuda",
        syncthreads=nothing,
        shared=arrays,
        local=arrays,
        const=_module("const", array_like=itself),
        atomic=_module("atomic", add=add, or_=either, min=least),
        popc=popc,
        threadIdx=_module("threadIdx", x=0),
        blockDim=_module("blockDim", x=1),
    )


class _Launcher:
    """Takes a kernel's place: block after block, the block's number a first argument."""

    def __init__(self, function: Any) -> None:
        self.function = function

    def __getitem__(self, size: tuple[int, int]) -> Any:
        def launch(*arguments: Any) -> None:
            arrays = [getattr(a, "_ary", a) for a in arguments]
            for block in range(size[0]):
                self.function(block, *arrays)

        return launch


_FOR_CPU = (
    (r"from numba import config, cuda\n", "from numba import config\n"),
    (r"from numba import cuda\n", ""),
    (r"cuda\.blockIdx\.x", "block"),
    (r"_jit: Any = cuda\.jit.*\n", ""),
    (r"@kernel\ndef (\w+)\(", r"@nb.njit\ndef \1(block, "),
    (
        r"return function if config\.ENABLE_CUDASIM else cuda\.jit\(device.*\n",
        "return nb.njit(function)\n",
    ),
    (r"from tilepress\.codecs\.wave\.cuda\.(scalar|shared) import", r"from typed_\1 import"),
)
"""What makes of device code a module that numba compiles for one thread on the CPU."""


def _compile_for_cpu() -> None:
    """Put kernels that are compiled for the CPU in the place of the simulator's."""
    unused = {old for old, _ in _FOR_CPU}
    for room in (scalar, shared, decode, encode):
        assert room.__file__ is not None
        text = Path(room.__file__).read_text(encoding="utf-8")
        for old, new in _FOR_CPU:
            text, count = re.subn(old, new, text)
            unused -= {old} if count else set()
        name = f"typed_{room.__name__.rsplit('.')[-1]}"
        typed = _module(name, cuda=_stand_in())
        sys.modules[name] = typed
        exec(compile(text, f"{name}.py", "exec"), vars(typed))
        for kernel in _KERNELS & vars(typed).keys():
            setattr(launch, kernel, _Launcher(getattr(typed, kernel)))
    assert not unused
    assert all(isinstance(getattr(launch, kernel), _Launcher) for kernel in _KERNELS)


@pytest.fixture(autouse=True, scope="session")
def _prepare() -> Any:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)  # the simulator waits for each of its threads: many short turns
    if TYPED:
        _compile_for_cpu()
    yield
    sys.setswitchinterval(before)


def model_of(hidden: int, seed: int, narrow: bool = False) -> WaveModel:
    """A model with random weights; ``narrow``: tables of few tokens, so that many escape."""
    rng = np.random.default_rng(seed)
    layers = {
        "hidden": (
            rng.integers(-63, 64, (hidden, FEATURES)).astype(np.int8),
            rng.integers(-4000, 4001, hidden).astype(np.int32),
            rng.integers(6, 9, hidden).astype(np.int32),
        ),
        "output": (
            rng.integers(-63, 64, (3, hidden)).astype(np.int8),
            rng.integers(-500, 501, 3).astype(np.int32),
            np.array([7, 7, 9], np.int32),
        ),
    }
    frequencies = np.zeros((TABLES, symbols.TOKENS + 1), np.uint16)
    for row in frequencies:
        tokens = int(rng.integers(1, 4)) if narrow else int(rng.integers(30, symbols.TOKENS))
        share = rng.random(tokens + 1) * 0.9 ** np.arange(tokens + 1) + 1e-3
        row[: tokens + 1] = 1 + np.floor(share / share.sum() * (32768 - tokens - 1))
        row[0] += 32768 - int(row.astype(int).sum())
    linear = np.zeros((3, REGRESSORS), np.int32)
    linear[:, :2] = 1 << 13
    return WaveModel(layers, frequencies, linear)


class Case(NamedTuple):
    """One plane with all that an encoder may decide about it."""

    name: str
    shape: tuple[int, int] = (9, 13)
    hidden: int = 8
    kind: str = "noise"
    refs: int = 0
    masked: bool = False
    sets: int = 1
    flagged: bool = False
    gain: int = 8
    lanes: int | None = 4
    narrow: bool = False
    top: int = 255
    grown: bool = False
    """Whether a context tree chooses flags and tables, some of them its own."""


CASES = [
    Case("plain"),
    Case("no network", hidden=0, lanes=8),
    Case("one reference", refs=1, gain=3, sets=3),
    Case("two references, all at once", (16, 24), 16, "flat", 2, True, 4, True, 15, 8),
    Case("flags", (16, 24), 8, "flat", flagged=True, gain=0, lanes=32),
    Case("flags with a reference", kind="flat", refs=1, flagged=True, gain=5),
    Case("both flags fail", (9, 14), 0, "wild", flagged=True, top=5),
    Case("a mask", kind="noise", masked=True, gain=11, lanes=8),
    Case("escapes", kind="wild", narrow=True, top=2**17 - 1, gain=9),
    Case("escapes, flags, mask", (16, 24), 0, "spikes", 0, True, 2, True, 8, 32, True, 60_000),
    Case("highest samples", kind="edge", refs=2, top=2**17 - 1, gain=15, sets=16),
    Case("constant but for one", kind="constant", flagged=True),
    Case("more rows than a mask word has bits", (33, 66), 0, flagged=True, kind="flat", lanes=32),
    Case("lanes as they come", (12, 20), 0, lanes=None),
    Case("a tree", (16, 24), 8, "flat", gain=8, lanes=8, grown=True),
    Case("a tree with references", (14, 20), 8, "flat", 2, flagged=True, gain=3, grown=True),
    Case(
        "a tree, mask, escapes", (12, 18), 0, "spikes", 1, True, 2, True, 8, 4, True, 60_000, True
    ),
    Case("one column", (17, 1), lanes=1),
    Case("one row", (1, 19), refs=1, flagged=True, kind="flat"),
    Case("one sample", (1, 1), gain=15),
    Case("two columns", (7, 2), masked=True, flagged=True),
]


def samples_of(case: Case, rng: np.random.Generator) -> np.ndarray:
    y, x = np.mgrid[: case.shape[0], : case.shape[1]]
    if case.kind == "flat":
        plane = (x // 3 + y // 2) % 4 * 20
    elif case.kind == "constant":
        plane = np.where((x == 4) & (y == 3), case.top, 7)
    elif case.kind == "wild":
        plane = rng.integers(0, case.top + 1, case.shape)
    elif case.kind == "edge":
        plane = np.where((x + y) % 5 < 2, case.top - rng.integers(0, 3, case.shape), x % 2)
    elif case.kind == "spikes":
        plane = 100 + np.where(rng.random(case.shape) < 0.1, rng.integers(0, 50_000), y // 4)
    else:
        plane = 40 + 3 * x + 2 * y + rng.normal(0, 4, case.shape)
    return np.clip(plane, 0, case.top).astype(np.int32)


def plane_of(case: Case, seed: int, model: WaveModel) -> tuple[PlaneToEncode, Any, np.ndarray]:
    """Return what to encode, what the encoder decides, and the samples."""
    rng = np.random.default_rng(seed)
    samples = samples_of(case, rng)
    height, width = case.shape
    mask, sheared_mask = np.zeros(case.shape, bool), _NO_MASK
    first = int(samples[0, 0])
    if case.masked:
        mask[height // 3 : height // 2 + 1, : width // 2 + 1] = True
        mask[-1, -1] = mask[0, -1] = True
        first = int(samples[~mask][0])
        for y, x in np.argwhere(mask):
            north = samples[y - 1, x] if y else first
            west = samples[y, x - 1] if x else samples[y - 1, 0] if y else first
            samples[y, x] = (west + north + 1) >> 1
        sheared_mask = wavefront.shear(mask.astype(np.int32), 0).astype(np.uint8)
    own = wavefront.shear(samples, first)
    refs, ref_errors = (np.zeros((2, *own.shape), np.int32) for _ in range(2))
    for r in range(case.refs):
        earlier = np.clip(samples + rng.integers(-2, 3, case.shape), 0, case.top)
        if case.kind == "flat":
            earlier = samples // 2
        refs[r] = wavefront.shear_reference(earlier.astype(np.int32))
        residuals = rng.integers(-9, 10, case.shape).astype(np.int32)
        if case.kind == "edge":
            residuals *= (case.top + 1) // 9 - 1
        ref_errors[r] = wavefront.shear_reference(residuals)
    weights = rng.integers(-900, 901, (case.sets, REGRESSORS)).astype(np.int64)
    weights[:, :2] += 1 << 13
    if case.kind == "edge":
        weights *= 8
    linear = LinearPath(
        np.array([20, 40, 60], np.int32),
        rng.integers(0, case.sets, CELLS).astype(np.int32),
        weights,
    )
    plane = PlaneToEncode(
        own,
        refs,
        ref_errors,
        case.refs,
        sheared_mask,
        height,
        width,
        case.top,
        linear,
        model.arrays(),
        model.cumulative,
        model.used,
        model.lookup,
        TreeEffort(0, 0),
    )
    flags = np.zeros((2, MATCH_CONTEXTS), np.int32)
    if case.flagged:
        flags = MATCH_LEVELS[rng.integers(0, 64, flags.shape)] * (rng.random(flags.shape) < 0.7)
        flags[0, 0] = flags[1, 0] = 9000  # contexts of unequal neighbours
    table_map = np.arange(TABLES, dtype=np.int32)
    changed = rng.random(TABLES) < 0.1
    table_map[changed] = rng.integers(0, TABLES, int(changed.sum()))
    decisions = Decisions(case.gain, flags.astype(np.int32), table_map, case.lanes)
    if case.grown:
        tree = tree_of(case, rng)
        decisions = dataclasses.replace(
            decisions,
            flags=plane_flags(tree) if case.flagged else np.zeros_like(decisions.flags),
            table_map=np.arange(TABLES, dtype=np.int32),
            tree=tree.arrays(),
            leaves=leaves_of(plane, tree, case.gain),
        )
    return plane, (decisions, first), samples


def tree_of(case: Case, rng: np.random.Generator) -> ContextTree:
    """A tree that asks for every property once, whose leaves take tables and flags in turn."""
    known = OWN_PROPERTIES + 6 * case.refs
    nodes = np.zeros((known, 4), np.int32)
    nodes[:, 0] = rng.permutation(known)
    nodes[:, 1] = np.where(np.isin(nodes[:, 0], (0, 2, 3, 4, 15, 21)), 30, 0)
    nodes[:, 2] = ~np.arange(known)
    nodes[:, 3] = np.append(np.arange(1, known), ~known)
    leaves = np.arange(known + 1)
    levels = rng.integers(0, 40, (3, symbols.TOKENS)).astype(np.int32)
    levels[:, -1] = 61
    levels += levels == 0
    flags = rng.integers(0, 65, (known + 1, 2)).astype(np.int32)
    return ContextTree(nodes, flags, (leaves % 4).astype(np.int32), levels)


def plane_flags(tree: ContextTree) -> np.ndarray:
    levels = tree.match_levels()
    return np.where(levels > 0, MATCH_LEVELS[np.maximum(levels - 1, 0)], 0).astype(np.int32)


def leaves_of(plane: PlaneToEncode, tree: ContextTree, gain: int) -> np.ndarray:
    found = predict_plane(plane)
    means = plane_means(found.linears, found.corrections, gain, plane.top)
    about = (found.errors, found.contexts, means, found.begins)
    return plane_leaves(Sheared.of(plane), *about, tree.nodes)


def encode_on_cpu(plane: PlaneToEncode, made: Decisions) -> tuple[Prediction, Any, Any, Any]:
    """Return the prediction, states, words, raw bits."""
    found = predict_plane(plane)
    matches, predicted = found.patterns, (found.linears, found.corrections, found.contexts)
    tables, folded, candidates = symbols.fold_plane(
        *predicted, found.samples, made.gain, plane.top, True
    )
    table_map, cumulative, used = made.table_map, plane.cumulative, plane.used
    if made.leaves is not None:
        matches, own = made.leaves, made.tree.leaf_tables[made.leaves]
        tables = np.where(own > 0, own + TABLES - 1, tables).astype(np.int16)
        cumulative = np.concatenate([cumulative, made.tree.cumulative])
        used = np.concatenate([used, made.tree.used])
        table_map = np.arange(len(used), dtype=np.int32)
    starts, sizes, bits, counts = symbols.symbols(
        *(tables, folded, matches, candidates, found.begins, made.flags),
        *(table_map, cumulative, used),
    )
    states, words = rans.rans_encode(starts, sizes, made.lanes or rans.LANES[-1])
    if made.lanes is None:
        states, words = rans.rans_encode(starts, sizes, rans.lanes_for(len(words), len(folded)))
    return found, states, words, rans.pack_raw(bits, counts)


def to_decode(
    plane: PlaneToEncode, made: Decisions, first: int, stream: Any, model: WaveModel
) -> PlaneToDecode:
    states, words, raw = stream
    return PlaneToDecode(
        states,
        words,
        raw,
        *plane[1:8],
        first,
        plane.linear,
        plane.net,
        made.gain,
        made.flags,
        made.table_map,
        plane.cumulative,
        plane.used,
        model.lookup,
        made.tree,
    )


def decode_on_cpu(request: PlaneToDecode) -> tuple[Any, Any, int]:
    return CPU.decode_stream(request)


class TestDeviceAndCpuAgree:
    """Whatever an encoder decides: the same predictions, the same bytes, the same samples."""

    @pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
    def test_on_a_small_plane(self, case: Case) -> None:
        model = model_of(case.hidden, 5, case.narrow)
        plane, (made, first), samples = plane_of(case, 3, model)
        expected, states, words, raw = encode_on_cpu(plane, made)
        seen: list[Prediction] = []

        def decide(number: int, found: Prediction) -> Decisions:
            assert number == 0
            seen.append(found)
            return made

        threads = {} if THREADS is None else {"threads": THREADS}
        (coded,) = launch.encode_planes([plane], decide, **threads)
        (found,) = seen
        for field in dataclasses.fields(Prediction):
            here, there = getattr(found, field.name), getattr(expected, field.name)
            np.testing.assert_array_equal(here, there, err_msg=field.name)
        np.testing.assert_array_equal(coded.states, states)
        np.testing.assert_array_equal(coded.words, words)
        np.testing.assert_array_equal(coded.raw, raw)
        np.testing.assert_array_equal(coded.errors, expected.errors)
        request = to_decode(plane, made, first, (states, words, raw), model)
        own, errors, fault = decode_on_cpu(request)
        ((my_own, my_errors, my_fault),) = launch.decode_planes([request], threads=THREADS)
        assert (my_fault, fault) == (0, 0)
        np.testing.assert_array_equal(my_own, own)
        np.testing.assert_array_equal(my_errors, errors)
        np.testing.assert_array_equal(wavefront.unshear(my_own, *case.shape), samples)
        if case.narrow:
            assert len(raw) > 0
        if case.flagged and samples.size > 100:
            assert len(expected.linears) < sum(len(w) for w in (words, states)) + samples.size


class TestBatchesKeepTheirPlanesApart:
    """Planes of several sizes and models come back in the order of the list, none mixed."""

    def test_in_two_launches_of_a_size(self) -> None:
        models = [model_of(0, 5), model_of(8, 6)]
        cases = [
            (Case("a", (5, 7), 0), 0),
            (Case("b", (4, 6), 8, "flat", flagged=True, lanes=8), 1),
            (Case("c", (5, 7), 0, "flat", gain=2, lanes=8), 0),
            (Case("d", (5, 7), 0, top=9), 0),
        ]
        planes, made, firsts = [], [], []
        for k, (case, which) in enumerate(cases):
            plane, (decisions, first), _ = plane_of(case, k, models[which])
            planes.append(plane)
            made.append(decisions)
            firsts.append(first)
        need = encoding_bytes(planes[0])
        coded = launch.encode_planes(
            planes, lambda k, _: made[k], device_bytes=2 * need, threads=THREADS or 32
        )
        requests = []
        for k, plane in enumerate(planes):
            _, states, words, raw = encode_on_cpu(plane, made[k])
            np.testing.assert_array_equal(coded[k].states, states)
            np.testing.assert_array_equal(coded[k].words, words)
            np.testing.assert_array_equal(coded[k].raw, raw)
            requests.append(
                to_decode(plane, made[k], firsts[k], (states, words, raw), models[cases[k][1]])
            )
        need = decoding_bytes(requests[0])
        decoded = launch.decode_planes(requests, device_bytes=2 * need + need // 2, threads=THREADS)
        for request, (own, errors, fault) in zip(requests, decoded, strict=True):
            theirs = decode_on_cpu(request)
            assert fault == theirs[2] == 0
            np.testing.assert_array_equal(own, theirs[0])
            np.testing.assert_array_equal(errors, theirs[1])


class TestDamageHasTheSameCode:
    """A damaged stream ends on the device with the fault that the CPU finds first."""

    def test_over_many_damages(self) -> None:
        model = model_of(0, 5, narrow=True)
        case = Case("d", (6, 8), 0, "wild", 0, False, 1, True, 8, 4, True, 5000)
        plane, (made, first), _ = plane_of(case, 1, model)
        _, states, words, raw = encode_on_cpu(plane, made)
        rng = np.random.default_rng(0)
        requests = []
        for k in range(28):
            s, w, r = states.copy(), words.copy(), raw.copy()
            if k % 4 == 0:
                w = w[: rng.integers(0, len(w))]
            elif k % 4 == 1:
                r = r[: rng.integers(0, len(r))]
            elif k % 4 == 2:
                r[rng.integers(0, len(r))] ^= 1 << rng.integers(0, 8)
            else:
                s[rng.integers(0, len(s))] = rng.integers(0, 2**32)
            requests.append(to_decode(plane, made, first, (s, w, r), model))
        requests.append(requests[0]._replace(words=words[:0], raw=raw[:0]))
        requests.append(requests[0]._replace(words=np.append(words, np.uint16(1)), raw=raw))
        theirs = [decode_on_cpu(request)[2] for request in requests]
        mine = [fault for _, _, fault in launch.decode_planes(requests, threads=THREADS)]
        assert mine == theirs
        assert {1, 2, 3, 4, 5} <= set(theirs)

    def test_of_a_lane_that_holds_no_symbol(self) -> None:
        model = model_of(0, 5)
        plane, (made, first), _ = plane_of(Case("s", (1, 1), 0), 1, model)
        _, states, words, raw = encode_on_cpu(plane, made)
        states[3] += 1
        request = to_decode(plane, made, first, (states, words, raw), model)
        assert decode_on_cpu(request)[2] == 5
        assert launch.decode_planes([request], threads=THREADS)[0][2] == 5


@pytest.mark.skipif(SIMULATED and not TYPED, reason="the simulator would take an hour")
class TestLargePlanesAgreeToo:
    """At the size that chunks have, with everything that an encoder can switch on."""

    @pytest.mark.parametrize(
        "case",
        [
            Case("all", (512, 512), 24, "noise", 2, True, 16, True, 9, None, False, 4095),
            Case("wide", (130, 1030), 64, "wild", 1, False, 1, False, 9, 32, True, 2**17 - 1),
        ],
        ids=lambda c: c.name,
    )
    def test_on_a_large_plane(self, case: Case) -> None:
        TestDeviceAndCpuAgree().test_on_a_small_plane(case)


class TestOnlyWhatFitsIsTaken:
    def test_a_step_with_too_many_rows_is_refused(self) -> None:
        assert fits(2**26, 1)
        assert fits(8192, 8192)
        assert not fits(7000, 14000)
