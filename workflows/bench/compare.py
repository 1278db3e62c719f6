"""Compare tilepress with established codecs on a user's own images, by file and by class.

tilepress counts every byte of the shards that a store of the image would hold (records, index,
padding); each peer gets whole planes, its strongest sane setting, and no container at all. So the
comparison leans towards the peers. See ``peers`` for how samples reach them, near-lossless too, and
``speed`` for how speeds are compared.
"""

from __future__ import annotations

import csv
import os
import platform
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tilepress.codecs.loss import Lossless, Within, bounded
from tilepress.codecs.tile import TileCodec
from tilepress.errors import SourceError, TilepressError, UnsupportedFormat, UsageError
from tilepress.pipeline.find.discover import discover, open_source
from tilepress.pipeline.find.walk import Failure
from tilepress.pipeline.image.grid import Box, choose_grid
from tilepress.pipeline.image.info import ImageInfo
from tilepress.pipeline.image.source import SourceSpec
from tilepress.pipeline.store.shard import encode_shard
from tilepress.workflows.bench.peers import BEST, PEERS, SizeCache, peer_sizes
from tilepress.workflows.bench.speed import SPEED_PEERS, SpeedResult, Workload, measure_speed
from tilepress.workflows.bench.tables import Figures, html_page

__all__ = [
    "LOSSLESS_CODECS",
    "NEAR_CODECS",
    "REFERENCES",
    "Bench",
    "BenchImage",
    "BenchResult",
    "FoundImage",
    "OurCodec",
    "SpeedPlan",
    "class_table",
    "file_table",
    "read_images",
    "run_bench",
    "tilepress_size",
]

OURS = "tilepress"
REFERENCES = ("jpegxl", BEST)
"""What the columns Δ refer to: the best of JPEG XL's efforts 3, 7 and 9, and of all peers."""

LOSSLESS_CODECS = (OURS, "zstd", "jpegls", "jpeg2000", "jpegxl", "webp")
NEAR_CODECS = (OURS, "jpegls", "jpeg2000", "jpegxl", "webp", "lerc")
"""What is compared unless the caller names codecs."""

Samples = npt.NDArray[Any]


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
                f"comparing codecs: got {name}, want {OURS}[@TIER][:MODEL], {', '.join(PEERS)}"
            )
        ours = cls(name, tier or "standard", model or "auto")
        try:
            ours.open()
        except UnsupportedFormat as exc:
            raise UsageError(f"comparing codecs: got {name}: {exc}") from exc
        return ours

    def open(self, max_error: float = 0, nodata: float | int | None = None) -> TileCodec:
        return TileCodec(max_error=max_error, nodata=nodata, tier=self.tier, model=self.model)


@dataclass(frozen=True, slots=True)
class FoundImage:
    """An image that was read whole, or why it was not."""

    files: tuple[str, ...]
    spec: SourceSpec | None = None
    info: ImageInfo | None = None
    samples: Samples | None = None
    failure: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchImage:
    """What every codec made of one image."""

    path: str
    kind: str
    """Class of the manifest; "all" without one."""
    flat: bool
    """One plane or one RGB image; else a volume or bands."""
    shape: tuple[int, ...]
    dtype: str
    samples: int
    raw_bytes: int
    sizes: Mapping[str, int]
    """Bytes by codec; a codec that does not take such samples is missing."""
    seconds: float
    """Time that tilepress took to encode, decode and compare."""
    remarks: tuple[str, ...] = ()

    def bits(self, codec: str) -> float | None:
        """Return bits per sample."""
        size = self.sizes.get(codec)
        return None if size is None else 8 * size / self.samples


