"""Drivers of GDAL that are asked for by name (``--driver``): their files, and the images in them.

None of them is ever tried unless it was asked for, and only on files that begin with its mark. A
file of theirs is read by a guest that may open this file alone: some of these formats can name
other files (HFA, HDF5), and their libraries would open them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from rasterio.io import DatasetReader
from rasterio.windows import Window

from tilepress.errors import UnsupportedSource
from tilepress.pipeline.geotiff.drivers import READERS
from tilepress.pipeline.geotiff.gdal import ask, gdal_calls, gdal_errors, open_dataset
from tilepress.pipeline.geotiff.virtual import maps_other_files
from tilepress.pipeline.image.format import FileImage, FileImages
from tilepress.pipeline.image.names import safe_name

__all__ = ["images_by_driver", "open_by_driver"]

MAX_SUBDATASETS = 4096

_ALONE = {"GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR"}

_TYPES = re.compile(r"u?int(8|16|32|64)|float(16|32|64)|complex(_int16|64|128)")


def images_by_driver(path: str, driver: str, kind: str) -> FileImages:
    """Return every raster of a file, each called by its variable, and how many others there are.

    Raises SourceError where the driver cannot read the file.
    """
    found: list[FileImage] = []
    endings: set[str] = set()
    others = 0
    with gdal_calls("open", Path(path), options=_ALONE):
        variables = _variables(path, driver)
        for variable in variables:
            if not _is_raster(path, driver, variable):
                others += 1
                continue
            ending = safe_name(variable)[:64]
            if ending.lower() in endings:
                ending = f"{ending}-{len(found)}"
            endings.add(ending.lower())
            options = {"driver": driver, "variable": variable}
            found.append(FileImage(kind=kind, ending=f"-{ending}", options=options))
    if variables and not found:
        raise UnsupportedSource(f"open {path}: {driver} finds no raster in it")
    if not variables:
        found.append(FileImage(kind=kind, options={"driver": driver}))
    return FileImages(images=tuple(found), others=others)


def open_by_driver(path: Path, driver: str, variable: str | None) -> DatasetReader:
    """Open a file, or one variable of it; call it inside ``gdal_calls``.

    Raises UnsupportedSource where its library would make samples up.
    """
    if maps_other_files(path):
        text = "it maps samples of other files (virtual datasets), which its reader may not open"
        raise UnsupportedSource(f"open {path}: {text}")
    if variable is None:
        return open_dataset(str(path.absolute()), driver)
    reader = READERS.get(driver)
    if reader is None or '"' in f"{path}{variable}":
        raise UnsupportedSource(f"open {path}: {driver} reads no variables of it")
    name = reader.name.format(path=path.absolute(), variable=variable)
    return open_dataset(name, reader.driver)


def _variables(path: str, driver: str) -> list[str]:
    """Return the names of what may be rasters; none where the file is one."""
    with open_by_driver(Path(path), driver, None) as dataset:
        names = ask(lambda: dataset.subdatasets)
    if len(names) > MAX_SUBDATASETS:
        raise UnsupportedSource(f"open {path}: it holds more than {MAX_SUBDATASETS} variables")
    found = list(_named(path, names))
    if names and ('"' in path or len(found) < len(names)):
        text = f"{driver} finds {len(names)} images that it cannot name below this path"
        raise UnsupportedSource(f"open {path}: {text}")
    return found


def _named(path: str, names: Sequence[str]) -> Iterator[str]:
    """Yield what stands behind the path in names such as HDF5:"/a.h5"://group/variable."""
    for name in names:
        found = re.fullmatch(r'\w+:"?' + re.escape(path) + r'"?:(?://)?(.+)', name, re.DOTALL)
        if found is not None:
            yield found[1]


def _is_raster(path: str, driver: str, variable: str) -> bool:
    try:
        with open_by_driver(Path(path), driver, variable) as dataset:
            if min(dataset.width, dataset.height) < 2:
                return False
            dataset.read(1, window=Window(0, 0, 1, 1))  # texts have a type, too, and no samples
            return all(_TYPES.fullmatch(one) for one in dataset.dtypes)
    except (UnsupportedSource, TypeError):  # numpy has no such type
        return False
    except gdal_errors():
        return False
