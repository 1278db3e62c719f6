"""Read and write the coded bytes of progressive scans (T.81 annex G).

A scan has some of the coefficients, or one more bit of them. Writing follows the IJG's library,
which almost all files come from: runs of blocks without further coefficients are as long as they
may be, and end early where more than 937 bits of correction have gathered.

The loops are those of native/progressive.c.
"""

from __future__ import annotations

import ctypes

import numpy as np
import numpy.typing as npt

from tilepress.codecs.jpeg.huffman import Tables, codes_of, look_ups_of, scan_of
from tilepress.codecs.jpeg.markers import ZIGZAG
from tilepress.codecs.native.library import bind

__all__ = ["decode_scan", "encode_scan"]

_decode = bind("tp_decode_part", "BnnpHlwwww", "n")
_encode = bind("tp_encode_part", "Bnpilwwww", "n")


def decode_scan(
    data: npt.NDArray[np.uint8], start: int, places: npt.NDArray[np.int64], mcus: tuple[int, int],
    restart: int, tables: Tables, blocks: npt.NDArray[np.int16], pads: npt.NDArray[np.int16],
    first: int, last: int, high: int, low: int,
) -> int:  # fmt: skip
    """As ``huffman.decode_scan``, of coefficients first … last, down to bit ``low``.

    tables : one for each component; high : 0, or the bit that was read before.
    """
    scan = scan_of(places, mcus, restart, blocks, pads)
    where, part = ctypes.byref(scan), (first, last, high, low)
    return _decode(data, len(data), start, where, look_ups_of(tables), ZIGZAG, *part)


def encode_scan(
    out: npt.NDArray[np.uint8], places: npt.NDArray[np.int64], mcus: tuple[int, int], restart: int,
    tables: Tables, blocks: npt.NDArray[np.int16], pads: npt.NDArray[np.int16],
    first: int, last: int, high: int, low: int,
) -> int:  # fmt: skip
    """As ``huffman.encode_scan``; tables : one for each component."""
    scan = scan_of(places, mcus, restart, blocks, pads)
    part = (first, last, high, low)
    return _encode(out, len(out), ctypes.byref(scan), codes_of(tables), ZIGZAG, *part)
