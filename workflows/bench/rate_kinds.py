"""Errors in the units that people of one kind of image measure in."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import numpy.typing as npt

from tilepress.pipeline.image.info import ImageInfo

__all__ = ["SOFT_TISSUE_HU", "hounsfield_bias", "ndvi_error"]

Samples = npt.NDArray[Any]
Marks = npt.NDArray[np.bool_]

SOFT_TISSUE_HU = (-160.0, 240.0)
"""The usual window of soft tissue: level 40, width 400."""
_PAIRS = (("red", "nir"), ("b04", "b08"), ("b04", "b8a"))
"""Names of the bands of the vegetation index; those of numbers are Sentinel-2's."""


def ndvi_error(info: ImageInfo, given: Samples, decoded: Samples, present: Marks) -> float | None:
    """Return the mean size of the error of (nir − red) / (nir + red), where both are present.

    None where no bands are called so, by their description or colour.
    """
    pair = _red_and_near_infrared(info)
    if pair is None:
        return None
    axis = info.axes.index("band")
    there = np.take(present, pair, axis).all(axis=axis)
    indices = []
    for samples in (given, decoded):
        red, near = (np.take(samples, band, axis).astype(np.float64) for band in pair)
        total = near + red
        there = there & (total > 0)
        indices.append((near - red) / np.where(total > 0, total, 1))
    if not there.any():
        return None
    return float(np.abs(indices[1] - indices[0])[there].mean())


def _red_and_near_infrared(info: ImageInfo) -> tuple[int, int] | None:
    if "band" not in info.axes:
        return None
    colours = info.attributes.get("color_interpretation") or []
    words: list[set[str]] = []
    for number in range(info.band_count):
        names = [*(info.bands[number].names if number < len(info.bands) else ())]
        names += [str(colours[number])] if number < len(colours) else []
        words.append({w for name in names for w in re.split(r"[^a-z0-9]+", name.lower())})
    for pair in _PAIRS:
        found = [[n for n, known in enumerate(words) if name in known] for name in pair]
        if all(len(numbers) == 1 for numbers in found) and found[0] != found[1]:
            return found[0][0], found[1][0]
    return None


def hounsfield_bias(
    info: ImageInfo, given: Samples, decoded: Samples, present: Marks
) -> float | None:
    """Return the mean of decoded less given of a CT's soft tissue, in Hounsfield units.

    Soft tissue is what is within ``SOFT_TISSUE_HU`` as given. None for what is no CT, where slope
    or intercept differ from plane to plane, or where nothing is within.
    """
    told = info.attributes
    slope, intercept = told.get("rescale_slope", 1.0), told.get("rescale_intercept", 0.0)
    numbers = isinstance(slope, int | float) and isinstance(intercept, int | float)
    if told.get("modality") != "CT" or not numbers:
        return None
    units = given.astype(np.float64) * slope + intercept
    tissue = present & (units >= SOFT_TISSUE_HU[0]) & (units <= SOFT_TISSUE_HU[1])
    if not tissue.any():
        return None
    off = decoded[tissue].astype(np.float64) - given[tissue].astype(np.float64)
    return float(slope * off.mean())
