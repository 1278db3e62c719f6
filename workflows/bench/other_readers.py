"""What other readers make of a file: digests of the planes that each of them gives.

tifffile (if it is installed) and GDAL read TIFF, pydicom reads DICOM, with and without a change of
colours, GDAL what else there is. They run in a process of their own, with a limit of memory and of
time: files of a corpus may claim any size.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import importlib
import importlib.util
import itertools
import logging
import resource
import shutil
import tarfile
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import IO, Any, Self

import numpy as np
import numpy.typing as npt

from tilepress.workflows.bench.corpus import packed_in
from tilepress.workflows.bench.other_dicom import frames, stored_bits, tile_of

__all__ = ["Digest", "OtherReaders", "Reading", "digests", "missing", "readings"]

Array = npt.NDArray[Any]
Digest = tuple[int, int, str]
"""Rows, columns, and a hash of the values, whatever their type."""

LIMIT_BYTES = 12 * 2**30
LIMIT_SECONDS = 60.0
MAX_PAGES = 300
"""Pages of a TIFF file that are compared."""

TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
WHOLE = 2.0**53
"""Floats below it that are whole numbers are these numbers."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What one reader gave, or why it gave nothing."""

    reader: str
    planes: tuple[Digest, ...] = ()
    error: str = ""
    is_whole: bool = True
    """Whether it is all of the file but overviews, in the reader that knows its kind best."""
    tile: tuple[int, int] | None = None
    """Rows and columns of tiles, where the planes are those of larger ones."""


def missing() -> list[str]:
    """Return lines that say which readers are not installed."""
    if importlib.util.find_spec("tifffile") is None:
        return ["tifffile is not installed (pip install tifffile): GDAL alone reads TIFF"]
    return []


def digests(image: Array, tile: tuple[int, int] | None = None) -> Iterator[Digest]:
    """Yield a digest of each plane of (…, y, x), or of each tile of it.

    Equal values have equal digests in any type.
    """
    if image.dtype.kind == "c":
        image = np.stack([image.real, image.imag])
    for plane in image.reshape(-1, *image.shape[-2:]):
        rows, columns = tile or plane.shape
        for top in range(0, plane.shape[0], rows):
            for left in range(0, plane.shape[1], columns):
                part = _values(plane[top : top + rows, left : left + columns])
                data = hashlib.sha256(np.ascontiguousarray(part).tobytes()).hexdigest()
                yield part.shape[0], part.shape[1], data[:32]


def _values(plane: Array) -> Array:
    """Return the values as int64 if they are whole numbers, else as float64; NaN as one NaN."""
    if plane.dtype.kind in "biu":
        return plane.astype(np.uint64 if plane.dtype == np.uint64 else np.int64).view(np.int64)
    wide = plane.astype(np.float64)
    whole = np.isfinite(wide).all() and (wide == np.round(wide)).all() and (abs(wide) < WHOLE).all()
    return wide.astype(np.int64) if whole else np.where(np.isnan(wide), np.nan, wide)


def readings(path: Path) -> list[Reading]:
    """Read a file with every reader that is there for its kind; one in a packed file, too.

    A folder is a Zarr array.
    """
    if path.is_dir():
        return [_read("zarr", path)]
    with tempfile.TemporaryDirectory(prefix="tilepress-census-") as folder:
        try:
            plain = _plain(path, Path(folder))
        except Exception as error:  # as below
            return [Reading("unpacking", error=_told(error))]
        return _readings_of_plain(plain)


def _plain(path: Path, folder: Path) -> Path:
    """Return the file itself, or a copy in a folder of what is packed."""
    packed = packed_in(path)
    if packed is not None:
        name = str(path.relative_to(packed))
        copy = folder / path.name
        with _members(packed) as open_member, open_member(name) as member, copy.open("wb") as file:
            shutil.copyfileobj(member, file)
        return _plain(copy, folder)
    with path.open("rb") as file:
        if file.read(2) != b"\x1f\x8b":
            return path
    copy = folder / f"{path.stem}.unpacked"
    with gzip.open(path) as unpacked, copy.open("wb") as file:
        shutil.copyfileobj(unpacked, file)
    return copy


