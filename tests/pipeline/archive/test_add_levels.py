"""Levels are added to stores that have none; their full resolution stays as it is coded."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import rasterio
import xarray as xr
from rasterio.control import GroundControlPoint
from typer.testing import CliRunner

from tilepress.codecs.reduce import reduced
from tilepress.errors import UsageError
from tilepress.pipeline.archive import add_levels as room
from tilepress.pipeline.archive import plan, write
from tilepress.pipeline.archive.add_levels import add_levels
from tilepress.pipeline.archive.digests import plan_digests
from tilepress.pipeline.archive.repair import repair_stores
from tilepress.pipeline.catalogue.told import ls
from tilepress.pipeline.geotiff.format import GEOTIFF
from tilepress.pipeline.image import grid as geometry
from tilepress.pipeline.store.reader import StoreReader
from tilepress.pipeline.verify import verify
from tilepress.workflows.cli.app import app
from tilepress.workflows.run.compress import compress

from ...helpers.samples import smooth
from ..images import dicom, npy, tiff

IMAGE = smooth((60, 70), 1).astype(np.uint16)
OPTIONS: dict[str, Any] = {"workers": 0, "tier": "fast", "tile": 32}


def give_small_shards(patched: pytest.MonkeyPatch) -> None:
    """Give every level shards of one chunk."""
    whole = geometry.choose_grid

    def small(shape: tuple[int, ...], itemsize: int, **more: object) -> geometry.ShardGrid:
        return whole(shape, itemsize, **{**more, "max_shard_bytes": 1})  # type: ignore[arg-type]

    patched.setattr(plan, "choose_grid", small)
    patched.setattr(room, "choose_grid", small)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give every level shards of one chunk, and nobody time to read what is replaced."""
    give_small_shards(monkeypatch)
    monkeypatch.setattr(room, "READERS_S", 0)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a source and its store."""
    folder = tmp_path_factory.mktemp("made")
    tiff(folder / "in/scene.tif", IMAGE)
    with pytest.MonkeyPatch.context() as patched:
        give_small_shards(patched)
        assert compress(folder / "in/scene.tif", folder / "out", **OPTIONS).ok
    return folder


@pytest.fixture
def source(made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made / "in", tmp_path / "in") / "scene.tif"


@pytest.fixture
def store(made: Path, source: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made / "out", tmp_path / "out") / "scene.zarr"


def tiff_of_one_band(path: Path) -> Path:
    return tiff(path, IMAGE)


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


class TestAStoreWithoutLevels:
    @pytest.mark.parametrize("bound", [0, 2])
    def test_gets_them_and_keeps_its_records(self, source: Path, tmp_path: Path, bound: int):
        assert compress(source, tmp_path / "out", **OPTIONS, max_error=bound).ok
        store = tmp_path / "out/scene.zarr"
        before = contents(store)
        (done,) = add_levels(store, [source], 2)
        assert (done.state, done.levels) == ("written", 2), done
        assert verify(store, source) == []
        after = contents(store)
        for key, data in before.items():
            if key.startswith("0/image/c/"):
                assert after[_renamed(key)] == data
        with xr.open_datatree(store, engine="zarr") as tree:
            found = tree["2/image"].values.astype(int)
            assert np.abs(found - reduced(IMAGE, 4, "average")).max() <= bound
        assert not (store.parent / ".tilepress/scene.zarr").exists()

    def test_has_as_many_samples_as_before_in_more_bytes(self, store: Path, source: Path):
        (before,) = ls(store.parent)
        assert [one.ok for one in add_levels(store, [source], 2)] == [True]
        (after,) = ls(store.parent)
        assert after.raw_bytes == before.raw_bytes == IMAGE.nbytes
        assert after.stored_bytes > before.stored_bytes

    def test_is_the_one_that_compress_would_have_written(self, store: Path, source: Path):
        assert [one.ok for one in add_levels(store, [source], 2)] == [True]
        (image,) = compress(source, store.parent, **OPTIONS, levels=2).images
        assert image.status == "unchanged"

    def test_has_planes_together_as_the_store_has_them(self, tmp_path: Path):
        np.save(tmp_path / "scene.npy", smooth((3, 90, 110)).astype(np.uint16))
        assert compress(tmp_path / "scene.npy", tmp_path / "out", **OPTIONS, planes_per_chunk=1).ok
        assert [one.ok for one in add_levels(tmp_path / "out", [tmp_path / "scene.npy"], 1)]
        reader = StoreReader.open(tmp_path / "out/scene.zarr")
        assert [reader.at_level(n).chunk for n in range(2)] == [(1, 32, 32)] * 2

    def test_is_left_alone_the_second_time(self, store: Path, source: Path):
        assert [one.ok for one in add_levels(store, [source], 2)] == [True]
        before = contents(store)
        (done,) = add_levels(store, [source], 3)
        assert (done.state, done.levels) == ("unchanged", 2)
        assert contents(store) == before

    def test_is_left_alone_where_it_is_small_whatever_it_lost(self, tmp_path: Path):
        tiff(tmp_path / "in/scene.tif", IMAGE)
        assert compress(tmp_path / "in/scene.tif", tmp_path / "out", psnr=50, **OPTIONS).ok
        store = tmp_path / "out/scene.zarr"
        (small,) = add_levels(store, None, "auto")
        assert (small.state, "too small" in str(small.reason)) == ("unchanged", True)
        (asked,) = add_levels(store, None, 2)
        assert (asked.state, "--source" in str(asked.reason)) == ("failed", True)

    def test_is_left_alone_where_it_is_small(self, store: Path, source: Path):
        before = contents(store)
        (done,) = add_levels(store, [source], "auto")
        assert done.state == "unchanged"
        assert "too small" in str(done.reason)
        assert contents(store) == before

    def test_of_an_archive_each(self, source: Path, tmp_path: Path):
        tiff(tmp_path / "in/other.tif", IMAGE + 1)
        assert compress(tmp_path / "in", tmp_path / "out", **OPTIONS).ok
        found = list(add_levels(tmp_path / "out", [tmp_path / "in"], 1))
        assert [one.state for one in found] == ["written", "written"]
        for name in ("scene", "other"):
            assert verify(tmp_path / f"out/{name}.zarr", tmp_path / f"in/{name}.tif") == []


def rgb_with_alpha(path: Path) -> Path:
    samples = np.stack([smooth((60, 70), seed) for seed in range(4)]).astype(np.uint8)
    return raster(path, samples, photometric="RGB", alpha="YES")


def with_a_mask(path: Path) -> Path:
    mask = np.full(IMAGE.shape, 255, np.uint8)
    mask[:30, :40] = 0
    return raster(path, IMAGE[np.newaxis], mask)


def with_nodata_by_band(path: Path) -> Path:
    raster(path, np.stack([IMAGE, IMAGE + 1]).astype(np.float32), nodata=np.nan)
    with rasterio.open(path, "r+") as file:
        file.descriptions = ("B04", "SCL")
        file.scales, file.units = (0.1, 0.1), ("K", "K")
    return path


def with_a_palette(path: Path) -> Path:
    raster(path, (IMAGE[np.newaxis] % 7).astype(np.uint8))
    with rasterio.open(path, "r+") as file:
        file.write_colormap(1, {n: (n, n, n, 255) for n in range(256)})
    return path


def with_control_points(path: Path) -> Path:
    points = [GroundControlPoint(r, c, 4 + c / 100, 50 - r / 100, 0) for r, c in CORNERS]
    return raster(path, IMAGE[np.newaxis], gcps=points, crs="EPSG:4326", transform=None)


def of_jpeg(path: Path) -> Path:
    samples = np.stack([smooth((64, 96), seed) for seed in range(3)]).astype(np.uint8)
    return raster(path, samples, compress="JPEG", tiled=True, blockxsize=32, blockysize=32)


def of_no_place(path: Path) -> Path:
    return raster(path, IMAGE[np.newaxis], crs=None, transform=None)


def without_axes(path: Path) -> Path:
    return npy(path.with_suffix(".npy"), smooth((3, 90, 110)).astype(np.int16))


def of_bits(path: Path) -> Path:
    return npy(path.with_suffix(".npy"), IMAGE.mean() < IMAGE)


def of_a_patient(path: Path) -> Path:
    for number in range(3):
        dicom(path.parent / f"{number}.dcm", 1, number)
    return path.parent


def that_is_padded(path: Path) -> Path:
    for number in range(3):
        file = dicom(path.parent / f"{number}.dcm", 1, number)
        dataset = pydicom.dcmread(file)
        dataset.RescaleSlope, dataset.RescaleIntercept = 2, -1000
        dataset.add_new("PixelPaddingValue", "US", 7)
        dataset.save_as(file)
    return path.parent


def of_a_patient_with_padding(path: Path) -> Path:
    """Write files whose padding is a range of values, which no bound keeps apart from others."""
    that_is_padded(path)
    for file in path.parent.iterdir():
        dataset = pydicom.dcmread(file)
        dataset.add_new("PixelPaddingRangeLimit", "US", 9)
        dataset.save_as(file)
    return path.parent


CORNERS = [(0, 0), (0, 70), (60, 0), (60, 70)]
KINDS = [
    rgb_with_alpha, with_a_mask, with_nodata_by_band, with_a_palette, with_control_points, of_jpeg,
    of_no_place, without_axes, of_bits, of_a_patient, that_is_padded,
]  # fmt: skip


def raster(path: Path, samples: np.ndarray, mask: np.ndarray | None = None, **more: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    profile: dict[str, Any] = {
        "crs": "EPSG:32631", "transform": rasterio.Affine(10, 0, 5e5, 0, -10, 4e6), **more,
    }  # fmt: skip
    profile = {key: value for key, value in profile.items() if value is not None}
    with rasterio.open(
        path, "w", driver="GTiff", width=samples.shape[-1], height=samples.shape[-2],
        count=len(samples), dtype=samples.dtype, **profile,
    ) as file:  # fmt: skip
        file.write(samples)
        if mask is not None:
            file.write_mask(mask)
    return path


class TestAStoreAlone:
    """A lossless store has all that its source had: whoever has lost that need not do without."""

    @pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
    @pytest.mark.parametrize("made", [tiff_of_one_band, *KINDS], ids=lambda one: one.__name__)
    def test_gets_the_levels_that_its_source_gives_to_the_byte(
        self, tmp_path: Path, made: Callable[[Path], Path]
    ):
        source = made(tmp_path / "in/scene.tif")
        assert compress(source, tmp_path / "out", **OPTIONS).ok
        shutil.copytree(tmp_path / "out", tmp_path / "other")
        (one,) = add_levels(tmp_path / "out", [source], 2)
        (other,) = add_levels(tmp_path / "other", None, 2)
        assert (one.state, other.state) == ("written", "written"), other
        wanted, found = stored(tmp_path / "out"), stored(tmp_path / "other")
        assert wanted.keys() == found.keys()
        assert [key for key in wanted if wanted[key] != found[key]] == []
        assert verify(tmp_path / "other") == []

    @pytest.mark.parametrize("made", [with_a_palette, of_a_patient_with_padding])
    def test_that_is_lossless_whatever_the_bound_gets_them_too(
        self, tmp_path: Path, made: Callable[[Path], Path]
    ):
        source = made(tmp_path / "in/scene.tif")
        assert compress(source, tmp_path / "out", **OPTIONS, max_error=2).ok
        shutil.copytree(tmp_path / "out", tmp_path / "other")
        (one,) = add_levels(tmp_path / "out", [source], 1)
        (other,) = add_levels(tmp_path / "other", None, 1)
        assert (one.state, other.state) == ("written", "written"), other
        assert stored(tmp_path / "out") == stored(tmp_path / "other")

    def test_is_known_to_compress_repair_and_verify(self, store: Path, source: Path):
        assert [one.ok for one in add_levels(store, None, 2)] == [True]
        assert verify(store, source) == []
        (image,) = compress(source, store.parent, **OPTIONS, levels=2).images
        assert image.status == "unchanged"
        shard = next(key for key in stored(store) if key.startswith("1/image/c"))
        before = (store / shard).read_bytes()
        (store / shard).write_bytes(before[:-1])
        (repaired,) = repair_stores(store, [source])
        assert (repaired.state, repaired.resealed) == ("repaired", False)
        assert (store / shard).read_bytes() == before

    def test_goes_on_with_what_the_source_began_and_the_other_way_round(
        self, store: Path, source: Path, monkeypatch: pytest.MonkeyPatch
    ):
        for first, second in (([source], None), (None, [source])):
            copy = store.parent.parent / f"copy-{first is None}/scene.zarr"
            shutil.copytree(store, copy)
            with monkeypatch.context() as patched:
                patched.setattr(room, "seal_image", _killed)
                (done,) = add_levels(copy, first, 2)
            assert done.state == "failed"
            assert verify(copy, source) == []
            written: list[Any] = []

            def noted(
                *arguments: Any, right: Any = room.write_shard, known: list[Any] = written
            ) -> Any:
                known.append(right(*arguments))
                return known[-1]

            with monkeypatch.context() as patched:
                patched.setattr(room, "write_shard", noted)
                (done,) = add_levels(copy, second, 2)
            assert done.state == "written", done
            assert all(one.reused for one in written)
            assert verify(copy, source) == []

    @pytest.mark.parametrize("at", ["_copy", "write_shard", "seal_image"])
    def test_is_whole_while_it_gets_them(
        self, store: Path, source: Path, monkeypatch: pytest.MonkeyPatch, at: str
    ):
        with monkeypatch.context() as patched:
            patched.setattr(room, at, _killed)
            (done,) = add_levels(store, None, 2)
        assert done.state == "failed"
        assert verify(store, source) == []
        assert StoreReader.open(store).level_count == 1
        (done,) = add_levels(store, None, 2)
        assert done.state == "written", done
        assert verify(store, source) == []
        assert not (store.parent / ".tilepress/scene.zarr").exists()

    def test_in_a_bucket_gets_them(self, source: Path, bucket: str):
        assert compress(source, f"{bucket}/out", **OPTIONS).ok
        (done,) = add_levels(f"{bucket}/out", None, 2)
        assert (done.state, done.levels) == ("written", 2), done
        assert verify(f"{bucket}/out/scene.zarr", source) == []

    def test_that_is_not_lossless_is_refused_and_says_what_to_do(
        self, source: Path, tmp_path: Path
    ):
        assert compress(source, tmp_path / "out", **OPTIONS, max_error=2).ok
        before = contents(tmp_path / "out")
        (done,) = add_levels(tmp_path / "out", None, 2)
        assert done.state == "failed"
        assert "--source" in str(done.reason)
        assert contents(tmp_path / "out") == before

    def test_whose_documents_do_not_tell_all_is_refused(
        self, store: Path, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr(GEOTIFF.__class__, "as_told", lambda *_: None)
        (done,) = add_levels(store, None, 2)
        assert "--source" in str(done.reason)

    def test_of_files_that_differ_in_padding_is_refused(self, tmp_path: Path):
        folder = that_is_padded(tmp_path / "in/scene")
        dataset = pydicom.dcmread(folder / "1.dcm")
        dataset["PixelPaddingValue"].value = 9
        dataset.save_as(folder / "1.dcm")
        assert compress(folder, tmp_path / "out", **OPTIONS).ok
        (done,) = add_levels(tmp_path / "out", None, 1)
        assert "--source" in str(done.reason)

    def test_that_was_deidentified_is_refused(self, source: Path, tmp_path: Path):
        assert compress(source, tmp_path / "out", **OPTIONS, deidentify="basic").ok
        (done,) = add_levels(tmp_path / "out", None, 1)
        assert "--source" in str(done.reason)

    def test_the_command(self, store: Path, source: Path):
        none = CliRunner().invoke(app, ["levels", str(store), "--levels", "none"])
        assert "want auto or how many" in str(none.exception)
        refused = CliRunner().invoke(app, ["levels", str(store), "--stack", "*"])
        assert isinstance(refused.exception, UsageError)
        done = CliRunner().invoke(app, ["levels", str(store), "--levels", "2"])
        assert done.exit_code == 0, done.output
        assert verify(store, source) == []


class TestStoresOfTheVersionBefore:
    """Plans of levels had another digest: their stores are the ones that the same line makes."""

    def test_are_unchanged_and_repaired(
        self, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        with monkeypatch.context() as patched:
            patched.setattr(plan, "plan_digests", lambda *all_: (former_digest(*all_),))
            patched.setattr(write, "plan_digests", lambda *all_: (former_digest(*all_),))
            assert compress(source, tmp_path / "out", **OPTIONS, levels=2).ok
        store = tmp_path / "out/scene.zarr"
        (image,) = compress(source, store.parent, **OPTIONS, levels=2).images
        assert image.status == "unchanged"
        shard = store / "1/image/c/0/0"
        before = shard.read_bytes()
        shard.unlink()
        (repaired,) = repair_stores(store, [source])
        assert (repaired.state, repaired.resealed) == ("repaired", False)
        assert shard.read_bytes() == before


def former_digest(*arguments: Any) -> str:
    return plan_digests(*arguments)[-1]


def stored(folder: Path) -> dict[str, bytes]:
    """Return what stores hold, without the catalogue, which tells when it was written."""
    found = contents(folder)
    return {key: data for key, data in found.items() if not key.startswith("catalogue/")}


def _killed(*_: Any, **__: Any) -> None:
    raise OSError(5, "killed")


class TestWhatIsNotItsSource:
    def test_is_refused_and_nothing_is_changed(self, store: Path, source: Path, tmp_path: Path):
        before = contents(store)
        os.utime(source, (1e9, 1e9))
        (touched,) = add_levels(store, [source], 2)
        (other,) = add_levels(store, [tiff(tmp_path / "else/scene.tif", IMAGE + 1)], 2)
        for done in (touched, other):
            assert done.state == "failed"
            assert "touched" in str(done.reason)
            assert done.lines()[0].count(str(store)) == 1
        assert contents(store) == before

    def test_must_be_there(self, store: Path, tmp_path: Path):
        with pytest.raises(UsageError, match="no such file"):
            next(iter(add_levels(store, [tmp_path / "gone.tif"], 2)))
        with pytest.raises(UsageError, match="no tilepress store"):
            next(iter(add_levels(tmp_path / "in", [tmp_path], 2)))


class TestDamageAndInterruptions:
    @pytest.mark.parametrize("linked", ["0", "1", "source"])
    def test_nothing_is_written_through_a_link(self, store: Path, tmp_path: Path, linked: str):
        elsewhere = tmp_path / "elsewhere"
        if (store / linked).exists():
            (store / linked).rename(elsewhere)
        else:
            elsewhere.mkdir()
        (store / linked).symlink_to(elsewhere)
        before = contents(elsewhere)
        for _ in range(2):
            (found,) = add_levels(store, None, 1)
            assert found.state == "failed"
            assert f"{linked} is a link, which may lead anywhere" in (found.reason or "")
        assert contents(elsewhere) == before

    def test_a_damaged_shard_is_no_part_of_a_new_store(self, store: Path, source: Path):
        shard = store / "0/image/c/1/1"
        shard.write_bytes(shard.read_bytes()[:-1] + b"\0")
        before = contents(store)
        (done,) = add_levels(store, [source], 2)
        assert done.state == "failed"
        assert "repair" in str(done.reason)
        assert before.items() <= contents(store).items()

    @pytest.mark.parametrize("at", ["_copy", "seal_image"])
    def test_the_old_store_is_whole_and_the_same_line_goes_on(
        self, store: Path, source: Path, monkeypatch: pytest.MonkeyPatch, at: str
    ):
        calls = 0
        right = getattr(room, at)

        def killed(*arguments: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == (3 if at == "_copy" else 1):
                raise OSError(5, "killed")
            return right(*arguments)

        with monkeypatch.context() as patched:
            patched.setattr(room, at, killed)
            (done,) = add_levels(store, [source], 2)
            assert done.state == "failed"
        assert verify(store, source) == []
        assert StoreReader.open(store).level_count == 1
        (done,) = add_levels(store, [source], 2)
        assert done.state == "written", done
        assert verify(store, source) == []
        assert StoreReader.open(store).level_count == 3


def test_one_line_takes_stores_with_any_number(tmp_path: Path) -> None:
    """Who added levels by hand goes on with the line of every day, and repairs what they have."""
    sources, out = tmp_path / "in", tmp_path / "out"
    for number in range(3):
        tiff(sources / f"{number}.tif", IMAGE + number)
    assert compress(sources, out, **OPTIONS).ok
    for number in (1, 2):
        (done,) = add_levels(out / f"{number}.zarr", None, number)
        assert done.state == "written"
    stored_before = stored(out)
    report = compress(sources, out, **OPTIONS)
    assert report.ok, report.failures
    assert report.unchanged == 3
    (out / "2.zarr/2/image/c.0.0").unlink()
    (repaired,) = repair_stores(out / "2.zarr", [sources])
    assert repaired.state == "repaired"
    assert compress(sources, out, **OPTIONS).unchanged == 3
    assert stored(out) == stored_before
    assert [one.state for one in add_levels(out / "2.zarr", None, 1)] == ["unchanged"]


def test_the_command(store: Path, source: Path) -> None:
    line = ["levels", str(store), "--source", str(source), "--levels", "2"]
    done = CliRunner().invoke(app, line)
    assert done.exit_code == 0, done.output
    assert "written: 2 further levels" in done.output.replace("\n", " ")
    assert CliRunner().invoke(app, [*line[:-1], "many"]).exit_code != 0


def _renamed(key: str) -> str:
    """Return the key that a chunk has in a store with the other separator."""
    array, _, index = key.partition("/c/")
    return f"{array}/c.{index.replace('/', '.')}"
