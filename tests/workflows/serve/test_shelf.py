"""No key leads to anything but a sealed store below what is served."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tilepress.errors import UsageError
from tilepress.workflows.serve import shelf as shelves
from tilepress.workflows.serve.shelf import NoSuchStore, Shelf


class TestKeys:
    @pytest.mark.parametrize(
        "key",
        [
            "",
            "/",
            ".",
            "..",
            "../out/scene.zarr",
            "deep/../scene.zarr",
            "./scene.zarr",
            "deep//volume.zarr",
            "/scene.zarr",
            "scene.zarr/",
            "scene.zarr/0",
            "scene.zarr/0/image",
            "catalogue",
            "deep",
            "half.zarr",
            ".tilepress",
            "scene.zarr\0",
            "..\\out\\scene.zarr",
            "x" * 5000,
        ],
    )
    def test_others_are_no_stores(self, served: Path, key: str) -> None:
        with pytest.raises(NoSuchStore):
            Shelf(served).picture(key)

    def test_a_link_that_leads_out(self, served: Path, tmp_path: Path) -> None:
        shutil.copytree(served, tmp_path / "archive")
        shutil.copytree(served / "scene.zarr", tmp_path / "secret.zarr")
        (tmp_path / "archive" / "link.zarr").symlink_to(tmp_path / "secret.zarr")
        (tmp_path / "archive" / "up").symlink_to(tmp_path)
        shelf = Shelf(tmp_path / "archive")
        assert shelf.picture("scene.zarr").width == 500
        for key in ("link.zarr", "up/secret.zarr"):
            with pytest.raises(NoSuchStore):
                shelf.picture(key)

    @pytest.mark.parametrize("inside", ["0", "zarr.json", "0/image/c"])
    def test_a_store_with_a_link_in_it(self, served: Path, tmp_path: Path, inside: str) -> None:
        """Each of its objects could lie anywhere."""
        shutil.copytree(served, tmp_path / "archive")
        shutil.copytree(served / "scene.zarr", tmp_path / "secret.zarr")
        target = tmp_path / "archive" / "scene.zarr" / inside
        target.rename(tmp_path / "moved")
        target.symlink_to(tmp_path / "secret.zarr" / inside)
        with pytest.raises(NoSuchStore):
            Shelf(tmp_path / "archive").picture("scene.zarr")

    def test_few_are_held_open(self, served: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(shelves, "MAX_OPEN", 1)
        shelf = Shelf(served)
        first = shelf.picture("scene.zarr")
        assert shelf.picture("scene.zarr") is first
        shelf.picture("deep/volume.zarr")
        assert shelf.picture("scene.zarr") is not first

    def test_what_has_no_stores_is_not_served(self, tmp_path: Path) -> None:
        for where in (tmp_path, tmp_path / "absent"):
            with pytest.raises(UsageError, match="serving"):
                Shelf(where)
