"""Compare tilepress with established codecs on a user's own images, by file and by class.

tilepress counts every byte of the shards that a store of the image would hold (records, index,
padding); each other codec gets whole planes, its strongest sane setting, and no container at all.
So the comparison leans towards the others. See ``sizes`` for how samples reach them, near-lossless
too, and ``speed`` for how speeds are compared.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from tilepress.codecs.classical import ANCHORS
from tilepress.codecs.classical.base import Samples
from tilepress.codecs.loss import bounded
from tilepress.codecs.tile import TileCodec
from tilepress.errors import TilepressError, UnsupportedFormat, UsageError
from tilepress.pipeline.archive.options import EncodeOptions
from tilepress.pipeline.image.grid import choose_grid
from tilepress.pipeline.image.info import ImageInfo
from tilepress.pipeline.store.shard_encode import encode_shard
from tilepress.workflows.bench.images import class_of, read_classes, read_images
from tilepress.workflows.bench.results import BenchImage, BenchResult, class_table, file_table
from tilepress.workflows.bench.sizes import BEST, SizeCache, anchor_sizes
from tilepress.workflows.bench.speed import measure_speed
from tilepress.workflows.bench.speed_results import SpeedResult
from tilepress.workflows.bench.tables import Figures, html_page
from tilepress.workflows.bench.workload import Workload

__all__ = [
    "LOSSLESS_CODECS",
    "NEAR_CODECS",
    "Bench",
    "OurCodec",
    "SpeedPlan",
    "run_bench",
    "tilepress_size",
]

OURS = "tilepress"
LOSSLESS_CODECS = (OURS, "zstd", "jpegls", "jpeg2000", "jpegxl", "webp")
NEAR_CODECS = (OURS, "jpegls", "jpeg2000", "jpegxl", "webp", "lerc")
"""What is compared unless the caller names codecs."""


@dataclass(frozen=True, slots=True)
class OurCodec:
    """A codec of ours as a user names it: ``tilepress[@TIER][:MODEL]``."""

    name: str
    tier: str = "standard"
    model: str = "auto"

    @classmethod
    def parse(cls, name: str) -> OurCodec:
        """Return what ``name`` says; raises UsageError for other codecs and unknown tiers."""
        start, _, model = name.partition(":")
        codec, at, tier = start.partition("@")
        if codec != OURS or (at and not tier):
            raise UsageError(
                f"comparing codecs: got {name}, want {OURS}[@TIER][:MODEL], {', '.join(ANCHORS)}"
            )
        ours = cls(name, tier or "standard", model or "auto")
        try:
            ours.open()
        except UnsupportedFormat as exc:
            raise UsageError(f"comparing codecs: got {name}: {exc}") from exc
        return ours

    def open(self, max_error: float = 0, nodata: float | int | None = None) -> TileCodec:
        return TileCodec(max_error=max_error, nodata=nodata, tier=self.tier, model=self.model)


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeedPlan:
    """How speeds are measured: see ``speed``."""

    rounds: int = 3
    limit_bytes: int = 2**24
    """Decoded bytes of each sample type."""
    threads: int | None = None


@dataclass(slots=True, kw_only=True)
class Bench:
    """Everything that one run found."""

    results: list[BenchResult] = field(default_factory=list)
    speed: SpeedResult | None = None
    failures: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    """Images left out of near-lossless tables because it makes no sense for them."""

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON-able values."""
        return {
            "version": 2,
            "machine": machine(),
            "results": [result.to_json() for result in self.results],
            "speed": None if self.speed is None else self.speed.to_json(),
            "failures": self.failures,
            "skipped": self.skipped,
        }

    def tables(self) -> list[Figures]:
        """Return the tables in the order in which they are shown."""
        tables = [
            table(result)
            for result in self.results
            if result.images
            for table in (file_table, class_table)
        ]
        return tables + (self.speed.figures() if self.speed is not None else [])

    def to_html(self) -> str:
        """Return one self-contained page."""
        here = machine()
        notes = [
            "Bits per sample. Every size is of data that decoded to the same samples, or to within "
            "the maximum error where one is given. tilepress counts whole shards with their index; "
            "the others get whole planes, their strongest settings and no container.",
            ", ".join(f"{name} {text}" for name, text in here.items()),
        ]
        return html_page("tilepress bench", notes, self.tables())


def machine() -> dict[str, str]:
    """Return what the figures depend on: processor, cores, versions of the libraries."""
    import imagecodecs

    processor = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    packages = ("tilepress", "numpy", "imagecodecs", "pyjpegls")
    libraries = ("jpegxl", "jpegls", "jpeg2k", "htj2k", "lerc", "webp", "zstd")
    found = {"processor": names[0] if names else processor, "cores": str(os.cpu_count())}
    found |= {package: version(package) for package in packages}
    found |= {name: getattr(imagecodecs, f"{name}_version")() for name in libraries}
    return found


# --- measuring -------------------------------------------------------------------------------


