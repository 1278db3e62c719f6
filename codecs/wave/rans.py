"""Symbols to words and back: interleaved rANS, and the raw bits beside it.

Symbols go through a range variant of asymmetric numeral systems (rANS; Duda, arXiv 1311.2540) with
32-bit states and 16-bit words, interleaved over 1, 4, 8 or 32 lanes whose words share one buffer in
symbol order (Giesen, arXiv 1402.3392). Symbol i of a plane belongs to lane i mod lanes.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tilepress.codecs.native.library import bind

__all__ = [
    "LANES",
    "STATE_LOW",
    "TABLE_BITS",
    "lanes_for",
    "pack_raw",
    "rans_encode",
]

TABLE_BITS = 15
"""Frequencies of a table sum to 2^TABLE_BITS."""
STATE_LOW = 1 << 16
"""States of the coder lie in STATE_LOW … 2^32 − 1."""
LANES = (1, 4, 8, 32)
"""Numbers of lanes that a plane's stream may have."""


def lanes_for(words: int, samples: int) -> int:
    """Return the lanes for a stream of ``words``: each costs two to four bytes.

    Many samples get more than one all the same, for a GPU decodes only lanes side by side.
    """
    if words < 400:
        return 1 if samples < 16384 else 4
    return 4 if words < 2500 else 8 if words < 16000 else 32


_rans_encode = bind("tp_rans_encode", "HHnwIH", "n")
_pack_raw = bind("tp_pack_raw", "IBnB", "n")


def rans_encode(
    starts: npt.NDArray[np.uint16], sizes: npt.NDArray[np.uint16], lanes: int
) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint16]]:
    """Return the lanes' states, (lanes,), and the words, (W,), of a symbol stream."""
    count = len(starts)
    states, words = np.empty(lanes, np.uint32), np.empty(count + 1, np.uint16)
    written = _rans_encode(starts, sizes, count, lanes, states, words)
    return states, words[count + 1 - written :]


def pack_raw(bits: npt.NDArray[np.uint32], counts: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Concatenate raw bits, least significant first, (B,)."""
    raw = np.empty(4 * len(bits) + 16, np.uint8)
    return raw[: _pack_raw(bits, counts, len(bits), raw)]
