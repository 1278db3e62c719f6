"""How samples are shown: channels in colours, stretched, absent samples transparent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from tilepress.pipeline.image.grid import Box
from tilepress.pipeline.read.channels import ToldChannel, told_channels
from tilepress.pipeline.read.indices import Index, common_names
from tilepress.pipeline.store.reader import StoreReader

__all__ = [
    "Channel",
    "Look",
    "coloured",
    "look_of",
    "middle_of",
    "reduced",
]

Samples = npt.NDArray[Any]
Pixels = npt.NDArray[np.uint8]
"""(rows, columns, 4): red, green, blue, opacity."""

_UNCOLOURED = (255, 255, 255)
_NATURAL = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}


@dataclass(frozen=True, slots=True)
class Channel:
    """One band, and how bright its samples are."""

    band: int
    low: float
    """Stored value that is black."""
    high: float
    """Stored value that has the whole colour."""
    color: tuple[int, int, int] = _UNCOLOURED


@dataclass(frozen=True, slots=True)
class Look:
    """What of a store is shown, and how."""

    channels: tuple[Channel, ...]
    """Their colours are added."""
    place: Mapping[str, int] = field(default_factory=dict)
    """Number along each axis that is neither band, y nor x; the middle where none is said."""
    index: Index | None = None
    """What is shown in place of the channels, from brown over white to green."""

    @property
    def bands(self) -> list[int]:
        """The bands that are read."""
        if self.index is not None:
            return list(self.index.expression.bands)
        return [channel.band for channel in self.channels]


def look_of(reader: StoreReader) -> Look:
    """Return how a store asks to be shown, by its OME metadata; else by some of its samples.

    Where these tell no colours, and it is known which bands are red, green and blue, those are.
    """
    told = told_channels(reader)
    channels = [
        Channel(band, *one.window, one.color or _UNCOLOURED)
        for band, one in enumerate(told)
        if one.window is not None and one.is_active
    ]
    if all(channel.color == _UNCOLOURED for channel in channels):
        channels = _natural(reader, told) or channels
    if not channels:
        low, high = _sampled(reader)
        channels = [Channel(0, low, high)]
    return Look(tuple(channels), middle_of(reader))


def _natural(reader: StoreReader, told: list[ToldChannel]) -> list[Channel]:
    """Return the bands that are red, green and blue in these colours; none where one is unknown."""
    known = common_names(reader)
    found = []
    for name, color in _NATURAL.items():
        window = told[known[name]].window if name in known else None
        if window is None:
            return []
        found.append(Channel(known[name], *window, color))
    return found


def middle_of(reader: StoreReader) -> dict[str, int]:
    """Return where pictures are at first: the middle slice, the first of any other axis."""
    sides = zip(reader.axes[:-2], reader.shape[:-2], strict=True)
    return {name: (n - 1) // 2 if name == "z" else 0 for name, n in sides if name != "band"}


def _sampled(reader: StoreReader) -> tuple[float, float]:
    """Return the range of most samples of the middle of the first plane."""
    shape = reader.shape
    start = [0] * (len(shape) - 2) + [max(0, (n - 512) // 2) for n in shape[-2:]]
    stop = [1] * (len(shape) - 2) + [
        min(n, a + 512) for a, n in zip(start[-2:], shape[-2:], strict=True)
    ]
    samples = reader.read(Box(tuple(start), tuple(stop))).astype(np.float64)
    nodata = reader.attrs.get("nodata")
    samples = samples[np.isfinite(samples)]
    if isinstance(nodata, int | float):
        samples = samples[samples != nodata]
    if not samples.size:
        return 0.0, 1.0
    low, high = (float(n) for n in np.percentile(samples, (2, 98)))
    return (low, high) if low < high else (low, low + 1)


def reduced(
    samples: Samples, present: Samples, size: tuple[int, int], classes: bool
) -> tuple[Samples, Samples]:
    """Return (bands, *size) means of what is present, or a sample of each where they are classes.

    The second array says how much of each was present, 0 … 1.
    """
    height, width = samples.shape[-2:]
    rows, columns = size
    if classes or rows > height or columns > width:
        ys = np.minimum((np.arange(rows) + 0.5) * height / rows, height - 1).astype(int)
        xs = np.minimum((np.arange(columns) + 0.5) * width / columns, width - 1).astype(int)
        at = np.ix_(range(len(samples)), ys, xs)
        return samples[at], present[at].astype(np.float32)
    if (rows, columns) == (height, width):
        return samples, present.astype(np.float32)
    ys = np.arange(rows) * height // rows
    xs = np.arange(columns) * width // columns
    weights = present.astype(np.float32)
    filled = np.where(present, samples, 0).astype(np.float32)

    def summed(values: Samples) -> Samples:
        return np.add.reduceat(np.add.reduceat(values, ys, axis=1), xs, axis=2)

    counts = summed(weights)
    cells = np.multiply.outer(np.diff(np.append(ys, height)), np.diff(np.append(xs, width))).astype(
        np.float32
    )
    means = summed(filled) / np.maximum(counts, 1)
    return means, counts / cells


def coloured(
    samples: Samples,
    cover: Samples,
    look: Look,
    palette: npt.NDArray[np.uint8] | None,
) -> Pixels:
    """Return the pixels of (bands, y, x) samples of which ``cover`` says how much is there."""
    rows, columns = samples.shape[-2:]
    pixels = np.zeros((rows, columns, 4), np.float32)
    if look.index is not None:
        values = look.index.values(samples)
        known = np.isfinite(values)
        span = (look.index.high - look.index.low) or 1.0
        with np.errstate(over="ignore"):  # what is beyond all numbers is beyond the colours
            weight = 2 * (np.where(known, values, 0) - look.index.low) / span - 1
            pixels[..., :3] = _diverging(weight.astype(np.float32))
        pixels[..., 3] = 255 * cover.min(axis=0) * known
    elif palette is not None and len(samples) == 1:
        numbers = np.clip(samples[0], 0, len(palette) - 1).astype(int)
        pixels[...] = palette[numbers]
        pixels[..., 3] *= (samples[0] == numbers) * cover[0]
    else:
        for plane, channel in zip(samples, look.channels, strict=True):
            span = channel.high - channel.low
            value = (plane.astype(np.float32) - channel.low) / (span if span else 1)
            bright = np.clip(np.nan_to_num(value), 0, 1)[..., np.newaxis]
            pixels[..., :3] += bright * np.asarray(channel.color, np.float32)
        pixels[..., 3] = 255 * cover.max(axis=0)
    return np.clip(np.rint(pixels), 0, 255).astype(np.uint8)


_BROWN, _WHITE, _GREEN = (
    np.array(c, np.float32) for c in ((140, 81, 10), (245, 245, 245), (1, 102, 94))
)


def _diverging(values: Samples) -> Samples:
    """Return colours of −1 … 1: brown, white, green."""
    weight = np.clip(values, -1, 1)[..., np.newaxis]
    below = _WHITE + (_WHITE - _BROWN) * weight
    return np.asarray(np.where(weight < 0, below, _WHITE + (_GREEN - _WHITE) * weight))
