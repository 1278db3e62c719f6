"""How good each tile of a lossy store is: kept, shown, and checked against the source."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import xarray
from typer.testing import CliRunner

import tilepress
from tilepress.codecs.difference import Difference
from tilepress.codecs.measured import Measured
from tilepress.pipeline.archive.lossy import Tally
from tilepress.pipeline.store.reader import StoreReader
from tilepress.workflows.cli.app import app
from tilepress.workflows.run.compress import compress

Array = np.ndarray[Any, Any]

TILE, SIDES = 64, (150, 200)
TILES = [(y, x) for y in range(0, SIDES[0], TILE) for x in range(0, SIDES[1], TILE)]


@pytest.fixture(autouse=True)
def _in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TILEPRESS_GUESTS", "off")


def _scene(path: Path) -> Path:
    """Write waves under noise that grows to the right; one tile is of one value, one all nodata."""
    y, x = np.mgrid[: SIDES[0], : SIDES[1]]
    noise = np.random.default_rng(1).normal(0, 1, SIDES) * x / 3
    image = (4000 + 900 * np.sin(x / 17) + 500 * np.cos(y / 23) + noise).astype(np.uint16)
    image[:TILE, :TILE] = 4000
    image[TILE : 2 * TILE, :TILE] = 0
    with rasterio.open(
        path, "w", driver="GTiff", width=SIDES[1], height=SIDES[0], count=1, dtype="uint16",
        nodata=0, crs="EPSG:32631", transform=rasterio.Affine(10, 0, 5e5, 0, -10, 4e6),
    ) as file:  # fmt: skip
        file.write(image, 1)
    return path


def _tile_db(source: Path, store: Path, peak: float) -> list[float]:
    """Return the PSNR of each tile that has present samples; infinite where nothing differs."""
    with rasterio.open(source) as file:
        given = file.read(1)
    with xarray.open_zarr(store / "0", consolidated=False, chunks=None) as dataset:
        found = np.asarray(dataset["image"].values).reshape(given.shape)
    out = []
    for y, x in TILES:
        part = (slice(y, y + TILE), slice(x, x + TILE))
        error = (found[part].astype(float) - given[part])[given[part] != 0]
        if error.size:
            mean = np.square(error).mean()
            out.append(10 * np.log10(peak**2 / mean) if mean else np.inf)
    return out


@pytest.mark.parametrize("codec", ["ntc", "jpeg2000"])
class TestThePsnrOfTiles:
    def test_is_stated_by_how_many_have_it(self, codec: str, tmp_path: Path) -> None:
        source, store = _scene(tmp_path / "a.tif"), tmp_path / "a.zarr"
        assert compress(source, store, codec=codec, psnr=40, tile=TILE, workers=0).ok
        measured = StoreReader.open(str(store)).statement["loss_measured"]
        found, told = _tile_db(source, store, measured["peak"]), measured["tiles"]
        assert told["count"] == len(found) == len(TILES) - 1
        assert told["exact"] == sum(map(np.isinf, found)) >= 1
        keys = [float(key) for key in told["psnr_db"]]
        assert keys == sorted(keys)
        stated = [float(key) for key, count in told["psnr_db"].items() for _ in range(count)]
        for db, least in zip(sorted(filter(np.isfinite, found)), stated, strict=True):
            assert least <= db < least + 0.5
        assert stated[-1] - stated[0] > 1, "tiles differ, or this tells nothing"
        assert tilepress.verify(store, source) == []

    def test_is_shown(self, codec: str, tmp_path: Path) -> None:
        source, store = _scene(tmp_path / "a.tif"), tmp_path / "a.zarr"
        assert compress(source, store, codec=codec, psnr=40, tile=TILE, workers=0).ok
        told = tilepress.info(store)
        psnr = told.statement["loss_measured"]["tiles"]["psnr_db"]
        words = told.tiles
        most = float(list(psnr)[-1]) + 0.5
        assert words.startswith(f"11, PSNR {next(iter(psnr))} to {most:.1f} dB, half of them ")
        assert f"tiles: {words}" in repr(told)
        shown = CliRunner().invoke(app, ["info", str(store)])
        assert f"tiles: {words}" in shown.output
        as_json = CliRunner().invoke(app, ["info", str(store), "--json"])
        assert json.loads(as_json.output)["tilepress"]["loss_measured"]["tiles"]["psnr_db"] == psnr

    def test_lies_in_the_range_that_is_shown(self, codec: str, tmp_path: Path) -> None:
        source, store = _scene(tmp_path / "a.tif"), tmp_path / "a.zarr"
        assert compress(source, store, codec=codec, psnr=40, tile=256, workers=0).ok
        told = tilepress.info(store)
        (least,) = map(float, told.statement["loss_measured"]["tiles"]["psnr_db"])
        assert told.tiles == f"1, PSNR {least:.1f} to {least + 0.5:.1f} dB"
        assert least <= told.statement["psnr_db"] < least + 0.5

    def test_is_of_no_store_without_loss(self, codec: str, tmp_path: Path) -> None:
        source, store = _scene(tmp_path / "a.tif"), tmp_path / "a.zarr"
        assert compress(source, store, tile=TILE, workers=0).ok
        assert tilepress.info(store).tiles == ""


class TestASourceWhoseTilesDifferOtherwise:
    """Errors that moved from one tile to another leave their sum, their mean and their number."""

    @staticmethod
    def _tally(errors: list[float]) -> Tally:
        tally = Tally(1)
        for error in errors:
            given = np.full((1, 8, 8), 500.0)
            decoded = given + error * np.where(np.arange(8) % 2, 1, -1)
            found = Measured.of(given, decoded, np.ones(given.shape, bool), None)
            squared = 64 * error**2
            tally.add(0, Difference(error, squared), found.as_tile(squared))
        return tally

    def _stated(self, errors: list[float]) -> dict[str, Any]:
        mean = float(np.mean(np.square(errors)))
        tiles = self._tally(errors)._parts
        whole = Measured.total(tiles, 1).tiles
        assert whole is not None
        by_db = {f"{db:.1f}": n for db, n in whole.by_psnr_db(1000.0).items()}
        return {
            "psnr_db": 10 * np.log10(1000.0**2 / mean),
            "loss_measured": {
                "peak": 1000.0, "present_samples": 64 * len(errors), "bias": [0.0],
                "tiles": {"count": len(errors), "exact": whole.exact, "psnr_db": by_db},
            },
        }  # fmt: skip

    def test_is_found(self) -> None:
        stated = self._stated([1.0, 7.0])
        assert self._tally([7.0, 1.0]).contradiction(stated) is None
        other = self._tally([5.0, 5.0]).contradiction(stated)
        assert other is not None
        assert "tiles have another PSNR" in other

    def test_is_left_alone_where_decoders_differ_or_nothing_is_stated(self) -> None:
        stated = self._stated([1.0, 7.0])
        other = self._tally([5.0, 5.0])
        assert other.contradiction({**stated, "irreversible_streams": "some"}) is None
        del stated["loss_measured"]["tiles"]
        assert other.contradiction(stated) is None


class TestWhatIsKeptStaysSmall:
    def test_for_a_million_tiles(self) -> None:
        """A thousand shards of a thousand tiles, from perfect to useless."""
        ones = [
            (0, Measured((64,), (0.0,), {}).as_tile(64 * 10.0 ** (n % 150 / 10 - 5)))
            for n in range(1000)
        ]
        shard = Measured.total(ones, 1)
        whole = Measured.total([(0, shard)] * 1000, 1)
        assert whole.tiles is not None
        assert whole.tiles.count == 1_000_000
        assert len(json.dumps(whole.to_json())) < 4000
        assert sum(whole.tiles.by_psnr_db(255.0).values()) + whole.tiles.exact == 1_000_000
