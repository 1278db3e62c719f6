"""Which files are one image: by orientation, whatever their bits, with or without a series' UID."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import dcmread

from tilepress.errors import SourceError
from tilepress.pipeline.dicom.export import export_dicom
from tilepress.pipeline.dicom.groups import SeriesGroups
from tilepress.pipeline.dicom.header import hashed, read_instance
from tilepress.pipeline.dicom.source import DicomSource, group_series
from tilepress.pipeline.image.source import SourceSpec

AXIAL, SAGITTAL = [1, 0, 0, 0, 1, 0], [0, 1, 0, 0, 0, -1]
Write = Callable[..., Path]


def axial(depth: float, **elements: Any) -> dict[str, Any]:
    return {
        "ImageOrientationPatient": AXIAL,
        "ImagePositionPatient": [0, 0, depth],
        "PixelSpacing": [1, 1],
        "instance": int(depth) + 1,
        **elements,
    }


def plane(value: int = 0, dtype: type = np.uint16) -> np.ndarray:
    return np.full((4, 5), value, dtype)


def grouped(*paths: Path) -> list[SourceSpec]:
    specs, failures = group_series(paths)
    assert not failures
    return specs


def names(specs: list[SourceSpec]) -> list[str]:
    return [str(spec.options["name"]) for spec in specs]


class TestOrientations:
    def test_a_scout_is_an_image_of_its_own(self, write: Write):
        scout = write("0", plane(), instance=50, ImageOrientationPatient=SAGITTAL,
                      ImagePositionPatient=[0, 0, 0])  # fmt: skip
        slices = [write(f"{z}", plane(z), **axial(z)) for z in (9, 3, 6)]
        specs = grouped(scout, *slices)
        infos = [DicomSource(spec).info for spec in specs]
        assert [info.shape for info in infos] == [(4, 5), (3, 4, 5)]
        assert infos[1].coordinates["z"].tolist() == [3, 6, 9]
        assert infos[0].remarks == (f"other images of the same series and size: {infos[1].name}",)
        assert infos[1].remarks == (f"other images of the same series and size: {infos[0].name}",)

    def test_rounding_makes_no_other_orientation(self, write: Write):
        turns = [[1, 0, 0, 0, 1, 0], [0.99999, 0.0001, 0, -0.0001, 1, 0], [1, 5e-5, 0, 0, 1, 0]]
        files = [
            write(f"{z}", plane(), **axial(z, ImageOrientationPatient=turn))
            for z, turn in enumerate(turns)
        ]
        (spec,) = grouped(*files)
        assert len(spec.paths) == 3

    def test_planes_turned_about_an_axis_stay_one_image(self, write: Write):
        angles = np.linspace(0, np.pi, 5, endpoint=False)
        files = [
            write(f"{i}", plane(), instance=i, ImagePositionPatient=[0, 0, 0],
                  ImageOrientationPatient=[float(np.cos(a)), float(np.sin(a)), 0, 0, 0, 1])
            for i, a in enumerate(angles)
        ]  # fmt: skip
        (spec,) = grouped(*files)
        info = DicomSource(spec).info
        assert "orientation" in info.remarks[0]
        assert info.labels["row_x"].values.tolist() == [float(np.cos(a)) for a in angles]

    def test_a_slice_without_position_does_not_unsort_the_others(self, write: Write):
        files = [write(f"{z}", plane(), **axial(z)) for z in (3, 0, 6)]
        files.append(write("x", plane(), instance=77))
        assert [len(spec.paths) for spec in grouped(*files)] == [3, 1]


class TestLayouts:
    def test_bits_stored_may_differ(self, write: Write, in_memory, tmp_path: Path):
        """Samples are of one dtype; every file comes back with the bits that it had."""
        paths = [
            write(f"{z}", plane(z), **axial(z, BitsStored=bits))
            for z, bits in enumerate((12, 11, 16))
        ]
        (spec,) = grouped(*paths)
        info = DicomSource(spec).info
        assert info.coordinates["z"].tolist() == [0, 1, 2]
        assert info.attributes["bits_stored"] == 16
        assert info.valid_range is None
        for path in export_dicom(in_memory(spec), tmp_path / "out"):
            assert path.read_bytes() == (paths[0].parent / path.name).read_bytes()

    def test_valid_range_is_that_of_the_deepest(self, write: Write):
        paths = [write(f"{b}", plane(), **axial(b, BitsStored=b)) for b in (10, 12)]
        assert DicomSource(grouped(*paths)[0]).info.valid_range == (0, 4095)

    def test_another_dtype_is_another_image_that_is_named(self, write: Write):
        paths = [write(f"{z}", plane(), **axial(z)) for z in (0, 2)]
        paths.append(write("1", plane(dtype=np.uint8), **axial(1)))
        specs = grouped(*paths)
        assert specs[0].options["siblings"] == [specs[1].options["name"]]
        assert specs[1].options["siblings"] == [specs[0].options["name"]]

    def test_another_size_is_not_told(self, write: Write):
        specs = grouped(
            write("a", plane(), **axial(0)), write("b", np.zeros((7, 7), np.uint16), **axial(1))
        )
        assert len(specs) == 2
        assert not any("siblings" in spec.options for spec in specs)


class TestWithoutASeries:
    def files(self, write: Write, synthetic, folder: str, **elements: Any) -> list[Path]:
        paths = []
        for z in (0, 1, 2):
            dataset = synthetic(plane(z), **axial(z, **elements))
            del dataset.SeriesInstanceUID
            path = write(f"{folder}/{z}", plane())
            dataset.save_as(path)
            paths.append(path)
        return paths

    def test_files_of_one_folder_and_geometry_are_one(self, write: Write, synthetic):
        specs = grouped(*self.files(write, synthetic, "a"))
        info = DicomSource(specs[0]).info
        assert info.coordinates["z"].tolist() == [0, 1, 2]
        assert "without SeriesInstanceUID" in info.remarks[0]

    def test_of_other_geometry_they_are_not(self, write: Write, synthetic):
        paths = self.files(write, synthetic, "a")
        dataset = dcmread(paths[2])
        dataset.PixelSpacing = [2, 2]
        dataset.save_as(paths[2])
        assert sorted(len(spec.paths) for spec in grouped(*paths)) == [1, 2]

    def test_of_other_folders_they_are_not(self, write: Write, synthetic):
        paths = [*self.files(write, synthetic, "a"), *self.files(write, synthetic, "b", series=2)]
        for path in paths[3:]:
            dataset = dcmread(path)
            dataset.SOPInstanceUID += ".9"
            dataset.save_as(path)
        specs = grouped(*paths)
        assert [len(spec.paths) for spec in specs] == [3, 3]
        assert len(set(names(specs))) == 2

    def test_one_alone_is_called_as_before(self, write: Write, synthetic):
        (path, *_) = self.files(write, synthetic, "a")
        (alone,) = grouped(path)
        one = read_instance(str(path))
        assert alone.options["name"] == f"CT-{hashed(one.identity)}"

    def test_without_positions_each_is_an_image(self, write: Write, synthetic):
        paths = self.files(write, synthetic, "a", ImagePositionPatient=None)
        assert len(grouped(*paths)) == 3


class TestCopies:
    def test_another_header_over_the_same_pixels_is_left_out(self, write: Write):
        """A patient's name was corrected, and both versions lie in the folder."""
        paths = [
            write(f"{z}{name}", plane(z), **axial(z, PatientName=name))
            for z in (0, 1)
            for name in "ab"
        ]
        (spec,) = grouped(*paths)
        assert [Path(path).name for path in spec.paths] == ["0a", "1a"]
        assert spec.options["remarks"] == [
            "2 files hold an instance and its pixels again, with another header: they were left out"
        ]

    def test_one_uid_for_all_slices(self, write: Write):
        paths = [write(f"{z}", plane(z), **axial(z, SOPInstanceUID="1.2.3")) for z in range(4)]
        (spec,) = grouped(*paths)
        assert DicomSource(spec).info.coordinates["z"].tolist() == [0, 1, 2, 3]
        assert "3 files claim to be instances" in spec.options["remarks"][0]

    def test_other_pixels_at_the_same_place_are_an_image_of_their_own(self, write: Write):
        paths = [write(f"{z}", plane(z), **axial(z)) for z in range(3)]
        paths.append(write("1again", plane(9), **axial(1)))
        specs = grouped(*paths)
        assert [len(spec.paths) for spec in specs] == [3, 1]
        for spec in specs:
            assert "have other pixel data" in spec.options["remarks"][0]
            assert len(spec.options["siblings"]) == 1

    def test_exact_copies_are_counted_for_all_images_of_a_series(self, write: Write):
        """As they always were: plans of earlier versions hold."""
        paths = [
            write("a", plane(), **axial(0)),
            write("b", np.zeros((7, 7), np.uint16), **axial(1)),
        ]
        copy = paths[0].with_name("c")
        copy.write_bytes(paths[0].read_bytes())
        specs = grouped(*paths, copy)
        assert [spec.options["remarks"] for spec in specs] == [
            ["1 exact copies of instances were left out"]
        ] * 2

    def test_a_file_that_is_gone_is_a_failure_of_its_own(self, write: Write):
        paths = [write("a", plane(), **axial(0)), write("b", plane(1), **axial(0))]
        groups = SeriesGroups()
        for path in paths:
            groups.add(read_instance(str(path)))
        paths[1].unlink()
        found = list(groups.images())
        assert [one[0] for one in found if not isinstance(one, SourceSpec)] == [str(paths[1])]
        assert isinstance(next(one for one in found if isinstance(one, tuple))[1], SourceError)
        assert len([one for one in found if isinstance(one, SourceSpec)]) == 1


def test_names_are_what_they_were(write: Write):
    """Stores of earlier archives are found again, by the endings of their names, too."""
    paths = [write("a", plane(), **axial(0)), write("b", np.zeros((7, 7), np.uint16), **axial(1))]
    assert names(grouped(*paths)) == ["CT-dd64753414c5-e6b565", "CT-dd64753414c5-e61bdc"]
