"""A dataset of an image at a half, a quarter or an eighth, where its codec can decode so."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np
import xarray as xr
from xarray.backends import BackendArray
from xarray.core import indexing

from tilepress.errors import UsageError
from tilepress.pipeline.image.grid import Box
from tilepress.pipeline.store.reader import StoreReader
from tilepress.pipeline.store.scaled import ScaledImage

__all__ = ["scaled_dataset"]

_IMAGE = "image"
_SIDES = ("y", "x")


def scaled_dataset(dataset: xr.Dataset, reader: StoreReader, scale: int) -> xr.Dataset:
    """Return the dataset of a level, lazily, at a scale of it.

    Coordinates along rows and columns are the means of those of each block. Raises UsageError where
    the store cannot be read so.
    """
    known = ScaledImage.scales(reader)
    if scale not in known:
        able = f"it has scales {', '.join(map(str, known))}" if known else "its codec has none"
        raise UsageError(f"opening {reader.path.name}: {able}, got {scale}; --levels stores some")
    image = ScaledImage(reader, scale)
    found = dataset.drop_vars("mask", errors="ignore")
    counts = dict(zip(_SIDES, image.shape[-2:], strict=True))
    found = found.isel({name: slice(0, n) for name, n in counts.items() if name in found.dims})
    variables: dict[Hashable, xr.Variable] = {}
    for name, variable in dataset.variables.items():
        sides = [side for side in _SIDES if side in variable.dims]
        if name == _IMAGE:
            lazy = indexing.LazilyIndexedArray(_Scaled(image))
            variables[name] = xr.Variable(variable.dims, lazy, variable.attrs, fastpath=True)
        elif name in found.variables and sides:
            variables[name] = _means(variable, {side: counts[side] for side in sides}, scale)
    found = found.assign({str(k): v for k, v in variables.items() if k in found.data_vars})
    found = found.assign_coords({str(k): v for k, v in variables.items() if k in found.coords})
    for name in found.variables:
        _move(found[name].attrs, scale)
    return found


def _means(variable: xr.Variable, counts: dict[str, int], scale: int) -> xr.Variable:
    """Return the means of blocks along some dimensions."""
    windows = {side: min(scale, variable.sizes[side]) for side in counts}
    cut = variable.isel({side: slice(0, counts[side] * windows[side]) for side in counts})
    coarsen: Any = cut.coarsen  # it has no types
    means = coarsen(windows, np.mean, boundary="exact")
    return xr.Variable(means.dims, means.values, variable.attrs)


def _move(attributes: dict[str, Any], scale: int) -> None:
    """Make GDAL's transform, in the attributes of a grid mapping, one of larger pixels."""
    told = attributes.get("GeoTransform")
    if isinstance(told, str):
        c, a, b, f, d, e = (float(one) for one in told.split())
        moved = (c, a * scale, b * scale, f, d * scale, e * scale)
        attributes["GeoTransform"] = " ".join(repr(one) for one in moved)


class _Scaled(BackendArray):
    """The samples of an image at a scale, read as they are indexed."""

    def __init__(self, image: ScaledImage) -> None:
        self._image = image
        self.shape, self.dtype = image.shape, image.dtype

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:  # noqa: ANN401  # as xarray has it
        support = indexing.IndexingSupport.BASIC
        return indexing.explicit_indexing_adapter(key, self.shape, support, self._basic)

    def _basic(self, key: tuple[Any, ...]) -> Any:  # noqa: ANN401
        """Return integers and slices of step 1 or more of every axis."""
        start: list[int] = []
        stop: list[int] = []
        inside: list[int | slice] = []
        for one, n in zip(key, self.shape, strict=True):
            if isinstance(one, slice):
                places = range(n)[one]
                low, high = (min(places), max(places) + 1) if places else (0, 0)
                inside.append(slice(None, None, places.step))
            else:
                low, high = int(one), int(one) + 1
                inside.append(0)
            start.append(low)
            stop.append(high)
        return self._image.read(Box(tuple(start), tuple(stop)))[tuple(inside)]
