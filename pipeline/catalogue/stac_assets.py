"""Describe in the words of STAC 1.1 what an item's assets are: a store, its bands, a thumbnail."""

from __future__ import annotations

import contextlib
import math
from typing import Any

from tilepress.codecs.numbers import number_of
from tilepress.pipeline.catalogue.item_keys import quoted
from tilepress.pipeline.store.keys import ROOT_DOCUMENT
from tilepress.pipeline.store.summary import StoreSummary

__all__ = ["JSON_TYPE", "assets_of", "thumbnail_asset"]

JSON_TYPE = "application/json"
WEBP_TYPE = "image/webp"
ZARR_TYPE = "application/vnd.zarr; version=3"
SHA256_MULTIHASH = "1220"
"""What a sha256 of 32 bytes begins with as a multihash."""


def assets_of(href: str, summary: StoreSummary) -> dict[str, Any]:
    """Return the assets of a store that lies at ``href``: its samples, and its root document."""
    data: dict[str, Any] = {
        "href": quoted(href),
        "type": ZARR_TYPE,
        "title": "Zarr store; the full resolution is the group 0",
        "roles": ["data"],
        "data_type": summary.dtype,
        "file:size": summary.stored_bytes,
    }
    nodata = summary.attributes.get("nodata")
    if nodata is not None:
        # STAC's texts for what is not finite, "nan", "inf" and "-inf", are Python's
        data["nodata"] = str(number_of(nodata)) if isinstance(nodata, str) else nodata
    data |= _sampling(summary)
    data["bands"] = _bands(summary)
    root = {
        "href": quoted(f"{href}/{ROOT_DOCUMENT}"),
        "type": JSON_TYPE,
        "title": "Root document: statement of loss, digests, seal",
        "roles": ["metadata"],
        "file:size": summary.root_bytes,
        "file:checksum": SHA256_MULTIHASH + summary.root_sha256,
    }
    return {"data": data, "metadata": root}


def thumbnail_asset(href: str, data: bytes) -> dict[str, Any]:
    """Return the asset of a picture of the whole image, of at most 256 pixels along a side."""
    return {
        "href": quoted(href),
        "type": WEBP_TYPE,
        "title": "Picture of the whole",
        "roles": ["thumbnail"],
        "file:size": len(data),
    }


def _sampling(summary: StoreSummary) -> dict[str, Any]:
    """Return what all bands share: resolution, where it is the same along both axes, in metres."""
    transform = summary.attributes.get("spatial:transform")
    if not transform or not _in_metres(summary):
        return {}
    a, b, _, d, e, _ = (float(n) for n in transform)
    across, down = math.hypot(a, d), math.hypot(b, e)
    if not math.isclose(across, down, rel_tol=1e-6):
        return {}
    return {"raster:spatial_resolution": across}


def _in_metres(summary: StoreSummary) -> bool:
    from pyproj import CRS
    from pyproj.exceptions import CRSError

    with contextlib.suppress(CRSError):
        name = summary.attributes.get("proj:wkt2") or summary.attributes.get("proj:code")
        crs = CRS.from_user_input(name)
        return bool(crs.is_projected and crs.axis_info[0].unit_name == "metre")
    return False


def _bands(summary: StoreSummary) -> list[dict[str, Any]]:
    attributes = summary.attributes
    names = summary.bands
    bands: list[dict[str, Any]] = [{"name": name} for name in names]
    for key, word in (
        ("rescale_slope", "raster:scale"),
        ("rescale_intercept", "raster:offset"),
        ("units", "unit"),
        ("band_units", "unit"),
    ):
        for band, value in zip(bands, _each(attributes.get(key), len(names)), strict=True):
            if value not in (None, ""):
                band[word] = value
    return bands


def _each(value: Any, count: int) -> list[Any]:  # noqa: ANN401  # what JSON holds
    """Return one value per band of an attribute that holds one for all, or one for each."""
    if not isinstance(value, list):
        return [value] * count
    return value if len(value) == count else [None] * count
