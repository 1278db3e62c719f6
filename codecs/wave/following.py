"""Whether a plane takes weights that follow it (encoder only; FORMAT.md §5.5, §5.6).

They are tried on some of its rows, beside the weights that it was fitted: what matters is not how
large errors are, but what the plane costs, network and tables included.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from tilepress.codecs.wave.backend import LinearPath, PlaneToEncode
from tilepress.codecs.wave.choices import gain_costs, plain_coding
from tilepress.codecs.wave.layout import MAX_FOLLOWED_ROWS
from tilepress.codecs.wave.linear import up_of
from tilepress.codecs.wave.model import WaveModel
from tilepress.codecs.wave.native.planes import predict_plane

__all__ = ["TRIAL_ROWS", "Following", "blended", "follows", "may_follow"]

TRIAL_ROWS = 64
"""Rows that are tried."""
_MIN_SAMPLES = 1 << 12
"""Samples below which no weights follow."""


@dataclass(frozen=True, slots=True)
class Following:
    """How far the encoder goes for weights that follow a plane."""

    share: float
    """Of its bits that they must save, for they take time in decoding."""
    tried: tuple[tuple[int, int], ...] = ((6, 8), (13, 8))
    """Memory in sixteenths and far taps, each."""


def may_follow(height: int, width: int) -> bool:
    """Whether weights may follow a plane, and can pay."""
    return height <= MAX_FOLLOWED_ROWS and height * width >= _MIN_SAMPLES


def blended(fixed: LinearPath, following: LinearPath) -> LinearPath:
    """Return both as one path, whose predictions are blended; ``following`` has one set."""
    weights = np.concatenate([following.weights, fixed.weights])
    cells = fixed.set_of_cell + np.int32(1)
    where = replace(following, thresholds=fixed.thresholds, set_of_cell=cells)
    return replace(where, weights=weights, blended=True)


def follows(
    part: PlaneToEncode,
    fixed: LinearPath,
    alone: LinearPath,
    extra_bits: float,
    model: WaveModel,
    following: Following,
) -> LinearPath | None:
    """Return the path of a plane where weights that follow it pay, else None.

    part : some of its rows; fixed : its weights; alone : one set of them, to which those that
    follow are added; extra_bits : what ``fixed`` takes more than ``alone``, as far as this part.
    """
    found = predict_plane(part._replace(linear=fixed))
    at_most = (plain_coding(part, found, model)[1] + extra_bits) * (1 - following.share)
    up = up_of(fixed.thresholds)
    tried = [replace(alone, memory=memory, far=far, up=up) for memory, far in following.tried]
    path, bits = _least(part, tried, model)
    if model.form > 3:
        both, bits_of_both = _least(part, [blended(fixed, one) for one in tried], model)
        if bits_of_both + extra_bits < bits:
            path, bits = both, bits_of_both + extra_bits
    return path if bits < at_most else None


def _least(
    part: PlaneToEncode, tried: list[LinearPath], model: WaveModel
) -> tuple[LinearPath, float]:
    """Return the path whose errors are least, and what it takes, weights not counted."""
    best = None
    for path in tried:
        found = predict_plane(part._replace(linear=path))
        cost = int(
            gain_costs(found.linears, found.corrections, found.samples[0], found.begins).min()
        )
        if best is None or cost < best[0]:
            best = cost, path, found
    assert best is not None
    _, path, found = best
    return path, plain_coding(part, found, model)[1]
