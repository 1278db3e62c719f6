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

from tilepress.codecs.jpeg.contexts import (
    COARSE,
    COUNT,
    COUNT_AT,
    COUNT_SET,
    COUNT_SLOTS,
    EDGE_AT,
    EDGE_SET,
    FINE,
    INNER,
    INNER_AT,
    INNER_SET,
    MEAN_AT,
    MEAN_SET,
    MEAN_SIGN_AT,
    MEAN_SLOTS,
    REST,
    REST_AT,
    SIDE_AT,
    SIDE_SET,
    SIDE_SLOTS,
    SIGN_AT,
    SIGN_SET,
    VALUE_SLOTS,
)
from tilepress.codecs.jpeg.mixing import AT, INPUTS, code_mixed, code_plain
from tilepress.codecs.jpeg.numbers import code_count, code_length, code_rest, place_slots
from tilepress.codecs.jpeg.samples import transform
from tilepress.codecs.wave.compiled import jit, jit_inline

__all__ = ["DONE", "IMPOSSIBLE", "NO_ROOM", "code_component"]

DONE, IMPOSSIBLE, NO_ROOM = 1, 0, 2

_MOST_BYTES = 8192
"""Of one block, 16 bits for each of its bits at worst."""

_CENTRE = np.array([8192, 11363, 10703, 9633, 8192, 6436, 4433, 2260], np.int64)
"""2^13 times what a frequency contributes at the centre of a border's samples."""

_SUM, _MEAN, _WIDE = range(3)
"""What is known of each place from the neighbours' magnitudes."""


@jit_inline
def _sign(value: int) -> int:
    return (value != 0) + (value < 0)


@jit
def _foresee(above: Any, left: Any, corner: Any, beyond: Any, hints: Any) -> None:
    """Fill ``hints``, (3, 80) int32, with what the neighbours' magnitudes say of each place."""
    for k in range(64):
        a, b = abs(np.int32(above[k])), abs(np.int32(left[k]))
        c, d = abs(np.int32(corner[k])), abs(np.int32(beyond[k]))
        hints[_SUM, k] = a + b
        hints[_MEAN, k] = min((13 * (a + b) + 6 * c) >> 3, 255)
        hints[_WIDE, k] = a + b + d
    for k in range(9, 64):
        around = hints[_SUM, k - 1] + hints[_SUM, k + 1] + hints[_SUM, k - 8] + hints[_SUM, k + 8]
        hints[_WIDE, k] = min(hints[_WIDE, k] + (around >> 1), 255)


@jit
def _code_inner(
    work: Any, data: Any, decoding: bool, block: Any, above: Any, left: Any, other: Any,
    hints: Any, known: Any, count: int, slots: Any, weights: Any,
) -> int:  # fmt: skip
    """Code the 49 coefficients of which ``count`` are not 0; returns 8 · the highest of their rows
    + the highest of their columns, or −1 where there are not so many.

    known : (64,) int64 of zeros, filled with the coefficients.
    """
    many = np.int64(COUNT[count]) * 16
    remaining = count
    before, second = 0, 0
    far_u, far_v = 0, 0
    for i in range(49):
        if remaining == 0:
            break
        k = INNER[i]
        o = np.int64(other[k])
        fine, left_over = np.int64(FINE[hints[_MEAN, k]]), np.int64(COUNT[remaining])
        near = min(2 * (abs(known[k - 1]) + abs(known[k - 8])), 255)
        c_other = np.int64(COARSE[min(abs(o), 63)])
        c_both = np.int64(COARSE[min((np.int64(hints[_SUM, k]) + 1) >> 1, 63)])
        place_slots(
            work, INNER_AT, VALUE_SLOTS,
            (min(remaining, 15) * 16 + (min(49 - i - remaining, 47) * 21846 >> 16)) * 9
            + min(before, 2) * 3 + min(second, 2),
            (i * 16 + np.int64(FINE[near])) * 8 + min(left_over, 7),
            i * 64 + c_other * 8 + c_both,
            i * 16 + np.int64(FINE[hints[_WIDE, k]]),
            (many + fine) * 8 + c_other,
            (left_over * 16 + fine) * 16 + min((49 - i) * 21846 >> 16, 15),
        )  # fmt: skip
        value = np.int64(block[k])
        length = code_length(
            work, data, decoding, value, slots, weights, INNER_SET + i * VALUE_SLOTS,
            VALUE_SLOTS - 1,
        )  # fmt: skip
        second, before = before, length
        if length == 0:
            continue
        sign = 1 if value < 0 else 0
        if o == 0:  # no component foretells it, and mixing others gains next to nothing
            at = SIGN_AT[1] + k * 32
            sign = code_plain(work, data, decoding, sign, slots, at)
        else:
            s_above, s_left, s_other = _sign(above[k]), _sign(left[k]), _sign(o)
            place_slots(
                work, SIGN_AT, 1,
                k * 16 + min(abs(o), 7) * 2 + (o < 0),
                k * 32,
                s_other * 9 + s_above * 3 + s_left,
                k * 9 + s_other * 3 + s_above,
                k * 16 + _sign(known[k - 9]),
                k * 9 + s_above * 3 + s_left,
            )  # fmt: skip
            at = (SIGN_SET + k) * INPUTS
            sign = code_mixed(work, data, decoding, sign, slots, 0, weights, at)
        value = code_rest(
            work, data, decoding, abs(value), sign, slots, length, REST_AT,
            np.int64(hints[_MEAN, k]) >> 1,
        )  # fmt: skip
        if decoding:
            if value > 32767 or value < -32767:
                return -1
            block[k] = value
        known[k] = value
        remaining -= 1
        far_u, far_v = max(far_u, k & 7), max(far_v, k >> 3)
    return far_v * 8 + far_u if remaining == 0 else -1


