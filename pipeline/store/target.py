"""Code the chunks of a shard so that they hold a target of lossy coding together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from tilepress.codecs.difference import Difference
from tilepress.codecs.levels import COARSEST
from tilepress.codecs.loss import AtLeast, AtMost, Lossy, Quality
from tilepress.codecs.measured import squared_error
from tilepress.codecs.search import Together, Trial, find_level, spread
from tilepress.codecs.threads import map_chunks
from tilepress.codecs.tile import (
    Levelled,
    TileCodec,
    decode_chunk,
    encode_chunk_at,
    estimate_chunk,
    smaller_chunk,
)
from tilepress.errors import CodecError, UnsupportedArray

__all__ = ["check_target", "code_for_target", "is_held", "is_per_tile", "smallest_records"]

Samples = npt.NDArray[Any]
Marks = npt.NDArray[np.bool_]

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
    hidden: Sequence[Marks | None] | None = None,
) -> list[bytes]:
    """Return a record of each chunk, at the level at which all hold the codec's target together.

    Where the target says so, each holds it by itself, at a level of its own.

    Parameters
    ----------
    chunks : samples clipped to the image.
    fill_up : makes a whole chunk of one that reaches beyond the image.
    kept : records that keep the compressed streams of a chunk: they lose nothing, and stand where
        they are shorter.
    overhead : bytes of the shard beside its records.
    alone : whether it is the only shard of its image. Among several a small one at the edge, where
        records weigh more than samples, may take more bits than it should; the others leave room
        for it, and whoever seals the image looks whether that was enough (``is_held``). So may a
        chunk that holds a target by itself and is cut by the end of the image.
    bands : planes of a chunk that go together, as ``encode_chunk_at`` has it.
    hidden : marks of samples that errors are not measured of, of each chunk in its shape, if any.

    Raises UnsupportedArray where no level holds the target.
    """
    assert isinstance(codec.loss, Lossy), "only lossy coding has a target"
    marks = hidden or [None] * len(chunks)
    parts = list(map(_Chunk, chunks, kept, marks))
    if not is_per_tile(codec):
        whole = _Together(codec, parts, fill_up, bands)
        return whole.records(codec.loss, overhead, room=not alone, strict=alone)
    each, loss, room = -(-overhead // max(1, len(parts))), codec.loss, not alone or len(parts) > 1

    def by_itself(part: _Chunk) -> bytes:
        strict = part.samples.shape == fill_up(part.samples).shape
        one = _Together(codec, [part], fill_up, bands)
        return one.records(loss, each, room=room, strict=strict)[0]

    return map_chunks(by_itself, parts)


def smallest_records(
    codec: TileCodec, chunks: Sequence[Samples], found: Sequence[Levelled]
) -> list[bytes]:
    """Return what ``code_for_target`` makes of chunks, which nothing cuts, once their level is
    found: records of other codecs where these take fewer bytes at no more error."""
    parts = [_Chunk(chunk, None, None) for chunk in chunks]
    return _Together(codec, parts, lambda samples: samples, None).smallest(found)


@dataclass(frozen=True, slots=True)
class _Chunk:
    samples: Samples
    kept: bytes | None
    hidden: Marks | None


class _Together:
    """Chunks that hold a target together."""

    def __init__(
        self,
        codec: TileCodec,
        chunks: Sequence[_Chunk],
        fill_up: Callable[[Samples], Samples],
        bands: int | None,
    ) -> None:
        self._codec, self._chunks, self._fill_up, self._bands = codec, chunks, fill_up, bands
        self._present = map_chunks(lambda c: int(np.count_nonzero(self._there(c))), chunks)
        loss = codec.loss
        assert isinstance(loss, Lossy), "only lossy coding has a target"
        peak = loss.peak
        if peak is None:
            peak = max((codec.peak_of(c.samples) for c in chunks), default=1.0)
        self._peak = peak

    def records(self, loss: Lossy, overhead: int, *, room: bool, strict: bool) -> list[bytes]:
        """Return a record of each; as ``code_for_target``.

        room : whether some bits are left to others. strict : whether more bits are an error.
        """
        estimate = None
        if not any(c.kept for c in self._chunks) and not isinstance(loss, Quality):
            estimate = self._estimate()
        together = Together(
            samples=[c.samples.size for c in self._chunks],
            present=self._present,
            peak=self._peak,
            overhead=overhead,
            room=_ROOM if room else 0.0,
        )
        doing = "coding a tile" if loss.per_tile else "coding a shard"
        try:
            results = find_level(loss, self._code, together, doing, estimate)
        except UnsupportedArray:
            if strict or not isinstance(loss, AtMost):
                raise
            trials = self._code(range(len(self._chunks)), COARSEST)
            results = [trial.result for trial in trials]
        return self.smallest(results)

    def smallest(self, results: Sequence[Levelled]) -> list[bytes]:
        """Return a record of each chunk, in fewer bytes at no more error where there are such."""
        records = [found.record for found in results]
        looked_at = spread(range(len(self._chunks)))
        others = dict(zip(looked_at, self._smaller(looked_at, results), strict=True))
        rest = [number for number in range(len(self._chunks)) if number not in others]
        if all(records[number] is other for number, other in others.items()):
            rest = self._likely(rest, looked_at)
        others |= zip(rest, self._smaller(rest, results), strict=True)
        return [others.get(number, record) for number, record in enumerate(records)]

    def _likely(self, rest: Sequence[int], lost: Sequence[int]) -> list[int]:
        """Return those of the chunks for which other codecs may win although these did not.

        What chunks look like tells nothing where some of the others look so, too.
        """

        def likely(number: int) -> bool:
            return self._codec.tries_smaller(self._chunks[number].samples)

        if self._codec.tries_smaller():
            return list(rest)
        if not rest or any(map_chunks(likely, lost)):
            return []
        marked = zip(rest, map_chunks(likely, rest), strict=True)
        return [number for number, is_likely in marked if is_likely]

    def _there(self, chunk: _Chunk) -> Marks:
        there = self._codec.present(chunk.samples)
        return there if chunk.hidden is None else there & ~chunk.hidden

    def _code(self, numbers: Sequence[int], level: float) -> list[Trial[Levelled]]:
        return self._codec.map(lambda number: self._one(self._chunks[number], level), numbers)

    def _one(self, chunk: _Chunk, level: float) -> Trial[Levelled]:
        whole = self._fill_up(chunk.samples)
        record, difference = encode_chunk_at(
            self._codec, whole, level, self._peak, bands=self._bands
        )
        found = Levelled(record, level, difference)
        if chunk.kept is not None and len(chunk.kept) <= len(record):
            return Trial(found, len(chunk.kept), 0.0)
        return Trial(found, len(record), self._squared(chunk, whole, found))

    def _squared(self, chunk: _Chunk, whole: Samples, found: Levelled) -> float:
        """Return the sum of squared errors that count: without those that nobody sees."""
        if chunk.hidden is None or not found.difference.squared:
            return found.difference.squared
        decoded = decode_chunk(self._codec, found.record, whole.shape, whole.dtype)
        inside = decoded[tuple(slice(0, n) for n in chunk.samples.shape)]
        return squared_error(chunk.samples, inside, self._there(chunk))

    def _smaller(self, numbers: Sequence[int], results: Sequence[Levelled]) -> list[bytes]:
        """Return records of some chunks in fewer bytes at no more error, where there are such."""

        def smaller(number: int) -> bytes:
            chunk, found = self._chunks[number], results[number]
            whole = self._fill_up(chunk.samples)
            other = smaller_chunk(self._codec, whole, found, self._peak, bands=self._bands)
            worse = other is not found and chunk.hidden is not None
            if worse and self._squared(chunk, whole, other) > self._squared(chunk, whole, found):
                return found.record  # what it gained lies where nobody looks
            return other.record

        return self._codec.map(smaller, numbers)

    def _estimate(self) -> Callable[[Sequence[int], float], Sequence[Trial[None]]] | None:
        """Return what tells about a few of the chunks, in less time; None where nothing does."""
        found = {}
        for number in spread(range(len(self._chunks))):
            chunk = self._chunks[number]
            one = estimate_chunk(
                self._codec, self._fill_up(chunk.samples), self._peak, bands=self._bands
            )
            if one is None:
                return None
            all_present = max(1, int(np.count_nonzero(self._codec.present(chunk.samples))))
            found[number] = one, self._present[number] / all_present

        def tell(number: int, level: float) -> Trial[None]:
            one, share = found[number]
            trial = one(level)
            return replace(trial, squared=trial.squared * share)  # as if they were all alike

        return lambda some, level: self._codec.map(lambda number: tell(number, level), some)


def is_per_tile(codec: TileCodec) -> bool:
    """Whether every chunk holds the codec's target by itself."""
    return isinstance(codec.loss, Lossy) and codec.loss.per_tile


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
