"""What the viewer has to know of a store before it shows it."""

from __future__ import annotations

from typing import Any

from tilepress.pipeline.read.channels import band_count, told_channels
from tilepress.pipeline.read.indices import presets_of
from tilepress.pipeline.read.look import Look
from tilepress.pipeline.read.picture import Picture
from tilepress.pipeline.store.summary import source_bytes

__all__ = ["described"]

_SHOWN = (
    *("nodata", "rescale_slope", "rescale_intercept", "units", "modality"),
    *("pixel_spacing_mm", "slice_spacing_mm", "proj:code", "spatial:transform"),
    *("photometric_interpretation", "remarks"),
)
"""Attributes that are repeated: none of them has a text of a patient."""


def described(key: str, picture: Picture, look: Look) -> dict[str, Any]:
    """Return shape, bands, levels, looks and loss of a store, as JSON has them."""
    reader = picture.reader
    statement, attributes = reader.statement, reader.attrs
    sides = dict(zip(reader.axes, reader.shape, strict=True))
    return {
        "key": key,
        "axes": list(reader.axes),
        "shape": list(reader.shape),
        "dtype": reader.dtype.name,
        "height": picture.height,
        "width": picture.width,
        "levels": [list(level.shape) for level in picture.levels],
        "bands": _bands(picture),
        "channels": [
            {"band": c.band, "low": c.low, "high": c.high, "color": bytes(c.color).hex()}
            for c in look.channels
        ],
        "indices": [
            {"name": name, "title": one.title, "text": one.text, "low": one.low, "high": one.high}
            for name, one in presets_of(reader).items()
        ],
        "place": dict(look.place),
        "is_volume": sides.get("z", 1) > 1 and band_count(reader) == 1,
        "spacing": _spacing(picture),
        "loss": statement["loss"],
        "raw_bytes": source_bytes(statement, attributes, reader.shape, reader.dtype),
        "stored_bytes": statement.get("stored_bytes"),
        "codec": statement["codec"],
        "attributes": {name: attributes[name] for name in _SHOWN if name in attributes},
    }


def _bands(picture: Picture) -> list[dict[str, Any]]:
    """Return name and usual range of every band."""
    found = []
    for number, told in enumerate(told_channels(picture.reader), 1):
        low, high = told.window or (None, None)
        found.append({"name": told.label or f"band {number}", "low": low, "high": high})
    return found


def _spacing(picture: Picture) -> dict[str, float]:
    """Return the distance between samples in mm, where it is known."""
    attributes = picture.reader.attrs
    found = {}
    plane, between = attributes.get("pixel_spacing_mm"), attributes.get("slice_spacing_mm")
    if isinstance(plane, list) and len(plane) == 2:
        found = {"y": float(plane[0]), "x": float(plane[1])}
    if isinstance(between, int | float):
        found["z"] = float(between)
    return found
