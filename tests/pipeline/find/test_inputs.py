"""Whatever a user names becomes a stream of files, and what cannot be read is listed."""

from __future__ import annotations

import glob
import io
import os
import sys
import tracemalloc
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import obstore
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st
from obstore.store import S3Store

from tilepress.errors import DamagedSource, UnsupportedSource
from tilepress.pipeline.arrays import source as array_source
from tilepress.pipeline.find import looked as looked_module
from tilepress.pipeline.find import walk
from tilepress.pipeline.find.discover import discover, store_path
from tilepress.pipeline.find.inputs import absolute, expand, read_list
from tilepress.pipeline.find.walk import Batch, End, Failure, ZarrNode
from tilepress.pipeline.image.source import SourceSpec
from tilepress.pipeline.sources.open import open_source
from tilepress.pipeline.storage.path import storage_path

from ...helpers.s3 import S3Server
from ..images import IMAGE, dicom, npy, tiff, upload


def _paths(*sources: str | Path) -> list[str]:
    """Return what the files of an expansion are called."""
    items = expand([str(source) for source in sources])
    return [file.path for item in items if isinstance(item, Batch) for file in item.files]


def _failures(*sources: str | Path) -> list[Failure]:
    items = expand([str(source) for source in sources])
    return [item for item in items if isinstance(item, Failure)]


def _stores(*sources: str | Path, stack: str | None = None) -> list[str]:
    """Return where an archive would put the images."""
    found = discover([str(source) for source in sources], stack)
    return sorted(str(store_path(spec)) for spec in found if isinstance(spec, SourceSpec))


def _passed_over(source: str | Path) -> dict[str, int]:
    """Return the companions of images that a search came by."""
    counted: Counter[str] = Counter()
    list(discover([source], passed_over=counted))
    return dict(counted)


COMPANIONS = ["a.txt", "in.dir/b.XML", "in.dir/c.aux.xml", "a.tfw", "README.doe", "thumbs.db", ".x"]
WANTED = {".txt": 1, ".xml": 2, ".tfw": 1, "": 2}


def _touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


