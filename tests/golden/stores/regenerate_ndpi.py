"""Write the golden store of an NDPI file, on purpose only.

Run: python -m tests.golden.stores.regenerate_ndpi

    ndpi.tar.xz           source/a.ndpi, and kept/a.zarr, which keeps its streams
    ndpi-before.tar.xz    before/a.zarr, of the version that kept samples alone

What is there is never changed; the second one no version can write any more.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np
from tests.golden.stores.regenerate import FOLDER, TIME_NS, pack
from tests.helpers.ndpi_files import write_ndpi
from tests.helpers.slide_files import pyramid

from tilepress.workflows.run.compress import compress

NAME = "ndpi.tar.xz"
TILE = 32


def main() -> None:
    """Write what is missing."""
    if (FOLDER / NAME).exists():
        return
    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch, "source/a.ndpi")
        noise = np.random.default_rng(7).integers(0, 50, (3, 70, 96), np.uint8)
        levels = pyramid(70, 96, levels=2)
        levels = [one // 2 + noise[:, : one.shape[1], : one.shape[2]] for one in levels]
        write_ndpi(source, levels, (20.0, 10.0), interval=2, subsampling=2)
        os.utime(source, ns=(TIME_NS, TIME_NS))
        report = compress(source, Path(scratch, "kept/a.zarr"), workers=0, tile=TILE)
        assert report.ok, list(report.failures)
        pack(Path(scratch), FOLDER / NAME)


if __name__ == "__main__":
    main()
