"""Load what the first picture needs before anybody asks for it.

Decoders of pictures, projections and Zarr's thread are loaded as they are first needed; that would
be in the first request, for which somebody waits.
"""

from __future__ import annotations

import contextlib
import threading

import imagecodecs
import numpy as np

from tilepress.errors import TilepressError
from tilepress.pipeline.read.look import look_of
from tilepress.workflows.serve.shelf import NoSuchStore, Shelf

__all__ = ["warm", "warm_beside"]


def warm_beside(shelf: Shelf) -> threading.Thread:
    """Load it in a thread of its own, which ends with the program, and return that."""
    thread = threading.Thread(target=warm, args=(shelf,), name="tilepress-warm", daemon=True)
    thread.start()
    return thread


def warm(shelf: Shelf) -> None:
    """Draw a first picture of the first store, as small as the store has it.

    What fails is told to who asks for it.
    """
    import pyproj  # noqa: F401  # of the first map tile

    with contextlib.suppress(TilepressError, NoSuchStore, OSError, StopIteration):
        picture = shelf.picture(next(shelf.stores()))
        look = look_of(picture.reader)
        smallest = picture.levels[-1].shape
        side = min(16, *smallest[-2:])
        scale = picture.height / smallest[-2]
        window = (0, 0, round(side * scale), round(side * scale))
        imagecodecs.png_encode(np.ascontiguousarray(picture.region(window, scale, look)))
