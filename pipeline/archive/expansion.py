"""Refuse images that claim to hold far more samples than their files can tell of."""

from __future__ import annotations

import math

from tilepress.errors import UnsupportedSource
from tilepress.pipeline.image.fingerprint import bytes_of
from tilepress.pipeline.image.source import TileSource
from tilepress.pipeline.storage.path import is_url

__all__ = ["check_expansion"]

FREE_BYTES = 2**30
"""Samples that a file of any size may hold."""


def check_expansion(source: TileSource, allowed: float) -> None:
    """Raise UnsupportedSource where an image claims to hold more samples than its files can tell.

    A file of a kilobyte may claim a terabyte, by tiles that are absent or share their bytes: to
    code it takes days, and nothing that it holds is lost by leaving it out. ``allowed`` is how many
    bytes of samples a byte of the files may stand for, 0 any number. Deflate reaches 1032 and LZW
    1500, on samples that are all the same.
    """
    spec, info = source.spec, source.info
    declared = math.prod(info.shape) * info.dtype.itemsize
    if not allowed or declared <= FREE_BYTES:
        return
    size = spec.source_bytes
    if size is None and not is_url(spec.paths[0]):
        size = bytes_of(spec.paths)
    if size is not None and declared > allowed * size:
        ratio = math.ceil(declared / max(size, 1))
        raise UnsupportedSource(
            f"planning {spec.paths[0]}: its {size} bytes claim to hold {declared} bytes of "
            f"samples, {ratio} times as many; if that is right, pass --max-expansion {ratio}"
        )
