"""Samples are those of libjpeg-turbo's default decompressor, whatever the sampling and size."""

from __future__ import annotations

import numpy as np
import pytest

from tilepress.codecs.jpeg.codec import Grid
from tilepress.codecs.jpeg.markers import JpegTables
from tilepress.codecs.jpeg.render import IJG, NO_TRANSFORM, TURBO, YCC, render
from tilepress.codecs.jpeg.samples import component_samples, larger_samples
from tilepress.codecs.jpeg.stream import read_stream

from .pictures import jpeg, picture, samples_of

SIZES = [(1, 1), (1, 9), (2, 5), (3, 1), (4, 2), (7, 6), (8, 8), (9, 17), (16, 33), (47, 50)]


def ours(stream: bytes, colour: int, manner: int = TURBO) -> np.ndarray:
    found, blocks = read_stream(stream, JpegTables())
    frame = found.frame
    out = np.zeros((len(frame.components), frame.height, frame.width), np.uint8)
    grid = Grid(1, 1, 1, frame.height, frame.width)
    render(grid, 0, found, blocks, found.own_places()[0], colour, False, manner, out)
    return out


class TestEqualsLibjpegTurbo:
    @pytest.mark.parametrize("sampling", ["444", "422", "420", "440", "411"])
    @pytest.mark.parametrize("quality", [5, 60, 90, 100])
    def test_of_colour(self, sampling: str, quality: int) -> None:
        for seed, (height, width) in enumerate(SIZES):
            stream = jpeg(picture(height, width, seed), quality, sampling)
            assert np.array_equal(ours(stream, YCC), samples_of(stream)), (height, width)

    @pytest.mark.parametrize("quality", [1, 50, 95, 100])
    def test_of_grey(self, quality: int) -> None:
        for seed, (height, width) in enumerate(SIZES):
            stream = jpeg(picture(height, width, seed, 1), quality)
            assert np.array_equal(ours(stream, NO_TRANSFORM), samples_of(stream))

    def test_of_noise(self) -> None:
        """Every coefficient counts, and many samples are cut off at 0 and 255."""
        image = np.random.default_rng(1).integers(0, 256, (64, 80, 3)).astype(np.uint8)
        for sampling in ("444", "420"):
            stream = jpeg(image, 90, sampling)
            assert np.array_equal(ours(stream, YCC), samples_of(stream))

    def test_without_a_colour_transform(self) -> None:
        stream = jpeg(picture(40, 30), 85, "444", colorspace="RGB", outcolorspace="RGB")
        assert np.array_equal(ours(stream, NO_TRANSFORM), samples_of(stream, colorspace="RGB"))


class TestLargerTransform:
    """The IJG's library makes twice the samples of a block instead of spreading them."""

    def test_of_a_mean_is_flat(self) -> None:
        blocks = np.zeros((1, 64), np.int16)
        blocks[0, 0] = 80
        steps = np.full(64, 3, np.int64)
        small, large = np.empty((8, 8), np.uint16), np.empty((16, 16), np.uint16)
        component_samples(blocks, 0, 1, 1, 1, steps, 8, small)
        larger_samples(blocks, 0, 1, 1, 1, steps, 8, True, True, large)
        assert set(small.flat) == set(large.flat) == {128 + 30}

    @pytest.mark.parametrize(("high", "wide"), [(True, True), (True, False), (False, True)])
    def test_is_the_cosine_series_between_the_samples(self, high: bool, wide: bool) -> None:
        rng = np.random.default_rng(0)
        blocks = (rng.normal(0, 30, (1, 64)) / (1 + np.arange(64))).astype(np.int16)
        steps = np.full(64, 4, np.int64)
        out = np.empty((16 if high else 8, 16 if wide else 8), np.uint16)
        larger_samples(blocks, 0, 1, 1, 1, steps, 8, high, wide, out)

        def basis(size: int) -> np.ndarray:
            x, k = np.mgrid[:size, :8]
            scale = np.where(k == 0, np.sqrt(1 / 8), 1 / 2)
            return scale * np.cos((2 * x + 1) * k * np.pi / (2 * size))

        exact = basis(out.shape[0]) @ (blocks * steps).reshape(8, 8) @ basis(out.shape[1]).T + 128
        assert np.abs(exact.clip(0, 255) - out).max() < 1

    def test_of_subsampled_colour_is_near_what_turbo_makes(self) -> None:
        stream = jpeg(picture(48, 64), 90, "420")
        near = ours(stream, YCC, IJG).astype(int) - ours(stream, YCC)
        assert np.abs(near).mean() < 6
        assert near.any()
