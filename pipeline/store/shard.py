"""Assemble and take apart one shard: a Zarr v3 ``sharding_indexed`` object of records.

    records one after another, in Morton order of their chunk within the shard
    index: per chunk in C order, offset u64 LE and length u64 LE (both 2^64 − 1: no such record)
    crc32c of the index, u32 LE

A chunk that lies outside the image has no record; every other one has.
"""

from __future__ import annotations

import itertools
import math
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from tilepress.codecs.loss import Difference, Lossy, same_bits
from tilepress.codecs.measured import Measured, squared_error
from tilepress.codecs.record import crc32c, is_irreversible, keeps_streams
from tilepress.codecs.threads import map_chunks
from tilepress.codecs.tile import TileCodec, decode_chunk, encode_chunk
from tilepress.errors import CodecError, DamagedStore
from tilepress.pipeline.image.grid import Box, ShardGrid
from tilepress.pipeline.image.streams import Streams
from tilepress.pipeline.store.kept import are_recoded, keep_streams, kept_streams
from tilepress.pipeline.store.manifest import ShardEntry, sha256_hex
from tilepress.pipeline.store.target import check_target, code_for_target, is_per_tile

__all__ = [
    "ShardBytes",
    "compare_shard",
    "decode_shard",
    "encode_shard",
    "has_irreversible",
    "morton_order",
    "samples_sha256",
    "split_shard",
]

NO_RECORD = 2**64 - 1

Chunk = tuple[int, ...]
Marks = npt.NDArray[np.bool_]


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


@dataclass(frozen=True, slots=True)
class _CodedChunk:
    record: bytes
    decoded: npt.NDArray[Any] | None
    """Clipped to the image; None where it equals the source."""
    difference: Difference
    measured: Measured | None
    code_s: float
    check_s: float


@dataclass(frozen=True, slots=True)
class _Ways:
    """What a chunk may be stored as."""

    streams: bytes | None
    """A record of the streams that it came in."""
    samples: bytes | None
    """A record of its samples; at least one of both is there."""
    code_s: float
    checked: _CodedChunk | None = None
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
    streams: Callable[[Box], Streams | None] | None = None,
    band_axis: int | None = None,
    hidden: Callable[[Box], Marks] | None = None,
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
    check = _Check(codec, witness, band_axis)
    is_lossy = isinstance(codec.loss, Lossy)
    marks = hidden(box) if hidden is not None and is_lossy else None  # here: who asks, reads
    chunks: list[tuple[Chunk, Box]] = []
    in_streams: list[bool] = []

    def marks_of(place: Box) -> Marks | None:
        return None if marks is None else marks[place.slices]

    def places() -> Iterator[tuple[Box, Streams | None, bool]]:
        for slab, inside in _slabs(grid, index, slab_axis % len(box.shape)):
            reading.read(slab)
            for chunk, place in inside:
                chunks.append((chunk, place))
                kept = None if streams is None else streams(_clipped(place, box))
                in_streams.append(kept is not None and any(kept.streams))
                yield place, kept, len(chunks) == 1

    def code(item: tuple[Box, Streams | None, bool]) -> _Ways:
        place, kept, is_first = item
        clipped = array[place.slices]
        chunk = _fill_up(clipped, grid.chunk, fill)
        begun = time.perf_counter()
        record = None if kept is None else keep_streams(kept, clipped, grid.chunk, fill)
        lossless = codec.loss.is_lossless
        if record is not None and lossless and kept is not None and are_recoded(kept):
            ways = _Ways(record, None, time.perf_counter() - begun)
        else:
            absent = kept is not None and not any(kept.streams)
            plain = encode_chunk(codec, chunk)
            ways = _Ways(record, plain, time.perf_counter() - begun, absent=absent)
            if lossless and record is not None:
                return ways  # the other chunks have a say in it
        return replace(ways, checked=checked(place, ways, ways.smaller, is_first=is_first))

    def checked(place: Box, ways: _Ways, record: bytes, *, is_first: bool) -> _CodedChunk:
        clipped = array[place.slices]
        chunk = _fill_up(clipped, grid.chunk, fill)
        begun = time.perf_counter()
        decoded, difference, measured = check(
            chunk, record, clipped.shape, marks_of(place), is_first=is_first
        )
        if decoded is not None:
            decoded = decoded[tuple(slice(0, n) for n in clipped.shape)]
        spent = time.perf_counter() - begun
        return _CodedChunk(record, decoded, difference, measured, ways.code_s, spent)

    def keep(pair: tuple[Streams | None, npt.NDArray[Any]]) -> bytes | None:
        return None if pair[0] is None else keep_streams(pair[0], pair[1], grid.chunk, fill)

    def for_target(items: Sequence[tuple[Box, Streams | None, bool]]) -> list[_Ways]:
        begun = time.perf_counter()
        clipped = [array[place.slices] for place, _, _ in items]
        pairs = [(kept, one) for (_, kept, _), one in zip(items, clipped, strict=True)]
        kept_ones = map_chunks(keep, pairs)
        plain = code_for_target(
            codec,
            clipped,
            lambda one: _fill_up(one, grid.chunk, fill),
            kept_ones,
            16 * math.prod(grid.chunks_per_shard) + 4,
            alone=grid.total == 1,
            hidden=[marks_of(place) for place, _, _ in items],
            bands=1 if band_axis is None else grid.chunk[band_axis],
        )
        each_s = (time.perf_counter() - begun) / max(1, len(items))
        return [_Ways(a, b, each_s) for a, b in zip(kept_ones, plain, strict=True)]

    found = for_target(list(places())) if is_lossy else codec.map(code, places())
    records = [one.smaller for one in found] if is_lossy else _chosen(found)

    def settle(number: int) -> _CodedChunk:
        ways = found[number].checked
        if ways is not None:
            return ways
        return checked(chunks[number][1], found[number], records[number], is_first=number == 0)

    if any(ways.checked is None for ways in found):
        results = codec.map(settle, range(len(found)))
    else:
        results = list(map(settle, range(len(found))))
    coded = {chunk: result for (chunk, _), result in zip(chunks, results, strict=True)}
    stored = array
    if any(c.decoded is not None for c in results):
        stored = array.copy()
        for (_, place), result in zip(chunks, results, strict=True):
            if result.decoded is not None:
                stored[place.slices] = result.decoded
    difference = Difference.total(c.difference for c in results)
    measured = _total_measured(results)
    for one in results if is_per_tile(codec) else ():
        if one.measured is not None:
            check_target(codec, one.difference, one.measured.present)
    if measured is not None:
        check_target(codec, difference, measured.present)
    data = _join_records({chunk: c.record for chunk, c in coded.items()}, grid.chunks_per_shard)
    return ShardBytes(
        data=data,
        sha256=sha256_hex(data),
        samples_sha256=samples_sha256(stored),
        raw_bytes=array.nbytes,
        difference=difference,
        measured=measured,
        read_s=reading.seconds,
        irreversible=(streams is not None or is_lossy)
        and any(is_irreversible(c.record) for c in results),
        recoded=any(
            came and not keeps_streams(c.record)
            for came, c in zip(in_streams, results, strict=True)
        ),
        code_s=math.fsum(c.code_s for c in results),
        check_s=math.fsum(c.check_s for c in results),
    )


