"""ome-zarr-py and the plugin of napari find images, levels, spacing, channels and contrast."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from .conftest import Made

pytestmark = [pytest.mark.readers, pytest.mark.filterwarnings("ignore")]  # theirs


def _by_ome_zarr(path: Path) -> Any:
    """Return the node of the image, as ome-zarr-py's reader gives it."""
    from ome_zarr.io import parse_url
    from ome_zarr.reader import Reader

    location = parse_url(path, mode="r")
    assert location is not None
    return next(iter(Reader(location)()))


def _by_napari(path: Path) -> list[Any]:
    """Return (levels, options, kind) of each layer, as napari's plugin gives them."""
    from napari_ome_zarr import napari_get_reader

    read = napari_get_reader(os.fspath(path))
    assert read is not None
    layers = read(os.fspath(path))
    assert {kind for _, _, kind in layers} == {"image"}
    return layers


class TestOmeZarr:
    def test_a_scene_with_levels(self, scene: Made) -> None:
        node = _by_ome_zarr(scene.path)
        rows, columns = scene.image.shape[1:]
        assert [level.shape[0] for level in node.data] == [3, 3, 3]
        assert node.data[0].shape == scene.image.shape
        np.testing.assert_array_equal(np.asarray(node.data[0]), scene.image)
        assert node.data[1].shape[1] < rows
        assert node.data[2].shape[2] < node.data[1].shape[2] < columns
        assert [axis["name"] for axis in node.metadata["axes"]][-2:] == ["y", "x"]
        assert len(node.metadata["contrast_limits"]) == 3

    def test_a_volume(self, volume: Made) -> None:
        node = _by_ome_zarr(volume.path)
        np.testing.assert_array_equal(np.asarray(node.data[0]), volume.image)
        (transform,) = node.metadata["coordinateTransformations"][0]
        assert transform["scale"] == [2.5, 0.75, 0.5]
        assert node.metadata["contrast_limits"] == [[800, 1200]]

    def test_a_slide_in_its_colours(self, slide: Made) -> None:
        node = _by_ome_zarr(slide.path)
        assert len(node.data) == 3
        np.testing.assert_array_equal(np.asarray(node.data[0]), slide.image)
        colours = np.round(np.array(node.metadata["colormap"])[:, -1, :3])
        np.testing.assert_array_equal(colours, np.eye(3))


class TestNapari:
    """A layer for each channel."""

    def test_a_scene_with_levels(self, scene: Made) -> None:
        layers = _by_napari(scene.path)
        for (levels, options, _), band in zip(layers, scene.image, strict=True):
            np.testing.assert_array_equal(np.asarray(levels[0]), band)
            assert len(levels) == 3
            assert options["scale"] == [30.0, 30.0]
            low, high = options["contrast_limits"]
            assert band.min() <= low < high <= band.max()

    def test_a_volume(self, volume: Made) -> None:
        ((levels, options, _),) = _by_napari(volume.path)
        np.testing.assert_array_equal(np.asarray(levels[0]), volume.image)
        assert list(options["scale"]) == [2.5, 0.75, 0.5]
        assert list(options["contrast_limits"]) == [800, 1200]

    def test_a_slide_in_its_colours(self, slide: Made) -> None:
        layers = _by_napari(slide.path)
        for number, (levels, options, _) in enumerate(layers):
            np.testing.assert_array_equal(np.asarray(levels[0]), slide.image[number])
            assert options["colormap"].colors[-1, :3].tolist() == np.eye(3)[number].tolist()
        assert len(layers) == 3

    def test_a_viewer_takes_the_layers(self, slide: Made) -> None:
        """Without a window: what a viewer is, but for its canvas."""
        from napari.components import ViewerModel

        viewer = ViewerModel()
        for levels, options, _ in _by_napari(slide.path):
            viewer.add_image(levels, multiscale=True, **options)
        assert [layer.multiscale for layer in viewer.layers] == [True] * 3