class TestPatterns:
    def test_stars_stay_in_their_folder_and_double_stars_do_not(self, tmp_path: Path) -> None:
        names = ["a.tif", "x/b.tif", "x/y/c.tif", "x/y/d.png"]
        _touch(*(tmp_path / name for name in names))
        for pattern, wanted in [
            ("*.tif", ["a.tif"]),
            ("*/*.tif", ["x/b.tif"]),
            ("**/*.tif", ["a.tif", "x/b.tif", "x/y/c.tif"]),
            ("x/**/*.tif", ["x/b.tif", "x/y/c.tif"]),
            ("**/y/[cd].*", ["x/y/c.tif", "x/y/d.png"]),
            ("**", names),
            ("**/y", ["x/y/c.tif", "x/y/d.png"]),
        ]:
            found = _paths(f"{tmp_path}/{pattern}")
            assert sorted(found) == sorted(str(tmp_path / name) for name in wanted), pattern

    def test_names_count_from_where_the_pattern_begins(self, tmp_path: Path) -> None:
        tiff(tmp_path / "in/2020/scene.tif")
        tiff(tmp_path / "in/2021/scene.tif")
        wanted = ["2020/scene", "2021/scene"]
        for pattern in ("in/**/*.tif", "in/*/scene.tif", "in/20*", "in/20*/"):
            assert _stores(f"{tmp_path}/{pattern}") == wanted, pattern

    def test_relative_patterns_count_from_here(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        tiff(tmp_path / "a/scene.tif")
        monkeypatch.chdir(tmp_path)
        assert _stores("*/scene.tif") == ["a/scene"]
        assert _paths("*/*.tif") == [str(tmp_path / "a/scene.tif")]

    def test_a_file_of_that_very_name_is_meant(self, tmp_path: Path) -> None:
        _touch(tmp_path / "scene[1].tif", tmp_path / "scene1.tif", tmp_path / "scene2.tif")
        assert _paths(tmp_path / "scene[1].tif") == [str(tmp_path / "scene[1].tif")]
        assert _paths(tmp_path / "scene[2].tif") == [str(tmp_path / "scene2.tif")]

    def test_one_that_matches_nothing_is_listed(self, tmp_path: Path) -> None:
        _touch(tmp_path / "readme.txt")
        for pattern in ("*.tif", "none/*.tif", "*.txt"):
            failures = _failures(tmp_path / pattern)
            assert any(failure.path == f"{tmp_path}/{pattern}" for failure in failures)
            assert any("matches no image" in str(failure.error) for failure in failures)

    def test_hidden_files_companions_and_stores_are_passed_over(self, tmp_path: Path) -> None:
        _touch(tmp_path / ".hidden/a.tif", tmp_path / "b.aux.xml", tmp_path / ".c.tif")
        _touch(tmp_path / "d.tif", tmp_path / "out.zarr/0/image/c/0/0")
        (tmp_path / "out.zarr/zarr.json").write_text('{"attributes": {"tilepress": {}}}')
        assert _paths(tmp_path / "**") == [str(tmp_path / "d.tif")]

    def test_companions_are_counted_by_ending_and_hidden_files_are_not(
        self, tmp_path: Path
    ) -> None:
        """A name may be a patient's; so may the ending of a file that is called README."""
        _touch(*(tmp_path / name for name in COMPANIONS), tmp_path / "in/.hidden/b.txt")
        assert _passed_over(tmp_path) == WANTED
        assert _passed_over(f"{tmp_path}/in") == {}
        assert _passed_over(f"{tmp_path}/*.t*") == {".txt": 1, ".tfw": 1}
        assert _passed_over(tmp_path / "a.txt") == {}, "it was named, hence it is looked at"

    def test_an_image_may_be_called_nearly_like_a_companion(self, tmp_path: Path) -> None:
        _touch(tmp_path / "readme_area.npy", tmp_path / "README", tmp_path / "licence.txt")
        assert _paths(tmp_path) == [str(tmp_path / "readme_area.npy")]

    def test_links_to_folders_are_counted(self, tmp_path: Path) -> None:
        _touch(tmp_path / "in/a.tif", tmp_path / "elsewhere/b.tif")
        (tmp_path / "in/more").symlink_to(tmp_path / "elsewhere")
        for source in (tmp_path / "in", f"{tmp_path}/in/**/*.tif"):
            assert _paths(source) == [str(tmp_path / "in/a.tif")]
            assert _passed_over(source) == {"links to folders": 1}

    def test_zarr_arrays_are_taken_whole(self, tmp_path: Path) -> None:
        zarr.create_array(tmp_path / "x/array", shape=(20, 30), chunks=(9, 9), dtype="u2")
        for pattern in ("**", "x/*", "*/array", "x"):
            (node,) = [i for i in expand([f"{tmp_path}/{pattern}"]) if isinstance(i, ZarrNode)]
            assert node.is_array
            assert not _paths(f"{tmp_path}/{pattern}")

    def test_matching_folders_are_arguments_of_their_own(self, tmp_path: Path) -> None:
        """So that a large medical archive starts with the first folder."""
        for patient in (1, 2):
            for number in (1, 2):
                dicom(tmp_path / f"p{patient}/{number}/i.dcm", 7, number + 2 * patient)
        found = [s for s in discover([f"{tmp_path}/p*"]) if isinstance(s, SourceSpec)]
        assert [len(spec.paths) for spec in found] == [2, 2]
        (together,) = discover([f"{tmp_path}/**/*.dcm"])
        assert isinstance(together, SourceSpec)
        assert len(together.paths) == 4

    TREE = ("a", "b.t", "x/a", "x/ab.t", "x/y/a", "x/y/b", "y/x/a/b", "y/ab", "ab/a/a.t", "z/y/x/a")
    PART = st.sampled_from(["*", "**", "a*", "?", "[xy]", "x", "a", "*.t", "*b*"])

    @given(parts=st.lists(PART, min_size=1, max_size=4))
    def test_they_match_what_pythons_glob_matches(
        self, parts: list[str], tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        root = tmp_path_factory.getbasetemp() / "tree"
        if not root.exists():
            _touch(*(root / name for name in self.TREE))
        pattern = "/".join([str(root), *parts])
        if not glob.has_magic("/".join(parts)):
            return
        names = glob.glob(pattern, recursive=True)
        # Python lets file/** match the file, which no shell does
        matched = [Path(name) for name in names if os.path.isdir(name) or name[-1] != "/"]
        wanted = {path for path in matched if path.is_file()}
        for folder in (path for path in matched if path.is_dir() and path != root):
            wanted |= {path for path in folder.rglob("*") if path.is_file()}
        if parts[-1] == "**" and root in matched:
            wanted |= {path for path in root.rglob("*") if path.is_file()}
        found = _paths(pattern)
        assert set(found) == {str(path) for path in wanted}
        assert len(found) == len(set(found))


class TestLists:
    @pytest.mark.parametrize(
        ("content", "wanted"),
        [
            (b"a\nb\n", ["a", "b"]),
            (b"a\nb", ["a", "b"]),
            (b"a\0b\0", ["a", "b"]),
            (b"a\nb\0c\0", ["a\nb", "c"]),
            (b"a\r\n\r\n  \n b \r\n", ["a", " b "]),
            (b"\xef\xbb\xbfa\nb\n", ["a", "b"]),
            (b"#a\n@b\n-\n*.tif\n", ["#a", "@b", "-", "*.tif"]),
            (b"\xff\n", ["\udcff"]),
            (b"", []),
            (b"\n", []),
        ],
    )
    def test_entries(self, content: bytes, wanted: list[str]) -> None:
        assert list(read_list([content], "x")) == wanted
        if b"\0" not in content:
            pieces = [content[at : at + 1] for at in range(len(content))]
            assert list(read_list(pieces[:3], "x")) == list(read_list([content[:3]], "x"))

    @given(names=st.lists(st.text(min_size=1).filter(lambda t: "\0" not in t and t.strip())))
    def test_any_name_survives_behind_nul(self, names: list[str]) -> None:
        names = [name for name in names if _is_utf8(name) and not name.startswith("\ufeff")]
        content = b"".join(name.encode() + b"\0" for name in names)
        assert list(read_list([content], "x")) == names

    def test_what_is_no_list_of_paths_ends_soon(self) -> None:
        def endless():
            for _ in range(100):
                yield bytes(b"x" * 2**12)
            raise AssertionError("it read on")

        with pytest.raises(UnsupportedSource, match="no list of paths"):
            list(read_list(endless(), "x"))

    def test_of_a_file(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        tiff(tmp_path / "in/a/scene.tif")
        tiff(tmp_path / "in/b/scene.tif")
        tiff(tmp_path / "in/c/d/deep.tif")
        monkeypatch.chdir(tmp_path / "in")
        (tmp_path / "names").write_text("a/scene.tif\n./b//scene.tif\nc\nnone.tif\n")
        assert _stores(f"@{tmp_path}/names") == ["a/scene", "b/scene", "c/d/deep"]
        (failure,) = _failures(f"@{tmp_path}/names")
        assert failure.path == "none.tif"

    def test_files_of_one_name_stay_apart(self, tmp_path: Path) -> None:
        paths = [tiff(tmp_path / f"{folder}/scene.tif") for folder in "ab"]
        (tmp_path / "names").write_text("\n".join(map(str, paths)))
        below = str(tmp_path).lstrip("/")
        assert _stores(f"@{tmp_path}/names") == [f"{below}/a/scene", f"{below}/b/scene"]

    def test_nothing_leaves_the_archive(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        tiff(tmp_path / "scene.tif")
        (tmp_path / "here/x").mkdir(parents=True)
        monkeypatch.chdir(tmp_path / "here")
        (tmp_path / "names").write_text("../scene.tif\nx/../../scene.tif\n")
        below = str(tmp_path).lstrip("/")
        assert set(_stores(f"@{tmp_path}/names")) == {f"{below}/scene"}

    def test_from_standard_input_even_twice(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        paths = [tiff(tmp_path / f"line\nbreak {n}.tif") for n in range(3)]
        content = b"".join(os.fsencode(path) + b"\0" for path in paths)
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(content)))
        assert _paths("-") == [str(path) for path in paths]
        assert _paths("-") == [str(path) for path in paths]

    def test_a_pipe_is_read_as_it_comes(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A folder ends what was named before it: the writer need not have ended."""
        tiff(tmp_path / "a.tif")
        (tmp_path / "folder").mkdir()
        end, begin = os.pipe()
        with os.fdopen(end, "rb") as pipe, os.fdopen(begin, "wb", buffering=0) as writer:
            monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=pipe))
            writer.write(f"{tmp_path}/a.tif\n{tmp_path}/folder\n".encode())
            first = next(discover(["-"]))
            assert isinstance(first, SourceSpec)

    def test_a_list_that_comes_slowly_is_not_gathered_for_long(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("tilepress.pipeline.find.inputs.BATCH_S", 0.0)
        tiff(tmp_path / "a.tif")
        tiff(tmp_path / "b.tif")
        end, begin = os.pipe()
        with os.fdopen(end, "rb") as pipe, os.fdopen(begin, "wb", buffering=0) as writer:
            monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=pipe))
            writer.write(f"{tmp_path}/a.tif\n{tmp_path}/b.tif\n".encode())
            found = discover(["-"])
            assert [Path(next(found).paths[0]).name for _ in "ab"] == ["a.tif", "b.tif"]

    def test_a_closed_standard_input_is_listed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sys, "stdin", None)
        (failure,) = _failures("-")
        assert "closed" in str(failure.error)

    def test_a_nul_among_lines_is_listed(self) -> None:
        (_, entry) = read_list([b"a\n", b"b\0c\n"], "x")
        (failure,) = _failures(entry)
        assert failure.path == "b\\x00c"
        assert str(failure.error).isprintable()

    def test_a_missing_list_is_listed(self, tmp_path: Path) -> None:
        (failure,) = _failures(f"@{tmp_path}/none")
        assert "No such file" in str(failure.error)
        (failure,) = _failures("@")
        assert "after @" in str(failure.error)

    def test_a_file_that_begins_with_the_sign_is_a_file(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        _touch(tmp_path / "@x.tif")
        monkeypatch.chdir(tmp_path)
        assert _paths("@x.tif") == [str(tmp_path / "@x.tif")]

    def test_long_ones_need_no_memory(self, tmp_path: Path) -> None:
        count = 30_000
        with (tmp_path / "names").open("w") as file:
            file.writelines(f"/nowhere/to/be/found/image-{n:09}.tif\n" for n in range(count))
        tracemalloc.start()
        try:
            found = sum(isinstance(item, Failure) for item in expand([f"@{tmp_path}/names"]))
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert found == count
        assert peak < 2**20


class TestNamesFromAnyFolder:
    def test_mean_the_same(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        _touch(tmp_path / "@file")
        for source, wanted in [
            ("-", "-"),
            ("s3://bucket/a", "s3://bucket/a"),
            ("a/../b/*.tif", f"{tmp_path}/b/*.tif"),
            ("@names", f"@{tmp_path}/names"),
            ("@file", f"{tmp_path}/@file"),
            (Path("a"), f"{tmp_path}/a"),
        ]:
            assert absolute(source) == wanted


class TestWhatIsNeverOpened:
    SECRET = "hunter2-secret"  # it must not come back

    @pytest.mark.parametrize(
        "source",
        [
            "http://127.0.0.1:9/a.tif",
            f"https://user:{SECRET}@example.org/a.tif",
            f"https://example.org/a.tif?token={SECRET}",
            "ftp://example.org/a.tif",
            "file:///etc/passwd",
            "gs://bucket/a.tif",
            "/vsicurl/http://127.0.0.1:9/a.tif",
            "/vsizip/a.zip/a.tif",
            "//vsis3/bucket/a.tif",
            "/tmp/../vsimem/a.tif",
            f"s3://AKID:{SECRET}@bucket/a.tif",
            "s3://bucket:9000/a.tif",
            "s3://bucket/../other/a.tif",
            "s3:///a.tif",
            "s3:/bucket/a.tif",
        ],
    )
    def test_is_refused_in_one_line(self, source: str, tmp_path: Path) -> None:
        (tmp_path / "names").write_text(source)
        for given_as in (source, f"@{tmp_path}/names"):
            (failure,) = discover([given_as])
            assert isinstance(failure, Failure)
            assert isinstance(failure.error, UnsupportedSource)
            assert self.SECRET not in f"{failure.path}{failure.error}"
            assert "\n" not in str(failure.error)

    def test_nor_are_recipes_of_such(self) -> None:
        spec = SourceSpec(kind="geotiff", paths=("/vsicurl/http://127.0.0.1:9/a.tif",))
        with pytest.raises(UnsupportedSource, match="virtual"):
            open_source(spec)


class TestOddFiles:
    def test_names_with_line_breaks(self, tmp_path: Path) -> None:
        tiff(tmp_path / "line\nbreak.tif")
        _touch(tmp_path / "not\nan\x1b[31mimage.tif")
        specs, failures = [], []
        for item in discover([tmp_path]):
            (failures if isinstance(item, Failure) else specs).append(item)
        assert [spec.options["name"] for spec in specs] == ["line\nbreak"]
        assert open_source(specs[0]).info.shape == (20, 30)
        assert str(failures[0].error).isprintable()

    def test_names_that_are_no_utf8_are_listed(self, tmp_path: Path) -> None:
        tiff(tmp_path / "good.tif")
        bad = os.fsencode(tmp_path) + b"/bad\xff"
        os.mkdir(bad)
        for path in (bad + b".tif", bad + b"/a.tif"):
            with open(path, "wb"):
                pass
        for source in ([tmp_path], [os.fsdecode(bad + b".tif")], [f"{tmp_path}/**/*.tif"]):
            failures = [item for item in discover(source) if isinstance(item, Failure)]
            assert failures
            assert all("UTF-8" in str(f.error) for f in failures)
            assert all(f.path.encode() and str(f.error).isprintable() for f in failures)
        assert _stores(tmp_path) == ["good"]

    def test_pipes_and_links_to_nowhere_are_listed(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe.tif")
        (tmp_path / "loop.tif").symlink_to("loop.tif")
        (tmp_path / "gone.tif").symlink_to("nowhere")
        failures = [item for item in discover([tmp_path]) if isinstance(item, Failure)]
        told = {Path(failure.path).name: str(failure.error) for failure in failures}
        assert sorted(told) == ["gone.tif", "loop.tif", "pipe.tif"]
        assert "no regular file" in told["pipe.tif"]
        (failure,) = discover([tmp_path / "loop.tif"])
        assert isinstance(failure, Failure)
        assert "symbolic links" in str(failure.error)

    @pytest.fixture
    def closed(self, tmp_path: Path) -> Path:
        """Return a folder of an image, beside which is another one."""
        tiff(tmp_path / "good.tif")
        return tiff(tmp_path / "closed/a.tif").parent

    def what_is_left(self, *sources: str | Path) -> str:
        """Return the one failure beside one image."""
        found = list(discover(sources))
        assert sum(isinstance(item, SourceSpec) for item in found) == 1
        (failure,) = [item for item in found if isinstance(item, Failure)]
        return str(failure.error)

    def test_folders_that_may_not_be_read_are_listed(
        self, tmp_path: Path, closed: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        scandir = os.scandir

        def refuse(folder):
            if str(folder) == str(closed):
                raise PermissionError(13, "Permission denied", str(folder))
            return scandir(folder)

        monkeypatch.setattr(os, "scandir", refuse)
        for source in (tmp_path, f"{tmp_path}/**/*.tif"):
            assert "Permission denied" in self.what_is_left(source)

    def test_folders_that_may_not_be_entered_are_listed(
        self, tmp_path: Path, closed: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Their names may be read and nothing below them, not even whether it is there."""
        is_file = Path.is_file

        def refuse(path: Path) -> bool:
            if path.parent == closed:
                raise PermissionError(13, "Permission denied", str(path))
            return is_file(path)

        monkeypatch.setattr(Path, "is_file", refuse)
        for sources in ([tmp_path], [closed, tmp_path / "good.tif"]):
            assert "closed: Permission denied" in self.what_is_left(*sources)

    def test_a_large_folder_is_not_looked_through_first(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        data = npy(tmp_path / "x" / "n00000.npy").read_bytes()
        for number in range(1, 2500):
            (tmp_path / "x" / f"n{number:05}.npy").write_bytes(data)
        looked = []
        look = looked_module._look
        monkeypatch.setattr(
            looked_module, "_look", lambda *a, **k: looked.append(a) or look(*a, **k)
        )
        found = discover([tmp_path])
        assert isinstance(next(found), SourceSpec)
        assert len(looked) == 1000
        assert 1 + sum(isinstance(item, SourceSpec) for item in found) == 2500

    def test_and_what_belongs_together_is_not_parted(self, tmp_path: Path) -> None:
        for number in range(999):
            _touch(tmp_path / f"a{number:04}.tif")
        _touch(tmp_path / "b_B1.tif", tmp_path / "b_B2.tif", tmp_path / "c.tif")
        sizes = [len(i.files) for i in expand([tmp_path]) if isinstance(i, Batch)]
        assert sizes == [1001, 1]
        (whole,) = [i for i in expand([tmp_path], whole_folders=True) if isinstance(i, Batch)]
        assert len(whole.files) == 1002


def _tree(root: Path) -> Path:
    """Write images of every kind."""
    tiff(root / "a/scene.tif")
    tiff(root / "a/deep/scene.tif", nodata=7)
    tiff(root / "a/LC_B1.TIF")
    tiff(root / "a/LC_B2.TIF")
    (root / "a/LC_MTL.txt").write_text("GROUP = L1_METADATA_FILE\nEND_GROUP\nEND\n")
    npy(root / "b/array.npy")
    for number in (2, 1, 3):
        dicom(root / f"c/{number}/i", 5, number)
    dicom(root / "c/other", 6, 1)
    (root / "b/text.tif").write_text("no image")
    (root / "b/empty.tif").touch()
    (root / "README.md").touch()
    return root


class TestBuckets:
    def test_give_what_the_same_folder_gives(self, tmp_path: Path, bucket: str) -> None:
        root = _tree(tmp_path / "in")
        upload(root, f"{bucket}/pre/fix")
        for stack in (None, "*_B*.TIF"):
            local = _by_store(list(discover([root], stack)), str(root))
            remote = _by_store(list(discover([f"{bucket}/pre/fix"], stack)), f"{bucket}/pre/fix")
            assert remote == local

    def test_in_any_way_of_naming(
        self, tmp_path: Path, bucket: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        upload(_tree(tmp_path / "in"), f"{bucket}/pre")
        assert _stores(f"{bucket}/pre/a/scene.tif") == ["scene"]
        assert _stores(f"{bucket}/pre/**/scene.tif") == ["a/deep/scene", "a/scene"]
        assert _stores(f"{bucket}/*/*/scene.tif") == ["pre/a/scene"]
        assert _stores(f"{bucket}/pre/a/d*") == ["deep/scene"]
        upload(tmp_path / "in/a/deep", f"{bucket}/.hid.den/x.")
        assert _stores(f"{bucket}/.hid.den/x./*.tif") == ["scene"]
        assert len(_stores(bucket)) == len(_stores(f"{bucket}/pre/")) == 7  # nothing hidden
        name = bucket.removeprefix("s3://")
        lines = f"{bucket}/pre/a/scene.tif\n{bucket}/pre/a/deep/\n{bucket}/pre/none.tif\n"
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(lines.encode())))
        assert _stores("-") == [f"{name}/pre/a/deep/scene", f"{name}/pre/a/scene"]
        failures = [item for item in discover(["-"]) if isinstance(item, Failure)]
        assert [f.path for f in failures] == [f"{bucket}/pre/none.tif"]

    def test_a_document_without_end_is_not_read(
        self, tmp_path: Path, bucket: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("TILEPRESS_GUESTS", "off")  # a guest would have the limit as it is
        monkeypatch.setattr(walk, "MAX_DOCUMENT_BYTES", 1000)
        monkeypatch.setattr(array_source, "MAX_DOCUMENT_BYTES", 1000)
        npy(tmp_path / "in/z.npy")
        (tmp_path / "in/m.zarr").mkdir()
        (tmp_path / "in/m.zarr/zarr.json").write_text("[" * 1001)
        upload(tmp_path / "in", f"{bucket}/pre")
        specs = [item for item in discover([f"{bucket}/pre"]) if isinstance(item, SourceSpec)]
        assert [spec.options["name"] for spec in specs] == ["m", "z"]
        with pytest.raises(DamagedSource, match=r"zarr\.json: it has more than 1000 bytes"):
            open_source(specs[0])

    def test_count_companions_as_folders_do(self, tmp_path: Path, bucket: str) -> None:
        _touch(*(tmp_path / "in" / name for name in COMPANIONS))
        for name in COMPANIONS:
            (tmp_path / "in" / name).write_text("an empty object may stand for a folder")
        upload(tmp_path / "in", bucket)
        assert _passed_over(bucket) == WANTED
        assert _passed_over(f"{bucket}/*.t*") == {".txt": 1, ".tfw": 1}

    def test_match_patterns_as_folders_do(self, tmp_path: Path, bucket: str) -> None:
        _touch(*(tmp_path / "in" / name for name in TestPatterns.TREE))
        for path in (tmp_path / "in").rglob("*.t"):
            path.write_text("an empty object may stand for a folder")
        upload(tmp_path / "in", bucket)
        parts = ["*", "**", "a*", "?", "[xy]", "x"]
        for pattern in [*parts[:5], *(f"{a}/{b}" for a in parts for b in parts[:5])]:
            local = _paths(f"{tmp_path}/in/{pattern}")
            remote = [path.removeprefix(bucket) for path in _paths(f"{bucket}/{pattern}")]
            assert sorted(remote) == sorted(p.removeprefix(f"{tmp_path}/in") for p in local)

    def test_cost_little_to_look_through(
        self, tmp_path: Path, bucket: str, s3_server: S3Server
    ) -> None:
        noise = np.random.default_rng(1).integers(0, 2**16, (1500, 1000), dtype=np.uint16)
        for number in range(3):
            tiff(tmp_path / f"in/{number}.tif", noise, bigtiff="YES")
        upload(tmp_path / "in", bucket)
        before = s3_server.traffic()["sent_bytes"]
        assert len(_stores(bucket)) == 3
        assert s3_server.traffic()["sent_bytes"] - before < 0.1 * 3 * noise.nbytes

    def test_what_is_missing_is_listed(self, bucket: str) -> None:
        for source, told in [
            (f"{bucket}/none.tif", "no such object"),
            (bucket, "no such object"),
            (f"{bucket}/*.tif", "matches no image"),
            ("s3://no-such-bucket-here/a.tif", ""),
            ("s3://no-such-bucket-here/", ""),
            ("s3://no-such-bucket-here/*.tif", ""),
        ]:
            failures = list(discover([source]))
            assert all(isinstance(failure, Failure) for failure in failures), source
            assert failures
            assert told in str(failures[-1].error)  # type: ignore[union-attr]
            assert "\n" not in str(failures[-1].error)  # type: ignore[union-attr]

    def test_a_signed_address_is_not_repeated(self, bucket: str, tmp_path: Path) -> None:
        signed = f"{bucket}/none.tif?X-Amz-Credential=a/b&X-Amz-Signature=hunter2"
        (tmp_path / "names").write_text(f"{signed}\n{signed.replace('?', '#')}/\n")
        for source in (signed, f"{signed}/", f"@{tmp_path / 'names'}"):
            failures = list(discover([source]))
            assert all(isinstance(one, Failure) for one in failures)
            told = "".join(f"{one.path}{one.error}" for one in failures)  # type: ignore[union-attr]
            assert f"{bucket}/none.tif?…" in told or not told, source
            assert "hunter2" not in told

    def test_a_service_that_fails_is_listed(
        self, bucket: str, tmp_path: Path, s3_server: S3Server
    ) -> None:
        upload(_tree(tmp_path / "in"), bucket)
        s3_server.fail(10**6, 403)
        try:
            (failure,) = discover([bucket])
            assert isinstance(failure, Failure)
            assert "403" in str(failure.error)
        finally:
            s3_server.fail(0)

    def test_stores_of_ours_are_no_input_and_other_arrays_are(
        self, bucket: str, tmp_path: Path
    ) -> None:
        store = S3Store(bucket.removeprefix("s3://"))
        obstore.put(store, "out.zarr/0/image/c/0/0", b"x")
        obstore.put(store, "out.zarr/zarr.json", b'{"attributes": {"tilepress": {}}}')
        obstore.put(store, "begun.zarr/0/image/c/0/0", b"x")
        obstore.put(store, ".hidden/a.tif", b"x")
        obstore.put(store, "out.zarr0", tiff(tmp_path / "a.tif").read_bytes())
        target = storage_path(f"{bucket}/deep/array").zarr_store(read_only=False)
        array = zarr.create_array(target, shape=(20, 30), chunks=(9, 9), dtype="u2")
        array[...] = IMAGE
        old = storage_path(f"{bucket}/old").zarr_store(read_only=False)
        zarr.create_array(old, shape=(20, 30), chunks=(9, 9), dtype="u2", zarr_format=2)
        zarr.create_group(storage_path(f"{bucket}/group").zarr_store(read_only=False))
        found = list(discover([bucket]))
        specs = {spec.options["relative"]: spec for spec in found if isinstance(spec, SourceSpec)}
        assert sorted(specs) == ["deep/array", "old", "out.zarr0"]
        assert [Path(f.path).name for f in found if isinstance(f, Failure)] == ["group"]
        for source in (f"{bucket}/deep/array", f"{bucket}/**/array", f"{bucket}/deep/*"):
            (spec,) = discover([source])
            assert isinstance(spec, SourceSpec)
            opened = open_source(spec)
            assert opened.info.shape == (20, 30)
            before = opened.fingerprint()
            assert opened.fingerprint() == before
        array[0, 0] = 1
        assert opened.fingerprint() != before

    def test_objects_that_stand_for_folders_are_passed_over(
        self, bucket: str, tmp_path: Path, s3_server: S3Server
    ) -> None:
        upload(_tree(tmp_path / "in"), f"{bucket}/pre")
        for folder in ("pre", "pre/a", "pre/none"):
            s3_server._ask("PUT", f"/{bucket.removeprefix('s3://')}/{folder}/")
        found = list(discover([bucket]))
        failures = [Path(item.path).name for item in found if isinstance(item, Failure)]
        assert sorted(failures) == ["empty.tif", "text.tif"]

    def test_a_large_folder_is_a_stream(self, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("tilepress.pipeline.find.inputs.BATCH_FILES", 10)
        store = S3Store(bucket.removeprefix("s3://"))
        for number in range(35):
            obstore.put(store, f"f/{number:03}.tif", b"x")
        sizes = [len(item.files) for item in expand([bucket]) if isinstance(item, Batch)]
        assert sizes == [10, 10, 10, 5]

    def test_arguments_end(self, bucket: str, tmp_path: Path) -> None:
        upload(_tree(tmp_path / "in"), bucket)
        items = list(expand([f"{bucket}/a", f"{bucket}/b"]))
        ends = [at for at, item in enumerate(items) if isinstance(item, End)]
        batches = [at for at, item in enumerate(items) if isinstance(item, Batch)]
        assert any(batches[0] < end < batches[-1] for end in ends)


def _is_utf8(text: str) -> bool:
    try:
        return bool(text.encode())
    except UnicodeEncodeError:
        return False


def _by_store(found: list[SourceSpec | Failure], root: str) -> dict[str, object]:
    """Return all that one may know of the images, by where they go."""
    images: dict[str, object] = {}
    for item in found:
        if isinstance(item, Failure):
            images[item.path.removeprefix(root)] = str(item.error).replace(root, "")
            continue
        source = open_source(item)
        box = tuple(slice(0, n) for n in source.info.shape)
        from tilepress.pipeline.image.grid import Box

        samples = source.read(Box((0,) * len(box), source.info.shape))
        images[str(store_path(item))] = (
            item.kind,
            [path.removeprefix(root) for path in item.paths],
            item.options["relative"],
            item.source_bytes,
            repr(source.info),
            samples.tobytes(),
            list(source.source_items()),
        )
        source.close()
    return images
