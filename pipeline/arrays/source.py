"""Read plain arrays: ``.npy`` files by memory map, and Zarr arrays of any codec."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from tilepress.codecs.record import DTYPES
from tilepress.errors import DamagedSource, SourceError, UnsupportedSource
from tilepress.pipeline.image.grid import Box
from tilepress.pipeline.image.info import ImageInfo
from tilepress.pipeline.image.source import SourceSpec
from tilepress.pipeline.storage.path import BucketPlace, is_url, place

__all__ = ["ArraySource", "safe_name"]

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
            return _bucket_fingerprint(self._url)
        if self._is_zarr:
            return _folder_fingerprint(self._path)
        status = self._path.stat()
        with self._path.open("rb") as file:
            header = hashlib.sha256(file.read(_HEADER_BYTES)).hexdigest()
        entry = {"size": status.st_size, "mtime_ns": status.st_mtime_ns, "header": header}
        return {self._path.name: entry}

    def close(self) -> None:
        self._array = np.empty((0,) * len(self._info.shape), self._info.dtype)


def safe_name(text: str) -> str:
    """Return ``text`` with what may trouble a file system or URL replaced."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip(".-") or "image"


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
        array = zarr.open_array(path if url is None else place(url).zarr_store(), mode="r")
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


def _folder_fingerprint(path: Path) -> dict[str, Any]:
    """Every file of a Zarr array by size and time, as one digest."""
    digest, count = hashlib.sha256(), 0
    for file in sorted(p for p in path.rglob("*") if p.is_file()):
        status = file.stat()
        line = f"{file.relative_to(path).as_posix()} {status.st_size} {status.st_mtime_ns}\n"
        digest.update(line.encode())
        count += 1
    return {path.name: {"files": count, "listing": digest.hexdigest()}}


def _bucket_fingerprint(url: str) -> dict[str, Any]:
    """Every object of a Zarr array by its version, as one digest."""
    from tilepress.pipeline.storage.ranges import listing

    digest, count = hashlib.sha256(), 0
    where = place(url)
    assert isinstance(where, BucketPlace)
    try:
        for remote in listing(where):
            key = remote.url.removeprefix(f"{url}/")
            digest.update(f"{key} {remote.size} {remote.version}\n".encode())
            count += 1
    except OSError as error:
        raise SourceError(f"listing {url}: {error.strerror}") from error
    return {where.name: {"files": count, "listing": digest.hexdigest()}}
