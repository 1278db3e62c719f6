"""Compare tilepress with established codecs on a user's own images, by file and by class.

tilepress counts every byte of the shards that a store of the image would hold (records, index,
padding); each peer gets whole planes, its strongest sane setting, and no container at all. So the
comparison leans towards the peers. See ``peers`` for how samples reach them.

Near-lossless (``max_error`` k > 0): the peers code floor((x + k) / (2k + 1)), which is what a
person would do with them.
"""

from __future__ import annotations

import csv
import json
import os
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.table import Table

from tilepress.codecs.errors import SourceError, TilepressError, UsageError
from tilepress.codecs.tile import TileCodec
from tilepress.pipeline.discover import Failure, discover, open_source
from tilepress.pipeline.geometry import Box, choose_grid
from tilepress.pipeline.shard import encode_shard
from tilepress.pipeline.source import ImageInfo, SourceSpec
from tilepress.workflows.peers import PEERS, SizeCache, peer_size

__all__ = [
    "DEFAULT_CODECS",
    "REFERENCE",
    "BenchImage",
    "BenchResult",
    "FoundImage",
    "class_table",
    "file_table",
    "read_images",
    "run_bench",
    "tilepress_size",
]

OURS = "tilepress"
REFERENCE = "jpegxl"
"""The codec that Δ % refers to: the best of its efforts 3, 7 and 9, image by image."""

DEFAULT_CODECS = (OURS, *PEERS)

Samples = npt.NDArray[Any]


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
    """All images of one comparison."""

    codecs: tuple[str, ...]
    max_error: float = 0
    images: list[BenchImage] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def by_class(self) -> dict[str, list[BenchImage]]:
        classes: dict[str, list[BenchImage]] = {}
        for image in sorted(self.images, key=lambda image: (image.kind, image.path)):
            classes.setdefault(image.kind, []).append(image)
        return classes

    def to_json(self) -> dict[str, Any]:
        """Return the result as JSON-able values, with the figures by class."""
        return {
            "version": 1,
            "codecs": list(self.codecs),
            "max_error": self.max_error,
            "classes": {
                kind: {codec: bits_per_sample(images, codec) for codec in self.codecs}
                for kind, images in self.by_class().items()
            },
            "images": [asdict(image) for image in self.images],
            "failures": self.failures,
        }


def bits_per_sample(images: Sequence[BenchImage], codec: str) -> float | None:
    """Return all bits over all samples; None where the codec did not take one of the images."""
    sizes = [image.sizes.get(codec) for image in images]
    known = [size for size in sizes if size is not None]
    if not known or len(known) < len(sizes):
        return None
    return 8 * sum(known) / sum(image.samples for image in images)


def run_bench(
    sources: Sequence[str | Path],
    codecs: Sequence[str] = DEFAULT_CODECS,
    json_path: Path | None = None,
    manifest: Path | None = None,
    *,
    max_error: float = 0,
    cache: Path | None = None,
    on_image: Callable[[BenchImage], None] | None = None,
) -> BenchResult:
    """Measure every image below ``sources`` with every codec.

    Parameters
    ----------
    codecs :
        Names out of ``DEFAULT_CODECS``; "tilepress:MODEL" measures another model of ours.
    json_path :
        Where the result is written as JSON.
    manifest :
        Tab-separated table with columns "file" (relative to the table) and "class".
    cache :
        JSON file that keeps the peers' sizes between runs: JPEG XL's effort 9 is slow.
    """
    unknown = [name for name in codecs if name not in PEERS and name.split(":")[0] != OURS]
    if unknown:
        raise UsageError(
            f"comparing codecs: got {', '.join(unknown)}, want {', '.join(DEFAULT_CODECS)}"
        )
    result = BenchResult(codecs=tuple(codecs), max_error=max_error)
    classes = _classes(manifest)
    sizes = SizeCache.load(cache)
    for found in read_images(sources):
        path, info, samples = found.files[0], found.info, found.samples
        if info is None or samples is None:
            plain = _read_with_gdal(Path(path))
            if plain is None:
                result.failures.append(f"{path}: {found.failure}")
                continue
            info, samples = plain
        try:
            image = _measure(path, info, samples, codecs, max_error, sizes)
        except TilepressError as exc:
            result.failures.append(f"{path}: {exc}")
            continue
        image = _with_class(image, classes)
        result.images.append(image)
        sizes.save()
        if on_image is not None:
            on_image(image)
    if json_path is not None:
        json_path.write_text(json.dumps(result.to_json(), indent=2) + "\n")
    return result


def tilepress_size(
    samples: Samples, info: ImageInfo, *, max_error: float = 0, model: str = "auto"
) -> int:
    """Return the bytes of all shards that a store of the image would hold, every record checked."""
    codec = TileCodec(max_error=max_error, nodata=info.nodata, model=model)
    grid = choose_grid(samples.shape, samples.dtype.itemsize)
    fill = 0 if info.nodata is None else info.nodata
    total = 0
    for index in grid.indices():
        box = grid.box(index)
        part = np.ascontiguousarray(samples[box.slices])
        total += encode_shard(codec, part, box, grid, index, fill).length
    return total


