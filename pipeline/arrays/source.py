"""Read plain arrays: ``.npy`` files by memory map, and Zarr arrays of any codec."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from tilepress.codecs.record import DTYPES
from tilepress.errors import DamagedSource, UnsupportedSource
from tilepress.pipeline.image.fingerprint import file_print, folder_print, objects_print
from tilepress.pipeline.image.grid import Box
from tilepress.pipeline.image.info import ImageInfo
from tilepress.pipeline.image.names import safe_name
from tilepress.pipeline.image.source import SourceSpec
from tilepress.pipeline.storage.path import is_url, storage_path

__all__ = ["ArraySource"]

_AXES = {
    2: ("y", "x"),
    3: ("z", "y", "x"),
    4: ("t", "z", "y", "x"),
    5: ("t", "band", "z", "y", "x"),
}
_HEADER_BYTES = 4096


class _Readable(Protocol):
    """What numpy's memory maps and Zarr's arrays have in common."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> np.dtype[Any]: ...
    def __getitem__(self, selection: tuple[slice, ...], /) -> npt.ArrayLike: ...


class ArraySource:
    """An n-D array whose last two axes are rows and columns."""

    def __init__(self, spec: SourceSpec) -> None:
        self._spec = spec
        self._url = spec.paths[0] if is_url(spec.paths[0]) else None
        self._path = Path(spec.paths[0])
        self._is_zarr = self._url is not None or self._path.is_dir()
        self._array, names = (
            _open_zarr(self._path, self._url) if self._is_zarr else _open_npy(self._path)
        )
        name = str(spec.options.get("name") or safe_name(self._path.stem))
        self._info = _describe(self._path, name, self._array, names)

    @property
    def info(self) -> ImageInfo:
        return self._info

    @property
    def spec(self) -> SourceSpec:
        return self._spec

    def read(self, box: Box) -> npt.NDArray[Any]:
        try:
            samples = np.asarray(self._array[box.slices])
        except Exception as error:  # whatever the codecs of a foreign Zarr array raise
            raise DamagedSource(
                f"reading {box.start}…{box.stop} of {self._path.name}: {type(error).__name__}"
            ) from error
        return np.ascontiguousarray(samples, dtype=self._info.dtype)

    def read_mask(self, box: Box) -> npt.NDArray[np.uint8]:
        return np.full(box.shape, 255, np.uint8)

    def source_items(self) -> Iterator[tuple[str, bytes]]:
        origin = {
            "kind": "array",
            "format": "zarr" if self._is_zarr else "npy",
            "dtype": np.dtype(self._array.dtype).str,
        }
        yield "origin", json.dumps(origin).encode()

    def fingerprint(self) -> dict[str, Any]:
        if self._url is not None:
            return {storage_path(self._url).name: asdict(objects_print(self._url))}
        if self._is_zarr:
            return {self._path.name: asdict(folder_print(self._path))}
        found = file_print(self._path, _HEADER_BYTES)
        entry = {"size": found.size, "mtime_ns": found.mtime_ns, "header": found.header_sha256}
        return {self._path.name: entry}

    def close(self) -> None:
        self._array = np.empty((0,) * len(self._info.shape), self._info.dtype)


def _open_npy(path: Path) -> tuple[_Readable, tuple[str, ...] | None]:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, SyntaxError) as error:
        # numpy says with the same exception that it holds objects and that it is cut
        if "object" in str(error).lower() or "pickle" in str(error).lower():
            raise UnsupportedSource(f"opening {path.name}: it holds Python objects") from error
        raise DamagedSource(f"opening {path.name}: its header or length is wrong") from error
    except OSError as error:
        raise DamagedSource(f"opening {path.name}: {error.strerror or error}") from error
    return array, None


def _open_zarr(path: Path, url: str | None) -> tuple[_Readable, tuple[str, ...] | None]:
    import zarr

    try:
        array = zarr.open_array(path if url is None else storage_path(url).zarr_store(), mode="r")
    except Exception as error:  # zarr raises what its metadata parsers and codecs raise
        raise DamagedSource(f"opening {path.name}: Zarr says {type(error).__name__}") from error
    names = getattr(array.metadata, "dimension_names", None)
    if not names or any(name is None for name in names) or len(set(names)) != len(names):
        return array, None
    return array, tuple(str(name) for name in names)


def _describe(path: Path, name: str, array: _Readable, names: tuple[str, ...] | None) -> ImageInfo:
    dtype = np.dtype(array.dtype)
    if dtype.name not in DTYPES:
        raise UnsupportedSource(f"opening {path.name}: samples of type {dtype} are not supported")
    if len(array.shape) not in _AXES or 0 in array.shape:
        raise UnsupportedSource(
            f"opening {path.name}: got shape {array.shape}, want 2 to 5 axes, the last two rows "
            "and columns, none empty"
        )
    return ImageInfo(
        name=name,
        axes=names if names is not None else _AXES[len(array.shape)],
        shape=tuple(int(n) for n in array.shape),
        dtype=dtype.newbyteorder("="),
        lossy_refusal="samples are true or false" if dtype.kind == "b" else None,
    )
