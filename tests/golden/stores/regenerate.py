"""Write the golden stores and their sources, on purpose only.

Run: python -m tests.golden.stores.regenerate [FOLDER]

    sources.tar.xz    what they were made of
    KIND.tar.xz       lossless/KIND.zarr/…, and near/KIND.zarr/…, of which each sample may be off
    slide.tar.xz      a source more, whose image has levels
    format-N.tar.xz   stores of format N: even ones as of images that are not small, odd ones as of
                      small ones
    lossy.tar.xz      CODEC.zarr/… of one image, coded for a target
    targets.tar.xz    NAME.zarr/… of the same, whose configuration says of what its target holds

Archives are never changed: the script adds those that are missing and leaves the others as they
are. What it adds carries the versions of the libraries that are at work.
"""

from __future__ import annotations

import argparse
import io
import os
import shutil
import tarfile
import tempfile
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import rasterio
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from tilepress.pipeline.archive import plan
from tilepress.pipeline.archive.private import PRIVATE
from tilepress.pipeline.image import grid as geometry
from tilepress.pipeline.store import lean
from tilepress.workflows.run.compress import compress

from ...helpers.slide_files import APERIO, write_slide

FOLDER = Path(__file__).parent

TIME_NS = 1_700_000_000_000_000_000
"""Time of all sources: it is part of what a store knows them by."""

CASES = {
    "array": ("volume.npy", {"tile": 32}),
    "geotiff": ("scene.tif", {"tile": 48}),
    "stack": ("stack", {"stack": "*_B*.tif"}),
    "dicom": ("series", {"tile": 32}),
}
"""Kind of source: what is compressed, below the sources, and how."""

SEVERAL_SHARDS = ("geotiff", "dicom", "levels")
"""Kinds whose stores have a shard per chunk; the others are of one shard."""

MODEL = "wave-2"
BOUNDS = {"lossless": 0, "near": 2}

SLIDE = ("slide.tif", {"tile": 32})
"""As one of ``CASES``; there is none of format 1."""

LEVELS = ("scene.tif", {"tile": 48, "levels": "2"})
"""As one of ``CASES``, with levels that are made; there is none before format 4."""

SINCE = {
    2: ("geotiff", "dicom", "slide"),
    3: ("geotiff", "dicom"),
    4: ("geotiff", "dicom", "slide", "levels"),
    5: ("geotiff", "dicom"),
}
"""Kinds of which there are stores of a later format."""

ROOMY = (2, 4)
"""Formats of which all stores are written as those of images that are not small."""