@jit
def _predict_edge(block: Any, border: Any, at: int, across: int, steps: Any) -> int:
    """Return eight times a coefficient of the first row or column as the border foretells it.

    at : its place; across : places from one to the next towards the border.
    """
    total = np.int64(border[at]) * steps[at] * _CENTRE[0]
    for k in range(1, 8):
        place = at + k * across
        theirs, ours = np.int64(border[place]), np.int64(block[place])
        total += ((-theirs if k & 1 else theirs) - ours) * steps[place] * _CENTRE[k]
    return total // (max(steps[at], 1) << 10)


@jit
def _code_side(
    work: Any, data: Any, decoding: bool, block: Any, above: Any, left: Any, other: Any,
    hints: Any, side: int, has_border: bool, count: int, here: int, step: Any, slots: Any,
    weights: Any,
) -> bool:  # fmt: skip
    """Code the coefficients of the first row (side 0) or column, of which ``here`` are not 0."""
    along, across = (1, 8) if side == 0 else (8, 1)
    border = above if side == 0 else left
    many = np.int64(COUNT[count])
    remaining = here
    before, second = 0, 0
    for u in range(1, 8):
        if remaining == 0:
            break
        k = u * along
        e = side * 7 + u - 1
        guess = np.int64(0)
        if has_border:
            guess = _predict_edge(block, border, k, across, step)
        size = abs(guess)
        o = np.int64(other[k])
        fine = np.int64(FINE[hints[_MEAN, k]])
        guessed = np.int64(FINE[min((size + 1) >> 1, 255)])
        c_other = np.int64(COARSE[min(abs(o), 63)])
        c_size = np.int64(COARSE[min((size + 4) >> 3, 63)])
        place_slots(
            work, EDGE_AT, VALUE_SLOTS,
            (e * 16 + guessed) * 16 + fine,
            (e * 12 + many) * 8 + remaining,
            e * 64 + c_other * 8 + c_size,
            (e * 9 + min(before, 2) * 3 + min(second, 2)) * 8 + remaining,
            (guessed * 16 + fine) * 12 + many,
            (e * 16 + guessed) * 8 + remaining,
        )  # fmt: skip
        value = np.int64(block[k])
        length = code_length(
            work, data, decoding, value, slots, weights, EDGE_SET + e * VALUE_SLOTS,
            VALUE_SLOTS - 1,
        )  # fmt: skip
        second, before = before, length
        if length == 0:
            continue
        s_above, s_left, s_other = _sign(above[k]), _sign(left[k]), _sign(o)
        s_guess = _sign(guess)
        place_slots(
            work, SIGN_AT, 1,
            k * 16 + min(abs(o), 7) * 2 + (o < 0),
            k * 32 + guessed * 2 + (guess < 0),
            s_other * 9 + s_guess * 3 + s_left,
            k * 9 + s_other * 3 + s_above,
            k * 16 + guessed,
            k * 9 + s_guess * 3 + s_other,
        )  # fmt: skip
        sign = 1 if value < 0 else 0
        at = (SIGN_SET + k) * INPUTS
        sign = code_mixed(work, data, decoding, sign, slots, 0, weights, at)
        value = code_rest(
            work, data, decoding, abs(value), sign, slots, length, REST_AT + REST, size >> 1
        )
        if decoding:
            if value > 32767 or value < -32767:
                return False
            block[k] = value
        remaining -= 1
    return remaining == 0


