"""Coefficients to samples as libjpeg's default decompressor gives them, in integers.

The slow integer inverse DCT (Loeffler, Ligtenberg and Moschytz, 11 multiplications), triangle
("fancy") upsampling, and the integer tables of YCbCr → RGB of the Independent JPEG Group's library
(IJG), which libjpeg-turbo computes bit by bit alike. The IJG's own versions from 7 on do not
upsample by the triangle: an inverse DCT of 16 points gives twice the samples.

The loops are those of native/samples.c.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tilepress.codecs.native.library import bind, check_memory

__all__ = ["component_samples", "larger_samples", "to_rgb", "upsample"]

Blocks = npt.NDArray[np.int16]
Samples = npt.NDArray[np.uint16]
Steps = npt.NDArray[np.int64]

_component_samples = bind("tp_component_samples", "hnnnnlwH")
_larger_samples = bind("tp_larger_samples", "hnnnnlwwwH")
_upsample = bind("tp_upsample", "HnnnnnwwHnn", "w")
_to_rgb = bind("tp_to_rgb", "Hnwww")


def component_samples(
    blocks: Blocks, first: int, stride: int, rows: int, columns: int, steps: Steps, bits: int,
    out: Samples,
) -> None:  # fmt: skip
    """Fill ``out``, (8·rows, 8·columns) uint16, from a component's blocks.

    blocks : (n, 64) int16, row by row; steps : (64,) int64 of the quantisation table.
    """
    _component_samples(blocks, first, stride, rows, columns, steps, bits, out)


def larger_samples(
    blocks: Blocks, first: int, stride: int, rows: int, columns: int, steps: Steps, bits: int,
    high: bool, wide: bool, out: Samples,
) -> None:  # fmt: skip
    """As ``component_samples``, of twice the height, the width or both."""
    _larger_samples(blocks, first, stride, rows, columns, steps, bits, high, wide, out)


def upsample(
    plane: Samples, rows: int, columns: int, by_v: int, by_h: int, fancy: bool, tall: bool,
    out: Samples,
) -> None:  # fmt: skip
    """Fill ``out``, (height, width) uint16, from a component's samples.

    rows, columns : how many of the component's samples are real. tall : components of half the
    height and full width are filtered too, as libjpeg-turbo does from 2.1 on.
    """
    ways = (by_v, by_h, fancy, tall)
    check_memory(_upsample(plane, plane.shape[1], rows, columns, *ways, out, *out.shape))


def to_rgb(planes: Samples, bits: int, inverted: bool, green: int) -> None:
    """Turn planes of YCbCr, (≥ 3, n) uint16 of at most 12 bits, to RGB in place.

    inverted : to CMY, as YCCK; green : 2^16 times what of blueness is taken from green.
    """
    _to_rgb(planes, planes.shape[1], bits, inverted, green)