@contextlib.contextmanager
def _members(packed: Path) -> Iterator[Callable[[str], IO[bytes]]]:
    """Yield what opens a file in a zip or tar by its name."""
    if zipfile.is_zipfile(packed):
        with zipfile.ZipFile(packed) as archive:
            yield lambda name: archive.open(name)
        return
    with tarfile.open(packed) as tar:
        yield lambda name: _extracted(tar, name)


def _extracted(tar: tarfile.TarFile, name: str) -> IO[bytes]:
    found = tar.extractfile(name)
    if found is None:
        raise ValueError("it is no file")
    return found


def _readings_of_plain(path: Path) -> list[Reading]:
    with path.open("rb") as file:
        head = file.read(132)
    if head[128:] == b"DICM" or path.suffix.lower() == ".dcm":
        found = [_read(reader, path) for reader in _READERS if reader.startswith("pydicom")]
        tile = tile_of(path)
        return [*(replace(one, tile=tile) for one in found if tile), *found]
    if head.startswith(b"\x93NUMPY"):
        return [_read("numpy", path)]
    if head.startswith(TIFF) and not missing():
        whole = [_read("tifffile", path), _read("tifffile without overviews", path)]
        part = [_read("tifffile, first page", path), _read("GDAL", path)]
        return [*whole, *(replace(reading, is_whole=False) for reading in part)]
    return [_read("GDAL", path)]


def _read(reader: str, path: Path) -> Reading:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            planes = tuple(itertools.chain.from_iterable(map(digests, _READERS[reader](path))))
    except Exception as error:  # whatever a library raises: it does not take this file
        return Reading(reader, error=_told(error))
    return Reading(reader, planes)


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0][:100]}"


def _tiff_pages(path: Path, pages: int, *, overviews: bool = True) -> Iterator[Array]:
    with importlib.import_module("tifffile").TiffFile(path) as file:
        for page in itertools.islice(iter(file.pages), pages):
            if page.is_reduced and not overviews:
                continue
            image = page.asarray()
            axes = [at for at, axis in enumerate(page.axes) if axis not in "YX"]
            yield image.transpose([*axes, page.axes.index("Y"), page.axes.index("X")])


def _zarr(path: Path) -> Iterator[Array]:
    import zarr

    yield np.asarray(zarr.open_array(path, mode="r")[...])


def _gdal(path: Path) -> Iterator[Array]:
    import rasterio

    with rasterio.open(path) as file:
        yield file.read()


_READERS = {
    "pydicom": frames,
    "pydicom, RGB": lambda path: frames(path, raw=False),
    "pydicom, bits that are stored": lambda path: stored_bits(path),
    "numpy": lambda path: [np.load(path)],
    "tifffile": lambda path: _tiff_pages(path, MAX_PAGES),
    "tifffile without overviews": lambda path: _tiff_pages(path, MAX_PAGES, overviews=False),
    "tifffile, first page": lambda path: _tiff_pages(path, 1),
    "zarr": _zarr,
    "GDAL": _gdal,
}


def _limit() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (LIMIT_BYTES, LIMIT_BYTES))
    logging.disable(logging.CRITICAL)


class OtherReaders:
    """The other readers, in a process that is ended if one does not come back; a context."""

    def __init__(self) -> None:
        self._pool: ProcessPoolExecutor | None = None

    def read(self, path: Path) -> list[Reading]:
        """Read a file; one error stands for all where they run into a limit or crash."""
        if self._pool is None:
            self._pool = ProcessPoolExecutor(1, get_context("spawn"), initializer=_limit)
        try:
            return self._pool.submit(readings, path).result(LIMIT_SECONDS)
        except TimeoutError:
            self._end()
            return [Reading("all", error=f"over {LIMIT_SECONDS:.0f} s")]
        except BrokenProcessPool:
            self._end()
            return [Reading("all", error="the reader crashed")]

    def _end(self) -> None:
        if self._pool is None:
            return
        for process in list(self._pool._processes.values()):
            process.kill()
        self._pool.shutdown()
        self._pool = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()
