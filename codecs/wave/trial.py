"""About what a plane takes, for choices between ways to code it: its linear predictions alone.

No network, no tree, and nothing is written.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tilepress.codecs.wave.backend import TreeEffort
from tilepress.codecs.wave.choices import MIN_FIT_SAMPLES, plain_coding
from tilepress.codecs.wave.linear import fit_linear
from tilepress.codecs.wave.model import NO_NETWORK, WaveModel
from tilepress.codecs.wave.native.planes import predict_plane
from tilepress.codecs.wave.plane_encode import fill_absent, to_encode
from tilepress.codecs.wave.plane_format import DecodedPlane, Mask, residuals
from tilepress.codecs.wave.structure import used_levels

__all__ = ["plane_bits"]

_NO_TREE = TreeEffort(0, 0)
_WEIGHT_BITS = 10


def plane_bits(
    samples: npt.NDArray[np.int64],
    mask: Mask | None,
    refs: list[DecodedPlane],
    model: WaveModel,
    *,
    quick: bool = True,
) -> tuple[float, DecodedPlane]:
    """Return about how many bits a plane takes, and what others may refer to.

    samples : (y, x) of fewer than MAX_RANGE levels; mask : (y, x), true where absent, or None;
    quick : with one set of weights.
    """
    height, width = samples.shape
    if mask is not None and not mask.any():
        mask = None
    present = samples if mask is None else samples[~mask]
    low, high = (int(present.min()), int(present.max())) if present.size else (0, 0)
    if low == high:
        zeros = np.zeros(samples.shape, np.int32)
        return 0.0, DecodedPlane(zeros, zeros, mask)
    levels = (samples - low if mask is None else np.where(mask, 0, samples - low)).astype(np.int32)
    top = high - low
    used = used_levels(levels, None if mask is None else ~mask, top, alone=not refs)
    if used is not None:
        levels, top = used.ranks()[levels], len(used.by_rank()) - 1
    first = int(levels.ravel()[0] if mask is None else levels[~mask][0])
    if mask is not None:
        levels = np.ascontiguousarray(levels)
        fill_absent(levels, mask, first)
    plane = to_encode(levels, top, first, refs, mask, model, NO_NETWORK, _NO_TREE)
    if levels.size >= MIN_FIT_SAMPLES:
        prior = model.linear[len(refs)]
        linear = fit_linear(*plane[:7], prior, _WEIGHT_BITS, quick=quick)
        plane = plane._replace(linear=linear)
    found = predict_plane(plane)
    bits = plain_coding(plane, found, model)[1]
    return bits, DecodedPlane(levels, residuals(found.errors, height, width), mask)
