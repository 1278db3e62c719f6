"""Lossy stores say what they lost, hold what was asked, keep what must be exact, and survive."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pydicom
import pytest
import rasterio
import xarray
import zarr

import tilepress
from tilepress.codecs.loss import AtLeast, AtMost, Quality
from tilepress.errors import UsageError
from tilepress.pipeline.archive import plan as planning
from tilepress.pipeline.archive.repair import repair_stores
from tilepress.pipeline.catalogue.listed import listed_store
from tilepress.pipeline.store.reader import StoreReader
from tilepress.pipeline.store.summary import read_summary
from tilepress.workflows.run.compress import compress
from tilepress.workflows.run.parts import finish, plan

from ..golden.stores import regenerate
from ..pipeline.images import dicom

Array = np.ndarray[Any, Any]

NODATA = 0
SIDE = 300


@pytest.fixture(autouse=True)
def _in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TILEPRESS_GUESTS", "off")


def _bands(count: int = 4) -> Array:
    """Return bands of one scene, 16 bits, with a corner where nothing was seen."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:SIDE, :SIDE]
    scene = 2000 + 900 * np.sin(x / 23) + 700 * np.cos(y / 31 + x / 57)
    image = np.stack([scene * (1 - n / 9) + rng.normal(0, 25, scene.shape) for n in range(count)])
    image = image.clip(1, 4000).astype(np.uint16)
    image[:, :70, :90] = NODATA
    return image


def _geotiff(path: Path, image: Array, **options: Any) -> Path:
    with rasterio.open(
        path, "w", driver="GTiff", width=image.shape[-1], height=image.shape[-2],
        count=len(image), dtype=image.dtype, crs="EPSG:32631",
        transform=rasterio.Affine(10, 0, 5e5, 0, -10, 4e6), **options,
    ) as file:  # fmt: skip
        file.write(image)
    return path


def _psnr(given: Array, found: Array, peak: float) -> float:
    there = given != NODATA
    error = found[there].astype(float) - given[there]
    return float(10 * np.log10(peak**2 / np.square(error).mean()))


def _shards(store: Path) -> list[Path]:
    found = (path for path in store.glob("0/image/**/*") if path.is_file())
    return sorted(path for path in found if path.name != "zarr.json")


def _samples(store: Path) -> Array:
    with xarray.open_zarr(store / "0", consolidated=False, chunks=None) as dataset:
        return np.asarray(dataset["image"].values)


