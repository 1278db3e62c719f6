"""One file that an export writes: which bands and which window of what a store was made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tilepress.codecs.numbers import number_of

__all__ = ["FilePart"]


@dataclass(frozen=True, slots=True)
class FilePart:
    """One file to write: which bands and which window of it."""

    record: Mapping[str, Any]
    first: int
    """Place of the file's first band along the image's band axis."""
    bands: tuple[int, ...]
    """Bands to write, counted from 0 within the file."""
    window: tuple[int, int, int, int]
    """Rows and columns: top, left, bottom, right."""
    target: Path

    @property
    def height(self) -> int:
        return self.window[2] - self.window[0]

    @property
    def width(self) -> int:
        return self.window[3] - self.window[1]

    @property
    def has_all_bands(self) -> bool:
        return self.bands == tuple(range(self.record["count"]))

    @property
    def is_whole(self) -> bool:
        size = (self.record["height"], self.record["width"])
        return self.has_all_bands and (self.height, self.width) == size

    @property
    def is_pixel_interleaved(self) -> bool:
        return self.record["layout"]["interleave"] == "PIXEL" and len(self.bands) > 1

    @property
    def dtype(self) -> str:
        """Type that the samples are written as: half floats are a float32 of fewer bits."""
        name = str(self.record["dtype"])
        return "float32" if name == "float16" else name

    @property
    def nbits(self) -> int | None:
        """Bits of a sample, where they are fewer than those of its type.

        None, too, where so few cannot hold nodata: GDAL fills what a sparse file lacks with it.
        """
        nbits: int | None = self.record["layout"]["nbits"]
        if self.record["dtype"] == "float16":
            nbits = 16
        return (
            nbits if nbits and all(self._holds(nbits, v) for v in self.per_band("nodata")) else None
        )

    def _holds(self, nbits: int, nodata: Any) -> bool:  # noqa: ANN401  # as JSON has numbers
        value = None if nodata is None else number_of(nodata)
        if value is None or value != value:
            return True
        if self.dtype.startswith("float"):
            with np.errstate(over="ignore"):
                return float(np.float16(value)) == float(np.float32(value))
        return bool(0 <= value < 2**nbits)

    @property
    def sample_bytes(self) -> int:
        name = self.dtype
        sizes = {"complex_int16": 4, "complex64": 8, "complex128": 16}
        return sizes.get(name) or np.dtype(name).itemsize

    def per_band(self, key: str) -> list[Any]:
        """Return a per-band list of the record for the bands to write."""
        return [self.record[key][band] for band in self.bands]
