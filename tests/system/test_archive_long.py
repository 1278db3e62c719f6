"""Archives of real images there and back: compress, verify, export, compare with other libraries.

What is compared is read by rasterio and pydicom alone, from the source and from the export.
"""

from __future__ import annotations

import faulthandler
import filecmp
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom
import pytest
import rasterio
from pydicom.dataset import Dataset
from rasterio.enums import ColorInterp
from typer.testing import CliRunner

from tilepress.pipeline.find.discover import discover, store_path
from tilepress.pipeline.find.walk import Failure
from tilepress.pipeline.image.source import SourceSpec
from tilepress.pipeline.verify import verify
from tilepress.workflows.cli.app import app

Command = Callable[..., subprocess.CompletedProcess[str]]

_TWELVE_MONKEYS = "tiff/haraldk-TwelveMonkeys/imageio/imageio-tiff/src/test/resources"
CORPUS = {
    # float64 with nodata; float32, LZW, predictor 3
    "floatingpoint-64bit.tif": f"{_TWELVE_MONKEYS}/tiff",
    "predictor-3-rgb-f32.tif": "tiff/image-rs-image-tiff/tests/images",
    # tiles and tags of bands; strips, planes apart
    "cog_band_tags.tif": "tiff/cogeotiff-rio-cogeo/tests/fixtures",
    "planar-striped-lzw.tif": f"{_TWELVE_MONKEYS}/tiff",
    # nine bands; mask of one bit; palette; JPEG (YCbCr) with a mask; alpha of 16 bits
    "multiband.tif": "tiff/mapserver-mapserver/msautotest/php/maps/data",
    "test3_with_1mask_1bit.tif": "tiff/mapserver-mapserver/msautotest/gdal/data",
    "palette-1c-8b.tiff": "tiff/image-rs-image-tiff/tests/images",
    "goes.tif": "tiff/rasterio-rasterio/tests/data",
    "RGBA.uint16.tif": "tiff/rasterio-rasterio/tests/data",
    # BigTIFF, big endian (ground control points and complex samples are in public/sat)
    "BigTIFFMotorola.tif": "tiff/image-rs-image-tiff/tests/images/bigtiff",
    # RLE in two colour frames; JPEG-LS; JPEG 2000; enhanced MR; colour; signed
    "SC_rgb_rle_2frame.dcm": "dicom/pydicom-pydicom/src/pydicom/data/test_files",
    "MR4_JLSL": "dicom/robyoung-dicom-test-files/data/WG04/JLSL",
    "CT2_J2KR": "dicom/robyoung-dicom-test-files/data/WG04/J2KR",
    "emri_small.dcm": "dicom/pypi-pydicom-data",
    "US-RGB-8-esopecho": "dicom/dcm4che-dcm4che/dcm4che-test-data/src/main/resources",
    "CT_small.dcm": "dicom/pydicom-pydicom/src/pydicom/data/test_files",
    # big endian; bits (segmentation); deflated; floats
    "MR_small_bigendian.dcm": "dicom/pydicom-pydicom/src/pydicom/data/test_files",
    "liver.dcm": "dicom/pypi-pydicom-data",
    "image_dfl.dcm": "dicom/pydicom-pydicom/src/pydicom/data/test_files",
    "parametric_map_float.dcm": "dicom/pydicom-pydicom-data/data_store/data",
}  # fmt: skip
"""Files of the corpus, by name, and the folders they are in."""

REFUSED: Mapping[str, Mapping[str, str]] = {
    "public": {},
    "corpus": {},
}
"""Files of an archive that are refused, and what the one line about each must say."""

LOSSLESS = frozenset({None, "lzw", "deflate", "packbits", "zstd", "lzma"})
"""Compressions that an export keeps."""

PIXEL_GROUP = 0x7FE0
GENERATED_DOMAINS = frozenset({"IMAGE_STRUCTURE", "DERIVED_SUBDATASETS"})


