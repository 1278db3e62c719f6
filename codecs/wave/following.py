"""Whether a plane takes weights that follow it (encoder only; FORMAT.md §5.5).

They are tried on some of its rows, beside the weights that it was fitted: what matters is not how
large errors are, but what the plane costs, network and tables included.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from tilepress.codecs.wave.backend import LinearPath, PlaneToEncode
from tilepress.codecs.wave.choices import gain_costs, plain_coding
from tilepress.codecs.wave.layout import MAX_FOLLOWED_ROWS
from tilepress.codecs.wave.linear import up_of
from tilepress.codecs.wave.model import WaveModel
from tilepress.codecs.wave.native.planes import predict_plane

__all__ = ["TRIAL_ROWS", "Following", "follows", "may_follow"]

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
    best = None
    for memory, far in following.tried:
        path = replace(alone, memory=memory, far=far, up=up)
        found = predict_plane(part._replace(linear=path))
        cost = int(
            gain_costs(found.linears, found.corrections, found.samples[0], found.begins).min()
        )
        if best is None or cost < best[0]:
            best = cost, path, found
    assert best is not None
    _, path, found = best
    return path if plain_coding(part, found, model)[1] < at_most else None
