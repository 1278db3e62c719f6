"""The samples of a chunk, from its coefficients."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tilepress.codecs.jpeg.layout import Grid
from tilepress.codecs.jpeg.markers import Frame, Refused
from tilepress.codecs.jpeg.samples import component_samples, to_rgb, upsample
from tilepress.codecs.jpeg.stream import Blocks, Place, Stream

__all__ = ["NO_TRANSFORM", "PLAIN_TALL", "TIFF_RGBA", "TURBO", "YCC", "YCCK", "memory_of", "render", "sampling"]

NO_TRANSFORM, YCC, YCCK = 0, 1, 2

TURBO, PLAIN_TALL, TIFF_RGBA = 0, 1, 2
"""How components of fewer samples are spread: smoothed, as libjpeg-turbo does from 2.1 on; the same
but for components of half height and full width, whose samples are repeated, as before; or all
repeated and turned to RGB with the constants of libtiff's TIFFReadRGBA, which GDAL uses for some
files."""


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
    planes = planes[:, :height, :width].reshape(count, -1).copy()
    if colour != NO_TRANSFORM:
        to_rgb(planes, frame.precision, colour == YCCK, 22553 if manner == TIFF_RGBA else 22554)
    if inverted:
        np.subtract((1 << frame.precision) - 1, planes, out=planes)
    target = out[plane : plane + count, top : top + height, left : left + width]
    target[...] = planes.reshape(count, height, width)


def _component(
    stream: Stream, index: int, blocks: Blocks, place: Place, manner: int, out: npt.NDArray[Any]
) -> None:
    frame = stream.frame
    component = frame.components[index]
    by_v, by_h = sampling(frame, index)
    rows, columns = frame.size(index)
    coded = stream.coded[index]
    plane = np.empty((8 * coded[0], 8 * coded[1]), np.uint16)
    steps = stream.steps[index]
    component_samples(blocks, *place, *coded, steps, frame.precision, plane)
    assert component.h * by_h == frame.h_max and component.v * by_v == frame.v_max
    upsample(plane, rows, columns, by_v, by_h, manner != TIFF_RGBA, manner == TURBO, out)


def sampling(frame: Frame, index: int) -> tuple[int, int]:
    """Return how many samples stand for one of a component; raises Refused for parts of one."""
    component = frame.components[index]
    if frame.v_max % component.v or frame.h_max % component.h:
        raise Refused("reading a JPEG stream: its sampling factors are no multiples of one another")
    return frame.v_max // component.v, frame.h_max // component.h


def memory_of(stream: Stream) -> int:
    """Return the bytes that the samples of a stream take while they are made."""
    frame = stream.frame
    count = len(frame.components)
    padded = max((64 * rows * columns for rows, columns in stream.coded), default=0)
    return 4 * count * frame.height * frame.width + 2 * padded + 64 * frame.width
