"""Keep the compressed streams of a chunk in its record, and give them back."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tilepress.codecs.grid import Grid
from tilepress.codecs.record import unpack_record
from tilepress.codecs.registry import kept_streams as streams_taker
from tilepress.errors import InvalidRecord, TooMuchMemory, UnsupportedArray, UnsupportedFormat
from tilepress.pipeline.image.streams import Streams

__all__ = [
    "IRREVERSIBLE",
    "WHAT_IS_IRREVERSIBLE",
    "WHAT_IS_LOSSY",
    "are_recoded",
    "keep_streams",
    "kept_streams",
]

IRREVERSIBLE = "irreversible_streams"
"""Attribute of a store some of whose records have checksums of streams, not of samples."""

WHAT_IS_IRREVERSIBLE = (
    "lossy streams are kept: another decoder may give other samples, within their standard"
)

WHAT_IS_LOSSY = "coded lossily: another decoder may give other samples, within the codec's standard"
"""The same of a store whose streams are its own."""


def keep_streams(
    kept: Streams, samples: npt.NDArray[np.generic], chunk: tuple[int, ...], fill: float | int
) -> bytes | None:
    """Return a record of streams that decode to ``samples``; None where these are not theirs.

    samples : clipped to the image, (…, y, x); what is beyond them in the chunk decodes to ``fill``.
    """
    frames = len(kept.streams) // (kept.rows * kept.columns)
    planes = np.ascontiguousarray(samples)
    if planes.ndim > 2:
        planes = planes.reshape(-1, *planes.shape[-2:])
    if not _are_first(samples.shape[:-2], chunk[:-2]):
        return None
    shape = chunk if len(chunk) == 2 else (int(np.prod(chunk[:-2])), *chunk[-2:])
    grid = Grid(frames, kept.rows, kept.columns, kept.height, kept.width)
    try:
        return _encode(kept, planes, grid, shape, fill)
    except (UnsupportedArray, UnsupportedFormat, TooMuchMemory):
        return None


def _encode(
    kept: Streams,
    planes: npt.NDArray[np.generic],
    grid: Grid,
    shape: tuple[int, ...],
    fill: float | int,
) -> bytes:
    if are_recoded(kept):
        from tilepress.codecs.jpeg.codec import encode as recode  # here: it loads the compiler

        return recode(
            kept.streams, planes, grid=grid, tables=kept.tables, shape=shape, fill=fill
        )  # fmt: skip
    from tilepress.codecs.passed.codec import encode

    return encode(
        kept.streams, planes, family=kept.family, grid=grid, shape=shape, fill=fill,
        lossless=kept.lossless,
    )  # fmt: skip


def are_recoded(kept: Streams) -> bool:
    """Whether streams take fewer bytes in a record than by themselves: no coder of samples need
    be tried beside, where nothing may be lost."""
    return kept.family == "jpeg"


def _are_first(present: tuple[int, ...], whole: tuple[int, ...]) -> bool:
    """Whether places along leading axes are the first ones of a chunk, in C order."""
    cut = [at for at, (a, b) in enumerate(zip(present, whole, strict=True)) if a != b]
    return not cut or (len(cut) == 1 and all(n == 1 for n in whole[: cut[0]]))


def kept_streams(record: bytes | memoryview) -> list[bytes | None]:
    """Return the streams of a record that keeps them, as they came. Raises InvalidRecord."""
    take = streams_taker(unpack_record(record)[0].coder)
    if take is None:
        raise InvalidRecord("taking streams out of a record: it keeps none")
    return take(record)