def _statement(store: Path) -> dict[str, Any]:
    found = zarr.open_group(store, mode="r").attrs["tilepress"]
    assert isinstance(found, dict)
    return found


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a scene and a lossy store of it; tests work on copies."""
    folder = tmp_path_factory.mktemp("made")
    scene = _geotiff(folder / "scene.tif", _bands(), nodata=NODATA)
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("TILEPRESS_GUESTS", "off")
        store = folder / "scene.zarr"
        report = compress(scene, store, codec="jpeg2000", psnr=45, tile=128, workers=0)
    assert report.ok, report.failures
    return folder


@pytest.fixture
def scene(made: Path, tmp_path: Path) -> Path:
    return shutil.copy2(made / "scene.tif", tmp_path / "scene.tif")


@pytest.fixture
def store(made: Path, scene: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made / "scene.zarr", tmp_path / "scene.zarr")


@pytest.mark.parametrize("codec", ["jpeg2000", "htj2k", "jpegxl", "jpegls", "lerc", "zstd"])
class TestATargetIsHeldByTheImage:
    def test_of_psnr(self, codec: str, scene: Path, tmp_path: Path) -> None:
        store = tmp_path / "one.zarr"
        report = compress(scene, store, codec=codec, psnr=44, tile=128, workers=0)
        assert report.ok, report.failures
        statement, given, found = _statement(store), _bands(), _samples(store)
        peak = statement["loss_measured"]["peak"]
        assert peak <= np.ptp(given[given != NODATA].astype(int))
        assert 44 <= _psnr(given, found, peak) < 46
        assert np.array_equal(found == NODATA, given == NODATA)
        assert tilepress.verify(store, scene) == []

    def test_of_bits(self, codec: str, scene: Path, tmp_path: Path) -> None:
        store = tmp_path / "one.zarr"
        report = compress(scene, store, codec=codec, bpp=6.0, tile=128, workers=0)
        assert report.ok, report.failures
        size = sum(path.stat().st_size for path in _shards(store))
        assert 0.8 * 1.5 < 8 * size / _bands().size <= 1.5  # four bands a pixel
        assert _statement(store)["loss"]["bits_per_sample"] <= 1.5


class TestSeveralShards:
    """Small ones at the edge weigh more by their records than by their samples."""

    def compress(self, folder: Path, **options: Any) -> Any:
        image = _bands()[:, :, : 2 * 128 + 3]  # the last shards are three columns wide
        scene = _geotiff(folder / "narrow.tif", np.ascontiguousarray(image), nodata=NODATA)
        with mock.patch.object(planning, "choose_grid", regenerate._shards_of_one_chunk):
            return compress(scene, folder / "a.zarr", tile=128, workers=0, **options)

    def test_hold_bits_together(self, tmp_path: Path) -> None:
        report = self.compress(tmp_path, codec="jpeg2000", bits_per_sample=1.0)
        assert report.ok, report.failures
        assert len(_shards(tmp_path / "a.zarr")) == 9
        assert 0.85 < _statement(tmp_path / "a.zarr")["loss"]["bits_per_sample"] <= 1.0

    def test_or_fail(self, tmp_path: Path) -> None:
        report = self.compress(tmp_path, codec="jpeg2000", bits_per_sample=0.05)
        (failure,) = report.failures
        assert "bits per sample at" in failure.message
        assert "want at most 0.05 bits per sample" in failure.message

    def test_hold_a_psnr_each(self, tmp_path: Path) -> None:
        report = self.compress(tmp_path, codec="htj2k", psnr=42)
        assert report.ok, report.failures
        statement = _statement(tmp_path / "a.zarr")
        assert 42 <= statement["psnr_db"] < 43.5
        given = _bands()[:, :, : 2 * 128 + 3]
        found = _samples(tmp_path / "a.zarr")
        peak = statement["loss_measured"]["peak"]
        assert _psnr(given, found, peak) == pytest.approx(statement["psnr_db"], abs=1e-3)


class TestItIsSaid:
    def test_by_the_store(self, store: Path) -> None:
        statement, given, found = _statement(store), _bands(), _samples(store)
        there = given != NODATA
        error = found.astype(float) - given
        assert statement["loss"]["lossless"] is False
        assert statement["loss"]["max_error"] is None
        assert statement["loss"]["target"]["psnr"] == 45.0
        assert statement["max_error_measured"] == np.abs(error).max()
        measured = statement["loss_measured"]
        assert statement["psnr_db"] == pytest.approx(
            _psnr(given, found, measured["peak"]), abs=1e-3
        )
        assert measured["present_samples"] == there.sum()
        bias = [error[band][there[band]].mean() for band in range(4)]
        assert measured["bias"] == pytest.approx(bias, rel=1e-4, abs=1e-9)
        sizes = np.abs(error[there])
        assert np.mean(sizes <= measured["p999_error"]) >= 0.999
        assert measured["p999_error"] <= 1.05 * np.quantile(sizes, 0.999, method="inverted_cdf")
        assert zarr.open_group(store, mode="r")["0/image"].attrs["tilepress"]["lossless"] is False

    def test_by_readers_and_lists(self, store: Path) -> None:
        loss = StoreReader.open(store).loss
        assert isinstance(loss, AtLeast)
        assert loss.value == 45.0
        assert listed_store("scene.zarr", read_summary(store)).cells()[5] == "lossy"

    def test_by_the_report(self, scene: Path, tmp_path: Path) -> None:
        report = compress(
            scene, tmp_path / "two.zarr", codec="jpegxl", quality=70, workers=0,
            report=tmp_path / "report.json",
        )  # fmt: skip
        assert report.loss_text.startswith("lossy: 1 image, PSNR ")
        told = json.loads((tmp_path / "report.json").read_text())
        assert told["lossy"]["images"] == 1
        assert told["images"][0]["loss"]["target"] == "quality 70"
        assert told["images"][0]["loss"]["psnr_db"] == _statement(tmp_path / "two.zarr")["psnr_db"]

    def test_by_records(self, store: Path) -> None:
        """Each tile has the error that was measured of it."""
        from tilepress.codecs.record import unpack_record
        from tilepress.pipeline.store.shard import split_shard

        reader = StoreReader.open(store)
        grid = reader.grid("image")
        (shard,) = _shards(store)
        given, found = _bands(), _samples(store)
        error = np.abs(found.astype(float) - given)
        for chunk, record in split_shard(shard.read_bytes(), grid.chunks_per_shard).items():
            place = tuple(slice(i * n, i * n + n) for i, n in zip(chunk, grid.chunk, strict=True))
            if error[place].size:
                assert unpack_record(record)[0].max_error == error[place].max()


class TestWhatMustBeExactIs:
    @pytest.mark.parametrize("codec", ["webp", "mlp"])
    def test_classes_and_alpha_beside_bands(self, codec: str, tmp_path: Path) -> None:
        """Those of a codec that is never lossless are records of another in its array."""
        rgb = (_bands(3) // 16).astype(np.uint8) + np.uint8(1)
        alpha = np.where(np.indices(rgb.shape[1:]).sum(axis=0) % 97 < 60, 255, 0).astype(np.uint8)
        path = tmp_path / "rgba.tif"
        with rasterio.open(
            path, "w", driver="GTiff", width=SIDE, height=SIDE, count=4, dtype="uint8",
            photometric="rgb", alpha="unassociated", crs="EPSG:32631",
            transform=rasterio.Affine(10, 0, 5e5, 0, -10, 4e6),
        ) as file:  # fmt: skip
            file.write(np.concatenate([rgb, alpha[None]]))
        store = tmp_path / "rgba.zarr"
        report = compress(path, store, codec=codec, psnr=35, workers=0)
        assert report.ok, report.failures
        found = _samples(store)
        assert np.array_equal(found[3], alpha)
        assert not np.array_equal(found[:3], rgb)
        assert set(_statement(store)["loss"]["exact_bands"]) == {"4"}
        assert _statement(store)["loss_measured"]["bias"][3] == 0
        assert _psnr(rgb, found[:3], 255) >= 35
        assert tilepress.verify(store, path) == []

    def test_bands_that_a_pattern_names(self, scene: Path, tmp_path: Path) -> None:
        store = tmp_path / "named.zarr"
        compress(scene, store, codec="jpeg2000", psnr=30, lossless_for="scene*", workers=0)
        assert np.array_equal(_samples(store), _bands())
        assert _statement(store)["loss"]["lossless"] is True

    @pytest.mark.parametrize("codec", ["jpegxl", "mlp"])
    def test_an_image_of_classes(self, codec: str, tmp_path: Path) -> None:
        classes = (_bands(1) // 700 * 3).astype(np.uint8)
        path = _geotiff(tmp_path / "classes.tif", classes)
        store = tmp_path / "classes.zarr"
        compress(path, store, codec=codec, quality=10, workers=0)
        assert np.array_equal(_samples(store).reshape(classes.shape), classes)
        assert tilepress.verify(store, path) == []

    def test_a_mask(self, tmp_path: Path) -> None:
        image = _bands(1)
        path = _geotiff(tmp_path / "masked.tif", image)
        mask = np.where(image[0] > 1800, 255, 0).astype(np.uint8)
        with rasterio.open(path, "r+") as file:
            file.write_mask(mask)
        store = tmp_path / "masked.zarr"
        assert compress(path, store, codec="jpeg2000", psnr=40, workers=0).ok
        assert np.array_equal(zarr.open_group(store, mode="r")["0/mask"][:], mask)

    @pytest.mark.parametrize("target", [{"psnr": 38.0}, {"quality": 30.0}, {"bpp": 8.0}])
    def test_a_codec_that_turns_bands_keeps_them_in_one_chunk(
        self, target: dict[str, float], tmp_path: Path
    ) -> None:
        image = np.ascontiguousarray(_bands() // 16).astype(np.uint8)
        y, x = np.mgrid[:SIDE, :SIDE]
        image[3] = np.where((y - 150) ** 2 + (x - 130) ** 2 < 12000, 255, x // 2)
        path = _geotiff(tmp_path / "a.tif", image, photometric="RGB", alpha="YES")
        store = tmp_path / "a.zarr"
        report = compress(path, store, workers=0, codec="ntc", tile=128, **target)
        assert report.ok, report.failures
        assert zarr.open_array(store / "0/image", mode="r").chunks[0] == 4
        found = _samples(store)
        assert np.array_equal(found[3], image[3])
        assert not np.array_equal(found[:3], image[:3])
        statement = _statement(store)
        assert set(statement["loss"]["exact_bands"]) == {"4"}
        seen = image[3] != 0
        assert statement["loss_measured"]["present_samples"] == 3 * seen.sum()
        assert statement["loss_measured"]["bias"][3] == 0
        error = np.square(found[:3].astype(float) - image[:3])[:, seen].mean()
        assert abs(10 * np.log10(255**2 / error) - statement["psnr_db"]) < 0.01
        if "psnr" in target:
            assert statement["psnr_db"] >= 38
        if "bpp" in target:
            assert sum(one.stat().st_size for one in _shards(store)) <= image[0].size
        assert tilepress.verify(store, path) == []

    def test_verification_minds_them(self, tmp_path: Path) -> None:
        image = np.ascontiguousarray(_bands() // 16).astype(np.uint8)
        image[3] = np.where(np.arange(SIDE) % 7 < 3, 255, 0)
        path = _geotiff(tmp_path / "a.tif", image, photometric="RGB", alpha="YES")
        store = tmp_path / "a.zarr"
        assert compress(path, store, workers=0, codec="ntc", psnr=40).ok
        image[3, 7, 9] ^= 1
        other = _geotiff(tmp_path / "b.tif", image, photometric="RGB", alpha="YES")
        (damage,) = (d for d in tilepress.verify(store, other) if "differ" in d.detail)
        assert "1 of" in damage.detail
        assert "[3, 7, 9]" in damage.detail

    def test_damage_is_repaired_to_the_same_bytes(self, tmp_path: Path) -> None:
        image = np.ascontiguousarray(_bands() // 16).astype(np.uint8)
        image[3] = np.where(np.arange(SIDE) % 7 < 3, 255, 0)
        path = _geotiff(tmp_path / "a.tif", image, photometric="RGB", alpha="YES")
        store = tmp_path / "a.zarr"
        assert compress(path, store, workers=0, codec="ntc", psnr=40, tile=128).ok
        (shard,) = _shards(store)
        before = shard.read_bytes()
        shard.write_bytes(before[:500] + bytes([before[500] ^ 4]) + before[501:])
        assert tilepress.verify(store)
        (repair,) = repair_stores(str(store), [str(path)])
        assert repair.ok, repair
        assert shard.read_bytes() == before

    def test_bands_of_a_nodata_of_their_own_are_coded_apart(self, tmp_path: Path) -> None:
        image = _bands(3)
        image[2] = np.where(image[1] > 2000, 21824, 0)
        named = zip(("B2", "B3", "B4_QA"), image, (0, 3, 1), strict=True)
        for name, band, nodata in named:
            _geotiff(tmp_path / f"scene_{name}.TIF", band[None], nodata=nodata)
        store = tmp_path / "out"
        report = compress(tmp_path, store, workers=0, codec="ntc", psnr=40, stack="*_B*.TIF")
        assert report.ok, report.failures
        (one,) = store.glob("**/*.zarr")
        assert zarr.open_array(one / "0/image", mode="r").chunks[0] == 1
        assert np.array_equal(_samples(one)[2], image[2])
        assert not np.array_equal(_samples(one)[1], image[1])
        assert tilepress.verify(one, tmp_path) == []

    def test_values_stay_in_range(self, store: Path) -> None:
        given, found = _bands(), _samples(store)
        assert given[given != NODATA].min() <= found[found != NODATA].min()
        assert found.max() <= given.max()


class TestABoundBesideATarget:
    """No sample is off by more than K, and the target holds, too."""

    @pytest.mark.parametrize("target", [{"psnr": 40.0}, {"quality": 20.0}])
    def test_of_the_image(self, target: dict[str, float], scene: Path, tmp_path: Path) -> None:
        store = tmp_path / "a.zarr"
        options: dict[str, Any] = {"codec": "ntc", "max_error": 30.0, "tile": 128, "workers": 0}
        assert compress(scene, store, **options, **target).ok
        given, found, statement = _bands(), _samples(store), _statement(store)
        assert np.array_equal(found == NODATA, given == NODATA)
        error = np.abs(found.astype(int) - given)
        assert 0 < error.max() <= 30
        assert statement["max_error_measured"] == error.max()
        assert statement["loss"]["max_error"] == 30
        assert set(statement["loss"]["target"]) == {*target, "peak"}
        loss = StoreReader.open(store).loss
        assert (loss.kind, loss.max_error) == ("lossy", 30)
        assert tilepress.verify(store, scene) == []
        again = compress(scene, store, **options, **target)
        assert again.ok
        other = compress(scene, store, **{**options, "max_error": 29.0}, **target)
        (failure,) = other.failures
        assert "max error 30" in failure.message

    def test_is_told_of_an_export(self, scene: Path, tmp_path: Path) -> None:
        store = tmp_path / "a.zarr"
        assert compress(scene, store, codec="ntc", psnr=40, max_error=30, workers=0).ok
        (out,) = tilepress.export(store, tmp_path / "back.tif")
        with rasterio.open(out) as file:
            assert float(file.tags()["TILEPRESS_MAX_ERROR"]) == 30


class TestOthersReadIt:
    def test_plain_zarr_in_a_process_without_torch(self, store: Path, tmp_path: Path) -> None:
        script = (
            "import sys; sys.modules['torch'] = None\n"
            "import numpy, zarr\n"
            f"image = zarr.open_array({str(store / '0/image')!r}, mode='r')[:]\n"
            f"numpy.save({str(tmp_path / 'read.npy')!r}, image)\n"
            "assert 'tilepress.pipeline' not in sys.modules\n"
        )
        subprocess.run([sys.executable, "-c", script], check=True)
        assert np.array_equal(np.load(tmp_path / "read.npy"), _samples(store))

    def test_zarr_writes_chunks_that_hold_a_target_each(self, tmp_path: Path) -> None:
        from tilepress.codecs.tile import TileCodec
        from tilepress.codecs.zarr_codec import TilepressTileV3

        image = (_bands(1)[0] // 16).astype(np.uint8)
        codec = TilepressTileV3(TileCodec("jpegxl", psnr=38, nodata=0))
        array = zarr.create_array(
            tmp_path / "plain.zarr", shape=image.shape, chunks=(100, 100), dtype="uint8",
            serializer=codec, compressors=None, filters=None,
        )  # fmt: skip
        array[:] = image
        found = zarr.open_array(tmp_path / "plain.zarr", mode="r")[:]
        for y in range(0, SIDE, 100):
            for x in range(0, SIDE, 100):
                place = np.s_[y : y + 100, x : x + 100]
                if (image[place] != NODATA).any():
                    assert _psnr(image[place], found[place], 255) >= 38

    def test_exports_say_so(self, store: Path, tmp_path: Path) -> None:
        (out,) = tilepress.export(store, tmp_path / "back.tif")
        with rasterio.open(out) as file:
            assert file.tags()["TILEPRESS_LOSS"] == "PSNR at least 45 dB"
            assert file.nodata == NODATA
            assert np.array_equal(file.read(), _samples(store))


class TestDicomSaysSo:
    """PS3.3 C.7.6.1.1.5: a lossily compressed image is another one, and says how."""

    @pytest.fixture
    def series(self, tmp_path: Path) -> list[Path]:
        paths = [dicom(tmp_path / f"in/{n}.dcm", 1, n) for n in range(1, 5)]
        y, x = np.mgrid[:20, :30]
        for n, path in enumerate(paths):
            dataset = pydicom.dcmread(path)
            noise = np.random.default_rng(n).normal(0, 9, (20, 30))
            pixels = 900 + 400 * np.sin(x / 5 + n / 9) + 50 * y + noise
            dataset.PixelData = pixels.astype(np.uint16).tobytes()
            dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
            dataset.save_as(path)
        return paths

    @pytest.mark.parametrize(
        ("codec", "method"),
        [("jpeg2000", "ISO_15444_1"), ("jpegls", "ISO_14495_1"), ("zstd", "TILEPRESS_ZSTD")],
    )
    def test_on_export(self, codec: str, method: str, series: list[Path], tmp_path: Path) -> None:
        out = tmp_path / "archive"
        report = compress(tmp_path / "in", out, codec=codec, psnr=40, workers=0)
        assert report.ok, report.failures
        files = tilepress.export(report.images[0].store, tmp_path / "back")
        sources = {pydicom.dcmread(path).SOPInstanceUID for path in series}
        assert len(files) == 4
        for file in files:
            found = pydicom.dcmread(file)
            assert found.LossyImageCompression == "01"
            assert found.LossyImageCompressionMethod == method
            assert float(found.LossyImageCompressionRatio) > 1
            assert list(found.ImageType) == ["DERIVED", "PRIMARY", "AXIAL"]
            assert found.SOPInstanceUID not in sources
            assert "PSNR at least 40 dB" in found.DerivationDescription

    def test_not_where_nothing_is_lost(self, series: list[Path], tmp_path: Path) -> None:
        report = compress(tmp_path / "in", tmp_path / "archive", codec="jpegls", workers=0)
        files = tilepress.export(report.images[0].store, tmp_path / "back")
        found = {pydicom.dcmread(file).SOPInstanceUID for file in files}
        assert found == {pydicom.dcmread(path).SOPInstanceUID for path in series}
        assert {file.read_bytes() for file in map(Path, files)} == {
            path.read_bytes() for path in series
        }


class TestLevels:
    def test_what_is_stated_is_of_the_full_resolution(self, scene: Path, tmp_path: Path) -> None:
        """Levels are lossy, too, and of other samples: they are no part of these figures."""
        store = tmp_path / "levels.zarr"
        report = compress(scene, store, workers=0, codec="jpegxl", psnr=40, levels="2")
        assert report.ok, list(report.failures)
        told = _statement(store)
        with rasterio.open(scene) as file:
            image = file.read()
        found = _psnr(image, _samples(store), told["loss_measured"]["peak"])
        assert told["psnr_db"] == pytest.approx(found, abs=0.01)
        assert told["loss_measured"]["present_samples"] == np.count_nonzero(image != NODATA)
        assert tilepress.verify(store, scene) == []


class TestItSurvives:
    def test_running_again_changes_nothing(self, scene: Path, store: Path) -> None:
        before = (store / "zarr.json").read_bytes()
        again = compress(scene, store, codec="jpeg2000", psnr=45, tile=128, workers=0)
        assert (again.written, again.unchanged) == (0, 1)
        checked = compress(
            scene, store, codec="jpeg2000", psnr=45, tile=128, workers=0, checksum=True
        )
        assert (checked.unchanged, (store / "zarr.json").read_bytes()) == (1, before)

    def test_another_target_is_another_store(self, scene: Path, store: Path) -> None:
        report = compress(scene, store, codec="jpeg2000", psnr=46, tile=128, workers=0)
        (failure,) = report.failures
        assert "it was written with PSNR at least 45 dB, this run has PSNR at least 46 dB" in (
            failure.message
        )

    def test_a_source_that_changed_is_found(self, scene: Path, store: Path) -> None:
        image = _bands()
        image[2, 200, 200] += 1500
        _geotiff(scene, image, nodata=NODATA)
        (damage,) = tilepress.verify(store, scene)
        assert damage.kind == "source"
        assert "1 of 360000 samples differ, the first at [2, 200, 200]" in damage.detail

    def test_so_is_one_that_changed_by_less_than_was_lost(
        self, scene: Path, tmp_path: Path
    ) -> None:
        """No sample of it is off by more than was measured, but all together are."""
        store = tmp_path / "one.zarr"
        assert compress(scene, store, codec="jpegls", psnr=42, tile=128, workers=0).ok
        found = _samples(store)
        image = _bands()
        image[:, 100:140, 100:140] = found[:, 100:140, 100:140]  # nothing is lost there
        _geotiff(scene, image, nodata=NODATA)
        (damage,) = tilepress.verify(store, scene)
        assert (damage.kind, damage.key) == ("source", "0/image")
        assert damage.detail.startswith("its PSNR against this source is 42.")
        again = compress(scene, store, codec="jpegls", psnr=42, tile=128, workers=0, checksum=True)
        assert not again.ok

    def test_so_is_one_that_is_brighter(self, scene: Path, store: Path) -> None:
        image = _bands()
        image[image != NODATA] += 9
        _geotiff(scene, image, nodata=NODATA)
        (damage,) = tilepress.verify(store, scene)
        assert damage.kind == "source"

    def test_damage_is_found_and_repaired(self, scene: Path, store: Path) -> None:
        (shard,) = _shards(store)
        whole = shard.read_bytes()
        broken = bytearray(whole)
        broken[len(broken) // 2] ^= 4
        shard.write_bytes(broken)
        assert tilepress.verify(store)
        (repair,) = repair_stores(str(store), [str(scene)])
        assert repair.ok, repair
        assert shard.read_bytes() == whole
        assert tilepress.verify(store, scene) == []

    def test_a_store_without_its_root_is_sealed_as_it_was(self, scene: Path, store: Path) -> None:
        root = (store / "zarr.json").read_bytes()
        (store / "zarr.json").unlink()
        (repair,) = repair_stores(str(store), [str(scene)])
        assert repair.ok, repair
        assert (store / "zarr.json").read_bytes() == root

    def test_of_another_source_is_not_repaired(self, scene: Path, store: Path) -> None:
        """Without a bound any samples would do: those that are further off are another image's."""
        image = _bands()
        image[3] = image[3] // 700  # classes: bands are coded apart, four shards
        _geotiff(scene, image, nodata=NODATA)
        apart = store.with_name("apart.zarr")
        assert compress(scene, apart, codec="jpeg2000", psnr=45, workers=0).ok
        first, *others = _shards(apart)
        assert len(others) == 3
        first.write_bytes(first.read_bytes()[:-9])
        other = image.copy()
        other[:3] = other[:3, ::-1]
        _geotiff(scene, other, nodata=NODATA)
        (repair,) = repair_stores(str(apart), [str(scene)])
        assert not repair.ok
        _geotiff(scene, image, nodata=NODATA)  # as it was, and touched
        (repair,) = repair_stores(str(apart), [str(scene)])
        assert repair.ok, repair
        assert tilepress.verify(apart, scene) == []

    def test_in_parts(self, tmp_path: Path) -> None:
        for n in range(3):
            _geotiff(tmp_path / f"in/{n}.tif" if (tmp_path / "in").exists() else _made(
                tmp_path / "in") / f"{n}.tif", _bands()[:, n:], nodata=NODATA)  # fmt: skip
        out, whole = tmp_path / "parts", tmp_path / "whole"
        options: dict[str, Any] = {"codec": "jpeg2000", "bits_per_sample": 1.0, "tile": 128}
        plan(tmp_path / "in", out, **options, workers=0)
        for part in ("0/2", "1/2"):
            compress(tmp_path / "in", out, **options, part=part)
        finish(out, workers=0)
        compress(tmp_path / "in", whole, **options, workers=0)
        for n in range(3):
            one, other = (_statement(folder / f"{n}.zarr") for folder in (out, whole))
            assert one["plan_digest"] == other["plan_digest"]
            assert one["loss_measured"] == other["loss_measured"]
            assert (out / f"{n}.zarr/zarr.json").read_bytes() == (
                whole / f"{n}.zarr/zarr.json"
            ).read_bytes()


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


