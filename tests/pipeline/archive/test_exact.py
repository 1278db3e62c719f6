"""What a bound would destroy stays exact: alpha, masks, flags, classes, each band's nodata."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import rasterio
from rasterio.enums import ColorInterp

from tilepress.pipeline.archive.exact import exact_bands, with_exact
from tilepress.pipeline.archive.options import EncodeOptions
from tilepress.pipeline.archive.repair import repair_stores
from tilepress.pipeline.find.discover import discover
from tilepress.pipeline.read.open import open_dataset
from tilepress.pipeline.sources.open import open_source
from tilepress.pipeline.store.reader import StoreReader
from tilepress.pipeline.verify import verify
from tilepress.workflows.run.compress import compress

from ...helpers.samples import smooth

Samples = npt.NDArray[Any]


def write(
    path: Path, samples: Samples, colors: tuple[ColorInterp, ...] = (), **profile: Any
) -> Path:
    planes = samples if samples.ndim == 3 else samples[None]
    count, height, width = planes.shape
    with rasterio.open(
        path, "w", driver="GTiff", width=width, height=height, count=count,
        dtype=planes.dtype.name, crs="EPSG:32631",
        transform=rasterio.Affine(10, 0, 5e5, 0, -10, 4e6), **profile,
    ) as file:  # fmt: skip
        if colors:
            file.colorinterp = colors
        file.write(planes)
    return path


def found(path: Path, **options: Any) -> dict[int, str]:
    (spec,) = discover([path])
    with contextlib.closing(open_source(spec)) as source:  # type: ignore[arg-type]
        return exact_bands(source, EncodeOptions(**options))


def values(*chosen: float, dtype: str = "uint8", shape: tuple[int, int] = (64, 64)) -> Samples:
    """Return samples of these values alone, all over the place."""
    draw = np.random.default_rng(5)
    return draw.choice(np.array(chosen, dtype), shape)


def rgba(*, alpha: int = 3) -> tuple[Samples, tuple[ColorInterp, ...]]:
    planes = np.stack([smooth((64, 64), seed).astype("uint8") for seed in range(4)])
    planes[alpha] = values(0, 1)
    colors = [ColorInterp.red, ColorInterp.green, ColorInterp.blue]
    colors.insert(alpha, ColorInterp.alpha)
    return planes, tuple(colors)


class TestBandsThatABoundWouldDestroy:
    @pytest.mark.parametrize(
        "samples",
        [
            values(0, 1),
            values(0, 255),
            values(10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 100),
            values(1, 21824, 21952, 22080, 22280, 23888, 54596, dtype="uint16"),
            values(*range(0, 65536, 1024), dtype="uint16"),
            values(-1, 0, 1, dtype="int16"),
            values(0.0, 0.5, 1.0, dtype="float32"),
            np.random.default_rng(1).uniform(-1, 1, (64, 64)).astype("float32"),
            np.zeros((64, 64), "uint16"),
        ],
        ids=["01", "0-255", "cover", "qa", "bits", "signed", "float", "index", "constant"],
    )
    def test_are_known_by_their_values(self, tmp_path: Path, samples: Samples):
        assert list(found(write(tmp_path / "a.tif", samples), max_error=4)) == [0]

    @pytest.mark.parametrize("name", ["LC08_QA_PIXEL", "T33_SCL_20m", "x.Fmask", "cloud-mask"])
    def test_are_known_by_what_producers_call_them(self, tmp_path: Path, name: str):
        path = write(tmp_path / f"{name}.tif", smooth((64, 64)))
        assert "called" in found(path, max_error=4)[0]

    def test_are_known_by_their_colour(self, tmp_path: Path):
        planes, colors = rgba(alpha=1)
        assert found(write(tmp_path / "a.tif", planes, colors), max_error=4) == {1: "it is alpha"}

    @pytest.mark.parametrize("pattern", ["*ndvi*", "b, *NDVI*.tif", "ndvi*"])
    def test_are_those_that_the_user_names(self, tmp_path: Path, pattern: str):
        path = write(tmp_path / "NDVI_1.tif", smooth((64, 64)))
        assert list(found(path, max_error=4, lossless_for=pattern)) == [0]
        assert not found(path, max_error=4, lossless_for="NDV?.tif")

    def test_are_none_where_nothing_may_be_lost(self, tmp_path: Path):
        assert not found(write(tmp_path / "a.tif", values(0, 1)), max_error=0)


class TestImagesOfManyValues:
    """They lose no compression, and take one look."""

    @pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
    def test_are_coded_within_the_bound(self, tmp_path: Path, dtype: str):
        samples = smooth((64, 64)).astype("uint8").astype(dtype)
        assert not found(write(tmp_path / "a.tif", samples), max_error=4)

    def test_are_found_beside_much_nodata(self, tmp_path: Path):
        samples = np.zeros((600, 600), "uint16")
        samples[500:, 500:] = smooth((100, 100))
        path = write(tmp_path / "a.tif", samples, nodata=0)
        assert not found(path, max_error=4)


class TestAStoreOfBandsThatDiffer:
    @pytest.fixture
    def sealed(self, tmp_path: Path) -> tuple[Path, Path, Samples]:
        planes, colors = rgba()
        path, store = write(tmp_path / "a.tif", planes, colors), tmp_path / "a.zarr"
        assert compress(path, store, workers=0, tile=32, max_error=4).ok
        return path, store, planes

    def test_keeps_alpha_and_bounds_the_rest(self, sealed: tuple[Path, Path, Samples]):
        path, store, planes = sealed
        image = open_dataset(store)["image"]
        off = np.abs(image.values.astype(int) - planes).max(axis=(1, 2))
        assert off[3] == 0
        assert (off[:3] > 0).all()
        assert (off <= 4).all()
        assert StoreReader.open(store).statement["loss"]["exact_bands"] == {"4": "it is alpha"}
        assert "band 4" in image.attrs["remarks"][0]
        assert verify(store, [path]) == []

    def test_tells_a_change_of_alpha_that_the_bound_would_cover(
        self, sealed: tuple[Path, Path, Samples]
    ):
        path, store, planes = sealed
        planes[3, 5, 5] ^= 1
        write(path, planes, rgba()[1])
        (damage,) = verify(store, [path])
        assert "/3/" in damage.key

    def test_is_repaired_as_it_was(self, sealed: tuple[Path, Path, Samples]):
        path, store, _ = sealed
        trees = [{p: p.read_bytes() for p in store.rglob("*") if p.is_file()} for _ in range(2)]
        for victim in ("0/image/c/3/0/0", "0/image/c/0/0/0", "zarr.json"):
            (store / victim).unlink()
            (repaired,) = repair_stores(store, [path])
            assert repaired.state == "repaired", repaired.reason
            assert {p: p.read_bytes() for p in store.rglob("*") if p.is_file()} == trees[0]


class TestAStackOfBandsThatDiffer:
    def test_keeps_flags_and_bounds_the_rest(self, tmp_path: Path):
        """A palette in one file refuses no other; each file keeps its own nodata."""
        write(tmp_path / "s_B1.tif", smooth((64, 64)).astype("uint8"), nodata=100)
        write(tmp_path / "s_B2.tif", smooth((64, 64), 1).astype("uint8"), nodata=105)
        write(tmp_path / "s_B3.tif", values(0, 1), (ColorInterp.palette,), photometric="palette")
        write(tmp_path / "s_B4.tif", smooth((64, 64), 2).astype("uint8"))
        store = tmp_path / "out" / "s.zarr"
        chosen: dict[str, Any] = {"max_error": 4, "lossless_for": "*_b4*", "stack": "*_B*.tif"}
        assert compress(tmp_path, tmp_path / "out", workers=0, **chosen).ok
        got = open_dataset(store)["image"].values
        given = np.stack([rasterio.open(tmp_path / f"s_B{n}.tif").read(1) for n in range(1, 5)])
        off = np.abs(got.astype(int) - given).max(axis=(1, 2))
        assert [bool(one) for one in off] == [True, True, False, False]
        assert off.max() <= 4
        for band, nodata in ((0, 100), (1, 105)):
            assert np.array_equal(got[band] == nodata, given[band] == nodata)
        loss = StoreReader.open(store).statement["loss"]
        assert sorted(loss["exact_bands"]) == ["3", "4"]
        again = compress(tmp_path, tmp_path / "out", workers=0, **chosen)
        assert (again.ok, again.unchanged) == (True, 1)
        (failure,) = compress(
            tmp_path, tmp_path / "out", workers=0, **{**chosen, "lossless_for": ""}
        ).failures
        assert "bands that are lossless are 3, 4, this run's 3" in failure.line


class TestNodataOfEachBand:
    def test_is_exact_and_no_other_sample_becomes_it(self, tmp_path: Path):
        planes = np.stack([smooth((64, 64), seed).astype("uint8") for seed in (1, 2)])
        path, store = write(tmp_path / "a.tif", planes), tmp_path / "a.zarr"
        band = '<PAMRasterBand band="{}"><NoDataValue>{}</NoDataValue></PAMRasterBand>'
        text = "".join(band.format(n, value) for n, value in ((1, 100), (2, 105)))
        (tmp_path / "a.tif.aux.xml").write_text(f"<PAMDataset>{text}</PAMDataset>")
        assert compress(path, store, workers=0, max_error=4).ok
        got = open_dataset(store)["image"].values
        assert (planes == [[[100]], [[105]]]).any(axis=(1, 2)).all()
        for value, before, after in zip((100, 105), planes, got, strict=True):
            assert np.array_equal(before == value, after == value)
        assert verify(store, [path]) == []


def test_whoever_reads_is_told(tmp_path: Path):
    (spec,) = discover([write(tmp_path / "a.tif", np.stack([smooth((64, 64))] * 3))])
    with contextlib.closing(open_source(spec)) as source:  # type: ignore[arg-type]
        reasons: Mapping[int, str] = {0: "it is alpha", 2: "it is alpha"}
        assert with_exact(source.info, reasons).remarks == (
            "bands 1, 3 are lossless whatever the bound: it is alpha",
        )
        assert with_exact(source.info, {}) is source.info
