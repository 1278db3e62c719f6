"""Tell on which grid a file lies, by a few entries of its header: what may be stacked with it."""

from __future__ import annotations

from typing import BinaryIO

import numpy as np

from tilepress.pipeline.geotiff.drivers import TIFF_MAGICS
from tilepress.pipeline.geotiff.header import SAMPLES, Directory, find_entries

__all__ = ["grid_words"]

WIDTH, LENGTH, BITS, SAMPLE_FORMAT = 256, 257, 258, 339
PIXEL_SCALE, GEO_KEYS = 33550, 34735
_TAGS = (WIDTH, LENGTH, BITS, SAMPLE_FORMAT, SAMPLES, PIXEL_SCALE, GEO_KEYS)

_KINDS = {1: "uint", 2: "int", 3: "float", 4: "uint", 5: "complexint", 6: "complex"}

MODEL_TYPE, PROJECTED = 1024, 1
"""GeoTIFF's key GTModelTypeGeoKey (OGC 19-008r4 §7.4)."""

JP2_HEAD_BYTES = 256
"""The box ihdr comes first in the box jp2h, which follows the signature and ftyp."""


def grid_words(file: BinaryIO, size: int) -> tuple[str, ...]:
    """Return resolution, type and size of a raster's samples, in words that a name may hold.

    Whether files lie in the same place is for whoever stacks them to say: that is an error, and no
    other image. Nothing for what is no TIFF and no JPEG 2000.
    """
    file.seek(0)
    head = file.read(JP2_HEAD_BYTES)
    if head.startswith(TIFF_MAGICS):
        directory = find_entries(file, size, _TAGS)
        return () if directory is None else _of_tiff(directory)
    at = head.find(b"ihdr")
    if at < 0 or len(head) < at + 15:
        return ()
    height, width = (int.from_bytes(head[at + 4 + 4 * i : at + 8 + 4 * i], "big") for i in range(2))
    depth = head[at + 14] + 1 & 0x7F
    return (
        f"{width}x{height}",
        f"{'' if head[at + 14] & 0x80 else 'u'}int{8 if depth <= 8 else 16}",
    )


def _of_tiff(directory: Directory) -> tuple[str, ...]:
    width, height = directory.integer(WIDTH), directory.integer(LENGTH)
    bits = directory.integer(BITS, 1)
    whole = next((n for n in (8, 16, 32, 64) if bits <= n), bits)
    kind = _KINDS.get(directory.integer(SAMPLE_FORMAT, 1), "uint")
    if kind == "float" and whole == 16:
        whole = 32
    shape = f"{width}x{height}"
    scale = directory.entries.get(PIXEL_SCALE)
    resolution = ""
    if scale is not None and len(scale.data) >= 16:
        across = float(np.frombuffer(scale.data, f"{directory.order}f8")[0])
        if 0 < abs(across) < 1e9:
            resolution = f"{across:.6g}{_unit(directory)}"
    return (resolution or shape, f"{kind}{whole}", shape)


def _unit(directory: Directory) -> str:
    """Return "m" for a projected CRS, which mostly has it, "deg" for any other."""
    keys = directory.integers(GEO_KEYS)
    rows = keys[4 : 4 * (keys.size // 4)].reshape(-1, 4)
    model = rows[rows[:, 0] == MODEL_TYPE, 3]
    return "m" if model.size and int(model[0]) == PROJECTED else "deg"
