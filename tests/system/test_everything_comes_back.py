"""What is sealed can always be exported: whatever is taken comes back, in every way that there is.

Images are drawn from the whole space of what sources can be (``helpers/made_sources``), compressed
with options that are drawn, too, verified against their files, exported to everything that their
store offers, and read again. A few are tried every day, many with ``-m slow``.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pydicom
import pytest
import rasterio
import zarr
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st
from pydicom.pixels import pixel_array
from rasterio.errors import NodataShadowWarning, NotGeoreferencedWarning

from tilepress.pipeline.export import export
from tilepress.pipeline.image.grid import Box
from tilepress.pipeline.store.reader import StoreReader
from tilepress.pipeline.verify import verify
from tilepress.workflows.run.compress import compress

from ..helpers.made_sources import (
    ARRAYS,
    DICOMS,
    NATIVE,
    RASTERS,
    ArrayMade,
    DicomMade,
    NotWritten,
    RasterMade,
)

BOUNDS = st.sampled_from((0, 0, 0, 1, 3, 0.5))

EVERY_DAY = settings(
    max_examples=8, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)
MANY = settings(
    max_examples=100, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)
EVER_OTHERS = settings(max_examples=1000, suppress_health_check=list(HealthCheck))


@pytest.fixture(autouse=True)
def _in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TILEPRESS_GUESTS", "off")


@contextmanager
def folder() -> Iterator[Path]:
    with TemporaryDirectory() as name:
        yield Path(name)


def sealed(sources: Sequence[Path] | Path, out: Path, bound: float, **options: Any) -> list[Path]:
    """Compress; return the stores, none where it is refused, as a named reason in one line."""
    report = compress(
        sources, out, workers=0, tier="fast", max_error=bound, tile=32, keep="none", **options
    )
    for failure in report.failures:
        assert failure.kind in REFUSALS, failure
        assert "\n" not in failure.message
    return [Path(image.store) for image in report.images]


REFUSALS = ("unsupported-source", "unsupported-array", "damaged-source")
"""Kinds of failures with which something that somebody could write may be refused."""


def whole(reader: StoreReader) -> np.ndarray:
    return reader.read(Box((0,) * len(reader.shape), reader.shape))


def check_as_arrays(store: Path, folder: Path) -> None:
    """Export a store to what any store can be, and compare."""
    want = whole(StoreReader.open(store))
    (plain,) = export(store, folder / f"plain-{store.stem}.npy", "npy")
    assert np.load(plain).tobytes() == want.tobytes()
    (plain,) = export(store, folder / f"plain-{store.name}", "zarr")
    found = zarr.open_group(plain, mode="r")["0/image"][...]
    assert found.tobytes() == want.tobytes()


def check_within(found: np.ndarray, want: np.ndarray, bound: float) -> None:
    """Compare samples: equal, or off by no more than the bound; what is not finite is equal."""
    assert (found.shape, found.dtype) == (want.shape, want.dtype)
    if not bound:
        assert found.tobytes() == want.tobytes()
        return
    kind = np.clongdouble if want.dtype.kind == "c" else np.longdouble
    odd = ~np.isfinite(want)
    assert np.array_equal(found[odd], want[odd], equal_nan=True)
    off = np.abs(found[~odd].astype(kind) - want[~odd].astype(kind))
    assert off.size == 0 or off.max() <= bound * (2**0.5 if want.dtype.kind == "c" else 1)


def check_told(found: dict[str, Any], want: dict[str, Any]) -> None:
    """Compare what files say, and name what differs."""
    keys = found.keys() | want.keys()
    changed = {key: (want.get(key), found.get(key)) for key in keys}
    changed = {
        key: (was, now)
        for key, (was, now) in changed.items()
        if was != now and repr(was) != repr(now)
    }
    assert not changed, f"was, and is: {changed}"


class Rasters:
    """GeoTIFF and JPEG 2000 files."""

    def check(self, made: RasterMade, bound: float) -> None:
        with folder() as here, warnings.catch_warnings():
            for kind in (NotGeoreferencedWarning, NodataShadowWarning):
                warnings.simplefilter("ignore", kind)
            try:
                path = made.write(here / "a.tif")
            except NotWritten:
                reject()
            for store in sealed(path, here / "out", bound):
                assert verify(store, path) == []
                check_as_arrays(store, here)
                self.check_file(path, export(store, here / "back.tif", "geotiff")[0], bound)
                self.check_cog(path, store, here / "cog.tif", bound)

    def check_file(self, path: Path, back: Path, bound: float) -> None:
        with rasterio.open(path) as before, rasterio.open(back) as after:
            image = before.read()
            check_within(after.read(), image, bound)
            assert np.array_equal(before.dataset_mask(), after.dataset_mask())
            found, want = _told(after), _told(before)
            bits = int(want["bits"][0] or 64)
            if image.dtype.kind == "u" and int(image.max()) >> bits:  # they are not what is there
                del found["bits"], want["bits"]
            found["tags"].pop("TILEPRESS_MAX_ERROR" if bound else "", None)
            if before.driver != "GTiff":  # a band of a TIFF file has a colour, and a place a kind
                del found["colours of bands"], want["colours of bands"]
                for tags in (found["tags"], want["tags"]):
                    tags.pop("AREA_OR_POINT", None)
            check_told(found, want)

    def check_cog(self, path: Path, store: Path, out: Path, bound: float) -> None:
        (cog,) = export(store, out, "cog")[:1]
        with rasterio.open(path) as before, rasterio.open(cog) as after:
            image = before.read()
            check_within(after.read().astype(image.dtype), image, bound)
            assert (after.crs, after.transform) == (before.crs, before.transform)
            assert str(after.nodatavals) == str(before.nodatavals)


def _told(file: rasterio.DatasetReader) -> dict[str, Any]:
    """Return what a file says of its samples."""
    points = [
        {key: value for key, value in point.asdict().items() if key != "id"}
        for point in file.gcps[0]
    ]
    return {
        "place": (file.crs, file.transform, points, file.gcps[1] if points else None),
        "rpcs": file.rpcs and file.rpcs.to_gdal(),
        "nodata": str(file.nodatavals),
        "bands": (file.descriptions, file.units, file.scales, file.offsets),
        "colours of bands": file.colorinterp,
        "colours": [_colours(file, band) for band in file.indexes],
        "masks": [[flag.name for flag in flags] for flags in file.mask_flag_enums],
        "tags": file.tags(),
        "tags of bands": [file.tags(band) for band in file.indexes],
        "bits": [file.tags(band, ns="IMAGE_STRUCTURE").get("NBITS") for band in file.indexes],
    }


def _colours(file: rasterio.DatasetReader, band: int) -> object:
    try:
        return file.colormap(band)
    except ValueError:
        return None


class Dicoms:
    """Series of one instance or of several."""

    def check(self, made: DicomMade, bound: float, profile: str) -> None:
        with folder() as here:
            try:
                paths = made.write(here / "in")
            except NotWritten:
                reject()
            stores = sealed(here / "in", here / "out", bound, deidentify=profile)
            back = set()
            for store in stores:
                assert verify(store, None if profile else here / "in") == []
                check_as_arrays(store, here)
                back |= set(export(store, here / f"x{store.stem}"))
            assert not stores or len(_files(back)) == len(paths)
            for path in _files(back):
                number = pydicom.dcmread(path, stop_before_pixels=True).InstanceNumber
                source = paths[number - 1]
                if profile:
                    check_within(_pixels(path), _pixels(source), bound)
                else:
                    self.check_file(made, source, path, bound)

    def check_file(self, made: DicomMade, source: Path, back: Path, bound: float) -> None:
        if made.syntax in NATIVE and not bound:
            assert back.read_bytes() == source.read_bytes()
            return
        check_within(_pixels(back), _pixels(source), bound)
        derived = DERIVED if bound else ()
        stored = int(pydicom.dcmread(source, stop_before_pixels=True).BitsStored)
        if int(_pixels(source).max()) >> stored:  # a lossy stream may have more than its header
            derived += ("BitsStored", "HighBit")
        check_told(_elements(back, derived), _elements(source, derived))


def _files(paths: Iterable[Path]) -> list[Path]:
    return [
        file for path in paths for file in ([path] if path.is_file() else sorted(path.rglob("*")))
    ]


def _pixels(path: Path) -> np.ndarray:
    with warnings.catch_warnings():  # of RGB in a JPEG stream that says nothing of it, or too much
        warnings.simplefilter("ignore")
        return pixel_array(pydicom.dcmread(path), raw=True)


CHANGED = ("PixelData", "LossyImageCompression", "PlanarConfiguration", "ImageType")
"""Beginnings of the names of what is otherwise in a file whose pixels are written anew."""

DERIVED = ("SOPInstanceUID", "Derivation", "SourceImage")
"""The same of one whose pixels are not those of its source."""


def _elements(path: Path, but: tuple[str, ...]) -> dict[str, object]:
    dataset = pydicom.dcmread(path)
    found = {element.keyword: element.value for element in dataset}
    return {name: value for name, value in found.items() if not name.startswith((*CHANGED, *but))}


class Arrays:
    """NumPy files and Zarr arrays."""

    def check(self, made: ArrayMade, bound: float) -> None:
        with folder() as here:
            try:
                path = made.write(here)
            except NotWritten:
                reject()
            for store in sealed(path, here / "out", bound):
                assert verify(store, path) == []
                check_as_arrays(store, here)
                check_within(whole(StoreReader.open(store)), made.array.astype(
                    np.dtype(made.dtype).newbyteorder("=")), bound)  # fmt: skip


PROFILES = st.sampled_from(("", "", "basic"))


class TestEveryDay:
    @EVERY_DAY
    @given(RASTERS, BOUNDS)
    def test_rasters(self, made: RasterMade, bound: float) -> None:
        Rasters().check(made, bound)

    @EVERY_DAY
    @given(DICOMS, BOUNDS, PROFILES)
    def test_dicom(self, made: DicomMade, bound: float, profile: str) -> None:
        Dicoms().check(made, bound, profile)

    @EVERY_DAY
    @given(ARRAYS, BOUNDS)
    def test_arrays(self, made: ArrayMade, bound: float) -> None:
        Arrays().check(made, bound)


@pytest.mark.slow
@pytest.mark.timeout(3600)
class TestMany:
    @MANY
    @given(RASTERS, BOUNDS)
    def test_rasters(self, made: RasterMade, bound: float) -> None:
        Rasters().check(made, bound)

    @MANY
    @given(DICOMS, BOUNDS, PROFILES)
    def test_dicom(self, made: DicomMade, bound: float, profile: str) -> None:
        Dicoms().check(made, bound, profile)

    @MANY
    @given(ARRAYS, BOUNDS)
    def test_arrays(self, made: ArrayMade, bound: float) -> None:
        Arrays().check(made, bound)


@pytest.mark.long
@pytest.mark.timeout(0)
class TestEverOthers:
    @EVER_OTHERS
    @given(RASTERS, BOUNDS)
    def test_rasters(self, made: RasterMade, bound: float) -> None:
        Rasters().check(made, bound)

    @EVER_OTHERS
    @given(DICOMS, BOUNDS, PROFILES)
    def test_dicom(self, made: DicomMade, bound: float, profile: str) -> None:
        Dicoms().check(made, bound, profile)

    @EVER_OTHERS
    @given(ARRAYS, BOUNDS)
    def test_arrays(self, made: ArrayMade, bound: float) -> None:
        Arrays().check(made, bound)