LOSSY: dict[str, dict[str, dict[str, Any]]] = {
    "lossy": {
        "jpegls": {"codec": "jpegls", "psnr": 40.0},
        "jpeg2000": {"codec": "jpeg2000", "bits_per_sample": 3.0},
    },
    "targets": {
        "visible": {"codec": "ntc", "psnr": 40.0},
        "tiles": {"codec": "ntc", "psnr": 40.0, "per_tile": True},
        "bits": {"codec": "ntc", "bits_per_sample": 2.0, "per_tile": True},
    },
    "dependent": {
        "image": {"codec": "ntc", "psnr": 40.0},
        "bounded": {"codec": "ntc", "psnr": 40.0, "max_error": 30.0},
    },
}
"""Stores by archive and name: how they were coded. The first are of a codec whose decoders give the
same samples, and of one whose may differ."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=FOLDER)
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        sources = Path(scratch) / "sources"
        if not (folder / "sources.tar.xz").exists():
            write_sources(sources)
            pack(sources, folder / "sources.tar.xz")
        if not (folder / "slide.tar.xz").exists():
            write_pyramid(Path(scratch) / "slide/slide.tif")
            pack(Path(scratch) / "slide", folder / "slide.tar.xz")
        unpack_sources(sources, folder)
        for kind in CASES:
            archive = folder / f"{kind}.tar.xz"
            if not archive.exists():
                for loss, bound in BOUNDS.items():
                    write_store(kind, sources, Path(scratch) / kind / loss / f"{kind}.zarr", bound)
                pack(Path(scratch) / kind, archive)
        for version, kinds in SINCE.items():
            archive = folder / f"format-{version}.tar.xz"
            if archive.exists():
                continue
            written = Path(scratch) / f"format-{version}"
            for kind in kinds:
                for loss, bound in BOUNDS.items():
                    with roomy() if version in ROOMY else nullcontext():
                        write_store(kind, sources, written / loss / f"{kind}.zarr", bound)
            pack(written, archive)
        for archive, stores in LOSSY.items():
            if (folder / f"{archive}.tar.xz").exists():
                continue
            for name, options in stores.items():
                store = Path(scratch) / archive / f"{name}.zarr"
                report = compress(sources / "scene.tif", store, workers=0, tile=48, **options)
                assert report.ok, list(report.failures)
            pack(Path(scratch) / archive, folder / f"{archive}.tar.xz")


def roomy() -> AbstractContextManager[object]:
    """Let stores be written as those of images that are not small."""
    return mock.patch.object(lean, "LEAN_STORED_BYTES", -1)


def unpack_sources(folder: Path, golden: Path = FOLDER) -> None:
    """Write what the stores were made of below a folder."""
    for name in ("sources", "slide"):
        unpack(golden / f"{name}.tar.xz", folder)


def write_store(kind: str, sources: Path, store: Path, max_error: float) -> None:
    """Write the store of a kind as the golden one was written, with the model of that time.

    A series goes into an archive that was begun before there were keys: its stores tell study and
    series by plain hashes, as all stores did then.
    """
    name, options = case(kind)
    several = mock.patch.object(plan, "choose_grid", _shards_of_one_chunk)
    target = store if kind != "dicom" else _archive_without_key(store.parent / ".archive")
    with several if kind in SEVERAL_SHARDS else nullcontext():
        report = compress(
            sources / name, target, workers=0, max_error=max_error, model=MODEL, **options
        )
    assert report.ok, list(report.failures)
    if target != store:
        (written,) = target.glob("*.zarr")
        written.rename(store)
        shutil.rmtree(target)


def case(kind: str) -> tuple[str, dict[str, Any]]:
    """Return what is compressed of a kind, below the sources, and how."""
    return {"slide": SLIDE, "levels": LEVELS, **CASES}[kind]


def _archive_without_key(folder: Path) -> Path:
    private = folder / PRIVATE
    private.mkdir(0o700, parents=True)
    (private / "key.json").write_text('{"version":1,"key":null}')
    return folder


def write_sources(folder: Path) -> None:
    folder.mkdir(parents=True)
    np.save(folder / "volume.npy", smooth((3, 40, 52), 0).astype(np.int16) - 700)
    mask = np.zeros((70, 90), np.uint8)
    mask[10:60, 20:] = 255
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(
            folder / "scene.tif", "w", driver="GTiff", width=90, height=70, count=1,
            dtype="uint16", crs="EPSG:32631", compress="deflate",
            transform=rasterio.Affine(10, 0, 5e5, 0, -10, 4e6),
        ) as file,
    ):  # fmt: skip
        file.write(smooth((70, 90), 1), 1)
        file.write_mask(mask)
        file.update_tags(1, note="golden")
    (folder / "stack").mkdir()
    for band in (1, 2, 10):
        samples = smooth((40, 52), 10 + band)
        samples[:5, :7] = 0
        with rasterio.open(
            folder / f"stack/s_B{band}.tif", "w", driver="GTiff", width=52, height=40, count=1,
            dtype="uint16", crs="EPSG:32631", compress="deflate", nodata=0,
            transform=rasterio.Affine(30, 0, 5e5, 0, -30, 4e6),
        ) as file:  # fmt: skip
            file.write(samples, 1)
    (folder / "series").mkdir()
    for number in range(3):
        _write_slice(folder / f"series/{number}.dcm", number)


def write_pyramid(path: Path) -> None:
    """Write a tiled image with two levels of lower resolution, as scanners of slides do."""
    whole = (smooth((3, 70, 90), 50) >> 4).astype(np.uint8)
    levels = [np.ascontiguousarray(whole[:, :: 2**n, :: 2**n]) for n in range(3)]
    write_slide(path, levels, tile=16, texts=[f"{APERIO}|AppMag = 20|MPP = 0.5"] * 3)


def smooth(shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Return twelve-bit samples that have something to predict."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[-2], : shape[-1]]
    plane = 200 * np.sin(y / 17.0) + 150 * np.cos(x / 23.0) + 900
    return (plane + rng.integers(0, 8, shape)).astype(np.uint16)


def unpack(archive: Path, folder: Path) -> None:
    """Write what was packed below a folder; all of one time."""
    with tarfile.open(archive) as packed:
        for member in packed:
            data = packed.extractfile(member)
            assert data is not None, "only files are packed"
            path = folder / member.name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data.read())
            os.utime(path, ns=(TIME_NS, TIME_NS))


def pack(folder: Path, archive: Path) -> None:
    """Write every file below a folder into an archive."""
    with tarfile.open(archive, "w:xz", preset=9) as packed:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            data = path.read_bytes()
            member = tarfile.TarInfo(path.relative_to(folder).as_posix())
            member.size = len(data)
            packed.addfile(member, io.BytesIO(data))


def _write_slice(path: Path, number: int) -> None:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = f"1.2.3.7.{number}"
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset(path, {}, file_meta=meta, preamble=bytes(128))
    dataset.SOPClassUID, dataset.SOPInstanceUID = CTImageStorage, f"1.2.3.7.{number}"
    dataset.SeriesInstanceUID, dataset.StudyInstanceUID = "1.2.3.7", "1.2.3"
    dataset.Modality, dataset.InstanceNumber = "CT", number + 1
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = 40, 52, 1
    dataset.PhotometricInterpretation, dataset.PixelRepresentation = "MONOCHROME2", 0
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.ImagePositionPatient = [0, 0, 2.5 * number]
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    dataset.PixelSpacing = [0.5, 0.5]
    dataset.RescaleSlope, dataset.RescaleIntercept = 1, -1024
    dataset.PixelData = smooth((40, 52), 30 + number).tobytes()
    dataset.save_as(path)


def _shards_of_one_chunk(
    shape: tuple[int, ...], itemsize: int, *, tile: int, block: object = None
) -> geometry.ShardGrid:
    return geometry.choose_grid(shape, itemsize, tile=tile, max_shard_bytes=1)


if __name__ == "__main__":
    main()
