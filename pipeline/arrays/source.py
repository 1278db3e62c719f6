"""Read plain arrays: ``.npy`` files by memory map, and Zarr arrays of any codec."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from tilepress.codecs.record import DTYPES
from tilepress.errors import (
    DamagedSource,
    SourceError,
    SourceTooLarge,
    TilepressError,
    TooMuchMemory,
    UnsupportedSource,
)
from tilepress.pipeline.arrays.zarr_nodes import (
    DOCUMENTS,
    MAX_DOCUMENT_BYTES,
    read_document,
)
from tilepress.pipeline.image.fingerprint import file_print, folder_print, prefix_print
from tilepress.pipeline.image.grid import Box
from tilepress.pipeline.image.info import ImageInfo
from tilepress.pipeline.image.names import safe_name
from tilepress.pipeline.image.source import SourceSpec
from tilepress.pipeline.privacy.recipe import DEIDENTIFIED, DEIDENTIFY, is_deidentified, profile_of
from tilepress.pipeline.storage.below import Below, below
from tilepress.pipeline.storage.path import is_url
from tilepress.pipeline.storage.regular import RefusedFile, open_regular, read_regular

__all__ = ["ArraySource", "refusal_of"]

_AXES = {
    2: ("y", "x"),
    3: ("z", "y", "x"),
    4: ("t", "z", "y", "x"),
    5: ("t", "band", "z", "y", "x"),
}
_HEADER_BYTES = 4096

KNOWN_AXES = frozenset(
    {
        *("t", "z", "y", "x", "c", "time", "depth", "slice", "height", "row", "column", "width"),
        *("band", "channel", "component", "lat", "lon", "latitude", "longitude"),
    }
)
"""Names of axes that name nobody: others are left out where an image is de-identified."""

MAX_SAMPLES = 2**44
"""Samples of one array: chunks that a Zarr array does not store cost it nothing, us much."""

OBJECT_CODECS = frozenset(
    ["categorize", "json2", "msgpack2", "pickle", "vlen-array", "vlen-bytes", "vlen-utf8"]
)
"""Codecs of arrays of Python objects: no samples of images, and one of them runs what it reads."""


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
        if is_deidentified(spec) and names is not None and not KNOWN_AXES.issuperset(names):
            names = None
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
        except (SourceError, MemoryError):
            raise
        except TooMuchMemory as error:
            raise SourceTooLarge(f"reading {self._path.name}: {error}") from error
        except Exception as error:  # whatever the codecs of a foreign Zarr array raise
            text = f"damaged, or more than its codecs know ({type(error).__name__})"
            why = str(error) if isinstance(error, TilepressError) else text
            raise DamagedSource(
                f"reading {box.start}…{box.stop} of {self._path.name}: {why}"
            ) from error
        return np.ascontiguousarray(samples, dtype=self._info.dtype)

    def read_mask(self, box: Box) -> npt.NDArray[np.uint8]:
        return np.full(box.shape, 255, np.uint8)

    def source_items(self) -> Iterator[tuple[str, bytes]]:
        origin: dict[str, Any] = {
            "kind": "array",
            "format": "zarr" if self._is_zarr else "npy",
            "dtype": np.dtype(self._array.dtype).str,
        }
        if is_deidentified(self._spec):
            key = self._spec.options[DEIDENTIFY]["key"]
            origin[DEIDENTIFIED] = {**profile_of(self._spec).to_json(), "key": key}
        yield "origin", json.dumps(origin).encode()

    def fingerprint(self) -> dict[str, Any]:
        if self._url is not None:
            return prefix_print(self._url)
        if self._is_zarr:
            return {self._path.name: asdict(folder_print(self._path))}
        found = file_print(self._path, _HEADER_BYTES)
        entry = {"size": found.size, "mtime_ns": found.mtime_ns, "header": found.header_sha256}
        return {self._path.name: entry}

    def close(self) -> None:
        self._array = np.empty((0,) * len(self._info.shape), self._info.dtype)


def _open_npy(path: Path) -> tuple[_Readable, tuple[str, ...] | None]:
    try:
        with open_regular(path) as file:
            opened = f"/proc/self/fd/{file.fileno()}"  # the same file, whatever its name is now
            name = opened if os.path.exists(opened) else path
            array = np.load(name, mmap_mode="r", allow_pickle=False)
    except OSError as error:
        raise DamagedSource(f"opening {path.name}: {error.strerror or error}") from error
    except Exception as error:  # headers are Python literals, and numpy raises what parsing raises
        # numpy says with the same exception that it holds objects and that it is cut
        if "object" in str(error).lower() or "pickle" in str(error).lower():
            raise UnsupportedSource(f"opening {path.name}: it holds Python objects") from error
        raise DamagedSource(f"opening {path.name}: its header or length is wrong") from error
    if not isinstance(array, np.memmap):
        raise UnsupportedSource(f"opening {path.name}: it is no single array")
    return array, None


def _open_zarr(path: Path, url: str | None) -> tuple[_Readable, tuple[str, ...] | None]:
    import zarr

    from tilepress.pipeline.arrays.asked_store import AskedStore
    from tilepress.pipeline.arrays.closed_store import ClosedStore

    objects = None if url is None else below(url)
    documents = {name: _document(path, name, objects) for name in DOCUMENTS}
    for name, document in documents.items():
        if document is not None:
            _check_document(path.name, name, document)
    try:
        store = ClosedStore(path) if objects is None else AskedStore(path.name, objects, documents)
        array = zarr.open_array(store, mode="r")
    except SourceError:
        raise
    except Exception as error:  # zarr raises what its metadata parsers and codecs raise
        text = f"its metadata are damaged, or more than Zarr knows ({type(error).__name__})"
        raise DamagedSource(f"opening {path.name}: {text}") from error
    names = getattr(array.metadata, "dimension_names", None)
    if not names or any(name is None for name in names) or len(set(names)) != len(names):
        return array, None
    return array, tuple(str(name) for name in names)


def _document(path: Path, name: str, objects: Below | None) -> bytes | None:
    """Return a document of an array; None where it has none of that name."""
    try:
        if objects is None:
            return read_regular(path / name, MAX_DOCUMENT_BYTES, (path,))
        return read_document(objects, name, MAX_DOCUMENT_BYTES)
    except FileNotFoundError:
        return None
    except RefusedFile as error:
        raise DamagedSource(f"opening {path.name}: {name}: {error.strerror}") from error
    except OSError as error:
        kind = DamagedSource if objects is None else SourceError  # a service that fails may pass
        text = f"opening {path.name}: {name}: {error.strerror or type(error).__name__}"
        raise kind(text) from error


def _check_document(array: str, name: str, document: bytes) -> None:
    """Raise for metadata that cannot be parsed, or by which samples would be Python objects."""
    try:
        parsed = json.loads(document)
    except (ValueError, RecursionError) as error:
        raise DamagedSource(f"opening {array}: {name} is no JSON that can be parsed") from error
    codec = next(filter(OBJECT_CODECS.__contains__, _codec_names(parsed)), None)
    if codec is not None:
        text = f"its codec {codec!r} makes Python objects of what is stored"
        raise UnsupportedSource(f"opening {array}: {text}")


def _codec_names(metadata: object) -> Iterator[str]:
    """Yield the names of all codecs in metadata of either format, those inside shards too."""
    if isinstance(metadata, list):
        for one in metadata:
            yield from _codec_names(one)
    elif isinstance(metadata, dict):
        for key, value in metadata.items():
            if key in ("id", "name") and isinstance(value, str):
                yield value.removeprefix("numcodecs.").replace("_", "-")
            elif key != "attributes":
                yield from _codec_names(value)


def _describe(path: Path, name: str, array: _Readable, names: tuple[str, ...] | None) -> ImageInfo:
    dtype = np.dtype(array.dtype)
    if dtype.name not in DTYPES:
        raise UnsupportedSource(f"opening {path.name}: samples of type {dtype} are not supported")
    if len(array.shape) not in _AXES or 0 in array.shape:
        raise UnsupportedSource(
            f"opening {path.name}: got shape {array.shape}, want 2 to 5 axes, the last two rows "
            "and columns, none empty"
        )
    if math.prod(map(int, array.shape)) > MAX_SAMPLES:
        declared = "×".join(map(str, array.shape))
        text = f"it declares {declared} samples, the limit is {MAX_SAMPLES}"
        raise UnsupportedSource(f"opening {path.name}: {text}")
    return ImageInfo(
        name=name,
        axes=names if names is not None else _AXES[len(array.shape)],
        shape=tuple(int(n) for n in array.shape),
        dtype=dtype.newbyteorder("="),
        lossy_refusal=refusal_of(dtype),
    )


def refusal_of(dtype: np.dtype[Any]) -> str | None:
    """Say why near-lossless coding of such samples makes no sense; None where it does."""
    return "samples are true or false" if dtype.kind == "b" else None
