"""Both transforms of many planes at once, and back: those of native/transform.c, to the bit.

Every product and every sum is an operation of torch of its own, on singles, in FORMAT.md's order
(§15.5): IEEE-754 leaves one result, on a GPU as on a CPU. Nothing here may be compiled into one.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
import torch

from tilepress.codecs.ntc.device.places import layout
from tilepress.codecs.ntc.layout import LAPPED

__all__ = ["forward", "inverse", "wavelet", "wavelet_inverse"]

Matrix = tuple[tuple[float, ...], ...]


def _singles(numbers: Sequence[float]) -> tuple[float, ...]:
    return tuple(float(np.float32(number)) for number in numbers)


def _fractions(numbers: Sequence[int]) -> tuple[float, ...]:
    return tuple(number / 4096 for number in numbers)


_C0, _C1, _C2, _C3, _C5, _C6, _C7 = (
    float.fromhex(number)
    for number in (
        "0x1.6a09e6p-2", "0x1.f6297cp-2", "0x1.d906bcp-2", "0x1.a9b662p-2",
        "0x1.1c73b4p-2", "0x1.87de2ap-3", "0x1.8f8b84p-4",
    )
)  # fmt: skip
_UNLAP: Matrix = (
    _fractions((2881, -2350, 372, -235)),
    _fractions((1604, 2395, -1892, -171)),
    _fractions((213, 1035, 2971, -1218)),
    _fractions((84, 31, 324, 3325)),
)
_LAP: Matrix = (
    _singles((0.9540325403213501, 0.7809075713157654, 0.3520481288433075, 0.23654961585998535)),
    _singles((-0.552676796913147, 0.8986737728118896, 0.6161039471626282, 0.2328447550535202)),
    _singles((0.11189859360456467, -0.3659577965736389, 1.0892746448516846, 0.38810646533966064)),
    _singles(
        (-0.02985290251672268, 0.0075534433126449585, -0.1207808330655098, 1.1859142780303955)
    ),
)
_LAPPED_LENGTHS = _fractions((3437, 3457, 3797, 3804, 3934, 3924, 4014, 3999))
_LOW_LENGTHS = (1.0, *_fractions((4061, 4158, 4201, 4214, 4217)))
_HIGH_LENGTHS = (1.0, *_fractions((4178, 4028, 4176, 4247, 4268)))
_ALPHA, _BETA, _GAMMA, _DELTA, _KAPPA, _KAPPA_INVERSE = _singles(
    (-1.586134342, -0.05298011854, 0.8829110762, 0.4435068522, 1.149604398, 0.86986445)
)


def forward(kind: int, planes: torch.Tensor) -> None:
    """Turn planes (n, y, x) of padded sides into coefficients, in place."""
    if kind == LAPPED:
        _lapped(planes)
    else:
        wavelet(planes, layout(kind, *planes.shape[1:]).levels)


def inverse(kind: int, planes: torch.Tensor) -> None:
    """Turn coefficients (n, y, x) into samples, in place."""
    if kind == LAPPED:
        _lapped_inverse(planes)
    else:
        wavelet_inverse(planes, layout(kind, *planes.shape[1:]).levels)


def _turned(planes: torch.Tensor) -> torch.Tensor:
    return planes.transpose(1, 2).contiguous()


# Lapped 8 × 8 ------------------------------------------------------------------------------------


def _sum(factors: Sequence[float], terms: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return the products' sum, from the first to the last."""
    total = terms[0] * factors[0]
    for factor, term in zip(factors[1:], terms[1:], strict=True):
        total += term * factor
    return total


def _across_borders(planes: torch.Tensor, matrix: Matrix) -> None:
    """Filter the eight rows around each border between blocks of rows."""
    if planes.shape[1] < 16:
        return
    rows = planes[:, 4:-4].view(len(planes), -1, 8, planes.shape[2])
    r = [rows[:, :, i] for i in range(8)]
    sums = [r[i] + r[7 - i] for i in range(4)]
    differences = [r[3 - i] - r[4 + i] for i in range(4)]
    filtered = [_sum(m, differences) for m in matrix]
    for i in range(4):
        r[i].copy_((sums[i] + filtered[3 - i]) * 0.5)
        r[7 - i].copy_((sums[i] - filtered[3 - i]) * 0.5)


def _dct(planes: torch.Tensor) -> None:
    """Transform the eight rows of each block of rows."""
    rows = planes.view(len(planes), -1, 8, planes.shape[2])
    r = [rows[:, :, i] for i in range(8)]
    s0, s1, s2, s3 = (r[i] + r[7 - i] for i in range(4))
    d = [r[i] - r[7 - i] for i in range(4)]
    out = (
        ((s0 + s3) + (s1 + s2)) * _C0,
        _sum((_C1, _C3, _C5, _C7), d),
        _sum((_C2, _C6), (s0 - s3, s1 - s2)),
        _sum((_C3, -_C7, -_C1, -_C5), d),
        ((s0 + s3) - (s1 + s2)) * _C0,
        _sum((_C5, -_C1, _C7, _C3), d),
        _sum((_C6, -_C2), (s0 - s3, s1 - s2)),
        _sum((_C7, -_C5, _C3, -_C1), d),
    )
    for to, made in zip(r, out, strict=True):
        to.copy_(made)


