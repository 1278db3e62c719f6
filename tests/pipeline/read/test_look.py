"""Samples become the pixels that their channels say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tilepress.pipeline.read.indices import normalized
from tilepress.pipeline.read.look import Channel, Look, coloured, look_of, reduced
from tilepress.pipeline.store.reader import StoreReader

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def _all(samples: np.ndarray) -> np.ndarray:
    return np.ones(samples.shape, np.float32)


class TestColours:
    def test_channels_are_stretched_and_added(self) -> None:
        samples = np.array([[[0, 50, 100, 200]], [[10, 10, 20, 30]]], np.uint16)
        look = Look((Channel(0, 0, 100, RED), Channel(1, 10, 20, GREEN)))
        pixels = coloured(samples, _all(samples), look, None)
        assert pixels[0].tolist() == [
            [0, 0, 0, 255],
            [128, 0, 0, 255],
            [255, 255, 0, 255],
            [255, 255, 0, 255],
        ]

    def test_a_range_of_one_value_and_turned_round(self) -> None:
        samples = np.array([[[3, 7]]], np.int16)
        assert coloured(samples, _all(samples), Look((Channel(0, 7, 7),)), None)[0, 1, 0] == 0
        turned = coloured(samples, _all(samples), Look((Channel(0, 7, 3),)), None)
        assert turned[0, :, 0].tolist() == [255, 0]

    def test_what_is_absent_is_transparent(self) -> None:
        samples = np.zeros((1, 1, 2), np.uint8)
        cover = np.array([[[0.0, 0.5]]], np.float32)
        pixels = coloured(samples, cover, Look((Channel(0, 0, 1),)), None)
        assert pixels[0, :, 3].tolist() == [0, 128]

    @pytest.mark.filterwarnings("error")
    def test_an_index_in_a_range_below_all_numbers(self) -> None:
        index = replace(normalized(0, 1), low=0.0, high=1e-320)
        samples = np.array([[[5, 0]], [[0, 5]]], np.uint8)
        look = Look((Channel(0, 0, 1),), index=index)
        pixels = coloured(samples, _all(samples), look, None)
        assert pixels[..., 3].tolist() == [[255, 255]]
        assert pixels[0, 0, :3].tolist() == [1, 102, 94]
        assert pixels[0, 1, :3].tolist() == [140, 81, 10]

    def test_an_index_of_two_bands(self) -> None:
        samples = np.array([[[10, 5, 0, 0]], [[0, 5, 10, 0]]], np.uint16)
        look = Look((Channel(0, 0, 1),), index=normalized(0, 1))
        pixels = coloured(samples, _all(samples), look, None)
        assert pixels[0, 0].tolist() == [1, 102, 94, 255]
        assert pixels[0, 1].tolist() == [245, 245, 245, 255]
        assert pixels[0, 2].tolist() == [140, 81, 10, 255]
        assert pixels[0, 3, 3] == 0  # 0 / 0

    def test_a_palette(self) -> None:
        palette = np.array([[0, 0, 0, 255], [0, 0, 0, 0], [255, 128, 0, 255]], np.uint8)
        samples = np.array([[[0, 2, 1, 9]]], np.uint8)
        pixels = coloured(samples, _all(samples), Look((Channel(0, 0, 1),)), palette)
        assert pixels[0].tolist() == [
            [0, 0, 0, 255],
            [255, 128, 0, 255],
            [0, 0, 0, 0],
            [255, 128, 0, 0],
        ]


class TestReducing:
    def test_means_of_what_is_present(self) -> None:
        samples = np.arange(16, dtype=np.uint16).reshape(1, 4, 4)
        present = np.ones((1, 4, 4), bool)
        present[0, 0, 0] = False
        means, cover = reduced(samples, present, (2, 2), False)
        np.testing.assert_allclose(means[0], [[(1 + 4 + 5) / 3, 4.5], [10.5, 12.5]], rtol=1e-6)
        assert cover[0].tolist() == [[0.75, 1], [1, 1]]

    def test_sides_that_do_not_divide(self) -> None:
        samples = np.ones((2, 7, 5), np.float32) * 3
        means, cover = reduced(samples, np.ones(samples.shape, bool), (3, 2), False)
        assert means.shape == (2, 3, 2)
        np.testing.assert_allclose(means, 3)
        np.testing.assert_allclose(cover, 1)

    def test_classes_are_never_mixed(self) -> None:
        samples = np.array([[[1, 9] * 8] * 16], np.uint8)
        means, _ = reduced(samples, np.ones(samples.shape, bool), (4, 4), True)
        assert set(np.unique(means)) <= {1, 9}

    def test_a_larger_picture_repeats(self) -> None:
        samples = np.array([[[1, 2]]], np.uint8)
        means, _ = reduced(samples, np.ones(samples.shape, bool), (2, 4), False)
        assert means[0].tolist() == [[1, 1, 2, 2]] * 2


class TestWhatAStoreAsksFor:
    def test_its_middle_and_a_range_of_most(self, geo_store: Any) -> None:
        look = look_of(StoreReader.open(geo_store.path))
        assert [channel.band for channel in look.channels] == [0]
        (channel,) = look.channels
        assert channel.low < channel.high

    @pytest.mark.parametrize(
        ("name", "color", "shown"),
        [
            ("LC08_224077.zarr", "FFFFFF", [(2, RED), (1, GREEN), (0, BLUE)]),
            ("LC08_224077.zarr", "FF00FF", [(0, (255, 0, 255))]),  # the store's own colour
            ("scene.zarr", "FFFFFF", [(0, (255, 255, 255))]),  # nobody knows which bands these are
        ],
    )
    def test_natural_colours_where_it_tells_none(self, name: str, color: str, shown: Any) -> None:
        channels = [
            {"label": label, "color": color, "active": label == "B2", "window": window}
            for label, window in zip(("B2", "B3", "B4"), _windows(3), strict=True)
        ]
        reader: Any = SimpleNamespace(
            path=Path(name),
            axes=("band", "y", "x"),
            shape=(3, 4, 4),
            attrs={"band_names": ["B2", "B3", "B4"]},
            root_attributes={"ome": {"omero": {"channels": channels}}},
        )
        found = look_of(reader).channels
        assert [(one.band, one.color) for one in found] == shown
        assert [one.low for one in found] == [10.0 * band for band, _ in shown]


def _windows(count: int) -> list[dict[str, float]]:
    """Return a window for each band, another for each."""
    return [{"min": 0, "max": 99, "start": 10.0 * n, "end": 10.0 * n + 5} for n in range(count)]
