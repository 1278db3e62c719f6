"""Code the chunks of a shard so that they hold a target of lossy coding together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from tilepress.codecs.levels import COARSEST
from tilepress.codecs.loss import AtLeast, AtMost, Difference, Lossy, Quality
from tilepress.codecs.search import Together, Trial, find_level, spread
from tilepress.codecs.threads import map_chunks
from tilepress.codecs.tile import (
    Levelled,
    TileCodec,
    encode_chunk_at,
    estimate_chunk,
    smaller_chunk,
)
from tilepress.errors import CodecError, UnsupportedArray

__all__ = ["check_target", "code_for_target", "is_held"]

Samples = npt.NDArray[Any]

_ROOM = 1 / 64
"""Of the bits of a shard, what is left to smaller ones."""

_ROUNDING = 1e-9
"""dB that sums in another order may differ by."""


def code_for_target(
    codec: TileCodec,
    chunks: Sequence[Samples],
    fill_up: Callable[[Samples], Samples],
    kept: Sequence[bytes | None],
    overhead: int,
    *,
    alone: bool = True,
    bands: int | None = None,
) -> list[bytes]:
    """Return a record of each chunk, at the level at which all hold the codec's target together.

    Parameters
    ----------
    chunks : samples clipped to the image.
    fill_up : makes a whole chunk of one that reaches beyond the image.
    kept : records that keep the compressed streams of a chunk: they lose nothing, and stand where
        they are shorter.
    overhead : bytes of the shard beside its records.
    alone : whether it is the only shard of its image. Among several a small one at the edge, where
        records weigh more than samples, may take more bits than it should; the others leave room
        for it, and whoever seals the image looks whether that was enough (``is_held``).
    bands : planes of a chunk that go together, as ``encode_chunk_at`` has it.

    Raises UnsupportedArray where no level holds the target.
    """
    loss = codec.loss
    assert isinstance(loss, Lossy), "only lossy coding has a target"
    if isinstance(loss, AtMost) and not alone:
        loss = replace(loss, value=loss.value * (1 - _ROOM))
    present = map_chunks(lambda chunk: int(np.count_nonzero(codec.present(chunk))), chunks)
    peak = loss.peak if loss.peak is not None else max(map(codec.peak_of, chunks), default=1.0)

    def code(numbers: Sequence[int], level: float) -> list[Trial[Levelled]]:
        return codec.map(lambda number: one(number, level), numbers)

    def one(number: int, level: float) -> Trial[Levelled]:
        record, difference = encode_chunk_at(
            codec, fill_up(chunks[number]), level, peak, bands=bands
        )
        found = Levelled(record, level, difference)
        stream = kept[number]
        if stream is not None and len(stream) <= len(record):
            return Trial(found, len(stream), 0.0)
        return Trial(found, len(record), difference.squared)

    def smaller(number: int) -> bytes:
        return smaller_chunk(
            codec, fill_up(chunks[number]), results[number], peak, bands=bands
        ).record

    estimate = None
    if not any(kept) and not isinstance(loss, Quality):
        estimate = _estimate(codec, chunks, fill_up, peak, bands)
    together = Together(
        samples=[chunk.size for chunk in chunks], present=present, peak=peak, overhead=overhead
    )
    try:
        results = find_level(loss, code, together, "coding a shard", estimate)
    except UnsupportedArray:
        if alone or not isinstance(loss, AtMost):
            raise
        results = [trial.result for trial in code(range(len(chunks)), COARSEST)]
    records = [found.record for found in results]
    looked_at = spread(range(len(chunks)))
    others = dict(zip(looked_at, codec.map(smaller, looked_at), strict=True))
    if all(records[number] is other for number, other in others.items()):
        return records  # other codecs win nowhere, it seems
    rest = [number for number in range(len(chunks)) if number not in others]
    others |= zip(rest, codec.map(smaller, rest), strict=True)
    return [others[number] for number in range(len(chunks))]


def _estimate(
    codec: TileCodec,
    chunks: Sequence[Samples],
    fill_up: Callable[[Samples], Samples],
    peak: float,
    bands: int | None,
) -> Callable[[Sequence[int], float], Sequence[Trial[None]]] | None:
    """Return what tells about a few of the chunks, in less time; None where nothing does."""
    numbers = spread(range(len(chunks)))
    found = {}
    for number in numbers:
        one = estimate_chunk(codec, fill_up(chunks[number]), peak, bands=bands)
        if one is None:
            return None
        found[number] = one
    return lambda some, level: codec.map(lambda number: found[number](level), some)


def is_held(
    loss: Lossy, difference: Difference, present: int, bits_per_sample: float = 0.0
) -> bool:
    """Whether samples are as good, and as small, as a target says."""
    if isinstance(loss, AtMost):
        return bits_per_sample <= loss.value
    if not isinstance(loss, AtLeast) or loss.peak is None:
        return True
    found = difference.psnr_db(present, loss.peak)
    return found is None or found >= loss.value - _ROUNDING


def check_target(codec: TileCodec, difference: Difference, present: int) -> None:
    """Raise CodecError where what was decoded is not as good as the codec's target says."""
    loss = codec.loss
    if isinstance(loss, Lossy) and not is_held(loss, difference, present):
        raise CodecError(f"checking a shard: what it decodes to does not hold {loss}")