def _inverse_dct(planes: torch.Tensor) -> None:
    rows = planes.view(len(planes), -1, 8, planes.shape[2])
    r = [rows[:, :, i] for i in range(8)]
    odd = (r[1], r[3], r[5], r[7])
    a, b = (r[0] + r[4]) * _C0, (r[0] - r[4]) * _C0
    c, d = _sum((_C2, _C6), (r[2], r[6])), _sum((_C6, -_C2), (r[2], r[6]))
    even = (a + c, b + d, b - d, a - c)
    odds = (
        _sum((_C1, _C3, _C5, _C7), odd),
        _sum((_C3, -_C7, -_C1, -_C5), odd),
        _sum((_C5, -_C1, _C7, _C3), odd),
        _sum((_C7, -_C5, _C3, -_C1), odd),
    )
    for i in range(4):
        r[i].copy_(even[i] + odds[i])
        r[7 - i].copy_(even[i] - odds[i])


@functools.lru_cache(maxsize=8)
def _lapped_lengths(device: torch.device, inverted: bool) -> torch.Tensor:
    lengths = np.array(_LAPPED_LENGTHS, np.float32)
    products = lengths[:, None] * lengths[None, :]
    return torch.from_numpy(np.float32(1) / products if inverted else products).to(device)


def _scale_blocks(planes: torch.Tensor, *, inverted: bool) -> None:
    count, height, width = planes.shape
    blocks = planes.view(count, height // 8, 8, width // 8, 8)
    blocks.mul_(_lapped_lengths(planes.device, inverted)[None, None, :, None, :])


def _lapped(planes: torch.Tensor) -> None:
    _across_borders(planes, _LAP)
    _dct(planes)
    turned = _turned(planes)
    _across_borders(turned, _LAP)
    _dct(turned)
    planes.copy_(turned.transpose(1, 2))
    _scale_blocks(planes, inverted=False)


def _lapped_inverse(planes: torch.Tensor) -> None:
    _scale_blocks(planes, inverted=True)
    turned = _turned(planes)
    _inverse_dct(turned)
    _across_borders(turned, _UNLAP)
    planes.copy_(turned.transpose(1, 2))
    _inverse_dct(planes)
    _across_borders(planes, _UNLAP)


# CDF 9/7 -----------------------------------------------------------------------------------------


def _lift_odd(even: torch.Tensor, odd: torch.Tensor, by: float) -> None:
    count = odd.shape[1]
    below = even[:, 1 : count + 1]
    if below.shape[1] < count:  # the last row has no row below
        below = torch.cat([below, even[:, -1:]], 1)
    odd += (even[:, :count] + below) * by


def _lift_even(even: torch.Tensor, odd: torch.Tensor, by: float) -> None:
    above = torch.cat([odd[:, :1], odd], 1)[:, : even.shape[1]]
    below = odd
    if below.shape[1] < even.shape[1]:
        below = torch.cat([odd, odd[:, -1:]], 1)
    even += (above + below) * by


def _analysed(rows: torch.Tensor) -> torch.Tensor:
    """Return low rows, then high ones, of (n, y, x)."""
    even, odd = rows[:, 0::2].clone(), rows[:, 1::2].clone()
    if rows.shape[1] > 1:
        _lift_odd(even, odd, _ALPHA)
        _lift_even(even, odd, _BETA)
        _lift_odd(even, odd, _GAMMA)
        _lift_even(even, odd, _DELTA)
        even *= _KAPPA
        odd *= _KAPPA_INVERSE
    return torch.cat([even, odd], 1)


def _synthesised(rows: torch.Tensor) -> torch.Tensor:
    """Return rows of low ones and of the high ones behind them."""
    count = rows.shape[1]
    even, odd = rows[:, : (count + 1) // 2].clone(), rows[:, (count + 1) // 2 :].clone()
    if count > 1:
        even *= _KAPPA_INVERSE
        odd *= _KAPPA
        _lift_even(even, odd, -_DELTA)
        _lift_odd(even, odd, -_GAMMA)
        _lift_even(even, odd, -_BETA)
        _lift_odd(even, odd, -_ALPHA)
    out = torch.empty_like(rows)
    out[:, 0::2], out[:, 1::2] = even, odd
    return out


def _scale_bands(planes: torch.Tensor, levels: int, *, inverted: bool) -> None:
    height, width = planes.shape[1:]
    for level in range(1, levels + 1):
        low_y, low_x = (height + 1) // 2, (width + 1) // 2
        for k in range(1 if level < levels else 0, 4):
            across = np.float32((_HIGH_LENGTHS if k & 1 else _LOW_LENGTHS)[level])
            down = np.float32((_HIGH_LENGTHS if k & 2 else _LOW_LENGTHS)[level])
            by = across * down
            rows = slice(low_y, height) if k & 2 else slice(0, low_y)
            columns = slice(low_x, width) if k & 1 else slice(0, low_x)
            planes[:, rows, columns] *= float(np.float32(1) / by if inverted else by)
        height, width = low_y, low_x


def wavelet(planes: torch.Tensor, levels: int) -> None:
    """Turn planes into bands of so many levels, in place, the lower ones at the top left."""
    height, width = planes.shape[1:]
    for _ in range(levels):
        region = planes[:, :height, :width]
        down = _analysed(region)
        region.copy_(_analysed(_turned(down)).transpose(1, 2))
        height, width = (height + 1) // 2, (width + 1) // 2
    _scale_bands(planes, levels, inverted=False)


def wavelet_inverse(planes: torch.Tensor, levels: int) -> None:
    """Turn bands of so many levels back, in place."""
    sides = [planes.shape[1:]]
    for _ in range(levels):
        sides.append(torch.Size([(sides[-1][0] + 1) // 2, (sides[-1][1] + 1) // 2]))
    _scale_bands(planes, levels, inverted=True)
    for height, width in reversed(sides[:levels]):
        region = planes[:, :height, :width]
        across = _synthesised(_turned(region))
        region.copy_(_synthesised(_turned(across)))
