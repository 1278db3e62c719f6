"""Coefficients to samples as the libjpeg of JPEG's committee gives them (Thomas Richter's).

pydicom reads JPEG by it (pylibjpeg). It carries four bits more than samples have through transform
and upsampling, with constants of nine bits, and rounds and cuts off at the end alone. One pixel of
eight sees its right neighbour as it was just made, not the sample that it was made of.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tilepress.codecs.wave.compiled import jit

__all__ = ["FRACTION", "fine_samples", "fine_upsample"]

FRACTION = 4
"""Bits that samples have behind the point until the end."""

_BITS = 9
_C0_298, _C0_390, _C0_541, _C0_765 = 153, 200, 277, 392
_C0_899, _C1_175, _C1_501, _C1_847 = 461, 602, 769, 946
_C1_961, _C2_053, _C2_562, _C3_072 = 1004, 1051, 1312, 1573


@jit
def _transform(s: Any, at: int, step: int, shift: int) -> None:
    """One dimension of eight numbers in place, rounded by ``shift`` bits."""
    half = np.int64(1) << (shift - 1)
    z2, z3 = s[at + 2 * step], s[at + 6 * step]
    z1 = (z2 + z3) * _C0_541
    even2, even3 = z1 - z3 * _C1_847, z1 + z2 * _C0_765
    even0 = (s[at] + s[at + 4 * step]) << _BITS
    even1 = (s[at] - s[at + 4 * step]) << _BITS
    a0, a3, a1, a2 = even0 + even3, even0 - even3, even1 + even2, even1 - even2
    o0, o1, o2, o3 = s[at + 7 * step], s[at + 5 * step], s[at + 3 * step], s[at + step]
    z1, z2, z3, z4 = o0 + o3, o1 + o2, o0 + o2, o1 + o3
    z5 = (z3 + z4) * _C1_175
    o0, o1, o2, o3 = o0 * _C0_298, o1 * _C2_053, o2 * _C3_072, o3 * _C1_501
    z1, z2 = -z1 * _C0_899, -z2 * _C2_562
    z3, z4 = z5 - z3 * _C1_961, z5 - z4 * _C0_390
    o0 += z1 + z3
    o1 += z2 + z4
    o2 += z2 + z3
    o3 += z1 + z4
    s[at] = (a0 + o3 + half) >> shift
    s[at + 7 * step] = (a0 - o3 + half) >> shift
    s[at + step] = (a1 + o2 + half) >> shift
    s[at + 6 * step] = (a1 - o2 + half) >> shift
    s[at + 2 * step] = (a2 + o1 + half) >> shift
    s[at + 5 * step] = (a2 - o1 + half) >> shift
    s[at + 3 * step] = (a3 + o0 + half) >> shift
    s[at + 4 * step] = (a3 - o0 + half) >> shift


@jit
def fine_samples(
    blocks: Any, first: int, stride: int, rows: int, columns: int, steps: Any, bits: int, out: Any
) -> None:
    """Fill ``out``, (8·rows, 8·columns) int64, with samples in sixteenths, not cut off.

    blocks : (n, 64) int16, row by row; steps : (64,) int64 of the quantisation table.
    """
    s = np.empty(64, np.int64)
    middle = np.int64(1) << (bits - 1 + FRACTION + 3)
    for row in range(rows):
        for column in range(columns):
            block = blocks[first + row * stride + column]
            for k in range(64):
                s[k] = (np.int64(block[k]) * steps[k]) << FRACTION
            s[0] += middle
            for k in range(8):
                _transform(s, 8 * k, 1, _BITS)
            for k in range(8):
                _transform(s, k, 8, _BITS + 3)
            for y in range(8):
                for x in range(8):
                    out[row * 8 + y, column * 8 + x] = s[8 * y + x]


@jit
def fine_upsample(
    plane: Any, rows: int, columns: int, by_v: int, by_h: int, bits: int, out: Any
) -> None:
    """Fill ``out``, (height, width) uint16, from a component's samples in sixteenths.

    rows, columns : how many of the component's samples are real; by_v, by_h : 1 or 2.
    """
    height, width = out.shape
    top = (np.int64(1) << bits) - 1
    half = np.int64(1) << (FRACTION - 1)
    line = np.empty(columns, np.int64)
    for y in range(height):
        near = y // by_v
        if by_v == 2:
            far = min(max(near + (1 if y & 1 else -1), 0), rows - 1)
            for x in range(columns):
                rounding = 2 - (x + y + by_h - 1 & 1)
                line[x] = (plane[far, x] + 3 * plane[near, x] + rounding) >> 2
        else:
            line[:] = plane[near, :columns]
        for x in range(width):
            if by_h == 1:
                value = line[x]
            else:
                n = x >> 1
                own, right = 3 * line[n], line[min(n + 1, columns - 1)]
                if x & 7 == 1:
                    right = (line[n] + 3 * right + 2) >> 2
                left = line[max(n - 1, 0)]
                value = (right + own + 1) >> 2 if x & 1 else (left + own + 2) >> 2
            out[y, x] = min(max((value + half) >> FRACTION, 0), top)
