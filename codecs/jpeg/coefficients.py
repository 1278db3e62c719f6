"""Code the coefficients of a component: contexts from neighbours, other components and position.

Blocks in rows; of each first how many of the 49 coefficients beyond first row and column are not
zero, then those, in zigzag order; the seven of the first row and the seven of the first column,
predicted from the block above and left of it (where blocks meet, what both say along the border is
alike); last the mean, predicted from the border's samples. That order and these predictions are
Lepton's (Horn et al., "The Design, Implementation, and Deployment of a System to Transparently
Compress Hundreds of Petabytes of Image Files for a File-Storage Service", NSDI 2017). Each bit is
coded by a mixture of eight contexts (mixing.py).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tilepress.codecs.jpeg.markers import ZIGZAG
from tilepress.codecs.jpeg.mixing import AT, INPUTS, code_mixed, code_plain
from tilepress.codecs.jpeg.samples import transform
from tilepress.codecs.wave.compiled import jit

__all__ = ["DONE", "IMPOSSIBLE", "NO_ROOM", "SLOTS", "WEIGHT_SETS", "code_component"]

DONE, IMPOSSIBLE, NO_ROOM = 1, 0, 2

_MOST_BYTES = 8192
"""Of one block, 16 bits for each of its bits at worst."""

_INNER = np.array([k for k in ZIGZAG if k % 8 and k // 8], np.int64)
"""Places of the 49 coefficients beyond first row and column."""

_CENTRE = np.array([8192, 11363, 10703, 9633, 8192, 6436, 4433, 2260], np.int64)
"""2^13 times what a frequency contributes at the centre of a border's samples."""


def _bucket_table(limits: tuple[int, ...], size: int) -> Any:
    return np.searchsorted(np.array(limits), np.arange(size), side="right").astype(np.int64)


_FINE = _bucket_table((1, 2, 3, 4, 5, 7, 9, 12, 16, 22, 32, 48, 72, 112, 192), 256)
"""Sixteen classes of four times a magnitude."""
_COARSE = _bucket_table((1, 2, 3, 4, 6, 9, 14), 64)
"""Eight classes of a magnitude."""
_COUNT = _bucket_table((1, 2, 3, 4, 6, 8, 11, 15, 20, 26, 34), 50)
"""Twelve classes of a number of coefficients."""

# Slots: tables of contexts one after another, each context with as many slots as a value has bits
# that are coded by mixture.


def _layout(sizes: list[int], slots: int, first: int) -> tuple[Any, int]:
    bases = first + slots * np.cumsum([0, *sizes])
    return bases[:-1].astype(np.int64), int(bases[-1])


_COUNT_AT, _n = _layout([50, 144, 50, 12 * 12, 50, 50, 1, 144], 64, 0)
_SIDE_AT, _n = _layout([2 * 96, 2 * 64, 2 * 64, 2 * 50, 2 * 12 * 15, 2 * 64, 2 * 64, 2], 8, _n)
_INNER_AT, _n = _layout(
    [49 * 16 * 12, 49 * 64, 16 * 16 * 9, 49 * 16 * 8, 49 * 64, 49 * 16, 12 * 16 * 8, 49 * 16], 8, _n
)
_EDGE_AT, _n = _layout(
    [14 * 16 * 8, 14 * 16 * 8, 14 * 16 * 16, 14 * 12 * 8, 14 * 64, 14 * 9 * 8, 16 * 16 * 12,
     14 * 16 * 16], 8, _n
)  # fmt: skip
_SIGN_AT, _n = _layout([64 * 9, 64 * 9, 64 * 16, 64 * 32, 27, 64 * 9, 64 * 16, 64], 1, _n)
_MEAN_AT, _n = _layout([16, 16 * 12, 64, 16 * 8, 64, 12, 1, 8], 16, _n)
_MEAN_SIGN_AT, _n = _layout([16, 9, 16, 16, 9, 1, 8, 27], 1, _n)
_REST_AT = _n
"""Plain slots of the lower bits: kind (3) × length (17) × bit (16) × what is expected (8)."""
_REST = 17 * 16 * 8
SLOTS = _n + 3 * _REST

_COUNT_SET, _SIDE_SET, _INNER_SET = 0, 64, 64 + 16
_EDGE_SET = _INNER_SET + 49 * 8
_SIGN_SET = _EDGE_SET + 14 * 8
_MEAN_SET = _SIGN_SET + 64
WEIGHT_SETS = _MEAN_SET + 17

_SHORT = 7


@jit
def _expected(average: int, length: int) -> int:
    """Return a class of four times the expected magnitude beside values of ``length`` bits."""
    return min((average << 1) >> length, 7)


