"""Find the range that errors of lossy coding are measured against."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from tilepress.codecs.loss import Lossy
from tilepress.pipeline.archive.exact import LOOK_SIDE, LOOKS, exact_bands, with_exact
from tilepress.pipeline.archive.hidden import Hidden, has_hidden, hidden_of
from tilepress.pipeline.archive.options import EncodeOptions
from tilepress.pipeline.archive.padding import kept_padding
from tilepress.pipeline.image.grid import Box, ShardGrid, choose_grid
from tilepress.pipeline.image.info import ImageInfo
from tilepress.pipeline.image.source import TileSource

__all__ = ["peak_of", "planned_peak"]


def planned_peak(source: TileSource, options: EncodeOptions) -> float | None:
    """Return the peak that the plan of an image has with a lossy target; None where nothing is lost
    with it, or none is asked for.

    Reads a few windows of the source; raises SourceError.
    """
    exact, loss = exact_bands(source, options), options.loss
    info, nodata, padded = kept_padding(with_exact(source.info, exact), loss)
    if padded or len(exact) == info.band_count or not isinstance(loss, Lossy):
        return None
    hidden = hidden_of(source, replace(loss, visible=has_hidden(info)))
    return peak_of(source, info, nodata, hidden)


def peak_of(
    source: TileSource, info: ImageInfo, nodata: float | int | None, hidden: Hidden | None = None
) -> float:
    """Return the peak of an image's PSNR: 255 for samples of 8 bits, else the range of its values.

    Values are those of a few windows, absent and hidden ones and bands that are lossless left out:
    their range is never wider than that of all, so that a PSNR over it is never flattered. Where
    all of them are hidden, it is that of hidden ones. Raises SourceError.
    """
    if info.dtype.itemsize == 1:
        return 255.0
    low, high = np.inf, -np.inf
    for present in _present(source, info, nodata, hidden):
        if present.size:
            low, high = min(low, float(present.min())), max(high, float(present.max()))
    if not high > low and hidden is not None:  # nothing is seen: levels mean something yet
        return peak_of(source, info, nodata)
    return high - low if high > low else 1.0


def _present(
    source: TileSource, info: ImageInfo, nodata: float | int | None, hidden: Hidden | None
) -> Iterator[npt.NDArray[Any]]:
    at = info.axes.index("band") if "band" in info.axes else None
    for box in _windows(info):
        samples = source.read(box)
        seen = None if hidden is None else ~hidden(box)
        bands = range(1) if at is None else range(box.start[at], box.stop[at])
        for band in bands:
            if band in info.exact:
                continue
            part = samples if at is None else samples.take(band - box.start[at], axis=at)
            values = part.reshape(-1)
            if seen is not None:
                there = seen if at is None else seen.take(band - box.start[at], axis=at)
                values = part[there]
            if values.dtype.kind == "f":
                values = values[np.isfinite(values)]
            absent = info.band_nodata[band] if info.band_nodata is not None else nodata
            if absent is not None:
                with np.errstate(over="ignore"):  # as float64's lowest is of float32
                    values = values[values != values.dtype.type(absent)]
            yield values


def _windows(info: ImageInfo) -> Iterator[Box]:
    """Yield boxes drawn all over the image, along leading axes as long as those of chunks: none of
    them reads a whole volume."""
    *leading, height, width = info.shape
    chunk = choose_grid(info.shape, info.dtype.itemsize).chunk[:-2]
    sides = (*chunk, min(LOOK_SIDE, height), min(LOOK_SIDE, width))
    return ShardGrid((*leading, height, width), sides, sides).sample_chunks(LOOKS)
