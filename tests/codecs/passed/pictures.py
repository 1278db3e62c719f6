"""Small streams of every family, and the samples that they decode to."""

from __future__ import annotations

from typing import Any

import imagecodecs
import numpy as np

ENCODERS = {
    "jpeg2000": (imagecodecs.jpeg2k_encode, imagecodecs.jpeg2k_decode),
    "htj2k": (imagecodecs.htj2k_encode, imagecodecs.jpeg2k_decode),
    "jpegxl": (imagecodecs.jpegxl_encode, imagecodecs.jpegxl_decode),
    "webp": (imagecodecs.webp_encode, imagecodecs.webp_decode),
}

LOSSY: dict[str, dict[str, Any]] = {
    "jpeg2000": {"level": 40},
    "jpegxl": {"level": 80, "lossless": False},
    "webp": {"level": 60, "lossless": False},
}
LOSSLESS: dict[str, dict[str, Any]] = {
    "jpeg2000": {"reversible": True},
    "htj2k": {},
    "jpegxl": {"lossless": True},
    "webp": {"lossless": True},
}


def picture(rows: int, columns: int, bands: int = 3, dtype: str = "uint8") -> np.ndarray:
    """Return an image, bands last, of integers alone."""
    y, x = np.mgrid[:rows, :columns]
    planes = [x * (3 + b) + y * y // (5 + b) + (x * y // 7) % (17 + 9 * b) for b in range(bands)]
    image = (np.stack(planes, axis=-1) * (37 if dtype.endswith("16") else 1)).astype(dtype)
    return image if bands > 1 else image[..., 0]


def stream(kind: str, image: np.ndarray, *, lossy: bool = False) -> bytes:
    options = (LOSSY if lossy else LOSSLESS)[kind]
    return bytes(ENCODERS[kind][0](np.ascontiguousarray(image), **options))


def samples_of(kind: str, data: bytes) -> np.ndarray:
    """Return what a stream decodes to, (bands, y, x)."""
    image = ENCODERS[kind][1](data)
    return np.ascontiguousarray(image[None] if image.ndim == 2 else image.transpose(2, 0, 1))


def family(kind: str) -> str:
    return "jpeg2000" if kind == "htj2k" else kind
