"""How an image is shown: colours of channels, and what is black and white."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from tilepress.pipeline.image.display import omero_of
from tilepress.pipeline.image.grid import Box
from tilepress.pipeline.image.info import BandInfo, ImageInfo
from tilepress.pipeline.image.source import SourceSpec

RGB = ["red", "green", "blue"]


class Samples:
    """A source of an array, which notes what is read."""

    def __init__(
        self, samples: npt.NDArray[Any], mask: npt.NDArray[np.uint8] | None = None, **fields: Any
    ) -> None:
        axes = ("z", "band", "y", "x")[-samples.ndim :]
        self.samples, self.mask = samples, mask
        self.info = ImageInfo(
            **{"name": "a", "axes": axes, **fields},
            shape=samples.shape, dtype=samples.dtype, has_mask=mask is not None,
        )  # fmt: skip
        self.spec = SourceSpec(kind="array", paths=("a",))
        self.taken: list[Box] = []

    def read(self, box: Box) -> npt.NDArray[Any]:
        self.taken.append(box)
        return self.samples[box.slices]

    def read_mask(self, box: Box) -> npt.NDArray[np.uint8]:
        assert self.mask is not None
        return self.mask[box.slices]

    def source_items(self) -> Iterator[tuple[str, bytes]]:
        return iter(())

    def fingerprint(self) -> dict[str, Any]:
        return {}

    def close(self) -> None: ...


def ranges(source: Samples) -> list[tuple[float, float]]:
    windows = [channel["window"] for channel in omero_of(source)["channels"]]
    return [(window["start"], window["end"]) for window in windows]


def colors(source: Samples) -> list[tuple[str, bool]]:
    return [(one["color"], one["active"]) for one in omero_of(source)["channels"]]


class TestTheRange:
    def test_holds_all_but_two_hundredths_at_either_end(self):
        image = np.random.default_rng(1).permutation(10_000).reshape(100, 100).astype(np.uint16)
        assert ranges(Samples(image)) == [(199, 9800)]
        (channel,) = omero_of(Samples(image))["channels"]
        assert (channel["window"]["min"], channel["window"]["max"]) == (0, 65535)

    def test_is_that_of_each_band_by_its_own_valid_samples(self):
        image = np.stack([np.full((50, 60), value, np.int32) for value in (5, 70)])
        image[:, :9] = -99
        image[1, 20:] = 7
        image[1, 30:, :] = 80
        mask = np.full((50, 60), 255, np.uint8)
        mask[20:30] = 0
        source = Samples(image, mask, nodata=-99)
        assert ranges(source) == [(5, 6), (70, 80)]
        bands = (BandInfo(nodata=-99), BandInfo(nodata=80))
        assert ranges(Samples(image, mask, nodata=-99, bands=bands))[1][1] == 70

    def test_knows_no_nan_and_no_padding(self):
        image = np.linspace(0, 1, 400, dtype=np.float32).reshape(20, 20)
        image[0], image[1] = np.nan, np.inf
        (found,) = ranges(Samples(image))
        assert 0.1 < found[0] < found[1] <= 1
        padded = np.array([[-2000] * 30, [10] * 30, [20] * 30], np.int16)
        assert ranges(Samples(padded, padding=(-2000, -2000))) == [(10, 20)]

    @pytest.mark.parametrize("value", [0, 3])
    def test_of_nothing_or_of_one_value_is_a_range_yet(self, value: int):
        found = ranges(Samples(np.full((30, 30), value, np.uint16), nodata=3))
        assert found == [(0, 1)]

    def test_of_a_large_image_takes_a_few_windows(self):
        image = np.zeros((3, 2, 2000, 3000), np.uint8)
        image[:, 0, :, 1400:1600] = 9
        source = Samples(image)
        assert ranges(source)[0] == (0, 9)
        assert len(source.taken) == 3 * 9
        assert sum(np.prod(box.shape) for box in source.taken) < image.size / 10

    @pytest.mark.parametrize(("bands", "side"), [(300, 70), (300, 200), (5, 1000)])
    def test_of_many_bands_takes_less_of_each(self, bands: int, side: int):
        image = np.broadcast_to(np.arange(side, dtype=np.uint16), (bands, side, side))
        source = Samples(image, axes=("band", "y", "x"))
        assert ranges(source)[-1] == pytest.approx((0.02 * side, 0.98 * side), abs=0.1 * side)
        assert sum(np.prod(box.shape) for box in source.taken) <= 2**22

    def test_is_the_window_of_a_dicom_file_in_stored_values(self):
        told = {
            "window_center": [40.0, 300.0], "window_width": [400.0, 1500.0],
            "rescale_slope": 2.0, "rescale_intercept": -1000.0,
        }  # fmt: skip
        source = Samples(np.zeros((9, 9), np.int16), attributes=told, valid_range=(0, 4095))
        assert ranges(source) == [(420, 620)]
        assert source.taken == []
        (channel,) = omero_of(source)["channels"]
        assert (channel["window"]["min"], channel["window"]["max"]) == (0, 4095)

    @pytest.mark.parametrize(
        "told",
        [
            {"window_center": 1.0}, {"window_center": 1.0, "window_width": 0.0},
            {"window_center": 1.0, "window_width": 2.0, "rescale_slope": [1.0, 2.0]},
            {"window_center": 1.0, "window_width": 2.0, "rescale_slope": 0},
            {"window_center": "1", "window_width": []},
        ],
    )  # fmt: skip
    def test_is_looked_at_where_a_window_is_no_help(self, told: Mapping[str, Any]):
        image = np.arange(900, dtype=np.int16).reshape(30, 30)
        assert ranges(Samples(image, attributes=told)) == [(17, 882)]


class TestColours:
    def test_of_three_that_are_red_green_and_blue(self):
        told = {"color_interpretation": ["blue", "green", "red", "alpha"]}
        source = Samples(np.zeros((4, 9, 9), np.uint8), attributes=told, axes=("band", "y", "x"))
        assert colors(source) == [
            ("0000FF", True), ("00FF00", True), ("FF0000", True), ("FFFFFF", False),
        ]  # fmt: skip
        assert ranges(source) == [(0, 255)] * 4
        assert source.taken == [], "eight bits are shown as they are"

    def test_by_names(self):
        names = np.array(["Blue", "Green", "Red", "NIR"])
        source = Samples(
            np.arange(4 * 81).reshape(4, 9, 9).astype(np.uint16), axes=("band", "y", "x"),
            coordinates={"band": names},
        )  # fmt: skip
        assert [active for _, active in colors(source)] == [True, True, True, False]
        found = omero_of(source)["channels"]
        assert [one["label"] for one in found] == names.tolist()

    def test_of_dicom(self):
        told = {"photometric_interpretation": "RGB"}
        source = Samples(np.zeros((3, 9, 9), np.uint8), attributes=told, axes=("band", "y", "x"))
        assert [color for color, _ in colors(source)] == ["FF0000", "00FF00", "0000FF"]

    def test_of_others_the_first_is_shown_in_grey(self):
        source = Samples(np.zeros((3, 9, 9), np.uint16), axes=("band", "y", "x"))
        assert colors(source) == [("FFFFFF", True), ("FFFFFF", False), ("FFFFFF", False)]
        assert colors(Samples(np.zeros((9, 9), bool))) == [("FFFFFF", True)]
