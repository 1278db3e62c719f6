"""What a store says of its channels is read in one place, whatever it says."""

from __future__ import annotations

from typing import Any

import pytest

from tilepress.pipeline.read.channels import ToldChannel, told_channels


class _Reader:
    axes, shape = ("band", "y", "x"), (2, 3, 3)

    def __init__(self, ome: Any) -> None:
        self.root_attributes = {"ome": ome}


def _told(ome: Any) -> list[ToldChannel]:
    return told_channels(_Reader(ome))  # type: ignore[arg-type]


class TestChannels:
    def test_as_ome_zarr_has_them(self) -> None:
        window = {"min": 0, "max": 9, "start": 1, "end": 5.5}
        first = {"label": "B4", "window": window, "color": "0a0B0c", "active": False}
        found = _told({"omero": {"channels": [first, {"active": True}, {"label": "one too many"}]}})
        assert found == [ToldChannel("B4", (1.0, 5.5), (10, 11, 12), False), ToldChannel()]

    @pytest.mark.parametrize(
        "ome",
        [
            *(None, [], "x", {}, {"omero": None}, {"omero": []}, {"omero": {"channels": {}}}),
            {"omero": {"channels": [None, 5]}},
            {"omero": {"channels": [{"window": [], "color": 5, "label": {}, "active": None}]}},
            {"omero": {"channels": [{"window": {"start": "1", "end": True}, "color": "xyz"}]}},
            {"omero": {"channels": [{"window": {"start": float("nan"), "end": 1}, "color": "00"}]}},
        ],
    )
    def test_nonsense_tells_nothing(self, ome: Any) -> None:
        assert _told(ome) == [ToldChannel(), ToldChannel()]
