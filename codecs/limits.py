"""Every cap that a decoder enforces before it allocates, with its unit and reason."""

from __future__ import annotations

__all__ = ["MAX_RECORD_SAMPLES", "MAX_SIDE", "MAX_WEIGHTS_BYTES"]

MAX_SIDE = 2**20
"""Planes, rows or columns of one record at most: products stay in int64."""

MAX_RECORD_SAMPLES = 2**28
"""Samples of one record at most (512 MiB of uint16): what a hostile header may make us allocate."""

MAX_WEIGHTS_BYTES = 2**20
"""Size of a weights file at most; the shipped ones are tens of kilobytes."""
