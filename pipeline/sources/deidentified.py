"""An image that is de-identified: what its files are replaced by is made here, with the key.

The files are parsed by a guest, which asks what takes the place of their UIDs, patients and dates.
It gets these replacements, and never the key that they are made with.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from tilepress.pipeline.image.grid import Box
from tilepress.pipeline.image.info import ImageInfo
from tilepress.pipeline.image.source import SourceSpec, TileSource, read_level
from tilepress.pipeline.image.streams import Streams
from tilepress.pipeline.privacy.keyed import Replacements
from tilepress.pipeline.privacy.recipe import DEIDENTIFIED, DEIDENTIFY, keyed_of, profile_of

__all__ = ["DeidentifiedSource"]


@runtime_checkable
class _Replacing(Protocol):
    """A source of files that hold identifiers which others refer to."""

    def identifiers(self) -> list[tuple[str, str]] | None:
        """Return all (what, text) that is to be replaced; None for a source that has no such."""
        ...

    def replaced_items(self, replacements: Replacements) -> Iterator[tuple[str, bytes]]:
        """Yield the items of ``source/`` with replacements for all of them."""
        ...


class DeidentifiedSource:
    """A source whose recipe asks for a de-identified image: its items hold no identifiers.

    A source that has none to be replaced leaves out by itself what identifies.
    """

    def __init__(self, source: TileSource) -> None:
        self._source = source
        asked = source.spec.options[DEIDENTIFY]
        told = {**profile_of(source.spec).to_json(), "key": asked["key"]}
        attributes = {**source.info.attributes, DEIDENTIFIED: told}
        self._info = replace(source.info, attributes=attributes)

    @property
    def info(self) -> ImageInfo:
        return self._info

    @property
    def spec(self) -> SourceSpec:
        return self._source.spec

    def read(self, box: Box) -> npt.NDArray[Any]:
        return self._source.read(box)

    def read_level(self, level: int, box: Box) -> npt.NDArray[Any]:
        return read_level(self._source, level, box)

    def level_streams(self, level: int, box: Box) -> Streams | None:
        """Return none: streams have room for texts."""
        return None

    def read_mask(self, box: Box) -> npt.NDArray[np.uint8]:
        return self._source.read_mask(box)

    def source_items(self) -> Iterator[tuple[str, bytes]]:
        wanted = self._source.identifiers() if isinstance(self._source, _Replacing) else None
        if wanted is None:
            yield from self._source.source_items()
            return
        assert isinstance(self._source, _Replacing), "it has said what is to be replaced"
        yield from self._source.replaced_items(keyed_of(self.spec).replacements(wanted))

    def fingerprint(self) -> dict[str, Any]:
        return self._source.fingerprint()

    def close(self) -> None:
        self._source.close()
