"""Measure what levels of lower resolution cost in bytes, and save in time of a processor.

Each image gets four levels, each half of the one before. Their shards are compared with those of
the image: of all four, and without the first one or two. Then a picture of the whole image is read,
of the last level and of the full resolution, every so many rows and columns.

    python -m tilepress.workflows.bench.levels SRC... [--from-side 1000]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tilepress.pipeline.find.discover import discover
from tilepress.pipeline.image.grid import Box
from tilepress.pipeline.image.source import SourceSpec
from tilepress.pipeline.store.keys import level_image
from tilepress.pipeline.store.reader import StoreReader
from tilepress.workflows.run.compress import compress

__all__ = ["LevelCost", "measure_levels"]

LEVELS = 4


@dataclass(frozen=True, slots=True)
class LevelCost:
    """What the levels of one image cost and save."""

    name: str
    shape: tuple[int, ...]
    stored_bytes: tuple[int, ...]
    """Of the shards of each level, the full resolution first."""
    picture_s: tuple[float, float]
    """Seconds of a processor to read a picture of the whole: of the last level, of the image."""

    def share(self, first: int) -> float:
        """Return the bytes of all levels from ``first`` on, as a share of the image's."""
        return sum(self.stored_bytes[first:]) / self.stored_bytes[0]


def measure_levels(sources: Sequence[str | Path], *, from_side: int = 1000) -> Iterator[LevelCost]:
    """Yield what levels cost of every image whose sides have at least so many samples."""
    for spec in discover(list(sources)):
        if not isinstance(spec, SourceSpec):
            continue
        with tempfile.TemporaryDirectory(prefix="tilepress-levels-") as folder:
            report = compress(spec.paths, Path(folder) / "out", workers=0, levels=str(LEVELS))
            for image in report.images:
                reader = StoreReader.open(image.store)
                if min(reader.shape[-2:]) >= from_side and reader.level_count == 1 + LEVELS:
                    yield _cost(reader)


def _cost(reader: StoreReader) -> LevelCost:
    tables = reader.manifest.arrays
    whole = Box((0,) * len(reader.shape), reader.shape)
    coarse = reader.at_level(LEVELS)
    step = 2**LEVELS

    def read_level() -> object:
        return coarse.read(Box((0,) * len(coarse.shape), coarse.shape))

    def read_image() -> object:
        return np.ascontiguousarray(reader.read(whole)[..., ::step, ::step])

    return LevelCost(
        name=reader.path.name,
        shape=reader.shape,
        stored_bytes=tuple(tables[level_image(n)].stored_bytes for n in range(1 + LEVELS)),
        picture_s=(_seconds(read_level), _seconds(read_image)),
    )


def _seconds(work: Callable[[], object]) -> float:
    begun = time.process_time()
    work()
    return time.process_time() - begun


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("sources", nargs="+")
    parser.add_argument("--from-side", type=int, default=1000)
    given = parser.parse_args()
    found = []
    for one in measure_levels(given.sources, from_side=given.from_side):
        found.append(one)
        shares = "  ".join(f"from /{2**n} on +{100 * one.share(n):.1f} %" for n in (1, 2, 3))
        level, image = one.picture_s
        sys.stdout.write(
            f"{one.name} {one.shape}: {shares}; picture {level:.2f} CPU-s of {image:.2f}\n"
        )
    if found:
        means = (np.mean([one.share(n) for one in found]) for n in (1, 2, 3))
        told = "  ".join(f"+{100 * mean:.1f} %" for mean in means)
        sys.stdout.write(f"mean of {len(found)} images: {told}\n")


if __name__ == "__main__":
    main()
