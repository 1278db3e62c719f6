"""The samples of a plane to its body: the half that chooses.

    samples ─► replication ─► absent samples ─► offset ─► packing ─► prediction

Every step is signalled by a flag and left out where it does not apply. What the body then holds is
FORMAT.md's to say (``plane_format.py``); another encoder may choose otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from tilepress.codecs.native.library import bind
from tilepress.codecs.wave.backend import Backend, Coding, PlaneToEncode, Prediction, TreeEffort
from tilepress.codecs.wave.bitmap import encode_bitmap
from tilepress.codecs.wave.choices import MIN_FIT_SAMPLES, choose_coding
from tilepress.codecs.wave.cpu import CPU
from tilepress.codecs.wave.following import TRIAL_ROWS, Following, follows, may_follow
from tilepress.codecs.wave.layout import MAX_RANGE, MAX_SETS
from tilepress.codecs.wave.linear import fit_linear, plain_linear
from tilepress.codecs.wave.model import WaveModel
from tilepress.codecs.wave.plane_format import (
    CONSTANT,
    FITTED,
    MASKED,
    NO_MASK,
    PACKED,
    RAW,
    REPLICATED,
    SAME_MASK,
    SPLIT,
    SPLIT_BITS,
    Blocks,
    DecodedPlane,
    Mask,
    Plane,
    pack_bits,
    pack_choices,
    pack_linear,
    pack_stream,
    residuals,
    shear_mask,
    shear_references,
    split_reference,
)
from tilepress.codecs.wave.structure import cluster_starts, replication, used_levels
from tilepress.codecs.wave.thorough import best_path
from tilepress.codecs.wave.wavefront import shear
from tilepress.codecs.wave.wire import signed_varint, varint

__all__ = ["Coder", "encode_body", "fill_absent", "to_encode"]

_LOW_BITS = 14
"""Low bits of a split: more of them than the static tables' widest scale would cost a bit each."""
_TREES = TreeEffort(3.25, 1 << 18)
_FOLLOWING = Following(0.0025)


@dataclass(frozen=True, slots=True)
class Coder:
    """What the encoder codes with and where, and how long it looks for what pays."""

    model: WaveModel
    quick: bool = False
    """One set of linear weights a plane, fitted on fewer samples."""
    backend: Backend = CPU
    trees: TreeEffort = _TREES
    following: Following | None = _FOLLOWING
    """None: no weights follow a plane."""
    thorough: bool = False
    """Judge all ways to predict a plane by what they take as a whole; with ``following``."""

    @property
    def judges_whole_planes(self) -> bool:
        """Whether it does: weights of before wave 4 write what they wrote."""
        return self.thorough and self.following is not None and self.model.form > 3


@dataclass(frozen=True, slots=True)
class _Begun:
    """A body as far as it is written, and what the rest of it is coded with."""

    coder: Coder
    refs: list[DecodedPlane]
    mask: Mask | None
    flags: int
    fields: bytes

    def then(self, fields: bytes, flags: int = 0) -> _Begun:
        """Return the body with more of its fields written."""
        return replace(self, flags=self.flags | flags, fields=self.fields + fields)

    def ended(self, fields: bytes = b"", flags: int = 0) -> bytes:
        """Return the whole body: flags come first."""
        return bytes([self.flags | flags]) + self.fields + fields


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
    flags, fields = 0, b""
    blocks = None
    if factors is not None:
        flags, fields = REPLICATED, bytes(factors)
        blocks = Blocks.of(samples.shape, factors)
        first = blocks.first_samples()
        samples = samples[first]
        mask = None if mask is None else mask[first]
        refs = [blocks.reduce(ref) for ref in refs]
    if mask is not None and not mask.any():
        mask = None
    begun = _Begun(coder, refs, mask, flags, fields)
    if mask is not None:
        begun = _with_mask(begun, mask)
    body, plane = _encode_present(samples, begun)
    if blocks is not None:
        plane = blocks.expand(plane)
    return body, plane


def _with_mask(begun: _Begun, mask: Mask) -> _Begun:
    refs = begun.refs
    if refs and refs[0].mask is not None and np.array_equal(refs[0].mask, mask):
        return begun.then(b"", SAME_MASK)
    coded = encode_bitmap(mask)
    return begun.then(varint(len(coded)) + coded, MASKED)


