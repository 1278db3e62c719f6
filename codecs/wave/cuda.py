"""Run ``wave`` on a CUDA device: batches of independent planes, the same bytes as on the CPU.

    planes ─► grouped by size, references and model ─► one launch a group, a block a plane ─► planes

Nothing of CUDA is imported before it is asked for, and only one thread at a time may call: the
device's owner. Numba's simulator (``NUMBA_ENABLE_CUDASIM=1`` before numba is imported) takes the
place of a device, some ten thousand times slower.

**The floor.** What a sample costs, with 24 hidden units and r references, and what an H100 could do
at best (132 multiprocessors at 1.7 GHz, each 128 fp32 and 64 integer operations a clock; 3.3 TB/s):

===================  ============  ============  ============  ===================================
a sample             r = 0         r = 1         r = 2         at best, r = 1
===================  ============  ============  ============  ===================================
fp32 multiply-adds   1224          1800          1800          16 Gsamples/s
32·32 → 64 bits      17            28            39            counted in the next row
integer operations   1580          2030          2290          7 Gsamples/s in 32 bits, half in 64
reads and writes of  420 and 1224  555 and 1800  640 and 1800  the second are weights, which a
arrays, weights                                                warp shares, four to a read at best
device memory        8 B           16 B          24 B          200 Gsamples/s; the rest is cached
===================  ============  ============  ============  ===================================

(Operations were counted in the simulator.) Together some 6000 instructions a warp: about 3
Gsamples/s, 6 GB/s of 16-bit samples. The chain of the wavefront comes on top: a plane of 512² has
1534 steps of at most 256 rows; a step has 5 barriers (9 with match flags) and up to 8 groups of 32
symbols, one after another, each some five dependent reads and a barrier: 600 clocks. A plane alone
takes 1534 · (12 000 + 8 · 600) clocks = 15 ms, 17 Msamples/s; 1 GB/s takes 30 planes at a time.
``decode`` compiles to 128 registers and 33.5 KB of shared memory (sm_90): two planes of 256 rows
share a multiprocessor, so 264 run at a time. Streams of one lane decode symbol by symbol, 600
clocks each. The distance to this floor is not measured: no GPU was at hand. Arguments and results
are the CPU's sheared arrays, three times the samples each way: over PCIe (25 GB/s) they, not the
kernels, are the limit, at 0.3 … 1 Gsamples/s, until planes are sheared and kept on the device.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from tilepress.codecs.wave.backend import PlaneToDecode, PlaneToEncode, Prediction
from tilepress.codecs.wave.layout import CELLS, FEATURES, MAX_SETS, REGRESSORS
from tilepress.codecs.wave.predictor import LOOK_STRIDE
from tilepress.codecs.wave.rans import LANES, lanes_for
from tilepress.codecs.wave.tree import NO_TREE, TreeArrays
from tilepress.codecs.wave.wavefront import empty_sheared, steps

__all__ = [
    "DEVICE_BYTES",
    "Decisions",
    "EncodedPlane",
    "cuda_available",
    "decode_planes",
    "encode_planes",
    "fits",
]

DEVICE_BYTES = 8 * 2**30
"""Device memory that a batch may take unless the caller says otherwise; longer lists are cut."""
_THREADS = 256
"""Threads of a block at most: the rows of a step of a 512 × 512 plane."""
_STEP_THREADS = 128
_SCAN_THREADS = 512

Array = npt.NDArray[Any]
Plane = TypeVar("Plane", PlaneToDecode, PlaneToEncode)


@dataclass(frozen=True, slots=True)
class Decisions:
    """What the encoder chooses once it knows a plane's predictions."""

    gain: int
    flags: Array
    """(2, MATCH_CONTEXTS) int32, probability of 2^15 of each match flag, 0 where not coded."""
    table_map: Array
    """(tables,) int32, the table that stands in for each."""
    lanes: int | None = None
    """Lanes of the coder; None: ``lanes_for`` samples and the words that the most lanes give."""
    tree: TreeArrays = NO_TREE
    """Of a context tree; then flags are by leaf."""
    leaves: Array | None = None
    """(N,) int32, the leaf of every sample in coding order; None without a tree."""


@dataclass(frozen=True, slots=True)
class EncodedPlane:
    """A plane's stream and the errors that later planes refer to, as the CPU gives them."""

    decisions: Decisions
    states: npt.NDArray[np.uint32]
    words: npt.NDArray[np.uint16]
    raw: npt.NDArray[np.uint8]
    errors: npt.NDArray[np.int32]


