"""Find the bands that lossy and near-lossless coding would destroy: alpha, masks, flags, classes.

What the user names by a pattern and what the source says come first. Then samples are looked at: a
bound that is as wide as all of a band's values leaves nothing of it, and few values that come again
and again are classes or flags, of which none means nearly the same as its neighbour. All that is
looked at can only err towards lossless coding: the values of a part are among those of the whole.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt

from tilepress.pipeline.archive.options import EncodeOptions
from tilepress.pipeline.image.grid import Box, ShardGrid
from tilepress.pipeline.image.info import BandInfo, ImageInfo
from tilepress.pipeline.image.source import TileSource

__all__ = ["LOOKS", "LOOK_SIDE", "exact_bands", "with_exact"]

LOOKS = 16
"""Windows that are looked at, at most; a band of many values takes one."""

LOOK_SIDE = 256
"""Rows and columns of a window."""

FEW_STEPS = 4
"""A band whose values span fewer steps of the bound is none that can be coded within it."""

FEW_VALUES = 32
"""So many different values, each of them often, are classes."""

MANY_FLAGS = 256
"""So many are flags where most of them lie further apart than a step: then it saves nothing."""

OFTEN = 4
"""How often a value of classes comes, on average, at least."""


def exact_bands(source: TileSource, options: EncodeOptions) -> dict[int, str]:
    """Return the bands, from 0, that have to be lossless though a bound is allowed, and why.

    Nothing where none is allowed. Reads a few windows of the source; raises SourceError.
    """
    info = source.info
    if options.loss.is_lossless:
        return {}
    bands = info.bands or (BandInfo(),) * info.band_count
    found = {}
    for at, band in enumerate(bands):
        names = (info.name, *(PurePosixPath(path).name for path in source.spec.paths))
        named = _is_named(band.names or names, options.lossless_patterns)
        reason = "--lossless-for names it" if named else band.exact
        if reason is not None:
            found[at] = reason
    if info.bands:  # else its format says what its samples are
        rest = [at for at in range(len(bands)) if at not in found]
        found |= _looked_at(source, rest, options.max_error)
    return dict(sorted(found.items()))


def with_exact(info: ImageInfo, exact: Mapping[int, str]) -> ImageInfo:
    """Return what is told of an image of which these bands are lossless though others are not."""
    if not exact:
        return info
    remarks = []
    for reason, bands in groupby(sorted(exact, key=lambda at: (exact[at], at)), exact.__getitem__):
        numbers = [at + 1 for at in bands]
        if len(numbers) == info.band_count:
            remarks.append(f"it is lossless whatever the bound: {reason}")
        elif len(numbers) == 1:
            remarks.append(f"band {numbers[0]} is lossless whatever the bound: {reason}")
        else:
            text = ", ".join(map(str, numbers))
            remarks.append(f"bands {text} are lossless whatever the bound: {reason}")
    return replace(info, exact=dict(exact), remarks=(*info.remarks, *remarks))


def _is_named(names: Iterable[str], patterns: Sequence[str]) -> bool:
    """Whether one of the names fits a pattern, whatever the case."""
    low = [pattern.lower() for pattern in patterns]
    return any(fnmatch.fnmatchcase(name.lower(), pattern) for name in names for pattern in low)


def _looked_at(source: TileSource, bands: Sequence[int], bound: float) -> dict[int, str]:
    """Return those of the bands whose values leave no room for a bound, and why."""
    info = source.info
    seen = {band: _Values(info.bands[band].nodata, info.dtype, bound) for band in bands}
    open_bands = set(bands)
    for box in _windows(info):
        if not open_bands:
            break
        samples = source.read(box)
        at = info.axes.index("band") if "band" in info.axes else None
        for band in sorted(open_bands):
            seen[band].add(samples if at is None else samples.take(band, axis=at))
            if seen[band].reason() is None:
                open_bands.discard(band)
    return {band: reason for band in open_bands if (reason := seen[band].reason()) is not None}


def _windows(info: ImageInfo) -> Iterable[Box]:
    """Yield boxes of all leading axes, drawn all over the image."""
    leading, plane = info.shape[:-2], info.shape[-2:]
    side = tuple(min(LOOK_SIDE, size) for size in plane)
    for box in ShardGrid(plane, side, side).sample_chunks(LOOKS):
        yield Box((*(0 for _ in leading), *box.start), (*leading, *box.stop))


class _Values:
    """The different values of a band, as far as they were seen."""

    def __init__(self, nodata: float | int | None, dtype: np.dtype[Any], bound: float) -> None:
        self._nodata = None if nodata is None else dtype.type(nodata)
        self._step = 2 * bound + 1 if dtype.kind in "ui" else 2 * bound
        self._values: npt.NDArray[Any] = np.empty(0, dtype)
        self._count = 0

    def add(self, samples: npt.NDArray[Any]) -> None:
        present = samples.reshape(-1)
        if present.dtype.kind == "f":
            present = present[np.isfinite(present)]
        if self._nodata is not None:
            present = present[present != self._nodata]
        self._count += present.size
        self._values = np.union1d(self._values, present)

    def reason(self) -> str | None:
        """Say why the band cannot be coded within the bound; None where it can."""
        values = self._values
        if not values.size:
            return "no sample was found to be present"
        span = float(values[-1]) - float(values[0])
        if span < FEW_STEPS * self._step:
            return f"its values span no more than {span:g}"
        few = len(values) <= max(FEW_VALUES, FEW_STEPS * self._step * (values.dtype.kind in "ui"))
        gap = float(np.median(np.diff(values.astype(np.float64)))) if len(values) > 1 else 0.0
        scattered = len(values) <= MANY_FLAGS and gap > self._step
        if (few or scattered) and OFTEN * len(values) <= self._count:
            return f"its samples are classes or flags ({len(values)} values)"
        return None
