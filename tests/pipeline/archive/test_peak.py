"""The peak of a PSNR is never wider than the image's values, and costs no pass over the image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tilepress.pipeline.archive.peak import peak_of
from tilepress.pipeline.image.grid import Box
from tilepress.pipeline.image.info import BandInfo, ImageInfo
from tilepress.pipeline.image.source import SourceSpec


class _Source:
    """Samples in memory, and how many were read."""

    spec = SourceSpec(kind="array", paths=("a.npy",))

    def __init__(self, samples: np.ndarray, **info: Any) -> None:
        axes = (("band", "y", "x") if "bands" in info else ("z", "y", "x"))[-samples.ndim :]
        self.samples, self.read_samples = samples, 0
        self.info = ImageInfo(name="a", axes=axes, shape=samples.shape, dtype=samples.dtype, **info)

    def read(self, box: Box) -> np.ndarray:
        found = self.samples[box.slices]
        self.read_samples += found.size
        return found

    def peak(self, nodata: float | None = None) -> float:
        return peak_of(self, self.info, nodata)  # type: ignore[arg-type]


IMAGE = np.random.default_rng(0).integers(100, 4000, (300, 400)).astype(np.uint16)


class TestItIsTheRangeOfValues:
    def test_of_8_bits_it_is_255(self) -> None:
        for dtype in ("uint8", "int8"):
            assert _Source((IMAGE % 7).astype(dtype)).peak() == 255

    def test_of_others_that_of_the_values(self) -> None:
        assert _Source(IMAGE).peak() == float(IMAGE.max()) - float(IMAGE.min())
        assert _Source(IMAGE.astype(np.float32) / 8).peak() == np.ptp(IMAGE) / 8

    def test_without_those_that_are_absent(self) -> None:
        image = IMAGE.copy()
        image[:50] = 65535
        assert _Source(image).peak(65535) == np.ptp(IMAGE[50:])
        real = IMAGE.astype(np.float64)
        real[:3, :3], real[5, 5] = np.nan, np.inf
        real[9, 9] = -1e30
        assert _Source(real).peak(-1e30) < 4000

    def test_without_bands_that_are_exact(self) -> None:
        bands = np.stack([IMAGE, IMAGE * np.uint16(16)])
        source = _Source(bands, bands=(BandInfo(), BandInfo()), exact={1: "flags"})
        assert source.peak() == np.ptp(IMAGE)

    @pytest.mark.parametrize("value", [0, 7])
    def test_of_one_value_there_is_none(self, value: int) -> None:
        assert _Source(np.full((20, 30), value, np.uint16)).peak() == 1.0


class TestItIsFoundInAFewWindows:
    def test_of_a_volume(self, tmp_path: Path) -> None:
        volume = np.zeros((80, 1400, 1500), np.int16)
        volume[::3, ::7] = 900
        source = _Source(volume)
        assert source.peak() == 900
        assert source.read_samples <= 16 * 16 * 256**2 < volume.size / 8

    def test_is_never_wider(self) -> None:
        image = np.tile(IMAGE, (9, 9))
        image[0, 1] = 60000  # a single one, which windows need not see
        assert _Source(image).peak() <= np.ptp(image)