class TestOptions:
    @pytest.mark.parametrize(
        ("options", "text"),
        [
            ({"psnr": 40, "quality": 3}, "--quality and --psnr exclude each other"),
            ({"bpp": 1, "max_error": 2}, "has no max_error beside bits_per_sample"),
            ({"quality": 101}, "got quality 101.0, want 1 to 100"),
            ({"bpp": -1}, "got bpp -1, want above 0"),
        ],
    )
    def test_that_make_no_sense(self, options: dict[str, Any], text: str, scene: Path) -> None:
        with pytest.raises(UsageError, match=text):
            compress(scene, scene.with_suffix(".zarr"), codec="jpegxl", workers=0, **options)

    def test_lossy_is_never_the_default(self, scene: Path, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="codec 'wave' is never lossy"):
            compress(scene, tmp_path / "a.zarr", codec="wave", psnr=40, workers=0)
        for codec in ("wave", "jpegxl", "jpeg2000", "htj2k", "jpegls", "lerc", "zstd"):
            store = tmp_path / f"{codec}.zarr"
            assert compress(scene, store, codec=codec, workers=0).ok
            assert _statement(store)["loss"]["lossless"] is True
            assert np.array_equal(_samples(store), _bands())

    @pytest.mark.parametrize(
        "target", [{"psnr": 40}, {"quality": 40}, {"bits_per_sample": 5}, {"bpp": 20}]
    )
    def test_a_target_means_the_learned_codec_where_none_is_named(
        self, target: dict[str, float], scene: Path, tmp_path: Path
    ) -> None:
        report = compress(scene, tmp_path / "a.zarr", **target, workers=0)  # type: ignore[arg-type]
        assert report.ok, report.failures
        assert _statement(tmp_path / "a.zarr")["codec"] == "ntc"
        assert report.loss_text.startswith("lossy: 1 image, PSNR ")

    @pytest.mark.parametrize("former", ["ntc-1", "ntc-2"])
    def test_stores_of_a_former_model_are_what_the_same_line_asks(
        self, scene: Path, tmp_path: Path, former: str
    ) -> None:
        store = tmp_path / "a.zarr"
        assert compress(scene, store, psnr=40, model=former, workers=0).ok
        again = compress(scene, store, psnr=40, workers=0, checksum=True)
        assert (again.unchanged, again.written) == (1, 0)
        assert tilepress.verify(store, scene) == []
        assert compress(scene, store, psnr=40, workers=0, force=True).written == 1
        assert _statement(store)["model"]["name"] == "ntc-3"

    def test_a_bound_alone_stays_with_wave(self, scene: Path, tmp_path: Path) -> None:
        assert compress(scene, tmp_path / "a.zarr", max_error=3, workers=0).ok
        assert _statement(tmp_path / "a.zarr")["codec"] == "wave"

    def test_a_device_that_a_codec_does_not_know(self, scene: Path, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="codec 'jpegxl' knows no device"):
            compress(scene, tmp_path / "a.zarr", codec="jpegxl", device="cuda", workers=0)

    def test_a_codec_of_8_bits_refuses_others_before_it_codes(
        self, scene: Path, tmp_path: Path
    ) -> None:
        report = compress(scene, tmp_path / "a.zarr", codec="avif", quality=50, workers=0)
        (failure,) = report.failures
        assert "codec 'avif' takes uint8, the samples are uint16" in failure.message

    def test_bits_that_are_too_few_are_a_failure_of_the_image(
        self, scene: Path, tmp_path: Path
    ) -> None:
        report = compress(scene, tmp_path / "a.zarr", codec="lerc", bits_per_sample=1e-4, workers=0)
        (failure,) = report.failures
        assert "at its coarsest it takes" in failure.message

    def test_losses_are_told_apart(self) -> None:
        assert len({AtLeast(5.0), AtMost(5.0), Quality(5.0), AtLeast(5.0, 9.0)}) == 4


