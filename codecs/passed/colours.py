"""Red, green and blue of luminance and colour differences (ITU-T T.871: full range, BT.601)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["rgb_of_ycbcr"]

_HALF = 1 << 15


def rgb_of_ycbcr(planes: npt.NDArray[np.integer]) -> npt.NDArray[np.int32]:
    """Return R, G, B (3, y, x) of Y, Cb, Cr of 8 bits, as libjpeg and OpenSlide round them."""
    light, blue, red = planes.astype(np.int32)
    blue, red = blue - 128, red - 128
    found = np.stack(
        [
            light + (91881 * red + _HALF >> 16),
            light + (-22554 * blue - 46802 * red + _HALF >> 16),
            light + (116130 * blue + _HALF >> 16),
        ]
    )
    return found.clip(0, 255)
