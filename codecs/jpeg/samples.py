"""Coefficients to samples as libjpeg's default decompressor gives them, in integers.

The slow integer inverse DCT (Loeffler, Ligtenberg and Moschytz, 11 multiplications), triangle
("fancy") upsampling, and the integer tables of YCbCr → RGB of the Independent JPEG Group's library
(IJG), which libjpeg-turbo computes bit by bit alike. The IJG's own versions from 7 on do not
upsample by the triangle: an inverse DCT of 16 points gives twice the samples.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tilepress.codecs.wave.compiled import jit

__all__ = ["component_samples", "larger_samples", "to_rgb", "transform", "upsample"]

_BITS = 13
_C0_298, _C0_390, _C0_541, _C0_765 = 2446, 3196, 4433, 6270
_C0_899, _C1_175, _C1_501, _C1_847 = 7373, 9633, 12299, 15137
_C1_961, _C2_053, _C2_562, _C3_072 = 16069, 16819, 20995, 25172

_LONG = np.array(
    [[8192, 11529, 11363, 11086, 10703, 10217, 9632, 8956],
     [8192, 11086, 9633, 7350, 4433, 1136, -2260, -5461],
     [8192, 10217, 6437, 1136, -4433, -8955, -11363, -11086],
     [8192, 8956, 2260, -5461, -10703, -11086, -6436, 1137],
     [8192, 7350, -2260, -10217, -10703, -3363, 6436, 11529],
     [8192, 5461, -6437, -11529, -4433, 7349, 11363, 3363],
     [8192, 3363, -9633, -8955, 4433, 11529, 2260, -10217],
     [8192, 1136, -11363, -3363, 10703, 5461, -9632, -7350]], np.int64)  # fmt: skip
"""2^13 times what each of 8 coefficients gives to the first 8 of 16 samples, as the sums of the
constants of the IJG's algorithm come out; the last 8 are alike, odd coefficients turned round."""


@jit
def transform(s: Any, at: int, step: int, shift: int) -> None:
    """One dimension of eight numbers in place, rounded by ``shift`` bits."""
    half = np.int64(1) << (shift - 1)
    others = s[at + step] | s[at + 2 * step] | s[at + 3 * step] | s[at + 4 * step]
    others |= s[at + 5 * step] | s[at + 6 * step] | s[at + 7 * step]
    if others == 0:  # most columns: what all that follows comes to
        level = ((s[at] << _BITS) + half) >> shift
        for k in range(8):
            s[at + k * step] = level
        return
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
def component_samples(
    blocks: Any, first: int, stride: int, rows: int, columns: int, steps: Any, bits: int, out: Any
) -> None:
    """Fill ``out``, (8·rows, 8·columns) uint16, from a component's blocks.

    blocks : (n, 64) int16, row by row; steps : (64,) int64 of the quantisation table.
    """
    s = np.empty(64, np.int64)
    middle, top = np.int64(1) << (bits - 1), (np.int64(1) << bits) - 1
    extra = 2 if bits == 8 else 1
    for row in range(rows):
        for column in range(columns):
            block = blocks[first + row * stride + column]
            flat = True
            for k in range(64):
                s[k] = np.int64(block[k]) * steps[k]
                if k and s[k]:
                    flat = False
            if flat:  # what both passes come to
                level = (((s[0] << extra) + (1 << (extra + 2))) >> (extra + 3)) + middle
                out[row * 8 : row * 8 + 8, column * 8 : column * 8 + 8] = min(max(level, 0), top)
                continue
            for k in range(8):
                transform(s, k, 8, _BITS - extra)
            for k in range(8):
                transform(s, 8 * k, 1, _BITS + extra + 3)
            for y in range(8):
                for x in range(8):
                    out[row * 8 + y, column * 8 + x] = min(max(s[8 * y + x] + middle, 0), top)


@jit
def _stretch(s: Any, at: int, step: int, out: Any, to: int, wide: int, shift: int) -> None:
    """One dimension of eight numbers to sixteen."""
    half = np.int64(1) << (shift - 1)
    for j in range(8):
        even, odd = half, np.int64(0)
        for k in range(0, 8, 2):
            even += s[at + k * step] * _LONG[j, k]
            odd += s[at + (k + 1) * step] * _LONG[j, k + 1]
        out[to + j * wide] = (even + odd) >> shift
        out[to + (15 - j) * wide] = (even - odd) >> shift


