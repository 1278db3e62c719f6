"""Find images in files and folders, by what files contain."""

from __future__ import annotations

import bz2
import contextlib
import errno
import gzip
import json
import lzma
import os
import re
import sqlite3
import tracemalloc
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import rasterio
import zarr
from rasterio.errors import NotGeoreferencedWarning

from tilepress.errors import SourceError, UnsupportedSource
from tilepress.pipeline.dicom.groups import SeriesGroups
from tilepress.pipeline.dicom.header import read_instance
from tilepress.pipeline.find.discover import discover, store_path
from tilepress.pipeline.find.walk import Failure, FolderWalk
from tilepress.pipeline.guests.look import Looks
from tilepress.pipeline.image.format import Candidate
from tilepress.pipeline.image.grid import Box
from tilepress.pipeline.image.private_names import PRIVATE
from tilepress.pipeline.image.source import SourceSpec
from tilepress.pipeline.sources.open import open_source

from ..images import IMAGE
from ..images import dicom as _dicom
from ..images import tiff as _tiff


def _found(
    paths: Sequence[str | Path], stack: str | None = None
) -> tuple[list[SourceSpec], dict[str, SourceError]]:
    items = list(discover(paths, stack))
    failures = {Path(i.path).name: i.error for i in items if isinstance(i, Failure)}
    return [item for item in items if isinstance(item, SourceSpec)], failures


class TestContentDecides:
    def test_and_never_the_name(self, tmp_path: Path) -> None:
        _tiff(tmp_path / "tiff.npy")
        np.save(tmp_path / "array", IMAGE)
        (tmp_path / "array.npy").rename(tmp_path / "array.tif")
        _dicom(tmp_path / "dicom.png", 1, 1)
        (tmp_path / "text.tif").write_text("no image")
        specs, failures = _found([tmp_path])
        assert sorted((s.kind, Path(s.paths[0]).name) for s in specs) == [
            ("array", "array.tif"),
            ("dicom", "dicom.png"),
            ("geotiff", "tiff.npy"),
        ]
        assert list(failures) == ["text.tif"]
        assert isinstance(failures["text.tif"], UnsupportedSource)

    def test_every_kind_opens_to_the_same_samples(self, tmp_path: Path) -> None:
        _tiff(tmp_path / "a.tif")
        np.save(tmp_path / "b.npy", IMAGE)
        _dicom(tmp_path / "c.dcm", 1, 1)
        array = zarr.create_array(tmp_path / "d", shape=(20, 30), chunks=(9, 9), dtype="u2")
        array[...] = IMAGE
        specs, failures = _found([tmp_path])
        assert not failures
        assert len(specs) == 4
        for spec in specs:
            assert json.loads(json.dumps(spec.options)) == spec.options
            assert os.path.isabs(spec.paths[0])
            source = open_source(spec)
            np.testing.assert_array_equal(source.read(Box((0, 0), (20, 30))), IMAGE)
            names = [name for name, _ in source.source_items()]
            assert "origin" in names
            source.close()

    def test_other_rasters_are_told_by_content(self, tmp_path: Path) -> None:
        options: dict[str, Any] = {"width": 30, "height": 20, "count": 1, "dtype": "uint8"}
        lossless = {"QUALITY": "100", "REVERSIBLE": "YES"}
        image = IMAGE.astype(np.uint8)
        for name, driver, more in (("p", "PNG", {}), ("j", "JP2OpenJPEG", lossless)):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", NotGeoreferencedWarning)
                with rasterio.open(tmp_path / name, "w", driver=driver, **options, **more) as file:
                    file.write(image, 1)
        np.zeros((1201, 1201), ">i2").tofile(tmp_path / "N48E009.hgt")
        specs, failures = _found([tmp_path])
        assert not failures
        found = {Path(s.paths[0]).name: open_source(s) for s in specs}
        assert sorted(found) == ["N48E009.hgt", "j", "p"]
        assert found["N48E009.hgt"].info.shape == (1201, 1201)
        for name in ("j", "p"):
            np.testing.assert_array_equal(found[name].read(Box((0, 0), (20, 30))), image)
            assert "export gives a GeoTIFF" in found[name].info.remarks[0]

    def test_dicom_with_a_tiff_header_in_its_preamble_is_dicom(self, tmp_path: Path) -> None:
        """Dual-personality files (PS3.10 §7.1): DICOM says more."""
        path = _dicom(tmp_path / "dual.dcm", 1, 1)
        data = path.read_bytes()
        path.write_bytes(b"II*\0\x10\0\0\0" + data[8:])
        (spec,), _ = _found([path])
        assert spec.kind == "dicom"

    def test_an_unknown_kind_is_our_error(self) -> None:
        with pytest.raises(UnsupportedSource, match="unknown"):
            open_source(SourceSpec(kind="other", paths=("a",)))