def _clipped(place: Box, within: Box) -> Box:
    """Return a box within a shard in coordinates of the image, and no further than the shard."""
    start = tuple(a + o for a, o in zip(place.start, within.start, strict=True))
    ends = zip(place.stop, within.start, within.stop, strict=True)
    return Box(start, tuple(min(a + o, n) for a, o, n in ends))


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


class _Check:
    """Decodes records and compares them with what they code."""

    def __init__(self, codec: TileCodec, witness: TileCodec | None, band_axis: int | None) -> None:
        self._codec, self._witness, self._band_axis = codec, witness, band_axis

    def __call__(
        self,
        chunk: npt.NDArray[Any],
        record: bytes,
        clip: tuple[int, ...],
        hidden: Marks | None = None,
        *,
        is_first: bool,
    ) -> tuple[npt.NDArray[Any] | None, Difference, Measured | None]:
        """Return the decoded samples, None where they are the same, and how they differ.

        ``clip`` is the shape of the part of the chunk that lies in the image: what is measured,
        without those of its samples that are ``hidden``. The largest error is that of these, too.
        """
        decoded = decode_chunk(self._codec, record, chunk.shape, chunk.dtype)
        if is_first and self._witness is not None:
            other = decode_chunk(self._witness, record, chunk.shape, chunk.dtype)
            if not same_bits(decoded, other):
                raise CodecError("checking a record: two devices decode it to different samples")
        measured = None
        if isinstance(self._codec.loss, Lossy):
            inside = tuple(slice(0, n) for n in clip)
            given = chunk[inside]
            there = self._codec.present(given)
            if hidden is not None:
                there &= ~hidden
            measured = Measured.of(given, decoded[inside], there, self._band_axis)
        if same_bits(chunk, decoded):
            return None, Difference(), measured
        difference = self._codec.check_loss(chunk, decoded)
        if measured is not None and hidden is not None:
            squared = squared_error(given, decoded[inside], there)
            difference = replace(difference, squared=squared)
        return decoded, difference, measured