@jit
def _code_value(
    state: Any, data: Any, decoding: bool, value: int, slots: Any, places: Any, weights: Any,
    first_set: int, longest: int, signs: Any, sign_weights: Any, rest: int, average: int,
    stretched: Any, seen: Any, cap: int,
) -> int:  # fmt: skip
    """Code a value: its length in unary, its sign, its lower bits; returns it, or 2^20 if bad."""
    magnitude = abs(value)
    length = 0
    while length < 16:
        at = min(length, longest)
        bit = 1 if magnitude >> length else 0
        bit = code_mixed(
            state, data, decoding, bit, slots, places, at, weights[first_set + at], stretched,
            seen, cap,
        )  # fmt: skip
        if bit == 0:
            break
        length += 1
    if length == 0:
        return 0
    negative = code_mixed(
        state, data, decoding, 1 if value < 0 else 0, slots, signs, 0, sign_weights, stretched,
        seen, cap,
    )  # fmt: skip
    found = np.int64(1)
    near = _expected(average, length)
    for shift in range(length - 2, -1, -1):
        place = rest + ((length * 16 + shift) << 3) + near
        bit = code_plain(state, data, decoding, (magnitude >> shift) & 1, slots, place, cap)
        found = (found << 1) | bit
    return -found if negative else found


@jit
def _code_count(
    state: Any, data: Any, decoding: bool, count: int, bits: int, slots: Any, places: Any,
    weights: Any, stretched: Any, seen: Any, cap: int,
) -> int:  # fmt: skip
    """Code a number of ``bits`` bits, the highest first."""
    node = 1
    for shift in range(bits - 1, -1, -1):
        bit = code_mixed(
            state, data, decoding, (count >> shift) & 1, slots, places, node, weights[node],
            stretched, seen, cap,
        )  # fmt: skip
        node = (node << 1) | bit
    return node - (1 << bits)


@jit
def _sign(value: int) -> int:
    return 0 if value == 0 else (1 if value > 0 else 2)


@jit
def _predict_edge(block: Any, other: Any, u: int, step: int, across: int, steps: Any) -> int:
    """Return eight times a coefficient of the first row or column as the border foretells it.

    u : its frequency along the border; step, across : places between frequencies along and across.
    """
    total = np.int64(other[u * step]) * steps[u * step] * _CENTRE[0]
    for k in range(1, 8):
        at = u * step + k * across
        theirs, ours = np.int64(other[at]), np.int64(block[at])
        total += ((-theirs if k & 1 else theirs) - ours) * steps[at] * _CENTRE[k]
    return total // (max(steps[u * step], 1) << 10)


