"""Frames are drawn as their headers say."""

from __future__ import annotations

import numpy as np
import pytest
from pydicom.dataset import Dataset

from tilepress.errors import DamagedSource
from tilepress.pipeline.dicom.shown import Window, drawn

RAMP = np.arange(256, dtype=np.uint16).reshape(1, 16, 16) * 16


class TestGrey:
    def test_without_a_window_has_all_values(self) -> None:
        np.testing.assert_array_equal(drawn(RAMP, Dataset(), "MONOCHROME2"), RAMP[0] // 16)
        inverse = drawn(RAMP, Dataset(), "MONOCHROME1")
        np.testing.assert_array_equal(inverse, 255 - RAMP[0] // 16)

    def test_slope_and_window(self) -> None:
        ds = Dataset()
        ds.RescaleSlope, ds.RescaleIntercept = 2, -1000
        ds.WindowCenter, ds.WindowWidth = [100, 7], [201, 7]
        values = RAMP[0] * 2.0 - 1000
        want = np.rint(np.clip((values - 99.5) / 200 + 0.5, 0, 1) * 255)
        np.testing.assert_array_equal(drawn(RAMP, ds, "MONOCHROME2"), want)
        given = drawn(RAMP, ds, "MONOCHROME2", Window(0, 100, "LINEAR_EXACT"))
        np.testing.assert_array_equal(given, np.rint(np.clip(values / 100 + 0.5, 0, 1) * 255))

    def test_a_window_that_is_none_is_no_window(self) -> None:
        for center, width in ((100, 0), (100, -5), (None, 10)):
            ds = Dataset()
            ds.WindowCenter, ds.WindowWidth = center, width
            np.testing.assert_array_equal(drawn(RAMP, ds, "MONOCHROME2"), RAMP[0] // 16)

    def test_floats_that_are_no_numbers(self) -> None:
        samples = np.array([[[np.nan, 0.0, 1.0, np.inf]]], np.float32)
        assert drawn(samples, Dataset(), "MONOCHROME2").tolist() == [[0, 0, 255, 255]]


class TestColours:
    def test_red_green_and_blue(self) -> None:
        samples = np.arange(12, dtype=np.uint8).reshape(3, 2, 2)
        np.testing.assert_array_equal(drawn(samples, Dataset(), "RGB"), samples.transpose(1, 2, 0))
        deep = samples.astype(np.uint16) << 4
        ds = Dataset()
        ds.BitsStored = 12
        np.testing.assert_array_equal(drawn(deep, ds, "RGB"), samples.transpose(1, 2, 0))

    def test_luminance_and_chroma(self) -> None:
        samples = np.array([[[76]], [[85]], [[255]]], np.uint8)
        red = drawn(samples, Dataset(), "YBR_FULL")[0, 0].astype(int)
        assert np.abs(red - [254, 0, 0]).max() <= 1

    def test_a_palette(self) -> None:
        ds = Dataset()
        for number, name in enumerate(("Red", "Green", "Blue")):
            setattr(ds, f"{name}PaletteColorLookupTableDescriptor", [4, 0, 16])
            table = np.array([0, 1, 2, 3], np.uint16) * (1 + number) * 5000
            setattr(ds, f"{name}PaletteColorLookupTableData", table.astype("<u2").tobytes())
        ds.PhotometricInterpretation = "PALETTE COLOR"
        ds.BitsAllocated, ds.PixelRepresentation = 8, 0
        pixels = drawn(np.array([[[0, 3]]], np.uint8), ds, "PALETTE COLOR")
        assert pixels.tolist() == [[[0, 0, 0], [58, 117, 175]]]

    def test_a_header_that_contradicts_itself(self) -> None:
        ds = Dataset()
        ds.RescaleSlope, ds.RescaleIntercept = "1", "0"
        ds.RedPaletteColorLookupTableDescriptor = [4, 0, 16]
        with pytest.raises(DamagedSource):
            drawn(np.zeros((1, 2, 2), np.uint8), ds, "PALETTE COLOR")


def _segmented(numbers: list[int], bits: int = 16) -> Dataset:
    ds = Dataset()
    for name in ("Red", "Green", "Blue"):
        setattr(ds, f"{name}PaletteColorLookupTableDescriptor", [4, 0, bits])
        data = np.array(numbers, f"<u{bits // 8}").tobytes()
        setattr(ds, f"Segmented{name}PaletteColorLookupTableData", data)
    ds.set_original_encoding(False, True)
    return ds


class TestATableOfSegments:
    INDEX = np.array([[[0, 1, 2, 3]]], np.uint8)

    @pytest.mark.parametrize(
        ("bits", "numbers"),
        [
            (16, [0, 1, 0, 1, 3, 768]),
            (16, [0, 2, 0, 256, 0, 2, 512, 768]),
            (8, [0, 1, 0, 1, 3, 3]),
            (8, [0, 4, 0, 1, 2, 3]),
        ],
    )
    def test_is_drawn(self, bits: int, numbers: list[int]) -> None:
        shown = drawn(self.INDEX, _segmented(numbers, bits), "PALETTE COLOR")
        assert shown[0, :, 0].tolist() == [0, 1, 2, 3]

    def test_that_repeats_another_is_drawn(self) -> None:
        wide = _segmented([0, 2, 0, 256, 2, 1, 0, 0])
        narrow = _segmented([0, 2, 0, 1, 2, 1, 0, 0, 0, 0], 8)
        for ds in (wide, narrow):
            assert drawn(self.INDEX, ds, "PALETTE COLOR")[0, :, 0].tolist() == [0, 1, 0, 1]

    @pytest.mark.parametrize(
        "numbers",
        [
            [0, 1, 0] + [1, 65535, 9] * 2,  # 7 numbers, 131070 entries
            [0, 1, 0] + [1, 65535, 9] * 80_000,
            [0, 1, 0] + [2, 65535, 0, 0] * 10_000,  # itself
            [0, 0] * 20 + [0, 1, 0] + [2, 65535, 0, 0] * 60_000,
            [0, 1, 0, 2, 9, 3, 0],
            [0, 1, 0] + [0, 0] * 130_000,
        ],
        ids=["two", "many", "itself", "zeros", "in a circle", "nothing"],
    )
    def test_that_would_be_too_large_is_refused(self, numbers: list[int]) -> None:
        with pytest.raises(DamagedSource, match="ValueError"):
            drawn(self.INDEX, _segmented(numbers), "PALETTE COLOR")
