"""Map tiles show each sample where it lies on the ground."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from pyproj import Transformer

import tilepress
from tilepress.errors import UsageError
from tilepress.pipeline.read.look import Channel, Look
from tilepress.pipeline.read.picture import Picture
from tilepress.pipeline.store.reader import StoreReader
from tilepress.workflows.serve.mercator import map_tile

GREY = Look((Channel(0, 0, 255),))


class TestMapTiles:
    def test_a_sample_is_where_its_coordinates_say(self, served: Path) -> None:
        """At zoom 16 a pixel is 1.7 m of ground, and a sample 10 m: each tile has some of each."""
        image = tilepress.open(served / "scene.zarr").image
        picture = Picture(StoreReader.open(served / "scene.zarr"))
        to_degrees = Transformer.from_crs("EPSG:32631", "EPSG:4326", always_xy=True)
        for row, column in ((0, 0), (300, 250), (599, 499)):
            lon, lat = to_degrees.transform(float(image.x[column]), float(image.y[row]))
            x = (lon + 180) / 360 * 2**16
            y = (1 - math.asinh(math.tan(math.radians(lat))) / math.pi) / 2 * 2**16
            tile = map_tile(picture, 16, int(x), int(y), GREY)
            pixel = tile[int(y % 1 * 256), int(x % 1 * 256)]
            assert pixel.tolist() == [int(image[0, row, column])] * 3 + [255]

    def test_nothing_is_where_the_image_is_not(self, served: Path) -> None:
        picture = Picture(StoreReader.open(served / "scene.zarr"))
        assert not map_tile(picture, 10, 0, 0, GREY).any()
        world = map_tile(picture, 0, 0, 0, GREY)
        assert 0 <= np.count_nonzero(world[..., 3]) <= 4

    def test_an_image_without_a_place(self, served: Path) -> None:
        picture = Picture(StoreReader.open(served / "deep" / "volume.zarr"))
        with pytest.raises(UsageError, match="no place on the ground"):
            map_tile(picture, 0, 0, 0, GREY)