@jit
def _predict_mean(
    pixels: Any, above: Any, left: Any, has_above: bool, has_left: bool, found: Any
) -> Any:
    """Return the level that meets the borders best, and how far apart what they say is.

    pixels : (64,) of the block without its mean; above, left : (2, 8), last and second-last lines;
    all in eighths of a sample; found : (16,), to work in.
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
        return np.int64(0), np.int64(0)
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
def _code_mean(
    work: Any, data: Any, decoding: bool, mean: int, level: int, spread: int, q: int, m_left: int,
    m_above: int, m_cross: int, count: int, slots: Any, weights: Any,
) -> Any:  # fmt: skip
    """Code a block's mean, whose step is q; returns how far it is from what was told, and it."""
    guess = min(max((2 * level + q) // (2 * q), -32768), 32767)
    part = min(max(((level - guess * q) * 8) // q + 4, 0), 7)
    far = spread // q
    doubt = np.int64(FINE[min(far << 1, 255)])
    around = np.int64(FINE[min(abs(m_left) + abs(m_above), 255)])
    c_miss = np.int64(COARSE[min(abs(m_cross), 63)])
    c_left = np.int64(COARSE[min(abs(m_left), 63)])
    c_above = np.int64(COARSE[min(abs(m_above), 63)])
    many = np.int64(COUNT[count])
    place_slots(
        work, MEAN_AT, MEAN_SLOTS,
        c_left * 8 + c_above, doubt * 8 + c_miss, (around >> 1) * 8 + c_miss, doubt * 12 + many,
        many, c_miss,
    )  # fmt: skip
    value = mean - guess
    length = code_length(work, data, decoding, value, slots, weights, MEAN_SET, MEAN_SLOTS - 1)
    if length == 0:
        return np.int64(0), guess
    s_left, s_above, s_cross = _sign(m_left), _sign(m_above), _sign(m_cross)
    place_slots(
        work, MEAN_SIGN_AT, 1,
        c_left * 2 + (m_left < 0), c_above * 2 + (m_above < 0), s_cross * 3 + s_left,
        c_miss * 2 + (m_cross < 0), part, s_cross * 9 + s_left * 3 + s_above,
    )  # fmt: skip
    sign = 1 if value < 0 else 0
    at = (MEAN_SET + MEAN_SLOTS) * INPUTS
    sign = code_mixed(work, data, decoding, sign, slots, 0, weights, at)
    value = code_rest(
        work, data, decoding, abs(value), sign, slots, length, REST_AT + 2 * REST, far
    )
    return value, value + guess


@jit
def _code_counts(
    work: Any, data: Any, decoding: bool, block: Any, n_above: int, n_left: int, n_beyond: int,
    n_far: int, n_cross: int, slots: Any, weights: Any,
) -> int:  # fmt: skip
    """Code how many of the 49 coefficients are not 0; all arguments are numbers of others."""
    average = (n_above + n_left + 1) >> 1
    c_above, c_left = np.int64(COUNT[n_above]), np.int64(COUNT[n_left])
    c_beyond, c_far = np.int64(COUNT[n_beyond]), np.int64(COUNT[n_far])
    c_cross, c_average = np.int64(COUNT[n_cross]), np.int64(COUNT[average])
    place_slots(
        work, COUNT_AT, COUNT_SLOTS,
        n_cross, c_cross * 12 + c_average, n_left, n_above, c_above * 12 + c_left,
        c_beyond * 12 + c_far,
    )  # fmt: skip
    count = np.int64(0)
    if not decoding:
        for k in INNER:
            count += block[k] != 0
    return code_count(work, data, decoding, count, 6, slots, weights, COUNT_SET)


@jit
def _code_side_count(
    work: Any, data: Any, decoding: bool, block: Any, side: int, n_above: int, n_left: int,
    n_cross: int, n_row: int, far: int, count: int, slots: Any, weights: Any,
) -> int:  # fmt: skip
    """Code how many of a side's seven coefficients are not 0."""
    along = 1 if side == 0 else 8
    many = np.int64(COUNT[count])
    average = (n_above + n_left + 1) >> 1
    place_slots(
        work, SIDE_AT, SIDE_SLOTS,
        side * 64 + n_cross * 8 + average,
        side * 50 + count,
        (side * 12 + many) * 15 + n_above + n_left,
        side * 64 + n_row * 8 + far,
        side * 64 + n_row * 8 + average,
        side,
    )  # fmt: skip
    here = np.int64(0)
    if not decoding:
        for u in range(1, 8):
            here += block[u * along] != 0
    return code_count(work, data, decoding, here, 3, slots, weights, SIDE_SET + side * SIDE_SLOTS)


@jit
def code_component(
    work: Any, data: Any, decoding: bool, blocks: Any, first: int, rows: int, columns: int,
    owners: Any, steps: Any, cross: int, cross_scale: Any, cross_columns: int, related: bool,
    slots: Any, weights: Any, counts: Any, cross_counts: Any, misses: Any, cross_misses: Any,
) -> int:  # fmt: skip
    """Code a component's blocks; returns DONE, or IMPOSSIBLE or NO_ROOM where it cannot go on.

    blocks : (n, 64) int16, those of the component from ``first`` on, ``columns`` in a row; owners :
    (rows, columns), the stream of each or −1; steps : (streams, 64) quantisation; cross : number of
    the first block of the component to look at, or −1; cross_scale : its blocks for each of ours,
    rows and columns; related : its coefficients are alike ours in place; counts, misses : (rows,
    columns) int32 to fill with each block's numbers of coefficients (all inner ones + 64 · those of
    the first row + 512 · those of the first column) and its mean's error.
    """
    found = np.zeros(16, np.int64)
    pixels, known = np.zeros(64, np.int64), np.zeros(64, np.int64)
    hints = np.zeros((3, 80), np.int32)
    nothing = np.zeros(64, np.int16)
    bottoms = np.zeros((columns, 2, 8), np.int64)
    right = np.zeros((2, 8), np.int64)
    for row in range(rows):
        for column in range(columns):
            owner = owners[row, column]
            if owner < 0:
                continue
            if not decoding and work[AT] + _MOST_BYTES > len(data):
                return NO_ROOM
            at = first + row * columns + column
            block, step = blocks[at], steps[owner]
            has_above = row > 0 and owners[row - 1, column] >= 0
            has_left = column > 0 and owners[row, column - 1] >= 0
            above = blocks[at - columns] if has_above else nothing
            left = blocks[at - 1] if has_left else above
            if not has_above:
                above = left
            corner, beyond = above, above
            if has_above and has_left:
                corner = blocks[at - columns - 1]
            is_beyond = has_above and column + 1 < columns and owners[row - 1, column + 1] >= 0
            if is_beyond:
                beyond = blocks[at - columns + 1]
            n_above = np.int64(counts[row - 1, column]) if has_above else 0
            n_left = np.int64(counts[row, column - 1]) if has_left else n_above
            if not has_above:
                n_above = n_left
            n_beyond = np.int64(counts[row - 1, column + 1]) if is_beyond else n_above
            n_far = np.int64(counts[row, column - 2]) if column > 1 else n_left
            n_cross, m_cross = np.int64(0), np.int64(0)
            other = nothing
            if cross >= 0:
                y, x = row * cross_scale[0], column * cross_scale[1]
                n_cross, m_cross = np.int64(cross_counts[y, x]), np.int64(cross_misses[y, x])
                if related:
                    other = blocks[cross + y * cross_columns + x]
            count = _code_counts(
                work, data, decoding, block, n_above & 63, n_left & 63, n_beyond & 63, n_far & 63,
                n_cross & 63, slots, weights,
            )  # fmt: skip
            if count > 49:
                return IMPOSSIBLE
            known[:] = 0
            _foresee(above, left, corner, beyond, hints)
            far = _code_inner(
                work, data, decoding, block, above, left, other, hints, known, count, slots,
                weights,
            )  # fmt: skip
            if far < 0:
                return IMPOSSIBLE
            total, along = count, np.int64(0)
            for side in range(2):
                shift = 6 + 3 * side
                here = _code_side_count(
                    work, data, decoding, block, side, (n_above >> shift) & 7,
                    (n_left >> shift) & 7, (n_cross >> shift) & 7, along,
                    far & 7 if side == 0 else far >> 3, count, slots, weights,
                )  # fmt: skip
                if not _code_side(
                    work, data, decoding, block, above, left, other, hints, side,
                    has_above if side == 0 else has_left, count, here, step, slots, weights,
                ):  # fmt: skip
                    return IMPOSSIBLE
                total += here << shift
                along = here
            counts[row, column] = total
            pixels[:] = 0
            if total:
                for k in range(1, 64):
                    pixels[k] = np.int64(block[k]) * step[k]
                for k in range(8):
                    transform(pixels, k, 8, 11)
                for k in range(8):
                    transform(pixels, 8 * k, 1, 15)
            level, spread = _predict_mean(
                pixels, bottoms[column], right, has_above, has_left, found
            )
            miss, mean = _code_mean(
                work, data, decoding, np.int64(block[0]), level, spread, max(step[0], 1),
                np.int64(misses[row, column - 1]) if has_left else 0,
                np.int64(misses[row - 1, column]) if has_above else 0, m_cross, count, slots,
                weights,
            )  # fmt: skip
            if mean > 32767 or mean < -32768:
                return IMPOSSIBLE
            block[0] = mean
            misses[row, column] = miss
            level = mean * step[0]
            for x in range(8):
                bottoms[column, 0, x] = pixels[56 + x] + level
                bottoms[column, 1, x] = pixels[48 + x] + level
                right[0, x] = pixels[8 * x + 7] + level
                right[1, x] = pixels[8 * x + 6] + level
    return DONE
