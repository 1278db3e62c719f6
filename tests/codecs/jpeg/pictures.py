"""JPEG streams of made images, as libjpeg-turbo writes and reads them."""

from __future__ import annotations

import warnings
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt
from rasterio.io import MemoryFile

__all__ = ["abbreviated", "as_planes", "jpeg", "picture", "progressive", "samples_of"]


def picture(height: int, width: int, seed: int = 0, bands: int = 3) -> npt.NDArray[np.uint8]:
    """Return an image with edges, slopes and some noise, (y, x, bands) or (y, x)."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width].astype(float)
    out = np.empty((height, width, bands))
    for band in range(bands):
        a, b, c = rng.uniform(0.01, 0.15, 3)
        out[..., band] = 128 + 70 * np.sin(a * y + b * x) + 40 * (np.sin(c * x * y / 20) > 0.3)
    out += rng.normal(0, 6, out.shape)
    image = out.clip(0, 255).astype(np.uint8)
    return image if bands > 1 else image[..., 0]


def jpeg(
    image: npt.NDArray[Any], quality: int = 80, sampling: str = "420", **options: Any
) -> bytes:
    """Return the stream of an image."""
    if image.ndim == 3:
        options["subsampling"] = sampling
    return bytes(imagecodecs.jpeg_encode(image, level=quality, **options))


def progressive(image: npt.NDArray[Any], quality: int = 80) -> bytes:
    """Return the progressive stream of an image, as the IJG's library in GDAL writes it."""
    planes = as_planes(image)
    options = {"driver": "JPEG", "quality": quality, "progressive": True, "dtype": "uint8"}
    count, height, width = planes.shape
    with warnings.catch_warnings(), MemoryFile() as memory:
        warnings.simplefilter("ignore")  # of files without a place on Earth
        with memory.open(count=count, height=height, width=width, **options) as file:
            file.write(planes)
        return bytes(memory.read())


def as_planes(image: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return (planes, y, x) of an image."""
    return np.ascontiguousarray(image[None] if image.ndim == 2 else image.transpose(2, 0, 1))


def samples_of(stream: bytes, **options: Any) -> npt.NDArray[Any]:
    """Return what libjpeg-turbo makes of a stream, (planes, y, x)."""
    return as_planes(imagecodecs.jpeg_decode(stream, **options))


def abbreviated(stream: bytes) -> tuple[bytes, bytes]:
    """Return a stream as TIFF keeps it: its tables apart, and itself without them."""
    tables, rest = bytearray(stream[:2]), bytearray(stream[:2])
    at = 2
    while stream[at + 1] != 0xDA:
        end = at + 2 + int.from_bytes(stream[at + 2 : at + 4], "big")
        (tables if stream[at + 1] in (0xDB, 0xC4) else rest).extend(stream[at:end])
        at = end
    return bytes(tables + b"\xff\xd9"), bytes(rest + stream[at:])
