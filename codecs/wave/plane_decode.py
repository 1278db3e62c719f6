"""The body of a plane to its samples: the half that FORMAT.md §4 prescribes.

    stream ─► samples ─► unpacking, clusters, split ─► offset ─► replication

The flags of a body say which of these steps it takes. The other half is ``plane_encode.py``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tilepress.codecs.limits import MAX_SPLITS
from tilepress.codecs.wave.backend import Backend, PlaneToDecode
from tilepress.codecs.wave.bitmap import decode_bitmap
from tilepress.codecs.wave.cpu import CPU
from tilepress.codecs.wave.layout import FORM, MAX_FOLLOWED_ROWS, MAX_RANGE
from tilepress.codecs.wave.linear import plain_linear
from tilepress.codecs.wave.model import WaveModel
from tilepress.codecs.wave.plane_format import (
    CONSTANT,
    CONTRADICTIONS,
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
    read_factors,
    residuals,
    shear_mask,
    shear_references,
    split_reference,
    unpack_bits,
    unpack_choices,
    unpack_linear,
    unpack_stream,
)
from tilepress.codecs.wave.structure import Levels
from tilepress.codecs.wave.symbols import flag_probabilities
from tilepress.codecs.wave.tree import NO_TREE
from tilepress.codecs.wave.wavefront import unshear
from tilepress.codecs.wave.wire import Reader
from tilepress.errors import InvalidRecord

__all__ = ["decode_body"]

_MAX_TOP = 2**48


@dataclass(frozen=True, slots=True)
class _Given:
    """What is known of a plane when its levels are read, and what decodes it."""

    shape: tuple[int, int]
    refs: list[DecodedPlane]
    mask: Mask | None
    model: WaveModel
    backend: Backend
    splits: int
    """How many bodies within bodies may still follow."""
    form: int

    def decode_inner(self, reader: Reader, refs: list[DecodedPlane]) -> tuple[Plane, DecodedPlane]:
        return decode_body(
            reader, self.shape, refs, self.model, self.backend, self.splits - 1, form=self.form
        )

    def decode_first(self, reader: Reader) -> tuple[Plane, DecodedPlane]:
        """Decode the first of two bodies, whose length is before it; it sees the references."""
        first = Reader(reader.take(reader.varint(2**31)))
        decoded = self.decode_inner(first, self.refs)
        first.finish()
        return decoded


def decode_body(
    reader: Reader,
    shape: tuple[int, int],
    refs: list[DecodedPlane],
    model: WaveModel,
    backend: Backend = CPU,
    splits: int = MAX_SPLITS,
    *,
    form: int = FORM,
) -> tuple[Plane, DecodedPlane]:
    """Decode a body; the inverse of ``encode_body``. Absent samples come back as anything.

    It takes the memory that ``demand.body_demand`` says, so nothing is kept longer than needed.
    ``splits`` is how many bodies within bodies may still follow, ``form`` the format, 2 … 4.
    """
    flags = reader.byte()
    if any(flags & one and flags & other for one, other in CONTRADICTIONS):
        raise InvalidRecord(f"decoding a plane: flags {flags:#04x} contradict one another")
    blocks = None
    if flags & REPLICATED:
        blocks = Blocks.of(shape, read_factors(reader, shape))
        refs = [blocks.reduce(ref) for ref in refs]
        shape = blocks.shape
    mask = _read_mask(reader, shape, refs, flags)
    given = _Given(shape, refs, mask, model, backend, splits, form)
    offset = reader.signed_varint()
    if abs(offset) > _MAX_TOP:
        raise InvalidRecord(f"decoding a plane: offset {offset} is beyond the limits")
    if flags & CONSTANT:
        zeros = np.zeros(shape, np.int32)
        plane, levels = DecodedPlane(zeros, zeros, given.mask), zeros.astype(np.int64)
    elif flags & SPLIT and flags & PACKED:
        plane, levels = _decode_clusters(reader, given)
    elif flags & SPLIT:
        plane, levels = _decode_split(reader, given)
    else:
        plane, levels = _decode_levels(reader, given, flags)
    levels += offset
    if blocks is not None:
        plane = blocks.expand(plane)
        levels = levels[np.ix_(blocks.rows, blocks.columns)]
    return levels, plane


def _read_mask(
    reader: Reader, shape: tuple[int, int], refs: list[DecodedPlane], flags: int
) -> Mask | None:
    if flags & MASKED:
        return decode_bitmap(reader.take(reader.varint(2**30)), *shape)
    if flags & SAME_MASK:
        if not refs or refs[0].mask is None:
            raise InvalidRecord("decoding a plane: its mask refers to a plane that has none")
        return refs[0].mask
    return None


def _decode_split(reader: Reader, given: _Given) -> tuple[DecodedPlane, Plane]:
    """Decode a plane of great range: a body of its high bits, then one of its low bits."""
    if not given.splits:
        raise InvalidRecord(f"decoding a plane: more than {MAX_SPLITS} splits within one another")
    low_bits = reader.byte()
    if not 1 <= low_bits <= SPLIT_BITS:
        raise InvalidRecord(f"decoding a plane: split at bit {low_bits}")
    high = given.decode_first(reader)[0]
    low = given.decode_inner(reader, [])[0]
    if (
        high.min() < 0
        or int(high.max()) >= _MAX_TOP >> low_bits
        or low.min() < 0
        or int(low.max()) >> low_bits
    ):
        raise InvalidRecord("decoding a plane: split samples are out of range")
    high <<= low_bits
    high |= low
    del low
    return split_reference(high, int(high.max()), given.mask), high


def _decode_clusters(reader: Reader, given: _Given) -> tuple[DecodedPlane, Plane]:
    """Decode levels that lie in clusters: a body of their numbers, then one of what is within."""
    if not given.splits:
        raise InvalidRecord(f"decoding a plane: more than {MAX_SPLITS} splits within one another")
    top = reader.varint(MAX_RANGE - 1)
    seen = decode_bitmap(reader.take(reader.varint(2**20)), 1, top + 1)[0]
    levels_of_rank = np.flatnonzero(seen)
    starts = decode_bitmap(reader.take(reader.varint(2**20)), 1, len(levels_of_rank))[0]
    first_ranks = np.flatnonzero(starts)
    if len(first_ranks) < 2 or first_ranks[0] != 0:
        raise InvalidRecord("decoding a plane: clusters of levels do not begin with the first")
    numbers, coded = given.decode_first(reader)
    within = given.decode_inner(reader, [coded])[0]
    if numbers.min() < 0 or int(numbers.max()) >= len(first_ranks) or within.min() < 0:
        raise InvalidRecord("decoding a plane: a cluster of levels that is not there")
    ranks = within
    ranks += first_ranks[numbers]
    del numbers
    if given.mask is None and int(ranks.max()) >= len(levels_of_rank):
        raise InvalidRecord("decoding a plane: a level beyond the last cluster")
    last = len(levels_of_rank) - 1
    np.minimum(ranks, last, out=ranks)  # of absent samples, which may be anything
    return DecodedPlane(coded.samples, coded.errors, given.mask), levels_of_rank[ranks]


def _decode_levels(reader: Reader, given: _Given, flags: int) -> tuple[DecodedPlane, Plane]:
    """Decode levels 0 … top, or their ranks where they are packed; raw or by prediction."""
    top = reader.varint(MAX_RANGE - 1)
    levels_of_rank: npt.NDArray[np.int64] | None = None
    if flags & PACKED:
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
    if flags & RAW:
        plane = _decode_raw(reader, given, top)
    else:
        plane = _decode_stream(reader, given, top, fitted=bool(flags & FITTED))
    if levels_of_rank is None:
        return plane, plane.samples.astype(np.int64)
    return plane, levels_of_rank[plane.samples]


def _decode_raw(reader: Reader, given: _Given, top: int) -> DecodedPlane:
    height, width = given.shape
    depth = top.bit_length()
    packed = reader.take((height * width * depth + 7) // 8)
    plane = unpack_bits(packed, given.shape, depth)
    if int(plane.max()) > top:
        raise InvalidRecord("decoding a plane: a raw sample is out of range")
    return DecodedPlane(plane, np.zeros_like(plane), given.mask)


def _decode_stream(reader: Reader, given: _Given, top: int, *, fitted: bool) -> DecodedPlane:
    """Decode samples 0 … top that were predicted."""
    height, width = given.shape
    own, errors, fault = given.backend.decode_stream(_read_stream(reader, given, top, fitted))
    if fault:
        raise InvalidRecord(f"decoding a plane: its stream is damaged (fault {fault})")
    samples = unshear(own, height, width)
    del own
    return DecodedPlane(samples, residuals(errors, height, width), given.mask)


def _read_stream(reader: Reader, given: _Given, top: int, fitted: bool) -> PlaneToDecode:
    """Read what a backend is asked, up to the end of the body."""
    (height, width), mask, model = given.shape, given.mask, given.model
    n_refs = len(given.refs)
    first = reader.varint(top)
    linear = plain_linear(model.linear[n_refs])
    if fitted:
        linear = unpack_linear(reader, n_refs, given.form)
        if linear.memory and height > MAX_FOLLOWED_ROWS:
            raise InvalidRecord(f"decoding a plane: weights that follow {height} rows")
    choices = unpack_choices(reader, n_refs)
    present = height * width if mask is None else int(np.count_nonzero(~mask))
    stream = unpack_stream(reader, present)
    return PlaneToDecode(
        *stream,
        *shear_references(given.refs, height, width),
        n_refs,
        NO_MASK if mask is None else shear_mask(mask),
        height,
        width,
        top,
        first,
        linear,
        model.arrays(),
        choices.gain,
        flag_probabilities(choices.match_levels),
        choices.table_map,
        model.cumulative,
        model.used,
        model.lookup,
        NO_TREE if choices.tree is None else choices.tree.arrays(),
    )
