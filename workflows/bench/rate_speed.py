"""Speeds of lossy codecs at one PSNR, in paired rounds of one run.

Every codec codes the tiles of an image at the level that is nearest to the PSNR, over the pool of
threads as ``compress`` does; looking for the level is not counted, nor reading. In every round each
codec encodes and decodes the same tiles, the order turns by one from round to round, and a ratio is
the median of the ratios within rounds: on a shared machine no figure stands alone. What is decoded
is compared with a decoding before, outside of the clock.
"""

from __future__ import annotations

import math
import os
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tilepress.codecs import threads as pool
from tilepress.codecs.tile import decode_chunk, encode_chunk_at
from tilepress.errors import UnsupportedArray, UnsupportedFormat, UsageError
from tilepress.workflows.bench.images import FoundImage
from tilepress.workflows.bench.rate_codecs import (
    PEAK,
    TILE,
    Given,
    Ladder,
    check_name,
    given_of,
    read_given,
    refusal_of,
    tile_codec,
    tiles_of,
)
from tilepress.workflows.bench.speed import MIN_ROUNDS, Clock, in_turn, pool_of

__all__ = ["SPEED_CODECS", "SPEED_DB", "RateSpeeds", "Timed", "by_round", "run_rate_speeds"]

Tile = npt.NDArray[Any]

SPEED_CODECS = ("jpeg2000", "jpegxl", "avif", "ntc")
"""Those that are timed where nobody says; the first is what the others are told against."""

SPEED_DB = 42.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """A codec on one image."""

    image: str
    codec: str
    samples: int
    psnr_db: float | None
    """None where nothing differs."""
    peak: float
    """Of that PSNR, as rate_codecs.py has it."""
    bits_per_sample: float
    encode_s: tuple[float, ...]
    """Seconds of the clock on the wall, of each round."""
    decode_s: tuple[float, ...]
    encode_cpu_s: tuple[float, ...]
    """Seconds of all processors together."""
    decode_cpu_s: tuple[float, ...]


@dataclass(slots=True)
class RateSpeeds:
    """What was measured."""

    codecs: tuple[str, ...]
    target_db: float
    rounds: int
    threads: int
    load_before: float
    rows: list[Timed] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def of(self, codec: str) -> dict[str, Timed]:
        """Return what was timed of a codec, by image."""
        return {row.image: row for row in self.rows if row.codec == codec}

    def faster(self, codec: str, what: str) -> float | None:
        """Return how many times as fast as the first codec one is, on what both were timed on.

        what : "encode_s" or "decode_s". None where there is nothing of both.
        """
        first, mine = self.of(self.codecs[0]), self.of(codec)
        both = [name for name in mine if name in first]
        if not both:
            return None
        pairs = zip(by_round(first, both, what), by_round(mine, both, what), strict=True)
        return statistics.median(one / other for one, other in pairs)

    def to_json(self) -> dict[str, Any]:
        """Return everything, with the ratios."""
        return {
            "anchor": self.codecs[0],
            "target_db": self.target_db,
            "psnr_over": PEAK,
            "rounds": self.rounds,
            "threads": self.threads,
            "load_before": self.load_before,
            "rows": [asdict(row) for row in self.rows],
            "times_as_fast": {
                name: {what: self.faster(name, what) for what in ("encode_s", "decode_s")}
                for name in self.codecs[1:]
            },
            "skipped": self.skipped,
            "failures": self.failures,
        }


def by_round(rows: Mapping[str, Timed], images: Sequence[str], what: str) -> list[float]:
    """Return the seconds of each round, of all these images together."""
    return list(map(sum, zip(*(getattr(rows[name], what) for name in images), strict=True)))


def run_rate_speeds(
    sources: Sequence[str | Path],
    codecs: Sequence[str] = SPEED_CODECS,
    target_db: float = SPEED_DB,
    *,
    rounds: int = MIN_ROUNDS,
    threads: int | None = None,
    tile: int = TILE,
    on_step: Callable[[str], None] | None = None,
) -> RateSpeeds:
    """Time codecs on every image below ``sources``, near a PSNR.

    codecs : names as rate_codecs.py has them, but ``jpeg`` and checkpoints, none of tiles.
    threads : of the pool; default as many as ``compress`` uses.
    """
    for name in codecs:
        if name == "jpeg" or name.startswith("compressai"):
            raise UsageError(f"comparing speeds: got codec {name!r}, which is none of tiles")
        check_name(name)
    if not 0 < target_db <= 200:
        raise UsageError(f"comparing speeds: got {target_db:g} dB, want 0 to 200")
    with pool_of(threads):
        found = RateSpeeds(
            tuple(codecs), target_db, rounds, pool.threads(), round(os.getloadavg()[0], 2)
        )
        for image in read_given(sources):
            if image.info is None or image.samples is None:
                found.failures.append(image.told)
            elif (reason := refusal_of(image)) is not None:
                found.skipped.append(f"{image.name}: {reason}")
            else:
                _time(image, found, tile)
                if on_step is not None:
                    on_step(image.name)
    return found


def _time(image: FoundImage, found: RateSpeeds, tile: int) -> None:
    name = image.name
    given = given_of(image, tile)
    if given is None:
        found.skipped.append(f"{name}: no sample is present")
        return
    contenders = []
    for codec in found.codecs:
        try:
            contenders.append(_Contender(codec, given, found.target_db))
        except (UnsupportedArray, UnsupportedFormat) as error:
            found.skipped.append(f"{name}: {error}")
    for one in in_turn(contenders, found.rounds):
        one.run()
    found.rows += [one.timed(name, given.samples.size) for one in contenders]


class _Contender:
    """A codec at its level, with what it took in each round."""

    def __init__(self, name: str, given: Given, target_db: float) -> None:
        self._name, self._given = name, given
        self._codec = tile_codec(name, given)
        ladder = Ladder(name, given, tiles_of(self._codec, given))
        (self._rung,) = ladder.near([target_db])
        self._tiles = [np.ascontiguousarray(given.samples[b.slices]) for b in ladder.boxes]
        self._records = self._encoded()
        for box, tile in zip(ladder.boxes, self._decoded(), strict=True):
            if not np.array_equal(tile, self._rung.decoded[box.slices], equal_nan=True):
                raise RuntimeError(f"timing codecs: {name} decoded to other samples")
        self._encode, self._decode = Clock(), Clock()

    def _encoded(self) -> list[bytes]:
        level, peak = self._rung.level, self._given.peak
        return pool.map_chunks(
            lambda tile: encode_chunk_at(self._codec, tile, level, peak)[0], self._tiles
        )

    def _decoded(self) -> list[Tile]:
        pairs = zip(self._records, self._tiles, strict=True)
        return pool.map_chunks(
            lambda pair: decode_chunk(self._codec, pair[0], pair[1].shape, pair[1].dtype), pairs
        )

    def run(self) -> None:
        """Encode and decode once."""
        self._encode.run(self._encoded)
        self._decode.run(self._decoded)

    def timed(self, image: str, samples: int) -> Timed:
        """Return what it took."""
        rung = self._rung
        return Timed(
            image=image,
            codec=self._name,
            samples=samples,
            psnr_db=rung.psnr_db if math.isfinite(rung.psnr_db) else None,
            peak=self._given.peak,
            bits_per_sample=8 * rung.size / samples,
            encode_s=tuple(self._encode.wall),
            decode_s=tuple(self._decode.wall),
            encode_cpu_s=tuple(self._encode.cpu),
            decode_cpu_s=tuple(self._decode.cpu),
        )
