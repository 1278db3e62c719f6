"""Decode the records of a shard and compare them with what they code."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from tilepress.codecs.difference import Difference, same_bits
from tilepress.codecs.loss import Lossy
from tilepress.codecs.measured import Measured, squared_error
from tilepress.codecs.record import is_irreversible, keeps_streams
from tilepress.codecs.tile import TileCodec, decode_chunk
from tilepress.errors import CodecError, DamagedStore
from tilepress.pipeline.image.grid import Box, ShardGrid
from tilepress.pipeline.image.streams import Streams
from tilepress.pipeline.store.kept import kept_streams
from tilepress.pipeline.store.manifest import ShardEntry, sha256_hex
from tilepress.pipeline.store.shard import Chunk, split_shard
from tilepress.pipeline.store.shard_chunks import chunks_inside, filled_up, in_image
from tilepress.pipeline.store.shard_decode import samples_sha256

__all__ = ["Check", "CheckedChunk", "Hidden", "ShardBytes", "StreamsOf", "compare_shard"]

Marks: TypeAlias = npt.NDArray[np.bool_]

Hidden: TypeAlias = Callable[[Box], Marks]
"""Marks the samples of a box, in its shape, that nobody sees."""

StreamsOf: TypeAlias = Callable[[Box], Streams | None]
"""Returns the compressed streams that a chunk, clipped to the image, was decoded of."""


@dataclass(frozen=True, slots=True)
class CheckedChunk:
    """A record that was decoded and compared with what it codes."""

    record: bytes | memoryview
    decoded: npt.NDArray[Any] | None
    """Clipped to the image; None where it equals what was given."""
    difference: Difference
    measured: Measured | None
    check_s: float
    """Seconds that decoding and comparing took."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardBytes:
    """A coded shard whose every record was decoded and compared with what it codes."""

    data: bytes
    sha256: str
    """Of ``data``; hexadecimal."""
    samples_sha256: str
    """Of the decoded samples, clipped to the image, C order, little-endian; hexadecimal."""
    raw_bytes: int
    """Size of those samples in bytes."""
    difference: Difference
    """What the comparison found; none for lossless coding."""
    measured: Measured | None = None
    """What it found beyond that, of lossy coding; of bands from the shard's first one on."""
    irreversible: bool = False
    """Whether another decoder may give other samples: some records keep lossy streams as they came.
    """
    recoded: bool = False
    """Whether some chunks came in streams that are not kept, but coded by their samples."""
    read_s: float = 0.0
    """Seconds that reading the samples took."""
    code_s: float = 0.0
    """Seconds of all threads that coding took."""
    check_s: float = 0.0
    """Seconds of all threads that decoding and comparing took."""

    @classmethod
    def of(
        cls,
        data: bytes,
        samples: npt.NDArray[Any],
        places: Sequence[Box],
        chunks: Sequence[CheckedChunk],
    ) -> ShardBytes:
        """Return the shard of these chunks.

        ``samples`` are what it codes, clipped to the image, ``places`` the chunks' boxes in them.
        """
        stored = samples
        if any(one.decoded is not None for one in chunks):
            stored = samples.copy()
            for place, one in zip(places, chunks, strict=True):
                if one.decoded is not None:
                    stored[place.slices] = one.decoded
        measured = [one.measured for one in chunks if one.measured is not None]
        bands = max((len(one.counts) for one in measured), default=0)
        return cls(
            data=data,
            sha256=sha256_hex(data),
            samples_sha256=samples_sha256(stored),
            raw_bytes=samples.nbytes,
            difference=Difference.total(one.difference for one in chunks),
            measured=Measured.total([(0, one) for one in measured], bands) if measured else None,
            check_s=math.fsum(one.check_s for one in chunks),
        )

    @property
    def length(self) -> int:
        return len(self.data)

    def entry(self, array: str, index: tuple[int, ...]) -> ShardEntry:
        """Return what is kept of it, in the ledger and in the manifest."""
        return ShardEntry(
            array=array,
            index=index,
            length=self.length,
            sha256=self.sha256,
            samples_sha256=self.samples_sha256,
            raw_bytes=self.raw_bytes,
            max_error=self.difference.worst,
            squared_error=self.difference.squared,
            measured=self.measured,
            irreversible=self.irreversible,
            recoded=self.recoded,
        )