def run_bench(
    sources: Sequence[str | Path],
    codecs: Sequence[str] | None = None,
    manifest: Path | None = None,
    *,
    max_errors: Sequence[float] = (0,),
    cache: Path | None = None,
    sizes: bool = True,
    speed: SpeedPlan | None = None,
    on_step: Callable[[str], None] | None = None,
) -> Bench:
    """Measure every image below ``sources`` with every codec.

    Parameters
    ----------
    codecs :
        Names out of ``ANCHORS`` and "tilepress[@TIER][:MODEL]". Default: ``LOSSLESS_CODECS``,
        near-lossless ``NEAR_CODECS``, for speeds all.
    manifest :
        Tab-separated table with columns "file" (relative to the table) and "class".
    max_errors :
        One table of sizes each; 0 is lossless.
    cache :
        JSON file that keeps the sizes of other codecs between runs: JPEG XL's effort 9 is slow.
    sizes :
        Whether sizes are measured at all.
    speed :
        How speeds are measured, lossless; None measures none.
    on_step :
        Told the path of every image that is done, and what is timed.
    """
    names = {k: tuple(codecs or (NEAR_CODECS if k else LOSSLESS_CODECS)) for k in max_errors}
    ours = {
        name: OurCodec.parse(name)
        for name in (name for columns in names.values() for name in columns)
        if name not in ANCHORS
    }
    if not sizes:
        names = {}
    bench = Bench(results=[BenchResult(codecs=_columns(names[k]), max_error=k) for k in names])
    classes, known = read_classes(manifest), SizeCache.load(cache)
    workload = Workload(speed.limit_bytes) if speed is not None else None
    for found in read_images(sources):
        path, info, samples = found.files[0], found.info, found.samples
        if info is None or samples is None:
            bench.failures.append(found.told)
            continue
        kind = class_of(path, classes)
        if workload is not None:
            workload.add(samples, _bands(info), kind, info.nodata)
        for result in bench.results:
            task = _Task(found.name, kind, info, samples, result.max_error)
            _compare(task, names[result.max_error], ours, known, bench, result)
        known.save()
        if on_step is not None and sizes:
            on_step(found.name)
    if workload is not None and speed is not None:
        bench.speed = _speeds(workload, speed, codecs, ours, on_step)
    return bench


def _columns(names: Sequence[str]) -> tuple[str, ...]:
    others = [name for name in names if name in ANCHORS]
    return (*names, BEST) if len(others) > 1 else tuple(names)


def _speeds(
    workload: Workload,
    plan: SpeedPlan,
    codecs: Sequence[str] | None,
    ours: Mapping[str, OurCodec],
    on_step: Callable[[str], None] | None,
) -> SpeedResult:
    def opener(codec: OurCodec) -> Callable[[float | int | None], TileCodec]:
        return lambda nodata: codec.open(nodata=nodata)

    return measure_speed(
        workload,
        {name: opener(codec) for name, codec in ours.items()},
        codecs,
        rounds=plan.rounds,
        threads=plan.threads,
        on_kind=None if on_step is None else lambda kind: on_step(f"timing {kind}"),
    )


def tilepress_size(
    samples: Samples, info: ImageInfo, codec: OurCodec | None = None, *, max_error: float = 0
) -> int:
    """Return the bytes of all shards that a store of the image would hold, every record checked.

    What the check allows is said in codecs/loss.py.
    """
    ours = codec or OurCodec(OURS)
    coder = ours.open(max_error, info.nodata)
    tile = EncodeOptions.of({"tier": ours.tier}).tile
    grid = choose_grid(samples.shape, samples.dtype.itemsize, tile=tile)
    fill = 0 if info.nodata is None else info.nodata
    total = 0
    for index in grid.indices():
        box = grid.box(index)
        part = np.ascontiguousarray(samples[box.slices])
        total += encode_shard(coder, part, box, grid, index, fill).length
    return total


@dataclass(frozen=True, slots=True)
class _Task:
    """One image to measure at one bound."""

    path: str
    kind: str
    info: ImageInfo
    samples: Samples
    max_error: float


def _compare(
    task: _Task,
    names: Sequence[str],
    ours: Mapping[str, OurCodec],
    cache: SizeCache,
    bench: Bench,
    result: BenchResult,
) -> None:
    """Add what the codecs make of an image to a result, or to ``bench`` why they make nothing."""
    if refusal := task.info.refusal(bounded(task.max_error)):
        bench.skipped.append(f"{task.path}: {refusal}")
        return
    try:
        result.images.append(_measure(task, names, ours, cache))
    except TilepressError as exc:
        bench.failures.append(f"{task.path}: {exc}")


def _measure(
    task: _Task, names: Sequence[str], ours: Mapping[str, OurCodec], cache: SizeCache
) -> BenchImage:
    info, samples = task.info, task.samples
    bands = _bands(info)
    start = time.perf_counter()
    found = {
        name: tilepress_size(samples, info, ours[name], max_error=task.max_error)
        for name in names
        if name in ours
    }
    seconds = time.perf_counter() - start
    planes = samples.reshape(-1, *samples.shape[-2:])
    others = anchor_sizes(
        [name for name in names if name in ANCHORS],
        planes,
        bands=bands,
        max_error=task.max_error,
        nodata=info.nodata,
        cache=cache,
    )
    found |= {name: size.bytes for name, size in others.items()}
    return BenchImage(
        path=task.path,
        kind=task.kind,
        flat=len(planes) == 1 or (bands in (3, 4) and len(planes) == bands),
        shape=samples.shape,
        dtype=str(samples.dtype),
        samples=samples.size,
        raw_bytes=samples.nbytes,
        sizes={name: found[name] for name in _columns(names) if name in found},
        seconds=round(seconds, 3),
        remarks=tuple(dict.fromkeys(size.remark for size in others.values() if size.remark)),
    )


def _bands(info: ImageInfo) -> int:
    """Return how many planes belong together, band fastest."""
    return info.shape[-3] if len(info.axes) > 2 and info.axes[-3] == "band" else 1
