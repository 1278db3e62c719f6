"""One plane of integers to its body and back (FORMAT.md §4).

    samples ─► replication ─► absent samples ─► offset ─► packing ─► residuals

Every step is signalled by a flag and left out where it does not apply.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tilepress.codecs.limits import MAX_SPLITS, MAX_TREE_BYTES
from tilepress.codecs.wave import kernel
from tilepress.codecs.wave.backend import (
    Backend,
    Choices,
    Coding,
    PlaneToDecode,
    PlaneToEncode,
    Prediction,
    TreeEffort,
)
from tilepress.codecs.wave.bitmap import decode_bitmap, encode_bitmap
from tilepress.codecs.wave.coder import (
    GAINS,
    LANES,
    STATE_LOW,
    best_tables,
    count_matches,
    count_tokens,
    flag_probabilities,
    fold_plane,
    gain_costs,
    plane_means,
)
from tilepress.codecs.wave.compiled import jit
from tilepress.codecs.wave.costs import BIT, flag_levels
from tilepress.codecs.wave.cpu import CPU
from tilepress.codecs.wave.grow import grow_tree
from tilepress.codecs.wave.kernel import regressor_count
from tilepress.codecs.wave.layout import (
    CELLS,
    FRACTION_BITS,
    MATCH_CONTEXTS,
    MAX_RANGE,
    MAX_SETS,
    REGRESSORS,
    WEIGHT_BITS,
)
from tilepress.codecs.wave.linear import Classes, fit_classes, plain_classes
from tilepress.codecs.wave.model import COST_UNIT, TABLES, WaveModel
from tilepress.codecs.wave.structure import Levels, cluster_starts, replication, used_levels
from tilepress.codecs.wave.tree import NO_TREE, pack_tree, read_tree
from tilepress.codecs.wave.wire import Reader, signed_varint, varint
from tilepress.errors import InvalidRecord

__all__ = [
    "Coder",
    "DecodedPlane",
    "choose_coding",
    "choose_flags",
    "choose_gain",
    "decode_body",
    "encode_body",
]

Plane = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

_REPLICATED, _MASKED, _PACKED, _CONSTANT, _SPLIT, _RAW, _FITTED, _SAME_MASK = (
    1 << i for i in range(8)
)
_CONTRADICTIONS = (
    (_CONSTANT, _PACKED | _SPLIT | _RAW | _FITTED),
    (_SPLIT, _RAW | _FITTED),
    (_RAW, _FITTED),
    (_MASKED, _SAME_MASK),
)
"""A body has the first of a pair or any of the second."""
_NO_MASK = np.zeros((0, 0), np.uint8)
_SPLIT_BITS = 16
_LOW_BITS = 14
"""Low bits of a split: more of them than the static tables' widest scale would cost a bit each."""
_MAX_TOP = 2**48
_MIN_FIT_SAMPLES = 256
_MAX_GAIN = 15
_MAP_BITS = 20
"""What exchanging a table must save at least."""
_MATCH_SHARE = 0.01
"""Samples that must equal a neighbour before match flags are looked into."""
_TREE = 16
"""Marks, in the byte of the gain, a context tree in place of flags and exchanged tables."""
_FLAG_BITS = 16
"""What a match flag must save at least: about what its probability costs."""


@dataclass(frozen=True, slots=True)
class DecodedPlane:
    """A plane as later planes see it."""

    samples: npt.NDArray[np.int32]
    """(y, x), what the predictor coded: 0 … top, at full resolution."""
    errors: npt.NDArray[np.int32]
    """(y, x), residuals of the linear path in whole steps."""
    mask: Mask | None
    """(y, x), true where samples are absent; None where none is."""


_TREES = TreeEffort(3.25, 1 << 18)


@dataclass(frozen=True, slots=True)
class Coder:
    """What the encoder codes with and where, and how long it looks for what pays."""

    model: WaveModel
    quick: bool = False
    """One set of linear weights a plane, fitted on fewer samples."""
    backend: Backend = CPU
    trees: TreeEffort = _TREES


@jit
def _fill_absent(plane: npt.NDArray[np.int32], mask: Mask, first: int) -> None:
    """Give absent samples the mean of west and north, so that no cliff surrounds them."""
    height, width = plane.shape
    for y in range(height):
        for x in range(width):
            if mask[y, x]:
                north = plane[y - 1, x] if y > 0 else first
                west = plane[y, x - 1] if x > 0 else (plane[y - 1, 0] if y > 0 else first)
                plane[y, x] = (west + north + 1) >> 1


