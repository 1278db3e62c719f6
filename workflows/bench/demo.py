"""Run the main job on real images and check everything that it promises.

An archive as it may lie on a disk (three Landsat bands, CT, MR, a radiograph) is compressed through
a local Dask cluster, compared with what other codecs make of it, verified against its sources, read
by a process that knows xarray only, exported, and compared with what it was.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.markup import escape
from rich.table import Table

import tilepress
from tilepress.errors import TilepressError, UsageError
from tilepress.examples import data
from tilepress.pipeline.archive.outcome import ImageResult
from tilepress.pipeline.image.info import ImageInfo
from tilepress.pipeline.image.source import SourceSpec
from tilepress.pipeline.sources.open import open_source
from tilepress.pipeline.store.reader import StoreReader
from tilepress.workflows.bench.images import read_images
from tilepress.workflows.bench.sizes import SizeCache, anchor_size

__all__ = ["run_demo"]

EXIT_DONE, EXIT_FAILED = 0, 1

STACK = "*_B?.tif"
NEAR_LOSSLESS_K = 2
NEAR_LOSSLESS_IMAGES = ("landsat", "693_UNCR")
MARKER = ".tilepress-demo"
"""Lies in a folder that a demo made, and may therefore clear."""

ANCHORS = {"zstd": "zstd", "jpegls": "JPEG-LS", "jpeg2000": "JPEG 2000", "jpegxl": "JPEG XL"}

READ_WITH_XARRAY = """
import hashlib, json, sys
import xarray
image = xarray.open_zarr(sys.argv[1], group="0")["image"]
samples = image.to_numpy()
knows = sorted(name for name in sys.modules if name.startswith("tilepress.workflows"))
import rioxarray
print(json.dumps({
    "sha256": hashlib.sha256(samples.tobytes()).hexdigest(),
    "dtype": str(samples.dtype),
    "shape": samples.shape,
    "crs": str(image.rio.crs),
    "workflows": knows,
}))
"""
"""What a reader does who never heard of tilepress; the codec comes by entry point."""

Samples = npt.NDArray[Any]


@dataclass(slots=True)
class _Checks:
    """Promises, each kept or not, told as they are checked."""

    console: Console
    failed: list[str] = field(default_factory=list)
    passed: int = 0

    def tell(self, promise: str, kept: bool, found: str = "") -> None:
        sign = "[green]✓[/]" if kept else "[red]✗[/]"
        text = escape(f"{promise}: {found}" if found else promise)
        self.console.print(f"  {sign} {text}", highlight=False)
        if kept:
            self.passed += 1
        else:
            self.failed.append(promise)

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """Head a group of checks; an error of ours is a promise not kept, and the demo goes on."""
        self.console.print(f"\n[bold]{title}[/]")
        try:
            yield
        except TilepressError as exc:
            self.tell(title, kept=False, found=str(exc))


@dataclass(frozen=True, slots=True)
class _Image:
    """One image of the archive: what it was, and the store that it became."""

    spec: SourceSpec
    info: ImageInfo
    samples: Samples
    result: ImageResult

    @property
    def files(self) -> tuple[Path, ...]:
        return tuple(map(Path, self.spec.paths))

    @property
    def name(self) -> str:
        return self.files[0].stem if len(self.files) == 1 else self.files[0].parent.name

    @property
    def is_dicom(self) -> bool:
        return self.info.medical is not None


def run_demo(out: Path, console: Console, *, workers: int | None = None) -> int:
    """Run the demonstration in the folder ``out``; return the exit code.

    0: every check passed. 1: one failed, or the DICOM samples are not installed, so that their half
    could not be shown.
    """
    _prepare(out)
    checks = _Checks(console)
    missing = _lay_out_sources(out / "sources")
    if missing:
        console.print(f"[yellow]without DICOM:[/] {escape(missing)}", highlight=False)
    line = f"tilepress compress {out / 'sources'} {out / 'archive'} --stack '{STACK}'"
    console.print(f"[bold]{escape(line)}[/]", highlight=False)
    report = tilepress.compress(
        out / "sources",
        out / "archive",
        stack=STACK,
        workers=workers,
        report=out / "report.json",
        show_paths=True,  # of public samples; by their paths, images are known again
    )
    for failure in report.failures:
        checks.tell(f"compressing {failure.source}", kept=False, found=failure.message)
    console.print(f"{len(report.images)} images in {report.seconds:.1f} s", highlight=False)
    images = list(_images(out / "sources", {image.source: image for image in report.images}))
    checks.tell("every image is a sealed store", len(images) == len(report.images) > 0)

    console.print()
    console.print(_sizes(images))
    console.print(
        "Peers get whole planes at their strongest setting: zstd 19 with byte shuffle, JPEG XL the "
        "best of efforts 3, 7 and 9. Every size is of data that decoded to the same samples. The "
        "whole store also holds headers, coordinates, metadata and checksums.",
        style="dim",
    )
    with checks.step("verify: every checksum, and every sample against the source"):
        for image in images:
            with closing(open_source(image.spec)) as source:
                damages = tilepress.verify(image.result.store, source=source)
            checks.tell(f"{image.name} is sound", not damages, "; ".join(map(str, damages[:3])))
    with checks.step("read in a fresh process that imports xarray"):
        for image in images:
            _check_xarray(image, checks)
    with checks.step("export, and compare with what it was"):
        for image in images:
            _check_export(image, out / "export" / image.name, checks)
    with checks.step(f"near-lossless: no sample changes by more than {NEAR_LOSSLESS_K}"):
        for image in images:
            if image.name in NEAR_LOSSLESS_IMAGES:
                _check_near_lossless(image, out / "near-lossless", workers, checks)

    console.print()
    return _conclude(checks, missing, out)


def _conclude(checks: _Checks, missing: str, out: Path) -> int:
    if checks.failed:
        checks.console.print(f"[red]{len(checks.failed)} checks failed:[/]")
        for promise in checks.failed:
            checks.console.print(f"  {escape(promise)}", highlight=False)
        return EXIT_FAILED
    if missing:
        checks.console.print(
            f"[yellow]{checks.passed} checks passed, but none on DICOM:[/] {escape(missing)}",
            highlight=False,
        )
        return EXIT_FAILED
    checks.console.print(
        f"[green]all checks passed[/] ({checks.passed}); results are in {escape(str(out))}"
    )
    return EXIT_DONE


def _prepare(out: Path) -> None:
    """Make an empty folder; clear one only if a demo made it."""
    if out.exists() and any(out.iterdir()):
        if not (out / MARKER).exists():
            raise UsageError(f"running the demo: {out} holds other things; name a new folder")
        shutil.rmtree(out)
    out.mkdir(parents=True, exist_ok=True)
    (out / MARKER).touch()


def _lay_out_sources(folder: Path) -> str:
    """Copy the images as an archive may hold them; return why there is no DICOM, or nothing."""
    (folder / "landsat").mkdir(parents=True)
    for path in data.landsat_bands():
        shutil.copy(path, folder / "landsat")
    try:
        dicom = data.dicom_files()
    except data.MissingSamples as missing:
        return str(missing)
    (folder / "dicom").mkdir()
    for path in dicom.values():
        shutil.copy(path, folder / "dicom")
    return ""


def _images(folder: Path, results: dict[str, ImageResult]) -> Iterator[_Image]:
    """Read every image of the archive again, and find the store that it became."""
    for found in read_images([folder], STACK):
        result = results.get(found.files[0])
        if found.spec and found.info and found.samples is not None and result:
            yield _Image(found.spec, found.info, found.samples, result)


def _source_argument(image: _Image) -> Path:
    """Return what a person would name as the source: the file, or the folder of a stack."""
    return image.files[0] if len(image.files) == 1 else image.files[0].parent


# --- the table -------------------------------------------------------------------------------


def _sizes(images: list[_Image]) -> Table:
    table = Table(title="sizes in bytes")
    table.add_column("image")
    table.add_column("samples", justify="right")
    for column in ("raw", *ANCHORS.values()):
        table.add_column(column, justify="right")
    table.add_column("tilepress", justify="right", style="bold")
    for column in ("bits/sample", "ratio", "Δ JPEG XL", "whole store"):
        table.add_column(column, justify="right")
    cache = SizeCache()
    for image in images:
        planes = image.samples.reshape(-1, *image.samples.shape[-2:])
        bands = image.samples.shape[-3] if "band" in image.info.axes else 1
        others = [anchor_size(name, planes, bands=bands, cache=cache).bytes for name in ANCHORS]
        ours = _sample_bytes(image.result)
        table.add_row(
            image.name,
            f"{image.samples.dtype} {' × '.join(map(str, image.samples.shape))}",
            *(f"{size:,}" for size in (image.samples.nbytes, *others, ours)),
            f"{8 * ours / image.samples.size:.3f}",
            f"{image.samples.nbytes / ours:.2f}",
            f"{100 * (ours / others[-1] - 1):+.1f} %",
            f"{image.result.stored_bytes:,}",
        )
    return table


def _sample_bytes(result: ImageResult) -> int:
    """Return the bytes of the store's shards, which sizes of other codecs compare with."""
    return int(StoreReader.open(result.store).statement["stored_bytes"])


