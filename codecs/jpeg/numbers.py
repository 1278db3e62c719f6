"""Code the numbers that blocks are made of, bit by bit: lengths, signs, lower bits, counts."""

from __future__ import annotations

from typing import Any

import numpy as np

from tilepress.codecs.jpeg.mixing import INPUTS, PLACES, code_mixed, code_plain
from tilepress.codecs.wave.compiled import jit_inline

__all__ = ["code_count", "code_length", "code_rest", "place_slots"]


@jit_inline
def code_length(
    work: Any, data: Any, decoding: bool, value: int, slots: Any, weights: Any, sets: int,
    longest: int,
) -> int:  # fmt: skip
    """Code in unary how many bits a value has, its sign aside; returns it, at most 16."""
    magnitude = abs(value)
    length = 0
    while length < 16:
        at = min(length, longest)
        bit = 1 if magnitude >> length else 0
        if not code_mixed(work, data, decoding, bit, slots, at, weights, (sets + at) * INPUTS):
            break
        length += 1
    return length


@jit_inline
def code_rest(
    work: Any, data: Any, decoding: bool, magnitude: int, negative: int, slots: Any, length: int,
    rest: int, average: int,
) -> int:  # fmt: skip
    """Code the lower bits of a magnitude of ``length`` bits, above 0; returns it with its sign.

    average : four times the magnitude that is expected.
    """
    found = np.int64(1)
    near = min((average << 1) >> length, 7)
    for shift in range(length - 2, -1, -1):
        at = rest + ((length * 16 + shift) << 3) + near
        bit = code_plain(work, data, decoding, (magnitude >> shift) & 1, slots, at)
        found = (found << 1) | bit
    return -found if negative else found


@jit_inline
def code_count(
    work: Any, data: Any, decoding: bool, count: int, bits: int, slots: Any, weights: Any, sets: int
) -> int:
    """Code a number of at most ``bits`` bits: how many it has in unary, then those below the top.

    Of a context's slots the first are those of the length, then those of the lower bits.
    """
    length = 0
    while length < bits:
        bit = 1 if count >> length else 0
        at = (sets + length) * INPUTS
        if not code_mixed(work, data, decoding, bit, slots, length, weights, at):
            break
        length += 1
    if length == 0:
        return 0
    node = 1
    for shift in range(length - 2, -1, -1):
        at = bits + node
        bit = (count >> shift) & 1
        bit = code_mixed(work, data, decoding, bit, slots, at, weights, (sets + at) * INPUTS)
        node = (node << 1) | bit
    return node


@jit_inline
def place_slots(
    work: Any, at: Any, slots: int, a: int, b: int, c: int, d: int, e: int, f: int
) -> None:
    """Put the numbers of the first slots of six contexts where ``code_mixed`` looks for them."""
    work[PLACES] = at[0] + a * slots
    work[PLACES + 1] = at[1] + b * slots
    work[PLACES + 2] = at[2] + c * slots
    work[PLACES + 3] = at[3] + d * slots
    work[PLACES + 4] = at[4] + e * slots
    work[PLACES + 5] = at[5] + f * slots
