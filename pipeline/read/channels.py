"""What a store's OME-Zarr metadata say of the channels of its image (``omero``)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tilepress.pipeline.store.reader import StoreReader

__all__ = ["ToldChannel", "band_count", "told_channels"]


@dataclass(frozen=True, slots=True)
class ToldChannel:
    """One band, as the store describes it; None where it does not."""

    label: str | None = None
    window: tuple[float, float] | None = None
    """Stored values that are black, and that have the whole colour."""
    color: tuple[int, int, int] | None = None
    is_active: bool = True
    """Whether it is shown at first."""


def band_count(reader: StoreReader) -> int:
    """Return how many bands the image has."""
    axes = reader.axes
    return reader.shape[axes.index("band")] if "band" in axes else 1


def told_channels(reader: StoreReader) -> list[ToldChannel]:
    """Return what is told of every band; nothing of what is not as OME-Zarr has it."""
    channels = _mapping(_mapping(reader.root_attributes.get("ome")).get("omero")).get("channels")
    given = channels if isinstance(channels, list) else []
    count = band_count(reader)
    found = [_channel(_mapping(one)) for one in given[:count]]
    return found + [ToldChannel()] * (count - len(found))


def _channel(told: Mapping[str, Any]) -> ToldChannel:
    window = _mapping(told.get("window"))
    low, high = _number(window.get("start")), _number(window.get("end"))
    label = told.get("label")
    return ToldChannel(
        label=label if isinstance(label, str) and label else None,
        window=None if low is None or high is None else (low, high),
        color=_color(told.get("color")),
        is_active=told.get("active") is not False,
    )


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def _color(value: object) -> tuple[int, int, int] | None:
    try:
        red, green, blue = bytes.fromhex(value) if isinstance(value, str) else b""
    except ValueError:
        return None
    return red, green, blue
