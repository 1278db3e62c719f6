"""zarr 2.18 reads and writes arrays of format 2 with the numcodecs codec, and loads no zarr 3."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import zarr
from tests.helpers.samples import smooth

pytestmark = pytest.mark.readers

PACKAGES = Path(sys.prefix) / "zarr2"

SCRIPT = """
import json, sys
import numcodecs, numpy as np, zarr

theirs, ours, samples = sys.argv[1:]
image = np.load(samples)
codec = numcodecs.get_codec({"id": "tilepress_tile"})
shape = {"shape": image.shape, "chunks": (2, 32, 32), "dtype": image.dtype}
array = zarr.open(ours, mode="w", compressor=codec, **shape)
array[...] = image
read = zarr.open(theirs, mode="r")
print(json.dumps({
    "version": zarr.__version__,
    "theirs": bool((read[...] == image).all()),
    "window": bool((read[1, 30:40, 5:70] == image[1, 30:40, 5:70]).all()),
    "ours": bool((zarr.open(ours, mode="r")[...] == image).all()),
}))
"""


class TestZarr2:
    def test_reads_and_writes_what_zarr_3_does(self, tmp_path: Path) -> None:
        image = smooth((3, 70, 90)).astype(np.uint16)
        np.save(tmp_path / "samples.npy", image)
        written = zarr.create_array(
            tmp_path / "theirs.zarr",
            shape=image.shape,
            chunks=(2, 32, 32),
            dtype=image.dtype,
            zarr_format=2,
            compressors={"id": "tilepress_tile"},
        )
        written[...] = image
        paths = (tmp_path / name for name in ("theirs.zarr", "ours.zarr", "samples.npy"))
        ran = subprocess.run(
            [sys.executable, "-c", SCRIPT, *map(os.fspath, paths)],
            env={**os.environ, "PYTHONPATH": os.fspath(PACKAGES)},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert ran.returncode == 0, ran.stderr
        told = json.loads(ran.stdout)
        assert told.pop("version").startswith("2.18.")
        assert told == {"theirs": True, "window": True, "ours": True}
        again = zarr.open_array(tmp_path / "ours.zarr", mode="r")
        np.testing.assert_array_equal(again[...], image)