@dataclass(slots=True, kw_only=True)
class BenchResult:
    """The sizes of all images at one ``max_error``."""

    codecs: tuple[str, ...]
    """The columns: codecs, then ``BEST`` where there is more than one peer."""
    max_error: float = 0
    images: list[BenchImage] = field(default_factory=list)

    @property
    def loss(self) -> Lossless | Within:
        """What coding may change of the samples."""
        return bounded(self.max_error)

    def by_class(self) -> dict[str, list[BenchImage]]:
        classes: dict[str, list[BenchImage]] = {}
        for image in sorted(self.images, key=lambda image: (image.kind, image.path)):
            classes.setdefault(image.kind, []).append(image)
        return classes

    @property
    def ours(self) -> list[str]:
        return [codec for codec in self.codecs if codec not in PEERS and codec != BEST]

    @property
    def deltas(self) -> list[tuple[str, str]]:
        """Return (codec of ours, what it is compared with) of every column Δ."""
        return [
            (name, reference)
            for name in self.ours
            for reference in REFERENCES
            if reference in self.codecs
        ]

    def to_json(self) -> dict[str, Any]:
        """Return the sizes as JSON-able values, with the figures by class and their means."""
        classes = self.by_class()
        return {
            "codecs": list(self.codecs),
            "max_error": self.max_error,
            "classes": {
                kind: {codec: bits_per_sample(images, codec) for codec in self.codecs}
                for kind, images in classes.items()
            },
            "changes_percent": {
                kind: {
                    f"{name} to {reference}": change(images, name, reference)
                    for name, reference in self.deltas
                }
                for kind, images in classes.items()
            },
            "means_percent": {
                title: {
                    f"{name} to {reference}": mean_change(chosen, name, reference)
                    for name, reference in self.deltas
                }
                for title, chosen in class_groups(self).items()
            },
            "images": [asdict(image) for image in self.images],
        }


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
    packages = ("tilepress", "numpy", "numba", "imagecodecs", "pyjpegls")
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
        Names out of ``PEERS`` and "tilepress[@TIER][:MODEL]". Default: ``LOSSLESS_CODECS``,
        near-lossless ``NEAR_CODECS``, for speeds all.
    manifest :
        Tab-separated table with columns "file" (relative to the table) and "class".
    max_errors :
        One table of sizes each; 0 is lossless.
    cache :
        JSON file that keeps the peers' sizes between runs: JPEG XL's effort 9 is slow.
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
        if name not in PEERS
    }
    if not sizes:
        names = {}
    bench = Bench(results=[BenchResult(codecs=_columns(names[k]), max_error=k) for k in names])
    classes, known = _classes(manifest), SizeCache.load(cache)
    workload = Workload(speed.limit_bytes) if speed is not None else None
    for found in read_images(sources):
        path, info, samples = found.files[0], found.info, found.samples
        if info is None or samples is None:
            plain = _read_with_gdal(Path(path))
            if plain is None:
                bench.failures.append(f"{path}: {found.failure}")
                continue
            info, samples = plain
        kind = _class_of(path, classes)
        if workload is not None:
            workload.add(samples, _bands(info), kind, info.nodata)
        for result in bench.results:
            if refusal := info.refusal(result.loss):
                bench.skipped.append(f"{path}: {refusal}")
                continue
            task = _Task(path, kind, info, samples, result.max_error)
            try:
                result.images.append(_measure(task, names[result.max_error], ours, known))
            except TilepressError as exc:
                bench.failures.append(f"{path}: {exc}")
        known.save()
        if on_step is not None and sizes:
            on_step(path)
    if workload is not None and speed is not None:
        bench.speed = _speeds(workload, speed, codecs, ours, on_step)
    return bench


def _columns(names: Sequence[str]) -> tuple[str, ...]:
    peers = [name for name in names if name in PEERS]
    return (*names, BEST) if len(peers) > 1 else tuple(names)


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
        [name for name in SPEED_PEERS if codecs is None or name.split()[0] in codecs],
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
    coder = (codec or OurCodec(OURS)).open(max_error, info.nodata)
    grid = choose_grid(samples.shape, samples.dtype.itemsize)
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
    peers = peer_sizes(
        [name for name in names if name in PEERS],
        planes,
        bands=bands,
        max_error=task.max_error,
        nodata=info.nodata,
        cache=cache,
    )
    found |= {name: size.bytes for name, size in peers.items()}
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
        remarks=tuple(dict.fromkeys(size.remark for size in peers.values() if size.remark)),
    )


def _bands(info: ImageInfo) -> int:
    """Return how many planes belong together, band fastest."""
    return info.shape[-3] if len(info.axes) > 2 and info.axes[-3] == "band" else 1


# --- reading ---------------------------------------------------------------------------------


def read_images(sources: Sequence[str | Path], stack: str | None = None) -> Iterator[FoundImage]:
    """Discover and read whole images, one at a time; what cannot be read says why."""
    for found in discover(sources, stack):
        if isinstance(found, Failure):
            yield FoundImage((str(found.path),), failure=str(found.error))
            continue
        try:
            source = open_source(found)
        except SourceError as exc:
            yield FoundImage(found.paths, failure=str(exc))
            continue
        try:
            shape = source.info.shape
            samples = source.read(Box((0,) * len(shape), shape))
            yield FoundImage(found.paths, found, source.info, samples)
        except SourceError as exc:
            yield FoundImage(found.paths, failure=str(exc))
        finally:
            source.close()


def _read_with_gdal(path: Path) -> tuple[ImageInfo, Samples] | None:
    """Read what ``compress`` does not take (PNG, JP2, HGT …): a codec can be judged on it."""
    import rasterio
    from rasterio.errors import NotGeoreferencedWarning, RasterioError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(path) as image:
                samples = image.read()
    except (RasterioError, OSError):
        return None
    if samples.dtype.kind not in "buif":
        return None
    if samples.shape[0] == 1:
        samples = samples[0]
    axes = ("band", "y", "x")[-samples.ndim :]
    return (
        ImageInfo(name=path.stem, axes=axes, shape=samples.shape, dtype=samples.dtype),
        samples,
    )