@jit
def _block_means(
    plane: npt.NDArray[np.int32], rows: npt.NDArray[np.int64], columns: npt.NDArray[np.int64]
) -> npt.NDArray[np.int32]:
    """Mean of every block, rounded down after adding half; ``rows`` gives each row's block."""
    total = np.zeros((rows[-1] + 1, columns[-1] + 1), np.int64)
    count = np.zeros_like(total)
    for y in range(plane.shape[0]):
        for x in range(plane.shape[1]):
            total[rows[y], columns[x]] += plane[y, x]
            count[rows[y], columns[x]] += 1
    out = np.empty(total.shape, np.int32)
    for i in range(total.shape[0]):
        for j in range(total.shape[1]):
            out[i, j] = (2 * total[i, j] + count[i, j]) // (2 * count[i, j])
    return out


def _blocks(length: int, factor: int, phase: int) -> npt.NDArray[np.int64]:
    """Return (length,) block index of every line; blocks start at ``phase`` modulo ``factor``."""
    return (np.arange(length) - phase) // factor + (1 if phase > 0 else 0)


@dataclass(frozen=True, slots=True)
class _Blocks:
    rows: npt.NDArray[np.int64]
    columns: npt.NDArray[np.int64]

    def reduce(self, plane: DecodedPlane) -> DecodedPlane:
        return DecodedPlane(
            _block_means(plane.samples, self.rows, self.columns),
            _block_means(plane.errors, self.rows, self.columns),
            None,
        )

    def expand(self, plane: DecodedPlane) -> DecodedPlane:
        pick = np.ix_(self.rows, self.columns)
        mask = None if plane.mask is None else plane.mask[pick]
        return DecodedPlane(plane.samples[pick], plane.errors[pick], mask)


def encode_body(
    samples: Plane,
    mask: Mask | None,
    refs: list[DecodedPlane],
    coder: Coder,
) -> tuple[bytes, DecodedPlane]:
    """Code a plane losslessly.

    samples : (y, x) int64; mask : (y, x) bool, true where absent, or None.
    Returns the body and what later planes may refer to.
    """
    marked = samples if mask is None else np.where(mask, np.iinfo(np.int64).min, samples)
    factors = replication(marked)
    flags, head = 0, b""
    blocks = None
    if factors is not None:
        flags |= _REPLICATED
        head += bytes(factors)
        blocks = _Blocks(
            _blocks(samples.shape[0], *factors[:2]), _blocks(samples.shape[1], *factors[2:])
        )
        first_rows = np.searchsorted(blocks.rows, np.arange(blocks.rows[-1] + 1))
        first_columns = np.searchsorted(blocks.columns, np.arange(blocks.columns[-1] + 1))
        pick = np.ix_(first_rows, first_columns)
        samples = samples[pick]
        mask = None if mask is None else mask[pick]
        refs = [blocks.reduce(ref) for ref in refs]
    if mask is not None and not mask.any():
        mask = None
    if mask is not None:
        same = bool(refs) and refs[0].mask is not None and np.array_equal(refs[0].mask, mask)
        flags |= _SAME_MASK if same else _MASKED
        if not same:
            coded = encode_bitmap(mask)
            head += varint(len(coded)) + coded
    present = samples if mask is None else samples[~mask]
    low, high = (int(present.min()), int(present.max())) if present.size else (0, 0)
    top = high - low
    head += signed_varint(low)
    levels64 = samples - low
    if mask is not None:
        levels64 = np.where(mask, 0, levels64)
    if top == 0:
        zeros = np.zeros(samples.shape, np.int32)
        plane = DecodedPlane(zeros, zeros, mask)
        body = bytes([flags | _CONSTANT]) + head
    elif top >= MAX_RANGE:
        body, plane = _encode_split(levels64, top, mask, refs, coder, flags, head)
    else:
        body, plane = _encode_levels(levels64.astype(np.int32), top, mask, refs, coder, flags, head)
    if blocks is not None:
        plane = blocks.expand(plane)
    return body, plane


def _encode_split(
    levels: Plane,
    top: int,
    mask: Mask | None,
    refs: list[DecodedPlane],
    coder: Coder,
    flags: int,
    head: bytes,
) -> tuple[bytes, DecodedPlane]:
    """Code a plane of great range as its high and its low bits, each a body of its own."""
    low_bits = min(_LOW_BITS, top.bit_length() - _SPLIT_BITS)
    high, _ = encode_body(levels >> low_bits, None, refs, coder)
    low, _ = encode_body(levels & ((1 << low_bits) - 1), None, [], coder)
    plane = _split_reference(levels, top, mask)
    body = bytes([flags | _SPLIT]) + head + bytes([low_bits]) + varint(len(high)) + high + low
    return body, plane


