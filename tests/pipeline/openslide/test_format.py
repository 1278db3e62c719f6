"""Files are taken as slides where OpenSlide is, and nothing here takes them as such already."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
import zarr

from tilepress.errors import UnsupportedSource
from tilepress.pipeline.export import export
from tilepress.pipeline.export_archive import export_archive
from tilepress.pipeline.find.discover import Failure, discover
from tilepress.pipeline.find.pieces import PIECES
from tilepress.pipeline.image.grid import Box
from tilepress.pipeline.image.source import ADVICE, SourceSpec
from tilepress.pipeline.openslide import format as openslide_format
from tilepress.pipeline.openslide import library
from tilepress.pipeline.sources.open import open_source
from tilepress.pipeline.verify import verify
from tilepress.workflows.run.compress import compress

from ...helpers.scanner_files import mirax, philips, picture, scn, tiff, trestle, vms
from ...helpers.slide_files import APERIO, pyramid, write_slide
from ..images import upload

pytest.importorskip("openslide")

SLIDE = picture(128, 128)

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


def without_openslide(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have it gone, in this process and for what is read in it."""
    monkeypatch.setenv("TILEPRESS_GUESTS", "off")
    for module in (library, openslide_format):
        monkeypatch.setattr(module, "is_installed", lambda: False)


def kinds(path: Path) -> list[str]:
    return [spec.kind for spec in discover([path]) if isinstance(spec, SourceSpec)]


