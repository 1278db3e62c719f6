"""About what a plane takes, for choices between ways to code it: its linear predictions alone.

No network, no tree, and nothing is written.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tilepress.codecs.native.library import bind
from tilepress.codecs.wave.backend import PlaneToEncode, TreeEffort
from tilepress.codecs.wave.choices import MIN_FIT_SAMPLES, plain_coding
from tilepress.codecs.wave.layout import FEATURES
from tilepress.codecs.wave.linear import fit_linear, plain_linear
from tilepress.codecs.wave.model import WaveModel
from tilepress.codecs.wave.native.planes import predict_plane
from tilepress.codecs.wave.plane_format import (
    NO_MASK,
    DecodedPlane,
    Mask,
    residuals,
    shear_mask,
    shear_references,
)
from tilepress.codecs.wave.structure import used_levels
from tilepress.codecs.wave.wavefront import shear

__all__ = ["plane_bits"]

_NO_NETWORK = (
    np.zeros((0, FEATURES), np.float32), np.zeros(0, np.int32), np.zeros(0, np.int32),
    np.zeros((4, 0), np.float32), np.zeros(3, np.int32), np.zeros(3, np.int32),
)  # fmt: skip
_NO_TREE = TreeEffort(0, 0)
_WEIGHT_BITS = 10

_fill = bind("tp_fill_absent", "iBnnw")


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
    hidden = NO_MASK
    if mask is not None:
        levels, hidden = np.ascontiguousarray(levels), shear_mask(mask)
        _fill(levels, np.ascontiguousarray(mask).view(np.uint8), height, width, first)
    plane = PlaneToEncode(
        shear(levels, first), *shear_references(refs, height, width), len(refs), hidden,
        height, width, top, plain_linear(model.linear[len(refs)]), _NO_NETWORK,
        model.cumulative, model.used, model.lookup, _NO_TREE,
    )  # fmt: skip
    if levels.size >= MIN_FIT_SAMPLES:
        prior = model.linear[len(refs)]
        linear = fit_linear(*plane[:7], prior, _WEIGHT_BITS, quick=quick)
        plane = plane._replace(linear=linear)
    found = predict_plane(plane)
    bits = plain_coding(plane, found, model)[1]
    return bits, DecodedPlane(levels, residuals(found.errors, height, width), mask)
