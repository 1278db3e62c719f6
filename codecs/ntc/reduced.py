"""Planes at 1/2, 1/4 or 1/8 of their rows and columns, from low frequencies alone.

What a whole plane would give is linear in its coefficients, and so is the mean of each block of
its samples. With the high frequencies taken as zeros that is a short sum of low ones, down and
across: it is worked out once, from the transforms as FORMAT.md §15.5 has them, and done here
element by element, so that every machine gives the same. It is near to the means, and not them.
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tilepress.codecs.ntc.layout import LAPPED, LAPPED_BANDS
from tilepress.codecs.ntc.plane import band_count, inverse_but, wavelet_levels

__all__ = ["SCALES", "bands_for", "can_reduce", "reduce_plane"]

Floats = npt.NDArray[np.float32]
Matrix = npt.NDArray[np.float64]

SCALES = (2, 4, 8)

_REACH = 3
"""Blocks, or samples of the lowest band, that have a say in one at a distance."""
_WHOLE = 4 * _REACH
"""So many are a signal whose middle knows nothing of its ends."""


def can_reduce(kind: int, height: int, width: int, scale: int) -> bool:
    """Whether a plane has the levels for a scale."""
    return kind == LAPPED or wavelet_levels(height, width) >= int(math.log2(scale))


def bands_for(kind: int, height: int, width: int, scale: int, followers: int) -> int:
    """Return how many bands of a plane, of padded sides, must be decoded.

    followers : planes whose contexts it is, one after another: each looks one frequency further.
    """
    count = band_count(kind, height, width)
    if kind != LAPPED:
        return count - 3 * int(math.log2(scale))
    of_means = count - (LAPPED_BANDS - 1)
    low = 8 // scale - 1
    if not low:
        return of_means  # they follow each other alone
    last = min(2 * low + followers, 14)
    return of_means + sum(1 for v in range(8) for u in range(8) if 0 < v + u <= last)


def reduce_plane(kind: int, plane: Floats, height: int, width: int, scale: int) -> Floats:
    """Return about the means of blocks of a plane, (⌈height / scale⌉, ⌈width / scale⌉), in steps.

    plane : decoded coefficients of padded sides; what it holds is lost.
    """
    rows, columns = -(-height // scale), -(-width // scale)
    if kind == LAPPED:
        low = 8 // scale
        blocks = plane.reshape(plane.shape[0] // 8, 8, plane.shape[1] // 8, 8)
        wanted = np.ascontiguousarray(blocks[:, :low, :, :low].transpose(1, 0, 3, 2))
        across = _apply(wanted, lapped_rule(wanted.shape[3], scale), 2)
        down = _apply(across, lapped_rule(wanted.shape[1], scale), 0)
        whole = down.transpose(1, 0, 3, 2).reshape(wanted.shape[1] * low, wanted.shape[3] * low)
        return np.ascontiguousarray(whole[:rows, :columns])
    inverse_but(plane, int(math.log2(scale)))
    wanted = np.ascontiguousarray(plane[:rows, :columns])[None, :, None, :]
    across = _apply(wanted, wavelet_rule(width, scale), 2)
    return np.ascontiguousarray(_apply(across, wavelet_rule(height, scale), 0)[0, :, 0, :])


class Rule(NamedTuple):
    """How a signal of blocks becomes one: numbers of (block, within, other block, within)."""

    middle: npt.NDArray[np.float32]
    """(size, 2 · reach + 1, size): of a block, by those around it."""
    head: npt.NDArray[np.float32]
    """(blocks, size, blocks, size) of the first ones; of all, where there are few."""
    tail: npt.NDArray[np.float32]


def _apply(signal: Floats, rule: Rule, axis: int) -> Floats:
    """Return (within, block, within, block) with a rule for the pair of axes at ``axis``."""
    moved = np.ascontiguousarray(np.moveaxis(signal, (axis, axis + 1), (0, 1)))
    size, count = moved.shape[:2]
    out = np.zeros_like(moved)
    edge = len(rule.head)
    if edge < count:
        inner = slice(edge, count - edge)
        for to in range(size):
            for number, offset in enumerate(range(-_REACH, _REACH + 1)):
                for at in range(size):
                    factor = rule.middle[to, number, at]
                    if factor:
                        out[to, inner] += factor * moved[at, edge + offset : count - edge + offset]
    for numbers, first_to in ((rule.head, 0), (rule.tail, count - len(rule.tail))):
        reached = numbers.shape[2]
        first_at = 0 if first_to == 0 else count - reached
        for block in range(len(numbers)):
            for to in range(size):
                for other in range(reached):
                    for at in range(size):
                        factor = numbers[block, to, other, at]
                        if factor:
                            out[to, first_to + block] += factor * moved[at, first_at + other]
    return np.ascontiguousarray(np.moveaxis(out, (0, 1), (axis, axis + 1)))


def _rule(whole: Matrix, size: int) -> Rule:
    """Return the rule of a matrix, (blocks · size) squared, of a signal as long or shorter."""
    count = len(whole) // size
    parts = whole.reshape(count, size, count, size).astype(np.float32)
    if count < _WHOLE:
        return Rule(np.zeros((size, 0, size), np.float32), parts, parts[:0])
    at = count // 2
    middle = parts[at][:, at - _REACH : at + _REACH + 1]
    return Rule(middle, parts[:_REACH, :, : 2 * _REACH], parts[-_REACH:, :, -2 * _REACH :])


@functools.lru_cache(maxsize=64)
def lapped_rule(blocks: int, scale: int) -> Rule:
    """Return the rule of ``8 // scale`` frequencies of so many blocks."""
    count, low = min(blocks, _WHOLE), 8 // scale
    coefficients = np.zeros((8 * count, low * count))
    for block in range(count):
        for frequency in range(low):
            coefficients[8 * block + frequency, low * block + frequency] = 1 / _LENGTHS[frequency]
    samples = np.concatenate([_COSINES @ coefficients[8 * b : 8 * b + 8] for b in range(count)])
    for border in range(8, 8 * count, 8):
        samples[border - 4 : border + 4] = _LAP @ samples[border - 4 : border + 4]
    return _rule(samples.reshape(low * count, scale, -1).mean(axis=1), low)


