"""Cut windows out of images, as the encoder sees them, for weights to be tuned on."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tilepress.codecs.wave.values import choose_map
from tilepress.errors import SourceError
from tilepress.pipeline.archive.options import EncodeOptions
from tilepress.pipeline.image.grid import ShardGrid, choose_grid
from tilepress.pipeline.image.source import SourceSpec, TileSource
from tilepress.pipeline.sources.open import open_source

if TYPE_CHECKING:
    from tilepress.codecs.wave.train import TrainingImage

__all__ = ["MAX_WINDOWS", "MIN_SIDE", "as_coded", "as_planes", "colours", "sample_windows"]

Samples = npt.NDArray[Any]

MAX_WINDOWS = 32
"""Windows that weights are tuned on at most, over all images."""

MAX_WINDOW = 512
"""Rows and columns of a window at most."""

MIN_TILE = 64
"""Rows and columns of a window at least, of larger images: less shows too little."""

MAX_PLANES = 4
"""Planes of a window at most."""

MIN_SIDE = 16
"""Rows and columns that are worth learning from."""

MIN_PRESENT = 0.5
"""Share of a window's samples that must not be nodata."""


def sample_windows(
    specs: Sequence[SourceSpec], options: EncodeOptions, room: int
) -> Iterator[TrainingImage]:
    """Yield windows of the images as the encoder sees them: at most MAX_WINDOWS, ``room`` samples.

    Images that cannot be read are passed over here: the run will name them.
    """
    windows = MAX_WINDOWS
    for left, spec in zip(range(len(specs), 0, -1), specs, strict=True):
        share = max(1, -(-windows // left))
        with (
            contextlib.suppress(SourceError, OSError),
            contextlib.closing(open_source(spec)) as source,
        ):
            for image in _windows_of(source, options, share, room // left):
                windows -= 1
                room -= image.planes.size
                yield image
        if windows <= 0 or room <= 0:
            return


def _windows_of(
    source: TileSource, options: EncodeOptions, windows: int, room: int
) -> Iterator[TrainingImage]:
    """Yield at most ``windows`` windows of one image, and one even where there is no room."""
    from tilepress.codecs.wave.train import TrainingImage

    info = source.info
    if info.refusal(options.loss):
        return
    grid, bands = _window_grid(info.shape, info.dtype.itemsize, options.tile)
    for box in grid.sample_chunks(windows):
        samples = source.read(box)
        planes = as_coded(as_planes(samples), info.nodata, options.max_error)
        if planes is None:
            continue
        yield TrainingImage(source.spec.paths[0], "", planes, bands)
        room -= planes.size
        if room <= 0:
            return


def _window_grid(shape: tuple[int, ...], itemsize: int, tile: int) -> tuple[ShardGrid, int]:
    """Return a grid whose chunks are windows, and how many planes are colours of one pixel.

    A window is a record's rows and columns and a few of its planes, colours kept together.
    """
    grid = choose_grid(shape, itemsize, tile=min(MAX_WINDOW, max(MIN_TILE, tile)))
    bands = grid.chunk[-3] if len(shape) > 2 else 1
    leading = (*(1 for _ in shape[:-3]), min(bands, MAX_PLANES)) if len(shape) > 2 else ()
    chunk = (*leading, *grid.chunk[-2:])
    return ShardGrid(shape, chunk, chunk), colours(bands)


def as_planes(samples: Samples) -> Samples:
    """Return samples (…, y, x) as (planes, y, x), the leading axes flattened in C order."""
    return samples.reshape(-1, *samples.shape[-2:])


def colours(bands: int) -> int:
    """Return how many planes are colours of one pixel, which are learned from together."""
    return bands if bands in (3, 4) else 1


def as_coded(
    samples: Samples, nodata: float | int | None, max_error: float
) -> npt.NDArray[np.int64] | None:
    """Return (planes, y, x) samples as the integers that the predictor sees.

    Near-lossless samples are on their grid, absent ones have what lies before them in the row. None
    where there is little to learn: small, mostly nodata, or stored as they are.
    """
    if min(samples.shape[-2:]) < MIN_SIDE:
        return None
    absent = np.zeros(samples.shape, bool)
    if nodata is not None and not math.isnan(nodata):
        absent |= samples == nodata
    if samples.dtype.kind == "f":
        absent |= np.isnan(samples)
    if 1 - absent.mean() < MIN_PRESENT:
        return None
    mapped = choose_map(samples, absent if absent.any() else None, max_error)
    if mapped is None:
        return None
    integers = mapped[1]
    if max_error and samples.dtype.kind != "f":
        step = 2 * int(max_error) + 1
        integers = (integers + step // 2) // step
    integers = _carried_over(integers, absent)
    return integers if np.ptp(integers) else None


def _carried_over(
    integers: npt.NDArray[np.int64], absent: npt.NDArray[np.bool_]
) -> npt.NDArray[np.int64]:
    """Give absent samples the last present one in raster order, so that no cliff surrounds them."""
    if not absent.any():
        return integers
    flat, gone = integers.reshape(-1), absent.reshape(-1)
    last = np.maximum.accumulate(np.where(gone, 0, np.arange(flat.size)))
    filled = flat[last]
    filled[: np.argmin(gone)] = flat[np.argmin(gone)]
    return filled.reshape(integers.shape)
