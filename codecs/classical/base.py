"""What is told of an established codec: the samples that it takes, and how it is measured.

For sizes it gets the strongest settings that a person would still wait for, for speeds those that a
person would use where time counts. A size is told of data that decoded to the same samples only,
for some codecs take a dtype and silently lose its low bits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from tilepress.codecs.loss import bounded

__all__ = ["Anchor", "Measure", "Samples", "SpeedSetting", "verified"]

Samples = npt.NDArray[Any]

Measure = Callable[[Samples], int | None]
"""Returns verified bytes, or None where the codec refuses such samples or changes them."""


def _no_settings(max_error: float) -> Mapping[str, Measure]:
    return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeedSetting:
    """How a codec is timed on one array: (y, x), or (y, x, 3) where it takes RGB."""

    encode: Callable[[Samples, int], bytes]
    """From samples and number of threads."""
    decode: Callable[[bytes, int], Samples]
    own_threads: bool = False
    """Whether it has threads of its own; else it gets one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchor:
    """An established codec: settings for a plane (y, x), settings for an RGB image (y, x, 3)."""

    library: str
    """Package whose version sizes depend on."""
    plane: Mapping[str, Measure] = field(default_factory=dict)
    rgb: Mapping[str, Measure] = field(default_factory=dict)
    bounded: Callable[[float], Mapping[str, Measure]] = _no_settings
    """From the largest error to the settings that code samples themselves within it."""
    rgb_dtypes: tuple[type, ...] = (np.uint8, np.uint16)
    native: tuple[str, ...] = ()
    """Dtypes that it takes as they are, beside uint8 and uint16."""
    takes_all: bool = False
    """It codes bytes, whatever the dtype."""
    speeds: Mapping[str, SpeedSetting] = field(default_factory=dict)
    """Names begin with the codec's, then a space."""


def verified(
    encode: Callable[[Samples], bytes], decode: Callable[[bytes], Samples], max_error: float = 0
) -> Measure:
    """Return a function that measures samples, or gives None where they do not come back."""

    loss = bounded(max_error)

    def measure(samples: Samples) -> int | None:
        try:
            data = encode(samples)
            back = np.asarray(decode(data)).reshape(samples.shape)
        except (RuntimeError, ValueError):  # the codec's own way to refuse a dtype or size
            return None
        if back.dtype != samples.dtype or loss.forbidden(samples, back).any():
            return None
        return len(data)

    return measure
