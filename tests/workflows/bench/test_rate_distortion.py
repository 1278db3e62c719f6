"""Lossy codecs are compared at several rates, and one page shows it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import rasterio
from typer.testing import CliRunner

from tilepress.codecs.loss import Lossy
from tilepress.codecs.ntc.decoders import choose
from tilepress.errors import UsageError
from tilepress.pipeline.store.reader import StoreReader
from tilepress.workflows.bench.rate_codecs import PEAK, PRESETS, given_of, read_given, rungs
from tilepress.workflows.bench.rate_distortion import RdBench, run_rd
from tilepress.workflows.bench.rate_page import rd_page
from tilepress.workflows.bench.rate_tables import rd_tables
from tilepress.workflows.cli.app import app
from tilepress.workflows.cli.bench import _codec_names
from tilepress.workflows.run.compress import compress

from ...pipeline.images import dicom

CODECS = ("jpeg2000", "jpeg2000:apart", "webp", "htj2k")
TARGETS = (28.0, 32.0, 36.0, 40.0, 44.0, 48.0)


def _scene(folder: Path) -> Path:
    """Write three bands of 8 bits that have much in common."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:150, :170]
    base = 120 + 50 * np.sin(x / 13) + 40 * np.cos(y / 9 + x / 31) + rng.normal(0, 6, x.shape)
    image = np.stack([base * (1 - n / 12) + rng.normal(0, 1, x.shape) for n in range(3)])
    path = folder / "scene.tif"
    with rasterio.open(
        path, "w", driver="GTiff", width=170, height=150, count=3, dtype="uint8",
        crs="EPSG:32631", transform=rasterio.Affine(10, 0, 5e5, 0, -10, 4e6),
    ) as file:  # fmt: skip
        file.write(image.clip(0, 255).astype(np.uint8))
    return path


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> RdBench:
    folder = tmp_path_factory.mktemp("rd")
    scene = _scene(folder / "in")
    np.save(folder / "in/flags.npy", np.indices((40, 40)).sum(axis=0) % 3 == 0)
    np.save(folder / "in/wide.npy", (np.indices((64, 90)).prod(axis=0) % 9001).astype(np.uint16))
    (folder / "in/broken.tif").write_bytes(scene.read_bytes()[:300])
    return run_rd([folder / "in"], CODECS, TARGETS, tile=64)


def _curve(bench: RdBench, codec: str) -> Any:
    image = next(one for one in bench.images if one.dtype == "uint8")
    return next(curve for curve in image.curves if curve.codec == codec)


class TestWhatIsMeasured:
    def test_six_rates_near_the_targets(self, bench: RdBench) -> None:
        points = _curve(bench, "jpeg2000").points
        assert len(points) == len(TARGETS)
        for point, target in zip(points, TARGETS, strict=True):
            assert point.psnr_db == pytest.approx(target, abs=1.5)

    @pytest.mark.parametrize("codec", CODECS)
    def test_more_bits_are_better(self, bench: RdBench, codec: str) -> None:
        points = _curve(bench, codec).points
        for name, direction in (("psnr_db", 1), ("ms_ssim", 1), ("gmsd", -1)):
            values = [direction * getattr(point, name) for point in points]
            assert values == sorted(values), name
        rates = [point.bits_per_sample for point in points]
        assert rates == sorted(rates)
        assert all(point.spectral_angle_deg > 0 and point.seam > 0 for point in points)

    def test_bands_in_common_pay(self, bench: RdBench) -> None:
        assert _curve(bench, "jpeg2000:apart").bd_rate_percent > 20
        assert bench.mean_bd_rate("jpeg2000:apart")[1] >= 1
        assert _curve(bench, "jpeg2000").bd_rate_percent is None

    def test_what_is_not_is_said(self, bench: RdBench) -> None:
        texts = " ".join(bench.skipped)
        assert "flags.npy" in texts
        assert "codec 'webp' takes uint8, the samples are uint16" in texts
        assert ["broken.tif" in one for one in bench.failures] == [True]