@dataclass
class Figures:
    """What a run over one archive came to."""

    images: int = 0
    files: int = 0
    bytes_in: int = 0
    raw_bytes: int = 0
    stores: int = 0
    bytes_of_stores: int = 0
    seconds: float = 0
    kept: int = 0
    """Stores that interrupted runs had sealed."""
    identical: int = 0
    objects: int = 0
    """Objects that were there before the stores were damaged, and again after their repair."""
    repair_seconds: float = 0
    mismatches: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)

    def text(self, name: str) -> str:
        repaired = (
            f"{self.objects} objects are as before after one of each store was damaged and "
            f"repaired, {self.repair_seconds:.0f} s"
        )
        lines = [
            f"\n{name}: {self.images} images of {self.files} files, {self.bytes_in} bytes in, "
            f"{self.raw_bytes} bytes decoded",
            f"  {self.stores} stores of {self.bytes_of_stores} bytes, headers and copies included, "
            f"{self.seconds:.0f} s",
            f"  {self.kept} stores were sealed by runs that were interrupted",
            f"  {self.identical} DICOM files came back byte for byte",
            f"  {repaired}",
            f"  mismatches: {len(self.mismatches)}; refused: {len(self.refused)}",
            *(f"  mismatch: {text}" for text in self.mismatches),
            *(f"  refused: {file}: {text}" for file, text in self.refused.items()),
        ]
        return "\n".join(lines)


def folder_of(name: str, shared_data: Path, scratch: Path) -> Path:
    """Return the folder to compress; the files chosen of the corpus are copied together."""
    if name == "public":
        return shared_data / "public"
    for file, parent in CORPUS.items():
        path = shared_data / "corpus" / parent / file
        target = scratch / "corpus" / parent.split("/")[0] / file
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    return scratch / "corpus"


def size_of(path: Path) -> int:
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def tree_of(path: Path) -> list[Path]:
    return sorted(file for file in path.rglob("*") if file.is_file())


# --- rasters ----------------------------------------------------------------------------------