@pytest.mark.parametrize("guests", ["", "off"])
@pytest.mark.parametrize("make", [trestle, philips, scn])
def test_pages_of_a_scanner_are_one_slide(
    tmp_path: Path, make: object, guests: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("TILEPRESS_GUESTS", guests)
    path = make(tmp_path / "a.scn", picture(150, 300))  # type: ignore[operator]
    (spec,) = discover([path])
    assert isinstance(spec, SourceSpec)
    assert (spec.kind, spec.options["name"]) == ("openslide", "a")


def test_what_is_a_slide_already_stays_one(tmp_path: Path):
    levels = pyramid(70, 90)
    assert kinds(write_slide(tmp_path / "a.svs", levels, texts=[APERIO])) == ["slide"]
    assert kinds(write_slide(tmp_path / "b.tif", levels)) == ["slide"]
    assert kinds(write_slide(tmp_path / "c.tif", [pyramid(70, 90)[0]])) == ["geotiff"]


def test_what_openslide_refuses_is_taken_page_by_page(tmp_path: Path):
    """A mark alone makes no slide."""
    whole, mark = picture(150, 170), b'<?xml version="1.0"?><iScan/>'
    path = tiff(tmp_path / "a.tif", [(whole, {700: mark}), (whole[::2, ::2], {})])
    first, second = discover([path])
    assert isinstance(first, SourceSpec)
    assert isinstance(second, SourceSpec)
    assert (first.kind, second.kind) == ("geotiff", "geotiff")
    source = open_source(first)
    source.close()
    assert "OpenSlide opens no slide: taken page by page" in " ".join(source.info.remarks)
    assert ADVICE not in second.options


class TestWithoutOpenSlide:
    def test_people_are_told_what_to_install(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        paths = [mirax(tmp_path / "m.mrxs", SLIDE), vms(tmp_path / "v.vms", SLIDE)]
        without_openslide(monkeypatch)
        found = list(discover([tmp_path]))
        assert len(found) == len(paths)
        monkeypatch.setattr(openslide_format.OPENSLIDE, "opens_other_files", lambda _: False)
        for spec in found:
            assert isinstance(spec, SourceSpec)
            with pytest.raises(UnsupportedSource, match=r"pip install 'tilepress\[formats\]'$"):
                open_source(spec)

    @pytest.mark.parametrize("missing", ["openslide", "openslide_bin"])
    def test_both_packages_count(self, missing: str, monkeypatch: pytest.MonkeyPatch):
        found = library.find_spec
        monkeypatch.setattr(library, "find_spec", lambda n: None if n == missing else found(n))
        assert not library.is_installed.__wrapped__()
        monkeypatch.undo()
        assert library.is_installed.__wrapped__()

    def test_tiff_files_are_taken_page_by_page(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        without_openslide(monkeypatch)
        path = scn(tmp_path / "in/a.scn", picture(150, 170))
        write_slide(tmp_path / "in/b.tif", pyramid(70, 90))
        images = compress(tmp_path / "in", tmp_path / "out", workers=0).images
        told = ["a slide of Leica (SCN)" in " ".join(image.remarks) for image in images]
        assert told == [True, False, False]  # the macro image is left out
        monkeypatch.undo()
        for number in (2, 3):
            assert verify(tmp_path / f"out/a-page{number}.zarr", path) == []

    def test_an_archive_of_pages_stays_as_it_is(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        path = trestle(tmp_path / "in/a.tif", picture(70, 90))
        philips(tmp_path / "in/b.scn", picture(70, 130))
        with monkeypatch.context() as before:
            without_openslide(before)
            assert compress(tmp_path / "in", tmp_path / "out", workers=0, tile=32).ok
        stores = sorted(store.name for store in (tmp_path / "out").glob("*.zarr"))
        report = compress(tmp_path / "in", tmp_path / "out", workers=0, tile=32)
        assert {image.status for image in report.images} == {"unchanged"}
        assert sorted(store.name for store in (tmp_path / "out").glob("*.zarr")) == stores
        (image,) = compress(path, tmp_path / "else", workers=0, tile=32).images
        assert Path(image.store).name == "a.zarr"
        assert image.remarks[0] == "a slide of 2 levels"


class TestSearched:
    def test_files_of_slides_are_counted_once(self, tmp_path: Path):
        mirax(tmp_path / "m.mrxs", SLIDE)
        vms(tmp_path / "v.vms", SLIDE)
        write_slide(tmp_path / "m/other.tif", pyramid(70, 90))
        report = compress(tmp_path, tmp_path / "out", workers=0)
        assert report.ok
        assert [image.status for image in report.images] == ["written"] * 3
        assert report.passed_over[PIECES] == 6

    def test_a_list_of_all_files_is_as_good_as_their_folder(self, tmp_path: Path):
        mirax(tmp_path / "in/m.mrxs", SLIDE)
        vms(tmp_path / "in/v.vms", SLIDE)
        every = sorted(path for path in (tmp_path / "in").rglob("*") if path.is_file())
        (tmp_path / "list.txt").write_text("\n".join(map(str, every)))
        report = compress([f"@{tmp_path / 'list.txt'}"], tmp_path / "out", workers=0)
        assert (report.ok, len(report.images)) == (True, 2)
        assert report.passed_over[PIECES] == 7
        (failure,) = discover([tmp_path / "in/m/Index.dat"])
        assert "it is not an image" in str(failure.error)  # type: ignore[union-attr]

    def test_a_folder_that_is_not_there_is_told(self, tmp_path: Path):
        path = mirax(tmp_path / "m.mrxs", SLIDE)
        path.with_suffix("").rename(tmp_path / "other")
        (failure,) = discover([path])
        assert isinstance(failure, Failure)
        assert "m/, which belongs to it, is not opened: No such file" in str(failure.error)
        assert not failure.private

    def test_several_files_in_a_bucket_are_refused(self, tmp_path: Path, bucket: str):
        mirax(tmp_path / "in/m.mrxs", SLIDE)
        upload(tmp_path / "in", f"{bucket}/in")
        (failure,) = discover([f"{bucket}/in/m.mrxs"])
        assert isinstance(failure, Failure)
        assert "copy (or unpack) them into a folder" in str(failure.error)

    def test_one_file_in_a_bucket_is_read(self, tmp_path: Path, bucket: str):
        scn(tmp_path / "in/a.scn", picture(150, 170))
        upload(tmp_path / "in", f"{bucket}/in")
        (spec,) = discover([f"{bucket}/in"])
        assert isinstance(spec, SourceSpec)
        source = open_source(spec)
        assert (spec.kind, source.info.shape) == ("openslide", (3, 600, 800))
        source.close()


def test_it_is_not_deidentified(tmp_path: Path):
    path = mirax(tmp_path / "m.mrxs", SLIDE)
    report = compress(path, tmp_path / "out", workers=0, deidentify="basic")
    assert not report.ok
    assert "nobody knows what identifies" in report.failures[0].message


def test_an_archive_of_slides_is_exported(tmp_path: Path):
    mirax(tmp_path / "in/m/m.mrxs", SLIDE)
    scn(tmp_path / "in/a.scn", picture(150, 170))
    assert compress(tmp_path / "in", tmp_path / "out", workers=0).ok
    done = list(export_archive(tmp_path / "out", tmp_path / "back"))
    assert [one.problem for one in done] == [None] * 3
    level = zarr.open_array(tmp_path / "back/m/m.zarr/0/image", mode="r")
    assert level.shape == (3, 128, 128)
    assert (tmp_path / "back/a.zarr").is_dir()
    assert (tmp_path / "back/m/m/Slidedat.ini").is_file()


def test_stores_become_other_slides(tmp_path: Path):
    path = mirax(tmp_path / "m.mrxs", SLIDE)
    (image,) = compress(path, tmp_path / "out", workers=0).images
    (back,) = export(image.store, tmp_path / "ome", "ome-tiff")
    source = open_source(next(s for s in discover([path]) if isinstance(s, SourceSpec)))
    whole = source.read(Box((0, 0, 0), source.info.shape))
    source.close()
    with rasterio.open(back) as raster:
        np.testing.assert_array_equal(raster.read(), whole)
    assert kinds(back) == ["slide"]
    levels = export(image.store, tmp_path / "dcm", "dicom")
    assert [level.name for level in levels] == ["level-0.dcm", "level-1.dcm"]
    (again,) = compress(tmp_path / "dcm", tmp_path / "two", workers=0).images
    (npy,) = export(again.store, tmp_path / "a.npy", "npy")
    np.testing.assert_array_equal(np.load(npy), whole)
