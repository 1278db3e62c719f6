"""Catalogues show rasters on the ground in small pictures, and nobody else."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pystac
import pytest

from tilepress.pipeline.archive.add_levels import add_levels
from tilepress.pipeline.catalogue import thumbnails as room
from tilepress.pipeline.catalogue.stores import is_catalogue_object
from tilepress.pipeline.catalogue.thumbnails import thumbnail_of
from tilepress.pipeline.catalogue.update import _Update, update_catalogue
from tilepress.pipeline.storage.path import storage_path
from tilepress.pipeline.store.reader import StoreReader
from tilepress.pipeline.store.seal import with_seal
from tilepress.pipeline.verify import verify
from tilepress.workflows.run.compress import compress
from tilepress.workflows.run.parts import finish

from ...helpers.stac import validate
from ..images import dicom, npy, tiff

IMAGE = np.zeros((600, 400), np.uint16)
IMAGE[:300] = 1000


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """Return a folder of a raster, one of no levels, an array and a series of a patient."""
    folder = tmp_path / "in"
    tiff(folder / "a b/scene.tif", IMAGE)
    npy(folder / "plain.npy", IMAGE)
    dicom(folder / "ct/1.dcm", 1, 1)
    return folder


def made(sources: Path, out: Path, **options: Any) -> Path:
    assert compress(sources, out, workers=0, **options).ok
    return out


def pictures(archive: Path) -> dict[str, np.ndarray]:
    folder = archive / "catalogue/thumbnails"
    return {
        path.relative_to(folder).as_posix(): imagecodecs.webp_decode(path.read_bytes())
        for path in folder.rglob("*")
        if path.is_file()
    }


def item(archive: Path, name: str = "a~20b/scene.zarr") -> dict[str, Any]:
    found: dict[str, Any] = json.loads((archive / f"catalogue/items/{name}.json").read_text())
    return found


class TestAPicture:
    def test_is_of_rasters_on_the_ground_that_have_levels(self, sources: Path, tmp_path: Path):
        archive = made(sources, tmp_path / "out", levels=1)
        assert [*pictures(archive)] == ["a~20b/scene.zarr.webp"], "no array, and no patient"
        (picture,) = pictures(archive).values()
        assert picture.shape[:2] == (256, 171)
        assert picture[:100].mean() > picture[150:].mean() + 100, "it shows the image"

    def test_is_of_no_other_unless_asked(self, sources: Path, tmp_path: Path):
        assert not pictures(made(sources, tmp_path / "out"))
        assert not pictures(made(sources, tmp_path / "none", levels=1, thumbnails=False))
        found = pictures(made(sources, tmp_path / "all", thumbnails=True))
        assert [*found] == ["a~20b/scene.zarr.webp"]

    def test_is_an_asset_that_pystac_validates_and_finds(self, sources: Path, tmp_path: Path):
        archive = made(sources, tmp_path / "out", levels=1)
        validate(item(archive))
        catalog = pystac.Catalog.from_file(str(archive / "catalogue/catalog.json"))
        (found,) = (one for one in catalog.get_items(recursive=True) if one.geometry)
        asset = found.assets["thumbnail"]
        assert (asset.roles, asset.media_type) == (["thumbnail"], "image/webp")
        path = Path(str(asset.get_absolute_href()))
        assert path.stat().st_size == asset.extra_fields["file:size"]

    def test_of_a_bucket(self, sources: Path, bucket: str):
        assert compress(sources, f"{bucket}/out", workers=0, levels=1).ok
        catalogue = storage_path(f"{bucket}/out") / "catalogue"
        picture = (catalogue / "thumbnails/a~20b/scene.zarr.webp").read()
        assert imagecodecs.webp_decode(picture).shape[0] == 256

    def test_is_drawn_of_the_coarsest_level(
        self, sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        archive = made(sources, tmp_path / "out", levels=1)
        reader = StoreReader.open(archive / "a b/scene.zarr")
        monkeypatch.setattr(room, "MAX_SAMPLES", 300 * 200)
        assert thumbnail_of(reader) is not None
        monkeypatch.setattr(room, "MAX_SAMPLES", 300 * 200 - 1)
        assert thumbnail_of(reader) is None

    def test_is_of_no_patient_whatever_else_is_told(self, sources: Path, tmp_path: Path):
        """A series that says no modality and lies on the ground, as somebody sealed it."""
        archive = made(sources, tmp_path / "out")
        (series,) = archive.glob("*-*.zarr")
        scene = json.loads((archive / "a b/scene.zarr/zarr.json").read_bytes())
        root = json.loads((series / "zarr.json").read_bytes())
        told, placed = (
            one["consolidated_metadata"]["metadata"]["0/image"]["attributes"]
            for one in (root, scene)
        )
        del told["modality"]
        told |= {k: v for k, v in placed.items() if k.startswith(("proj:", "spatial:"))}
        root["attributes"]["tilepress"]["seal"] = "0" * 64
        forged = with_seal(json.dumps(root, separators=(",", ":")).encode())
        (series / "zarr.json").write_bytes(forged)
        update_catalogue(archive, thumbnails="all")
        assert item(archive, series.name)["geometry"] is not None
        assert [*pictures(archive)] == ["a~20b/scene.zarr.webp"]

    def test_is_missing_where_samples_are_damaged(self, sources: Path, tmp_path: Path):
        archive = made(sources, tmp_path / "out", levels=1, thumbnails=False)
        shard = archive / "a b/scene.zarr/1/image/c/0/0"
        shard.write_bytes(shard.read_bytes()[:-20])
        update_catalogue(archive, thumbnails="all")
        assert not pictures(archive)
        assert "thumbnail" not in item(archive)["assets"]


class TestARunThatGoesOn:
    def test_draws_what_was_listed_without_where_all_are_asked_for(
        self, sources: Path, tmp_path: Path
    ):
        archive = made(sources, tmp_path / "out")
        made(sources, archive)
        assert not pictures(archive)
        made(sources, archive, thumbnails=True)
        assert len(pictures(archive)) == 1
        assert item(archive)["assets"]["thumbnail"]["href"].endswith("scene.zarr.webp")
        assert update_catalogue(archive, thumbnails="all").written == 0

    def test_that_is_stopped_between_picture_and_index(
        self, sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        archive = made(sources, tmp_path / "out", levels=1, thumbnails=False)

        def stopped(*_: object) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patched:
            patched.setattr(_Update, "_remove_items", stopped)
            patched.setattr("tilepress.pipeline.catalogue.index.Index.write", stopped)
            with pytest.raises(KeyboardInterrupt):
                update_catalogue(archive, thumbnails="all")
        assert len(pictures(archive)) == 1
        shutil.rmtree(archive / "a b")
        update_catalogue(archive, thumbnails="all")
        assert not pictures(archive)
        assert not (archive / "catalogue/updating.json").exists()

    def test_shows_the_store_that_is_there(self, sources: Path, tmp_path: Path):
        archive = made(sources, tmp_path / "out", levels=1)
        (before,) = pictures(archive).values()
        tiff(sources / "a b/scene.tif", IMAGE[::-1].copy())
        made(sources, archive, levels=1, force=True)
        (after,) = pictures(archive).values()
        assert before[:100].mean() > 100 > after[:100].mean()

    def test_takes_the_picture_of_a_store_away_that_gets_none(self, sources: Path, tmp_path: Path):
        archive = made(sources, tmp_path / "out", levels=1)
        made(sources, archive, levels="none", force=True)
        assert not pictures(archive)
        assert "thumbnail" not in item(archive)["assets"]

    def test_takes_the_picture_of_a_store_away_that_is_gone(self, sources: Path, tmp_path: Path):
        archive = made(sources, tmp_path / "out", levels=1)
        shutil.rmtree(archive / "a b")
        update_catalogue(archive)
        assert not pictures(archive)

    def test_rebuilt_without_leaves_none(self, sources: Path, tmp_path: Path):
        archive = made(sources, tmp_path / "out", levels=1)
        update_catalogue(archive, rebuild=True, thumbnails="none")
        assert not pictures(archive)

    def test_of_parts_draws_when_it_is_finished(self, sources: Path, tmp_path: Path):
        for part in range(2):
            compress(sources, tmp_path / "out", part=f"{part}/2")
        assert finish(tmp_path / "out", workers=0, thumbnails=True).ok
        assert len(pictures(tmp_path / "out")) == 1

    def test_draws_stores_that_have_got_levels(self, sources: Path, tmp_path: Path):
        archive = made(sources, tmp_path / "out")
        assert all(one.ok for one in add_levels(archive, None, 1))
        assert len(pictures(archive)) == 1


class TestWhoeverReadsTheArchive:
    def test_checks_it_as_before(self, sources: Path, tmp_path: Path):
        archive = made(sources, tmp_path / "out", levels=1)
        assert verify(archive) == []

    @pytest.mark.parametrize(
        ("key", "is_one"),
        [
            ("catalogue/thumbnails/a/b.zarr.webp", True),
            ("catalogue/items/b.zarr.webp", False),
            ("thumbnails/b.zarr.webp", False),
        ],
    )
    def test_takes_no_picture_for_a_source(self, key: str, is_one: bool):
        assert is_catalogue_object(key) is is_one


def test_memory_is_that_of_one_picture_at_a_time(
    sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(6):
        tiff(sources / f"{number}.tif", IMAGE)
    archive = made(sources, tmp_path / "out", thumbnails=False)
    drawing, most = [0], [0]

    def drawn(reader: StoreReader) -> bytes:
        drawing[0] += 1
        most[0] = max(most[0], drawing[0])
        found = thumbnail_of(reader)
        drawing[0] -= 1
        assert found is not None
        return found

    monkeypatch.setattr("tilepress.pipeline.catalogue.update.thumbnail_of", drawn)
    update_catalogue(archive, thumbnails="all")
    assert most == [1]
    assert len(pictures(archive)) == 7