class TestRelativeNames:
    def test_mirror_the_tree(self, tmp_path: Path) -> None:
        _tiff(tmp_path / "src/a/b/scene.tif")
        _tiff(tmp_path / "src/scene.tif")
        _dicom(tmp_path / "src/p/1.dcm", 7, 1)
        specs, _ = _found([tmp_path / "src"])
        assert [s.options["relative"] for s in specs[:2]] == ["scene.tif", "a/b/scene.tif"]
        assert [str(store_path(s)) for s in specs[:2]] == ["scene", "a/b/scene"]
        assert [open_source(s).info.name for s in specs[:2]] == ["scene", "scene"]

    def test_no_store_lies_below_what_is_called_as_a_store(self, tmp_path: Path) -> None:
        """Nobody would look for it there, and what replaces a.zarr would remove it."""
        _tiff(tmp_path / "a.tif")
        _tiff(tmp_path / "a.zarr/b/c.tif")
        specs, _ = _found([tmp_path])
        assert [str(store_path(one)) for one in specs] == ["a", "a.zarr-folder/b/c"]

    def test_a_series_lies_below_no_folder(self, tmp_path: Path) -> None:
        """Folders of DICOM files may be called after patients."""
        _dicom(tmp_path / "src/Doe^John/1.dcm", 7, 1)
        (spec,), _ = _found([tmp_path / "src"])
        assert spec.options["relative"] == spec.options["name"]
        assert re.fullmatch(r"CT-[0-9a-f]{12}", str(store_path(spec)))

    def test_a_pattern_that_matches_nothing_is_said(self, tmp_path: Path) -> None:
        _tiff(tmp_path / "a.tif")
        specs, failures = _found([tmp_path], stack="x*")
        assert [spec.kind for spec in specs] == ["geotiff"]
        (error,) = failures.values()
        assert "no raster is named like 'x*'" in str(error)

    def test_one_stem_gives_several_names(self, tmp_path: Path) -> None:
        for name in ("a.jp2", "a.tif", "A.TIFF", "b_B1.tif", "b_B2.tif", "b.tif", "c"):
            _tiff(tmp_path / "deep" / name)
        specs, failures = _found([tmp_path], stack="*_B*.tif")
        assert not failures
        names = {Path(s.paths[0]).name: str(store_path(s)) for s in specs}
        assert names == {
            "A.TIFF": "deep/A",
            "a.tif": "deep/a-tif",
            "a.jp2": "deep/a-jp2",
            "b.tif": "deep/b",
            "b_B1.tif": "deep/b-stack",
            "c": "deep/c",
        }
        assert [open_source(s).info.name for s in specs] == [store_path(s).name for s in specs]
        (alone,), _ = _found([tmp_path / "deep/a.jp2"])
        assert str(store_path(alone)) == "a"

    def test_of_a_named_file(self, tmp_path: Path) -> None:
        (spec,), _ = _found([_tiff(tmp_path / "a/b/scene.tif")])
        assert spec.options["relative"] == "scene.tif"

    def test_relative_arguments_become_absolute(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        _tiff(tmp_path / "scene.tif")
        monkeypatch.chdir(tmp_path)
        (spec,), _ = _found(["scene.tif"])
        assert spec.paths == (str(tmp_path / "scene.tif"),)


class TestSeries:
    def test_files_of_a_folder_are_grouped(self, tmp_path: Path) -> None:
        for number in (3, 1, 2):
            _dicom(tmp_path / f"{number}.dcm", 1, number)
        _dicom(tmp_path / "other.dcm", 2, 1)
        specs, failures = _found([tmp_path])
        assert sorted(len(s.paths) for s in specs) == [1, 3]
        assert not failures

    def test_a_series_in_several_folders_is_one(self, tmp_path: Path) -> None:
        files = [_dicom(tmp_path / f"src/{number}/i.dcm", 1, number) for number in (1, 2, 3)]
        for arguments in ([tmp_path / "src"], files):
            (spec,), failures = _found(arguments)
            assert len(spec.paths) == 3
            assert not failures
        apart, _ = _found([tmp_path / "src/1", tmp_path / "src/2"])
        assert len(apart) == 2


class TestStacks:
    def test_bands_are_counted_as_people_do(self, tmp_path: Path) -> None:
        for band in (1, 2, 10, 11):
            _tiff(tmp_path / f"LC08_B{band}.TIF")
        (spec,), _ = _found([tmp_path], stack="*_B*.TIF")
        assert spec.kind == "stack"
        bands = [Path(p).stem.rpartition("_")[2] for p in spec.paths]
        assert bands == ["B1", "B2", "B10", "B11"]

    def test_scenes_are_told_apart_and_the_rest_goes_alone(self, tmp_path: Path) -> None:
        for scene in ("one", "two"):
            for band in (1, 2):
                _tiff(tmp_path / f"{scene}_B{band}.TIF")
        _tiff(tmp_path / "one_QA.TIF")
        specs, _ = _found([tmp_path], stack="*_B*.TIF")
        assert sorted((s.kind, len(s.paths)) for s in specs) == [
            ("geotiff", 1),
            ("stack", 2),
            ("stack", 2),
        ]

    def test_of_named_files(self, tmp_path: Path) -> None:
        files = [_tiff(tmp_path / f"a_B{band}.TIF") for band in (4, 3, 2)]
        (spec,), _ = _found(files, stack="*_B*.TIF")
        assert len(spec.paths) == 3


class TestWhatIsNoImage:
    def test_a_missing_path(self, tmp_path: Path) -> None:
        _tiff(tmp_path / "a.tif")
        specs, failures = _found([tmp_path / "none.tif", tmp_path / "a.tif"])
        assert "no such file" in str(failures["none.tif"])
        assert len(specs) == 1

    def test_companions_are_passed_over_in_folders_but_not_by_name(self, tmp_path: Path) -> None:
        names = ["a.aux.xml", "README", "LICENSE.rst", "b.json", ".hidden", "DICOMDIR", "c.tif.ovr"]
        for name in names:
            (tmp_path / name).write_bytes(b"text")
        assert _found([tmp_path]) == ([], {})
        specs, failures = _found([tmp_path / name for name in names])
        assert not specs
        assert sorted(failures) == sorted(names)

    @pytest.mark.parametrize("guests", ["on", "off"])
    def test_reports_and_documents_of_a_study_are_counted(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, guests: str
    ) -> None:
        """A folder as a PACS sends it is no failure; an image that has no pixels is one."""
        if guests == "off":
            monkeypatch.setenv("TILEPRESS_GUESTS", "off")
        classes = {"SR": "88.11", "KO": "88.59", "PR": "11.1", "DOC": "104.1", "RS": "481.3"}
        classes |= {"spectra": "4.2", "annotations": "91.1", "curves": "481.2"}
        _dicom(tmp_path / "image", 1, 1)
        for name, number in {**classes, "CT": "2"}.items():
            dataset = pydicom.dcmread(_dicom(tmp_path / name, 1, 2))
            dataset.SOPClassUID = f"1.2.840.10008.5.1.4.1.1.{number}"
            del dataset.PixelData
            if name != "spectra":
                del dataset.Rows, dataset.Columns
            dataset.save_as(tmp_path / name)
        passed_over: Counter[str] = Counter()
        found = list(discover([tmp_path], passed_over=passed_over))
        assert [type(item).__name__ for item in found] == ["Failure", "SourceSpec"]
        assert "no pixel data" in str(found[0].error)  # type: ignore[union-attr]
        assert passed_over == {"DICOM without pixels": 8}

    @pytest.mark.parametrize(
        ("packed", "name"),
        [
            (gzip.compress(b"DICM"), "(gzip), and holds no image"),
            (bz2.compress(b"DICM"), "(bzip2): unpack it first"),
            (lzma.compress(b"DICM"), "(xz): unpack it first"),
        ],
        ids=["gzip", "bzip2", "xz"],  # gzip has the time of day in it: names would differ
    )
    def test_packed_files_are_called_so(self, tmp_path: Path, packed: bytes, name: str) -> None:
        (tmp_path / "a.dcm.gz").write_bytes(packed)
        _, failures = _found([tmp_path])
        assert f"it is packed {name}" in str(failures["a.dcm.gz"])

    def test_other_files_are_told(self, tmp_path: Path) -> None:
        (tmp_path / "a.gif").write_bytes(b"GIF89a")
        (tmp_path / "empty.tif").write_bytes(b"")
        _, failures = _found([tmp_path])
        assert sorted(failures) == ["a.gif", "empty.tif"]

    @pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root reads everything")
    def test_what_may_not_be_read(self, tmp_path: Path) -> None:
        path = _tiff(tmp_path / "a.tif")
        path.chmod(0)
        _, failures = _found([path])
        assert "Permission denied" in str(failures["a.tif"])

    def test_our_own_stores_are_no_input(
        self, make_store: Callable[..., Any], tmp_path: Path
    ) -> None:
        make_store()
        left = make_store(name="left.zarr").path
        for document in left.rglob("zarr.json"):
            document.unlink()
        zarr.create_group(tmp_path / "foreign")
        specs, failures = _found([tmp_path])
        assert not specs
        assert list(failures) == ["foreign"]
        specs, failures = _found([tmp_path / "small.zarr"])
        assert list(failures) == ["small.zarr"]

    def test_links_do_not_lead_in_circles(self, tmp_path: Path) -> None:
        _tiff(tmp_path / "a/scene.tif")
        (tmp_path / "a/loop").symlink_to(tmp_path)
        specs, _ = _found([tmp_path])
        assert len(specs) == 1


class TestWhatMayNameAPatient:
    @pytest.mark.parametrize("guests", ["on", "off"])
    def test_dicom_that_cannot_be_read_makes_its_folder_private(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, guests: str
    ) -> None:
        monkeypatch.setenv("TILEPRESS_GUESTS", guests)
        for folder in ("doe", "fields"):
            (tmp_path / folder).mkdir()
            np.save(tmp_path / folder / "a.npy", IMAGE)
            (tmp_path / folder / "b.tif").write_text("no image")
        (tmp_path / "doe/z").write_bytes(bytes(128) + b"DICM" + b"\xff" * 300)
        found = list(discover([tmp_path]))
        private = {
            Path(one.path).parent.name + "/" + Path(one.path).name: one.private
            for one in found
            if isinstance(one, Failure)
        } | {
            f"{Path(one.paths[0]).parent.name}/a.npy": PRIVATE in one.options
            for one in found
            if isinstance(one, SourceSpec)
        }
        assert private == {
            "doe/a.npy": True, "doe/b.tif": True, "doe/z": True,
            "fields/a.npy": False, "fields/b.tif": False,
        }  # fmt: skip


class TestRecipes:
    def test_of_files_carry_nothing_new(self, tmp_path: Path) -> None:
        """Options are a part of the plan's digest: with more of them, sealed stores would be
        "another image"."""
        _tiff(tmp_path / "a.tif")
        np.save(tmp_path / "b.npy", IMAGE)
        _dicom(tmp_path / "c/1", 1, 1)
        array = zarr.create_array(tmp_path / "d", shape=(20, 30), chunks=(9, 9), dtype="u2")
        array[...] = IMAGE
        specs, _ = _found([tmp_path])
        for spec in specs:
            wanted = {"name", "relative"} | ({"remarks"} if spec.kind == "dicom" else set())
            assert set(spec.options) == wanted

    def test_tell_the_size_of_the_files(self, tmp_path: Path) -> None:
        files = [_tiff(tmp_path / f"a_B{band}.TIF") for band in (1, 2)]
        files += [_dicom(tmp_path / f"c/{number}", 1, number) for number in (1, 2)]
        specs, _ = _found([tmp_path], stack="*_B*.TIF")
        sizes = {spec.kind: spec.source_bytes for spec in specs}
        sums = [sum(path.stat().st_size for path in files[at : at + 2]) for at in (0, 2)]
        assert sizes == {"stack": sums[0], "dicom": sums[1]}

    def test_of_arrays_in_folders_leave_it_open(self, tmp_path: Path) -> None:
        zarr.create_array(tmp_path / "d", shape=(20, 30), chunks=(9, 9), dtype="u2")
        (spec,), _ = _found([tmp_path])
        assert spec.source_bytes is None


class TestSeriesOfAnySize:
    def test_are_grouped_in_little_memory(self, tmp_path: Path) -> None:
        """What is kept of a file until the last one was seen lies on disk."""
        one = read_instance(str(_dicom(tmp_path / "x", 1, 1)))
        with contextlib.closing(SeriesGroups()) as groups:
            tracemalloc.start()
            try:
                for number in range(20_000):
                    path = f"/archive/patient-{number // 100:06}/IM-{number:08}.dcm"
                    container = replace(one.container, path=path)
                    series, identity = f"{number // 100:012x}", f"{number:064x}"
                    groups.add(replace(one, container=container, series=series, identity=identity))
                images = sum(isinstance(found, SourceSpec) for found in groups.images())
                peak = tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()
        assert images == 200
        assert peak < 2**20

    def test_a_full_disk_is_listed(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        _dicom(tmp_path / "1.dcm", 1, 1)
        _tiff(tmp_path / "a.tif")

        def full(*_: object) -> None:
            raise sqlite3.OperationalError("database or disk is full")

        for name in ("_spec", "_split_by_orientation"):
            with monkeypatch.context() as patch:
                patch.setattr(SeriesGroups, name, full)
                specs, failures = _found([tmp_path])
            assert [spec.kind for spec in specs] == ["geotiff"]
            (error,) = failures.values()
            assert "disk is full" in str(error)


class TestNoInputEndsASearch:
    """Whatever is raised while one is looked at: it is told, and the others are found."""

    @pytest.mark.parametrize(
        "error",
        [KeyError("x"), RecursionError(), MemoryError(), ZeroDivisionError(), RuntimeError()],
    )
    def test_a_file(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
    ) -> None:
        for name in ("a.tif", "b.tif", "c.tif"):
            _tiff(tmp_path / name)
        real = Looks.look

        def look(self: Looks, file: Candidate) -> object:
            if file.name == "b.tif":
                raise error
            return real(self, file)

        monkeypatch.setattr(Looks, "look", look)
        specs, failures = _found([tmp_path])
        assert [Path(spec.paths[0]).name for spec in specs] == ["a.tif", "c.tif"]
        (found,) = failures.values()
        assert "b.tif" in str(found)
        assert found.kind == ("memory" if isinstance(error, MemoryError) else "internal")
        if found.kind == "internal":
            assert f"unexpected {type(error).__name__} at test_discover.py" in str(found)
            assert "please report it" in str(found)

    def test_a_folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("a", "b", "c"):
            _tiff(tmp_path / name / "i.tif")
        real = FolderWalk._takes

        def takes(self: FolderWalk, state: frozenset[int], name: str) -> bool:
            if takes.calls == 1:  # type: ignore[attr-defined]
                takes.calls += 1  # type: ignore[attr-defined]
                raise RuntimeError("of a library")
            takes.calls += 1  # type: ignore[attr-defined]
            return real(self, state, name)

        takes.calls = 0  # type: ignore[attr-defined]
        monkeypatch.setattr(FolderWalk, "_takes", takes)
        specs, failures = _found([tmp_path])
        assert len(specs) == 2
        assert len(failures) == 1

    def test_a_full_disk_is_no_inputs_fault(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(*_: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        _tiff(tmp_path / "a.tif")
        monkeypatch.setattr(Looks, "look", full)
        with pytest.raises(OSError, match="No space left"):
            _found([tmp_path])
