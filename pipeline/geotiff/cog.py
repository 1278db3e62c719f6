"""Write cloud-optimised GeoTIFF files from a sealed store."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from pathlib import Path

import rasterio.shutil

from tilepress.errors import FileInTheWay, StoreError
from tilepress.pipeline.geotiff.drivers import TIFF_MAGICS
from tilepress.pipeline.geotiff.export import export_geotiff, writes_into_folder
from tilepress.pipeline.geotiff.gdal import gdal_calls, open_raster
from tilepress.pipeline.image.source import ExportReader
from tilepress.pipeline.storage.atomic import make_directory
from tilepress.pipeline.storage.placed import place_new
from tilepress.pipeline.storage.unfinished import unfinished

__all__ = ["export_cog"]


def export_cog(
    reader: ExportReader,
    out: Path,
    *,
    bands: Sequence[int] | None = None,
    bbox: tuple[float, float, float, float] | None = None,
    bbox_crs: str | None = None,
) -> list[Path]:
    """Write the GeoTIFF beside the destination, then let GDAL's COG driver copy it.

    Parameters are those of ``export_geotiff``.
    """
    into_folder = writes_into_folder(out)
    if not into_folder:
        _refuse(out)
    make_directory(out.parent)
    with unfinished(out, folder=True) as folder:
        plain = folder / ("plain" if into_folder else "plain.tif")
        files = export_geotiff(reader, plain, bands=bands, bbox=bbox, bbox_crs=bbox_crs)
        files = [file for file in files if _is_tiff(file)]
        targets = [out / file.name for file in files] if into_folder else [out]
        for target in targets:
            _refuse(target)
        sidecars = []
        for file, target in zip(files, targets, strict=True):
            make_directory(target.parent)
            made = folder / f"cog-{file.name}"
            beside = file.with_name(f"{file.name}.aux.xml")
            apart = folder / f"apart-{file.name}"
            if _differs_in_nodata(file):  # of which a TIFF has one, and GDAL would take the first
                beside.rename(apart)
            with gdal_calls("write", target, StoreError):
                rasterio.shutil.copy(
                    str(file), str(made), driver="COG", compress="DEFLATE",
                    predictor=_predictor(file), bigtiff="IF_SAFER",
                )  # fmt: skip
            if apart.exists():
                apart.rename(made.with_name(f"{made.name}.aux.xml"))
            for told in sorted(folder.glob(f"{glob.escape(made.name)}.*")):
                place = target.with_name(target.name + told.name[len(made.name) :])
                place_new(told, place)
                sidecars.append(place)
            place_new(made, target)
    return [*targets, *sidecars]


def _refuse(target: Path) -> None:
    if os.path.lexists(target):
        text = f"exporting: {target} exists; remove it or choose another name"
        raise FileInTheWay(text, str(target))


def _differs_in_nodata(path: Path) -> bool:
    with open_raster(path, "GTiff") as file:
        return len({repr(value) for value in file.nodatavals}) > 1


def _predictor(path: Path) -> str:
    """Return whether GDAL's COG driver may predict: of complex and packed samples it does not."""
    with open_raster(path, "GTiff") as file:
        packed = any("NBITS" in file.tags(n, ns="IMAGE_STRUCTURE") for n in file.indexes)
        return "NO" if packed or any("complex" in dtype for dtype in file.dtypes) else "YES"


def _is_tiff(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) in TIFF_MAGICS