def _total_measured(results: Sequence[_CodedChunk]) -> Measured | None:
    found = [one.measured for one in results if one.measured is not None]
    if not found:
        return None
    return Measured.total([(0, one) for one in found], max(len(one.counts) for one in found))


def _slabs(
    grid: ShardGrid, index: tuple[int, ...], axis: int
) -> Iterator[tuple[Box, list[tuple[Chunk, Box]]]]:
    """Yield slabs of a shard, clipped to the image, with the chunks of each within the shard."""
    box = grid.box(index)
    inside = _inside(grid, index)
    size = grid.chunk[axis]
    for at, start in enumerate(range(box.start[axis], box.stop[axis], size)):
        lower, upper = list(box.start), list(box.stop)
        lower[axis], upper[axis] = start, min(start + size, box.stop[axis])
        slab = Box(tuple(lower), tuple(upper))
        yield slab, [(chunk, place) for chunk, place in inside if chunk[axis] == at]


def _inside(grid: ShardGrid, index: tuple[int, ...]) -> list[tuple[Chunk, Box]]:
    """Return the chunks of a shard that lie in the image, with their boxes within the shard."""
    origin = grid.box(index).start
    return [
        (chunk, chunk_box.shifted_to(origin))
        for chunk, chunk_box in zip(_c_order(grid), grid.chunk_boxes(index), strict=True)
        if all(a < n for a, n in zip(chunk_box.start, grid.shape, strict=True))
    ]


def compare_shard(
    codec: TileCodec,
    data: bytes,
    samples: npt.NDArray[Any],
    grid: ShardGrid,
    index: tuple[int, ...],
    fill: float | int | bool,
    streams: Callable[[Box], Streams | None] | None = None,
    band_axis: int | None = None,
    hidden: Callable[[Box], Marks] | None = None,
) -> ShardBytes:
    """Decode a shard that is stored and compare it with what it should code.

    A chunk that keeps the very lossy streams that ``streams`` gives (as of ``encode_shard``) is
    right although it decodes to other samples: two decoders made them. Returns what
    ``encode_shard`` returned for it, the measured errors to the bit. Raises DamagedStore or
    InvalidRecord where it does not decode, and CodecError itself where it decodes to samples that
    the codec's loss does not allow.
    """
    inside = _inside(grid, index)
    records = split_shard(data, grid.chunks_per_shard)
    if records.keys() != {chunk for chunk, _ in inside}:
        raise DamagedStore("it has not the records of its place")
    check = _Check(codec, None, band_axis)
    marks = None if hidden is None else hidden(grid.box(index))

    def compare(item: tuple[Chunk, Box]) -> _CodedChunk:
        chunk, place = item
        clipped = samples[place.slices]
        given = _fill_up(clipped, grid.chunk, fill)
        try:
            decoded, difference, measured = check(
                given,
                bytes(records[chunk]),
                clipped.shape,
                None if marks is None else marks[place.slices],
                is_first=False,
            )
        except CodecError:
            if not _keeps(records[chunk], streams, _clipped(place, grid.box(index))):
                raise
            decoded, difference, measured = None, Difference(), None
        if decoded is not None:
            decoded = decoded[tuple(slice(0, n) for n in clipped.shape)]
        return _CodedChunk(b"", decoded, difference, measured, 0.0, 0.0)

    results = codec.map(compare, inside)
    stored = samples.copy()
    for (_, place), result in zip(inside, results, strict=True):
        if result.decoded is not None:
            stored[place.slices] = result.decoded
    return ShardBytes(
        data=data,
        sha256=sha256_hex(data),
        samples_sha256=samples_sha256(stored),
        raw_bytes=samples.nbytes,
        difference=Difference.total(c.difference for c in results),
        measured=_total_measured(results),
        irreversible=any(map(is_irreversible, records.values())),
    )


def _keeps(record: memoryview, streams: Callable[[Box], Streams | None] | None, box: Box) -> bool:
    """Whether a record keeps the lossy streams of a box, which may decode to other samples."""
    if streams is None or not (is_irreversible(record) and keeps_streams(record)):
        return False
    given = streams(box)
    return given is not None and list(given.streams) == kept_streams(record)


def samples_sha256(samples: npt.NDArray[Any]) -> str:
    """sha256 of samples in C order, little-endian; hexadecimal."""
    little = np.ascontiguousarray(samples, dtype=samples.dtype.newbyteorder("<"))
    return sha256_hex(little.reshape(-1).view(np.uint8).data)