# --- the checks ------------------------------------------------------------------------------


def _check_xarray(image: _Image, checks: _Checks) -> None:
    promise = f"{image.name} opens with xarray.open_zarr, sample for sample"
    done = subprocess.run(  # noqa: S603  our own interpreter and our own words
        [sys.executable, "-c", READ_WITH_XARRAY, image.result.store],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        checks.tell(
            promise, kept=False, found=(done.stderr.strip().splitlines() or ["no word"])[-1]
        )
        return
    read = json.loads(done.stdout.splitlines()[-1])
    same = (
        read["sha256"] == hashlib.sha256(image.samples.tobytes()).hexdigest()
        and tuple(read["shape"]) == image.samples.shape
        and read["dtype"] == str(image.samples.dtype)
        and not read["workflows"]
    )
    crs_kept = image.is_dicom or read["crs"] not in ("", "None")
    crs = f", {read['crs']}" if not image.is_dicom else ""
    checks.tell(promise, same and crs_kept, f"{read['dtype']} {tuple(read['shape'])}{crs}")


def _check_export(image: _Image, out: Path, checks: _Checks) -> None:
    tilepress.export(image.result.store, out)
    exported = sorted(path for path in out.rglob("*") if path.is_file()) if out.is_dir() else [out]
    if len(exported) != len(image.files):
        found = f"{len(exported)} files for {len(image.files)}"
        checks.tell(f"{image.name} exports", kept=False, found=found)
        return
    if image.is_dicom:
        digest: Callable[[Path], str] = lambda path: hashlib.sha256(path.read_bytes()).hexdigest()  # noqa: E731
        same = sorted(map(digest, exported)) == sorted(map(digest, image.files))
        checks.tell(f"{image.name} comes back byte for byte", same)
        return
    differences = [
        text
        for was, now in zip(sorted(image.files), exported, strict=True)
        for text in _geotiff_differences(was, now)
    ]
    promise = f"{image.name} comes back with the same samples, grid and tags"
    checks.tell(promise, not differences, "; ".join(differences) or f"{len(exported)} files")


def _geotiff_differences(was: Path, now: Path) -> list[str]:
    """Name what differs between two GeoTIFF files."""
    import rasterio

    with rasterio.open(was) as a, rasterio.open(now) as b:
        found = {
            "samples": (a.read().tobytes(), b.read().tobytes()),
            "profile": (dict(a.profile), dict(b.profile)),
            "CRS": (a.crs, b.crs),
            "transform": (a.transform, b.transform),
            "nodata": (a.nodata, b.nodata),
            "tags": (a.tags(), b.tags()),
            "band tags": ([a.tags(i) for i in a.indexes], [b.tags(i) for i in b.indexes]),
            "descriptions": (a.descriptions, b.descriptions),
        }
    return [f"{what} of {now.name} differ" for what, (x, y) in found.items() if x != y]


def _check_near_lossless(image: _Image, out: Path, workers: int | None, checks: _Checks) -> None:
    k = NEAR_LOSSLESS_K
    stack = STACK if len(image.files) > 1 else None
    report = tilepress.compress(
        _source_argument(image),
        out / f"{image.name}.zarr",
        max_error=k,
        stack=stack,
        workers=workers,
    )
    promise = f"{image.name} within ±{k}"
    if report.failures:
        checks.tell(promise, kept=False, found=report.failures[0].message)
        return
    decoded = tilepress.open(report.images[0].store)["image"].to_numpy()
    worst = int(np.abs(decoded.astype(np.int64) - image.samples.astype(np.int64)).max())
    size, lossless = _sample_bytes(report.images[0]), _sample_bytes(image.result)
    checks.tell(
        promise,
        worst <= k,
        f"largest difference {worst}; {8 * size / image.samples.size:.3f} bits/sample, "
        f"{100 * (size / lossless - 1):+.0f} % against lossless",
    )
