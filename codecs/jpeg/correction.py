"""What a source's own reader gave otherwise than libjpeg: a difference of few samples, coded."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tilepress.codecs.jpeg.markers import damaged
from tilepress.codecs.jpeg.mixing import CAP, CURVES, FRESH_SLOT, Bytes, State, finish, start
from tilepress.codecs.native.library import bind

__all__ = ["Correction", "decode_correction", "encode_correction"]

Values = npt.NDArray[np.int32]

_SLOTS = 24 * 18 + 27 + 16
"""Of sizes, by 24 contexts; of signs, by 27; of the bits of what is more than 17."""

_LARGE = 17
"""Differences from here on need records that readers of the first ones refuse."""

_MOST_OF_ANY_SIZE = 4
"""One of so many samples at most may be others by any size, as where a chunk's border cuts through
what a decoder of the whole stream smooths; of more, these are not the samples of the streams."""


class Correction(NamedTuple):
    """Differences, coded."""

    code: bytes | memoryview
    of_any_size: bool
    """Whether some are larger than 16."""


_code = bind("tp_code_correction", "lBnwwinnnIHhH", "w")


def _run(state: State, data: Bytes, decoding: bool, any_size: bool, values: Values) -> bool:
    """Code differences, (planes, y, x); says whether they are small and few enough."""
    slots = np.full(_SLOTS, FRESH_SLOT, np.uint32)
    what = (any_size, values, *values.shape, slots)
    return bool(_code(state, data, len(data), decoding, *what, *CURVES))


def encode_correction(values: Values) -> Correction | None:
    """Return the code of differences, (planes, y, x); None where they are too many, or large."""
    is_large = bool(np.abs(values).max() >= _LARGE)
    if is_large and _MOST_OF_ANY_SIZE * np.count_nonzero(values) > values.size:
        return None
    out = np.empty(values.size // 4 + 4096, np.uint8)
    state = start(out, False, CAP)
    if not _run(state, out, False, is_large, values):
        return None
    return Correction(out[: finish(state, out)].tobytes(), is_large)


def decode_correction(correction: Correction, shape: tuple[int, int, int]) -> Values:
    """Return the differences of a code; raises InvalidRecord."""
    values = np.zeros(shape, np.int32)
    code = np.frombuffer(correction.code, np.uint8)
    if not _run(start(code, True, CAP), code, True, correction.of_any_size, values):
        raise damaged("its correction is impossible")
    return values