def bits(samples: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Return samples as bytes, so that NaN payloads and signs of zero count."""
    return np.ascontiguousarray(samples).view(np.uint8)


def colours_of(dataset: Any) -> list[ColorInterp]:
    """Return the meanings of bands; the only band of a TIFF cannot be without one."""
    colours = list(dataset.colorinterp)
    is_silent = dataset.driver != "GTiff" and colours == [ColorInterp.undefined]
    return [ColorInterp.gray] if is_silent else colours


def colour_table(dataset: Any, band: int) -> dict[int, tuple[int, ...]] | None:
    try:
        return dict(dataset.colormap(band))
    except ValueError:
        return None


def tags_of(dataset: Any) -> dict[str, dict[str, str]]:
    """Return the tags of a file by domain, without what other formats cannot say or leave out.

    A TIFF has no place for the name of a colour profile; GDAL reads from every GeoTIFF that a
    sample stands for an area, unless it says "Point".
    """
    domains = {"", *dataset.tag_namespaces()} - GENERATED_DOMAINS
    tags = {domain: dataset.tags(ns=domain or None) for domain in domains}
    tags.get("COLOR_PROFILE", {}).pop("SOURCE_ICC_PROFILE_NAME", None)
    if tags[""].get("AREA_OR_POINT") == "Area":
        del tags[""]["AREA_OR_POINT"]
    return {domain: found for domain, found in tags.items() if found}


def raster_facts(dataset: Any) -> dict[str, Any]:
    """Return what must come back of a raster beside its samples."""
    bands = list(dataset.indexes)
    return {
        "size": (dataset.count, *dataset.shape),
        "dtypes": dataset.dtypes,
        "crs": dataset.crs,
        "transform": tuple(dataset.transform),
        "nodata": str(dataset.nodatavals),
        "bands": (dataset.descriptions, dataset.units, dataset.scales, dataset.offsets),
        "colours": colours_of(dataset),
        "colour tables": [colour_table(dataset, band) for band in bands],
        "mask flags": dataset.mask_flag_enums,
        "ground control points": [point.asdict() | {"id": ""} for point in dataset.gcps[0]],
        "rational polynomials": dataset.rpcs,
        "tags": tags_of(dataset),
        "band tags": [dataset.tags(band) for band in bands],
    }


def layout_facts(dataset: Any) -> dict[str, Any]:
    """Return how a TIFF file is laid out; nothing where an export must choose another."""
    profile = dataset.profile
    if dataset.driver != "GTiff" or profile.get("compress") not in LOSSLESS:
        return {}
    keys = ["compress", "tiled", "blockxsize", "blockysize"]
    keys += ["interleave"] if dataset.count > 1 else []
    return {key: profile.get(key) for key in keys}


def raster_differences(source: Path | str, exported: Path) -> list[str]:
    with rasterio.open(source) as first, rasterio.open(exported) as second:
        want = raster_facts(first) | (layout := layout_facts(first))
        found = raster_facts(second) | (layout_facts(second) if layout else {})
        wrong = [f"{k}: {want[k]} became {found.get(k)}" for k in want if want[k] != found.get(k)]
        if not np.array_equal(bits(first.read()), bits(second.read())):
            wrong.append("samples")
        if not np.array_equal(first.read_masks(), second.read_masks()):
            wrong.append("masks")
    return wrong


# --- DICOM ------------------------------------------------------------------------------------


def identity(path: Path) -> str:
    return str(pydicom.dcmread(path, specific_tags=["SOPInstanceUID"], force=True).SOPInstanceUID)


def elements(dataset: Dataset) -> Dataset:
    """Return the elements that a change of encoding leaves alone."""
    kept = Dataset({tag: e for tag, e in dataset.items() if tag.group != PIXEL_GROUP})
    if dataset.get("SamplesPerPixel", 1) > 1:
        kept.pop("PhotometricInterpretation", None)
        kept.pop("PlanarConfiguration", None)
    return kept


def compressed_differences(source: Path, exported: Path) -> list[str]:
    first, second = pydicom.dcmread(source), pydicom.dcmread(exported)
    wrong = []
    if not np.array_equal(bits(first.pixel_array), bits(second.pixel_array)):
        wrong.append("pixels")
    if elements(first) != elements(second):
        wrong.append("elements")
    if source.read_bytes()[:132] != exported.read_bytes()[:132]:
        wrong.append("preamble")
    return wrong


def dicom_differences(spec: SourceSpec, exported: Sequence[Path], figures: Figures) -> list[str]:
    files = {identity(file): file for file in exported}
    wrong = []
    if len(files) != len(spec.paths) or len(exported) != len(spec.paths):
        return [f"{len(spec.paths)} files became {len(exported)}"]
    for source in map(Path, spec.paths):
        file = files.get(identity(source))
        if file is None:
            wrong.append(f"{source.name} did not come back")
            continue
        syntax = pydicom.dcmread(source, stop_before_pixels=True).file_meta.TransferSyntaxUID
        if syntax.is_encapsulated:
            wrong += [f"{source.name}: {text}" for text in compressed_differences(source, file)]
        elif filecmp.cmp(source, file, shallow=False):
            figures.identical += 1
        else:
            wrong.append(f"{source.name}: bytes")
    return wrong


# --- the archive ------------------------------------------------------------------------------


def compress(command: Command, folder: Path, archive: Path, figures: Figures) -> None:
    """Compress a folder by the command and put what its report says into ``figures``."""
    report = archive.parent / "report.json"
    line = ["compress", folder, archive, "--workers", 2, "--report", report, "--quiet"]
    run = command(*line, timeout_s=3600)
    content = json.loads(report.read_text())
    for failure in content["failures"]:
        figures.refused[Path(failure["source"]).name] = failure["message"]
    assert run.returncode == (1 if figures.refused else 0), run.stderr
    assert len(run.stderr.splitlines()) == len(figures.refused), run.stderr
    figures.images = len(content["images"])
    figures.raw_bytes, figures.seconds = content["raw_bytes"], content["seconds"]


STOPS = ((signal.SIGKILL, 0.15), (signal.SIGTERM, 0.4), (signal.SIGINT, 0.7))
"""How a run is interrupted, and at which share of its images."""


def interrupt(folder: Path, archive: Path, images: int) -> dict[Path, int]:
    """Begin to compress, and stop it, three times; return when each store was sealed."""
    line = ["compress", folder, archive, "--workers", 2, "--quiet"]
    sealed: dict[Path, int] = {}
    for stop, share in STOPS:
        run = subprocess.Popen(
            [sys.executable, "-m", "tilepress", *map(str, line)], stderr=subprocess.PIPE
        )
        deadline = time.monotonic() + 1800
        while len(seals(archive)) < share * images and time.monotonic() < deadline:
            assert run.poll() is None, run.communicate()[1]
            time.sleep(0.02)
        run.send_signal(stop)
        run.communicate(timeout=120)
        assert run.returncode == (-stop if stop == signal.SIGKILL else 130)
        now = seals(archive)
        assert sealed.items() <= now.items(), "what was sealed was written again"
        sealed = now
    return sealed


def seals(archive: Path) -> dict[Path, int]:
    """Return the root documents of an archive's stores with the time they were written."""
    folders = (Path(folder) for folder, _, _ in os.walk(archive))  # some go while it looks
    roots = (folder / "zarr.json" for folder in folders if folder.suffix == ".zarr")
    return {path: path.stat().st_mtime_ns for path in roots if path.exists()}


def export(store: Path, out: Path) -> list[Path]:
    """Export by the command, in this process; return the files that it names."""
    run = CliRunner().invoke(app, ["export", str(store), str(out)], catch_exceptions=False)
    assert run.exit_code == 0, run.output
    return [Path(line) for line in run.output.splitlines()]


def differences(spec: SourceSpec, store: Path, out: Path, figures: Figures) -> list[str]:
    """Return how a store and its export differ from their source."""
    wrong = [str(damage) for damage in verify(store, spec.paths)]
    if spec.kind == "dicom":
        return wrong + dicom_differences(spec, export(store, out), figures)
    source = spec.paths[0]
    if "page" in spec.options:  # of a slide, whose pages are its first directories
        source = f"GTIFF_DIR:{spec.options['page']}:{source}"
    return wrong + raster_differences(source, export(store, out.with_suffix(".tif"))[0])


DAMAGED = ("0/image/c", "zarr.json", "source/manifest", "0/image/zarr.json")


def repair(command: Command, folder: Path, archive: Path, figures: Figures) -> None:
    """Cut the end off one object of every store; the command must write them as they were."""
    before = {file: digest(file) for file in tree_of(archive)}
    for number, store in enumerate(sorted(archive.rglob("*.zarr"))):
        place = store / DAMAGED[number % len(DAMAGED)]
        file = place if place.is_file() else tree_of(place)[-1]
        file.write_bytes(file.read_bytes()[:-9])
    begin = time.monotonic()
    run = command("repair", archive, "--source", folder, timeout_s=3600)
    figures.repair_seconds = time.monotonic() - begin
    assert run.returncode == 0, run.stdout + run.stderr
    after = {file: digest(file) for file in tree_of(archive)}
    assert {file for file in before if after.get(file) != before[file]} == set()
    figures.objects = len(before)


def digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


@pytest.mark.long
@pytest.mark.shared
@pytest.mark.timeout(2 * 3600)
@pytest.mark.filterwarnings("ignore")  # rasterio's and pydicom's, on files that are odd on purpose
@pytest.mark.parametrize("name", ["corpus", "public"])
def test_there_and_back(
    name: str,
    shared_data: Path,
    tmp_path: Path,
    command: Command,
    capsys: pytest.CaptureFixture[str],
):
    faulthandler.cancel_dump_traceback_later()  # minutes are no sign of a deadlock here
    folder, archive = folder_of(name, shared_data, tmp_path), tmp_path / "archive"
    before = {file: file.stat() for file in tree_of(folder)}
    figures = Figures()
    images = sum(not isinstance(item, Failure) for item in discover([folder]))
    sealed = interrupt(folder, archive, images) if name == "public" else {}
    compress(command, folder, archive, figures)
    assert sealed.items() <= seals(archive).items(), "what was sealed was written again"
    figures.kept = len(sealed)
    assert not (archive / ".tilepress").exists()
    listed = command("ls", archive)
    assert listed.returncode == 0
    assert "[" not in listed.stdout, "every store is sealed"

    checked = command("verify", archive, timeout_s=3600)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    stores = sorted(archive.rglob("*.zarr"))
    assert len(checked.stdout.splitlines()) == len(stores)

    found = [item for item in discover([folder]) if not isinstance(item, Failure)]
    specs = {archive / f"{store_path(spec)}.zarr": spec for spec in found}
    taken: set[Path] = set()
    for number, store in enumerate(stores):
        spec = specs[store]
        taken |= set(map(Path, spec.paths))  # pages share a file
        out = tmp_path / "out" / str(number)
        wrong = differences(spec, store, out, figures)
        figures.mismatches += [f"{store.relative_to(archive)}: {text}" for text in wrong]
    figures.files, figures.stores = len(taken), len(stores)
    figures.bytes_in = sum(file.stat().st_size for file in taken)
    figures.bytes_of_stores = sum(map(size_of, stores))
    repair(command, folder, archive, figures)
    shutil.rmtree(archive)
    with capsys.disabled():
        print(figures.text(name))

    assert figures.mismatches == []
    assert figures.images == figures.stores > 0
    assert figures.files + len(figures.refused) == len(before), "a file went nowhere"
    expected = REFUSED[name]
    assert set(figures.refused) == set(expected)
    for file, reason in expected.items():
        assert reason in figures.refused[file]
    unchanged = {file: file.stat() for file in tree_of(folder)}
    assert {f: s.st_mtime_ns for f, s in before.items()} == {
        f: s.st_mtime_ns for f, s in unchanged.items()
    }
