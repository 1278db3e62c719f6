"""An archive in which the pages of a slide have stores of their own stays as it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from tilepress.pipeline.archive.repair import repair_stores
from tilepress.pipeline.archive.verify import check_stores
from tilepress.pipeline.find.discover import discover
from tilepress.pipeline.find.former_pages import as_taken_before
from tilepress.pipeline.geotiff import format as geotiff
from tilepress.pipeline.image.source import SourceSpec
from tilepress.pipeline.storage.path import storage_path
from tilepress.pipeline.verify import verify
from tilepress.workflows.run.compress import compress

from ...helpers.slide_files import APERIO, picture, pyramid, write_slide

LEVELS = pyramid(70, 90)


@pytest.fixture(params=["pages", "one"])
def slide(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A file that was one image for each page, or one with overviews that were not stored."""
    if request.param == "pages":
        pages = [LEVELS[0], picture(17, 22), LEVELS[2]]
        texts = [APERIO + "90x70", APERIO + "90x70 -> 22x17", APERIO + "90x70 -> 23x18"]
        return write_slide(tmp_path / "in/a.svs", pages, texts=texts, strips=(1,))
    return write_slide(tmp_path / "in/a.tif", LEVELS, subfile=(0, 1, 1))


@pytest.fixture
def archive(slide: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What a version that knew of no slides made of it."""
    monkeypatch.setenv("TILEPRESS_GUESTS", "off")
    with monkeypatch.context() as before:
        before.setattr(geotiff, "find_slides", lambda *_: None)
        assert compress(slide, tmp_path / "out", workers=0, tile=32).ok
    return tmp_path / "out"


def names(archive: Path) -> list[str]:
    return sorted(path.name for path in archive.glob("*.zarr"))


def test_a_rerun_changes_nothing(slide: Path, archive: Path):
    before = names(archive)
    report = compress(slide, archive, workers=0, tile=32)
    assert report.ok
    assert {image.status for image in report.images} == {"unchanged"}
    assert len(report.images) == len(before)
    assert names(archive) == before


def test_its_stores_are_verified_and_repaired(slide: Path, archive: Path):
    checks = list(check_stores(archive, [slide]))
    assert {(check.state, check.findings) for check in checks} == {("sound", ())}
    assert len(checks) == len(names(archive))
    store = archive / names(archive)[-1]
    (store / "0/image/c/0/0/0").unlink()
    assert {done.state for done in repair_stores(archive, [slide])} <= {"sound", "repaired"}
    assert verify(store, slide) == []


def test_elsewhere_it_is_a_slide(slide: Path, archive: Path, tmp_path: Path):
    (image,) = compress(slide, tmp_path / "else", workers=0, tile=32).images
    assert image.remarks[0].startswith("a slide of")
    (again,) = compress(slide, tmp_path / "else", workers=0, tile=32).images
    assert again.status == "unchanged"


def test_several_slides_of_a_file_are_not_taken_for_pages(tmp_path: Path):
    """Each has the name that a page had: what is begun there is a slide."""
    other = pyramid(40, 60, levels=2)
    path = write_slide(tmp_path / "in/a.tif", [LEVELS[0], other[0]], below=[LEVELS[1:], other[1:]])
    (tmp_path / "out/a-page1.zarr/0").mkdir(parents=True)
    first, second = (spec for spec in discover([path]) if isinstance(spec, SourceSpec))
    for spec in (first, second):
        found = as_taken_before(
            spec, lambda one: storage_path(tmp_path / f"out/{one.options['name']}.zarr")
        )
        assert found == (spec,)


def test_a_slide_may_be_a_band_where_that_is_asked_for(tmp_path: Path):
    """Pyramids were bands before: of a file that was one image, one still makes a stack."""
    for name in ("scene_B1.tif", "scene_B2.tif"):
        write_slide(tmp_path / name, [level[:1] for level in LEVELS], subfile=(0, 1, 1))
    (spec,) = discover([tmp_path], "scene_*.tif")
    assert isinstance(spec, SourceSpec)
    assert (spec.kind, len(spec.paths)) == ("stack", 2)
