"""Read a small region of a store: only the tiles that it touches are read and decoded.

python examples/03_read_a_region.py [OUT]
"""

import sys
import tempfile
from pathlib import Path

import xarray as xr
import zarr

import tilepress
from tilepress.examples.data import landsat_bands


def main(out: Path) -> None:
    store = out / "landsat.zarr"
    tilepress.compress(landsat_bands(), store, stack="*_B?.tif", workers=0)  # 0: in this process

    # By coordinates, with xarray: nothing is decoded before the values are asked for.
    image = xr.open_zarr(store, group="0")["image"]
    x, y = float(image.x[300]), float(image.y[200])
    around = image.sel(x=slice(x, x + 3000), y=slice(y, y - 3000))
    print(f"3 km × 3 km: {dict(around.sizes)}, brightest {int(around.max())}")

    # By index, with zarr alone. The codec is found by its entry point; nobody imports tilepress.
    array = zarr.open_array(store, path="0/image", mode="r")
    print(f"chunks of {array.chunks} in shards of {array.shards}")
    print("one sample:", array[0, 200, 300])


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as folder:
            main(Path(folder))
