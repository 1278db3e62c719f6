"""Levels that are made are written, checked, mended and gone on with as the image itself is."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import rasterio
import xarray as xr
import zarr
import zarr_cm
from ome_zarr_models.v05.image import Image

import tilepress
from tilepress.codecs.reduce import reduced
from tilepress.errors import UsageError
from tilepress.pipeline.archive import plan, write
from tilepress.pipeline.archive.repair import repair_stores
from tilepress.pipeline.export import export
from tilepress.pipeline.image import grid as geometry
from tilepress.pipeline.image import made_levels
from tilepress.pipeline.storage import retry
from tilepress.pipeline.store.reader import StoreReader
from tilepress.pipeline.store.seal import is_sealed, read_root
from tilepress.pipeline.verify import verify
from tilepress.workflows.run.compress import compress
from tilepress.workflows.run.parts import finish
from tilepress.workflows.run.parts import plan as plan_parts

from ...helpers.samples import smooth
from ...helpers.slide_files import APERIO, pyramid, write_slide
from ..images import dicom

ABSENT = 5
IMAGE = np.stack([smooth((90, 110), seed) for seed in (1, 2)]).astype(np.uint16)
IMAGE[:, :20, :30] = ABSENT
PLACE = {"crs": "EPSG:32631", "transform": rasterio.Affine(10, 0, 5e5, 0, -10, 4e6)}
OPTIONS: dict[str, Any] = {"workers": 0, "tier": "fast", "tile": 32, "levels": 2}


def averages(factor: int) -> np.ndarray:
    return reduced(IMAGE, factor, "average", ABSENT == IMAGE, (ABSENT, ABSENT))


def give_small_shards(patched: pytest.MonkeyPatch) -> None:
    """Give every level shards of one chunk."""
    whole = geometry.choose_grid

    def small(shape: tuple[int, ...], itemsize: int, **more: object) -> geometry.ShardGrid:
        return whole(shape, itemsize, **{**more, "max_shard_bytes": 1})  # type: ignore[arg-type]

    patched.setattr(plan, "choose_grid", small)


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    give_small_shards(monkeypatch)


def tiff(path: Path, samples: np.ndarray = IMAGE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(
        path, "w", driver="GTiff", width=samples.shape[-1], height=samples.shape[-2],
        count=len(samples), dtype=samples.dtype, nodata=ABSENT, **PLACE,
    ) as file:  # fmt: skip
        file.write(samples)
    return path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a source and its store."""
    folder = tmp_path_factory.mktemp("made")
    tiff(folder / "in/scene.tif")
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


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


class TestSizes:
    """Levels that are made take room, and are no samples of the source."""

    def test_the_ratio_is_of_what_came(self, source: Path, tmp_path: Path):
        for status in ("written", "unchanged"):
            report = compress(source, tmp_path / "out", **OPTIONS)
            (image,) = report.images
            assert (image.status, image.raw_bytes) == (status, IMAGE.nbytes)
            assert report.raw_bytes == IMAGE.nbytes
        store = tmp_path / "out/scene.zarr"
        listed = tilepress.ls(tmp_path / "out").totals
        assert (listed.raw_bytes, listed.stored_bytes) == (IMAGE.nbytes, image.stored_bytes)
        assert tilepress.info(store).listed.raw_bytes == IMAGE.nbytes
        assert tilepress.catalogue(tmp_path / "out").raw_bytes.tolist() == [IMAGE.nbytes]
        (item,) = (tmp_path / "out").glob("catalogue/**/scene*.json")
        assert json.loads(item.read_bytes())["properties"]["tilepress:raw_bytes"] == IMAGE.nbytes

    def test_an_exported_dicom_tells_the_ratio_of_the_image_alone(self, tmp_path: Path) -> None:
        path = dicom(tmp_path / "in/a.dcm", 1, 1)
        dataset = pydicom.dcmread(path)
        dataset.Rows, dataset.Columns = IMAGE.shape[1:]
        dataset.PixelData = IMAGE[0].tobytes()
        dataset.save_as(path)
        ratios = []
        for levels in ("none", 2):
            store = tmp_path / f"{levels}.zarr"
            assert compress(path, store, **OPTIONS | {"levels": levels, "max_error": 4}).ok
            (out,) = export(store, tmp_path / f"{levels}")
            ratios.append(float(pydicom.dcmread(out).LossyImageCompressionRatio))
            shards = sum(
                one.stat().st_size for one in store.glob("0/image/c/**/*") if one.is_file()
            )
            assert ratios[-1] == pytest.approx(IMAGE[0].nbytes / shards, rel=1e-3)
        assert StoreReader.open(tmp_path / "2.zarr").level_count == 3
        assert ratios[0] == ratios[1]

    def test_a_store_states_all_that_it_decodes_to(self, store: Path):
        """As stores of before do, which are counted alike."""
        levels = (IMAGE, averages(2), averages(4))
        assert read_root(store).statement["raw_bytes"] == sum(one.nbytes for one in levels)

    def test_what_is_forecast_has_levels_as_bytes_alone(self, source: Path, tmp_path: Path):
        found = [
            compress(source, tmp_path / "out", **OPTIONS | {"levels": n}, dry_run=True).forecast
            for n in ("none", 2)
        ]
        without, with_them = (one for one in found if one is not None)
        assert without.raw_bytes == with_them.raw_bytes == IMAGE.nbytes
        assert (without.stored_bytes or 0) < (with_them.stored_bytes or 0)

    def test_levels_of_a_source_are_of_it(self, tmp_path: Path):
        levels = pyramid(70, 90)
        slide = write_slide(tmp_path / "in/slide.tif", levels, tile=16)
        (image,) = compress(slide, tmp_path / "out", workers=0, tier="fast", tile=32).images
        raw = sum(level.nbytes for level in levels)
        assert image.raw_bytes == tilepress.ls(tmp_path / "out").totals.raw_bytes == raw


