"""Every cap that a decoder enforces before it allocates, with its unit and reason."""

from __future__ import annotations

__all__ = [
    "MAX_CHECKPOINT_BYTES",
    "MAX_RECORD_SAMPLES",
    "MAX_SIDE",
    "MAX_SPLITS",
    "MAX_TREE_BYTES",
    "MAX_TREE_NODES",
    "MAX_TREE_TABLES",
    "MAX_WEIGHTS_BYTES",
]

MAX_SIDE = 2**20
"""Planes, rows or columns of one record at most: products stay in int64."""

MAX_RECORD_SAMPLES = 2**26
"""Samples of one record at most: sixteen planes of 2048 × 2048. What decoding them takes is known
and compared with a budget before it begins (budget.py)."""

MAX_SPLITS = 4
"""Bodies within bodies at most: 48-bit samples need three."""

MAX_WEIGHTS_BYTES = 2**20
"""Size of a weights file at most; the shipped ones are tens of kilobytes."""

MAX_CHECKPOINT_BYTES = 2**29
"""Size of a file of CompressAI's weights at most; its own largest ones are some 120 MB."""

MAX_TREE_NODES = 511
"""Nodes of a plane's context tree at most, so 512 leaves."""

MAX_TREE_TABLES = 63
"""Tables of its own that a plane may have."""

MAX_TREE_BYTES = 2**14
"""Coded bytes of a context tree at most; what encoders make takes a few hundred."""
