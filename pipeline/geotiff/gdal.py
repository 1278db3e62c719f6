"""Call GDAL through rasterio so that every failure is one of our errors, in one line."""

from __future__ import annotations

import logging
import os
import re
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import rasterio
from rasterio.env import Env
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import DatasetReader
from rasterio.session import DummySession

from tilepress.errors import DamagedSource, TilepressError, UnsupportedSource
from tilepress.pipeline.geotiff.view import FOLDER_PREFIX

__all__ = ["ask", "gdal_calls", "gdal_errors", "lacks_codec", "open_dataset", "open_raster"]

CACHE_BYTES = 64 * 2**20
"""GDAL's block cache for the whole process; its default is 5 % of the machine's memory."""

_OPTIONS: dict[str, str | int] = {
    "GTIFF_IGNORE_READ_ERRORS": "NO",
    "GDAL_ERROR_ON_LIBJPEG_WARNING": "YES",
    "CPL_VSIL_CURL_ALLOWED_FILENAME": "none",  # the only address that GDAL may read from
}

_DAMAGE = re.compile(
    r"premature e|corrupt jpeg|bad huffman|line length mismatch|invalid jpeg|not enough data"
    r"|inconsistent progression|truncat",
    re.IGNORECASE,
)
"""Warnings after which GDAL makes up samples for data that it could not decode."""

_UNSUPPORTED = re.compile(
    r"unsupported|can ?not handle|not supported|not configured|not implemented", re.IGNORECASE
)
"""Failures that say nothing against the file: this build of GDAL cannot decode it."""

_FUNCTION = re.compile(r"\w+:\w")
"""Messages of libtiff begin with the name of what said it."""

_MISSING_CODEC = re.compile(r"missing codec (?:of code )?(\w+)", re.IGNORECASE)
"""So libtiff calls a compression that it was built without, or does not know."""

_COMPRESSIONS = {
    "22610": "JPEG XR",
    "33003": "JPEG 2000",
    "33004": "JPEG 2000",
    "33005": "JPEG 2000",
    "34712": "JPEG 2000",
    "34892": "lossy JPEG of DNG",
    "34933": "PNG",
    "34934": "JPEG XR",
    "48124": "Jetraw",
    "50002": "JPEG XL",
    "52546": "JPEG XL",
    "JP2000": "JPEG 2000",
    "JXL": "JPEG XL",
}
"""What the numbers and names of compressions stand for."""

_PREFIX = re.compile(r"^CPLE_\w+( in |:\s*)")

_VIEW = re.compile(rf"\S*/{FOLDER_PREFIX}[^/]+/1/")
"""The folder of links that GDAL was shown in place of the file's own."""

_T = TypeVar("_T")

_open_lock = threading.Lock()