def _split_reference(levels: Plane, top: int, mask: Mask | None) -> DecodedPlane:
    coarse = (levels >> max(0, top.bit_length() - 17)).astype(np.int32)
    return DecodedPlane(coarse, np.zeros_like(coarse), mask)


def _encode_levels(
    levels: npt.NDArray[np.int32],
    top: int,
    mask: Mask | None,
    refs: list[DecodedPlane],
    coder: Coder,
    flags: int,
    head: bytes,
) -> tuple[bytes, DecodedPlane]:
    """Code levels 0 … top by prediction, packing their histogram first where it has holes."""
    used = used_levels(levels, None if mask is None else ~mask, top, alone=not refs)
    head += varint(top)
    clustered: tuple[bytes, DecodedPlane] | None = None
    if used is not None:
        starts_of = cluster_starts(used.seen)
        if starts_of is not None:
            clustered = _encode_clusters(
                levels, used.seen, starts_of, mask, refs, coder, flags, head
            )
        flags |= _PACKED
        head += _counted_bitmap(used.seen) + _counted_bitmap(used.rare[used.seen])
        ranks = used.ranks()
        levels = ranks[levels] if mask is None else np.where(mask, 0, ranks[levels])
        top = len(used.by_rank()) - 1
    height, width = levels.shape
    first = int(levels.ravel()[0]) if mask is None else int(levels[~mask][0])
    sheared_mask = _NO_MASK
    if mask is not None:
        levels = levels.copy()
        _fill_absent(levels, mask, first)
        sheared_mask = _shear_mask(mask)
    own = kernel.shear(np.ascontiguousarray(levels), first)
    ref, ref_errors = _shear_references(refs, own.shape)
    model = coder.model
    classes = plain_classes(model.linear[len(refs)])
    coded_classes = b""
    if levels.size >= _MIN_FIT_SAMPLES:
        flags |= _FITTED
        bits = 12 if levels.size >= 1 << 16 else 10 if levels.size >= 1 << 13 else 8
        classes = fit_classes(
            own,
            ref,
            ref_errors,
            len(refs),
            sheared_mask,
            height,
            width,
            model.linear[len(refs)],
            bits,
            quick=coder.quick,
        )
        coded_classes = _pack_classes(classes, bits, regressor_count(len(refs)))
    request = PlaneToEncode(
        own,
        ref,
        ref_errors,
        len(refs),
        sheared_mask,
        height,
        width,
        top,
        classes.arrays(),
        model.arrays(),
        model.cumulative,
        model.used,
        model.lookup,
        coder.trees,
    )
    choices, states, words, raw, errors = coder.backend.encode_stream(
        request, lambda found: choose_coding(request, found, model)
    )
    if choices.tree is None:
        adapted = bytes([choices.gain]) + _pack_flags(choices.match_levels)
        adapted += _pack_map(choices.table_map)
    else:
        packed = pack_tree(choices.tree)
        adapted = bytes([choices.gain | _TREE]) + varint(len(packed)) + packed
    stream = states.astype("<u4").tobytes() + words.astype("<u2").tobytes() + raw.tobytes()
    plane = DecodedPlane(levels, _residuals(errors, height, width), mask)
    depth = top.bit_length()
    if len(coded_classes) + len(stream) >= (levels.size * depth + 7) // 8:
        zeros = np.zeros_like(levels)
        flags &= ~_FITTED
        plane = DecodedPlane(levels, zeros, mask)
        body = bytes([flags | _RAW]) + head + _pack_bits(levels, depth)
    else:
        body = bytes([flags]) + head + varint(first) + coded_classes + adapted
        body += varint(len(words)) + bytes([len(states)]) + stream
    if clustered is not None and len(clustered[0]) < len(body):
        return clustered
    return body, plane


def _counted_bitmap(bits: npt.NDArray[np.bool_]) -> bytes:
    """Code a bitmap of one row with its length before it; 0 where no bit is set."""
    coded = encode_bitmap(bits[None]) if bits.any() else b""
    return varint(len(coded)) + coded