def _alpha(path: Path) -> Path:
    """Write RGBA of 16 bits, dark where it is seen, with a bright corner that nobody sees."""
    samples = np.random.default_rng(0).integers(50, 3000, (4, 80, 90)).astype(np.uint16)
    samples[3] = 65535
    samples[:3, :9, :9], samples[3, :9, :9] = 60000, 0
    with rasterio.open(
        path, "w", driver="GTiff", width=90, height=80, count=4, dtype="uint16",
        photometric="rgb", alpha="yes", crs="EPSG:32631",
        transform=rasterio.Affine(10, 0, 5e5, 0, -10, 4e6),
    ) as file:  # fmt: skip
        file.write(samples)
    return path


def _wide(path: Path) -> Path:
    np.save(path, (np.indices((700, 2000)).sum(axis=0) % 1999).astype(np.int16))
    return path


class TestThePeak:
    @pytest.mark.parametrize("make", [_alpha, _wide, _scene])
    def test_is_the_one_that_compress_holds_a_psnr_over(
        self, tmp_path: Path, make: Callable[[Path], Path]
    ) -> None:
        """Whoever picks a PSNR from the curves gets that loss."""
        path = make(tmp_path / ("in" if make is _scene else f"in{_SUFFIX[make]}"))
        found = run_rd([path], ["jpeg2000"], (30.0, 40.0))
        assert compress(path, tmp_path / "a.zarr", codec="jpeg2000", psnr=40, workers=0).ok
        held = StoreReader.open(tmp_path / "a.zarr").loss
        assert isinstance(held, Lossy)
        assert found.images[0].peak == held.peak
        assert held.peak is not None
        assert held.peak < 3000
        told = found.to_json()
        assert told["images"][0]["peak"] == held.peak
        assert told["psnr_over"] == PEAK
        assert PEAK in rd_page(found)
        assert f"peak {held.peak:g}" in rd_page(found)
        assert f"PSNR over {held.peak:g}" in next(iter(rd_tables(found))).title

    def test_padding_counts_as_little_as_in_a_store(self, tmp_path: Path) -> None:
        path = dicom(tmp_path / "in/a.dcm", 1, 1)
        dataset = pydicom.dcmread(path)
        pixels = np.random.default_rng(0).integers(1000, 4000, (20, 30)).astype(np.uint16)
        pixels[:15] = 60000
        dataset.PixelData = pixels.tobytes()
        dataset.add_new("PixelPaddingValue", "US", 60000)
        dataset.save_as(path)
        (image,) = read_given([path])
        given = given_of(image, 64)
        assert given is not None
        assert np.array_equal(given.present.reshape(20, 30), pixels != 60000)
        assert given.peak == np.ptp(pixels[15:])
        for rung in rungs("jpeg2000", given, (20.0, 30.0)):
            kept = rung.decoded.reshape(20, 30)
            assert (kept[:15] == 60000).all()
            squared = np.square(kept[15:].astype(float) - pixels[15:]).mean()
            assert rung.psnr_db == pytest.approx(10 * np.log10(given.peak**2 / squared))

    def test_is_that_of_all_samples_where_a_store_loses_nothing(self, tmp_path: Path) -> None:
        path = _bands_of_few_values(tmp_path / "in.tif")
        (image,) = run_rd([path], ["jpeg2000"], (30.0, 40.0)).images
        assert image.peak == 900


_SUFFIX = {_alpha: ".tif", _wide: ".npy"}


def _masked(path: Path) -> Path:
    """Write one band with noise behind its mask."""
    samples = np.random.default_rng(0).integers(0, 60000, (1, 80, 90)).astype(np.uint16)
    y, x = np.mgrid[:80, :90]
    seen = x > 40
    samples[0][seen] = (900 + 300 * np.sin(x / 9) + 200 * np.cos(y / 7))[seen]
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(
        path, "w", driver="GTiff", width=90, height=80, count=1, dtype="uint16",
        crs="EPSG:32631", transform=rasterio.Affine(10, 0, 5e5, 0, -10, 4e6),
    ) as file:  # fmt: skip
        file.write(samples)
        file.write_mask(np.where(seen, 255, 0).astype(np.uint8))
    return path


