"""Coefficients to samples as the libjpeg of JPEG's committee gives them (Thomas Richter's).

pydicom reads JPEG by it (pylibjpeg). It carries four bits more than samples have through transform
and upsampling, with constants of nine bits, and rounds and cuts off at the end alone. One pixel of
eight sees its right neighbour as it was just made, not the sample that it was made of.

The loops are those of native/samples.c.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tilepress.codecs.jpeg.samples import Blocks, Samples, Steps
from tilepress.codecs.native.library import bind, check_memory

__all__ = ["fine_samples", "fine_upsample"]

Fine = npt.NDArray[np.int64]

_fine_samples = bind("tp_fine_samples", "hnnnnlwl")
_fine_upsample = bind("tp_fine_upsample", "lnnnnnwHnn", "w")


def fine_samples(
    blocks: Blocks, first: int, stride: int, rows: int, columns: int, steps: Steps, bits: int,
    out: Fine,
) -> None:  # fmt: skip
    """Fill ``out``, (8·rows, 8·columns) int64, with samples in sixteenths, not cut off.

    blocks : (n, 64) int16, row by row; steps : (64,) int64 of the quantisation table.
    """
    _fine_samples(blocks, first, stride, rows, columns, steps, bits, out)


def fine_upsample(
    plane: Fine, rows: int, columns: int, by_v: int, by_h: int, bits: int, out: Samples
) -> None:
    """Fill ``out``, (height, width) uint16, from a component's samples in sixteenths.

    rows, columns : how many of the component's samples are real; by_v, by_h : 1 or 2.
    """
    size = (plane.shape[1], rows, columns, by_v, by_h)
    check_memory(_fine_upsample(plane, *size, bits, out, *out.shape))