def _encode_clusters(
    levels: npt.NDArray[np.int32],
    seen: npt.NDArray[np.bool_],
    starts: npt.NDArray[np.bool_],
    mask: Mask | None,
    refs: list[DecodedPlane],
    coder: Coder,
    flags: int,
    head: bytes,
) -> tuple[bytes, DecodedPlane]:
    """Code levels that lie in clusters as the numbers of the clusters and the ranks within.

    seen : (top + 1,) levels in use; starts : (used levels,) where a cluster begins.
    """
    ranks = (np.cumsum(seen) - 1).astype(np.int32)[levels]
    numbers = (np.cumsum(starts) - 1).astype(np.int32)[ranks]
    within = ranks - np.flatnonzero(starts).astype(np.int32)[numbers]
    if mask is not None:
        present = np.flatnonzero(~mask.ravel())[0]
        for plane in (numbers, within):
            _fill_absent(plane, mask, int(plane.ravel()[present]))
    high, coded = encode_body(numbers.astype(np.int64), None, refs, coder)
    low, _ = encode_body(within.astype(np.int64), None, [coded], coder)
    bitmaps = b""
    for bitmap in (seen, starts):
        packed = encode_bitmap(bitmap[None])
        bitmaps += varint(len(packed)) + packed
    body = bytes([flags | _SPLIT | _PACKED]) + head + bitmaps + varint(len(high)) + high + low
    return body, DecodedPlane(coded.samples, coded.errors, mask)


def decode_body(
    reader: Reader,
    shape: tuple[int, int],
    refs: list[DecodedPlane],
    model: WaveModel,
    backend: Backend = CPU,
    splits: int = MAX_SPLITS,
) -> tuple[Plane, DecodedPlane]:
    """Decode a body; the inverse of ``encode_body``. Absent samples come back as anything.

    ``splits`` is how many bodies within bodies may still follow.
    """
    flags = reader.byte()
    if any(flags & one and flags & other for one, other in _CONTRADICTIONS):
        raise InvalidRecord(f"decoding a plane: flags {flags:#04x} contradict one another")
    blocks = None
    if flags & _REPLICATED:
        factor_y, phase_y, factor_x, phase_x = reader.take(4)
        for factor, phase, length in ((factor_y, phase_y, shape[0]), (factor_x, phase_x, shape[1])):
            if not (1 <= factor <= 8 and phase < factor <= length):
                raise InvalidRecord(f"decoding a plane: block size {factor}, phase {phase}")
        blocks = _Blocks(_blocks(shape[0], factor_y, phase_y), _blocks(shape[1], factor_x, phase_x))
        refs = [blocks.reduce(ref) for ref in refs]
        shape = (int(blocks.rows[-1]) + 1, int(blocks.columns[-1]) + 1)
    mask: Mask | None = None
    if flags & _MASKED:
        mask = decode_bitmap(reader.take(reader.varint(2**30)), *shape)
    elif flags & _SAME_MASK:
        if not refs or refs[0].mask is None:
            raise InvalidRecord("decoding a plane: its mask refers to a plane that has none")
        mask = refs[0].mask
    offset = reader.signed_varint()
    if abs(offset) > _MAX_TOP:
        raise InvalidRecord(f"decoding a plane: offset {offset} is beyond the limits")
    if flags & _CONSTANT:
        zeros = np.zeros(shape, np.int32)
        plane, levels64 = DecodedPlane(zeros, zeros, mask), zeros.astype(np.int64)
    elif flags & _SPLIT and flags & _PACKED:
        plane, levels64 = _decode_clusters(reader, shape, refs, model, backend, mask, splits - 1)
    elif flags & _SPLIT:
        plane, levels64 = _decode_split(reader, shape, refs, model, backend, mask, splits - 1)
    else:
        plane, levels64 = _decode_levels(reader, shape, refs, model, backend, mask, flags)
    samples = levels64 + offset
    if blocks is not None:
        plane = blocks.expand(plane)
        samples = samples[np.ix_(blocks.rows, blocks.columns)]
    return samples, plane


