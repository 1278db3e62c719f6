"""Sizes that native code and Python share: those of ``native/tile.h``."""

from __future__ import annotations

__all__ = [
    "ESCAPE_BITS",
    "FEATURES",
    "HIDDEN",
    "LAPPED",
    "LAPPED_BANDS",
    "MOST_MAGNITUDE",
    "NETS",
    "NEXT_STATE",
    "OFFSETS",
    "PAIRS",
    "QUANTISERS",
    "QUANTISER_OF",
    "STATES",
    "TABLES",
    "TABLE_BITS",
    "TOKENS",
    "WAVELET",
    "WAVELET_BANDS",
    "raw_bits",
]

LAPPED, WAVELET = 0, 1
"""The two transforms; also the two nets, of their bands."""
NETS = {"lapped": LAPPED, "wavelet": WAVELET}

PAIRS = 11
FEATURES = 2 * PAIRS
HIDDEN = 32
LAPPED_BANDS = 64
"""Frequencies of a block; the first is not coded as one."""
WAVELET_BANDS = 24
"""Three orientations of five levels, then of three of a lapped plane's means."""

TABLES = 80
QUANTISERS = 2
"""Of dependent quantisation: each has tables of its own, those of the second behind the others."""
STATES = 8
"""Of dependent quantisation: each says a quantiser …"""
QUANTISER_OF = (0, 1, 0, 1, 0, 1, 0, 1)
NEXT_STATE = ((0, 2), (5, 7), (1, 3), (6, 4), (2, 0), (4, 6), (3, 1), (7, 5))
"""… and which one follows, by the parity of a magnitude."""
TABLE_BITS = 15
"""Frequencies of a table sum to 2^TABLE_BITS."""
TOKENS = 88
"""Tokens 0 … 87 cover magnitudes up to MOST_MAGNITUDE."""
ESCAPE_BITS = 7
"""Raw bits of a token that its table leaves to the escape."""
MOST_MAGNITUDE = 2**22 - 1
OFFSETS = 4
"""Magnitudes of which a table says where they lie on average; larger ones are as the last."""


def raw_bits(token: int) -> int:
    """Return how many raw bits follow a token, its sign left out."""
    return 0 if token < 16 else (token - 8) >> 2
