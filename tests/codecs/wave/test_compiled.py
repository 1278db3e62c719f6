"""Compilation: a machine with no place for compiled code still reads."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
from numba.core import caching

# what numba finds in a read-only installation with no home: no folder to keep code in
caching.CacheImpl._locator_classes = []
caching._CacheImpl = caching.CacheImpl
for locator in list(vars(caching).values()):
    if isinstance(locator, type) and issubclass(locator, caching._CacheLocator):
        locator.from_function = classmethod(lambda cls, function, file: None)

from tilepress.codecs.wave import compiled

assert not compiled._CACHE
import numpy as np
from tilepress.codecs.tile import TileCodec

array = np.arange(99, dtype=np.uint16).reshape(9, 11) ** 2 % 77
assert np.array_equal(TileCodec().decode(TileCodec().encode(array)), array)
"""


class TestNoPlaceForCompiledCode:
    @pytest.mark.slow
    def test_compiles_in_memory_instead(self, tmp_path: Path) -> None:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM],
            cwd=tmp_path,
            env=dict(os.environ),
            capture_output=True,
            text=True,
            timeout=240,
        )
        assert done.returncode == 0, done.stderr