@jit
def larger_samples(
    blocks: Any, first: int, stride: int, rows: int, columns: int, steps: Any, bits: int,
    high: bool, wide: bool, out: Any,
) -> None:  # fmt: skip
    """As ``component_samples``, of twice the height, the width or both."""
    s, t = np.empty(64, np.int64), np.empty(128, np.int64)
    line = np.empty(16, np.int64)
    middle, top = np.int64(1) << (bits - 1), (np.int64(1) << bits) - 1
    extra = 2 if bits == 8 else 1
    height, width = 16 if high else 8, 16 if wide else 8
    for row in range(rows):
        for column in range(columns):
            block = blocks[first + row * stride + column]
            for k in range(64):
                s[k] = np.int64(block[k]) * steps[k]
            for k in range(8):
                if high:
                    _stretch(s, k, 8, t, k, 8, _BITS - extra)
                else:
                    transform(s, k, 8, _BITS - extra)
            if not high:
                t[:64] = s
            for y in range(height):
                if wide:
                    _stretch(t, 8 * y, 1, line, 0, 1, _BITS + extra + 3)
                else:
                    transform(t, 8 * y, 1, _BITS + extra + 3)
                    line[:8] = t[8 * y : 8 * y + 8]
                for x in range(width):
                    value = min(max(line[x] + middle, 0), top)
                    out[row * height + y, column * width + x] = value


@jit
def _wide(line: Any, size: int, out: Any) -> None:
    """Double a line by the triangle filter; out : 2 · size."""
    out[0] = line[0]
    out[1] = (line[0] * 3 + line[1] + 2) >> 2
    for x in range(1, size - 1):
        out[2 * x] = (line[x] * 3 + line[x - 1] + 1) >> 2
        out[2 * x + 1] = (line[x] * 3 + line[x + 1] + 2) >> 2
    out[2 * size - 2] = (line[size - 1] * 3 + line[size - 2] + 1) >> 2
    out[2 * size - 1] = line[size - 1]


@jit
def _wide_sum(line: Any, size: int, out: Any) -> None:
    """As ``_wide``, of lines that are four times a sample already."""
    out[0] = (line[0] * 4 + 8) >> 4
    out[1] = (line[0] * 3 + line[1] + 7) >> 4
    for x in range(1, size - 1):
        out[2 * x] = (line[x] * 3 + line[x - 1] + 8) >> 4
        out[2 * x + 1] = (line[x] * 3 + line[x + 1] + 7) >> 4
    out[2 * size - 2] = (line[size - 1] * 3 + line[size - 2] + 8) >> 4
    out[2 * size - 1] = (line[size - 1] * 4 + 7) >> 4


@jit
def upsample(
    plane: Any, rows: int, columns: int, by_v: int, by_h: int, fancy: bool, tall: bool, out: Any
) -> None:
    """Fill ``out``, (height, width) uint16, from a component's samples.

    rows, columns : how many of the component's samples are real. tall : components of half the
    height and full width are filtered too, as libjpeg-turbo does from 2.1 on.
    """
    height, width = out.shape
    wide = by_h == 2 and columns > 2
    if fancy and by_v == 1 and wide:
        line, doubled = np.empty(columns, np.int64), np.empty(2 * columns, np.int64)
        for y in range(height):
            line[:] = plane[y, :columns]
            _wide(line, columns, doubled)
            out[y] = doubled[:width]
    elif fancy and by_v == 2 and (wide or (by_h == 1 and tall)):
        line, doubled = np.empty(columns, np.int64), np.empty(2 * columns, np.int64)
        for y in range(height):
            near = y >> 1
            far = min(max(near + (1 if y & 1 else -1), 0), rows - 1)
            for x in range(columns):
                line[x] = np.int64(plane[near, x]) * 3 + np.int64(plane[far, x])
            if by_h == 2:
                _wide_sum(line, columns, doubled)
                out[y] = doubled[:width]
            else:
                for x in range(width):
                    out[y, x] = (line[x] + (2 if y & 1 else 1)) >> 2
    else:
        for y in range(height):
            for x in range(width):
                out[y, x] = plane[y // by_v, x // by_h]


@jit
def to_rgb(planes: Any, bits: int, inverted: bool, green: int) -> None:
    """Turn planes of YCbCr, (≥ 3, n) uint16, to RGB in place.

    inverted : to CMY, as YCCK; green : 2^16 times what of blueness is taken from green.
    """
    middle, top = np.int64(1) << (bits - 1), (np.int64(1) << bits) - 1
    half = np.int64(1) << 15
    for i in range(planes.shape[1]):
        y, cb, cr = np.int64(planes[0, i]), planes[1, i] - middle, planes[2, i] - middle
        r = y + ((91881 * cr + half) >> 16)
        g = y + ((-green * cb - 46802 * cr + half) >> 16)
        b = y + ((116130 * cb + half) >> 16)
        if inverted:
            r, g, b = top - r, top - g, top - b
        planes[0, i] = min(max(r, 0), top)
        planes[1, i] = min(max(g, 0), top)
        planes[2, i] = min(max(b, 0), top)
