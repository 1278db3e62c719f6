"""The kernels of the serial loops, several threads a block, in numba's simulator of a GPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

_CHECK = """
import json
import numpy as np
from numba import config
from tests.codecs.ntc.device.test_backend import DEPENDENT, MODEL, coefficients, native_stream
from tilepress.codecs.ntc.backend import CPU
from tilepress.codecs.ntc.device.kernels import kernels_of
from tilepress.codecs.ntc.device.backend import open_device
from tilepress.codecs.tile import TileCodec
import torch

device, alike = open_device(), []
assert config.ENABLE_CUDASIM and kernels_of(torch.device("cpu")).threads == 2
for kind, sides, model in ((0, (8, 16), MODEL), (1, (11, 13), MODEL),
                           (0, (8, 8), DEPENDENT), (1, (8, 9), DEPENDENT)):
    theirs = ours = None
    for given in coefficients(kind, 2, sides, 2.0):
        here, there = given.copy(), given.copy()
        a, b = (one.encode(kind, plane, maps, model, 8.0)
                for one, plane, maps in ((CPU, here, theirs), (device, there, ours)))
        back = np.zeros(sides, np.float32)
        device.decode(kind, back, ours, model, native_stream(a, model))
        alike += [np.array_equal(a.values, b.values), np.array_equal(a.tables, b.tables),
                  a.bits == b.bits, np.array_equal(here, there), np.array_equal(back, here)]
        theirs, ours = a.maps, b.maps
small = np.arange(63, dtype=np.uint16).reshape(7, 9) ** 2
here, there = (TileCodec("ntc", quality=80.0, device=d) for d in ("cpu", "cuda"))
record = here.encode(small)
alike += [there.encode(small) == record, np.array_equal(there.decode(record), here.decode(record))]
print(json.dumps([bool(one) for one in alike]))
"""


@pytest.mark.slow
def test_symbols_are_the_cpus() -> None:
    child = subprocess.run(
        [sys.executable, "-c", _CHECK],
        env=os.environ | {"NUMBA_ENABLE_CUDASIM": "1"},
        cwd=Path(__file__).parents[4],
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert child.returncode == 0, child.stderr[-2000:]
    assert json.loads(child.stdout.splitlines()[-1]) == [True] * 42
