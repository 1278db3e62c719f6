"""Volumes of a 4-D series are told apart by what their headers say, never by names of files."""

from __future__ import annotations

import itertools
import random
from typing import Any

import pytest

from tilepress.pipeline.dicom.order import volumes
from tilepress.pipeline.dicom.planes import Plane

SLICES, VOLUMES = 4, 3


def series(
    labels: Any,  # a function of volume and slice
    numbers: Any = lambda volume, slice_: 0,  # likewise
    seed: int = 1,
) -> list[list[tuple[int, int]]] | None:
    """Shuffle planes of volumes × slices, order them, and return (volume, slice) as found."""
    random.seed(seed)
    every = list(itertools.product(range(VOLUMES), range(SLICES)))
    names = random.sample(range(100), len(every))
    planes = {
        (volume, at): Plane(
            instance=number,
            frame=0,
            position=(0.0, 0.0, float(at)),
            orientation=(1.0, 0.0, 0.0, 0.0, 1.0, 0.0),
            order=(),
            rescale=None,
            window=None,
            labels=labels(volume, at),
        )
        for number, (volume, at) in enumerate(every)
    }
    keys = [(numbers(*one), f"{name:02}") for one, name in zip(every, names, strict=True)]
    places = [
        random.sample([planes[volume, at] for volume in range(VOLUMES)], VOLUMES)
        for at in range(SLICES)
    ]
    found = volumes(places, keys)
    back = {id(plane): one for one, plane in planes.items()}
    return None if found is None else [[back[id(plane)] for plane in row] for row in found]


RIGHT = [[(volume, at) for at in range(SLICES)] for volume in range(VOLUMES)]


class TestVolumesAreWhole:
    @pytest.mark.parametrize(
        ("name", "values"),
        [
            ("echo_time", [4.92, 7.38, 9.84]),
            ("b_value", [0.0, 500.0, 1000.0]),
            ("frame_type", ["MAGNITUDE", "PHASE", "REAL"]),
            ("segment", [1.0, 2.0, 3.0]),
            ("temporal_position", [1.0, 2.0, 3.0]),
            ("frame_acquisition_number", [1.0, 2.0, 3.0]),
            ("gradient", [(0.0, 0.0, 1.0), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0)]),
            ("acquisition_time", [0.0, 1000.0, 2000.0]),
            ("content_time", [0.0, 1000.0, 2000.0]),
            ("trigger_time", [0.0, 50.0, 100.0]),
            ("inversion_time", [100.0, 180.0, 260.0]),
        ],
    )
    def test_by_a_label(self, name: str, values: list[Any]):
        assert series(lambda volume, at: {name: values[volume]}) == RIGHT

    def test_by_times_that_differ_from_slice_to_slice(self):
        times = lambda volume, at: {"acquisition_time": 1000.0 * volume + 70.0 * (at * 3 % 4)}  # noqa: E731
        assert series(times) == RIGHT

    def test_by_instance_numbers(self):
        assert series(lambda v, at: {}, lambda volume, at: volume * SLICES + at) == RIGHT

    def test_by_dimension_indices_whose_position_is_left_out(self):
        index = lambda volume, at: {"dimension_index": (1.0, at + 1.0, volume + 1.0)}  # noqa: E731
        assert series(index) == RIGHT

    def test_b_values_go_before_instance_numbers_that_contradict_them(self):
        """Half of the slices were numbered backwards."""
        found = series(
            lambda volume, at: {"b_value": 500.0 * volume},
            lambda volume, at: at * 10 + (volume if at % 2 else -volume),
        )
        assert found == RIGHT

    def test_a_number_that_means_nothing_is_passed_over(self):
        """AcquisitionNumber counts something else, and TemporalPositionIdentifier the times."""
        found = series(
            lambda volume, at: {
                "temporal_position": float(volume),
                "acquisition_number": float((volume + at) % VOLUMES),
            }
        )
        assert found == RIGHT

    def test_echoes_in_two_phases(self):
        """Two labels together: neither tells all volumes apart."""
        found = series(
            lambda volume, at: {
                "echo_time": [5.0, 5.0, 9.0][volume],
                "acquisition_time": [0.0, 10.0, 0.0][volume],
            }
        )
        assert found is not None
        assert [{volume for volume, _ in row} for row in found] == [{0}, {1}, {2}]

    def test_the_order_does_not_depend_on_names_of_files(self):
        gradients = [(0.6, 0.8, 0.0), (0.0, 0.6, 0.8), (0.8, 0.0, 0.6)]
        labels = lambda volume, at: {"b_value": 1000.0, "gradient": gradients[volume]}  # noqa: E731
        assert len({str(series(labels, seed=seed)) for seed in range(5)}) == 1


class TestNothingIsMadeUp:
    def test_without_labels_there_are_no_volumes(self):
        assert series(lambda volume, at: {}) is None

    def test_a_label_that_ties_tells_nothing(self):
        """Two of three volumes have one echo time, and nothing else."""
        assert series(lambda volume, at: {"echo_time": [5.0, 5.0, 9.0][volume]}) is None
