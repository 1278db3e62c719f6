"""A sealed store as the source of what is made of it: its own samples, and what it tells."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from tilepress.errors import SourceError
from tilepress.pipeline.formats import format_of_kind
from tilepress.pipeline.image.grid import Box
from tilepress.pipeline.image.info import ImageInfo
from tilepress.pipeline.image.source import SourceSpec
from tilepress.pipeline.privacy.recipe import DEIDENTIFIED
from tilepress.pipeline.store.kept import IRREVERSIBLE
from tilepress.pipeline.store.reader import StoreReader
from tilepress.pipeline.store.told_image import told_image

__all__ = ["StoredSource"]


class StoredSource:
    """The image of a lossless store, as its source would give it.

    Nothing else is opened. Raises SourceError where samples are not the very ones of the source, or
    where the store does not tell all that was told of the image.
    """

    def __init__(self, reader: StoreReader, *, wordy: bool) -> None:
        self._reader = reader
        self._info = _info_of(reader, wordy=wordy)
        self._spec = SourceSpec(kind=str(reader.origin["kind"]), paths=(str(reader.path),))

    @property
    def info(self) -> ImageInfo:
        return self._info

    @property
    def spec(self) -> SourceSpec:
        return self._spec

    def read(self, box: Box) -> npt.NDArray[Any]:
        return self._reader.read(box)

    def read_mask(self, box: Box) -> npt.NDArray[np.uint8]:
        return self._reader.read_mask(box)

    def source_items(self) -> Iterator[tuple[str, bytes]]:
        """Yield what ``source/`` keeps as it lies there: with "origin" what is packed with it."""
        yield "origin", self._reader.source_bytes("origin")
        yield from ((name, self._reader.source_bytes(name)) for name in self._reader.items_apart)

    def fingerprint(self) -> dict[str, Any]:
        return {"seal": self._reader.statement["seal"]}

    def close(self) -> None:
        """Do nothing: a store is read object by object."""


def _info_of(reader: StoreReader, *, wordy: bool) -> ImageInfo:
    """Return what is told of a store's image, as far as levels have to know it."""
    if not reader.loss.is_lossless:
        text = f"it is lossy ({reader.loss}), and levels are made of the source's samples"
        raise _needs_source(reader, text)
    info = told_image(reader, wordy=wordy)
    found = format_of_kind(str(reader.origin["kind"]))
    whole = None
    if info is not None and found is not None and DEIDENTIFIED not in info.attributes:
        whole = found.as_told(info, reader)
    if whole is None:
        raise _needs_source(reader, "it does not tell all that levels have to know")
    return replace(whole, stream_block=reader.chunk) if _came_in_streams(reader) else whole


def _came_in_streams(reader: StoreReader) -> bool:
    """Whether records keep the streams that the image came in."""
    return IRREVERSIBLE in reader.statement or reader.keeps_streams((0,) * len(reader.shape))


def _needs_source(reader: StoreReader, text: str) -> SourceError:
    return SourceError(
        f"adding levels to {reader.path}: {text}; name what it was made of with --source"
    )
