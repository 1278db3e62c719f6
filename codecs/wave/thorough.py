"""The linear path that takes least of all there are, judged on the whole plane (encoder only).

``following.py`` judges some rows, without trees: that is sooner done, and wrong by up to a percent.
Here weights are fitted to every sample, then once more by the errors that they leave, and each path
is priced as it would be coded, tree included.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tilepress.codecs.wave.backend import Coding, LinearPath, PlaneToEncode, Prediction
from tilepress.codecs.wave.choices import gain_costs, plain_coding, with_tree
from tilepress.codecs.wave.following import Following, blended, may_follow
from tilepress.codecs.wave.layout import MAX_SETS
from tilepress.codecs.wave.linear import fit_linear, refit_linear, up_of
from tilepress.codecs.wave.model import WaveModel
from tilepress.codecs.wave.native.planes import predict_plane
from tilepress.codecs.wave.native.structures import Sheared
from tilepress.codecs.wave.plane_format import pack_linear

__all__ = ["Best", "best_path"]

_NEAR = 1.03
"""Of what the best path takes without a tree: others that take more are tried with none."""
_FOLLOWED_LANES = 4
"""Lanes at most of planes whose weights follow: each costs 3 bytes, no GPU decodes such planes, and
a processor has enough to overlap with four."""

_FEW_BITS = 3.5
"""A sample: up to that gain and flags are chosen by what the plane takes with a tree."""
_LOW_GAIN, _NEXT_GAINS = 2, (1, 4)
"""The gain that is tried beside the one which leaves least errors, and those next to it."""


class Best(NamedTuple):
    """A path of a plane, and how to code the plane with it."""

    path: LinearPath
    packed: bytes
    coding: Coding


class _Tried(NamedTuple):
    """A path without a tree."""

    path: LinearPath
    packed: bytes
    found: Prediction
    coding: Coding
    bits: float
    """Of the coding."""


def best_path(
    plane: PlaneToEncode,
    prior: npt.NDArray[np.int32],
    step_bits: int,
    model: WaveModel,
    following: Following,
) -> Best:
    """Return the path of a plane that takes least, and how to code the plane with it.

    plane : all of it, its own weights not yet fitted; prior, step_bits : as ``fit_linear`` takes
    them. Of paths that take the same the first wins: fixed weights, refitted, those that follow.
    """

    def tried(path: LinearPath, found: Prediction | None = None) -> _Tried:
        there = plane._replace(linear=path)
        found = predict_plane(there) if found is None else found
        packed = pack_linear(path, step_bits, plane.n_refs)
        return _Tried(path, packed, found, *plain_coding(there, found, model))

    # one more set may go along, to which weights that follow are added
    fitted = tried(fit_linear(*plane[:7], prior, step_bits, most=MAX_SETS - 1, every=True))
    again = refit_linear(Sheared.of(plane), fitted.path, fitted.found.errors, prior, step_bits)
    ways = [fitted, tried(again)]
    if may_follow(plane.height, plane.width):
        fixed = min(ways, key=_plain_bits).path
        alone = fit_linear(*plane[:7], prior, step_bits, quick=True, every=True)
        up = up_of(fixed.thresholds)
        add = [replace(alone, memory=memory, far=far, up=up) for memory, far in following.tried]
        for paths in (add, [blended(fixed, one) for one in add]):
            ways.append(tried(*_least_errors(plane, paths)))
    near = _NEAR * min(map(_plain_bits, ways))
    best: tuple[float, _Tried, Coding] | None = None
    for way in ways:
        if _plain_bits(way) > near:
            continue
        there = plane._replace(linear=way.path)
        coding, bits = with_tree(there, way.found, model, way.coding, way.bits)
        bits += 8 * len(way.packed)
        if best is None or bits < best[0]:
            best = bits, way, coding
    assert best is not None
    bits, way, coding = best
    if bits <= _FEW_BITS * len(coding.folded):
        there = plane._replace(linear=way.path)
        coding = _searched(there, way, model, coding, bits - 8 * len(way.packed))
    if way.path.memory:
        coding = coding._replace(lanes=_FOLLOWED_LANES)
    return Best(way.path, way.packed, coding)


def _searched(
    plane: PlaneToEncode, way: _Tried, model: WaveModel, coding: Coding, bits: float
) -> Coding:
    """Return how to code a plane by the gain, and with flags or none, that take least with a tree.

    coding, bits : by the gain that leaves least errors, with flags where they pay without a tree.
    Of what takes the same the first wins.
    """
    gain, flagged = way.coding.choices.gain, bool(way.coding.choices.match_levels.any())
    may_match = way.coding.candidates.size > 0
    best, known = (bits, coding), {(gain, flagged)}

    def takes_less(gain: int, flagged: bool) -> bool:
        nonlocal best
        if (gain, flagged) in known:
            return False
        known.add((gain, flagged))
        plain, bits = way.coding, way.bits
        if gain != plain.choices.gain:
            plain, bits = plain_coding(plane, way.found, model, gain)
        coding, bits = with_tree(plane, way.found, model, plain, bits, flagged)
        less = bits < best[0]
        best = (bits, coding) if less else best
        return less

    if may_match and takes_less(gain, not flagged):
        flagged = not flagged
    if model.hidden and (takes_less(_LOW_GAIN, flagged) or gain == _LOW_GAIN):
        for other in _NEXT_GAINS:
            takes_less(other, flagged)
        if may_match:
            takes_less(best[1].choices.gain, not flagged)
    return best[1]


def _plain_bits(way: _Tried) -> float:
    return way.bits + 8 * len(way.packed)


def _least_errors(plane: PlaneToEncode, paths: list[LinearPath]) -> tuple[LinearPath, Prediction]:
    """Return the first of the paths whose errors are least, and what it predicts."""
    best: tuple[int, LinearPath, Prediction] | None = None
    for path in paths:
        found = predict_plane(plane._replace(linear=path))
        costs = gain_costs(found.linears, found.corrections, found.samples[0], found.begins)
        if best is None or costs.min() < best[0]:
            best = int(costs.min()), path, found
    assert best is not None
    return best[1], best[2]