class TestWhatNobodySees:
    """It has no weight in a PSNR, as compress has it; bits are those of all that is coded."""

    @pytest.mark.parametrize(("make", "bands"), [(_alpha, 3), (_masked, 1)])
    @pytest.mark.parametrize("codec", ["ntc", "jpeg2000"])
    def test_has_no_weight(
        self, tmp_path: Path, make: Callable[[Path], Path], bands: int, codec: str
    ) -> None:
        path = make(tmp_path / "in.tif")
        with rasterio.open(path) as file:
            given, seen = file.read()[:bands], file.dataset_mask() > 0
        (image,) = read_given([path])
        found = given_of(image, 512)
        assert found is not None
        assert np.array_equal(found.samples.reshape(given.shape), given)
        assert np.array_equal(
            found.present.reshape(given.shape), np.broadcast_to(seen, given.shape)
        )
        (rung,) = rungs(codec, found, (38.0,))
        error = np.square(rung.decoded.reshape(given.shape).astype(float) - given)
        assert rung.psnr_db == pytest.approx(10 * np.log10(found.peak**2 / error[:, seen].mean()))
        assert abs(10 * np.log10(found.peak**2 / error.mean()) - rung.psnr_db) > 0.01
        (point,) = run_rd([path], [codec], (38.0, 38.1)).images[0].curves[0].points[:1]
        assert point.max_error == np.sqrt(error[:, seen].max())
        assert point.bits_per_sample == pytest.approx(8 * rung.size / given.size)

    def test_bands_that_lose_nothing_are_left_out_and_said_to_be(self, tmp_path: Path) -> None:
        found = run_rd([_alpha(tmp_path / "in.tif")], ["jpeg2000"], (30.0, 40.0))
        assert found.images[0].shape == (3, 80, 90)
        (told,) = found.skipped
        assert "in.tif: band 4, which loses nothing in any store" in told

    def test_an_image_that_is_hidden_is_not_measured(self, tmp_path: Path) -> None:
        path = _masked(tmp_path / "in.tif")
        with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as file:
            file.write_mask(np.zeros((80, 90), np.uint8))
        found = run_rd([path], ["jpeg2000"], (30.0, 40.0))
        assert (found.images, len(found.skipped)) == ([], 1)
        assert "no sample is present" in found.skipped[0]


class TestNtcAsStoresHaveIt:
    def test_tiles_of_other_codecs_are_among_them(self, tmp_path: Path) -> None:
        y, x = np.mgrid[:160, :160]
        image = np.random.default_rng(2).integers(0, 4, (3, 160, 160)).astype(np.uint8)
        for number in range(9):
            turned = np.cos(number * 0.7) * (x - 80) + np.sin(number * 0.7) * (y - 80)
            for plane in range(3):
                image[plane][turned > 4 * number - 20] += np.uint8((37 * number * (plane + 1)) % 60)
        with rasterio.open(
            tmp_path / "in.tif", "w", driver="GTiff", width=160, height=160, count=3,
            dtype="uint8", photometric="rgb", crs="EPSG:32631",
            transform=rasterio.Affine(10, 0, 5e5, 0, -10, 4e6),
        ) as file:  # fmt: skip
            file.write(image)
        names = ("ntc@fast", "ntc", "ntc@max")
        found = run_rd([tmp_path / "in.tif"], names, (40.0, 44.0))
        fast, usual, most = (curve.points for curve in found.images[0].curves)
        for n in range(2):
            assert most[n].bytes <= usual[n].bytes < fast[n].bytes
            assert usual[n].psnr_db >= fast[n].psnr_db

    def test_a_tier_that_there_is_not_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="or a tier: fast, max"):
            run_rd([tmp_path], ["ntc@slow"], (40.0, 44.0))


