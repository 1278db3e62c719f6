"""Parameters of an address become a look, within bounds."""

from __future__ import annotations

from pathlib import Path

import pytest

from tilepress.errors import UsageError
from tilepress.pipeline.read.indices import normalized
from tilepress.pipeline.read.look import Channel, look_of
from tilepress.pipeline.store.reader import StoreReader
from tilepress.workflows.serve.asked import look_asked, number


class TestLooks:
    def test_channels_index_and_place(self, served: Path) -> None:
        scene = StoreReader.open(served / "scene.zarr")
        usual = look_of(scene)
        assert look_asked({}, scene, usual) == usual
        look = look_asked({"c": "2:1:9.5;0:-3:1e3:0a0B0c", "nd": "2,1"}, scene, usual)
        assert look.channels == (Channel(2, 1, 9.5), Channel(0, -3, 1000, (10, 11, 12)))
        assert look.index == normalized(2, 1)
        volume = StoreReader.open(served / "deep" / "volume.zarr")
        assert look_asked({"at": "z:7"}, volume, look_of(volume)).place == {"z": 7}

    def test_an_axis_that_is_not_there_is_told_with_those_that_are(self, served: Path) -> None:
        for store, told in (("scene", "and there are none$"), ("deep/volume", "want one of z$")):
            reader = StoreReader.open(served / f"{store}.zarr")
            with pytest.raises(UsageError, match=f"got axis 't', {told}"):
                look_asked({"at": "t:1"}, reader, look_of(reader))

    @pytest.mark.parametrize("text", ["", "-1", "3", "1.0", "1e0", "٣", "9" * 20, "0x1", " 1"])
    def test_what_is_no_number_below_three(self, text: str) -> None:
        with pytest.raises(UsageError, match="want 0 … 2"):
            number(text, "band", 3)
