"""A store is compared with the image that it was made of, wherever both lie."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import obstore
import pytest
from obstore.store import S3Store

from tilepress.errors import SourceError, UsageError
from tilepress.pipeline.find.match import SourceFinder
from tilepress.pipeline.verify import verify

from ..images import IMAGE, tiff, upload


@pytest.fixture
def archive(tmp_path: Path, make_store: Callable[..., Any]) -> Path:
    """Return a folder with images below ``in`` and their stores below ``out``."""
    root = tmp_path / "archive"
    for name in ("a/scene", "b/scene", "c/LC_B1", "c/LC_B2"):
        tiff(root / f"in/{name}.TIF", IMAGE + ord(name[0]))
    for name, kind, files in [
        ("a/scene", "geotiff", ["scene.TIF"]),
        ("b/scene", "geotiff", ["scene.TIF"]),
        ("c/LC", "stack", ["LC_B1.TIF", "LC_B2.TIF"]),
    ]:
        origin = {"kind": kind, "files": [{"name": file} for file in files]}
        image = IMAGE + ord(name[0]) if kind == "geotiff" else None
        items = {"origin": json.dumps(origin).encode()}
        store = make_store(f"{name.replace('/', '-')}.zarr", image=image, source_items=items)
        (root / "out" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.move(store.path, root / f"out/{name}.zarr")
    return root


@pytest.fixture(params=["folder", "bucket"])
def where(request: pytest.FixtureRequest, archive: Path) -> str:
    """Return the archive's address: on this machine, then in a bucket."""
    if request.param == "folder":
        return str(archive)
    url = f"{request.getfixturevalue('bucket')}/deep/archive"
    upload(archive, url)
    return url


class TestTheImageOfAStore:
    def test_is_the_one_that_would_go_there(self, where: str) -> None:
        sources = SourceFinder([f"{where}/in"], archive=f"{where}/out")
        for name in ("a/scene", "b/scene"):
            assert sources.find(f"{where}/out/{name}.zarr").paths == (f"{where}/in/{name}.TIF",)
        bands = tuple(f"{where}/in/c/LC_B{band}.TIF" for band in (1, 2))
        assert sources.left_over() == list(bands)

    def test_may_be_a_stack_that_nobody_named(self, where: str) -> None:
        bands = tuple(f"{where}/in/c/LC_B{band}.TIF" for band in (1, 2))
        for stack in (None, "*_B*.TIF"):
            sources = SourceFinder([f"{where}/in"], archive=f"{where}/out", stack=stack)
            spec = sources.find(f"{where}/out/c/LC.zarr")
            assert (spec.kind, spec.paths) == ("stack", bands)
            assert spec.source_bytes is not None
            assert len(spec.options.get("objects", bands)) == 2

    def test_is_compared_pixel_by_pixel(self, where: str) -> None:
        store = f"{where}/out/a/scene.zarr"
        assert verify(store, f"{where}/in/a/scene.TIF") == []
        assert verify(store, f"{where}/in/[a]/*.TIF") == []
        damages = verify(store, f"{where}/in/c/LC_B1.TIF")
        assert {damage.kind for damage in damages} == {"source"}

    def test_is_not_guessed(self, where: str) -> None:
        with pytest.raises(UsageError, match="not one"):
            SourceFinder([f"{where}/in/a", f"{where}/in/b"]).find(f"{where}/out/a/scene.zarr")
        with pytest.raises(SourceError, match="no such"):
            SourceFinder([f"{where}/none.tif"]).find(f"{where}/out/a/scene.zarr")

    def test_of_an_archive_of_another_folder_is_told(self, where: str) -> None:
        sources = SourceFinder([f"{where}/in/a"], archive=f"{where}/out")
        with pytest.raises(UsageError, match=r"no image in .*/in/a goes there; name the folder"):
            sources.find(f"{where}/out/a/scene.zarr")


class TestWhatCannotBeRead:
    def test_tells_what_names_nothing(self, where: str, archive: Path) -> None:
        (archive / "text").write_text("no image")
        names = [f"{where}/none.tif", f"{where}/in/*.none", f"{where}/in/a", str(archive / "text")]
        assert [failure.path for failure in SourceFinder(names).missing] == names[:2]

    def test_is_told(self, bucket: str) -> None:
        obstore.put(S3Store(bucket.removeprefix("s3://")), "a.tif", b"no image")
        assert [name for name, _ in SourceFinder([bucket]).failures] == [f"{bucket}/a.tif"]
