"""Where planes lie: jitter is no spacing, and one plane's geometry is not claimed for all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tilepress.pipeline.dicom.geometry import _repeats, depths_of, is_orientation, places_of
from tilepress.pipeline.dicom.planes import Plane
from tilepress.pipeline.dicom.source import DicomSource
from tilepress.pipeline.store.ome import ome_attributes

AXIAL = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]
Write = Callable[..., Path]


def planes_at(depths: list[float], thickness: float | None = None) -> list[Plane]:
    return [
        Plane(
            instance=i,
            frame=0,
            position=(0.0, 0.0, depth),
            orientation=tuple(AXIAL),
            order=(),
            rescale=None,
            window=None,
            thickness=thickness,
        )
        for i, depth in enumerate(depths)
    ]


def counts(depths: list[float], thickness: float | None = None) -> list[int]:
    return [len(place) for place in places_of(planes_at(depths, thickness), depths)]


class TestPlaces:
    @pytest.mark.parametrize("thickness", [None, 3.0])
    @pytest.mark.parametrize("jitter", [0.0, 0.002, 0.02])
    def test_jitter_below_a_hundredth_of_the_step_is_none(self, jitter, thickness):
        depths = [3.0 * z + jitter * t for t in (0, 1) for z in range(4)]
        assert counts(depths, thickness) == [2, 2, 2, 2]

    def test_steps_of_more_than_that_are_steps(self):
        assert counts([0, 0.05, 3, 3.05, 6, 6.05], 3.0) == [1] * 6

    @pytest.mark.parametrize("repeats", [2, 3, 4, 6])
    def test_every_number_of_repeats(self, repeats):
        assert counts([2.5 * z for z in range(5) for _ in range(repeats)]) == [repeats] * 5

    def test_a_volume_of_one_time_stays_one(self):
        assert counts([0.7 * z for z in range(60)]) == [1] * 60

    def test_two_stations_far_apart_are_not_two_slices(self):
        assert counts([0, 1, 2, 400, 401, 402], 1.0) == [1] * 6

    def test_slabs_that_overlap_are_slices(self):
        assert counts([1.0 * z for z in range(40)], 100.0) == [1] * 40

    def test_jitter_where_one_position_is_repeated(self):
        assert counts([0, 3, 3.002, 6, 9], 3.0) == [1, 2, 1, 1]

    def test_slices_of_less_than_a_micrometre(self):
        assert counts([0.0005 * z for z in range(8)], 0.0005) == [1] * 8

    def test_many_planes_have_no_repeats(self):
        """The number of repeats is not tried out where no two planes are near one another."""
        depths = [0.5 * z for z in range(720720)]
        assert _repeats(np.array(depths), 0.0) == 0

    def test_one_place(self):
        assert counts([1.0] * 6, 2.0) == [6]


class TestWithoutAnOrientation:
    def test_zeros_and_skewed_directions_are_none(self):
        assert is_orientation(tuple(AXIAL))
        assert not is_orientation((0.0,) * 6)
        assert not is_orientation((1.0, 0.0, 0.0, 1.0, 0.0, 0.0))

    def test_positions_on_a_line_have_an_order(self):
        found = depths_of(planes_at([9, 0, 6, 3]), None)
        assert found == [9, 0, 6, 3]

    def test_others_have_none(self):
        assert depths_of(planes_at([1.0, 1.0]), None) is None

    def test_z_stays_z(self, write: Write, one_spec, read_all):
        paths = [
            write(f"{z}", np.full((4, 5), z, np.int16), instance=z, ImagePositionPatient=[0, 0, -z],
                  ImageOrientationPatient=[0] * 6)
            for z in (0, 3, 6)
        ]  # fmt: skip
        info = DicomSource(one_spec(*paths)).info
        assert info.axes == ("z", "y", "x")
        assert info.coordinates["z"].tolist() == [-6, -3, 0]
        assert info.medical is not None
        assert info.medical.slice_spacing_mm == 3
        assert info.medical.orientation is None
        assert "no orientation" in info.remarks[0]
        assert read_all(one_spec(*paths))[:, 0, 0].tolist() == [6, 3, 0]


class TestEveryPlaneHasItsOwn:
    def slices(self, write: Write, *files: dict[str, Any]) -> list[Path]:
        return [
            write(f"{i}", np.zeros((4, 5), np.int16), instance=i,
                  **{"ImageOrientationPatient": AXIAL, "PixelSpacing": [0.5, 0.7],
                     "ImagePositionPatient": [0, 0, 5 * i], **elements})
            for i, elements in enumerate(files)
        ]  # fmt: skip

    def test_a_tilted_gantry(self, write: Write, one_spec):
        tilted = [{"ImagePositionPatient": [-10, -20 + 1.34 * i, 5 * i]} for i in range(3)]
        info = DicomSource(one_spec(*self.slices(write, *tilted))).info
        assert info.labels["position_y"].values.tolist() == [-20, -18.66, -17.32]
        assert info.labels["position_y"].axes == ("z",)
        assert "sheared" in info.remarks[0]

    def test_a_straight_one_says_nothing(self, write: Write, one_spec):
        info = DicomSource(one_spec(*self.slices(write, {}, {}, {}))).info
        assert info.labels == {}
        assert info.remarks == ()

    def test_pixel_spacing(self, write: Write, one_spec):
        info = DicomSource(one_spec(*self.slices(write, {}, {"PixelSpacing": [1, 1.4]}))).info
        assert info.medical is not None
        assert info.medical.pixel_spacing_mm is None
        assert info.labels["pixel_spacing_x"].values.tolist() == [0.7, 1.4]
        assert "pixel_spacing_mm" not in info.attributes
        scale = ome_attributes(info, ["0"])["ome"]["multiscales"][0]["axes"]
        assert [axis.get("unit") for axis in scale] == ["millimeter", None, None]


class TestDoseGrids:
    @pytest.mark.parametrize("offsets", [[0, 2.5, 5], [-100, -97.5, -95]])
    def test_offsets_count_from_the_first_plane_or_from_the_patient(
        self, write: Write, one_spec, offsets
    ):
        """PS3.3 C.8.8.3.2: form b has z coordinates, form a differences."""
        path = write("x", np.zeros(60, np.int16).tobytes(), Rows=4, Columns=5, NumberOfFrames=3,
                     BitsAllocated=16, BitsStored=16, PixelRepresentation=1,
                     ImagePositionPatient=[-10, -20, -100], ImageOrientationPatient=AXIAL,
                     GridFrameOffsetVector=offsets)  # fmt: skip
        info = DicomSource(one_spec(path)).info
        assert info.coordinates["z"].tolist() == [-100, -97.5, -95]
        assert info.medical is not None
        assert info.medical.origin_mm == (-10, -20, -100)
