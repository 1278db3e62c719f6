"""Keep the compressed streams of a chunk in its record, and give them back."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tilepress.errors import TooMuchMemory, UnsupportedArray
from tilepress.pipeline.image.streams import Streams

__all__ = ["keep_streams", "kept_streams"]


def keep_streams(
    kept: Streams, samples: npt.NDArray[np.generic], chunk: tuple[int, ...], fill: float | int
) -> bytes | None:
    """Return a record of streams that decode to ``samples``; None where these are not theirs.

    samples : clipped to the image, (…, y, x); what is beyond them in the chunk decodes to ``fill``.
    """
    from tilepress.codecs.jpeg.codec import Grid, encode  # here: it loads the compiler

    frames = len(kept.streams) // (kept.rows * kept.columns)
    planes = np.ascontiguousarray(samples)
    if planes.ndim > 2:
        planes = planes.reshape(-1, *planes.shape[-2:])
    if not _are_first(samples.shape[:-2], chunk[:-2]):
        return None
    shape = chunk if len(chunk) == 2 else (int(np.prod(chunk[:-2])), *chunk[-2:])
    try:
        return encode(
            kept.streams,
            planes,
            grid=Grid(frames, kept.rows, kept.columns, kept.height, kept.width),
            tables=kept.tables,
            shape=shape,
            fill=fill,
        )
    except (UnsupportedArray, TooMuchMemory):
        return None


def _are_first(present: tuple[int, ...], whole: tuple[int, ...]) -> bool:
    """Whether places along leading axes are the first ones of a chunk, in C order."""
    cut = [at for at, (a, b) in enumerate(zip(present, whole, strict=True)) if a != b]
    return not cut or (len(cut) == 1 and all(n == 1 for n in whole[: cut[0]]))


def kept_streams(record: bytes | memoryview) -> list[bytes | None]:
    """Return the streams of a record that keeps them, as they came. Raises InvalidRecord."""
    from tilepress.codecs.jpeg.codec import streams

    return streams(record)