class TestFloats:
    """Features and embeddings: float arrays within a PSNR of their own range, or a bound."""

    tensor = np.random.default_rng(5).normal(0, 1, (16, 40, 48)).astype(np.float32)

    @pytest.mark.parametrize("options", [{"psnr": 60}, {"codec": "jpegls", "max_error": 0.01}])
    def test_hold_what_is_asked(self, options: dict[str, Any], tmp_path: Path) -> None:
        smooth = self.tensor.cumsum(-1).cumsum(-2) / 20
        smooth[3, 5, 7:9] = np.nan, np.inf
        np.save(tmp_path / "features.npy", smooth)
        store = tmp_path / "features.zarr"
        report = compress(
            tmp_path / "features.npy", store, workers=0, **{"codec": "jpeg2000", **options}
        )
        assert report.ok, report.failures
        found = _samples(store)
        assert np.array_equal(np.isfinite(found), np.isfinite(smooth))
        there = np.isfinite(smooth)
        error = np.abs(found[there] - smooth[there])
        if "max_error" in options:
            assert error.max() <= 0.01
        else:
            peak = _statement(store)["loss_measured"]["peak"]
            assert peak <= np.ptp(smooth[np.isfinite(smooth)])
            assert 10 * np.log10(peak**2 / np.square(error).mean()) >= 60
        assert tilepress.verify(store, tmp_path / "features.npy") == []
        assert _samples(store).dtype == np.float32


class TestGoldenStores:
    """Stores are for ever: those that an earlier version wrote verify, and are what a line asks."""

    @pytest.mark.parametrize(
        ("archive", "name"),
        [(archive, name) for archive, stores in regenerate.LOSSY.items() for name in stores],
    )
    def test_are_as_they_were(self, archive: str, name: str, tmp_path: Path) -> None:
        regenerate.unpack(regenerate.FOLDER / "sources.tar.xz", tmp_path / "sources")
        regenerate.unpack(regenerate.FOLDER / f"{archive}.tar.xz", tmp_path / "stores")
        store, source = tmp_path / f"stores/{name}.zarr", tmp_path / "sources/scene.tif"
        assert tilepress.verify(store, source) == []
        with rasterio.open(source) as file:
            given = file.read(1)
        statement, found = _statement(store), _samples(store)
        worst = np.abs(found.astype(float) - given).max()
        slack = 1 if "irreversible_streams" in statement else 0
        assert worst <= statement["max_error_measured"] + slack
        options = regenerate.LOSSY[archive][name]
        again = compress(source, store, workers=0, tile=48, checksum=True, **options)
        assert (again.unchanged, again.written) == (1, 0)
