"""Frames of a DICOM file as pydicom decodes them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom
from pydicom.dataset import Dataset
from pydicom.pixels.utils import pixel_array

__all__ = ["frames", "instance_of", "stored_bits", "tile_of"]

Array = npt.NDArray[Any]

_WORDS = (8, 16, 32)


def frames(path: Path, *, raw: bool = True) -> Iterator[Array]:
    """Yield the frames, (…, y, x) each; those of a slide are cut off at its edges.

    Not ``raw``, YCbCr becomes RGB.
    """
    dataset = pydicom.dcmread(path)
    image = pixel_array(dataset, raw=raw)
    if int(dataset.get("SamplesPerPixel") or 1) > 1:
        image = np.moveaxis(image, -1, -3)
    if "TotalPixelMatrixColumns" not in dataset:
        yield image
        return
    count = int(dataset.get("NumberOfFrames") or 1)
    for number, frame in enumerate(image if count > 1 else image[None]):
        top, left = _place(dataset, number)
        rows = int(dataset.TotalPixelMatrixRows) - top
        yield frame[..., :rows, : int(dataset.TotalPixelMatrixColumns) - left]


def stored_bits(path: Path) -> Iterator[Array]:
    """Yield native grey frames without the bits that are not of their values (PS3.5 8.1.1).

    pydicom leaves in what lies above and below them. Nothing of other images.
    """
    dataset = pydicom.dcmread(path)
    syntax, stored = dataset.file_meta.TransferSyntaxUID, int(dataset.BitsStored)
    if (
        syntax.is_encapsulated
        or dataset.SamplesPerPixel != 1
        or dataset.BitsAllocated not in _WORDS
    ):
        return
    word = np.dtype(f"u{dataset.BitsAllocated // 8}")
    words = np.frombuffer(
        dataset.PixelData, word if syntax.is_little_endian else word.newbyteorder(">")
    )
    shape = (-1, int(dataset.Rows), int(dataset.Columns))
    bits = words[: words.size // (shape[1] * shape[2]) * (shape[1] * shape[2])].astype(np.int64)
    values = (bits >> (int(dataset.HighBit) + 1 - stored)) & ((1 << stored) - 1)
    sign = 1 << (stored - 1) if dataset.PixelRepresentation else 0
    yield ((values ^ sign) - sign).reshape(shape)


def tile_of(path: Path) -> tuple[int, int] | None:
    """Return rows and columns of the frames of a slide; None for any other image."""
    dataset = pydicom.dcmread(path, stop_before_pixels=True, force=True)
    if "TotalPixelMatrixColumns" not in dataset:
        return None
    return int(dataset.Rows), int(dataset.Columns)


@lru_cache(maxsize=2**14)
def instance_of(path: Path) -> str | None:
    """Return the SOP Instance UID of a DICOM file; None for any other file."""
    if not path.is_file():
        return None
    try:
        dataset = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=["SOPInstanceUID"])
    except Exception:  # whatever pydicom raises: it is none
        return None
    return str(dataset.get("SOPInstanceUID") or "") or None


def _place(dataset: Dataset, number: int) -> tuple[int, int]:
    """Return the row and column where a frame of a slide begins (PS3.3 C.7.6.17.3)."""
    if dataset.get("DimensionOrganizationType") != "TILED_FULL":
        groups = dataset.get("PerFrameFunctionalGroupsSequence")
        if not groups:
            return 0, 0
        place = groups[number].PlanePositionSlideSequence[0]
        top = int(place.RowPositionInTotalImagePixelMatrix)
        return top - 1, int(place.ColumnPositionInTotalImagePixelMatrix) - 1
    across = -(-int(dataset.TotalPixelMatrixColumns) // int(dataset.Columns))
    down = -(-int(dataset.TotalPixelMatrixRows) // int(dataset.Rows))
    row, column = divmod(number % (across * down), across)
    return row * int(dataset.Rows), column * int(dataset.Columns)
