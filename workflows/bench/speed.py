"""Paired speeds: every codec on the same samples, in the same run, round by round.

Speeds on a shared machine drift, so no figure stands alone: in every round each codec encodes and
decodes the same samples, the order turns by one from round to round, and a ratio is the median of
the ratios within rounds. What is timed is memory to memory: cutting tiles, and whatever turns
samples into ones that a peer takes, happens before; no result is checked inside the timing. All are
checked beforehand, in a round that is not counted: there tilepress compiles, and of every peer the
fastest way to use the threads is chosen (its own threads, or whole planes or 512 × 512 tiles over a
pool of as many threads), for encoding and decoding apart. tilepress codes the chunks of a store,
512 × 512 × up to 16 planes, over such a pool, as ``compress`` does, without its self-check.

MB are 10^6 bytes of decoded samples in their own dtype.
"""

from __future__ import annotations

import cProfile
import itertools
import math
import os
import pstats
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt

from tilepress.codecs import threads as pool
from tilepress.codecs.tile import TileCodec, decode_chunk, encode_chunk
from tilepress.pipeline.image.grid import choose_grid
from tilepress.workflows.bench.peers import usable_planes
from tilepress.workflows.bench.tables import Figures

__all__ = [
    "MIN_ROUNDS",
    "SPEED_PEERS",
    "SpeedResult",
    "SpeedRow",
    "Workload",
    "measure_speed",
    "sample_type",
]

Samples = npt.NDArray[Any]

MIN_ROUNDS = 3
REFERENCES = ("jpegxl e3", "jpegxl e7")
"""What ratios refer to."""
_TILE = 512
_SIDE = 2048
"""Rows and columns that one image may contribute."""
_PROFILED_CHUNKS = 4
_RGB_BANDS = (3, 4)


# --- what is coded ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Image:
    """Samples (…, y, x) of one image, cut to what is timed."""

    samples: Samples
    bands: int
    nodata: float | int | None


def sample_type(samples: Samples, bands: int) -> str:
    """Return the class of samples that speeds are told for, e.g. "16-bit grey"."""
    depth = str(samples.dtype) if samples.dtype.kind == "f" else f"{8 * samples.dtype.itemsize}-bit"
    if bands in _RGB_BANDS and samples.dtype == np.uint8:
        return "8-bit RGB"
    if bands > 1:
        return f"{depth} multi-band"
    return f"{depth} grey"


