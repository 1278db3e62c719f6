"""Draw the samples of a frame as its header says: window, lookup tables, colours.

The steps of PS3.3 C.11: modality, values of interest, presentation. Grey of 8 bits comes out, or
red, green and blue.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.pixels.processing import apply_color_lut, apply_modality_lut

from tilepress.pipeline.dicom.bytes import foreign_errors, quiet_pydicom

__all__ = ["Window", "drawn"]

Pixels = npt.NDArray[np.uint8]
"""(Y, X) or (Y, X, 3)."""

Function = Literal["LINEAR", "LINEAR_EXACT", "SIGMOID"]


@dataclass(frozen=True, slots=True)
class Window:
    """Which values are between black and white (PS3.3 C.11.2.1.2), after the modality's table."""

    center: float
    width: float
    function: Function = "LINEAR"


def drawn(
    samples: npt.NDArray[Any],
    dataset: Dataset,
    photometric: str,
    window: Window | None = None,
) -> Pixels:
    """Return the pixels of samples (B, Y, X).

    ``photometric`` is of the samples; ``window`` goes before the header's. Without either, values
    from the least to the largest are between black and white. Raises DamagedSource for a header
    that contradicts itself.
    """
    with quiet_pydicom(), foreign_errors("drawing a DICOM frame", "a store"):
        if photometric == "PALETTE COLOR" and "RedPaletteColorLookupTableDescriptor" in dataset:
            return _bytes_of(apply_color_lut(samples[0], dataset))
        if len(samples) >= 3:
            rgb = np.moveaxis(samples[:3], 0, -1)
            if photometric in ("YBR_FULL", "YBR_FULL_422"):
                return _from_ycbcr(rgb.astype(np.float32))
            return _bytes_of(rgb, _stored_bits(dataset, samples.dtype))
        grey = _windowed(samples[0], dataset, window)
        return 255 - grey if photometric == "MONOCHROME1" else grey


def _windowed(samples: npt.NDArray[Any], dataset: Dataset, given: Window | None) -> Pixels:
    values = np.asarray(apply_modality_lut(samples, dataset), np.float64)
    window = given or _window_of(dataset)
    if window is None:
        finite = values[np.isfinite(values)]
        low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
        window = Window((low + high) / 2, max(high - low, 1e-9), "LINEAR_EXACT")
    center, width = window.center, window.width
    if window.function == "SIGMOID":
        with np.errstate(over="ignore"):
            shown = 1 / (1 + np.exp(-4 * (values - center) / width))
    elif window.function == "LINEAR" and width > 1:
        shown = (values - (center - 0.5)) / (width - 1) + 0.5
    elif window.function == "LINEAR":  # a step
        shown = (values > center - 0.5).astype(np.float64)
    else:
        shown = (values - center) / width + 0.5
    scaled = np.clip(np.nan_to_num(shown), 0, 1) * 255
    return np.asarray(np.rint(scaled), np.uint8)


def _window_of(dataset: Dataset) -> Window | None:
    """Return the first window of a header; None where it has none that makes sense."""
    center, width = (_first(dataset.get(name)) for name in ("WindowCenter", "WindowWidth"))
    if center is None or width is None or width <= 0:
        return None
    told = str(dataset.get("VOILUTFunction") or "LINEAR")
    function: Function = "LINEAR"
    if told == "SIGMOID":
        function = "SIGMOID"
    elif told == "LINEAR_EXACT" or width < 1:
        function = "LINEAR_EXACT"
    return Window(center, width, function)


def _first(value: object) -> float | None:
    if isinstance(value, MultiValue | list):
        value = next(iter(value), None)
    try:
        number = float(str(value))
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _stored_bits(dataset: Dataset, dtype: np.dtype[Any]) -> int:
    stored = dataset.get("BitsStored")
    return int(stored) if isinstance(stored, int) else 8 * dtype.itemsize


def _bytes_of(samples: npt.NDArray[Any], bits: int | None = None) -> Pixels:
    """Return the 8 highest of the bits that samples have."""
    bits = 8 * samples.dtype.itemsize if bits is None else bits
    if bits > 8:
        samples = samples >> (bits - 8)
    return np.ascontiguousarray(np.clip(samples, 0, 255), np.uint8)


def _from_ycbcr(samples: npt.NDArray[np.float32]) -> Pixels:
    """Return red, green and blue of Y, Cb, Cr (PS3.3 C.7.6.3.1.2)."""
    y, cb, cr = samples[..., 0], samples[..., 1] - 128, samples[..., 2] - 128
    rgb = np.stack((y + 1.402 * cr, y - 0.344136 * cb - 0.714136 * cr, y + 1.772 * cb), axis=-1)
    return np.asarray(np.clip(np.rint(rgb), 0, 255), np.uint8)
