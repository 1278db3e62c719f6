"""Draw the samples of a frame as its header says: window, lookup tables, colours.

The steps of PS3.3 C.11: modality, values of interest, presentation. Grey of 8 bits comes out, or
red, green and blue.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
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


MOST_ENTRIES, MOST_NUMBERS = 2**16, 2**18
"""Of a table of colours: entries, and numbers that tell them by segments."""
_DISCRETE, _INDIRECT = 0, 2


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
            for name in ("Red", "Green", "Blue", "Alpha"):
                _check_segments(dataset, name)
            return _bytes_of(apply_color_lut(samples[0], dataset))
        if len(samples) >= 3:
            rgb = np.moveaxis(samples[:3], 0, -1)
            if photometric in ("YBR_FULL", "YBR_FULL_422"):
                return _from_ycbcr(rgb.astype(np.float32))
            return _bytes_of(rgb, _stored_bits(dataset, samples.dtype))
        grey = _windowed(samples[0], dataset, window)
        return 255 - grey if photometric == "MONOCHROME1" else grey


def _check_segments(dataset: Dataset, name: str) -> None:
    """Raise ValueError for a table of segments (PS3.3 C.7.9.2) that becomes more than a table has.

    A segment of a few numbers makes up to 65535 entries, and pydicom makes whatever is told.
    """
    data = dataset.get(f"Segmented{name}PaletteColorLookupTableData") or b""
    wide = dataset.RedPaletteColorLookupTableDescriptor[2] > 8
    numbers = np.frombuffer(data[: len(data) & -2], "<u2" if wide else "u1")
    if len(numbers) > MOST_NUMBERS or _entries(numbers.tolist(), wide, len(numbers)) > MOST_ENTRIES:
        raise ValueError("a table of segments is larger than any table")


def _entries(numbers: Sequence[int], wide: bool, segments: int, *, again: bool = False) -> int:
    """Return how many entries some segments become, and a little for the work that they make.

    Those that are read ``again``, for one that repeats others, may repeat none themselves.
    """
    entries = at = 0
    while at + 1 < len(numbers) and segments > 0 and entries <= MOST_ENTRIES:
        kind, length = numbers[at : at + 2]
        at += 2
        segments -= 1
        if kind != _INDIRECT:
            entries += max(1, length)
            at += length if kind == _DISCRETE else 1
        elif again:
            return MOST_ENTRIES + 1
        else:
            bits, told = (16, numbers[at : at + 2]) if wide else (8, numbers[at : at + 4])
            start = sum(part << bits * place for place, part in enumerate(told))
            entries += (
                1 + len(numbers) // 1024 + _entries(numbers[start:], wide, length, again=True)
            )
            at += len(told)
    return entries


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
