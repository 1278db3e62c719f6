"""Code the chunks of one shard: each in the streams that it came in, or by its samples."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from tilepress.codecs.loss import Lossy
from tilepress.codecs.record import is_irreversible, keeps_streams
from tilepress.codecs.threads import map_chunks
from tilepress.codecs.tile import TileCodec, encode_chunk
from tilepress.pipeline.image.grid import Box, ShardGrid
from tilepress.pipeline.image.streams import Streams
from tilepress.pipeline.store.kept import are_recoded, keep_streams
from tilepress.pipeline.store.shard import Chunk, join_records
from tilepress.pipeline.store.shard_check import Check, CheckedChunk, Hidden, ShardBytes, StreamsOf
from tilepress.pipeline.store.shard_chunks import chunks_of_slabs, filled_up, in_image
from tilepress.pipeline.store.target import check_target, code_for_target, is_per_tile

__all__ = ["encode_shard"]


def encode_shard(
    codec: TileCodec,
    samples: npt.NDArray[Any] | Callable[[Box], npt.NDArray[Any]],
    box: Box,
    grid: ShardGrid,
    index: tuple[int, ...],
    fill: float | int | bool,
    *,
    dtype: np.dtype[Any] | None = None,
    slab_axis: int = -2,
    witness: TileCodec | None = None,
    streams: StreamsOf | None = None,
    band_axis: int | None = None,
    hidden: Hidden | None = None,
) -> ShardBytes:
    """Code the samples of one shard and check every record by decoding it.

    Parameters
    ----------
    samples : ndarray or function
        Samples of ``box``, which is ``grid.box(index)``: the shard, clipped to the image. Or what
        reads them, with ``dtype``: it is called for one slab of chunks after another, while those
        read before are coded by other threads.
    fill :
        What chunks that reach beyond the image are filled up with: the store's fill value.
    slab_axis :
        The axis along which samples are read slab by slab: a source reads whole slices, or rows of
        all bands, at once.
    witness :
        A codec on another device, which decodes one record, too.
    streams :
        Returns the compressed streams that a chunk, clipped to the image, was decoded of. They are
        kept in its record if that is possible and saves bytes. Those that are not recoded are kept
        by all chunks of a shard or by none, where all can, so that files come back as they were;
        a chunk that lacks all streams, of a sparse file, has no say.
    band_axis :
        The axis of bands: lossy coding is measured by band, and may mix them. Where there is none,
        planes are slices, which it does not mix.
    hidden :
        Marks the samples of a box that nobody sees, in its shape: a target of lossy coding is not
        held over them, and they are not measured.

    A target of lossy coding is held by all chunks together, at one level, or by each where it says
    so. Raises CodecError where a record decodes to samples that the codec's loss does not allow,
    UnsupportedArray where no level holds a target: nothing is returned that was not checked.
    """
    if callable(samples):
        assert dtype is not None, "what is read has a dtype"
        read, array = samples, np.empty(box.shape, dtype)
    else:
        read, array = None, samples
    if box != grid.box(index) or array.shape != box.shape:
        raise ValueError(
            f"encoding shard {index}: got {array.shape} samples of {box}, want {grid.box(index)}"
        )
    reading = _Reading(array, read, box)
    is_lossy = isinstance(codec.loss, Lossy)
    marks = hidden(box) if hidden is not None and is_lossy else None  # here: who asks, reads
    places: dict[Chunk, Box] = {}
    in_streams: list[bool] = []

    def given() -> Iterator[_Given]:
        for slab, inside in chunks_of_slabs(grid, index, slab_axis % len(box.shape)):
            reading.read(slab)
            for chunk, place in inside:
                unseen = None if marks is None else marks[place.slices]
                samples = _Samples(array[place.slices], unseen, is_first=not places)
                kept = None if streams is None else streams(in_image(place, box))
                places[chunk] = place
                in_streams.append(kept is not None and any(kept.streams))
                yield samples, kept

    coding = _Coding(codec, grid, fill, Check(codec, grid.chunk, fill, band_axis, witness))
    if is_lossy:
        bands = 1 if band_axis is None else grid.chunk[band_axis]
        found = coding.for_target(list(given()), bands)
        records = [one.smaller for one in found]
    else:
        found = codec.map(coding.code, given())
        records = _chosen(found)
    results = coding.checked(found, records)
    for one in results if is_per_tile(codec) else ():
        if one.measured is not None:
            check_target(codec, one.difference, one.measured.present)
    data = join_records(dict(zip(places, records, strict=True)), grid.chunks_per_shard)
    shard = ShardBytes.of(data, array, list(places.values()), results)
    if shard.measured is not None:
        check_target(codec, shard.difference, shard.measured.present)
    return replace(
        shard,
        irreversible=(streams is not None or is_lossy) and any(map(is_irreversible, records)),
        recoded=any(
            came and not keeps_streams(record)
            for came, record in zip(in_streams, records, strict=True)
        ),
        read_s=reading.seconds,
        code_s=math.fsum(one.code_s for one in found),
    )


class _Reading:
    """Fills an array from a source, slab by slab, in the thread that asks."""

    def __init__(
        self,
        array: npt.NDArray[Any],
        read: Callable[[Box], npt.NDArray[Any]] | None,
        box: Box,
    ) -> None:
        self._array, self._read, self._box = array, read, box
        self.seconds = 0.0

    def read(self, slab: Box) -> None:
        if self._read is None:
            return
        begun = time.perf_counter()
        self._array[slab.shifted_to(self._box.start).slices] = self._read(slab)
        self.seconds += time.perf_counter() - begun


@dataclass(frozen=True, slots=True)
class _Samples:
    """Samples of one chunk, views of those of its shard."""

    given: npt.NDArray[Any]
    """Clipped to the image."""
    hidden: npt.NDArray[np.bool_] | None
    is_first: bool
    """Whether it is the first chunk of its shard, which the witness decodes, too."""


_Given: TypeAlias = tuple[_Samples, Streams | None]
"""A chunk to be coded, with the streams that it came in: they go as soon as it is coded."""


@dataclass(frozen=True, slots=True)
class _Ways:
    """What a chunk may be stored as."""

    of: _Samples
    streams: bytes | None
    """A record of the streams that it came in."""
    samples: bytes | None
    """A record of its samples; at least one of both is there."""
    code_s: float
    checked: CheckedChunk | None = None
    """The only way, or the smaller one where no other chunk has a say in it."""
    absent: bool = False
    """Whether it is a chunk of which a sparse file has no stream: it has no say in others."""

    @property
    def smaller(self) -> bytes:
        """The shorter record; that of streams where both are as long."""
        return min((one for one in (self.streams, self.samples) if one is not None), key=len)


def _chosen(found: Sequence[_Ways]) -> list[bytes]:
    """Return the record of each chunk: those of streams where all that are not absent have one and
    that is no longer in all than those of samples; else the shorter ones."""
    present = [one for one in found if not one.absent]
    streams = [one.streams for one in present if one.streams is not None]
    samples = [one.samples for one in present if one.samples is not None]
    if len(streams) == len(samples) == len(present) and (
        sum(map(len, streams)) <= sum(map(len, samples))
    ):
        return [one.smaller if one.streams is None else one.streams for one in found]
    return [one.smaller for one in found]


class _Coding:
    """Codes the chunks of one shard."""

    def __init__(
        self, codec: TileCodec, grid: ShardGrid, fill: float | int | bool, check: Check
    ) -> None:
        self._codec, self._grid, self._fill, self._check = codec, grid, fill, check

    def code(self, given: _Given) -> _Ways:
        """Code one chunk, and check it where its record is decided."""
        of, streams = given
        chunk = self._filled_up(of.given)
        begun = time.perf_counter()
        record = self._kept((streams, of.given))
        lossless = self._codec.loss.is_lossless
        if record is not None and lossless and streams is not None and are_recoded(streams):
            ways = _Ways(of, record, None, time.perf_counter() - begun)
        else:
            absent = streams is not None and not any(streams.streams)
            plain = encode_chunk(self._codec, chunk)
            ways = _Ways(of, record, plain, time.perf_counter() - begun, absent=absent)
            if lossless and record is not None:
                return ways  # the other chunks have a say in it
        return replace(ways, checked=self._checked(ways, ways.smaller))

    def for_target(self, given: Sequence[_Given], bands: int) -> list[_Ways]:
        """Code all chunks so that they hold the codec's target; ``bands`` belong together."""
        begun = time.perf_counter()
        kept = map_chunks(self._kept, [(streams, of.given) for of, streams in given])
        plain = code_for_target(
            self._codec,
            [of.given for of, _ in given],
            self._filled_up,
            kept,
            16 * math.prod(self._grid.chunks_per_shard) + 4,
            alone=self._grid.total == 1,
            hidden=[of.hidden for of, _ in given],
            bands=bands,
        )
        each_s = (time.perf_counter() - begun) / max(1, len(given))
        both = zip(given, kept, plain, strict=True)
        return [_Ways(of, streams, samples, each_s) for (of, _), streams, samples in both]

    def checked(self, found: Sequence[_Ways], records: Sequence[bytes]) -> list[CheckedChunk]:
        """Check these records of chunks, but for those that were checked as they were coded."""

        def settle(number: int) -> CheckedChunk:
            return found[number].checked or self._checked(found[number], records[number])

        if all(ways.checked is not None for ways in found):
            return list(map(settle, range(len(found))))
        return self._codec.map(settle, range(len(found)))

    def _checked(self, ways: _Ways, record: bytes) -> CheckedChunk:
        of = ways.of
        return self._check(of.given, record, of.hidden, by_witness=of.is_first)

    def _kept(self, pair: tuple[Streams | None, npt.NDArray[Any]]) -> bytes | None:
        streams, samples = pair
        if streams is None:
            return None
        return keep_streams(streams, samples, self._grid.chunk, self._fill)

    def _filled_up(self, samples: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return filled_up(samples, self._grid.chunk, self._fill)