def _measure(
    path: str,
    info: ImageInfo,
    samples: Samples,
    codecs: Sequence[str],
    max_error: float,
    cache: SizeCache,
) -> BenchImage:
    bands = info.shape[-3] if len(info.axes) > 2 and info.axes[-3] == "band" else 1
    planes = _quantised(samples, max_error).reshape(-1, *samples.shape[-2:])
    sizes: dict[str, int] = {}
    remarks: list[str] = []
    seconds = 0.0
    for name in codecs:
        if name in PEERS:
            try:
                peer = peer_size(name, planes, bands=bands, cache=cache)
            except ValueError:  # the peer does not take such samples: it has no figure
                continue
            sizes[name] = peer.bytes
            if peer.remark and peer.remark not in remarks:
                remarks.append(peer.remark)
        else:
            start = time.perf_counter()
            model = name.partition(":")[2] or "auto"
            sizes[name] = tilepress_size(samples, info, max_error=max_error, model=model)
            seconds += time.perf_counter() - start
    return BenchImage(
        path=path,
        kind="all",
        shape=samples.shape,
        dtype=str(samples.dtype),
        samples=samples.size,
        raw_bytes=samples.nbytes,
        sizes=sizes,
        seconds=round(seconds, 3),
        remarks=tuple(remarks),
    )


def _quantised(samples: Samples, max_error: float) -> Samples:
    """Return what a person would give a lossless peer to stay within ``max_error``."""
    if not max_error or samples.dtype.kind not in "iu":
        return samples
    k = int(max_error)
    return ((samples.astype(np.int64) + k) // (2 * k + 1)).astype(samples.dtype)


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


def _with_class(image: BenchImage, classes: Mapping[str, str]) -> BenchImage:
    path = Path(image.path).resolve()
    for place in (path, *path.parents):
        if str(place) in classes:
            return BenchImage(**{**asdict(image), "kind": classes[str(place)]})
    return image


# --- tables ----------------------------------------------------------------------------------


def file_table(result: BenchResult) -> Table:
    """Return bits per sample of every image."""
    table = _table("bits per sample", "image", "samples", result)
    for kind, images in result.by_class().items():
        for image in images:
            shape = " × ".join(map(str, image.shape))
            table.add_row(
                f"{kind}: {Path(image.path).name}" if kind != "all" else Path(image.path).name,
                f"{image.dtype} {shape}",
                *_cells([image], result),
            )
    return table


def class_table(result: BenchResult) -> Table:
    """Return bits per sample of every class, and the mean over the classes of the differences."""
    table = _table("bits per sample by class", "class", "images", result)
    changes: dict[str, list[float]] = {}
    for kind, images in result.by_class().items():
        table.add_row(kind, str(len(images)), *_cells(images, result))
        for name in _ours(result):
            change = _change(images, name)
            if change is not None:
                changes.setdefault(name, []).append(change)
    if len(result.by_class()) > 1 and _ours(result):
        means = [
            f"{np.mean(changes[name]):+.1f} %" if name in changes else "–" for name in _ours(result)
        ]
        table.add_section()
        table.add_row("mean over classes", "", *("" for _ in result.codecs), *means)
    return table


def _table(title: str, first: str, second: str, result: BenchResult) -> Table:
    if result.max_error:
        title += f", max error {result.max_error:g}"
    table = Table(title=title)
    table.add_column(first, overflow="fold")
    table.add_column(second, justify="right")
    for codec in result.codecs:
        table.add_column(codec, justify="right")
    if REFERENCE in result.codecs:
        for name in _ours(result):
            suffix = f" ({name})" if len(_ours(result)) > 1 else ""
            table.add_column(f"Δ {REFERENCE}{suffix}", justify="right")
    return table


def _ours(result: BenchResult) -> list[str]:
    if REFERENCE not in result.codecs:
        return []
    return [codec for codec in result.codecs if codec not in PEERS]


def _change(images: Sequence[BenchImage], codec: str) -> float | None:
    """Return by how many per cent the codec's size differs from the reference's."""
    ours, theirs = bits_per_sample(images, codec), bits_per_sample(images, REFERENCE)
    return None if ours is None or not theirs else 100 * (ours / theirs - 1)


def _cells(images: Sequence[BenchImage], result: BenchResult) -> list[str]:
    bits = [bits_per_sample(images, codec) for codec in result.codecs]
    changes = [_change(images, name) for name in _ours(result)]
    return [
        *("–" if value is None else f"{value:.3f}" for value in bits),
        *("–" if value is None else f"{value:+.1f} %" for value in changes),
    ]