def _encode_present(samples: Plane, begun: _Begun) -> tuple[bytes, DecodedPlane]:
    """Code what the lowest of the present samples leaves, by the way that its range asks for."""
    mask = begun.mask
    present = samples if mask is None else samples[~mask]
    low, high = (int(present.min()), int(present.max())) if present.size else (0, 0)
    top = high - low
    begun = begun.then(signed_varint(low))
    if top == 0:
        zeros = np.zeros(samples.shape, np.int32)
        return begun.ended(flags=CONSTANT), DecodedPlane(zeros, zeros, mask)
    levels = samples - low
    if mask is not None:
        levels = np.where(mask, 0, levels)
    if top >= MAX_RANGE:
        return _encode_split(levels, top, begun)
    return _encode_levels(levels.astype(np.int32), top, begun)


def _encode_split(levels: Plane, top: int, begun: _Begun) -> tuple[bytes, DecodedPlane]:
    """Code a plane of great range as its high and its low bits, each a body of its own."""
    low_bits = min(_LOW_BITS, top.bit_length() - SPLIT_BITS)
    high, _ = encode_body(levels >> low_bits, None, begun.refs, begun.coder)
    low, _ = encode_body(levels & ((1 << low_bits) - 1), None, [], begun.coder)
    body = begun.ended(bytes([low_bits]) + varint(len(high)) + high + low, SPLIT)
    return body, split_reference(levels, top, begun.mask)


def _encode_levels(
    levels: npt.NDArray[np.int32], top: int, begun: _Begun
) -> tuple[bytes, DecodedPlane]:
    """Code levels 0 … top, their ranks or their clusters where the histogram has holes."""
    mask = begun.mask
    used = used_levels(levels, None if mask is None else ~mask, top, alone=not begun.refs)
    begun = begun.then(varint(top))
    if used is None:
        return _encode_samples(levels, top, begun)
    clustered: tuple[bytes, DecodedPlane] | None = None
    starts = cluster_starts(used.seen)
    if starts is not None:
        clustered = _encode_clusters(levels, used.seen, starts, begun)
    ranks = used.ranks()[levels]
    if mask is not None:
        ranks = np.where(mask, 0, ranks)
    bitmaps = _counted_bitmap(used.seen) + _counted_bitmap(used.rare[used.seen])
    packed = _encode_samples(ranks, len(used.by_rank()) - 1, begun.then(bitmaps, PACKED))
    if clustered is not None and len(clustered[0]) < len(packed[0]):
        return clustered
    return packed


def _encode_clusters(
    levels: npt.NDArray[np.int32],
    seen: npt.NDArray[np.bool_],
    starts: npt.NDArray[np.bool_],
    begun: _Begun,
) -> tuple[bytes, DecodedPlane]:
    """Code levels that lie in clusters as the numbers of the clusters and the ranks within.

    seen : (top + 1,) levels in use; starts : (used levels,) where a cluster begins.
    """
    ranks = (np.cumsum(seen) - 1).astype(np.int32)[levels]
    numbers = (np.cumsum(starts) - 1).astype(np.int32)[ranks]
    within = ranks - np.flatnonzero(starts).astype(np.int32)[numbers]
    mask = begun.mask
    if mask is not None:
        present = np.flatnonzero(~mask.ravel())[0]
        for plane in (numbers, within):
            fill_absent(plane, mask, int(plane.ravel()[present]))
    high, coded = encode_body(numbers.astype(np.int64), None, begun.refs, begun.coder)
    low, _ = encode_body(within.astype(np.int64), None, [coded], begun.coder)
    bitmaps = _counted_bitmap(seen) + _counted_bitmap(starts)
    body = begun.ended(bitmaps + varint(len(high)) + high + low, SPLIT | PACKED)
    return body, DecodedPlane(coded.samples, coded.errors, mask)


def _encode_samples(
    samples: npt.NDArray[np.int32], top: int, begun: _Begun
) -> tuple[bytes, DecodedPlane]:
    """Code samples 0 … top by prediction, or raw where that is no longer."""
    (height, width), mask, coder = samples.shape, begun.mask, begun.coder
    first = int(samples.ravel()[0]) if mask is None else int(samples[~mask][0])
    if mask is not None:
        samples = samples.copy()
        fill_absent(samples, mask, first)
    asked = _Asked(samples, top, first, begun)
    plane, weights, coding = _fitted(asked)
    model = coder.model

    def choose(found: Prediction) -> Coding:
        return choose_coding(plane, found, model) if coding is None else coding

    coded = coder.backend.encode_stream(plane, choose)
    stream = (coded.states, coded.words, coded.raw)
    depth = top.bit_length()
    if len(weights) + sum(part.nbytes for part in stream) >= (samples.size * depth + 7) // 8:
        body = begun.ended(pack_bits(samples, depth), RAW)
        return body, DecodedPlane(samples, np.zeros_like(samples), mask)
    fields = varint(first) + weights + pack_choices(coded.choices) + pack_stream(stream)
    body = begun.ended(fields, FITTED if weights else 0)
    return body, DecodedPlane(samples, residuals(coded.errors, height, width), mask)


