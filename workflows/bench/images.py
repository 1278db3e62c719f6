"""Read whole images to compare codecs on, and the classes that a table gives them."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tilepress.codecs.classical.base import Samples
from tilepress.errors import SourceError, UsageError
from tilepress.pipeline.find.discover import discover
from tilepress.pipeline.find.stacks import Stacks
from tilepress.pipeline.find.told import told_error, told_failure, told_name
from tilepress.pipeline.find.walk import Failure
from tilepress.pipeline.image.grid import Box
from tilepress.pipeline.image.info import ImageInfo
from tilepress.pipeline.image.pseudonyms import UNNAMED
from tilepress.pipeline.image.source import SourceSpec, TileSource
from tilepress.pipeline.sources.open import open_source

__all__ = ["Counted", "FoundImage", "class_of", "read_classes", "read_images"]


@dataclass(frozen=True, slots=True)
class Counted:
    """What the PSNR of an image is of, as ``compress --psnr`` holds it."""

    peak: float | None
    """None where nothing would be lost."""
    exact: Mapping[int, str]
    """Bands, from 0, that never lose anything, and why."""
    hidden: npt.NDArray[np.bool_] | None
    """Marks samples that nobody sees, in the shape of the image; None: there are none."""


@dataclass(frozen=True, slots=True)
class FoundImage:
    """An image that was read whole, or why it was not."""

    files: tuple[str, ...]
    spec: SourceSpec | None = None
    info: ImageInfo | None = None
    samples: Samples | None = None
    failure: str = ""
    counted: Counted | None = None
    """What a PSNR of it is of, where that was asked for."""
    name: str = ""
    """What people are told in place of the first file's path, which may name a patient."""

    @property
    def told(self) -> str:
        """Why it was not read, and which image that is, named once."""
        named = f" {self.name}: " in self.failure
        return self.failure if named else f"{self.name}: {self.failure}"


def read_images(
    sources: Sequence[str | Path],
    stack: Stacks = None,
    counted_of: Callable[[TileSource], Counted] | None = None,
) -> Iterator[FoundImage]:
    """Discover and read whole images, one at a time; what cannot be read says why.

    counted_of : tells what the PSNR of an open image is of.
    """
    for found in discover(sources, stack, pseudonyms=lambda: UNNAMED):
        if isinstance(found, Failure):
            name, error = told_failure(found)
            yield FoundImage((str(found.path),), failure=str(error), name=name)
            continue
        name = told_name(found)
        try:
            source = open_source(found)
        except SourceError as exc:
            yield FoundImage(found.paths, failure=told_error(found, str(exc)), name=name)
            continue
        try:
            shape = source.info.shape
            samples = source.read(Box((0,) * len(shape), shape))
            counted = None if counted_of is None else counted_of(source)
            yield FoundImage(found.paths, found, source.info, samples, counted=counted, name=name)
        except SourceError as exc:
            yield FoundImage(found.paths, failure=told_error(found, str(exc)), name=name)
        finally:
            source.close()


def read_classes(manifest: Path | None) -> dict[str, str]:
    """Return class by absolute path (a file's, or a folder's) of a manifest."""
    if manifest is None:
        return {}
    with manifest.open(newline="") as table:
        rows = list(csv.DictReader(table, delimiter="\t"))
    if not rows or not {"file", "class"} <= set(rows[0]):
        raise UsageError(f"reading classes: {manifest} has no columns 'file' and 'class'")
    return {os.path.normpath(manifest.resolve().parent / row["file"]): row["class"] for row in rows}


def class_of(path: str, classes: Mapping[str, str]) -> str:
    """Return the class of a file, or of the folder that it lies in; "all" if none is known."""
    place = Path(path).resolve()
    known = (classes.get(str(part)) for part in (place, *place.parents))
    return next((kind for kind in known if kind is not None), "all")