@functools.lru_cache(maxsize=64)
def wavelet_rule(side: int, scale: int) -> Rule:
    """Return the rule of the lowest band, once ``log2(scale)`` levels are left out."""
    full = -(-side // scale)
    count = min(full, _WHOLE)
    length = count * scale - (full * scale - side)
    lengths = [length]
    while len(lengths) <= int(math.log2(scale)):
        lengths.append(-(-lengths[-1] // 2))
    signal = np.eye(count)
    for longer in reversed(lengths[:-1]):
        signal = _joined(signal, longer)
    starts = np.arange(0, length, scale)
    sums = np.add.reduceat(signal, starts, axis=0)
    return _rule(sums / np.diff([*starts, length])[:, None], 1)


def _joined(low: Matrix, length: int) -> Matrix:
    """Return what CDF 9/7 makes of a low band alone, along the first axis."""
    if length == 1:
        return low
    out = np.zeros((length, low.shape[1]))
    out[0::2] = low * 0.86986445
    for start, factor in ((0, 0.4435068522), (1, 0.8829110762), (0, -0.05298011854),
                          (1, -1.586134342)):  # fmt: skip
        at = np.arange(start, length, 2)
        left, right = np.abs(at - 1), at + 1
        right = np.where(right >= length, 2 * (length - 1) - right, right)
        out[at] -= factor * (out[left] + out[right])
    return out


_LENGTHS = np.array([3437, 3457, 3797, 3804, 3934, 3924, 4014, 3999]) / 4096
_COSINES = np.array(
    [[(math.sqrt(0.5) if k == 0 else 1.0) / 2 * math.cos((2 * x + 1) * k * math.pi / 16)
      for k in range(8)] for x in range(8)]
)  # fmt: skip
_TURN = np.array([[2881, -2350, 372, -235], [1604, 2395, -1892, -171],
                  [213, 1035, 2971, -1218], [84, 31, 324, 3325]]) / 4096  # fmt: skip


def _lap() -> Matrix:
    """Return the filter of the eight cells around a border between blocks."""
    cells = np.eye(8)
    sums = np.stack([cells[i] + cells[7 - i] for i in range(4)])
    turned = _TURN @ np.stack([cells[3 - i] - cells[4 + i] for i in range(4)])
    first = [0.5 * (sums[i] + turned[3 - i]) for i in range(4)]
    return np.stack([*first, *(0.5 * (sums[i] - turned[3 - i]) for i in (3, 2, 1, 0))])


_LAP = _lap()