def to_encode(
    samples: npt.NDArray[np.int32],
    top: int,
    first: int,
    refs: list[DecodedPlane],
    mask: Mask | None,
    model: WaveModel,
    net: tuple[npt.NDArray[Any], ...],
    trees: TreeEffort,
) -> PlaneToEncode:
    """Return samples 0 … top, (y, x), absent ones filled, as a backend takes them.

    With the model's linear weights and tables; net : of ``WaveModel.arrays``, or NO_NETWORK.
    """
    height, width = samples.shape
    return PlaneToEncode(
        shear(samples, first),
        *shear_references(refs, height, width),
        len(refs),
        NO_MASK if mask is None else shear_mask(mask),
        height,
        width,
        top,
        plain_linear(model.linear[len(refs)]),
        net,
        model.cumulative,
        model.used,
        model.lookup,
        trees,
    )


@dataclass(frozen=True, slots=True)
class _Asked:
    """Samples that are to be predicted."""

    samples: npt.NDArray[np.int32]
    """(y, x), absent ones filled."""
    top: int
    first: int
    begun: _Begun

    def plane(self) -> PlaneToEncode:
        """Return what a backend takes, with the model's linear weights."""
        begun, coder = self.begun, self.begun.coder
        known = (self.samples, self.top, self.first, begun.refs, begun.mask)
        return to_encode(*known, coder.model, coder.model.arrays(), coder.trees)

    def middle(self, rows: int) -> _Asked:
        """Return so many rows in the middle, or all where there are fewer."""
        start = max(0, len(self.samples) - rows) // 2
        part, mask = slice(start, start + rows), self.begun.mask
        refs = [DecodedPlane(r.samples[part], r.errors[part], None) for r in self.begun.refs]
        begun = replace(self.begun, refs=refs, mask=None if mask is None else mask[part])
        return _Asked(self.samples[part], self.top, self.first, begun)


def _fitted(asked: _Asked) -> tuple[PlaneToEncode, bytes, Coding | None]:
    """Return a plane with linear weights of its own, and these packed; b"" if it is too small.

    And how to code it, if that is known already.
    """
    plane, coder = asked.plane(), asked.begun.coder
    size, n_refs = plane.height * plane.width, plane.n_refs
    if size < MIN_FIT_SAMPLES:
        return plane, b"", None
    bits = 12 if size >= 1 << 16 else 10 if size >= 1 << 13 else 8
    prior = coder.model.linear[n_refs]
    following = coder.following if coder.model.form > 2 else None
    if coder.judges_whole_planes and following is not None:
        best = best_path(plane, prior, bits, coder.model, following)
        return plane._replace(linear=best.path), best.packed, best.coding
    # one more may go along, to which weights that follow are added
    most = MAX_SETS - (following is not None and coder.model.form > 3)
    linear = fit_linear(*plane[:7], prior, bits, quick=coder.quick, most=most)
    packed = pack_linear(linear, bits, n_refs)
    if following is not None and may_follow(plane.height, plane.width):
        alone = fit_linear(*plane[:7], prior, bits, quick=True)
        part = asked.middle(TRIAL_ROWS).plane()
        extra = 8 * (len(packed) - len(pack_linear(alone, bits, n_refs)))
        extra_bits = extra * part.height / plane.height
        path = follows(part, linear, alone, extra_bits, coder.model, following)
        if path is not None:
            linear, packed = path, pack_linear(path, bits, n_refs)
    return plane._replace(linear=linear), packed, None


def _counted_bitmap(bits: npt.NDArray[np.bool_]) -> bytes:
    """Code a bitmap of one row with its length before it; 0 where no bit is set."""
    coded = encode_bitmap(bits[None]) if bits.any() else b""
    return varint(len(coded)) + coded


_fill = bind("tp_fill_absent", "iBnnw")


def fill_absent(plane: npt.NDArray[np.int32], mask: Mask, first: int) -> None:
    """Give absent samples the mean of west and north, so that no cliff surrounds them."""
    _fill(plane, np.ascontiguousarray(mask).view(np.uint8), *plane.shape, first)
