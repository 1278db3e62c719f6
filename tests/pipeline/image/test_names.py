"""Names of files: the same ones in whatever way they were asked for, and none that leaves."""

from __future__ import annotations

import os
import posixpath
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tilepress.errors import DamagedStore
from tilepress.pipeline.image.names import (
    below_common_folder,
    path_to_write,
    safe_name,
    scene_of,
    stays_below,
)

parts = st.text(st.sampled_from("ab.é:\\ _1"), min_size=1, max_size=3).filter(
    lambda part: part not in (".", "..")
)
relatives = st.lists(parts, min_size=1, max_size=3).map("/".join)


class TestBelowTheCommonFolder:
    """What ``source/`` keeps of names: whether files lie here or in a bucket."""

    @pytest.mark.parametrize("root", ["/", "/data/", "s3://bucket/", "s3://bucket/some/folder/"])
    @given(names=st.lists(relatives, min_size=1, max_size=4, unique=True))
    def test_names_are_kept_below_it(self, root: str, names: list[str]) -> None:
        found = below_common_folder([root + name for name in names])
        shared = posixpath.commonpath([posixpath.dirname(name) for name in names])
        assert found == [posixpath.relpath(name, shared or ".") for name in names]
        assert all(map(stays_below, found))

    def test_one_file_is_its_name(self) -> None:
        assert below_common_folder(["/a/b/c.tif"]) == ["c.tif"]
        assert below_common_folder(["s3://bucket/c.tif"]) == ["c.tif"]

    def test_of_two_buckets_the_bucket_is_a_part(self) -> None:
        assert below_common_folder(["s3://one/a/x", "s3://two/x"]) == ["one/a/x", "two/x"]

    def test_files_named_by_ways_that_go_back(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Such a name would be refused when the store is written back."""
        monkeypatch.chdir(tmp_path)
        found = below_common_folder([f"{tmp_path}/in/../other/a.dcm", "in/b.dcm"])
        assert found == ["other/a.dcm", "in/b.dcm"]

    def test_no_object_is_looked_for_on_this_machine(self) -> None:
        assert below_common_folder(["s3://bucket/a b/x", "s3://bucket/c/x"]) == ["a b/x", "c/x"]


class TestWhatIsWritten:
    """The one answer for every format: a store cannot make an export write elsewhere."""

    @pytest.mark.parametrize(
        "name",
        [
            "",
            ".",
            "..",
            "/etc/x",
            "../x",
            "a/../../x",
            "a/..",
            "a//b",
            "a/./b",
            "x\0",
            "/",
            None,
            7,
        ],
    )
    def test_what_leaves_its_folder_is_refused(self, name: object) -> None:
        with pytest.raises(DamagedStore, match="exporting: the store names the unsafe file"):
            path_to_write(name, "exporting")

    @pytest.mark.parametrize(
        ("name", "path"),
        [
            ("scene.tif", "scene.tif"),
            ("a/b.c/IM 0001", "a/b.c/IM 0001"),
            ("12:30.dcm", "12:30.dcm"),
            ("C:\\evil", "C:_evil"),
            ("..\\x", ".._x"),
            ("...", "..."),
        ],
    )
    def test_all_else_keeps_its_name(self, name: str, path: str) -> None:
        assert path_to_write(name, "exporting") == PurePosixPath(path)

    @given(name=relatives)
    def test_what_was_found_can_be_written(self, name: str) -> None:
        (kept,) = below_common_folder([f"/x/{name}"])
        written = os.path.normpath(Path("/out") / path_to_write(kept, "exporting"))
        assert written.startswith("/out/")


class TestNamesOfStores:
    @pytest.mark.parametrize(
        ("text", "name"), [("a b/c", "a-b-c"), ("..", "image"), ("Ω", "image"), ("x_1.2", "x_1.2")]
    )
    def test_are_safe(self, text: str, name: str) -> None:
        assert safe_name(text) == name


@pytest.mark.parametrize(
    ("name", "scene"),
    [("LC08_B10.TIF", "LC08"), ("LC08_MTL.txt", "LC08"), ("one.tif", "one"), ("a_b_c.d.e", "a_b")],
)
def test_files_of_a_scene_have_a_name_in_common(name: str, scene: str) -> None:
    assert scene_of(name) == scene
