"""A CuPy without a GPU: its arrays refuse, as CuPy's do, to meet arrays of the host."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

__all__ = ["DeviceArray", "FakeCupy", "cupy_installed"]


def _taken_apart(value: Any) -> Any:
    """Return what numpy works on; raises TypeError for an array of the host."""
    if isinstance(value, DeviceArray):
        return value.on_host
    if isinstance(value, np.ndarray):
        raise TypeError("Unsupported type <class 'numpy.ndarray'>")
    if isinstance(value, tuple | list):
        return type(value)(_taken_apart(one) for one in value)
    return value


def _put_together(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic) and value.dtype.kind in "biufc":
        return DeviceArray(np.asarray(value))
    return value


class DeviceArray(NDArrayOperatorsMixin):
    """An array in the memory of a device, which is that of the host here."""

    def __init__(self, on_host: np.ndarray) -> None:
        self.on_host = on_host
        self.shape, self.dtype, self.ndim = on_host.shape, on_host.dtype, on_host.ndim
        self.size, self.nbytes = on_host.size, on_host.nbytes

    def __len__(self) -> int:
        return len(self.on_host)

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise TypeError("Implicit conversion to a NumPy array is not allowed")

    def __array_namespace__(self, **_: Any) -> Any:
        return sys.modules["cupy"]

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        return _put_together(getattr(ufunc, method)(*_taken_apart(inputs), **options))

    def __array_function__(self, function: Any, _: Any, args: Any, options: Any) -> Any:
        return _put_together(function(*_taken_apart(args), **options))

    def __dlpack__(self, **options: Any) -> Any:
        return self.on_host.__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return self.on_host.__dlpack_device__()

    def __getitem__(self, key: Any) -> DeviceArray:
        return DeviceArray(np.asarray(self.on_host[key]))  # CuPy takes indices of the host, too

    def get(self) -> np.ndarray:
        return self.on_host.copy()

    def astype(self, dtype: Any, **_: Any) -> DeviceArray:
        return DeviceArray(self.on_host.astype(dtype))

    def reshape(self, *shape: Any) -> DeviceArray:
        return DeviceArray(self.on_host.reshape(*shape))

    def transpose(self, *axes: Any) -> DeviceArray:
        return DeviceArray(self.on_host.transpose(*axes))


class FakeCupy(types.ModuleType):
    """What of the module is used: numpy's functions over arrays of the device."""

    ndarray = DeviceArray
    uploads: list[tuple[int, ...]] = []  # noqa: RUF012  # shared by all, as the device is
    """Shapes of the arrays that were moved to it."""

    def __init__(self, devices: int = 1) -> None:
        super().__init__("cupy")
        self.cuda = types.SimpleNamespace(runtime=_Runtime(devices))

    def asarray(self, value: Any, dtype: Any = None, **_: Any) -> DeviceArray:
        if isinstance(value, DeviceArray):
            return value if dtype is None else value.astype(dtype)
        self.uploads.append(np.shape(value))
        return DeviceArray(np.array(value, dtype))

    def astype(self, value: DeviceArray, dtype: Any, **_: Any) -> DeviceArray:
        return value.astype(dtype)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # else it would pass for numpy itself
            raise AttributeError(name)
        found = getattr(np, name)
        if isinstance(found, type) or not callable(found) or name in ("result_type", "isdtype"):
            return found
        return lambda *args, **options: _put_together(found(*_taken_apart(args), **options))


class _Runtime:
    class CUDARuntimeError(RuntimeError):
        pass

    def __init__(self, devices: int) -> None:
        self._devices = devices

    def getDeviceCount(self) -> int:  # CuPy's
        if self._devices < 0:
            raise self.CUDARuntimeError("cudaErrorInsufficientDriver")
        return self._devices


@contextmanager
def cupy_installed(devices: int = 1) -> Iterator[FakeCupy]:
    """Have a CuPy that sees devices; with −1, no driver."""
    fake = FakeCupy(devices)
    fake.uploads.clear()
    before = sys.modules.get("cupy")
    sys.modules["cupy"] = fake
    try:
        yield fake
    finally:  # and leave modules alone that were imported meanwhile
        del sys.modules["cupy"]
        if before is not None:
            sys.modules["cupy"] = before
