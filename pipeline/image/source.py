"""What an image is read from, and what an export reads of its store."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from tilepress.codecs.loss import Loss
from tilepress.pipeline.image.grid import Box
from tilepress.pipeline.image.info import ImageInfo
from tilepress.pipeline.image.streams import Streams, StreamSource

__all__ = [
    "ADVICE",
    "BESIDE",
    "FORMER",
    "SIBLINGS",
    "ExportReader",
    "LevelSource",
    "SourceSpec",
    "StoredLevels",
    "TileSource",
    "read_level",
    "streams_of",
]

SIBLINGS = "siblings"
"""Option of a recipe: names of images that one expects to be one with this one."""

ADVICE = "advice"
"""Option of a recipe: a remark on why another format has not taken its file."""

BESIDE = "beside"
"""Option of a recipe: a remark on what lies beside the image and was left out."""

FORMER = "former"
"""Option of a recipe: what earlier versions took its files for, in the words of its format."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceSpec:
    """A picklable, JSON-able recipe from which a worker opens the same source again."""

    kind: str
    """What its format calls it: see ``Format.kinds``."""
    paths: tuple[str, ...]
    """Absolute paths, or URLs of objects (s3://bucket/key)."""
    options: Mapping[str, Any] = field(default_factory=dict)
    source_bytes: int | None = None
    """Size of the files together, compressed as they are; None where nobody has looked."""
    images_in_files: int = 1
    """Images that the files hold, this one among them: pages of a TIFF file."""

    @property
    def share_of_files(self) -> int | None:
        """Bytes of the files that count as this image's: pages of one file share it evenly."""
        return None if self.source_bytes is None else self.source_bytes // self.images_in_files


class TileSource(Protocol):
    """One image that can be read window by window. Not thread-safe; one per thread."""

    @property
    def info(self) -> ImageInfo: ...

    @property
    def spec(self) -> SourceSpec: ...

    def read(self, box: Box) -> npt.NDArray[Any]:
        """Return the samples of ``box`` (one range per axis of ``info.axes``), C-contiguous."""
        ...

    def read_mask(self, box: Box) -> npt.NDArray[np.uint8]:
        """Return the validity mask (0 or 255) of a two-axis (y, x) box."""
        ...

    def source_items(self) -> Iterator[tuple[str, bytes]]:
        """Yield (name, bytes) of what ``source/`` keeps so that export is faithful."""
        ...

    def fingerprint(self) -> dict[str, Any]:
        """Return what "unchanged" means: per file size, mtime_ns and a hash of its header."""
        ...

    def close(self) -> None: ...


@runtime_checkable
class LevelSource(Protocol):
    """A ``TileSource`` of an image with levels (``ImageInfo.levels``), from 1 on."""

    def read_level(self, level: int, box: Box) -> npt.NDArray[Any]:
        """Return samples of a level, as ``TileSource.read`` does those of the full resolution."""
        ...

    def level_streams(self, level: int, box: Box) -> Streams | None:
        """Return streams of a level, as ``StreamSource.streams`` does."""
        ...


def read_level(source: TileSource, level: int, box: Box) -> npt.NDArray[Any]:
    """Return the samples of a box of a level, of which 0 is the full resolution."""
    if level == 0:
        return source.read(box)
    assert isinstance(source, LevelSource), "an image with levels has a source of them"
    return source.read_level(level, box)


def streams_of(source: TileSource, level: int) -> Callable[[Box], Streams | None] | None:
    """Return what gives the streams of boxes of a level; None where a source has none."""
    if level > 0:
        return partial(source.level_streams, level) if isinstance(source, LevelSource) else None
    return source.streams if isinstance(source, StreamSource) else None


class ExportReader(Protocol):
    """What an exporter needs of a sealed store: samples by window, and what ``source/`` keeps."""

    @property
    def axes(self) -> tuple[str, ...]: ...

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> np.dtype[Any]: ...

    @property
    def attrs(self) -> Mapping[str, Any]:
        """Attributes of the image array; ``attrs["tilepress"]`` holds the loss statement."""
        ...

    @property
    def loss(self) -> Loss:
        """What coding may have changed of the image's samples."""
        ...

    @property
    def ratio(self) -> float:
        """Decoded size of the full resolution over what it takes; levels and masks beside it do not
        count."""
        ...

    @property
    def decoder_note(self) -> str | None:
        """What to say of samples that another decoder made than ``loss`` is of; else None."""
        ...

    @property
    def has_mask(self) -> bool: ...

    @property
    def chunk(self) -> tuple[int, ...]:
        """Shape of one record: windows of whole chunks read each record once."""
        ...

    @property
    def origin(self) -> Mapping[str, Any]:
        """The JSON item "origin" of ``source/``: {"kind": one of ``Format.kinds``, …}."""
        ...

    def read(self, box: Box) -> npt.NDArray[Any]:
        """Return the samples of ``box`` (one range per axis), C-contiguous, native byte order."""
        ...

    def read_mask(self, box: Box) -> npt.NDArray[np.uint8]:
        """Return the validity mask (0 or 255) of a (y, x) box; all 255 where there is no mask."""
        ...

    def source_names(self) -> tuple[str, ...]: ...

    def source_bytes(self, name: str) -> bytes:
        """Return one item of ``source/``; KeyError where there is none of that name."""
        ...


@runtime_checkable
class StoredLevels(Protocol):
    """An ``ExportReader`` of a store that may have several levels."""

    @property
    def level_count(self) -> int:
        """How many there are, the full resolution among them."""
        ...

    def at_level(self, number: int) -> ExportReader:
        """Return what reads a level as if it were the image."""
        ...
