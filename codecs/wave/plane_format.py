"""The body of a plane, field by field: flags, and what is packed and unpacked (FORMAT.md §4).

What packs and what unpacks a field stand side by side, with what both halves know of a plane.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tilepress.codecs.limits import MAX_TREE_BYTES
from tilepress.codecs.wave.backend import Choices, LinearPath
from tilepress.codecs.wave.bitmap import decode_bitmap, encode_bitmap
from tilepress.codecs.wave.layout import (
    CELLS,
    FAR_CHOICES,
    FRACTION_BITS,
    MATCH_CONTEXTS,
    MAX_SETS,
    MAX_UP,
    REGRESSORS,
    WEIGHT_BITS,
    regressor_count,
)
from tilepress.codecs.wave.model import TABLES
from tilepress.codecs.wave.rans import LANES, STATE_LOW
from tilepress.codecs.wave.tree import pack_tree, read_tree
from tilepress.codecs.wave.wavefront import fill_reference, shear, sheared_size, unshear
from tilepress.codecs.wave.wire import Reader, varint
from tilepress.errors import InvalidRecord

__all__ = [
    "CONSTANT",
    "CONTRADICTIONS",
    "FITTED",
    "MASKED",
    "NO_MASK",
    "PACKED",
    "RAW",
    "REPLICATED",
    "SAME_MASK",
    "SPLIT",
    "SPLIT_BITS",
    "Blocks",
    "DecodedPlane",
    "Mask",
    "Plane",
    "Stream",
    "blends",
    "block_count",
    "follows",
    "pack_bits",
    "pack_choices",
    "pack_linear",
    "pack_stream",
    "read_factors",
    "residuals",
    "shear_mask",
    "shear_references",
    "split_reference",
    "unpack_bits",
    "unpack_choices",
    "unpack_linear",
    "unpack_stream",
]

Plane = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Stream = tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint16], npt.NDArray[np.uint8]]
"""States of the lanes, words, raw bits."""

REPLICATED, MASKED, PACKED, CONSTANT, SPLIT, RAW, FITTED, SAME_MASK = (1 << i for i in range(8))
CONTRADICTIONS = (
    (CONSTANT, PACKED | SPLIT | RAW | FITTED),
    (SPLIT, RAW | FITTED),
    (RAW, FITTED),
    (MASKED, SAME_MASK),
)
"""A body has the first of a pair or any of the second."""
SPLIT_BITS = 16
"""Low bits that a split may have at most."""
NO_MASK = np.zeros(0, np.uint8)
"""What a backend takes where no sample is absent."""
_FAR_AT, _FOLLOWING, _BLENDED = 4, 64, 128
"""Of the byte before fitted weights: where it says which of FAR_CHOICES there are, the mark of
weights that follow, and that of two predictions that are blended."""
_MAX_GAIN = 15
_AT_ONCE = 1 << 14
"""Values that are unpacked at one time, a multiple of 8: they begin at a byte."""
_TREE = 16
"""Marks, in the byte of the gain, a context tree in place of flags and exchanged tables."""


# What both halves know of a plane -----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class DecodedPlane:
    """A plane as later planes see it."""

    samples: npt.NDArray[np.int32]
    """(y, x), what the predictor coded: 0 … top, at full resolution."""
    errors: npt.NDArray[np.int32]
    """(y, x), residuals of the linear path in whole steps."""
    mask: Mask | None
    """(y, x), true where samples are absent; None where none is."""


@dataclass(frozen=True, slots=True)
class Blocks:
    """How rows and columns fall into blocks, of which a replicated plane codes one sample each."""

    rows: npt.NDArray[np.int64]
    """(height,) block of every row."""
    columns: npt.NDArray[np.int64]
    """(width,) block of every column."""

    @classmethod
    def of(cls, shape: tuple[int, ...], factors: tuple[int, int, int, int]) -> Blocks:
        """Return the blocks of a plane; ``factors`` : size and phase of rows, then of columns."""
        height, width = shape
        return cls(_block_of_each(height, *factors[:2]), _block_of_each(width, *factors[2:]))

    @property
    def shape(self) -> tuple[int, int]:
        """How many blocks there are, (y, x)."""
        return int(self.rows[-1]) + 1, int(self.columns[-1]) + 1

    def first_samples(self) -> tuple[npt.NDArray[np.int64], ...]:
        """Return the indices of the first sample of every block."""
        rows, columns = (
            np.searchsorted(lines, np.arange(count))
            for lines, count in zip((self.rows, self.columns), self.shape, strict=True)
        )
        return np.ix_(rows, columns)

    def reduce(self, plane: DecodedPlane) -> DecodedPlane:
        """Return the means of the blocks, without a mask."""
        return DecodedPlane(
            _block_means(plane.samples, self.rows, self.columns),
            _block_means(plane.errors, self.rows, self.columns),
            None,
        )

    def expand(self, plane: DecodedPlane) -> DecodedPlane:
        pick = np.ix_(self.rows, self.columns)
        mask = None if plane.mask is None else plane.mask[pick]
        return DecodedPlane(plane.samples[pick], plane.errors[pick], mask)


def read_factors(reader: Reader, shape: tuple[int, int]) -> tuple[int, int, int, int]:
    """Read size and phase of the blocks of rows, then of columns; raises InvalidRecord."""
    factor_y, phase_y, factor_x, phase_x = reader.take(4)
    for factor, phase, length in ((factor_y, phase_y, shape[0]), (factor_x, phase_x, shape[1])):
        if not (1 <= factor <= 8 and phase < factor <= length):
            raise InvalidRecord(f"decoding a plane: block size {factor}, phase {phase}")
    return factor_y, phase_y, factor_x, phase_x


def block_count(length: int, factor: int, phase: int) -> int:
    """Return how many blocks there are along an axis, without listing them."""
    return (length - 1 - phase) // factor + (phase > 0) + 1


def _block_of_each(length: int, factor: int, phase: int) -> npt.NDArray[np.int64]:
    """Return (length,) block index of every line; blocks start at ``phase`` modulo ``factor``."""
    return (np.arange(length) - phase) // factor + (1 if phase > 0 else 0)


def _block_means(
    plane: npt.NDArray[np.int32], rows: npt.NDArray[np.int64], columns: npt.NDArray[np.int64]
) -> npt.NDArray[np.int32]:
    """Mean of every block, rounded down after adding half; ``rows`` gives each row's block."""
    total = np.add.reduceat(plane, _starts(rows), axis=0, dtype=np.int64)
    total = np.add.reduceat(total, _starts(columns), axis=1)
    count = np.outer(np.bincount(rows), np.bincount(columns))
    return ((2 * total + count) // (2 * count)).astype(np.int32)


def _starts(lines: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return where each block begins, of the block of each line."""
    return np.searchsorted(lines, np.arange(lines[-1] + 1))


def split_reference(levels: Plane, top: int, mask: Mask | None) -> DecodedPlane:
    """Return a plane of great range as later planes see it: its highest bits."""
    coarse = (levels >> max(0, top.bit_length() - 17)).astype(np.int32)
    return DecodedPlane(coarse, np.zeros_like(coarse), mask)


def residuals(errors: npt.NDArray[np.int32], height: int, width: int) -> npt.NDArray[np.int32]:
    """Return the linear path's residuals in whole steps, (y, x), of its sheared errors."""
    whole: npt.NDArray[np.int32] = unshear(errors, height, width)
    whole += (1 << FRACTION_BITS) // 2 - 1
    whole >>= FRACTION_BITS
    return whole


def shear_mask(mask: Mask) -> npt.NDArray[np.uint8]:
    """Return a mask as a backend takes it, (L,) uint8."""
    sheared: npt.NDArray[np.uint8] = shear(mask.astype(np.int32), 0).astype(np.uint8)
    return sheared


def shear_references(
    refs: list[DecodedPlane], height: int, width: int
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Return samples and residuals of references as a backend takes them, (references, L) each."""
    planes = np.zeros((len(refs), sheared_size(height, width)), np.int32)
    errors = np.zeros_like(planes)
    for slot, ref in enumerate(refs):
        fill_reference(ref.samples, planes[slot])
        fill_reference(ref.errors, errors[slot])
    return planes, errors


# Fitted weights (§4.4) ----------------------------------------------------------------------------


def pack_linear(linear: LinearPath, bits: int, n_refs: int) -> bytes:
    """Pack the sets of fitted weights; of more than one also thresholds and map.

    bits : fraction bits of a weight.
    """
    sets, count = len(linear.weights), regressor_count(n_refs)
    out = bytes([sets - 1])
    if linear.memory:
        kind = sets - 1 | FAR_CHOICES.index(linear.far) << _FAR_AT | _FOLLOWING
        kind |= _BLENDED if linear.blended else 0
        out = bytes([kind, linear.memory, linear.up + MAX_UP])
    if sets > 1:
        out += linear.thresholds.astype(np.uint8).tobytes() + pack_bits(linear.set_of_cell, 4)
    return out + b"".join(_pack_weights(w, bits, count) for w in linear.weights)


def follows(kind: int) -> bool:
    """Whether the byte before fitted weights announces weights that follow the plane."""
    return bool(kind & _FOLLOWING)


def blends(kind: int) -> bool:
    """Whether that byte announces two predictions that are blended."""
    return kind & (_FOLLOWING | _BLENDED) == _FOLLOWING | _BLENDED


def unpack_linear(reader: Reader, n_refs: int, form: int) -> LinearPath:
    """Read fitted weights; in form 2 none follow."""
    kind, count = reader.byte(), regressor_count(n_refs)
    memory = far = up = 0
    blended = False
    if form > 2 and follows(kind):
        memory, up = reader.byte(), reader.byte() - MAX_UP
        far = FAR_CHOICES[kind >> _FAR_AT & 3]
        blended = blends(kind)
        kind &= ~(_BLENDED | _FOLLOWING | 3 << _FAR_AT)
        if not (1 <= memory <= 15 and up <= MAX_UP):
            raise InvalidRecord(f"decoding a plane: memory {memory}, weighed by {up}")
        if blended and not kind:
            raise InvalidRecord("decoding a plane: two predictions of one set of weights")
    sets = kind + 1
    if sets > MAX_SETS:
        raise InvalidRecord(f"decoding a plane: {sets} sets of weights, at most {MAX_SETS}")
    thresholds, cells = np.zeros(3, np.int32), np.zeros(CELLS, np.int32)
    if sets > 1:
        thresholds = np.frombuffer(reader.take(3), np.uint8).astype(np.int32)
        cells = unpack_bits(reader.take(CELLS // 2), (1, CELLS), 4)[0]
        if int(cells.max()) >= sets:
            raise InvalidRecord("decoding a plane: a cell beyond the last set of weights")
    weights = np.stack([_unpack_weights(reader, count) for _ in range(sets)])
    return LinearPath(thresholds, cells, weights, memory, far, up, blended)


def _pack_weights(weights: npt.NDArray[np.int64], bits: int, count: int) -> bytes:
    """Pack fitted weights: a byte of fraction bits, a byte of width, then two's complement bits."""
    scaled = weights[:count] >> (WEIGHT_BITS - bits)
    width = max(int(np.abs(scaled).max()).bit_length() + 1, 2)
    packed = pack_bits((scaled & ((1 << width) - 1)).astype(np.int32), width)
    return bytes([bits, width]) + packed


def _unpack_weights(reader: Reader, count: int) -> npt.NDArray[np.int64]:
    bits, width = reader.byte(), reader.byte()
    if not (1 <= bits <= WEIGHT_BITS and 2 <= width <= 18):
        raise InvalidRecord(f"decoding a plane: weights of {width} bits, {bits} of them fraction")
    packed = unpack_bits(reader.take((count * width + 7) // 8), (1, count), width)[0]
    signed = packed - ((packed >> (width - 1)) << width)
    if int(np.abs(signed).max()) >= 1 << (17 - WEIGHT_BITS + bits):
        raise InvalidRecord("decoding a plane: a weight is out of range")
    weights = np.zeros(REGRESSORS, np.int64)
    weights[:count] = signed << (WEIGHT_BITS - bits)
    return weights


# Gain, and a tree or flags and exchanged tables (§4, 8 … 10) --------------------------------------


def pack_choices(choices: Choices) -> bytes:
    """Pack what the encoder chose once it knew the predictions."""
    if choices.tree is None:
        flags_and_tables = _pack_flags(choices.match_levels) + _pack_map(choices.table_map)
        return bytes([choices.gain]) + flags_and_tables
    packed = pack_tree(choices.tree)
    return bytes([choices.gain | _TREE]) + varint(len(packed)) + packed


def unpack_choices(reader: Reader, n_refs: int) -> Choices:
    gain = reader.byte()
    grown, gain = gain & _TREE, gain & ~_TREE
    if gain > _MAX_GAIN:
        raise InvalidRecord(f"decoding a plane: gain {gain}, at most {_MAX_GAIN}")
    if grown:
        tree = read_tree(reader.take(reader.varint(MAX_TREE_BYTES)), n_refs)
        return Choices(gain, tree.match_levels(), np.arange(TABLES, dtype=np.int32), tree)
    match_levels = _unpack_flags(reader)
    return Choices(gain, match_levels, _unpack_map(reader))


def _pack_flags(levels: npt.NDArray[np.int32]) -> bytes:
    """Pack the match flags: which are coded, and 6 bits of probability each."""
    active = (levels > 0).reshape(1, -1)
    if not active.any():
        return b"\0"
    coded = encode_bitmap(active)
    return varint(len(coded)) + coded + pack_bits(levels[levels > 0] - 1, 6)


def _unpack_flags(reader: Reader) -> npt.NDArray[np.int32]:
    levels = np.zeros((1, 2 * MATCH_CONTEXTS), np.int32)
    size = reader.varint(4096)
    if size:
        active = decode_bitmap(reader.take(size), 1, 2 * MATCH_CONTEXTS)
        count = int(np.count_nonzero(active))
        levels[active] = unpack_bits(reader.take((count * 6 + 7) // 8), (1, count), 6)[0] + 1
    return levels.reshape(2, MATCH_CONTEXTS)


def _pack_map(table_map: npt.NDArray[np.int32]) -> bytes:
    """Pack the exchanged tables: which are, and 9 bits of what by each."""
    changed = (table_map != np.arange(TABLES))[None]
    if not changed.any():
        return b"\0"
    coded = encode_bitmap(changed)
    return varint(len(coded)) + coded + pack_bits(table_map[changed[0]], 9)


def _unpack_map(reader: Reader) -> npt.NDArray[np.int32]:
    table_map = np.arange(TABLES, dtype=np.int32)
    size = reader.varint(4096)
    if size:
        changed = decode_bitmap(reader.take(size), 1, TABLES)[0]
        count = int(np.count_nonzero(changed))
        table_map[changed] = unpack_bits(reader.take((count * 9 + 7) // 8), (1, count), 9)[0]
        if int(table_map.max()) >= TABLES:
            raise InvalidRecord("decoding a plane: a table beyond the last one")
    return table_map


# The stream (§4, 11) ------------------------------------------------------------------------------


def pack_stream(stream: Stream) -> bytes:
    """Pack how many words and lanes there are, and states, words and raw bits."""
    states, words, raw = stream
    counts = varint(len(words)) + bytes([len(states)])
    return counts + states.astype("<u4").tobytes() + words.astype("<u2").tobytes() + raw.tobytes()


def unpack_stream(reader: Reader, samples: int) -> Stream:
    """Read the stream of so many samples, up to the end of the body."""
    n_words = reader.varint(3 * samples + 1)
    lanes = reader.byte()
    if lanes not in LANES:
        raise InvalidRecord(f"decoding a plane: {lanes} lanes, want one of {LANES}")
    states = np.frombuffer(reader.take(4 * lanes), "<u4").astype(np.uint32)
    if int(states.min()) < STATE_LOW:
        raise InvalidRecord("decoding a plane: a coder state is out of range")
    words = np.frombuffer(reader.take(2 * n_words), "<u2").astype(np.uint16)
    return states, words, np.frombuffer(reader.take(reader.left), np.uint8)


# Numbers of a fixed width -------------------------------------------------------------------------


def pack_bits(values: npt.NDArray[np.int32], width: int) -> bytes:
    """Pack non-negative values of ``width`` bits, least significant bit first."""
    flat = values.ravel().astype("<u4").view(np.uint8).reshape(-1, 4)
    return np.packbits(
        np.unpackbits(flat, axis=1, bitorder="little")[:, :width].ravel(), bitorder="little"
    ).tobytes()


def unpack_bits(data: memoryview, shape: tuple[int, int], width: int) -> npt.NDArray[np.int32]:
    """Unpack shape[0] · shape[1] values of ``width`` ≤ 32 bits."""
    out = np.empty(shape[0] * shape[1], np.int32)
    for first in range(0, len(out), _AT_ONCE):  # a byte a bit: little of that at one time
        count = min(_AT_ONCE, len(out) - first)
        packed = np.frombuffer(data[first * width // 8 :], np.uint8, (count * width + 7) // 8)
        padded = np.zeros((count, 32), np.uint8)
        padded[:, :width] = np.unpackbits(packed, count=count * width, bitorder="little").reshape(
            count, width
        )
        out[first : first + count] = (
            np.packbits(padded, axis=1, bitorder="little").view("<u4").ravel()
        )
    return out.reshape(shape)
