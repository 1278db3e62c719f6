"""Paired speeds: every codec on the same samples, in the same run, round by round.

Speeds on a shared machine drift, so no figure stands alone: in every round each codec encodes and
decodes the same samples, the order turns by one from round to round, and a ratio is the median of
the ratios within rounds. What is timed is memory to memory: cutting tiles, and whatever turns
samples into ones that a codec takes, happens before; no result is checked inside the timing. All
are checked beforehand, in a round that is not counted: there tilepress compiles, and of every other
codec the fastest way to use the threads is chosen (its own threads, or whole planes or 512 × 512
tiles over a pool of as many threads), for encoding and decoding apart. tilepress codes the chunks
of a store, 512 × 512 × up to 16 planes, over such a pool, as ``compress`` does, without its
self-check.

MB are 10^6 bytes of decoded samples in their own dtype.
"""

from __future__ import annotations

import contextlib
import cProfile
import os
import pstats
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from tilepress.codecs import threads as pool
from tilepress.codecs.classical import ANCHORS, anchor
from tilepress.codecs.classical.base import Anchor, Samples, SpeedSetting
from tilepress.codecs.classical.put import RGB_BANDS, as_rgb, usable_planes
from tilepress.codecs.tile import TileCodec, decode_chunk, encode_chunk
from tilepress.pipeline.image.grid import choose_grid
from tilepress.workflows.bench.speed_results import SpeedResult, SpeedRow
from tilepress.workflows.bench.workload import TILE, Image, Workload

__all__ = ["MIN_ROUNDS", "Clock", "in_turn", "measure_speed", "pool_of", "speed_settings"]

Contender = TypeVar("Contender")

MIN_ROUNDS = 3

_PROFILED_CHUNKS = 4

_SHOWN_FIRST = ("jpegxl", "jpegls", "htj2k", "jpeg2000", "zstd")
"""The order of established codecs in the table of speeds; others follow."""


def speed_settings(names: Sequence[str] | None = None) -> dict[str, tuple[Anchor, SpeedSetting]]:
    """Return the settings that are timed of established codecs, by name; None: of all."""
    order = [*_SHOWN_FIRST, *(name for name in ANCHORS if name not in _SHOWN_FIRST)]
    anchors = [anchor(name) for name in order if names is None or name in names]
    return {name: (codec, timed) for codec in anchors for name, timed in codec.speeds.items()}


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


def _anchor_ways(
    codec: Anchor, timed: SpeedSetting, images: Sequence[Image], threads: int
) -> list[_Way]:
    whole = [array for image in images for array in _arrays(image, codec)]
    tiles = [tile for array in whole for tile in _tiles(array)]

    def way(setting: str, items: list[Samples], own: int) -> _Way:
        def encode(item: Samples) -> bytes:
            return timed.encode(item, own)

        def decode(pair: tuple[bytes, Samples]) -> Samples:
            return timed.decode(pair[0], own)

        return _Way(setting, own == 1, items, encode, decode)

    ways = [way("tiles", tiles, 1)]
    if len(tiles) > len(whole):
        ways.append(way("planes", whole, 1))
    if timed.own_threads and threads > 1:
        ways.append(way("own threads", whole, threads))
    return ways


def _arrays(image: Image, codec: Anchor) -> list[Samples]:
    """Return what a codec codes for an image: RGB images, or planes of 8 or 16 bits."""
    planes = image.samples.reshape(-1, *image.samples.shape[-2:])
    if codec.takes_all:
        return list(planes)
    if image.bands not in RGB_BANDS or planes.dtype != np.uint8:
        return [part for plane in planes for part in usable_planes(plane)]
    arrays: list[Samples] = []
    for first in range(0, len(planes), image.bands):
        frame = planes[first : first + image.bands]
        arrays += [as_rgb(frame), *frame[3:]]
    return arrays


def _tiles(array: Samples) -> list[Samples]:
    rows, columns = (range(0, n, TILE) for n in array.shape[:2])
    return [np.ascontiguousarray(array[y : y + TILE, x : x + TILE]) for y in rows for x in columns]


def _our_way(codec_of: Callable[[float | int | None], TileCodec], images: list[Image]) -> _Way:
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


def measure_speed(
    workload: Workload,
    ours: Mapping[str, Callable[[float | int | None], TileCodec]],
    anchors: Sequence[str] | None = None,
    *,
    rounds: int = MIN_ROUNDS,
    threads: int | None = None,
    on_kind: Callable[[str], None] | None = None,
) -> SpeedResult:
    """Time every codec on every sample type of the workload.

    Parameters
    ----------
    ours : name → function from nodata to a TileCodec.
    anchors : established codecs, out of ``ANCHORS``; None: all that are timed.
    threads : of the pool, and of codecs that have their own; default as many as ``compress`` uses.
    """
    if rounds < MIN_ROUNDS:
        raise ValueError(f"timing codecs: got {rounds} rounds, want at least {MIN_ROUNDS}")
    settings = speed_settings(anchors)
    with pool_of(threads):
        result = SpeedResult(threads=pool.threads(), rounds=rounds, load_before=os.getloadavg()[0])
        for kind, images in workload.chosen():
            if on_kind is not None:
                on_kind(kind)
            ways = {name: [_our_way(codec_of, images)] for name, codec_of in ours.items()}
            for name, (codec, timed) in settings.items():
                ways[name] = _anchor_ways(codec, timed, images, result.threads)
            result.rows += _time_kind(kind, images, ways, rounds)
            for name in ours:
                result.stages[f"{name}, {kind}"] = _profile(ways[name][0])
    return result


@contextlib.contextmanager
def pool_of(threads: int | None) -> Iterator[None]:
    """Give the pool so many threads for a while; None: those that it has."""
    before = pool.threads()
    if threads is not None:
        pool.set_threads(threads)
    try:
        yield
    finally:
        if threads is not None:
            pool.set_threads(before)


def in_turn(contenders: Sequence[Contender], rounds: int) -> Iterator[Contender]:
    """Yield all contenders in every round, the order turned by one from round to round."""
    for turn in range(rounds if contenders else 0):
        start = turn % len(contenders)
        yield from contenders[start:]
        yield from contenders[:start]


@dataclass(slots=True)
class Clock:
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
    encode: Clock = field(default_factory=Clock)
    decode: Clock = field(default_factory=Clock)


def _time_kind(
    kind: str, images: Sequence[Image], ways: Mapping[str, list[_Way]], rounds: int
) -> Iterator[SpeedRow]:
    contenders = [_first_pass(name, choice) for name, choice in ways.items()]
    for contender in in_turn(contenders, rounds):
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
        ours = "codecs" in path.parent.parts[-3:]  # codecs/, codecs/wave/, codecs/wave/cuda/
        name = f"{path.stem}.{function}" if ours else "NumPy and the rest"
        seconds[name] = seconds.get(name, 0.0) + own
    return dict(sorted(seconds.items(), key=lambda item: -item[1]))
