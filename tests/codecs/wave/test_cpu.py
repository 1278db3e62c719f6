"""The CPU's way stands alone: nothing of a GPU is loaded for it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROGRAM = """
import sys

import numpy as np
from tilepress.codecs.tile import TileCodec

tile = (np.arange(2 * 40 * 50).reshape(2, 40, 50) ** 2 % 977).astype(np.uint16)
codec = TileCodec()
assert np.array_equal(codec.decode(codec.encode(tile)), tile)
assert np.array_equal(codec.decode_many(codec.encode_many([tile]))[0], tile)
print([name for name in sys.modules if name.startswith(FOREIGN)])
"""
FOREIGN = (
    "numba",
    "llvmlite",
    "tilepress.codecs.wave.cuda",
    "tilepress.codecs.owner",
)


class TestTheCpuLoadsNothingOfAGpu:
    """A broken CUDA installation must not keep anybody from reading an archive on the CPU."""

    def test_encode_and_decode_in_a_fresh_process(self, tmp_path: Path) -> None:
        done = subprocess.run(
            [sys.executable, "-c", f"FOREIGN = {FOREIGN!r}\n{PROGRAM}"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=240,
        )
        assert done.stdout.strip() == "[]", done.stdout + done.stderr