class Check:
    """Decodes the records of shards of one array and compares them with what they code."""

    def __init__(
        self,
        codec: TileCodec,
        chunk: tuple[int, ...],
        fill: float | int | bool,
        band_axis: int | None,
        witness: TileCodec | None = None,
    ) -> None:
        """``chunk`` is the shape of a chunk, the others are as of ``encode_shard``."""
        self._codec, self._chunk, self._fill = codec, chunk, fill
        self._band_axis, self._witness = band_axis, witness

    def __call__(
        self,
        given: npt.NDArray[Any],
        record: bytes | memoryview,
        hidden: Marks | None,
        *,
        by_witness: bool = False,
    ) -> CheckedChunk:
        """Return how a record differs from the samples that it should code.

        Parameters
        ----------
        given :
            Samples of a chunk, clipped to the image: they are what is measured.
        hidden :
            Marks those of them that are not measured, in their shape. The largest error is that of
            these, too.
        by_witness :
            Whether the witness, if there is one, decodes it, too.

        Raises CodecError where the codec's loss does not allow the difference.
        """
        chunk = filled_up(given, self._chunk, self._fill)
        begun = time.perf_counter()
        decoded = decode_chunk(self._codec, record, chunk.shape, chunk.dtype)
        if by_witness and self._witness is not None:
            other = decode_chunk(self._witness, record, chunk.shape, chunk.dtype)
            if not same_bits(decoded, other):
                raise CodecError("checking a record: two devices decode it to different samples")
        inside = tuple(slice(0, n) for n in given.shape)
        measured = None
        if isinstance(self._codec.loss, Lossy):
            clipped = chunk[inside]
            there = self._codec.present(clipped)
            if hidden is not None:
                there &= ~hidden
            measured = Measured.of(clipped, decoded[inside], there, self._band_axis)
        if same_bits(chunk, decoded):
            spent = time.perf_counter() - begun
            tile = None if measured is None else measured.as_tile(0.0)
            return CheckedChunk(record, None, Difference(), tile, spent)
        difference = self._codec.check_loss(chunk, decoded)
        if measured is not None and hidden is not None:
            squared = squared_error(clipped, decoded[inside], there)
            difference = replace(difference, squared=squared)
        if measured is not None:
            measured = measured.as_tile(difference.squared)
        spent = time.perf_counter() - begun
        return CheckedChunk(record, decoded[inside], difference, measured, spent)


def compare_shard(
    codec: TileCodec,
    data: bytes,
    samples: npt.NDArray[Any],
    grid: ShardGrid,
    index: tuple[int, ...],
    fill: float | int | bool,
    streams: StreamsOf | None = None,
    band_axis: int | None = None,
    hidden: Hidden | None = None,
) -> ShardBytes:
    """Decode a shard that is stored and compare it with what it should code.

    A chunk that keeps the very lossy streams that ``streams`` gives (as of ``encode_shard``) is
    right although it decodes to other samples: two decoders made them. Returns what
    ``encode_shard`` returned for it, the measured errors to the bit. Raises DamagedStore or
    InvalidRecord where it does not decode, and CodecError itself where it decodes to samples that
    the codec's loss does not allow.
    """
    inside = chunks_inside(grid, index)
    records = split_shard(data, grid.chunks_per_shard)
    if records.keys() != {chunk for chunk, _ in inside}:
        raise DamagedStore("it has not the records of its place")
    box = grid.box(index)
    check = Check(codec, grid.chunk, fill, band_axis)
    marks = None if hidden is None else hidden(box)

    def compare(item: tuple[Chunk, Box]) -> CheckedChunk:
        chunk, place = item
        record, unseen = records[chunk], None if marks is None else marks[place.slices]
        try:
            return check(samples[place.slices], record, unseen)
        except CodecError:
            if not _keeps(record, streams, in_image(place, box)):
                raise
            return CheckedChunk(record, None, Difference(), None, 0.0)

    results = codec.map(compare, inside)
    found = ShardBytes.of(data, samples, [place for _, place in inside], results)
    return replace(found, irreversible=any(map(is_irreversible, records.values())))


def _keeps(record: memoryview, streams: StreamsOf | None, box: Box) -> bool:
    """Whether a record keeps the lossy streams of a box, which may decode to other samples."""
    if streams is None or not (is_irreversible(record) and keeps_streams(record)):
        return False
    given = streams(box)
    return given is not None and list(given.streams) == kept_streams(record)
