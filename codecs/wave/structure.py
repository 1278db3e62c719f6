"""Find what a plane's histogram and its neighbours give away for nothing (encoder side)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from tilepress.codecs.wave.costs import entropy

__all__ = ["Levels", "choose_references", "cluster_starts", "replication", "used_levels"]


PACKING_SHARE = 0.97
"""A histogram is packed when it uses less than this share of its levels."""

_AROUND = 8
"""Levels to either side that a level is compared with."""
_RARE_SHARE = 0.15
_MIN_AROUND = 24
"""A level is rare with less than that share of a median of at least so many samples."""
_MAX_RARE_SHARE = 0.02
_RARE_GAIN = 0.97
"""Of what a plane costs otherwise, what is left at most where rare levels come last."""
_MAX_RARE_RANGE = 4096

_MIN_CLUSTERS = 8
_MIN_CLUSTER_GAP = 6
"""Empty levels that part clusters in the median; smaller gaps are what packing is for."""
_MIN_CLUSTER_LEVELS = 1.3
"""Levels that a cluster must have in the mean, or there is nothing to part."""


class Levels(NamedTuple):
    """Levels of a plane that is worth packing, (top + 1,) bool each."""

    seen: npt.NDArray[np.bool_]
    rare: npt.NDArray[np.bool_]
    """Of those, the ones that a few samples have among levels that many have: their ranks come
    last, so that they are as good as holes. Graphics drawn over an image leave them."""

    def by_rank(self) -> npt.NDArray[np.int64]:
        """Return (used levels,) the level of each rank: common ones ascending, then rare ones."""
        return np.concatenate([np.flatnonzero(self.seen & ~self.rare), np.flatnonzero(self.rare)])

    def ranks(self) -> npt.NDArray[np.int32]:
        """Return (top + 1,) the rank of each level in use."""
        out = np.zeros(len(self.seen), np.int32)
        by_rank = self.by_rank()
        out[by_rank] = np.arange(len(by_rank))
        return out


def used_levels(
    plane: npt.NDArray[np.int32],
    valid: npt.NDArray[np.bool_] | None,
    top: int,
    *,
    alone: bool = True,
) -> Levels | None:
    """Return the levels that occur, if so few do that packing them is worth it.

    plane : (y, x) int32, 0 … top; valid : (y, x) bool or None for all. Levels may only be rare in a
    plane that refers to none: in each of a series others are, and the series would come apart.
    """
    samples = plane.ravel() if valid is None else plane[valid]
    if top < 2:
        return None
    histogram = np.bincount(samples, minlength=top + 1)
    seen = histogram > 0
    nothing = np.zeros_like(seen)
    plain = Levels(seen, nothing) if _worth_packing(seen, histogram, top) else None
    if not alone or min(plane.shape) < 2:
        return plain
    rare = _rare_levels(histogram)
    if not rare.any() or not _worth_packing(seen & ~rare, histogram, top):
        return plain
    moved = Levels(seen, rare)
    rival = plane if plain is None else plain.ranks()[plane]
    pays = _gradient_cost(moved.ranks()[plane]) < _RARE_GAIN * _gradient_cost(rival)
    return moved if pays else plain


def _worth_packing(seen: npt.NDArray[np.bool_], histogram: npt.NDArray[np.int64], top: int) -> bool:
    few = np.count_nonzero(seen) < PACKING_SHARE * (top + 1)
    return bool(few) and _holes_inside(seen, histogram, top)


def _gradient_cost(plane: npt.NDArray[np.int32]) -> int:
    """Return about what a plane costs: the entropy of what the median edge leaves, in 1/BIT."""
    west, north, north_west = plane[1:, :-1], plane[:-1, 1:], plane[:-1, :-1]
    low, high = np.minimum(west, north), np.maximum(west, north)
    left = plane[1:, 1:] - np.clip(west + north - north_west, low, high)
    return int(entropy(np.bincount((left - left.min()).ravel())))


def _rare_levels(histogram: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Return which levels have far fewer samples than the median of the levels around."""
    rare = np.zeros(len(histogram), np.bool_)
    if len(histogram) > _MAX_RARE_RANGE:
        return rare
    around = sliding_window_view(np.pad(histogram, _AROUND), 2 * _AROUND + 1)
    most = around.max(axis=1)  # no median is above it, and it is found sooner
    few = (histogram > 0) & (most >= _MIN_AROUND) & (histogram < _RARE_SHARE * most)
    medians = np.median(around[few], axis=1)
    rare[few] = (medians >= _MIN_AROUND) & (histogram[few] < _RARE_SHARE * medians)
    if histogram[rare].sum() > _MAX_RARE_SHARE * histogram.sum():
        rare[:] = False
    return rare


def _holes_inside(seen: npt.NDArray[np.bool_], counts: npt.NDArray[np.int64], top: int) -> bool:
    """Whether the holes lie among well-filled levels, not just in a thin tail.

    A level whose neighbourhood of ±8 levels holds many samples and that is yet empty is a hole by
    construction (a gain, a stretch); an empty level where samples are rare is chance.
    """
    histogram = counts.astype(np.float64)
    width = 2 * _AROUND + 1
    smooth = _windowed_sum(histogram, width) / width
    expected_empty = np.exp(-smooth)
    holes = 1.0 - seen
    # bits saved: every sample near a hole saves log2(share of levels in use there)
    share = _windowed_sum(seen.astype(np.float64), width) / width
    gain = float(-(histogram * np.log2(np.maximum(share, 1.0 / width))).sum())
    surprising = float((holes * (1.0 - expected_empty)).sum())
    cost = 0.7 * (top + 1) if surprising < 0.5 * holes.sum() else 0.35 * (top + 1)
    return gain > cost + 64


