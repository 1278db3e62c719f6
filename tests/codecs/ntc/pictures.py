"""Images of integers alone, the same on every machine, and the bundled model."""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt

from tilepress.codecs.ntc.codec import parse_model
from tilepress.codecs.ntc.model import NtcModel
from tilepress.codecs.weights import load_named

__all__ = ["bundled", "dependent", "image"]


def bundled() -> NtcModel:
    return parse_model(load_named("ntc-1").data)


@functools.lru_cache(maxsize=1)
def dependent() -> NtcModel:
    """Return the bundled model's nets with tables for both quantisers, the second's not learned."""
    plain = bundled()
    offsets = np.concatenate([plain.offsets, plain.offsets // 2])
    return NtcModel(plain.nets, np.concatenate([plain.frequencies] * 2), offsets)


def image(height: int, width: int, planes: int = 1, dtype: str = "uint16", seed: int = 0):
    """Return (planes, y, x) with edges, ramps and texture; planes go together."""
    y, x = np.mgrid[:height, :width].astype(np.int64)
    noise = (x * 7919 + y * 104729 + seed * 31) * 2654435761 % 2**32 >> 26
    base = 3 * x + 2 * y + 400 * ((x // 23 + y // 17) % 2) + noise + (x - width // 2) ** 2 // 40
    out: npt.NDArray[np.int64] = np.stack(
        [base * (p + 2) // (p + 3) + 11 * p + (noise * (p + 1) * 3 % 29) for p in range(planes)]
    )
    limits = np.iinfo(dtype)
    if limits.bits == 8:
        out = out // 8 + (limits.min if limits.min else 0)
    elif limits.min:
        out = out - 900
    return np.clip(out, limits.min, limits.max).astype(dtype)