def _decode_split(
    reader: Reader,
    shape: tuple[int, int],
    refs: list[DecodedPlane],
    model: WaveModel,
    backend: Backend,
    mask: Mask | None,
    splits: int,
) -> tuple[DecodedPlane, Plane]:
    if splits < 0:
        raise InvalidRecord(f"decoding a plane: more than {MAX_SPLITS} splits within one another")
    low_bits = reader.byte()
    if not 1 <= low_bits <= _SPLIT_BITS:
        raise InvalidRecord(f"decoding a plane: split at bit {low_bits}")
    high_reader = Reader(reader.take(reader.varint(2**31)))
    high, _ = decode_body(high_reader, shape, refs, model, backend, splits)
    high_reader.finish()
    low, _ = decode_body(reader, shape, [], model, backend, splits)
    if (
        high.min() < 0
        or int(high.max()) >= _MAX_TOP >> low_bits
        or low.min() < 0
        or int(low.max()) >> low_bits
    ):
        raise InvalidRecord("decoding a plane: split samples are out of range")
    levels = (high << low_bits) | low
    return _split_reference(levels, int(levels.max()), mask), levels


def _decode_clusters(
    reader: Reader,
    shape: tuple[int, int],
    refs: list[DecodedPlane],
    model: WaveModel,
    backend: Backend,
    mask: Mask | None,
    splits: int,
) -> tuple[DecodedPlane, Plane]:
    if splits < 0:
        raise InvalidRecord(f"decoding a plane: more than {MAX_SPLITS} splits within one another")
    top = reader.varint(MAX_RANGE - 1)
    seen = decode_bitmap(reader.take(reader.varint(2**20)), 1, top + 1)[0]
    levels_of_rank = np.flatnonzero(seen)
    starts = decode_bitmap(reader.take(reader.varint(2**20)), 1, len(levels_of_rank))[0]
    first_ranks = np.flatnonzero(starts)
    if len(first_ranks) < 2 or first_ranks[0] != 0:
        raise InvalidRecord("decoding a plane: clusters of levels do not begin with the first")
    high_reader = Reader(reader.take(reader.varint(2**31)))
    numbers, coded = decode_body(high_reader, shape, refs, model, backend, splits)
    high_reader.finish()
    within, _ = decode_body(reader, shape, [coded], model, backend, splits)
    if numbers.min() < 0 or int(numbers.max()) >= len(first_ranks) or within.min() < 0:
        raise InvalidRecord("decoding a plane: a cluster of levels that is not there")
    ranks = first_ranks[numbers] + within
    if mask is None and int(ranks.max()) >= len(levels_of_rank):
        raise InvalidRecord("decoding a plane: a level beyond the last cluster")
    ranks = np.minimum(ranks, len(levels_of_rank) - 1)  # of absent samples, which may be anything
    return DecodedPlane(coded.samples, coded.errors, mask), levels_of_rank[ranks]


