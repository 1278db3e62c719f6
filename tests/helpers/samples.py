"""Samples that look like an image."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.uint16]


def smooth(shape: tuple[int, ...], seed: int = 0) -> Samples:
    """Return samples that look like an image: neighbours are alike."""
    steps = np.random.default_rng(seed).integers(-3, 4, shape)
    return (steps.cumsum(-1).cumsum(-2) % 4096).astype(np.uint16)


def smooth_planes(dtype: str, planes: int = 1, seed: int = 3) -> npt.NDArray[Any]:
    """Return planes, (planes, 40, 56), of any dtype; where it has a sign, some samples use it."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:40, :56]
    values = 60 + x + y / 2 + rng.integers(0, 5, (planes, 40, 56))
    if dtype == "bool":
        return np.asarray(values > 100)
    kind = np.dtype(dtype)
    return np.asarray(
        (values * (1.37 if kind.kind == "f" else 1) - (90 if kind.kind != "u" else 0)).astype(kind)
    )
