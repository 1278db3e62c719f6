"""Measure what the workflow costs beside the coding: its wall time over that of a bare loop.

The bare loop codes and checks the very same shards, from samples in memory, with as many threads;
it reads no file, writes none, starts no process. The workflow is the command as people run it. Both
take turns, so that a machine that slows down slows both.

    python -m tilepress.workflows.bench.overhead SRC... [--rounds 3] [--tier standard]
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tilepress.codecs import threads as pool
from tilepress.codecs.config import lossless_config
from tilepress.codecs.tile import TileCodec
from tilepress.pipeline.archive.options import EncodeOptions
from tilepress.pipeline.archive.plan import make_plan
from tilepress.pipeline.find.discover import discover
from tilepress.pipeline.image.grid import Box, ShardGrid
from tilepress.pipeline.image.source import SourceSpec
from tilepress.pipeline.sources.open import open_source
from tilepress.pipeline.storage.path import storage_path
from tilepress.pipeline.store.shard_encode import encode_shard
from tilepress.workflows.cluster.local import cpu_count

__all__ = ["Overhead", "measure_overhead"]


@dataclass(frozen=True, slots=True)
class Overhead:
    """Seconds of each round, and how long a command takes that has next to nothing to do."""

    bare_s: tuple[float, ...]
    workflow_s: tuple[float, ...]
    start_s: float
    """Of the same command once everything is there: start of the processes, discovery, checks."""
    raw_bytes: int

    @property
    def ratio(self) -> float:
        """Median of the rounds' ratios."""
        pairs = zip(self.workflow_s, self.bare_s, strict=True)
        return statistics.median(workflow / bare for workflow, bare in pairs)


@dataclass(frozen=True, slots=True)
class _Shard:
    codec: TileCodec
    samples: npt.NDArray[Any]
    box: Box
    grid: ShardGrid
    index: tuple[int, ...]
    fill: float | int


def measure_overhead(
    sources: Sequence[str | Path], *, rounds: int = 3, tier: str = "standard"
) -> Overhead:
    """Compare ``tilepress compress`` of the sources with a bare loop, in turns."""
    shards = list(_shards(sources, tier))
    pool.set_threads(cpu_count())
    _code(shards[:1])  # the first call compiles
    bare, workflow = [], []
    with tempfile.TemporaryDirectory(prefix="tilepress-overhead-") as folder:
        for number in range(rounds):
            bare.append(_timed(partial(_code, shards)))
            out = Path(folder) / f"out{number}"
            workflow.append(_timed(partial(_compress, sources, out, tier)))
        start_s = _timed(partial(_compress, sources, out, tier))
    return Overhead(tuple(bare), tuple(workflow), start_s, sum(s.samples.nbytes for s in shards))


def _shards(sources: Sequence[str | Path], tier: str) -> list[_Shard]:
    """Read every shard that the workflow would write."""
    shards = []
    for spec in discover(list(sources)):
        if not isinstance(spec, SourceSpec):
            continue
        with contextlib.closing(open_source(spec)) as source:
            plan = make_plan(source, storage_path("none.zarr"), EncodeOptions(tier=tier))
            image = TileCodec.from_config(dict(plan.codec_config))
            mask = TileCodec.from_config(lossless_config(plan.codec_config))
            for ref in plan.shards():
                grid, is_image = plan.grid_of(ref), ref.array == "image"
                box = grid.box(ref.index)
                samples = source.read(box) if is_image else source.read_mask(box)
                nodata = plan.info.nodata or 0
                fill = plan.info.dtype.type(nodata).item() if is_image else 0
                codec = image if is_image else mask
                shards.append(_Shard(codec, np.asarray(samples), box, grid, ref.index, fill))
    return shards


def _code(shards: Sequence[_Shard]) -> None:
    for s in shards:
        encode_shard(s.codec, s.samples, s.box, s.grid, s.index, s.fill)


def _compress(sources: Sequence[str | Path], out: Path, tier: str) -> None:
    line = [sys.executable, "-m", "tilepress", "compress", *map(str, sources), str(out)]
    done = subprocess.run(  # noqa: S603  # our own command
        [*line, "--tier", tier, "--levels", "none"], capture_output=True, check=False
    )
    if done.returncode not in (0, 1):  # 1: some inputs are none, for both sides
        raise RuntimeError(f"measuring: the command ended with {done.returncode}")


def _timed(work: Callable[[], None]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("sources", nargs="+")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tier", default="standard")
    given = parser.parse_args()
    found = measure_overhead(given.sources, rounds=given.rounds, tier=given.tier)
    rows = zip(found.workflow_s, found.bare_s, strict=True)
    for workflow, bare in rows:
        sys.stdout.write(
            f"workflow {workflow:.1f} s, bare loop {bare:.1f} s: {workflow / bare:.3f}\n"
        )
    sys.stdout.write(
        f"median {found.ratio:.3f}; {found.raw_bytes / 1e6:.0f} MB of samples; the same command "
        f"with nothing left to do: {found.start_s:.1f} s\n"
    )


if __name__ == "__main__":
    main()