@jit
def _predict_mean(pixels: Any, above: Any, left: Any, has_above: bool, has_left: bool, found: Any):
    """Return the level that meets the borders best, and how far apart what they say is.

    pixels : (64,) of the block without its mean; above, left : (2, 8), last and second-last lines;
    all in eighths of a sample.
    """
    n = 0
    for x in range(8):
        if has_above:
            ours = pixels[x] + ((pixels[x] - pixels[8 + x]) >> 1)
            found[n] = above[0, x] + ((above[0, x] - above[1, x]) >> 1) - ours
            n += 1
        if has_left:
            ours = pixels[8 * x] + ((pixels[8 * x] - pixels[8 * x + 1]) >> 1)
            found[n] = left[0, x] + ((left[0, x] - left[1, x]) >> 1) - ours
            n += 1
    if n == 0:
        return 0, 0
    for i in range(1, n):
        value = found[i]
        j = i - 1
        while j >= 0 and found[j] > value:
            found[j + 1] = found[j]
            j -= 1
        found[j + 1] = value
    total = np.int64(0)
    for i in range(n // 4, n - n // 4):
        total += found[i]
    used = n - 2 * (n // 4)
    return (2 * total + used) // (2 * used), found[n - 1 - n // 8] - found[n // 8]


@jit
def code_component(
    state: Any, data: Any, decoding: bool, blocks: Any, first: int, rows: int, columns: int,
    owners: Any, steps: Any, cross: Any, cross_scale: Any, cross_columns: int, related: bool,
    slots: Any, weights: Any, counts: Any, cross_counts: Any, misses: Any, cross_misses: Any,
    cap: int,
) -> int:  # fmt: skip
    """Code a component's blocks; returns DONE, or IMPOSSIBLE or NO_ROOM where it cannot go on.

    blocks : (n, 64) int16, those of the component from ``first`` on, ``columns`` in a row; owners :
    (rows, columns), the stream of each or −1; steps : (streams, 64) quantisation; cross : number of
    the first block of the component to look at, or −1; cross_scale : its blocks for each of ours,
    rows and columns; related : its coefficients are alike ours in place; counts, misses : (rows,
    columns) int32 to fill with each block's number of coefficients and its mean's error.
    """
    places = np.zeros(INPUTS, np.int64)
    signs = np.zeros(INPUTS, np.int64)
    stretched = np.zeros(INPUTS, np.int64)
    seen = np.zeros(INPUTS, np.int64)
    found = np.zeros(16, np.int64)
    pixels = np.zeros(64, np.int64)
    nothing = np.zeros(64, np.int16)
    bottoms = np.zeros((columns, 2, 8), np.int64)
    right = np.zeros((2, 8), np.int64)
    for row in range(rows):
        for column in range(columns):
            owner = owners[row, column]
            if owner < 0:
                continue
            if not decoding and state[AT] + _MOST_BYTES > len(data):
                return NO_ROOM
            step = steps[owner]
            at = first + row * columns + column
            block = blocks[at]
            has_above = row > 0 and owners[row - 1, column] >= 0
            has_left = column > 0 and owners[row, column - 1] >= 0
            above = blocks[at - columns] if has_above else nothing
            left = blocks[at - 1] if has_left else nothing
            if not has_above:
                above = left
            if not has_left:
                left = above
            corner = blocks[at - columns - 1] if has_above and has_left else above
            next_ = (
                blocks[at - columns + 1]
                if has_above and column + 1 < columns and owners[row - 1, column + 1] >= 0
                else above
            )
            n_above = counts[row - 1, column] if has_above else 0
            n_left = counts[row, column - 1] if has_left else n_above
            if not has_above:
                n_above = n_left
            n_cross, m_cross = 0, 0
            other = nothing
            if cross >= 0:
                y, x = row * cross_scale[0], column * cross_scale[1]
                n_cross = cross_counts[y, x]
                m_cross = cross_misses[y, x]
                if related:
                    other = blocks[cross + y * cross_columns + x]
            # how many beyond first row and column
            average = (n_above + n_left + 1) >> 1
            c_above, c_left, c_cross = _COUNT[n_above], _COUNT[n_left], _COUNT[n_cross]
            places[0] = average
            places[1] = c_above * 12 + c_left
            places[2] = n_cross
            places[3] = c_cross * 12 + _COUNT[average]
            places[4] = n_left
            places[5] = n_above
            places[6] = 0
            n_next = counts[row - 1, column + 1] if has_above and column + 1 < columns else n_above
            n_far = counts[row, column - 2] if column > 1 else n_left
            places[7] = _COUNT[n_next] * 12 + _COUNT[n_far]
            for j in range(INPUTS):
                places[j] = _COUNT_AT[j] + places[j] * 64
            count = 0
            if not decoding:
                for k in _INNER:
                    count += block[k] != 0
            count = _code_count(
                state, data, decoding, count, 6, slots, places, weights[_COUNT_SET:], stretched,
                seen, cap,
            )  # fmt: skip
            if count > 49:
                return IMPOSSIBLE
            counts[row, column] = count
            # those
            remaining = count
            before, second = 0, 0
            far_u, far_v = 0, 0
            for i in range(49):
                if remaining == 0:
                    break
                k = _INNER[i]
                a, b = abs(np.int64(above[k])), abs(np.int64(left[k]))
                d, e = abs(np.int64(corner[k])), abs(np.int64(next_[k]))
                o = np.int64(other[k])
                mean = min((13 * (a + b) + 6 * d) >> 3, 255)
                fine, left_over = _FINE[mean], _COUNT[remaining]
                near = np.int64(0)
                if k & 7 > 1:
                    near += abs(np.int64(block[k - 1]))
                if k >> 3 > 1:
                    near += abs(np.int64(block[k - 8]))
                wide = a + b + e
                if k & 7 < 7:
                    wide += (abs(np.int64(above[k + 1])) + abs(np.int64(left[k + 1]))) >> 1
                if k < 56:
                    wide += (abs(np.int64(above[k + 8])) + abs(np.int64(left[k + 8]))) >> 1
                wide += (abs(np.int64(above[k - 1])) + abs(np.int64(left[k - 1]))) >> 1
                wide += (abs(np.int64(above[k - 8])) + abs(np.int64(left[k - 8]))) >> 1
                c_other = _COARSE[min(abs(o), 63)]
                places[0] = (i * 16 + fine) * 12 + left_over
                places[1] = i * 64 + _COARSE[min(a, 63)] * 8 + _COARSE[min(b, 63)]
                places[2] = (
                    (min(remaining, 15) * 16 + min(49 - i - remaining, 45) // 3) * 9
                    + min(before, 2) * 3 + min(second, 2)
                )  # fmt: skip
                places[3] = (i * 16 + _FINE[min(near * 2, 255)]) * 8 + min(left_over, 7)
                places[4] = i * 64 + c_other * 8 + _COARSE[min((a + b + 1) >> 1, 63)]
                places[5] = i * 16 + _FINE[min(wide, 255)]
                places[6] = (_COUNT[count] * 16 + fine) * 8 + c_other
                places[7] = i * 16 + _FINE[min(2 * e + 2 * d, 255)]
                for j in range(INPUTS):
                    places[j] = _INNER_AT[j] + places[j] * 8
                s_above, s_left, s_other = _sign(above[k]), _sign(left[k]), _sign(o)
                signs[0] = k * 9 + s_above * 3 + s_left
                signs[1] = k * 9 + s_other * 3 + s_left
                signs[2] = k * 16 + min(abs(o), 7) * 2 + (o < 0)
                signs[3] = k * 32
                signs[4] = s_other * 9 + s_above * 3 + s_left
                signs[5] = k * 9 + s_other * 3 + s_above
                inside = (k & 7) > 1 and (k >> 3) > 1
                signs[6] = k * 16 + (_sign(block[k - 9]) if inside else 0)
                signs[7] = k
                for j in range(INPUTS):
                    signs[j] += _SIGN_AT[j]
                value = _code_value(
                    state, data, decoding, np.int64(block[k]), slots, places, weights,
                    _INNER_SET + i * 8, _SHORT, signs, weights[_SIGN_SET + k], _REST_AT, mean >> 1,
                    stretched, seen, cap,
                )  # fmt: skip
                if decoding:
                    if value > 32767 or value < -32767:
                        return IMPOSSIBLE
                    block[k] = value
                second, before = before, abs(value)
                if value:
                    remaining -= 1
                    far_u, far_v = max(far_u, k & 7), max(far_v, k >> 3)
            if remaining:
                return IMPOSSIBLE
            # the first row, then the first column
            row_count = 0
            for side in range(2):
                along, across = (1, 8) if side == 0 else (8, 1)
                border = above if side == 0 else left
                has = has_above if side == 0 else has_left
                n_a, n_b, n_o, here = 0, 0, 0, 0
                for u in range(1, 8):
                    n_a += above[u * along] != 0
                    n_b += left[u * along] != 0
                    n_o += other[u * along] != 0
                    here += block[u * along] != 0
                far = far_u if side == 0 else far_v
                places[0] = (side * 12 + _COUNT[count]) * 8 + far
                places[1] = side * 64 + n_a * 8 + n_b
                places[2] = side * 64 + n_o * 8 + ((n_a + n_b + 1) >> 1)
                places[3] = side * 50 + count
                places[4] = (side * 12 + _COUNT[count]) * 15 + n_a + n_b
                places[5] = side * 64 + row_count * 8 + far
                places[6] = side * 64 + row_count * 8 + ((n_a + n_b + 1) >> 1)
                places[7] = side
                for j in range(INPUTS):
                    places[j] = _SIDE_AT[j] + places[j] * 8
                here = _code_count(
                    state, data, decoding, here, 3, slots, places, weights[_SIDE_SET + side * 8 :],
                    stretched, seen, cap,
                )  # fmt: skip
                row_count = here
                remaining = here
                before, second = 0, 0
                for u in range(1, 8):
                    if remaining == 0:
                        break
                    k = u * along
                    e = side * 7 + u - 1
                    guess = np.int64(0)
                    if has:
                        guess = _predict_edge(block, border, u, along, across, step)
                    size = abs(guess)
                    a, b = abs(np.int64(above[k])), abs(np.int64(left[k]))
                    d = abs(np.int64(corner[k]))
                    o = np.int64(other[k])
                    mean = min((13 * (a + b) + 6 * d) >> 3, 255)
                    fine, guessed = _FINE[mean], _FINE[min((size + 1) >> 1, 255)]
                    c_other = _COARSE[min(abs(o), 63)]
                    places[0] = (e * 16 + guessed) * 8 + remaining
                    places[1] = (e * 16 + fine) * 8 + remaining
                    places[2] = (e * 16 + guessed) * 16 + fine
                    places[3] = (e * 12 + _COUNT[count]) * 8 + remaining
                    places[4] = e * 64 + c_other * 8 + _COARSE[min((size + 4) >> 3, 63)]
                    places[5] = (e * 9 + min(before, 2) * 3 + min(second, 2)) * 8 + remaining
                    places[6] = (guessed * 16 + fine) * 12 + _COUNT[count]
                    places[7] = (e * 16 + _FINE[min((a + b) * 2, 255)]) * 16 + c_other
                    for j in range(INPUTS):
                        places[j] = _EDGE_AT[j] + places[j] * 8
                    s_above, s_left, s_other = _sign(above[k]), _sign(left[k]), _sign(o)
                    s_guess = _sign(guess)
                    signs[0] = k * 9 + s_guess * 3 + s_other
                    signs[1] = k * 9 + s_other * 3 + s_left
                    signs[2] = k * 16 + min(abs(o), 7) * 2 + (o < 0)
                    signs[3] = k * 32 + guessed * 2 + (guess < 0)
                    signs[4] = s_other * 9 + s_guess * 3 + s_left
                    signs[5] = k * 9 + s_other * 3 + s_above
                    signs[6] = k * 16 + guessed
                    signs[7] = k
                    for j in range(INPUTS):
                        signs[j] += _SIGN_AT[j]
                    value = _code_value(
                        state, data, decoding, np.int64(block[k]), slots, places, weights,
                        _EDGE_SET + e * 8, _SHORT, signs, weights[_SIGN_SET + k],
                        _REST_AT + _REST, size >> 1, stretched, seen, cap,
                    )  # fmt: skip
                    if decoding:
                        if value > 32767 or value < -32767:
                            return IMPOSSIBLE
                        block[k] = value
                    second, before = before, abs(value)
                    remaining -= value != 0
                if remaining:
                    return IMPOSSIBLE
            # the mean
            for k in range(64):
                pixels[k] = np.int64(block[k]) * step[k]
            pixels[0] = 0
            for k in range(8):
                transform(pixels, k, 8, 11)
            for k in range(8):
                transform(pixels, 8 * k, 1, 15)
            level, spread = _predict_mean(
                pixels, bottoms[column], right, has_above, has_left, found
            )
            q = max(step[0], 1)
            guess = min(max((2 * level + q) // (2 * q), -32768), 32767)
            part = min(max(((level - guess * q) * 8) // q + 4, 0), 7)
            doubt = _FINE[min((spread // q) << 1, 255)]
            m_left = misses[row, column - 1] if has_left else 0
            m_above = misses[row - 1, column] if has_above else 0
            around = _FINE[min(abs(m_left) + abs(m_above), 255)]
            c_miss = _COARSE[min(abs(m_cross), 63)]
            places[0] = doubt
            places[1] = doubt * 12 + _COUNT[count]
            places[2] = _COARSE[min(abs(m_left), 63)] * 8 + _COARSE[min(abs(m_above), 63)]
            places[3] = doubt * 8 + c_miss
            places[4] = (around >> 1) * 8 + c_miss
            places[5] = _COUNT[count]
            places[6] = 0
            places[7] = c_miss
            for j in range(INPUTS):
                places[j] = _MEAN_AT[j] + places[j] * 16
            signs[0] = c_miss * 2 + (m_cross < 0)
            signs[1] = _sign(m_left) * 3 + _sign(m_above)
            signs[2] = _COARSE[min(abs(m_left), 63)] * 2 + (m_left < 0)
            signs[3] = _COARSE[min(abs(m_above), 63)] * 2 + (m_above < 0)
            signs[4] = _sign(m_cross) * 3 + _sign(m_left)
            signs[5] = 0
            signs[6] = part
            signs[7] = _sign(m_cross) * 9 + _sign(m_left) * 3 + _sign(m_above)
            for j in range(INPUTS):
                signs[j] += _MEAN_SIGN_AT[j]
            value = _code_value(
                state, data, decoding, np.int64(block[0]) - guess, slots, places, weights,
                _MEAN_SET, 15, signs, weights[_MEAN_SET + 16], _REST_AT + 2 * _REST, spread // q,
                stretched, seen, cap,
            )  # fmt: skip
            misses[row, column] = value
            if decoding:
                value += guess
                if value > 32767 or value < -32768:
                    return IMPOSSIBLE
                block[0] = value
            level = np.int64(block[0]) * step[0]
            for x in range(8):
                bottoms[column, 0, x] = pixels[56 + x] + level
                bottoms[column, 1, x] = pixels[48 + x] + level
                right[0, x] = pixels[8 * x + 7] + level
                right[1, x] = pixels[8 * x + 6] + level
    return DONE
