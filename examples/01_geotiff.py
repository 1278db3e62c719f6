"""Compress single-band GeoTIFF files into one store, read it with xarray, get the files back.

python examples/01_geotiff.py [OUT]
"""

import sys
import tempfile
from pathlib import Path

import rioxarray  # noqa: F401  gives xarray objects .rio
import xarray as xr

import tilepress
from tilepress.examples.data import landsat_bands


def main(out: Path) -> None:
    store = out / "landsat.zarr"
    report = tilepress.compress(landsat_bands(), store, stack="*_B?.tif")
    print(f"{report.raw_bytes:,} bytes became {report.stored_bytes:,}: ratio {report.ratio:.2f}")

    image = xr.open_zarr(store, group="0")["image"]
    print(f"{dict(image.sizes)} {image.dtype}, {image.rio.crs}")
    print(f"mean of each band: {image.mean(('y', 'x')).to_numpy().round(1)}")

    damages = tilepress.verify(store)
    print(damages or "sound")
    for path in tilepress.export(store, out / "back"):
        print(f"exported {Path(path).name}")


if __name__ == "__main__":  # workers import this file: they must not start the work again
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as folder:
            main(Path(folder))