def split_shard(data: bytes | memoryview, counts: tuple[int, ...]) -> dict[Chunk, memoryview]:
    """Take a shard apart into the records of its chunks.

    ``counts`` are the chunks per shard along each axis. Raises DamagedStore where the index fails
    its checksum or the records do not fill the object exactly.
    """
    view = memoryview(data)
    index_bytes = 16 * math.prod(counts)
    if len(view) < index_bytes + 4:
        raise DamagedStore(f"got {len(view)} bytes, its index alone takes {index_bytes + 4}")
    index = view[-index_bytes - 4 : -4]
    if crc32c(index) != struct.unpack("<I", view[-4:])[0]:
        raise DamagedStore("its index does not match its crc32c")
    records: dict[Chunk, memoryview] = {}
    total = 0
    pairs = struct.iter_unpack("<QQ", index)
    for chunk, (offset, length) in zip(_product(counts), pairs, strict=True):
        if (offset, length) == (NO_RECORD, NO_RECORD):
            continue
        if offset + length > len(view) - index_bytes - 4:
            raise DamagedStore(f"the record of chunk {chunk} lies outside it")
        records[chunk] = view[offset : offset + length]
        total += length
    if total != len(view) - index_bytes - 4:
        raise DamagedStore("its records do not fill it")
    return records


def decode_shard(
    codec: TileCodec,
    data: bytes | memoryview,
    grid: ShardGrid,
    index: tuple[int, ...],
    dtype: np.dtype[Any],
) -> tuple[npt.NDArray[Any], dict[Chunk, Exception]]:
    """Decode every record of a shard.

    Returns the samples, clipped to the image, and what went wrong by chunk: a record that does not
    decode, is missing, or has no business there. Raises DamagedStore where the index is damaged.
    """
    box = grid.box(index)
    records = split_shard(data, grid.chunks_per_shard)
    samples = np.zeros(box.shape, dtype)

    def decode(item: tuple[Chunk, Box]) -> Exception | None:
        chunk, chunk_box = item
        record = records.get(chunk)
        if any(a >= n for a, n in zip(chunk_box.start, grid.shape, strict=True)):
            return None if record is None else DamagedStore("a record lies outside the image")
        if record is None:
            return DamagedStore("its record is missing")
        try:
            decoded = decode_chunk(codec, record, grid.chunk, dtype)
        except CodecError as error:
            return error
        target = samples[chunk_box.shifted_to(box.start).slices]
        target[...] = decoded[tuple(slice(0, n) for n in target.shape)]
        return None

    places = list(zip(_c_order(grid), grid.chunk_boxes(index), strict=True))
    results = codec.map(decode, places)
    wrong = {
        chunk: error for (chunk, _), error in zip(places, results, strict=True) if error is not None
    }
    return samples, wrong


def has_irreversible(data: bytes, grid: ShardGrid) -> bool:
    """Whether another decoder may give other samples of some of a shard's records.

    Raises DamagedStore where the index is damaged, InvalidRecord where a record is.
    """
    return any(map(is_irreversible, split_shard(data, grid.chunks_per_shard).values()))


def morton_order(counts: tuple[int, ...]) -> list[Chunk]:
    """Return all chunks of a shard in Morton order, the first axis giving the lowest bits.

    Along an axis of n chunks (n − 1).bit_length() bits take part, as in zarr-python.
    """
    bits = [(n - 1).bit_length() for n in counts]

    def code(chunk: Chunk) -> int:
        result = position = 0
        for bit in range(max(bits, default=0)):
            for axis, coordinate in enumerate(chunk):
                if bit < bits[axis]:
                    result |= (coordinate >> bit & 1) << position
                    position += 1
        return result

    return sorted(_product(counts), key=code)


def _join_records(records: dict[Chunk, bytes], counts: tuple[int, ...]) -> bytes:
    index = np.full((*counts, 2), NO_RECORD, "<u8")
    parts: list[bytes] = []
    offset = 0
    for chunk in morton_order(counts):
        record = records.get(chunk)
        if record is not None:
            index[chunk] = offset, len(record)
            parts.append(record)
            offset += len(record)
    tail = index.tobytes()
    return b"".join([*parts, tail, struct.pack("<I", crc32c(tail))])


def _fill_up(
    clipped: npt.NDArray[Any], shape: tuple[int, ...], fill: float | int | bool
) -> npt.NDArray[Any]:
    if clipped.shape == shape:
        return np.ascontiguousarray(clipped)
    chunk = np.full(shape, fill, clipped.dtype)
    chunk[tuple(slice(0, n) for n in clipped.shape)] = clipped
    return chunk


def _c_order(grid: ShardGrid) -> Iterator[Chunk]:
    return _product(grid.chunks_per_shard)


def _product(counts: tuple[int, ...]) -> Iterator[Chunk]:
    return itertools.product(*(range(n) for n in counts))