def _bands_of_few_values(path: Path) -> Path:
    """Write classes of 16 bits, which no store loses anything of."""
    samples = (np.indices((80, 90)).sum(axis=0) % 10 * 100).astype(np.uint16)
    with rasterio.open(
        path, "w", driver="GTiff", width=90, height=80, count=1, dtype="uint16",
        crs="EPSG:32631", transform=rasterio.Affine(10, 0, 5e5, 0, -10, 4e6),
    ) as file:  # fmt: skip
        file.write(samples, 1)
    return path


class TestNamesOfCodecs:
    def test_a_preset_stands_for_several(self, tmp_path: Path) -> None:
        """One line puts the techniques side by side."""
        pytest.importorskip("torch")
        scene = _scene(tmp_path / "in")
        found = run_rd([scene], ["survey"], (32.0, 40.0))
        assert found.codecs == PRESETS["survey"]
        assert {curve.codec for curve in found.images[0].curves} == set(PRESETS["survey"])
        rates = {c.codec: c.bd_rate_percent for c in found.images[0].curves}
        assert rates["jpeg"] is None
        assert rates["mlp"] < 0
        assert rates["ntc"] < 0
        assert rates["ntc@net"] < 0
        assert rates["ntc@gan"] > rates["ntc"]  # texture that is made up is error, too

    def test_decoders_are_tried_on_the_same_records(self, tmp_path: Path) -> None:
        scene = _scene(tmp_path / "in")
        found = run_rd([scene], ["ntc", "ntc@view"], (30.0, 44.0))
        base, view = found.images[0].curves
        levels = {point.level: point for point in base.points}
        pairs = [(levels[one.level], one) for one in view.points if one.level in levels]
        assert pairs
        for one, other in pairs:
            assert one.bytes == other.bytes
            assert one.psnr_db > other.psnr_db
        told = re.findall(r'"text": "(ntc.*?)"', rd_page(found))
        assert ["texture in it is made up" in one for one in told] == [False, True]

    def test_detail_is_made_up_of_no_medical_image_unless_forced(self, tmp_path: Path) -> None:
        dicom(tmp_path / "in/a.dcm", 1, 1)
        names, targets = ["ntc", "ntc@view"], (20.0, 30.0)
        found = run_rd([tmp_path / "in"], names, targets)
        assert [curve.codec for curve in found.images[0].curves] == ["ntc"]
        (line,) = found.skipped
        assert "ntc@view makes up detail, which medical images must not have" in line
        forced = run_rd([tmp_path / "in"], names, targets, force_generative=True)
        assert [curve.codec for curve in forced.images[0].curves] == names
        assert not forced.skipped
        alone = run_rd([tmp_path / "in"], ["ntc@view"], targets)
        assert alone.images[0].curves == []
        assert list(rd_tables(alone))
        assert rd_page(alone)
        done = CliRunner().invoke(
            app, ["bench", str(tmp_path / "in"), "--rd", "--codecs", "ntc@view", "--psnr", "20,30"]
        )
        assert done.exit_code == 0, done.output
        assert "ntc@view makes up detail" in done.output

    @pytest.mark.parametrize("name", ["ntc@other", "ntc@model.safetensors"])
    def test_unknown_decoders_are_refused_before(self, name: str) -> None:
        with pytest.raises(UsageError, match="after ntc@, want a decoder: net, gan, view"):
            run_rd([], [name])

    def test_networks_are_left_out_without_torch(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setattr(choose.util, "find_spec", lambda name: None)
        found = run_rd([_scene(tmp_path / "in")], ["ntc@view", "ntc@gan"], (28.0, 32.0))
        assert [curve.codec for curve in found.images[0].curves] == ["ntc@view"]
        assert "'gan': torch is not installed" in " ".join(found.skipped)

    def test_jpeg_takes_8_bits(self, tmp_path: Path) -> None:
        np.save(tmp_path / "wide.npy", np.arange(4096, dtype=np.uint16).reshape(64, 64))
        found = run_rd([tmp_path / "wide.npy"], ["jpeg", "mlp"], (32.0, 40.0))
        assert "codec 'jpeg' takes uint8" in " ".join(found.skipped)
        assert [curve.codec for curve in found.images[0].curves] == ["mlp"]

    def test_parameters_have_commas_of_their_own(self) -> None:
        told = "jpeg,mlp:block=8,hidden=16,bits=6,ntc:apart"
        assert _codec_names(told) == ["jpeg", "mlp:block=8,hidden=16,bits=6", "ntc:apart"]

    def test_parameters_that_are_none_are_refused_before(self) -> None:
        with pytest.raises(UsageError, match="got mlp:'block=5'"):
            run_rd([], ["mlp:block=5"])


class TestHowItIsTold:
    def test_as_json(self, bench: RdBench) -> None:
        told = json.loads(json.dumps(bench.to_json(), allow_nan=False))
        assert told["anchor"] == "jpeg2000"
        assert set(told["mean_bd_rate_percent"]) == set(CODECS[1:])

    def test_in_tables(self, bench: RdBench) -> None:
        tables = list(rd_tables(bench))
        assert len(tables) == len(bench.images) + 1
        assert tables[0].row_count >= 3
        assert "GMSD" in [column.header for column in tables[0].columns]

    def test_on_a_page_that_loads_nothing(self, bench: RdBench) -> None:
        page = rd_page(bench)
        markup = re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)
        assert not re.findall(r"\b(?:src|href|url)\b", markup)
        assert "http" not in page.replace("http-equiv", "")
        assert page.count("<svg") == 2 * len(bench.images)
        assert page.count("<polyline") >= 2 * len(CODECS)
        for text in re.findall(r"<script type='application/json'>(.*?)</script>", page):
            pictures = json.loads(text)
            assert pictures[0]["text"] == "source"
            assert all(one["picture"].startswith("data:image/png;base64,") for one in pictures)
            assert all("difference" in one for one in pictures[1:])

    def test_names_are_text(self, bench: RdBench) -> None:
        other = RdBench(bench.codecs, bench.targets_db, list(bench.images))
        image = other.images[0]
        other.images[0] = type(image)("<b>&", image.shape, image.dtype, image.peak, image.curves)
        assert "<h2>&lt;b&gt;&amp;</h2>" in rd_page(other)