def cluster_starts(seen: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_] | None:
    """Return (used levels,) bool, where a cluster of levels begins, if levels lie in clusters.

    A few neighbouring levels, a gap, a few levels again: what is left of few original levels after
    a gain that varies a little over the image (reflectance computed per sample, for instance).
    """
    levels = np.flatnonzero(seen)
    gaps = np.diff(levels)
    wide = gaps[gaps > 2]
    if len(wide) < _MIN_CLUSTERS or np.median(wide) < _MIN_CLUSTER_GAP:
        return None
    starts = np.append(True, gaps > max(2, int(np.median(wide)) // 2))
    clusters = int(np.count_nonzero(starts))
    if clusters < _MIN_CLUSTERS or len(levels) < _MIN_CLUSTER_LEVELS * clusters:
        return None
    return starts


def _windowed_sum(values: npt.NDArray[np.float64], width: int) -> npt.NDArray[np.float64]:
    """Sum of the ``width`` values around each; what lies outside counts as 0."""
    padded = np.pad(
        np.concatenate([[0.0], np.cumsum(values)]), (width // 2, width // 2), mode="edge"
    )
    total: npt.NDArray[np.float64] = padded[width:][: len(values)] - padded[: len(values)]
    return total


def _gradients(plane: npt.NDArray[np.int32], stride: int) -> npt.NDArray[np.float64]:
    """Return sampled horizontal plus vertical differences, (n,)."""
    here = plane[1::stride, 1::stride]
    west = plane[1::stride, :-1][:, ::stride]
    north = plane[:-1][::stride, 1::stride]
    return np.asarray(2.0 * here - west - north, np.float64).ravel()


def _detail(plane: npt.NDArray[np.int32], stride: int) -> npt.NDArray[np.int64]:
    """Return (n,) local differences, clipped at four times their median size and scaled to it."""
    g = _gradients(plane, stride)
    limit = 4.0 * np.median(np.abs(g)) + 1.0
    scaled: npt.NDArray[np.int64] = np.rint(np.clip(g, -limit, limit) * (1024.0 / limit)).astype(
        np.int64
    )
    return scaled


def choose_references(
    planes: list[npt.NDArray[np.int32]], candidates: list[list[int]]
) -> list[tuple[int, ...]]:
    """Choose up to two earlier planes for each plane by how well their detail agrees.

    planes : (y, x) int32 each, all of one shape; candidates[i] : earlier planes that plane i may
    use. The first reference has the largest |correlation| of local differences; the second is the
    one that explains most of what the first leaves. None is used below 0.1.
    """
    if not planes:
        return []
    height, width = planes[0].shape
    if height < 4 or width < 4:
        return [()] * len(planes)
    stride = max(1, int(np.sqrt(height * width / 8192)))
    detail = np.stack([_detail(plane, stride) for plane in planes])
    norms = np.sqrt(np.maximum((detail * detail).sum(axis=1), 1).astype(np.float64))

    def agreement(a: int, b: int) -> float:  # of integer sums, so the same on every machine
        return float(detail[a] @ detail[b]) / float(norms[a] * norms[b])

    chosen: list[tuple[int, ...]] = []
    for index, allowed in enumerate(candidates):
        scores = [(abs(agreement(index, c)), c) for c in allowed]
        scores = [s for s in scores if s[0] > 0.1]
        if not scores:
            chosen.append(())
            continue
        first = max(scores)[1]
        r1 = agreement(index, first)
        second, gain = -1, 0.01
        for _, c in scores:
            if c == first:
                continue
            r2, r12 = agreement(index, c), agreement(first, c)
            rest = 1.0 - r12 * r12
            extra = (r2 - r1 * r12) ** 2 / rest if rest > 1e-6 else 0.0
            if extra > gain * (1.0 - r1 * r1 + 1e-9):
                second, gain = c, extra / (1.0 - r1 * r1 + 1e-9)
        chosen.append((first, second) if second >= 0 else (first,))
    return chosen


def replication(plane: npt.NDArray[np.int64]) -> tuple[int, int, int, int] | None:
    """Return (factor y, phase y, factor x, phase x) if blocks of equal samples tile the plane.

    Factors 1 … 8; None when both are 1. Phase is the index of the first block start.
    """
    rows, columns = _blocks(plane), _blocks(plane.T)
    return None if rows[0] == columns[0] == 1 else (*rows, *columns)


def _blocks(plane: npt.NDArray[np.int64]) -> tuple[int, int]:
    """Return factor and phase of the blocks of equal rows."""
    likely = np.zeros(len(plane), np.bool_)
    likely[1:] = (plane[1:, ::61] == plane[:-1, ::61]).all(axis=1)
    if _factor(likely)[0] == 1:
        return 1, 0
    return _factor(_repeated_rows(plane, likely))


def _repeated_rows(
    plane: npt.NDArray[np.int64], likely: npt.NDArray[np.bool_]
) -> npt.NDArray[np.bool_]:
    """Return (rows,): which rows equal the one before, of those that may."""
    repeated = np.zeros(len(plane), np.bool_)
    for y in np.flatnonzero(likely):
        repeated[y] = np.array_equal(plane[y], plane[y - 1])
    return repeated


def _factor(repeated: npt.NDArray[np.bool_]) -> tuple[int, int]:
    """Return the largest factor, 1 … 8, of blocks of rows, and its phase."""
    starts = np.flatnonzero(~repeated[1:]) + 1
    for factor in range(min(8, len(repeated) // 2), 1, -1):
        # every line that is not repeated must begin a block
        phases = set((starts % factor).tolist())
        if len(phases) <= 1:
            return factor, phases.pop() if phases else 0
    return 1, 0
