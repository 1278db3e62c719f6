"""Code the bands of one image each in its own way: some losslessly, each with its own nodata.

The array has one codec configuration, the loosest. A record says itself within which bound it is,
so that a band that is coded apart, in chunks and shards of its own, may be held more strictly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tilepress.codecs.config import loss_of, lossless_config
from tilepress.codecs.loss import Lossy
from tilepress.codecs.numbers import json_number
from tilepress.pipeline.image.grid import ShardGrid

__all__ = ["band_apart", "band_config", "exact_beside", "exact_of", "told_exact"]

_EXACT = "exact_bands"


def band_apart(axes: Sequence[str], grid: ShardGrid) -> int | None:
    """Return the axis along which every band has shards of its own; None where bands share them."""
    if "band" not in axes:
        return None
    at = list(axes).index("band")
    return at if grid.shard[at] == 1 < grid.shape[at] else None


def band_config(
    config: Mapping[str, Any],
    band: int,
    exact: Mapping[int, str],
    nodata: Sequence[float | int | None] | None,
) -> dict[str, Any]:
    """Return the codec configuration of one band, from 0.

    ``nodata`` has the value of every band; None where the configuration's holds for all.
    """
    found = dict(config)
    if band in exact:
        found = {**lossless_config(config), "nodata": config["nodata"]}
    if nodata is not None:
        found["nodata"] = json_number(nodata[band])
    return found


def exact_beside(
    config: Mapping[str, Any], axes: Sequence[str], grid: ShardGrid, exact: Mapping[int, str]
) -> frozenset[int]:
    """Return the bands, from 0, that are exact within chunks which have all bands.

    None where bands are coded apart, or where the array loses nothing anyway.
    """
    together = band_apart(axes, grid) is None and isinstance(loss_of(config), Lossy)
    return frozenset(exact) if together else frozenset()


def told_exact(exact: Mapping[int, str]) -> dict[str, Any]:
    """Return what attributes say of bands that are lossless though a bound was allowed."""
    return {_EXACT: {str(band + 1): exact[band] for band in sorted(exact)}} if exact else {}


def exact_of(told: Mapping[str, Any]) -> dict[int, str]:
    """Return what ``told_exact`` told; raises ValueError where that is nonsense."""
    return {int(number) - 1: str(reason) for number, reason in told.get(_EXACT, {}).items()}
