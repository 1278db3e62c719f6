"""The binary range coder and the numbers of trees once more, in plain Python (FORMAT.md §4.2)."""

from __future__ import annotations

# of the numbers of a tree: the first context of each kind (FORMAT.md §4.5)
SPLIT, PROPERTY, SIZE, SIGN, REST = 0, 1, 33, 65, 66
WEST, NORTH, TABLE, TOKENS_OF, LEVEL = 67, 195, 323, 387, 515


def encode(bits: list[int], contexts: list[int]) -> bytes:
    """Code bits, each in its context; trailing zeros are left out."""
    state: dict[int, list[int]] = {}
    low, span, length = 0, 2**32 - 1, 4
    for bit, context in zip(bits, contexts, strict=True):
        known = state.setdefault(context, [1 << 15, 0])
        bound = (span >> 16) * known[0]
        low, span = (low + bound, span - bound) if bit else (low, bound)
        known[1] = min(known[1] + 1, 6)
        known[0] += -(known[0] >> known[1]) if bit else (2**16 - known[0]) >> known[1]
        known[0] = min(max(known[0], 16), 65520)
        while span < 1 << 24:  # a number of any size takes every carry
            low, span, length = low << 8, span << 8, length + 1
    return low.to_bytes(length, "big").rstrip(b"\0")


def numbers(*told: tuple[int, int, int]) -> bytes:
    """The bytes of numbers, each a value, its width and its first context."""
    bits, contexts = [], []
    for value, width, first in told:
        before = 1
        for k in range(width - 1, -1, -1):
            bits.append(value >> k & 1)
            contexts.append(first + before - 1)
            before = 2 * before + bits[-1]
    return encode(bits, contexts)
