"""``view``: noise where values are zero, as strong as the model expects what was lost there.

A decoder that minimises squared error leaves out what it cannot know, so fine texture is too smooth
where few bits were spent. The context model says for every value from which distribution it came: a
Laplace distribution of known scale, of which a zero means the part within the dead zone. ``view``
draws from that part. It costs PSNR and gives back the spectrum and the gradients of the original;
no detail in it is real.

Numbers are drawn by a hash of the plane's checksum and the coefficient's place, from integers, so
that a chunk looks alike whoever reads it, and whenever.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tilepress.codecs.ntc.decoders.remake import BasePlanes
from tilepress.codecs.ntc.layout import HIDDEN, LAPPED, LAPPED_BANDS, TABLES, WAVELET_BANDS
from tilepress.codecs.ntc.model import Net, NtcModel
from tilepress.codecs.ntc.plane import examine_plane, forward, inverse

__all__ = ["fill_zeros", "hashed", "view"]

Floats = npt.NDArray[np.float32]

_MEAN_SIZES = (
    67,
    64,
    71,
    76,
    91,
    113,
    142,
    165,
    185,
    201,
    218,
    236,
    249,
    260,
    268,
    275,
    279,
    281,
    280,
    279,
    277,
    276,
    272,
    271,
    270,
    267,
    264,
    262,
    260,
    258,
    255,
    255,
)
"""Thousandths of a step: what coefficients that the encoder made zero of are on average, by table;
those of the last hold for the tables behind. Measured on training images (decision 60)."""
_DEPENDENT_MEAN_SIZES = tuple(
    tuple(map(int, row.split()))
    for row in (
        "66 86 99 122 138 154 164 175 187 197 207 216 223 224 228 230 "
        "229 230 226 224 223 221 220 219 218 215 218 217 216 218 219 219",
        "85 102 116 137 154 165 172 183 188 196 201 204 204 201 199 196 "
        "192 188 183 179 175 172 171 169 166 167 166 164 167 165 168 168",
    )
)
"""The same of each quantiser of dependent quantisation."""
_SURE = 12
"""Below this table less and less is drawn: the lowest tables stand for anything quieter, too, and
what is drawn there would be seen in flat places."""
_FADES = np.minimum(np.arange(len(_MEAN_SIZES)) / _SURE, 1)


def _sizes_of(means: Sequence[int]) -> Floats:
    return (np.array(means) / 1000 * _FADES * 3**0.5 / 2048).astype(np.float32)


_SIZES = _sizes_of(_MEAN_SIZES)
_DEPENDENT_SIZES = np.stack([_sizes_of(means) for means in _DEPENDENT_MEAN_SIZES])
"""Half the range of noise of that standard deviation, all numbers of it alike likely, over 2048."""
_ROWS = 2**12
"""That go through the net together: their hidden units stay in the cache."""
_EXACT = 2**24
"""Integers below are singles."""


class View:
    """The decoder ``view``."""

    def memory(self, cells: int) -> int:
        return 160 * cells  # features, sums of hidden units in doubles by pieces, places

    def __call__(self, base: BasePlanes) -> Floats:
        maps: list[npt.NDArray[np.uint16]] = []
        for index, plane in enumerate(base.planes):
            before = index - 1 if index % base.bands else index - base.bands
            previous = maps[before] if before >= 0 else None
            maps.append(fill_zeros(base.kind, plane, previous, base.model, base.seeds[index]))
        return base.planes


view = View()


def fill_zeros(
    kind: int,
    plane: Floats,
    previous: npt.NDArray[np.uint16] | None,
    model: NtcModel,
    seed: int,
) -> npt.NDArray[np.uint16]:
    """Draw what zeros of a plane stand for, in place; return the maps of what was decoded.

    plane : (y, x) in steps. A plane of nothing but zeros stays as it is: nothing is known of it.
    previous : the maps of the plane that this one follows, or None.
    """
    coefficients = plane.copy()
    forward(kind, coefficients)
    quantisers = np.empty(plane.size, np.uint8)
    features, bands, values, maps = examine_plane(
        kind, coefficients, previous, 0.5, dependent=model.is_dependent, quantisers=quantisers
    )
    first, total, name = (
        (0, LAPPED_BANDS, "lapped") if kind == LAPPED else (LAPPED_BANDS, WAVELET_BANDS, "wavelet")
    )
    mine = np.flatnonzero((values == 0) & (bands >= first) & (bands < first + total))
    if not values.any() or not len(mine):
        return maps
    rows = bands[mine].astype(np.int64) - first + (total if previous is not None else 0)
    tables = _tables(model.nets[name], features[mine], rows)
    places = _places(kind, *plane.shape)[mine]
    tables = np.minimum(tables, len(_SIZES) - 1)
    sizes = _DEPENDENT_SIZES[quantisers[mine], tables] if model.is_dependent else _SIZES[tables]
    drawn = (hashed(seed, places) >> np.uint32(20)).astype(np.int32) - 2047.5
    coefficients.reshape(-1)[places] = drawn * sizes
    inverse(kind, coefficients)
    plane[:] = coefficients
    return maps


def _tables(
    net: Net, features: npt.NDArray[np.int16], rows: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """Return ``net.tables``, piece by piece, in doubles: they hold all of its integers exactly."""
    weights, second = net.first.astype(np.float64), net.second.astype(np.float64)
    bias = net.bias.reshape(-1, HIDDEN).astype(np.float64)
    base = net.base.reshape(-1).astype(np.float64)
    unit_in, unit_out = (2.0 ** -int(shift) for shift in net.shifts)
    found = np.empty(len(rows), np.int64)
    for start in range(0, len(rows), _ROWS):
        part = slice(start, start + _ROWS)
        hidden = features[part].astype(np.float64) @ weights
        hidden += bias[rows[part]]
        hidden *= unit_in
        np.floor(hidden, out=hidden)
        np.clip(hidden, 0, 32767, out=hidden)
        out = hidden @ second
        out += base[rows[part]]
        found[part] = np.clip(np.floor(out * unit_out), 0, TABLES - 1)
    return found


@functools.lru_cache(maxsize=4)
def _places(kind: int, height: int, width: int) -> npt.NDArray[np.int32]:
    """Return where in a plane each value lies that ``examine_plane`` tells, in its order.

    Values of a lapped plane's means lie nowhere: what stands for them means nothing.
    """
    found = np.zeros(height * width, np.int32)
    for shift in range(0, (height * width).bit_length(), _EXACT.bit_length() - 1):
        digits = np.arange(height * width, dtype=np.int32) >> shift & (_EXACT - 1)
        plane = digits.astype(np.float32).reshape(height, width)
        _, _, values, _ = examine_plane(kind, plane, None, 0.0)
        found[: len(values)] |= values << shift
        count = len(values)
    found = found[:count]
    found.flags.writeable = False
    return found


def hashed(seed: int, places: npt.NDArray[np.integer[Any]]) -> npt.NDArray[np.uint32]:
    """Return 32 bits for each place that look random (the finaliser of MurmurHash3)."""
    h = (places.astype(np.uint64) * np.uint64(0x9E3779B1)).astype(np.uint32)
    h ^= np.uint32(seed & 0xFFFFFFFF)
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        h ^= h >> np.uint32(shift)
        h *= np.uint32(factor)
    return h ^ (h >> np.uint32(16))