@dataclass(slots=True)
class Workload:
    """Collect parts of images by sample type: no more than ``limit_bytes`` each, from all classes.

    One image gives at most half of the limit: leading planes, and the middle of large ones.
    """

    limit_bytes: int = 2**24
    _images: dict[str, dict[str, list[_Image]]] = field(default_factory=dict)

    def add(self, samples: Samples, bands: int, kind: str, nodata: float | int | None) -> None:
        """Take part of an image (…, y, x) of class ``kind``."""
        if not samples.size:
            return
        classes = self._images.setdefault(sample_type(samples, bands), {})
        images = classes.setdefault(kind, [])
        if sum(image.samples.nbytes for image in images) < self.limit_bytes:
            part = _middle(samples, self.limit_bytes // 2)
            images.append(_Image(np.array(part), bands, nodata))

    def chosen(self) -> Iterator[tuple[str, list[_Image]]]:
        """Yield every sample type and its images, taken in turns from its classes."""
        for kind in sorted(self._images):
            turns = itertools.zip_longest(*self._images[kind].values())
            images: list[_Image] = []
            total = 0
            for image in (image for turn in turns for image in turn if image is not None):
                if images and total + image.samples.nbytes > self.limit_bytes:
                    continue
                images.append(image)
                total += image.samples.nbytes
            yield kind, images


def _middle(samples: Samples, limit_bytes: int) -> Samples:
    """Return the middle ``_SIDE``² of the leading planes, bands whole, within about the limit."""
    rows, columns = (max(0, n - _SIDE) // 2 for n in samples.shape[-2:])
    part = samples[..., rows : rows + _SIDE, columns : columns + _SIDE]
    while part.ndim > 2 and part.shape[0] > 1 and part.nbytes > limit_bytes:
        part = part[: max(1, part.shape[0] // 2)]
    while part.nbytes > limit_bytes and part.shape[-2] > _TILE:
        part = part[..., : part.shape[-2] // 2, :]
    return part


# --- ways to code it -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Way:
    """One codec with one way of using the threads."""

    setting: str
    pooled: bool
    """Items go over the pool; else one after the other (the codec has threads of its own)."""
    items: list[Any]
    encode: Callable[[Any], bytes]
    decode: Callable[[tuple[bytes, Any]], Samples]
    """From the coded bytes and the item, of which only shape and dtype are used."""

    def encode_all(self) -> list[bytes]:
        if self.pooled:
            return pool.map_chunks(self.encode, self.items)
        return [self.encode(item) for item in self.items]

    def decode_all(self, coded: list[bytes]) -> list[Samples]:
        pairs = zip(coded, self.items, strict=True)
        if self.pooled:
            return pool.map_chunks(self.decode, pairs)
        return [self.decode(pair) for pair in pairs]


@dataclass(frozen=True, slots=True)
class _SpeedPeer:
    """How a peer codes one array: (y, x), or (y, x, 3) where it takes RGB."""

    encode: Callable[[Samples, int], bytes]
    """From samples and number of threads."""
    decode: Callable[[bytes, int], Samples]
    own_threads: bool = False
    raw: bool = False
    """It codes bytes: any dtype, no RGB."""


def _jxl(effort: int) -> _SpeedPeer:
    def encode(samples: Samples, threads: int) -> bytes:
        return bytes(
            imagecodecs.jpegxl_encode(samples, lossless=True, effort=effort, numthreads=threads)
        )

    def decode(data: bytes, threads: int) -> Samples:
        return np.asarray(imagecodecs.jpegxl_decode(data, numthreads=threads))

    return _SpeedPeer(encode, decode, own_threads=True)


def _j2k() -> _SpeedPeer:
    def encode(samples: Samples, threads: int) -> bytes:
        return bytes(
            imagecodecs.jpeg2k_encode(
                samples,
                level=0,
                reversible=True,
                codecformat="j2k",
                mct=samples.ndim == 3,
                numthreads=threads,
            )
        )

    def decode(data: bytes, threads: int) -> Samples:
        return np.asarray(imagecodecs.jpeg2k_decode(data, numthreads=threads))

    return _SpeedPeer(encode, decode, own_threads=True)


def _htj2k_encode(samples: Samples, _threads: int) -> bytes:
    return bytes(imagecodecs.htj2k_encode(samples, reversible=True, rgb=samples.ndim == 3))


SPEED_PEERS: Mapping[str, _SpeedPeer] = {
    "jpegxl e3": _jxl(3),
    "jpegxl e7": _jxl(7),
    "jpegls": _SpeedPeer(
        # room for noise that grows: the library's own guess is too small for it
        lambda samples, _: bytes(imagecodecs.jpegls_encode(samples, out=2 * samples.nbytes + 4096)),
        lambda data, _: np.asarray(imagecodecs.jpegls_decode(data)),
    ),
    "htj2k": _SpeedPeer(_htj2k_encode, lambda data, _: np.asarray(imagecodecs.htj2k_decode(data))),
    "jpeg2000": _j2k(),
    "zstd 3": _SpeedPeer(
        lambda samples, _: bytes(imagecodecs.zstd_encode(samples.tobytes(), level=3)),
        lambda data, _: np.frombuffer(imagecodecs.zstd_decode(data), np.uint8),
        raw=True,
    ),
}
"""Peers whose speed is told; the part of a name before the space is the codec."""


def _peer_ways(peer: _SpeedPeer, images: Sequence[_Image], threads: int) -> list[_Way]:
    whole = [array for image in images for array in _arrays(image, peer)]
    tiles = [tile for array in whole for tile in _tiles(array)]

    def way(setting: str, items: list[Samples], own: int) -> _Way:
        def encode(item: Samples) -> bytes:
            return peer.encode(item, own)

        def decode(pair: tuple[bytes, Samples]) -> Samples:
            return peer.decode(pair[0], own)

        return _Way(setting, own == 1, items, encode, decode)

    ways = [way("tiles", tiles, 1)]
    if len(tiles) > len(whole):
        ways.append(way("planes", whole, 1))
    if peer.own_threads and threads > 1:
        ways.append(way("own threads", whole, threads))
    return ways


def _arrays(image: _Image, peer: _SpeedPeer) -> list[Samples]:
    """Return what a peer codes for an image: RGB images, or planes of 8 or 16 bits."""
    planes = image.samples.reshape(-1, *image.samples.shape[-2:])
    if peer.raw:
        return list(planes)
    if image.bands not in _RGB_BANDS or planes.dtype != np.uint8:
        return [part for plane in planes for part in usable_planes(plane)]
    arrays: list[Samples] = []
    for first in range(0, len(planes), image.bands):
        frame = planes[first : first + image.bands]
        arrays += [np.ascontiguousarray(np.moveaxis(frame[:3], 0, -1)), *frame[3:]]
    return arrays


def _tiles(array: Samples) -> list[Samples]:
    rows, columns = (range(0, n, _TILE) for n in array.shape[:2])
    return [
        np.ascontiguousarray(array[y : y + _TILE, x : x + _TILE]) for y in rows for x in columns
    ]


def _our_way(codec_of: Callable[[float | int | None], TileCodec], images: list[_Image]) -> _Way:
    """Return the chunks that a store of the images would hold, clipped to them."""
    items: list[tuple[TileCodec, Samples]] = []
    for image in images:
        codec = codec_of(image.nodata)
        grid = choose_grid(image.samples.shape, image.samples.dtype.itemsize)
        for index in grid.indices():
            for box in grid.chunk_boxes(index):
                chunk = np.ascontiguousarray(image.samples[box.slices])
                if chunk.size:
                    items.append((codec, chunk))

    def encode(item: tuple[TileCodec, Samples]) -> bytes:
        return encode_chunk(*item)

    def decode(pair: tuple[bytes, tuple[TileCodec, Samples]]) -> Samples:
        record, (codec, chunk) = pair
        return decode_chunk(codec, record, chunk.shape, chunk.dtype)

    return _Way("chunks", True, items, encode, decode)


# --- the rounds ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeedRow:
    """One codec on one sample type: seconds of every round."""

    kind: str
    codec: str
    encode_setting: str
    decode_setting: str
    raw_bytes: int
    samples: int
    coded_bytes: int
    """Of the encode setting: tiles, or whole planes."""
    first_s: float
    """The uncounted first pass: compiling, and trying the ways to use the threads."""
    encode_s: tuple[float, ...]
    decode_s: tuple[float, ...]
    encode_cpu_s: tuple[float, ...]
    """Processor time of the whole process; more than ``encode_s`` where threads ran."""
    decode_cpu_s: tuple[float, ...]

    @property
    def encode_mb_s(self) -> float:
        """Median over the rounds."""
        return self._speed(self.encode_s)

    @property
    def decode_mb_s(self) -> float:
        return self._speed(self.decode_s)

    @property
    def encode_mb_cpu_s(self) -> float:
        """Per second of one processor: other jobs on the machine change it less."""
        return self._speed(self.encode_cpu_s)

    @property
    def decode_mb_cpu_s(self) -> float:
        return self._speed(self.decode_cpu_s)

    def _speed(self, seconds: Sequence[float]) -> float:
        return statistics.median(self.raw_bytes / max(s, 1e-9) / 1e6 for s in seconds)

    def ratios(self, other: SpeedRow) -> tuple[float, float]:
        """Return how often it is as fast as ``other``: encode, decode; medians over the rounds."""
        encode = [b / a for a, b in zip(self.encode_s, other.encode_s, strict=True)]
        decode = [b / a for a, b in zip(self.decode_s, other.decode_s, strict=True)]
        return statistics.median(encode), statistics.median(decode)


@dataclass(slots=True, kw_only=True)
class SpeedResult:
    """All rows of one run."""

    threads: int
    rounds: int
    load_before: float
    """The machine's load average over a minute before the run: other jobs make figures noisy."""
    rows: list[SpeedRow] = field(default_factory=list)
    stages: dict[str, dict[str, dict[str, float]]] = field(default_factory=dict)
    """codec + sample type → "encode" / "decode" → function → seconds, one thread."""

    def reference(self, row: SpeedRow, name: str) -> SpeedRow | None:
        return next((r for r in self.rows if r.kind == row.kind and r.codec == name), None)

    def to_json(self) -> dict[str, Any]:
        """Return every round's seconds and what the tables show."""
        rows = []
        for row in self.rows:
            values = {name: getattr(row, name) for name in SpeedRow.__slots__}
            for name in ("encode_mb_s", "decode_mb_s", "encode_mb_cpu_s", "decode_mb_cpu_s"):
                values[name] = getattr(row, name)
            for name in REFERENCES:
                other = self.reference(row, name)
                if other is not None:
                    encode, decode = row.ratios(other)
                    values[f"to {name}"] = {"encode": encode, "decode": decode}
            rows.append(values)
        return {
            "threads": self.threads,
            "rounds": self.rounds,
            "load_before": self.load_before,
            "rows": rows,
            "stages_s": self.stages,
        }

    def figures(self) -> list[Figures]:
        """Return the table of speeds and, for ours, of time by function."""
        names = [name for name in REFERENCES if any(row.codec == name for row in self.rows)]
        columns = [
            "samples",
            "codec",
            "MB",
            "bits/sample",
            "encode MB/s",
            "MB/CPU s",
            *(f"× {name}" for name in names),
            "decode MB/s",
            "MB/CPU s",
            *(f"× {name}" for name in names),
            "threads over",
        ]
        table = Figures("speed", tuple(columns), text_columns=2)
        for row in self.rows:
            ratios = []
            for name in names:
                other = self.reference(row, name)
                ratios.append((math.nan, math.nan) if other is None else row.ratios(other))
            setting = row.encode_setting
            if row.decode_setting != setting:
                setting += f" / {row.decode_setting}"
            cells = [
                row.kind,
                row.codec,
                f"{row.raw_bytes / 1e6:.1f}",
                f"{8 * row.coded_bytes / row.samples:.3f}",
                f"{row.encode_mb_s:.1f}",
                f"{row.encode_mb_cpu_s:.1f}",
                *(f"{encode:.2f}" for encode, _ in ratios),
                f"{row.decode_mb_s:.1f}",
                f"{row.decode_mb_cpu_s:.1f}",
                *(f"{decode:.2f}" for _, decode in ratios),
                setting,
            ]
            table.rows.append(tuple(cells))
        table.notes.append(
            f"{self.threads} threads, median of {self.rounds} rounds in turns, ratios paired "
            f"within rounds; first pass (compiling) not counted; load average before: "
            f"{self.load_before:.1f}"
        )
        return [table, *self._stage_figures()]

    def _stage_figures(self) -> Iterator[Figures]:
        table = Figures("time by function", ("codec and samples", "encode", "decode"))
        table.text_columns = 3
        for name, stages in self.stages.items():
            cells = [_shares(stages[way]) for way in ("encode", "decode")]
            table.rows.append((name, *cells))
        table.notes.append("own time of each function, one thread, under the profiler")
        if table.rows:
            yield table


def measure_speed(
    workload: Workload,
    ours: Mapping[str, Callable[[float | int | None], TileCodec]],
    peers: Sequence[str] = tuple(SPEED_PEERS),
    *,
    rounds: int = MIN_ROUNDS,
    threads: int | None = None,
    on_kind: Callable[[str], None] | None = None,
) -> SpeedResult:
    """Time every codec on every sample type of the workload.

    Parameters
    ----------
    ours : name → function from nodata to a TileCodec.
    peers : names out of ``SPEED_PEERS``.
    threads : of the pool, and of peers that have their own; default as many as ``compress`` uses.
    """
    if rounds < MIN_ROUNDS:
        raise ValueError(f"timing codecs: got {rounds} rounds, want at least {MIN_ROUNDS}")
    before = pool.threads()
    if threads is not None:
        pool.set_threads(threads)
    try:
        result = SpeedResult(threads=pool.threads(), rounds=rounds, load_before=os.getloadavg()[0])
        for kind, images in workload.chosen():
            if on_kind is not None:
                on_kind(kind)
            ways = {name: [_our_way(codec_of, images)] for name, codec_of in ours.items()}
            for name in peers:
                ways[name] = _peer_ways(SPEED_PEERS[name], images, result.threads)
            result.rows += _time_kind(kind, images, ways, rounds)
            for name in ours:
                result.stages[f"{name}, {kind}"] = _profile(ways[name][0])
    finally:
        if threads is not None:
            pool.set_threads(before)
    return result


@dataclass(slots=True)
class _Clock:
    """Wall and processor seconds of every round."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def run(self, work: Callable[[], Any]) -> None:
        cpu, wall = time.process_time(), time.perf_counter()
        work()
        self.wall.append(time.perf_counter() - wall)
        self.cpu.append(time.process_time() - cpu)


@dataclass(slots=True)
class _Contender:
    """A codec with the fastest way found for each direction."""

    name: str
    encode_way: _Way
    decode_way: _Way
    coded: list[bytes]
    """What ``decode_way`` decodes."""
    coded_bytes: int
    first_s: float
    encode: _Clock = field(default_factory=_Clock)
    decode: _Clock = field(default_factory=_Clock)


def _time_kind(
    kind: str, images: Sequence[_Image], ways: Mapping[str, list[_Way]], rounds: int
) -> Iterator[SpeedRow]:
    contenders = [_first_pass(name, choice) for name, choice in ways.items()]
    for turn in range(rounds):
        start = turn % len(contenders)
        for contender in contenders[start:] + contenders[:start]:
            contender.encode.run(contender.encode_way.encode_all)
            contender.decode.run(partial(contender.decode_way.decode_all, contender.coded))
    for contender in contenders:
        yield SpeedRow(
            kind=kind,
            codec=contender.name,
            encode_setting=contender.encode_way.setting,
            decode_setting=contender.decode_way.setting,
            raw_bytes=sum(image.samples.nbytes for image in images),
            samples=sum(image.samples.size for image in images),
            coded_bytes=contender.coded_bytes,
            first_s=contender.first_s,
            encode_s=tuple(contender.encode.wall),
            decode_s=tuple(contender.decode.wall),
            encode_cpu_s=tuple(contender.encode.cpu),
            decode_cpu_s=tuple(contender.decode.cpu),
        )


def _first_pass(name: str, ways: Sequence[_Way]) -> _Contender:
    """Run every way once, check what it gives, and keep the fastest for each direction."""
    tried: list[tuple[_Way, list[bytes], float, float]] = []
    begin = time.perf_counter()
    for way in ways:
        start = time.perf_counter()
        coded = way.encode_all()
        middle = time.perf_counter()
        decoded = way.decode_all(coded)
        end = time.perf_counter()
        for given, back in zip(way.items, decoded, strict=True):
            samples = given[1] if isinstance(given, tuple) else given
            if np.ascontiguousarray(back).tobytes() != samples.tobytes():
                raise RuntimeError(f"timing codecs: {name} did not give back the same samples")
        tried.append((way, coded, middle - start, end - middle))
    first = time.perf_counter() - begin
    encode_way, encoded, *_ = min(tried, key=lambda trial: trial[2])
    decode_way, coded, *_ = min(tried, key=lambda trial: trial[3])
    return _Contender(name, encode_way, decode_way, coded, sum(map(len, encoded)), first)


# --- time by function ------------------------------------------------------------------------


def _profile(way: _Way) -> dict[str, dict[str, float]]:
    """Return own seconds by function of a few chunks, in one thread; compiled ones show, too."""
    largest = sorted(way.items, key=lambda item: -item[1].size)[:_PROFILED_CHUNKS]
    records = [way.encode(item) for item in largest]

    def encode() -> None:
        for item in largest:
            way.encode(item)

    def decode() -> None:
        for pair in zip(records, largest, strict=True):
            way.decode(pair)

    return {"encode": _own_seconds(encode), "decode": _own_seconds(decode)}


def _own_seconds(work: Callable[[], None]) -> dict[str, float]:
    profile = cProfile.Profile()
    profile.runcall(work)
    seconds: dict[str, float] = {}
    for (file, _, function), (_, _, own, _, _) in pstats.Stats(profile).stats.items():  # type: ignore[attr-defined]
        path = Path(file)
        ours = path.parent.name == "wave" or path.parent.name == "codecs"
        name = f"{path.stem}.{function}" if ours else "NumPy and the rest"
        seconds[name] = seconds.get(name, 0.0) + own
    return dict(sorted(seconds.items(), key=lambda item: -item[1]))


def _shares(seconds: Mapping[str, float], most: int = 5) -> str:
    """Return the functions that take most of the time, in per cent."""
    total = sum(seconds.values()) or 1.0
    largest = sorted(seconds.items(), key=lambda item: -item[1])[:most]
    return ", ".join(f"{name} {100 * s / total:.0f} %" for name, s in largest if s > 0.005 * total)