def _classes(manifest: Path | None) -> dict[str, str]:
    """Return class by absolute path (a file's, or a folder's) of a manifest."""
    if manifest is None:
        return {}
    with manifest.open(newline="") as table:
        rows = list(csv.DictReader(table, delimiter="\t"))
    if not rows or not {"file", "class"} <= set(rows[0]):
        raise UsageError(f"reading classes: {manifest} has no columns 'file' and 'class'")
    return {os.path.normpath(manifest.resolve().parent / row["file"]): row["class"] for row in rows}


def _class_of(path: str, classes: Mapping[str, str]) -> str:
    """Return the class of a file, or of the folder that it lies in; "all" if none is known."""
    place = Path(path).resolve()
    known = (classes.get(str(part)) for part in (place, *place.parents))
    return next((kind for kind in known if kind is not None), "all")


# --- figures ---------------------------------------------------------------------------------


def bits_per_sample(images: Sequence[BenchImage], codec: str) -> float | None:
    """Return all bits over all samples; None where the codec did not take one of the images."""
    sizes = [image.sizes.get(codec) for image in images]
    known = [size for size in sizes if size is not None]
    if not known or len(known) < len(sizes):
        return None
    return 8 * sum(known) / sum(image.samples for image in images)


def change(images: Sequence[BenchImage], codec: str, reference: str) -> float | None:
    """Return by how many per cent the codec's size differs from the reference's."""
    ours, theirs = bits_per_sample(images, codec), bits_per_sample(images, reference)
    return None if ours is None or not theirs else 100 * (ours / theirs - 1)


def mean_change(
    classes: Sequence[Sequence[BenchImage]], codec: str, reference: str
) -> float | None:
    """Return the mean over classes, each counting once; None where no class has a figure."""
    changes = [change(images, codec, reference) for images in classes]
    known = [value for value in changes if value is not None]
    return float(np.mean(known)) if known else None


def class_groups(result: BenchResult) -> dict[str, list[list[BenchImage]]]:
    """Return the groups of classes that get a mean: all, flat ones, volumes and bands.

    A class counts as flat if most of its images are.
    """
    classes = list(result.by_class().values())
    flat = [images for images in classes if 2 * sum(i.flat for i in images) > len(images)]
    deep = [images for images in classes if images not in flat]
    groups = {"mean over classes": classes} if len(classes) > 1 else {}
    if flat and deep:
        groups |= {"… of 2-D images": flat, "… of volumes and bands": deep}
    return groups


def file_table(result: BenchResult) -> Figures:
    """Return bits per sample of every image."""
    table = _table("bits per sample", "image", "samples", result)
    for kind, images in result.by_class().items():
        for image in images:
            shape = " × ".join(map(str, image.shape))
            table.rows.append(
                (
                    f"{kind}: {Path(image.path).name}" if kind != "all" else Path(image.path).name,
                    f"{image.dtype} {shape}",
                    *_cells([image], result),
                )
            )
    return table


def class_table(result: BenchResult) -> Figures:
    """Return bits per sample of every class, and the mean over the classes of the differences."""
    table = _table("bits per sample by class", "class", "images", result)
    for kind, images in result.by_class().items():
        table.rows.append((kind, str(len(images)), *_cells(images, result)))
    if not result.deltas:
        return table
    for title, classes in class_groups(result).items():
        means = [_percent(mean_change(classes, *delta)) for delta in result.deltas]
        count = str(sum(map(len, classes)))
        table.totals.append((title, count, *("" for _ in result.codecs), *means))
    return table


def _table(title: str, first: str, second: str, result: BenchResult) -> Figures:
    title += f", {result.loss}"
    several = len(result.ours) > 1
    deltas = [
        f"Δ {reference}" + (f" ({name})" if several else "") for name, reference in result.deltas
    ]
    table = Figures(title, (first, second, *result.codecs, *deltas))
    if "jpegxl" in result.codecs:
        table.notes.append("jpegxl: the best of efforts 3, 7 and 9; RGB also as one image")
    if not result.loss.is_lossless and "jpegls" in result.codecs:
        table.notes.append("jpegls: NEAR = max error, or lossless on quantised samples")
    if BEST in result.codecs:
        table.notes.append("best: the smallest of all other codecs, plane by plane")
    return table


def _cells(images: Sequence[BenchImage], result: BenchResult) -> list[str]:
    bits = [bits_per_sample(images, codec) for codec in result.codecs]
    changes = [change(images, *delta) for delta in result.deltas]
    return [*("–" if value is None else f"{value:.3f}" for value in bits), *map(_percent, changes)]


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:+.1f} %"
