"""What a source's own reader gave otherwise than libjpeg: a difference of few samples, coded."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tilepress.codecs.jpeg.markers import damaged
from tilepress.codecs.jpeg.mixing import AT, CAP, FRESH_SLOT, code_plain, finish, start
from tilepress.codecs.wave.compiled import jit

__all__ = ["decode_correction", "encode_correction"]


@jit
def _run(state: Any, data: Any, decoding: bool, values: Any, slots: Any) -> bool:
    """Code differences, (planes, y, x) int32; contexts are those around and in the plane before."""
    planes, height, width = values.shape
    for p in range(planes):
        for y in range(height):
            for x in range(width):
                if not decoding and state[AT] + 64 > len(data):
                    return False
                value = values[p, y, x]
                w = values[p, y, x - 1] if x else 0
                n = values[p, y - 1, x] if y else 0
                near = (values[p, y - 1, x - 1] != 0 if x and y else 0) + (
                    values[p, y - 1, x + 1] != 0 if y and x + 1 < width else 0
                )
                last = values[p - 1, y, x] if p else 0
                context = (((w != 0) * 2 + (n != 0)) * 3 + near) * 2 + (last != 0)
                magnitude = abs(value)
                size = 0
                while size < 17:
                    place = context * 18 + size
                    bit = code_plain(state, data, decoding, magnitude > size, slots, place)
                    if bit == 0:
                        break
                    size += 1
                if size == 17:
                    return False
                if size == 0:
                    values[p, y, x] = 0
                    continue
                sign = 24 * 18 + (w > 0) * 9 + (w < 0) * 18 + (n > 0) * 3 + (n < 0) * 6 + (
                    (last > 0) + 2 * (last < 0)
                )  # fmt: skip
                bit = code_plain(state, data, decoding, value < 0, slots, sign)
                values[p, y, x] = -size if bit else size
    return True


def encode_correction(values: npt.NDArray[np.int32]) -> bytes | None:
    """Return the code of differences, (planes, y, x); None where they are large or many."""
    out = np.empty(values.size // 4 + 4096, np.uint8)
    state = start(out, False, CAP)
    if not _run(state, out, False, values.copy(), _slots()):
        return None
    return out[: finish(state, out)].tobytes()


def decode_correction(data: memoryview, shape: tuple[int, int, int]) -> npt.NDArray[np.int32]:
    """Return the differences of a code; raises InvalidRecord."""
    values = np.zeros(shape, np.int32)
    code = np.frombuffer(data, np.uint8).copy()
    if not _run(start(code, True, CAP), code, True, values, _slots()):
        raise damaged("its correction is impossible")
    return values


def _slots() -> npt.NDArray[np.uint32]:
    return np.full(24 * 18 + 27, FRESH_SLOT, np.uint32)