def cuda_available() -> bool:
    """Whether numba finds a device, or its simulator is switched on."""
    try:
        from numba import cuda
    except ImportError:
        return False
    found: Any = cuda.is_available
    return bool(found())


def fits(height: int, width: int) -> bool:
    """Whether a plane of this size can run on the device: every plane of a record can."""
    from tilepress.codecs.wave.cuda_kernels import MAX_ROWS

    return _rows(height, width) <= MAX_ROWS


def decode_planes(
    planes: Sequence[PlaneToDecode],
    device_bytes: int = DEVICE_BYTES,
    threads: int | None = None,
) -> list[tuple[npt.NDArray[np.int32], npt.NDArray[np.int32], int]]:
    """Decode independent planes; returns what ``decode_loop.decode_plane`` returns for each.

    After a fault, only its code is the CPU's. ``threads`` of a block: by the planes' size.
    """
    out: list[Any] = [None] * len(planes)
    for batch in _batches(planes, device_bytes, _decoding_bytes):
        some = [planes[i] for i in batch]
        for i, result in zip(batch, _decode_batch(some, threads), strict=True):
            out[i] = result
    return out


def encode_planes(
    planes: Sequence[PlaneToEncode],
    decide: Callable[[int, Prediction], Decisions],
    device_bytes: int = DEVICE_BYTES,
    threads: int = _STEP_THREADS,
) -> list[EncodedPlane]:
    """Encode independent planes.

    ``decide`` gets a plane's number in the list and its prediction, and says how to code it; from
    the same decisions follow the same bytes.
    """
    out: list[Any] = [None] * len(planes)
    for batch in _batches(planes, device_bytes, _encoding_bytes):
        some = [planes[i] for i in batch]

        def decide_here(k: int, found: Prediction, numbers: list[int] = batch) -> Decisions:
            return decide(numbers[k], found)

        for i, result in zip(batch, _encode_batch(some, decide_here, threads), strict=True):
            out[i] = result
    return out


