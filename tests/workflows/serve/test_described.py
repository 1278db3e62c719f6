"""What the viewer is told of a store."""

from __future__ import annotations

import json
from pathlib import Path

from tilepress.pipeline.read.look import look_of
from tilepress.pipeline.read.picture import Picture
from tilepress.pipeline.store.reader import StoreReader
from tilepress.workflows.serve.described import described


class TestDescription:
    def test_of_a_raster_and_of_a_volume(self, served: Path) -> None:
        scene = Picture(StoreReader.open(served / "scene.zarr"))
        told = described("scene.zarr", scene, look_of(scene.reader))
        assert told["bands"][0] == {"name": "band 1", "low": 0, "high": 255}
        assert [channel["color"] for channel in told["channels"]] == ["ff0000", "00ff00", "0000ff"]
        assert not told["is_volume"]
        volume = Picture(StoreReader.open(served / "deep" / "volume.zarr"))
        told = described("deep/volume.zarr", volume, look_of(volume.reader))
        assert told["is_volume"]
        assert told["place"] == {"z": 4}
        json.dumps(told, allow_nan=False)

    def test_no_attribute_but_the_listed_ones(self, served: Path) -> None:
        scene = Picture(StoreReader.open(served / "scene.zarr"))
        told = described("scene.zarr", scene, look_of(scene.reader))
        assert set(told["attributes"]) == {"proj:code", "spatial:transform"}
