"""What a source's own reader gave otherwise than libjpeg: a difference of few samples, coded."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tilepress.codecs.jpeg.markers import damaged
from tilepress.codecs.jpeg.mixing import CAP, CURVES, FRESH_SLOT, Bytes, State, finish, start
from tilepress.codecs.native.library import bind

__all__ = ["decode_correction", "encode_correction"]

_SLOTS = 24 * 18 + 27
"""Of sizes, by 24 contexts; of signs, by 27."""


_code = bind("tp_code_correction", "lBnwinnnIHhH", "w")


def _run(state: State, data: Bytes, decoding: bool, values: npt.NDArray[np.int32]) -> bool:
    """Code differences, (planes, y, x); says whether they are small and few enough."""
    slots = np.full(_SLOTS, FRESH_SLOT, np.uint32)
    what = (values, *values.shape, slots)
    return bool(_code(state, data, len(data), decoding, *what, *CURVES))


def encode_correction(values: npt.NDArray[np.int32]) -> bytes | None:
    """Return the code of differences, (planes, y, x); None where they are large or many."""
    out = np.empty(values.size // 4 + 4096, np.uint8)
    state = start(out, False, CAP)
    if not _run(state, out, False, values):
        return None
    return out[: finish(state, out)].tobytes()


def decode_correction(data: memoryview, shape: tuple[int, int, int]) -> npt.NDArray[np.int32]:
    """Return the differences of a code; raises InvalidRecord."""
    values = np.zeros(shape, np.int32)
    code = np.frombuffer(data, np.uint8)
    if not _run(start(code, True, CAP), code, True, values):
        raise damaged("its correction is impossible")
    return values
