"""The samples of a chunk, from its coefficients."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tilepress.codecs.grid import Grid
from tilepress.codecs.jpeg.fine import fine_samples, fine_upsample
from tilepress.codecs.jpeg.markers import Frame, Refused
from tilepress.codecs.jpeg.samples import component_samples, larger_samples, to_rgb, upsample
from tilepress.codecs.jpeg.stream import Blocks, Place, Stream

__all__ = [
    "FINE",
    "IJG",
    "NO_TRANSFORM",
    "PLAIN_TALL",
    "TURBO",
    "YCC",
    "YCCK",
    "can_be_fine",
    "memory_of",
    "render",
    "sampling",
]

NO_TRANSFORM, YCC, YCCK = 0, 1, 2

TURBO, PLAIN_TALL, IJG, FINE = range(4)
"""How components of fewer samples are spread: smoothed, as libjpeg-turbo does from 2.1 on; the same
but for components of half height and full width, whose samples are repeated, as before; or by a
larger inverse DCT, with another constant of green, as the IJG's own library does from 7 on. Or all
of the decoding as the libjpeg of JPEG's committee does it (fine.py)."""


def render(
    grid: Grid, number: int, stream: Stream, blocks: Blocks, places: list[Place], colour: int,
    inverted: bool, manner: int, out: npt.NDArray[Any],
) -> None:  # fmt: skip
    """Put the samples of a stream, the ``number``th of its grid, into ``out``.

    out : (frames · components, rows, columns) of the chunk; what of the stream is beyond its tile
    or the chunk is left out.
    """
    frame = stream.frame
    count = len(frame.components)
    row, column = divmod(number % (grid.rows * grid.columns), grid.columns)
    plane = number // (grid.rows * grid.columns) * count
    top, left = row * grid.height, column * grid.width
    height = min(frame.height, grid.height, out.shape[1] - top)
    width = min(frame.width, grid.width, out.shape[2] - left)
    if height <= 0 or width <= 0:
        return
    planes = np.empty((count, frame.height, frame.width), np.uint16)
    for index in range(count):
        _component(stream, index, blocks, places[index], manner, planes[index])
    flat = planes[:, :height, :width].reshape(count, -1).copy()
    if colour != NO_TRANSFORM:
        to_rgb(flat, frame.precision, colour == YCCK, 22553 if manner == IJG else 22554)
    if inverted:
        np.subtract((1 << frame.precision) - 1, flat, out=flat)
    target = out[plane : plane + count, top : top + height, left : left + width]
    target[...] = flat.reshape(count, height, width)


def _component(
    stream: Stream, index: int, blocks: Blocks, place: Place, manner: int, out: npt.NDArray[Any]
) -> None:
    frame = stream.frame
    by_v, by_h = sampling(frame, index)
    rows, columns = frame.size(index)
    coded = stream.coded[index]
    steps, bits = stream.steps[index], frame.precision
    if manner == FINE:
        fine = np.empty((8 * coded[0], 8 * coded[1]), np.int64)
        fine_samples(blocks, *place, *coded, steps, bits, fine)
        fine_upsample(fine, rows, columns, by_v, by_h, bits, out)
        return
    high, wide = (manner == IJG and by % 2 == 0 for by in (by_v, by_h))
    plane = np.empty((8 * coded[0] << high, 8 * coded[1] << wide), np.uint16)
    if high or wide:
        larger_samples(blocks, *place, *coded, steps, bits, high, wide, plane)
    else:
        component_samples(blocks, *place, *coded, steps, bits, plane)
    upsample(
        plane, rows << high, columns << wide, by_v >> high, by_h >> wide, manner != IJG,
        manner == TURBO, out,
    )  # fmt: skip


def sampling(frame: Frame, index: int) -> tuple[int, int]:
    """Return how many samples stand for one of a component; raises Refused for parts of one."""
    component = frame.components[index]
    if frame.v_max % component.v or frame.h_max % component.h:
        raise Refused("reading a JPEG stream: its sampling factors are no multiples of one another")
    return frame.v_max // component.v, frame.h_max // component.h


def can_be_fine(frame: Frame, colour: int) -> bool:
    """Whether ``FINE`` is known for such streams: components as they are, or of half the size."""
    ratios = (sampling(frame, index) for index in range(len(frame.components)))
    return colour == NO_TRANSFORM and all(v <= 2 and h <= 2 for v, h in ratios)


def memory_of(stream: Stream) -> int:
    """Return the bytes that the samples of a stream take while they are made."""
    frame = stream.frame
    count = len(frame.components)
    padded = max((256 * rows * columns for rows, columns in stream.coded), default=0)
    return 4 * count * frame.height * frame.width + 3 * padded + 64 * frame.width