class TestReaders:
    def test_find_averages_of_what_is_there(self, store: Path):
        with xr.open_datatree(store, engine="zarr") as tree:
            np.testing.assert_array_equal(tree["0/image"], IMAGE)
            np.testing.assert_array_equal(tree["1/image"], averages(2))
            np.testing.assert_array_equal(tree["2/image"], averages(4))
            assert tree["2/image"].values[0, 0, 0] == ABSENT
            assert tree["2/x"].values[:2].tolist() == [500_020, 500_060]
            assert tree["2/image"].attrs["spatial:transform"] == [40, 0, 5e5, 0, -40, 4e6]
        with tilepress.open(store, level=2, masked=True) as coarse:
            assert np.isnan(coarse.image.values[:, :5, :7]).all()

    def test_find_all_levels_by_their_own_conventions(self, store: Path):
        group = zarr.open_group(store, mode="r")
        multiscale = Image.from_zarr(group).ome_attributes.multiscales[0]
        assert [one.path for one in multiscale.datasets] == ["0/image", "1/image", "2/image"]
        scale, translation = multiscale.datasets[2].coordinateTransformations
        assert scale.scale == [1, 40, 40]
        assert translation.translation == [0, 15, 15]
        told = dict(group.attrs)
        zarr_cm.validate_all(told)
        layout = told["multiscales"]["layout"]
        assert [one["asset"] for one in layout] == ["0", "1", "2"]
        assert [one["spatial:transform"][0] for one in layout] == [10, 20, 40]
        for number in range(3):
            zarr_cm.validate_all(dict(group[str(number)].attrs))

    def test_find_them_in_a_plain_copy(self, store: Path, tmp_path: Path):
        (copy,) = export(store, tmp_path / "plain.zarr", "zarr")
        np.testing.assert_array_equal(zarr.open_array(copy, path="2/image")[:], averages(4))

    def test_get_the_same_export_as_without(self, store: Path, source: Path, tmp_path: Path):
        (back,) = export(store, tmp_path / "back.tif")
        with rasterio.open(back) as one, rasterio.open(source) as other:
            np.testing.assert_array_equal(one.read(), other.read())
            assert one.overviews(1) == other.overviews(1) == []

    @pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
    @pytest.mark.parametrize("wanted", ["geotiff", "ome-tiff", "dicom", "zarr"])
    def test_get_a_slide_of_one_level_back_as_it_came(self, tmp_path: Path, wanted: str):
        """Its export gives the levels of its file, and no other."""
        (whole,) = pyramid(70, 90, levels=1)
        slide = write_slide(tmp_path / "in/a.svs", [whole], texts=[APERIO], tile=16)
        assert compress(slide, tmp_path / "out", **OPTIONS).ok
        (store,) = (tmp_path / "out").glob("*.zarr")
        assert StoreReader.open(store).level_count == 3
        name = {"zarr": "a.zarr", "dicom": "a"}.get(wanted, "a.tif")
        found = export(store, tmp_path / "back" / name, wanted)
        assert len(found) == 1
        if wanted in ("geotiff", "ome-tiff"):
            with rasterio.open(found[0]) as back:
                np.testing.assert_array_equal(back.read(), whole)
                assert back.overviews(1) == []


