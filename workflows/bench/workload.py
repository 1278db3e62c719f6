"""Parts of images, collected by sample type: what every codec is timed on."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from tilepress.codecs.classical.base import Samples
from tilepress.codecs.classical.put import RGB_BANDS

__all__ = ["TILE", "Image", "Workload", "sample_type"]

TILE = 512
"""Rows and columns of the tiles that codecs are timed on."""

_SIDE = 2048
"""Rows and columns that one image may contribute."""


@dataclass(frozen=True, slots=True)
class Image:
    """Samples (…, y, x) of one image, cut to what is timed."""

    samples: Samples
    bands: int
    nodata: float | int | None


def sample_type(samples: Samples, bands: int) -> str:
    """Return the class of samples that speeds are told for, e.g. "16-bit grey"."""
    depth = str(samples.dtype) if samples.dtype.kind == "f" else f"{8 * samples.dtype.itemsize}-bit"
    if bands in RGB_BANDS and samples.dtype == np.uint8:
        return "8-bit RGB"
    if bands > 1:
        return f"{depth} multi-band"
    return f"{depth} grey"


@dataclass(slots=True)
class Workload:
    """Collect parts of images by sample type: no more than ``limit_bytes`` each, from all classes.

    One image gives at most half of the limit: leading planes, and the middle of large ones.
    """

    limit_bytes: int = 2**24
    _images: dict[str, dict[str, list[Image]]] = field(default_factory=dict)

    def add(self, samples: Samples, bands: int, kind: str, nodata: float | int | None) -> None:
        """Take part of an image (…, y, x) of class ``kind``."""
        if not samples.size:
            return
        classes = self._images.setdefault(sample_type(samples, bands), {})
        images = classes.setdefault(kind, [])
        if sum(image.samples.nbytes for image in images) < self.limit_bytes:
            part = _middle(samples, self.limit_bytes // 2)
            images.append(Image(np.array(part), bands, nodata))

    def chosen(self) -> Iterator[tuple[str, list[Image]]]:
        """Yield every sample type and its images, taken in turns from its classes."""
        for kind in sorted(self._images):
            turns = itertools.zip_longest(*self._images[kind].values())
            images: list[Image] = []
            total = 0
            for image in (image for turn in turns for image in turn if image is not None):
                if images and total + image.samples.nbytes > self.limit_bytes:
                    continue
                images.append(image)
                total += image.samples.nbytes
            yield kind, images


def _middle(samples: Samples, limit_bytes: int) -> Samples:
    """Return the middle ``_SIDE``² of the leading planes, bands whole, within about the limit."""
    rows, columns = (max(0, n - _SIDE) // 2 for n in samples.shape[-2:])
    part = samples[..., rows : rows + _SIDE, columns : columns + _SIDE]
    while part.ndim > 2 and part.shape[0] > 1 and part.nbytes > limit_bytes:
        part = part[: max(1, part.shape[0] // 2)]
    while part.nbytes > limit_bytes and part.shape[-2] > TILE:
        part = part[..., : part.shape[-2] // 2, :]
    return part
