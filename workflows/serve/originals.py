"""Pictures of what stores were made of, and of how far their samples are from it.

Only what the user names is read. That it is the original is seen by every sample that is shown:
none may be further from the stored one than the store says.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt
from starlette.exceptions import HTTPException

from tilepress.codecs.difference import distance
from tilepress.errors import SourceError, UsageError
from tilepress.pipeline.archive.private import pseudonyms_of_sources
from tilepress.pipeline.find.choose import ALL
from tilepress.pipeline.find.match import SourceFinder
from tilepress.pipeline.image.grid import Box
from tilepress.pipeline.image.source import TileSource
from tilepress.pipeline.read.look import Look
from tilepress.pipeline.read.picture import Picture
from tilepress.pipeline.sources.open import open_source
from tilepress.pipeline.store.reader import StoreReader
from tilepress.workflows.serve.shelf import Shelf

__all__ = ["Originals", "What", "what_asked"]

What = Literal["original", "difference"]

MAX_OPEN = 4
"""Sources that are held open, each by a process of its own, and their pictures."""


def what_asked(text: str) -> What:
    """Return what a picture is asked to show; raises UsageError."""
    if text == "original":
        return "original"
    if text == "difference":
        return "difference"
    raise UsageError("drawing: want of=original or of=difference")


class Originals:
    """The sources of the stores of a shelf. Any thread may ask."""

    def __init__(self, shelf: Shelf, paths: Sequence[str]) -> None:
        """Take files and folders; raises UsageError where one is not there."""
        folder = shelf.path.parent if shelf.is_store else shelf.path
        self._finder = SourceFinder(
            paths,
            stack=None,
            archive=None if shelf.is_store else shelf.path,
            doing="serving the original of",
            pseudonyms=lambda: pseudonyms_of_sources(folder),
            key_folder=folder,
            show_paths=False,
            choice=ALL,
        )
        for missing in self._finder.missing:
            raise UsageError(f"serving the original {missing.path}: {missing.error}")
        self._open: OrderedDict[str, tuple[TileSource, dict[What, Picture]]] = OrderedDict()
        self._lock = threading.RLock()

    def picture(self, stored: Picture, what: What) -> Picture:
        """Return the picture of a store's original, or of how far it is from what is stored.

        Raises HTTPException 404 where it is not among what was named.
        """
        seal = str(stored.reader.statement.get("seal"))
        with self._lock:
            if seal not in self._open:
                self._open[seal] = self._opened(stored.reader)
                while len(self._open) > MAX_OPEN:
                    self._open.popitem(last=False)[1][0].close()
            self._open.move_to_end(seal)
            return self._open[seal][1][what]

    def _opened(self, reader: StoreReader) -> tuple[TileSource, dict[What, Picture]]:
        try:
            source = open_source(self._finder.find(reader.path, reader.origin))
        except (SourceError, UsageError) as error:
            raise HTTPException(404, "the original of this store was not found") from error
        if tuple(source.info.shape) != reader.shape or source.info.dtype != reader.dtype:
            source.close()
            raise HTTPException(409, "what was named has another shape than the store")
        kinds: tuple[What, ...] = ("original", "difference")
        beside = {what: _Beside(reader, source, self._lock, what) for what in kinds}
        return source, {what: Picture(cast(StoreReader, one)) for what, one in beside.items()}

    @staticmethod
    def look(look: Look, stored: Picture, what: What) -> Look:
        """Return how a picture is drawn: differences from black to the largest that may be."""
        if what == "original":
            return look
        limit = _limit(stored.reader) or 1.0
        channels = tuple(replace(one, low=0.0, high=limit) for one in look.channels)
        return replace(look, channels=channels, index=None)


class _Beside:
    """Reads a source, or its distance from a store, as ``Picture`` reads a store."""

    level_count = 1

    def __init__(
        self, reader: StoreReader, source: TileSource, lock: threading.RLock, what: What
    ) -> None:
        self._reader, self._source, self._lock, self._what = reader, source, lock, what
        self.path, self.axes, self.shape = reader.path, reader.axes, reader.shape
        self.statement = reader.statement
        is_original = what == "original"
        self.dtype = reader.dtype if is_original else np.dtype(np.float32)
        self.attrs: Mapping[str, Any] = reader.attrs if is_original else {}
        self.origin: Mapping[str, Any] = reader.origin if is_original else {}
        self.has_mask = reader.has_mask

    def at_level(self, number: int) -> _Beside:
        assert number == 0, "there is one"
        return self

    def read_mask(self, box: Box) -> npt.NDArray[np.uint8]:
        return self._reader.read_mask(box)

    def source_bytes(self, name: str) -> bytes:
        """Return what the store keeps of its source, such as colour tables."""
        return self._reader.source_bytes(name)

    def read(self, box: Box) -> npt.NDArray[Any]:
        """Return samples, or distances in singles. Raises HTTPException 409 for another image."""
        try:
            with self._lock:  # a source is asked by one at a time
                samples = self._source.read(box)
        except (SourceError, OSError) as error:  # it has its path, which may be a patient's name
            raise HTTPException(409, "the original of this store cannot be read") from error
        stored = self._reader.read(box)
        apart = _apart(samples, stored)
        if not bool((apart <= _limits(self._reader, box)).all()):
            raise HTTPException(
                409,
                "what was named is not the original of this store: samples are further from it "
                "than coding could bring them",
            )
        return samples if self._what == "original" else apart.astype(np.float32)


def _apart(one: npt.NDArray[Any], other: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Return distances: NaN is at 0 from itself, and at NaN from all else."""
    apart = distance(one, other)
    if one.dtype.kind == "f":
        apart[np.isnan(one) & np.isnan(other)] = 0.0
    return apart


def _limits(reader: StoreReader, box: Box) -> npt.NDArray[np.float64]:
    """Return what samples of a box are off by at most; bands that are exact by nothing."""
    limits = np.full([1] * len(reader.axes), _limit(reader))
    if "band" in reader.axes and reader.exact:
        at = reader.axes.index("band")
        bands = range(box.start[at], box.stop[at])
        by_band = [0.0 if band in reader.exact else _limit(reader) for band in bands]
        limits = np.reshape(by_band, [-1 if n == at else 1 for n in range(len(reader.axes))])
    return limits


def _limit(reader: StoreReader) -> float:
    """Return what no sample of a store is off by more than."""
    return 0.0 if reader.loss.is_lossless else reader.worst
