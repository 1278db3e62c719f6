"""Samples in the memory of a device, as arrays of CuPy."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np
import xarray as xr
from xarray.backends import BackendArray
from xarray.core import indexing

from tilepress.codecs.numbers import shown
from tilepress.errors import UsageError

__all__ = ["DEVICES", "Moved", "moved_to", "on_device"]

DEVICES = ("cpu", "cuda")

Moved = Callable[[Any], Any]
"""Makes an array on a device of one on the host, and leaves one as it is that is there."""


def moved_to(device: str, name: str) -> Moved | None:
    """Return what moves arrays to a device, one of ``DEVICES``; None where that is the host.

    Raises UsageError, which names the store ``name``, where there is no such device.
    """
    if device not in DEVICES:
        raise UsageError(f"opening {name}: got device {shown(device)}, want one of {DEVICES}")
    if device == "cpu":
        return None
    try:
        cupy = import_module("cupy")
    except ImportError as error:
        raise UsageError(
            f"opening {name}: device 'cuda' needs CuPy, which is not installed; "
            "pip install cupy-cuda13x, or cupy-cuda12x for drivers of CUDA 12"
        ) from error
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError:  # there is no driver
        count = 0
    if not count:
        raise UsageError(
            f"opening {name}: device 'cuda' was asked for, and CuPy finds none; "
            "leave device out, or look at nvidia-smi"
        )
    return cupy.asarray  # type: ignore[no-any-return]


def on_device(dataset: xr.Dataset, names: tuple[str, ...], moved: Moved) -> xr.Dataset:
    """Return a dataset some of whose variables are read, window by window, to a device.

    A window is put together on the host and moved at once. Zarr would move chunk by chunk, but
    inside of shards only to where all of its process reads to (``zarr.config.enable_gpu``).
    """
    there = {}
    for name in names:
        if name in dataset.variables:
            variable = dataset.variables[name]
            lazy = indexing.LazilyIndexedArray(_OnDevice(variable, moved))
            there[name] = xr.Variable(variable.dims, lazy, variable.attrs, fastpath=True)
    return dataset.assign(there)


class _OnDevice(BackendArray):
    """The samples of a variable of the host, moved as they are indexed."""

    def __init__(self, variable: xr.Variable, moved: Moved) -> None:
        self._on_host: Any = indexing.as_indexable(variable._data)  # type: ignore[no-untyped-call]
        self._moved = moved
        self.shape, self.dtype = variable.shape, variable.dtype

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:  # noqa: ANN401  # as xarray has it
        part: Any = indexing.apply_indexer(self._on_host, key)
        return self._moved(part if isinstance(part, np.ndarray) else part.get_duck_array())