def _rows(height: int, width: int) -> int:
    """Rows that a step has at most."""
    return max(1, min(height, (width + 1) // 2 + 1))


def _sheared_shape(height: int, width: int) -> tuple[int, int]:
    shape: tuple[int, int] = empty_sheared(height, width, 0).shape
    return shape


def _decoding_bytes(plane: PlaneToDecode) -> int:
    """Device memory of one plane: four bytes of every sheared sample, error and reference.

    512 × 512 samples with references take 19 MB, so that DEVICE_BYTES hold some 430 planes.
    """
    cells = int(np.prod(_sheared_shape(plane.height, plane.width)))
    arrays = 2 + 4 * (plane.n_refs > 0) + (len(plane.mask) > 0)
    stream = plane.words.nbytes + plane.raw.nbytes
    return 4 * arrays * cells + stream + 64 * _rows(plane.height, plane.width) + 2**15


def _encoding_bytes(plane: PlaneToEncode) -> int:
    """Device memory of one plane: as for decoding, and 70 bytes a sample for what lies between."""
    cells = int(np.prod(_sheared_shape(plane.height, plane.width)))
    arrays = 2 + 4 * (plane.n_refs > 0) + (len(plane.mask) > 0)
    return 4 * arrays * cells + 70 * plane.height * plane.width + 2**15


def _batches(
    planes: Sequence[Plane], device_bytes: int, need: Callable[[Plane], int]
) -> Iterator[list[int]]:
    """Yield numbers of planes that run in one launch: same size, references, mask and model."""
    groups: dict[Hashable, list[int]] = defaultdict(list)
    for i, plane in enumerate(planes):
        if not fits(plane.height, plane.width):
            size = f"{plane.height} × {plane.width}"
            raise ValueError(f"coding planes on the device: {size} has too many rows a step")
        model = (id(plane.net), id(plane.cumulative), id(plane.used))
        key = (plane.height, plane.width, plane.n_refs, len(plane.mask) > 0, model)
        groups[key].append(i)
    for numbers in groups.values():
        batch: list[int] = []
        used = 0
        for i in numbers:
            bytes_ = need(planes[i])
            if batch and used + bytes_ > device_bytes:
                yield batch
                batch, used = [], 0
            batch.append(i)
            used += bytes_
        yield batch


def _upload(array: Array) -> Any:
    """Copy to the device; an empty array becomes one zero, which the kernels never read."""
    from numba import cuda

    if array.size == 0:
        array = np.zeros((1,) * array.ndim, array.dtype)
    return cuda.to_device(np.ascontiguousarray(array))


def _upload_references(planes: Sequence[Plane]) -> tuple[Any, Any]:
    if planes[0].n_refs == 0:
        nothing = np.zeros((len(planes), 1, 1, 1), np.int32)
        return _upload(nothing), _upload(nothing)
    return (
        _upload(np.stack([p.refs for p in planes])),
        _upload(np.stack([p.ref_errors for p in planes])),
    )


def _upload_mask(planes: Sequence[Plane]) -> tuple[Any, int]:
    if len(planes[0].mask) == 0:
        return _upload(np.zeros((1, 1, 1), np.uint8)), 0
    return _upload(np.stack([p.mask for p in planes])), 1


def _upload_classes(planes: Sequence[Plane]) -> tuple[Any, Any, Any]:
    """Upload thresholds, cells and weights, (planes, MAX_SETS · REGRESSORS) int32."""
    thresholds = np.zeros((len(planes), 3), np.int32)
    cells = np.zeros((len(planes), CELLS), np.int32)
    weights = np.zeros((len(planes), MAX_SETS, REGRESSORS), np.int32)
    for i, plane in enumerate(planes):
        thresholds[i], cells[i], found = plane.classes
        if np.abs(found).max(initial=0) >= 2**31:
            raise ValueError("coding planes on the device: linear weights beyond 32 bits")
        weights[i, : len(found)] = found
    return _upload(thresholds), _upload(cells), _upload(weights.reshape(len(planes), -1))


def _upload_tables(
    trees: Sequence[TreeArrays], cumulative: Array, used: Array, lookup: Array | None = None
) -> tuple[Any, ...]:
    """Upload tables of each leaf, (planes, MATCH_CONTEXTS), then all tables: the model's first."""
    leaf_tables = np.stack([t.leaf_tables for t in trees])
    first = len(used)
    for row, tree in zip(leaf_tables, trees, strict=True):
        row[row > 0] += first - 1
        first += len(tree.used)
    out = [
        _upload(leaf_tables),
        _upload(np.concatenate([cumulative, *(t.cumulative for t in trees)])),
        _upload(np.concatenate([used, *(t.used for t in trees)])),
    ]
    if lookup is not None:
        out.append(_upload(np.concatenate([lookup, *(t.lookup for t in trees)])))
    return tuple(out)


def _upload_nodes(trees: Sequence[TreeArrays]) -> Any:
    nodes = np.zeros((len(trees), max(1, *(len(t.nodes) for t in trees), 1), 4), np.int32)
    for row, tree in zip(nodes, trees, strict=True):
        row[: len(tree.nodes)] = tree.nodes
    return _upload(nodes)


def _upload_net(net: tuple[Array, ...]) -> tuple[tuple[Any, ...], int]:
    """Upload the network, its first layer feature by feature; and how many hidden units it has."""
    weights, bias, shift, out_weights, out_bias, out_shift = net
    assert len(bias) == 0 or weights.shape[1] == FEATURES
    arrays = (weights.T.ravel(), bias, shift, out_weights, out_bias, out_shift)
    return tuple(_upload(a) for a in arrays), len(bias)


def _decode_batch(planes: Sequence[PlaneToDecode], threads: int | None) -> list[tuple[Any, ...]]:
    from numba import cuda

    from tilepress.codecs.wave import cuda_kernels as device

    count = len(planes)
    p0 = planes[0]
    settings = np.zeros((count, device.SETTINGS), np.int64)
    states = np.zeros((count, max(LANES)), np.int64)
    word, byte = 0, 0
    for i, plane in enumerate(planes):
        ends = word + len(plane.words), byte + len(plane.raw)
        settings[i] = (
            plane.top,
            plane.first,
            plane.gain,
            len(plane.states),
            len(plane.classes[2]),
            int(plane.flags.max() > 0),
            len(plane.tree.nodes),
            word,
            ends[0],
            byte,
            ends[1],
        )
        states[i, : len(plane.states)] = plane.states
        word, byte = ends
    shape = _sheared_shape(p0.height, p0.width)
    rows = _rows(p0.height, p0.width)
    own = cuda.device_array((count, *shape), np.int32)
    errors = cuda.device_array((count, *shape), np.int32)
    scratch = cuda.device_array((count, device.SCRATCH_ROWS, rows), np.int32)
    faults = cuda.device_array(count, np.int32)
    mask, masked = _upload_mask(planes)
    net, n_hidden = _upload_net(p0.net)
    size = threads or min(_THREADS, (rows + 31) // 32 * 32)
    trees = [p.tree for p in planes]
    leaf_tables, *tables = _upload_tables(trees, p0.cumulative, p0.used, p0.lookup)
    device.decode[count, size](
        own,
        errors,
        *_upload_references(planes),
        mask,
        _upload(settings),
        *_upload_classes(planes),
        _upload(np.stack([p.flags for p in planes])),
        _upload(np.stack([p.table_map for p in planes])),
        _upload_nodes(trees),
        leaf_tables,
        *net,
        *tables,
        _upload(np.concatenate([p.words for p in planes])),
        _upload(np.concatenate([p.raw for p in planes])),
        _upload(states),
        scratch,
        faults,
        p0.height,
        p0.width,
        p0.n_refs,
        n_hidden,
        masked,
    )
    codes = faults.copy_to_host()
    all_own, all_errors = own.copy_to_host(), errors.copy_to_host()
    return [(all_own[i], all_errors[i], int(codes[i])) for i in range(count)]


def _encode_batch(
    planes: Sequence[PlaneToEncode],
    decide: Callable[[int, Prediction], Decisions],
    threads: int,
) -> list[EncodedPlane]:
    from tilepress.codecs.wave import cuda_kernels as device

    settings = np.zeros((len(planes), device.SETTINGS), np.int64)
    for row, plane in zip(settings, planes, strict=True):
        row[device.TOP], row[device.SETS] = plane.top, len(plane.classes[2])
    errors, begins, columns = _predict(planes, settings, threads)
    all_columns, all_begins = columns.copy_to_host(), begins.copy_to_host()
    predictions = [
        _prediction(*found)
        for found in zip(all_columns, all_begins, errors.copy_to_host(), strict=True)
    ]
    decisions = [decide(i, found) for i, found in enumerate(predictions)]
    for row, decision in zip(settings, decisions, strict=True):
        row[device.GAIN], row[device.FLAGGED] = decision.gain, int(decision.flags.max() > 0)
    for i, decision in enumerate(decisions):
        if decision.leaves is not None:
            columns[i, device.PATTERNS, : len(decision.leaves)].copy_to_device(decision.leaves)
    symbols, lengths, raw = _symbols(planes[0], decisions, settings, columns, begins, threads)
    samples = [len(found.linears) for found in predictions]
    coded = _code(decisions, samples, settings, symbols, lengths, threads)
    return [
        EncodedPlane(decision, *stream, bits, found.errors)
        for decision, stream, bits, found in zip(decisions, coded, raw, predictions, strict=True)
    ]


def _scan_threads(threads: int) -> int:
    return _SCAN_THREADS if threads >= _STEP_THREADS else threads


def _predict(
    planes: Sequence[PlaneToEncode], settings: Array, threads: int
) -> tuple[Any, Any, Any]:
    """Run both passes of prediction; returns errors, begins and columns on the device."""
    from numba import cuda

    from tilepress.codecs.wave import cuda_kernels as device

    p0, count = planes[0], len(planes)
    n_steps = int(steps(p0.height, p0.width))
    own = _upload(np.stack([p.own for p in planes]))
    refs, ref_errors = _upload_references(planes)
    mask, masked = _upload_mask(planes)
    net, n_hidden = _upload_net(p0.net)
    shared = (own, refs, ref_errors, mask, _upload(settings))
    size = (p0.height, p0.width, p0.n_refs)
    errors = _upload(np.zeros((count, *p0.own.shape), np.int32))
    counts = cuda.device_array((count, n_steps), np.int64)
    begins = cuda.device_array((count, n_steps + 1), np.int64)
    columns = cuda.device_array((count, device.COLUMNS, p0.height * p0.width), np.int32)
    device.predict_errors[count * n_steps, threads](
        *shared, *_upload_classes(planes), errors, counts, *size, masked
    )
    device.prefix_sums[count, _scan_threads(threads)](counts, begins)
    device.predict_contexts[count * n_steps, threads](
        *shared, *net, errors, begins, columns, *size, n_hidden, masked
    )
    return errors, begins, columns


def _symbols(
    model: PlaneToEncode,
    decisions: Sequence[Decisions],
    settings: Array,
    columns: Any,
    begins: Any,
    threads: int,
) -> tuple[Any, npt.NDArray[np.int64], list[npt.NDArray[np.uint8]]]:
    """Turn columns into symbols; returns them on the device, how many they are, and raw bits."""
    from numba import cuda

    from tilepress.codecs.wave import cuda_kernels as device

    count, n_steps = len(decisions), begins.shape[1] - 1
    blocks, scan = count * n_steps, _scan_threads(threads)
    symbol_counts = cuda.device_array((count, n_steps), np.int64)
    bit_counts = cuda.device_array((count, n_steps), np.int64)
    symbol_begins = cuda.device_array((count, n_steps + 1), np.int64)
    bit_begins = cuda.device_array((count, n_steps + 1), np.int64)
    shared = (
        columns,
        begins,
        _upload(settings),
        _upload(np.stack([d.flags for d in decisions])),
        _upload(np.stack([d.table_map for d in decisions])),
        *_upload_tables([d.tree for d in decisions], model.cumulative, model.used),
        symbol_counts,
        bit_counts,
        symbol_begins,
        bit_begins,
    )
    nothing = _upload(np.zeros((1, 1), np.uint32))
    device.write_symbols[blocks, threads](*shared, nothing, nothing, 0)
    device.prefix_sums[count, scan](symbol_counts, symbol_begins)
    device.prefix_sums[count, scan](bit_counts, bit_begins)
    lengths = symbol_begins.copy_to_host()[:, -1].copy()
    bits = bit_begins.copy_to_host()[:, -1]
    symbols = cuda.device_array((count, max(1, int(lengths.max()))), np.uint32)
    raw = _upload(np.zeros((count, int(bits.max()) // 32 + 1), np.uint32))
    device.write_symbols[blocks, threads](*shared, symbols, raw, 1)
    all_raw = raw.copy_to_host().astype("<u4").view(np.uint8)
    return symbols, lengths, [row[: (n + 7) // 8] for row, n in zip(all_raw, bits, strict=True)]


def _code(
    decisions: Sequence[Decisions],
    samples: Sequence[int],
    settings: Array,
    symbols: Any,
    lengths: npt.NDArray[np.int64],
    threads: int,
) -> list[tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint16]]]:
    """Run the coder; where the lanes follow from the words, once with the most and once more."""
    from numba import cuda

    from tilepress.codecs.wave import cuda_kernels as device

    count = len(decisions)
    most = max(LANES)
    states = cuda.device_array((count, most), np.int64)
    emitted = cuda.device_array(symbols.shape, np.int32)
    words = cuda.device_array(symbols.shape, np.uint16)
    found = cuda.device_array(count, np.int64)
    on_device = _upload(lengths)
    lanes = [most if d.lanes is None else d.lanes for d in decisions]
    while True:
        settings[:, device.LANES] = lanes
        device.encode_states[count, min(threads, most)](
            symbols, on_device, _upload(settings), states, emitted
        )
        device.gather_words[count, _scan_threads(threads)](emitted, on_device, words, found)
        n_words = found.copy_to_host()
        fitting = [
            lanes_for(int(n), total) if d.lanes is None and k == most else k
            for d, n, total, k in zip(decisions, n_words, samples, lanes, strict=True)
        ]
        if fitting == lanes:
            break
        lanes = fitting
    all_states = states.copy_to_host()
    return [
        (all_states[i, : lanes[i]].astype(np.uint32), words[i].copy_to_host()[: n_words[i]])
        for i in range(count)
    ]


def _prediction(columns: Array, begins: Array, errors: Array) -> Prediction:
    n = int(begins[-1])
    linears, corrections, contexts, patterns = columns[:4, :n]
    samples = columns[4:7, :n]
    looked_at, matching = _look(samples, begins)
    return Prediction(
        linears, corrections, contexts, patterns, samples, begins, errors, looked_at, matching
    )


def _look(samples: Array, begins: Array) -> tuple[int, int]:
    """Return how many samples every LOOK_STRIDE-th step has, and how many equal a neighbour."""
    step = np.repeat(np.arange(len(begins) - 1), np.diff(begins))
    sample, west, north = samples[:, step % LOOK_STRIDE == 0]
    return len(sample), int(np.count_nonzero((sample == west) | (sample == north)))