class _Collector(logging.Handler):
    """Keeps what GDAL says in this thread while ``gdal_calls`` listens."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._local = threading.local()

    def emit(self, record: logging.LogRecord) -> None:
        heard: list[str] | None = getattr(self._local, "heard", None)
        if heard is not None and len(heard) < 100:
            heard.append(record.getMessage())

    @contextmanager
    def listen(self) -> Iterator[list[str]]:
        outer = getattr(self._local, "heard", None)
        heard: list[str] = []
        self._local.heard = heard
        try:
            yield heard
        finally:
            self._local.heard = outer


_collector = _Collector()
logging.getLogger("rasterio").addHandler(_collector)


@contextmanager
def gdal_calls(
    doing: str,
    path: Path,
    error: type[TilepressError] = DamagedSource,
    options: Mapping[str, str] | None = None,
) -> Iterator[list[str]]:
    """Translate what GDAL raises, and warnings that mean invented samples, into ``error``.

    ``options`` are further ones of GDAL. Yields the list of warnings heard so far.
    """
    # rasterio hands this one on as bytes
    chosen = _OPTIONS | dict(options or {}) | {"GDAL_CACHEMAX": _cache_bytes()}
    with Env(session=DummySession(), **chosen), _collector.listen() as heard:
        try:
            yield heard
        except gdal_errors() as exc:
            found = _innermost(exc, path)
            kind = error
            if error is DamagedSource and _UNSUPPORTED.search(found):
                kind = UnsupportedSource
            elif error is DamagedSource and (codec := _MISSING_CODEC.search(found)):
                kind, found = UnsupportedSource, f"this GDAL cannot read {_named(codec[1])}"
            elif _FUNCTION.match(found):
                found = f"GDAL cannot {doing.split()[0]} it: {found}"
            raise kind(f"{doing} {path}: {found}") from exc
        damage = next((message for message in heard if _DAMAGE.search(message)), None)
    if damage is not None:
        raise DamagedSource(f"{doing} {path}: {_clean(damage, path)}")


def _cache_bytes() -> int:
    """Return the size of GDAL's cache, as the environment has it: in MiB, or from 100 000 on bytes.

    GDAL itself reads the environment once, and what a guest finds there was not that of the process
    that it was forked from.
    """
    text = os.environ.get("GDAL_CACHEMAX", "")
    size = int(text) if text.isdecimal() else 0
    return size * 2**20 if 0 < size < 100_000 else size or CACHE_BYTES


def open_raster(
    path: Path,
    driver: str,
    *,
    raw: bool = False,
    directory: int | None = None,
    offset: int | None = None,
) -> DatasetReader:
    """Open a file for reading with exactly this driver; call it inside ``gdal_calls``.

    ``raw`` asks the TIFF driver not to convert colours to RGB; ``directory`` is the number of the
    TIFF directory to read, from 1, or ``offset`` the byte at which it starts. GDAL takes all that
    follows these prefixes as the file's name, whatever is in it, and an absolute name is never
    mistaken for a prefix.
    """
    name: str | Path = path.absolute()
    if directory is not None:
        name = f"GTIFF_DIR:{int(directory)}:{name}"
    elif offset is not None:
        name = f"GTIFF_DIR:off:{int(offset)}:{name}"
    if raw:
        name = f"GTIFF_RAW:{name}"
    return open_dataset(name, driver)


def open_dataset(name: str | Path, driver: str) -> DatasetReader:
    """Open what GDAL knows by this name for reading, with exactly this driver."""
    with _open_lock, warnings.catch_warnings():
        # an image without georeference is no anomaly here, and the filter list is global
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        return rasterio.open(name, driver=driver, sharing=False)


def ask(question: Callable[[], _T]) -> _T:
    """Call ``question()``, once more if it fails.

    rasterio raises GDAL's last error at the next call, whichever it is: a complaint about one
    odd tag at opening must not fail an unrelated property.
    """
    try:
        return question()
    except gdal_errors():
        return question()


def gdal_errors() -> tuple[type[Exception], ...]:
    """Return what rasterio raises where GDAL fails."""
    from rasterio._err import CPLE_BaseError

    # ValueError and UnicodeDecodeError: tags that rasterio cannot turn into Python values
    return (RasterioError, CPLE_BaseError, ValueError, OSError)


def lacks_codec(error: BaseException) -> bool:
    """Whether GDAL failed because it has no decoder of a file's compression."""
    while error.__cause__ is not None:
        error = error.__cause__
    return bool(_MISSING_CODEC.search(str(getattr(error, "errmsg", None) or error)))


def _named(codec: str) -> str:
    """Return what people call a compression that libtiff calls by its number, or by a name."""
    name = _COMPRESSIONS.get(codec)
    if codec.isdecimal():
        return f"Compression {codec}" if name is None else f"{name} (Compression {codec})"
    return name or codec


def _innermost(exc: BaseException, path: Path) -> str:
    """Return the message of the exception's first cause, where GDAL says what is wrong."""
    while exc.__cause__ is not None:
        exc = exc.__cause__
    if isinstance(exc, ValueError) and not isinstance(exc, RasterioError):
        return "what it says of itself has other types than it should"  # the error would quote it
    return _clean(str(getattr(exc, "errmsg", None) or exc), path)


def _clean(message: str, path: Path) -> str:
    """Shorten a message to one line that does not repeat the path."""
    message = _VIEW.sub("", _PREFIX.sub("", " ".join(message.split())))
    for name in (str(path.absolute()), path.name):
        message = re.sub(rf"'?{re.escape(name)}'?[,:]?\s*", "", message)
    return message[:300] or "GDAL gives no reason"
