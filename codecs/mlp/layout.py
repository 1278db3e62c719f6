"""Sizes that native code and Python share: those of ``native/units.c``."""

from __future__ import annotations

__all__ = [
    "BLOCKS",
    "CLASSES",
    "DECODER_UNITS",
    "FEATURES",
    "MATRIX_UNIT",
    "MOST_MAGNITUDE",
    "MOST_UNITS",
    "PARENTS",
    "TABLES",
    "TABLE_BITS",
    "TANH_UNIT",
    "TOKENS",
    "raw_bits",
]

BLOCKS = (4, 8, 16)
"""Rows and columns of a block."""
MOST_UNITS = 256
DECODER_UNITS = 32
"""Units of the decoder's own hidden layer."""
MATRIX_UNIT = 1 << 14
"""What 1 is in matrices."""
TANH_UNIT = 256
"""Where the hard hyperbolic tangent of the decoder's units, a cut to ±TANH_UNIT, ends."""

FEATURES = 11
PARENTS = 3
CLASSES = 40
TABLES = 80
TABLE_BITS = 15
"""Frequencies of a table sum to 2^TABLE_BITS."""
TOKENS = 88
"""Tokens 0 … 87 cover magnitudes up to MOST_MAGNITUDE, as those of ntc."""
MOST_MAGNITUDE = 2**22 - 1


def raw_bits(token: int) -> int:
    """Return how many raw bits follow a token, its sign left out."""
    return 0 if token < 16 else (token - 8) >> 2
