"""What a target holds of: samples that somebody sees, all of an image together or each tile."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import xarray

import tilepress
from tilepress.codecs.loss import Lossy
from tilepress.errors import UsageError
from tilepress.pipeline.archive import plan as planning
from tilepress.pipeline.archive.repair import repair_stores
from tilepress.pipeline.store.reader import StoreReader
from tilepress.pipeline.store.shard import split_shard
from tilepress.workflows.run.compress import compress
from tilepress.workflows.run.parts import finish, plan

Array = np.ndarray[Any, Any]

SIDE, TILE = 200, 128
HIDDEN = slice(0, 110)
"""Columns that nobody sees, in which there is noise."""


@pytest.fixture(autouse=True)
def _in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TILEPRESS_GUESTS", "off")


def _scene(count: int, peak: int, dtype: str) -> Array:
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:SIDE, :SIDE]
    waves = 0.5 + 0.2 * np.sin(x / 23) + 0.15 * np.cos(y / 31 + x / 57)
    bands = [waves * (1 - n / 9) + rng.normal(0, 0.02, waves.shape) for n in range(count)]
    image = np.stack(bands).clip(0, 1) * (peak // 2)
    image[:, :, HIDDEN] = rng.integers(0, peak, (count, SIDE, SIDE))[:, :, HIDDEN]
    return image.astype(dtype)


def _written(path: Path, image: Array, **options: Any) -> Path:
    with rasterio.open(
        path, "w", driver="GTiff", width=SIDE, height=SIDE, count=len(image), dtype=image.dtype,
        crs="EPSG:32631", transform=rasterio.Affine(10, 0, 5e5, 0, -10, 4e6), **options,
    ) as file:  # fmt: skip
        file.write(image)
    return path


def _rgba(path: Path, scene: Array | None = None) -> Path:
    image = _scene(4, 255, "uint8") if scene is None else scene
    image[3] = 255
    image[3, :, HIDDEN] = 0
    return _written(path, image, photometric="RGB", alpha="YES")


def _masked(path: Path) -> Path:
    _written(path, _scene(1, 60_000, "uint16"))
    mask = np.full((SIDE, SIDE), 255, np.uint8)
    mask[:, HIDDEN] = 0
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as file:
        file.write_mask(mask)
    return path


def _errors(source: Path, store: Path) -> tuple[Array, Array]:
    """Return squared errors of what is no alpha, and marks of what is seen, in one shape."""
    with rasterio.open(source) as file:
        given, seen = file.read(), file.dataset_mask() > 0
    with xarray.open_zarr(store / "0", consolidated=False, chunks=None) as dataset:
        found = np.asarray(dataset["image"].values).reshape(given.shape)
    bands = 3 if len(given) == 4 else 1
    squares = np.square(found[:bands].astype(float) - given[:bands])
    return squares, np.broadcast_to(seen, squares.shape)


def _db(squares: Array, peak: float) -> float:
    return float(10 * np.log10(peak**2 / squares.mean()))


def _statement(store: Path) -> dict[str, Any]:
    return dict(StoreReader.open(str(store)).statement)


MAKERS = {"alpha": _rgba, "mask": _masked}


@pytest.mark.parametrize("kind", sorted(MAKERS))
class TestWhatNobodySeesDoesNotCount:
    def test_in_what_is_held_and_stated(self, kind: str, tmp_path: Path) -> None:
        source, store = MAKERS[kind](tmp_path / "a.tif"), tmp_path / "a.zarr"
        report = compress(source, store, psnr=40, tile=TILE, workers=0)
        assert report.ok, report.failures
        squares, seen = _errors(source, store)
        statement = _statement(store)
        measured = statement["loss_measured"]
        assert statement["loss"]["target"]["over"] == "visible"
        assert measured["present_samples"] == seen.sum()
        found = _db(squares[seen], measured["peak"])
        assert 40 <= found < 41
        assert statement["psnr_db"] == pytest.approx(found, abs=1e-3)
        assert abs(_db(squares, measured["peak"]) - found) > 0.1
        if kind == "mask":
            assert measured["peak"] < 30_000, "noise that nobody sees makes no range"
        assert statement["max_error_measured"] ** 2 == squares.max()
        assert tilepress.verify(store, source) == []
        assert report.loss_text.startswith("lossy: 1 image, PSNR 40.")

    def test_running_again_and_repair_give_the_same(self, kind: str, tmp_path: Path) -> None:
        source, store = MAKERS[kind](tmp_path / "a.tif"), tmp_path / "a.zarr"
        options: dict[str, Any] = {"psnr": 40, "tile": TILE, "workers": 0}
        compress(source, store, **options)
        again = compress(source, store, **options, checksum=True)
        assert (again.unchanged, again.written) == (1, 0)
        whole = tmp_path / "whole.zarr"
        shutil.copytree(store, whole)
        (shard,) = (p for p in store.glob("0/image/c/**/*") if p.is_file())
        shard.write_bytes(shard.read_bytes()[:-7])
        (store / "zarr.json").unlink()
        (repair,) = repair_stores(str(store), [str(source)])
        assert repair.ok, repair
        for path in whole.rglob("*"):
            if path.is_file():
                assert (store / path.relative_to(whole)).read_bytes() == path.read_bytes()

    def test_so_do_parts(self, kind: str, tmp_path: Path) -> None:
        (tmp_path / "in").mkdir()
        MAKERS[kind](tmp_path / "in/a.tif")
        options: dict[str, Any] = {"psnr": 40, "tile": TILE, "per_tile": True}
        plan(tmp_path / "in", tmp_path / "out", **options, workers=0)
        for part in ("0/2", "1/2"):
            compress(tmp_path / "in", tmp_path / "out", **options, part=part)
        finish(tmp_path / "out", workers=0)
        compress(tmp_path / "in", tmp_path / "whole", **options, workers=0)
        one, other = (tmp_path / folder / "a.zarr/zarr.json" for folder in ("out", "whole"))
        assert one.read_bytes() == other.read_bytes()

    def test_stores_of_before_mean_what_they_meant(
        self, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        source, store = MAKERS[kind](tmp_path / "a.tif"), tmp_path / "a.zarr"
        options: dict[str, Any] = {"psnr": 40, "tile": TILE, "workers": 0}
        with monkeypatch.context() as earlier:
            earlier.setattr(planning, "has_hidden", lambda info: False)
            assert compress(source, store, **options).ok
        statement = _statement(store)
        assert set(statement["loss"]["target"]) == {"psnr", "peak"}
        squares, _ = _errors(source, store)
        assert statement["loss_measured"]["present_samples"] == squares.size
        peak = statement["loss_measured"]["peak"]
        assert statement["psnr_db"] == pytest.approx(_db(squares, peak), abs=1e-3)
        assert tilepress.verify(store, source) == []
        again = compress(source, store, **options, checksum=True)
        assert (again.unchanged, again.written) == (1, 0)
        assert compress(source, store, **options, force=True).written == 1
        assert _statement(store)["loss"]["target"]["over"] == "visible"


class TestAnImageOfWhichNothingIsSeen:
    @pytest.mark.parametrize("target", [{"psnr": 40}, {"bits_per_sample": 4, "per_tile": True}])
    def test_is_coded_as_finely_as_its_own_values_ask(
        self, target: dict[str, Any], tmp_path: Path
    ) -> None:
        source = _masked(tmp_path / "a.tif")
        with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(source, "r+") as file:
            file.write_mask(np.zeros((SIDE, SIDE), np.uint8))
        report = compress(source, tmp_path / "a.zarr", **target, tile=128, workers=0)
        assert report.ok, report.failures
        statement = _statement(tmp_path / "a.zarr")
        assert statement["loss_measured"]["present_samples"] == 0
        assert statement["loss_measured"]["peak"] > 30_000
        assert statement["loss"]["bits_per_sample"] < 5
        assert tilepress.verify(tmp_path / "a.zarr", source) == []


class TestAPlainImage:
    def test_has_the_configuration_that_it_ever_had(self, tmp_path: Path) -> None:
        source = _written(tmp_path / "a.tif", _scene(1, 60_000, "uint16"))
        assert compress(source, tmp_path / "a.zarr", psnr=40, workers=0).ok
        reader = StoreReader.open(str(tmp_path / "a.zarr"))
        assert reader.codec("image").codec.to_config()["version"] == 2
        assert set(reader.statement["loss"]["target"]) == {"psnr", "peak"}


class TestEachTile:
    def test_holds_a_psnr(self, tmp_path: Path) -> None:
        source, store = _rgba(tmp_path / "a.tif"), tmp_path / "a.zarr"
        report = compress(source, store, psnr=38, tile=64, per_tile=True, workers=0)
        assert report.ok, report.failures
        squares, seen = _errors(source, store)
        for y in range(0, SIDE, 64):
            for x in range(0, SIDE, 64):
                part = (slice(None), slice(y, y + 64), slice(x, x + 64))
                tile = squares[part][seen[part]]
                assert not tile.size or _db(tile, 255) >= 38
        assert str(StoreReader.open(str(store)).loss) == (
            "PSNR at least 38 dB of visible samples in each tile"
        )
        assert tilepress.verify(store, source) == []

    def test_takes_no_more_bits(self, tmp_path: Path) -> None:
        source, store = _written(tmp_path / "a.tif", _scene(2, 4000, "uint16")), tmp_path / "a.zarr"
        report = compress(source, store, bpp=6, tile=64, per_tile=True, workers=0)
        assert report.ok, report.failures
        (shard,) = (p for p in store.glob("0/image/c/**/*") if p.is_file())
        grid = StoreReader.open(str(store)).grid("image")
        for index, record in split_shard(shard.read_bytes(), grid.chunks_per_shard).items():
            pairs = zip(index[1:], grid.shape[1:], strict=True)
            pixels = np.prod([min(64, size - 64 * at) for at, size in pairs])
            assert 8 * len(record) <= 6 * pixels or pixels < 64 * 64  # cut, and at its coarsest
        assert 8 * shard.stat().st_size <= 6 * SIDE * SIDE

    def test_that_cannot_is_said(self, tmp_path: Path) -> None:
        source = _written(tmp_path / "a.tif", _scene(1, 4000, "uint16"))
        report = compress(
            source, tmp_path / "a.zarr", bits_per_sample=0.05, tile=64, per_tile=True, workers=0
        )
        (failure,) = report.failures
        assert "coding a tile with at most 0.05 bits per sample in each tile" in failure.message

    def test_that_does_not_is_found(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A source of which one tile is worse and another better than when it was coded."""
        source, store = _rgba(tmp_path / "a.tif"), tmp_path / "a.zarr"
        assert compress(source, store, psnr=38, tile=64, per_tile=True, workers=0).ok
        strict = StoreReader.loss.fget  # type: ignore[attr-defined]

        def stricter(reader: StoreReader) -> Any:
            loss = strict(reader)
            assert isinstance(loss, Lossy)
            return replace(loss, value=39.5)

        monkeypatch.setattr(StoreReader, "loss", property(stricter))
        (damage,) = (d for d in tilepress.verify(store, source) if d.kind == "source")
        assert "does not hold PSNR at least 39.5 dB" in damage.detail

    @pytest.mark.parametrize("options", [{"quality": 40}, {"max_error": 2}, {}])
    def test_needs_a_target_that_is_looked_for(
        self, options: dict[str, Any], tmp_path: Path
    ) -> None:
        with pytest.raises(UsageError, match="--per-tile needs --psnr, --bits-per-sample or --bpp"):
            compress(tmp_path, tmp_path / "out", per_tile=True, **options)
