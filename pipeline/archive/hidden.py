"""Tell which samples nobody sees: behind an image's mask, or where its alpha is 0.

They are coded like others, but a target of lossy coding is not held over them, and the loss that is
stated is not theirs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from tilepress.codecs.loss import Loss, Lossy
from tilepress.pipeline.image.grid import Box
from tilepress.pipeline.image.info import ImageInfo
from tilepress.pipeline.image.source import TileSource, read_level

__all__ = ["Hidden", "has_hidden", "hidden_of"]

Hidden = Callable[[Box], npt.NDArray[np.bool_]]
"""Marks the hidden samples of a box, in its shape. Raises SourceError."""


def has_hidden(info: ImageInfo) -> bool:
    """Whether some samples of an image may be hidden."""
    return info.has_mask or info.alpha_band is not None


def hidden_of(source: TileSource, loss: Loss, level: int | None = 0) -> Hidden | None:
    """Return what marks the hidden samples of a level; None where the loss is not told without.

    A mask is one of the full resolution: at other levels alpha alone hides. ``level`` is None of a
    mask itself.
    """
    if level is None or not (isinstance(loss, Lossy) and loss.visible):
        return None
    info = source.info
    alpha, masked = info.alpha_band, info.has_mask and level == 0
    if alpha is None and not masked:
        return None

    def marks(box: Box) -> npt.NDArray[np.bool_]:
        found: npt.NDArray[Any] = np.zeros((), bool)
        if masked:
            found = found | (source.read_mask(Box(box.start[-2:], box.stop[-2:])) == 0)
        if alpha is not None:
            found = found | (read_level(source, level, _of_band(info, box, alpha)) == 0)
        return np.broadcast_to(found, box.shape)

    return marks


def _of_band(info: ImageInfo, box: Box, band: int) -> Box:
    """Return the place of a box in one of the bands."""
    at = info.axes.index("band")
    start, stop = list(box.start), list(box.stop)
    start[at], stop[at] = band, band + 1
    return Box(tuple(start), tuple(stop))