def _decode_levels(
    reader: Reader,
    shape: tuple[int, int],
    refs: list[DecodedPlane],
    model: WaveModel,
    backend: Backend,
    mask: Mask | None,
    flags: int,
) -> tuple[DecodedPlane, Plane]:
    top = reader.varint(MAX_RANGE - 1)
    levels_of_rank: npt.NDArray[np.int64] | None = None
    if flags & _PACKED:
        seen = decode_bitmap(reader.take(reader.varint(2**20)), 1, top + 1)[0]
        rare = np.zeros_like(seen)
        if size := reader.varint(2**20):
            rare[seen] = decode_bitmap(reader.take(size), 1, int(np.count_nonzero(seen)))[0]
        levels_of_rank = Levels(seen, rare).by_rank()
        if len(levels_of_rank) < 2:
            raise InvalidRecord("decoding a plane: fewer than two levels are in use")
        top = len(levels_of_rank) - 1
    if top < 1:
        raise InvalidRecord("decoding a plane: a constant plane is not marked as one")
    height, width = shape
    if flags & _RAW:
        depth = top.bit_length()
        packed = reader.take((height * width * depth + 7) // 8)
        plane32 = _unpack_bits(packed, shape, depth)
        if int(plane32.max()) > top:
            raise InvalidRecord("decoding a plane: a raw sample is out of range")
        plane = DecodedPlane(plane32, np.zeros_like(plane32), mask)
    else:
        plane = _decode_stream(reader, shape, refs, model, backend, mask, flags, top)
    levels = plane.samples.astype(np.int64)
    return plane, levels if levels_of_rank is None else levels_of_rank[levels]


def _decode_stream(
    reader: Reader,
    shape: tuple[int, int],
    refs: list[DecodedPlane],
    model: WaveModel,
    backend: Backend,
    mask: Mask | None,
    flags: int,
    top: int,
) -> DecodedPlane:
    height, width = shape
    first = reader.varint(top)
    classes = plain_classes(model.linear[len(refs)])
    if flags & _FITTED:
        classes = _unpack_classes(reader, regressor_count(len(refs)))
    gain = reader.byte()
    grown, gain = gain & _TREE, gain & ~_TREE
    if gain > _MAX_GAIN:
        raise InvalidRecord(f"decoding a plane: gain {gain}, at most {_MAX_GAIN}")
    coded = height * width if mask is None else int(np.count_nonzero(~mask))
    if grown:
        tree = read_tree(reader.take(reader.varint(MAX_TREE_BYTES)), len(refs))
        tree_arrays, match_levels = tree.arrays(), tree.match_levels()
        table_map = np.arange(TABLES, dtype=np.int32)
    else:
        tree_arrays, match_levels = NO_TREE, _unpack_flags(reader)
        table_map = _unpack_map(reader)
    probabilities = flag_probabilities(match_levels)
    n_words = reader.varint(3 * coded + 1)
    lanes = reader.byte()
    if lanes not in LANES:
        raise InvalidRecord(f"decoding a plane: {lanes} lanes, want one of {LANES}")
    states = np.frombuffer(reader.take(4 * lanes), "<u4").astype(np.uint32)
    if int(states.min()) < STATE_LOW:
        raise InvalidRecord("decoding a plane: a coder state is out of range")
    words = np.frombuffer(reader.take(2 * n_words), "<u2").astype(np.uint16)
    raw = np.frombuffer(reader.take(reader.left), np.uint8)
    sheared_mask = _NO_MASK
    if mask is not None:
        sheared_mask = _shear_mask(mask)
    own_shape = kernel.empty_sheared(height, width, 0).shape
    ref, ref_errors = _shear_references(refs, own_shape)
    request = PlaneToDecode(
        states,
        words,
        raw,
        ref,
        ref_errors,
        len(refs),
        sheared_mask,
        height,
        width,
        top,
        first,
        classes.arrays(),
        model.arrays(),
        gain,
        probabilities,
        table_map,
        model.cumulative,
        model.used,
        model.lookup,
        tree_arrays,
    )
    own, errors, fault = backend.decode_stream(request)
    if fault:
        raise InvalidRecord(f"decoding a plane: its stream is damaged (fault {fault})")
    return DecodedPlane(kernel.unshear(own, height, width), _residuals(errors, height, width), mask)


def _residuals(errors: npt.NDArray[np.int32], height: int, width: int) -> npt.NDArray[np.int32]:
    """Return the linear path's residuals in whole steps, (y, x), of its sheared errors."""
    half = (1 << FRACTION_BITS) // 2 - 1
    residuals: npt.NDArray[np.int32] = (
        kernel.unshear(errors, height, width) + half
    ) >> FRACTION_BITS
    return residuals


def choose_gain(
    linears: npt.NDArray[np.int32],
    corrections: npt.NDArray[np.int32],
    samples: npt.NDArray[np.int32],
    begins: npt.NDArray[np.int64],
) -> int:
    """Return the gain of GAINS that leaves least to code; all arrays are ``predict_plane``'s."""
    return GAINS[int(gain_costs(linears, corrections, samples, begins).argmin())]


def _shear_mask(mask: Mask) -> npt.NDArray[np.uint8]:
    sheared: npt.NDArray[np.uint8] = kernel.shear(mask.astype(np.int32), 0).astype(np.uint8)
    return sheared


def _shear_references(
    refs: list[DecodedPlane], shape: tuple[int, ...]
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    planes = np.zeros((2, *shape), np.int32)
    errors = np.zeros((2, *shape), np.int32)
    for slot, ref in enumerate(refs):
        planes[slot] = kernel.shear_reference(np.ascontiguousarray(ref.samples))
        errors[slot] = kernel.shear_reference(np.ascontiguousarray(ref.errors))
    return planes, errors


def choose_coding(plane: PlaneToEncode, found: Prediction, model: WaveModel) -> Coding:
    """Return how to code a plane whose prediction is known."""
    gain = 0  # no network, no correction
    if model.hidden:
        gain = choose_gain(found.linears, found.corrections, found.samples[0], found.begins)
    may_match = found.matching > _MATCH_SHARE * found.looked_at
    tables, folded, candidates = fold_plane(
        found.linears,
        found.corrections,
        found.contexts,
        found.samples,
        gain,
        plane.top,
        may_match,
    )
    match_levels, table_map, bits = _choose_flags_and_tables(
        tables, folded, found.patterns, candidates if may_match else None, model
    )
    plain = Coding(
        Choices(gain, match_levels, table_map), tables, folded, candidates, found.patterns
    )
    n = len(folded)
    if n < _MIN_FIT_SAMPLES or bits > plane.trees.bits * n:
        return plain
    grown = grow_tree(
        plane,
        found.errors,
        found.contexts,
        plane_means(found.linears, found.corrections, gain, plane.top),
        found.begins,
        tables,
        folded,
        candidates if match_levels.any() else candidates[:, :0],
        model.costs,
        plane.trees.samples,
    )
    if grown is None or grown.bits >= bits:
        return plain
    tree, leaves = grown.tree, grown.leaves
    own = tree.tables[leaves]
    tables = np.where(own > 0, own + (TABLES - 1), tables).astype(np.int16)
    choices = Choices(gain, tree.match_levels(), np.arange(TABLES, dtype=np.int32), tree)
    return Coding(choices, tables, folded, candidates, leaves)


def _choose_flags_and_tables(
    tables: npt.NDArray[np.int16],
    folded: npt.NDArray[np.int32],
    matches: npt.NDArray[np.int32],
    candidates: npt.NDArray[np.int32] | None,
    model: WaveModel,
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32], float]:
    """Return levels of the match flags and the exchanged tables, whichever of both costs less.

    And what that is, in bits.
    """
    none = np.zeros((2, MATCH_CONTEXTS), np.int32)
    nobody = np.zeros((2, 0), np.int32)
    plain_map, plain_bits = choose_tables(
        count_tokens(tables, folded, matches, nobody, none, TABLES), model
    )
    if candidates is None:
        return none, plain_map, plain_bits
    counted = count_matches(tables, folded, matches, candidates, model.costs)
    levels, flag_bits = choose_flags(counted)
    if not levels.any():
        return none, plain_map, plain_bits
    flagged_map, token_bits = choose_tables(
        count_tokens(tables, folded, matches, candidates, flag_probabilities(levels), TABLES), model
    )
    if plain_bits <= flag_bits + token_bits:
        return none, plain_map, plain_bits
    return levels, flagged_map, flag_bits + token_bits


def choose_flags(counted: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int32], float]:
    """Return the match flags that pay and the bits that they and their description cost.

    The flags are (2, MATCH_CONTEXTS) int32: 1 + index into MATCH_LEVELS, or 0.
    """
    levels = np.zeros((2, MATCH_CONTEXTS), np.int32)
    seen = np.flatnonzero((counted[:, :, 0] > 0).any(axis=0))
    if not len(seen):
        return levels, 0.0
    level, spent = flag_levels(counted[:, seen, :2])
    total = counted[:, seen, :2].sum(-1)
    cost, saved = np.moveaxis(counted[:, seen, 2:] * (BIT // COST_UNIT), -1, 0)
    gain = np.where(total > 0, cost + saved - spent, 0) - _FLAG_BITS * BIT
    # "as north" is counted where "as west" failed, so it is only coded after it
    second = gain[1] > 0
    first = gain[0] + np.maximum(gain[1], 0) > 0
    coded = np.stack([first, first & second])
    levels[:, seen] = np.where(coded, level + 1, 0)
    return levels, float((spent + _FLAG_BITS * BIT)[coded].sum() / BIT)


def choose_tables(
    counted: npt.NDArray[np.int64], model: WaveModel
) -> tuple[npt.NDArray[np.int32], float]:
    """Return (TABLES,) int32, the table that codes each table's tokens best, and the bits then."""
    best, cost, saved = best_tables(counted, model.costs)
    pays = saved > _MAP_BITS * COST_UNIT
    bits = (cost.sum() - (saved - _MAP_BITS * COST_UNIT)[pays].sum()) / COST_UNIT
    return np.where(pays, best, np.arange(TABLES)).astype(np.int32), float(bits)


def _pack_flags(levels: npt.NDArray[np.int32]) -> bytes:
    """Pack the match flags: which are coded, and 6 bits of probability each."""
    active = (levels > 0).reshape(1, -1)
    if not active.any():
        return b"\0"
    coded = encode_bitmap(active)
    return varint(len(coded)) + coded + _pack_bits(levels[levels > 0] - 1, 6)


def _unpack_flags(reader: Reader) -> npt.NDArray[np.int32]:
    levels = np.zeros((1, 2 * MATCH_CONTEXTS), np.int32)
    size = reader.varint(4096)
    if size:
        active = decode_bitmap(reader.take(size), 1, 2 * MATCH_CONTEXTS)
        count = int(np.count_nonzero(active))
        levels[active] = _unpack_bits(reader.take((count * 6 + 7) // 8), (1, count), 6)[0] + 1
    return levels.reshape(2, MATCH_CONTEXTS)


def _pack_map(table_map: npt.NDArray[np.int32]) -> bytes:
    """Pack the exchanged tables: which are, and 9 bits of what by each."""
    changed = (table_map != np.arange(TABLES))[None]
    if not changed.any():
        return b"\0"
    coded = encode_bitmap(changed)
    return varint(len(coded)) + coded + _pack_bits(table_map[changed[0]], 9)


def _unpack_map(reader: Reader) -> npt.NDArray[np.int32]:
    table_map = np.arange(TABLES, dtype=np.int32)
    size = reader.varint(4096)
    if size:
        changed = decode_bitmap(reader.take(size), 1, TABLES)[0]
        count = int(np.count_nonzero(changed))
        table_map[changed] = _unpack_bits(reader.take((count * 9 + 7) // 8), (1, count), 9)[0]
        if int(table_map.max()) >= TABLES:
            raise InvalidRecord("decoding a plane: a table beyond the last one")
    return table_map


def _pack_classes(classes: Classes, bits: int, count: int) -> bytes:
    """Pack the sets of fitted weights; of more than one also thresholds and map."""
    sets = len(classes.weights)
    out = bytes([sets - 1])
    if sets > 1:
        out += classes.thresholds.astype(np.uint8).tobytes() + _pack_bits(classes.set_of_cell, 4)
    return out + b"".join(_pack_weights(w, bits, count) for w in classes.weights)


def _unpack_classes(reader: Reader, count: int) -> Classes:
    sets = reader.byte() + 1
    if sets > MAX_SETS:
        raise InvalidRecord(f"decoding a plane: {sets} sets of weights, at most {MAX_SETS}")
    thresholds, cells = np.zeros(3, np.int32), np.zeros(CELLS, np.int32)
    if sets > 1:
        thresholds = np.frombuffer(reader.take(3), np.uint8).astype(np.int32)
        cells = _unpack_bits(reader.take(CELLS // 2), (1, CELLS), 4)[0]
        if int(cells.max()) >= sets:
            raise InvalidRecord("decoding a plane: a cell beyond the last set of weights")
    return Classes(
        thresholds, cells, np.stack([_unpack_weights(reader, count) for _ in range(sets)])
    )


def _pack_weights(weights: npt.NDArray[np.int64], bits: int, count: int) -> bytes:
    """Pack fitted weights: a byte of fraction bits, a byte of width, then two's complement bits."""
    scaled = weights[:count] >> (WEIGHT_BITS - bits)
    width = max(int(np.abs(scaled).max()).bit_length() + 1, 2)
    packed = _pack_bits((scaled & ((1 << width) - 1)).astype(np.int32), width)
    return bytes([bits, width]) + packed


def _unpack_weights(reader: Reader, count: int) -> npt.NDArray[np.int64]:
    bits, width = reader.byte(), reader.byte()
    if not (1 <= bits <= WEIGHT_BITS and 2 <= width <= 18):
        raise InvalidRecord(f"decoding a plane: weights of {width} bits, {bits} of them fraction")
    packed = _unpack_bits(reader.take((count * width + 7) // 8), (1, count), width)[0]
    signed = packed - ((packed >> (width - 1)) << width)
    if int(np.abs(signed).max()) >= 1 << (17 - WEIGHT_BITS + bits):
        raise InvalidRecord("decoding a plane: a weight is out of range")
    weights = np.zeros(REGRESSORS, np.int64)
    weights[:count] = signed << (WEIGHT_BITS - bits)
    return weights


def _pack_bits(values: npt.NDArray[np.int32], width: int) -> bytes:
    """Pack non-negative values of ``width`` bits, least significant bit first."""
    flat = values.ravel().astype("<u4").view(np.uint8).reshape(-1, 4)
    return np.packbits(
        np.unpackbits(flat, axis=1, bitorder="little")[:, :width].ravel(), bitorder="little"
    ).tobytes()


def _unpack_bits(data: memoryview, shape: tuple[int, int], width: int) -> npt.NDArray[np.int32]:
    count = shape[0] * shape[1]
    bits = np.unpackbits(np.frombuffer(data, np.uint8), count=count * width, bitorder="little")
    padded = np.zeros((count, 32), np.uint8)
    padded[:, :width] = bits.reshape(count, width)
    return (
        np.packbits(padded, axis=1, bitorder="little").view("<u4").astype(np.int32).reshape(shape)
    )