class TestTheCommand:
    def test_writes_all(self, tmp_path: Path) -> None:
        scene = _scene(tmp_path / "in")
        line = [
            *("bench", str(scene), "--rd", "--codecs", "htj2k,jpegls", "--psnr", "30,40"),
            *("--json", str(tmp_path / "a.json"), "--html", str(tmp_path / "a.html")),
        ]
        done = CliRunner().invoke(app, line)
        assert done.exit_code == 0, done.output
        assert "BD-rate against htj2k" in done.stdout
        assert json.loads((tmp_path / "a.json").read_text())["codecs"] == ["htj2k", "jpegls"]
        assert (tmp_path / "a.html").read_text().startswith("<!doctype html>")

    @pytest.mark.parametrize(
        ("options", "text"),
        [
            (["--rd", "--max-error", "1,2"], "--rd goes with --codecs, --psnr, --json, "),
            (["--rd", "--speed", "3", "--html", "a.html"], "or with --speed and --threads, alone"),
            (["--rd", "--speed", "3", "--psnr", "30,40"], "got --psnr 30,40, want one number"),
            (["--rd", "--speed", "2"], "want 3 rounds"),
            (["--psnr", "30,40"], "--psnr and --force-generative go with --rd"),
            (["--force-generative"], "--psnr and --force-generative go with --rd"),
            (["--rd", "--psnr", "a,b"], "want numbers as in 30,40,50"),
        ],
    )
    def test_refuses_what_makes_no_sense(
        self, options: list[str], text: str, tmp_path: Path
    ) -> None:
        done = CliRunner().invoke(app, ["bench", str(tmp_path), *options])
        assert isinstance(done.exception, UsageError)
        assert text in str(done.exception)

    def test_refuses_codecs_that_are_never_lossy(self) -> None:
        with pytest.raises(UsageError, match="got codec 'wave', want some of avif, compressai"):
            run_rd([], ["wave"])
        with pytest.raises(UsageError, match="want two numbers or more"):
            run_rd([], ["jpegxl"], [40])
