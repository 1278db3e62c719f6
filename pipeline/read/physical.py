"""Make physical values of stored ones, lazily: rescaled, and NaN where a sample is absent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from xarray.backends import BackendArray
from xarray.core import indexing

from tilepress.codecs.numbers import number_of
from tilepress.errors import UsageError
from tilepress.pipeline.read.device import Moved

__all__ = ["absent_value", "padding_range", "physical", "rescaling"]

_SLOPE, _INTERCEPT = "rescale_slope", "rescale_intercept"

_OF_STORED = frozenset(
    {"valid_min", "valid_max", "statistics", "flag_values", "color_table", "window_units"}
)
"""Attributes that speak of stored values."""


def physical(
    dataset: xr.Dataset,
    *,
    hu: bool,
    masked: bool,
    name: str,
    moved: Moved | None = None,
) -> xr.Dataset:
    """Return a dataset whose image has physical values, as floats; it is as lazy as it was.

    hu : rescaled by slope and intercept, each plane or band by its own; Hounsfield units of a CT.
    masked : NaN where a sample is nodata or DICOM's padding, or the mask says that it is absent.
    moved : to the device where the image's samples are, if that is not the host.
    Integers of up to 16 bits become float32, all else float64. Raises UsageError where the image
    ``name`` tells no slope, or another way to its values; complex samples are refused, too.
    """
    if not hu and not masked:
        return dataset
    image = dataset["image"]
    if image.dtype.kind not in "biuf":
        raise UsageError(f"opening {name}: samples of {image.dtype} have no physical values")
    slope, intercept = rescaling(dataset, name) if hu else (None, None)
    small = image.dtype.itemsize <= (4 if image.dtype.kind == "f" else 2)
    rule = _Rule(
        dims=tuple(map(str, image.dims)),
        dtype=np.dtype(np.float32 if small else np.float64),
        slope=slope,
        intercept=intercept,
        absent=absent_value(image.attrs, tuple(map(str, image.dims))) if masked else None,
        mask=dataset["mask"].variable if masked and "mask" in dataset else None,
        padding=padding_range(image.attrs) if masked else None,
        moved=moved,
    )
    attributes = dict(image.attrs)
    dropped = set(_OF_STORED) | {_SLOPE, _INTERCEPT} if hu else set()
    dropped |= {"nodata", "band_nodata"} if masked else set()
    attributes = {key: value for key, value in attributes.items() if key not in dropped}
    stored = image.variable
    data: Any = (
        rule.of(stored).data
        if image.chunks is not None
        else indexing.LazilyIndexedArray(_Physical(stored, rule))
    )
    found = dataset.assign(image=(image.dims, data, attributes))
    return found.drop_vars([one for one in (_SLOPE, _INTERCEPT) if hu and one in found.coords])


class _Rule:
    """What makes physical values of stored ones."""

    def __init__(
        self,
        *,
        dims: tuple[str, ...],
        dtype: np.dtype[Any],
        slope: xr.Variable | None,
        intercept: xr.Variable | None,
        absent: xr.Variable | None,
        mask: xr.Variable | None,
        padding: tuple[float, float] | None,
        moved: Moved | None,
    ) -> None:
        self.dims, self.dtype = dims, dtype
        self.slope, self.intercept = slope, intercept
        self.absent, self.mask, self.padding = absent, mask, padding
        self.moved = moved

    def of(self, stored: xr.Variable, key: Mapping[str, Any] | None = None) -> xr.Variable:
        """Return the values of stored ones, taken from the image by ``key``."""

        def part(one: xr.Variable) -> xr.Variable:
            taken = one.isel({dim: at for dim, at in (key or {}).items() if dim in one.dims})
            if self.moved is None:
                return taken
            return xr.Variable(taken.dims, self.moved(taken.data))

        wide = stored.astype(np.float64)
        if self.slope is not None and self.intercept is not None:
            wide = wide * part(self.slope) + part(self.intercept)
        gone = []
        if self.absent is not None:
            gone.append(stored == part(self.absent))
        if self.padding is not None:
            gone.append((stored >= self.padding[0]) & (stored <= self.padding[1]))
        if self.mask is not None:
            gone.append(part(self.mask) == 0)
        for one in gone:
            wide = wide.where(~one)  # type: ignore[no-untyped-call]
        found: xr.Variable = wide.transpose(*stored.dims).astype(self.dtype)
        return found


class _Physical(BackendArray):
    """The values of an image that is not in memory: what is asked for is read, then rescaled."""

    def __init__(self, stored: xr.Variable, rule: _Rule) -> None:
        self._stored, self._rule = stored, rule
        self.shape, self.dtype = stored.shape, rule.dtype

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:  # noqa: ANN401  # as xarray has it
        support = indexing.IndexingSupport.OUTER
        return indexing.explicit_indexing_adapter(key, self.shape, support, self._values)

    def _values(self, key: tuple[Any, ...]) -> Any:  # noqa: ANN401  # an array, wherever it is
        by_dim = dict(zip(self._rule.dims, key, strict=True))
        return self._rule.of(self._stored.isel(by_dim).load(), by_dim).data


def rescaling(dataset: xr.Dataset, name: str) -> tuple[xr.Variable, xr.Variable]:
    """Return slope and intercept: numbers, or one for each band or plane along their axes.

    Raises UsageError where the image ``name`` tells none, or another way to its values.
    """
    told = dataset["image"].attrs
    if "modality_lut" in told:
        raise UsageError(
            f"opening {name}: its values are those of a table (Modality LUT), which is not "
            "applied; leave hu out"
        )
    known = {key for key in (_SLOPE, _INTERCEPT) if key in told or key in dataset.coords}
    if not known:
        raise UsageError(f"opening {name}: it tells no rescale slope or intercept; leave hu out")
    return _number(dataset, _SLOPE, 1.0, name), _number(dataset, _INTERCEPT, 0.0, name)


def _number(dataset: xr.Dataset, key: str, neutral: float, name: str) -> xr.Variable:
    """Return a number for the image, or one per band or plane, along the axes that they have."""
    if key in dataset.coords:
        return dataset[key].variable.load()
    image = dataset["image"]
    value = image.attrs.get(key, neutral)
    if not isinstance(value, (list, tuple, np.ndarray)):
        return xr.Variable((), float(number_of(value)))
    numbers = np.array([number_of(one) for one in value], np.float64)
    sizes = dict(zip(map(str, image.dims), image.shape, strict=True))
    leading = [dim for dim in sizes if dim not in ("y", "x")]
    for dims in (["band"], [dim for dim in leading if dim != "band"], leading):
        shape = tuple(sizes.get(dim, 0) for dim in dims)
        if dims and int(np.prod(shape)) == len(numbers):
            return xr.Variable(dims, numbers.reshape(shape))
    raise UsageError(f"opening {name}: {key} has {len(numbers)} numbers for {sizes}")


def absent_value(told: Mapping[str, Any], dims: tuple[str, ...]) -> xr.Variable | None:
    """Return the value of absent samples, of each band where they differ; None for none.

    ``told`` are the attributes of an image with these axes. NaN, which is no band's value, stands
    where a band has none.
    """
    by_band = told.get("band_nodata")
    if by_band is not None and "band" in dims:
        values = [np.nan if one is None else number_of(one) for one in by_band]
        return xr.Variable(("band",), np.array(values, np.float64))
    value = told.get("nodata")
    return None if value is None else xr.Variable((), number_of(value))


def padding_range(told: Mapping[str, Any]) -> tuple[float, float] | None:
    """Return the range of DICOM's pixel padding (PS3.3 C.7.5.1.1.2), in stored values."""
    value = told.get("pixel_padding_value")
    if not isinstance(value, (int, float)):
        return None
    limit = told.get("pixel_padding_range_limit", value)
    return min(value, limit), max(value, limit)
