"""Launch the kernels: batches of planes to arrays on the device, and what is found back.

Only one thread at a time may call: the device's owner. Numba's simulator
(``NUMBA_ENABLE_CUDASIM=1`` before numba is imported) takes the place of a device, some ten thousand
times slower. What a device could do at best, and what limits it, codecs/README.md reckons.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import cuda

from tilepress.codecs.wave.backend import DecodedStream, PlaneToDecode, PlaneToEncode, Prediction
from tilepress.codecs.wave.cuda.batches import (
    DEVICE_BYTES,
    Array,
    Decisions,
    EncodedPlane,
    Plane,
    batches_of,
    decoding_bytes,
    encoding_bytes,
    rows_of_step,
)
from tilepress.codecs.wave.cuda.decode import SCRATCH_ROWS, decode
from tilepress.codecs.wave.cuda.encode import (
    COLUMNS,
    PATTERNS,
    encode_states,
    gather_words,
    predict_contexts,
    predict_errors,
    prefix_sums,
    write_symbols,
)
from tilepress.codecs.wave.cuda.shared import FLAGGED, GAIN, LANES, SETS, SETTINGS, TOP
from tilepress.codecs.wave.layout import CELLS, FEATURES, LOOK_STRIDE, MAX_SETS, REGRESSORS
from tilepress.codecs.wave.rans import LANES as LANE_COUNTS
from tilepress.codecs.wave.rans import lanes_for
from tilepress.codecs.wave.tree import TreeArrays
from tilepress.codecs.wave.wavefront import sheared_size, steps

__all__ = ["decode_planes", "encode_planes"]

_THREADS = 256
"""Threads of a block at most: the rows of a step of a 512 × 512 plane."""
_STEP_THREADS = 128
_SCAN_THREADS = 512
_MOST_LANES = max(LANE_COUNTS)


def decode_planes(
    planes: Sequence[PlaneToDecode],
    device_bytes: int = DEVICE_BYTES,
    threads: int | None = None,
) -> list[DecodedStream]:
    """Decode independent planes; returns what ``decode_loop.decode_plane`` returns for each.

    After a fault, only its code is the CPU's. ``threads`` of a block: by the planes' size.
    """
    out: list[Any] = [None] * len(planes)
    for batch in batches_of(planes, device_bytes, decoding_bytes):
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
    for batch in batches_of(planes, device_bytes, encoding_bytes):
        some = [planes[i] for i in batch]

        def decide_here(k: int, found: Prediction, numbers: list[int] = batch) -> Decisions:
            return decide(numbers[k], found)

        for i, result in zip(batch, _encode_batch(some, decide_here, threads), strict=True):
            out[i] = result
    return out


def _upload(array: Array) -> Any:
    """Copy to the device; an empty array becomes one zero, which the kernels never read."""
    if array.size == 0:
        array = np.zeros((1,) * array.ndim, array.dtype)
    return cuda.to_device(np.ascontiguousarray(array))


def _upload_references(planes: Sequence[Plane]) -> tuple[Any, Any]:
    if planes[0].n_refs == 0:
        nothing = np.zeros((len(planes), 1, 1), np.int32)
        return _upload(nothing), _upload(nothing)
    return (
        _upload(np.stack([p.refs for p in planes])),
        _upload(np.stack([p.ref_errors for p in planes])),
    )


def _upload_mask(planes: Sequence[Plane]) -> tuple[Any, int]:
    if len(planes[0].mask) == 0:
        return _upload(np.zeros((1, 1), np.uint8)), 0
    return _upload(np.stack([p.mask for p in planes])), 1


def _upload_classes(planes: Sequence[Plane]) -> tuple[Any, Any, Any]:
    """Upload thresholds, cells and weights, (planes, MAX_SETS · REGRESSORS) int32."""
    thresholds = np.zeros((len(planes), 3), np.int32)
    cells = np.zeros((len(planes), CELLS), np.int32)
    weights = np.zeros((len(planes), MAX_SETS, REGRESSORS), np.int32)
    for i, plane in enumerate(planes):
        linear = plane.linear
        thresholds[i], cells[i], found = linear.thresholds, linear.set_of_cell, linear.weights
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


def _decode_batch(planes: Sequence[PlaneToDecode], threads: int | None) -> list[DecodedStream]:
    """Decode planes of one size, number of references, mask or none, and model."""
    count = len(planes)
    p0 = planes[0]
    settings = np.zeros((count, SETTINGS), np.int64)
    states = np.zeros((count, _MOST_LANES), np.int64)
    word, byte = 0, 0
    for i, plane in enumerate(planes):
        ends = word + len(plane.words), byte + len(plane.raw)
        settings[i] = (
            plane.top,
            plane.first,
            plane.gain,
            len(plane.states),
            len(plane.linear.weights),
            int(plane.flags.max() > 0),
            len(plane.tree.nodes),
            word,
            ends[0],
            byte,
            ends[1],
        )
        states[i, : len(plane.states)] = plane.states
        word, byte = ends
    cells = int(sheared_size(p0.height, p0.width))
    rows = rows_of_step(p0.height, p0.width)
    own = cuda.device_array((count, cells), np.int32)
    errors = cuda.device_array((count, cells), np.int32)
    scratch = cuda.device_array((count, SCRATCH_ROWS, rows), np.int32)
    faults = cuda.device_array(count, np.int32)
    mask, masked = _upload_mask(planes)
    net, n_hidden = _upload_net(p0.net)
    size = threads or min(_THREADS, (rows + 31) // 32 * 32)
    trees = [p.tree for p in planes]
    leaf_tables, *tables = _upload_tables(trees, p0.cumulative, p0.used, p0.lookup)
    decode[count, size](
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
    """Encode planes of one size, number of references, mask or none, and model."""
    settings = np.zeros((len(planes), SETTINGS), np.int64)
    for row, plane in zip(settings, planes, strict=True):
        row[TOP], row[SETS] = plane.top, len(plane.linear.weights)
    errors, begins, columns = _predict(planes, settings, threads)
    all_columns, all_begins = columns.copy_to_host(), begins.copy_to_host()
    predictions = [
        _prediction(*found)
        for found in zip(all_columns, all_begins, errors.copy_to_host(), strict=True)
    ]
    decisions = [decide(i, found) for i, found in enumerate(predictions)]
    for row, decision in zip(settings, decisions, strict=True):
        row[GAIN], row[FLAGGED] = decision.gain, int(decision.flags.max() > 0)
    for i, decision in enumerate(decisions):
        if decision.leaves is not None:
            columns[i, PATTERNS, : len(decision.leaves)].copy_to_device(decision.leaves)
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
    p0, count = planes[0], len(planes)
    n_steps = int(steps(p0.height, p0.width))
    own = _upload(np.stack([p.own for p in planes]))
    refs, ref_errors = _upload_references(planes)
    mask, masked = _upload_mask(planes)
    net, n_hidden = _upload_net(p0.net)
    shared = (own, refs, ref_errors, mask, _upload(settings))
    size = (p0.height, p0.width, p0.n_refs)
    errors = _upload(np.zeros((count, len(p0.own)), np.int32))
    counts = cuda.device_array((count, n_steps), np.int64)
    begins = cuda.device_array((count, n_steps + 1), np.int64)
    columns = cuda.device_array((count, COLUMNS, p0.height * p0.width), np.int32)
    predict_errors[count * n_steps, threads](
        *shared, *_upload_classes(planes), errors, counts, *size, masked
    )
    prefix_sums[count, _scan_threads(threads)](counts, begins)
    predict_contexts[count * n_steps, threads](
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
    write_symbols[blocks, threads](*shared, nothing, nothing, 0)
    prefix_sums[count, scan](symbol_counts, symbol_begins)
    prefix_sums[count, scan](bit_counts, bit_begins)
    lengths = symbol_begins.copy_to_host()[:, -1].copy()
    bits = bit_begins.copy_to_host()[:, -1]
    symbols = cuda.device_array((count, max(1, int(lengths.max()))), np.uint32)
    raw = _upload(np.zeros((count, int(bits.max()) // 32 + 1), np.uint32))
    write_symbols[blocks, threads](*shared, symbols, raw, 1)
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
    count = len(decisions)
    most = _MOST_LANES
    states = cuda.device_array((count, most), np.int64)
    emitted = cuda.device_array(symbols.shape, np.int32)
    words = cuda.device_array(symbols.shape, np.uint16)
    found = cuda.device_array(count, np.int64)
    on_device = _upload(lengths)
    lanes = [most if d.lanes is None else d.lanes for d in decisions]
    while True:
        settings[:, LANES] = lanes
        encode_states[count, min(threads, most)](
            symbols, on_device, _upload(settings), states, emitted
        )
        gather_words[count, _scan_threads(threads)](emitted, on_device, words, found)
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