class TestWhatIsAskedFor:
    def test_auto_leaves_small_images_as_they_are(self, source: Path, tmp_path: Path):
        """They are the very stores that versions without levels wrote."""
        for name, options in (("auto", {}), ("none", {"levels": "none"})):
            assert compress(source, tmp_path / name, workers=0, tier="fast", tile=32, **options).ok
        assert contents(tmp_path / "auto/scene.zarr") == contents(tmp_path / "none/scene.zarr")

    def test_auto_gives_large_ones_levels(
        self, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr(made_levels, "_LARGE", 1000)
        assert compress(source, tmp_path / "out", workers=0, tier="fast", tile=32).ok
        assert StoreReader.open(tmp_path / "out/scene.zarr").arrays == ("image", "1/image")

    def test_a_store_of_an_earlier_version_is_unchanged(
        self, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        assert compress(source, tmp_path / "out", workers=0, tier="fast", tile=32).ok
        before = contents(tmp_path / "out/scene.zarr")
        monkeypatch.setattr(made_levels, "_LARGE", 1000)
        (image,) = compress(source, tmp_path / "out", workers=0, tier="fast", tile=32).images
        assert image.status == "unchanged"
        assert contents(tmp_path / "out/scene.zarr") == before
        (image,) = compress(
            source, tmp_path / "out", workers=0, tier="fast", tile=32, force=True
        ).images
        assert image.status == "written"
        assert StoreReader.open(tmp_path / "out/scene.zarr").level_count == 2

    def test_another_number_is_a_conflict(self, store: Path, source: Path):
        for asked, number in (("none", 0), (1, 1)):
            (failure,) = compress(source, store.parent, **{**OPTIONS, "levels": asked}).failures
            told = f"it has 2 further levels, this run's {number}; --levels 2 takes it as it is"
            assert told in failure.message
        assert compress(source, store.parent, **{**OPTIONS, "levels": 2}).unchanged == 1
        assert verify(store, source) == []

    @pytest.mark.parametrize("bound", [0, 2])
    @pytest.mark.parametrize("large", [False, True])
    @pytest.mark.parametrize("there", [1, 3, "none"])
    def test_auto_takes_what_is_there(
        self,
        source: Path,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        there: str | int,
        large: bool,
        bound: int,
    ):
        """More levels than it would make by itself, or fewer, or none."""
        out, line = tmp_path / "out", {"workers": 0, "tile": 32, "max_error": bound}
        assert compress(source, out, **line, levels=there).ok
        before = contents(out / "scene.zarr")
        if large:
            monkeypatch.setattr(made_levels, "_LARGE", 1000)
        for more in ({}, {"checksum": True}, {"dry_run": True}):
            report = compress(source, out, **line, **more)
            assert report.ok, report
            found = report.forecast if more == {"dry_run": True} else report
            assert found.unchanged == 1
        assert contents(out / "scene.zarr") == before
        other = 2 if there != 2 else 1
        assert not compress(source, out, **line, levels=other).ok

    def test_auto_makes_its_own_of_what_changed(self, store: Path, source: Path):
        line = {"workers": 0, "tile": 32}
        tiff(source, IMAGE[::-1])
        (failure,) = compress(source, store.parent, **line).failures
        assert "its source has changed since" in failure.message
        assert StoreReader.open(store).level_count == 3
        (image,) = compress(source, store.parent, **line, force=True).images
        assert image.status == "written"
        assert StoreReader.open(store).level_count == 1

    def test_auto_is_no_excuse_for_another_bound(self, store: Path, source: Path):
        (failure,) = compress(
            source, store.parent, workers=0, tier="fast", tile=32, max_error=5
        ).failures
        assert "its max error is" in failure.message

    def test_slides_keep_their_own(self, tmp_path: Path):
        slide = write_slide(tmp_path / "in/slide.tif", pyramid(70, 90), tile=16)
        assert compress(slide, tmp_path / "out", **{**OPTIONS, "levels": 5}).ok
        reader = StoreReader.open(tmp_path / "out/slide.zarr")
        assert reader.level_count == 3
        assert "made_levels" not in reader.attrs

    def test_nonsense_is_refused(self, source: Path, tmp_path: Path):
        with pytest.raises(UsageError, match="auto, none or 1 to"):
            compress(source, tmp_path / "out", workers=0, levels="many")

    def test_within_a_bound_levels_are_within_it_of_averages(self, source: Path, tmp_path: Path):
        assert compress(source, tmp_path / "out", **OPTIONS, max_error=3).ok
        store = tmp_path / "out/scene.zarr"
        found = xr.open_zarr(store, group="1").image.values.astype(int)
        assert 0 < np.abs(found - averages(2)).max() <= 3
        np.testing.assert_array_equal(found == ABSENT, averages(2) == ABSENT)
        assert verify(store, source) == []


class TestDamage:
    @pytest.mark.parametrize(
        "keys",
        [
            ("1/image/c/0/1/1", "2/zarr.json"), ("2/image/zarr.json", "1/x/c/0"),
            ("zarr.json", "2/image/c/0/0/0"), ("source/manifest/c/0", "1/image/c/0/0/0"),
            ("0/image/c/0/0/0", "0/zarr.json"),
        ],
    )  # fmt: skip
    @pytest.mark.parametrize("bound", [0, 2])
    def test_is_found_and_mended_to_the_byte(
        self, source: Path, tmp_path: Path, keys: tuple[str, ...], bound: int
    ):
        assert compress(source, tmp_path / "out", **OPTIONS, max_error=bound).ok
        store = tmp_path / "out/scene.zarr"
        good = contents(store)
        for key in keys:
            data = bytearray(good[key])
            data[len(data) // 2] ^= 1
            (store / key).write_bytes(data)
        assert verify(store)
        (done,) = repair_stores(store, [source])
        assert done.state == "repaired", done
        assert contents(store) == good
        assert verify(store, source) == []

    def test_of_the_source_shows_in_a_level(self, store: Path, tmp_path: Path):
        other = IMAGE.copy()
        other[1, 50:60, 50:60] += 9
        found = verify(store, tiff(tmp_path / "else/scene.tif", other))
        assert {damage.kind for damage in found} == {"source"}
        assert {damage.key.partition("/")[0] for damage in found} == {"0", "1", "2"}

    def test_a_store_says_which_levels_it_has(self, store: Path, source: Path):
        """Whoever checks it need not be told, whatever this version makes by itself."""
        told = StoreReader.open(store).attrs["made_levels"]
        assert told == {"factors": [2, 4], "methods": ["average"]}
        assert verify(store, source) == []


class TestARunThatWasInterrupted:
    def test_goes_on_with_what_is_there(
        self, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        def killed(*_: object) -> str:
            raise OSError(5, "killed")

        with monkeypatch.context() as patched:
            patched.setattr(write, "_seal", killed)
            patched.setattr(retry, "STORAGE_TRIES", 1)
            assert not compress(source, tmp_path / "out", **OPTIONS).ok
        store = tmp_path / "out/scene.zarr"
        assert not is_sealed(store)
        (store / "1/image/c/0/0/0").unlink()
        (image,) = compress(source, tmp_path / "out", **OPTIONS).images
        assert (image.status, image.shards - image.shards_reused) == ("written", 1)
        assert verify(store, source) == []

    def test_and_is_unchanged_once_it_is_sealed(self, store: Path, source: Path):
        before = contents(store)
        (image,) = compress(source, store.parent, **OPTIONS).images
        assert image.status == "unchanged"
        (image,) = compress(source, store.parent, **OPTIONS, checksum=True).images
        assert image.status == "unchanged"
        assert contents(store) == before


def test_replacing_leaves_nothing_of_the_store_before(store: Path, source: Path) -> None:
    for asked, count in ((1, 2), ("none", 1), (3, 4)):
        options = {**OPTIONS, "levels": asked, "force": True}
        (image,) = compress(source, store.parent, **options).images
        assert image.status == "written"
        assert verify(store, source) == []
        assert StoreReader.open(store).level_count == count


def test_parts_share_all_levels(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    plan_parts(source, out, **OPTIONS)
    for part in ("0/2", "1/2"):
        compress(source, out, **OPTIONS, part=part)
    assert finish(out, workers=0).ok
    assert verify(out / "scene.zarr", source) == []
    assert StoreReader.open(out / "scene.zarr").level_count == 3


def test_parts_leave_the_levels_that_are_there(store: Path, source: Path) -> None:
    out, line, before = store.parent, {"tier": "fast", "tile": 32}, contents(store)
    tiff(source.with_name("other.tif"))
    plan_parts(source.parent, out, **line, workers=0)
    for part in ("0/2", "1/2"):
        assert compress(source.parent, out, **line, part=part).ok
    report = finish(out, workers=0)
    assert report.ok
    assert contents(store) == before
    assert StoreReader.open(out / "other.zarr").level_count == 1


def test_packed_sources_have_the_same(source: Path, store: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "in.zip", "w") as packed:
        packed.write(source, "scene.tif")
    assert compress(tmp_path / "in.zip", tmp_path / "unpacked", **OPTIONS).ok
    (other,) = (tmp_path / "unpacked").rglob("scene.zarr")
    digests = {read_root(one).statement["source_digest"]["sha256"] for one in (store, other)}
    assert len(digests) == 1
    assert verify(other, tmp_path / "in.zip") == []


@pytest.mark.parametrize("workers", [1])
def test_workers_make_the_same(source: Path, store: Path, tmp_path: Path, workers: int) -> None:
    assert compress(source, tmp_path / "else", **{**OPTIONS, "workers": workers, "tile": 64}).ok
    with xr.open_zarr(tmp_path / "else/scene.zarr", group="2") as found:
        np.testing.assert_array_equal(found.image, averages(4))
