"""Read bands that lie on another grid as if they lay on that of an image."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window

from tilepress.codecs.loss import Loss
from tilepress.codecs.numbers import number_of
from tilepress.errors import StoreError, UsageError
from tilepress.pipeline.geotiff.export import export_geotiff, record_of
from tilepress.pipeline.geotiff.gdal import gdal_calls, open_raster
from tilepress.pipeline.geotiff.record import dump_record, parse_crs
from tilepress.pipeline.geotiff.window import transform_of
from tilepress.pipeline.image.band_choice import names_of_bands
from tilepress.pipeline.image.grid import Box
from tilepress.pipeline.image.source import ExportReader

__all__ = ["METHODS", "with_other_grids"]

METHODS = ("nearest", "bilinear", "cubic", "average", "mode")
"""Ways to resample, by GDAL's names."""

_GRID = ("height", "width", "transform", "crs_wkt", "gcps", "rpcs")
_STACK = "stack"


@contextmanager
def with_other_grids(
    reader: ExportReader, others: Sequence[tuple[ExportReader, int, str]], method: str
) -> Iterator[ExportReader]:
    """Give what reads an image with bands of other images behind its own, resampled.

    Parameters
    ----------
    others :
        (image, number of the band there from 1, what it is called)
    method :
        one of ``METHODS``

    The other images lie on this machine while it is open, band by band. Raises UsageError where an
    image has no place or the types of samples differ.
    """
    if method not in METHODS:
        raise UsageError(f"exporting: got --resample {method!r}, want one of {', '.join(METHODS)}")
    record = record_of(reader, str(reader.origin["files"][0]["item"]))
    transform = transform_of(record)
    if transform is None or record["crs_wkt"] is None:
        raise UsageError("exporting: an image without CRS and transform takes no other bands")
    with TemporaryDirectory(prefix="tilepress-") as folder, ExitStack() as opened:
        found = []
        for at, (other, number, name) in enumerate(others):
            own = record_of(other, str(other.origin["files"][0]["item"]))
            if own["dtype"] != record["dtype"]:
                text = f"band {name} has samples of {own['dtype']}, and the image {record['dtype']}"
                raise UsageError(f"exporting: {text}: export it alone")
            (file, *_) = export_geotiff(other, Path(folder) / f"{at}.tif", bands=[number])
            with gdal_calls("read", file, StoreError):
                raster = opened.enter_context(open_raster(file, "GTiff"))
                warped = opened.enter_context(
                    WarpedVRT(
                        raster,
                        crs=parse_crs(record["crs_wkt"]),
                        transform=transform,
                        height=record["height"],
                        width=record["width"],
                        resampling=Resampling[method],
                    )
                )
            moved = _moved(other, number, record, name, method)
            found.append(_Band(warped, moved, name, file, other.loss))
        yield _WithOthers(reader, found)


def _moved(
    other: ExportReader, number: int, grid: Mapping[str, Any], name: str, method: str
) -> dict[str, Any]:
    """Return the record of one band of another image, on the grid of this one."""
    records = [record_of(other, str(file["item"])) for file in other.origin["files"]]
    at = number - 1
    for own in records:
        if at < own["count"]:
            break
        at -= own["count"]
    per_band = ("nodata", "band_tags", "descriptions", "units", "scales", "offsets", "colors")
    found = {**own, **{key: [own[key][at]] for key in per_band}, "count": 1}
    found |= {key: grid[key] for key in _GRID}
    found |= {"descriptions": [own["descriptions"][at] or name], "mask": "none", "colormaps": {}}
    tags = dict(found["band_tags"][0].get("", {}))
    tags["TILEPRESS_RESAMPLED"] = method
    found["band_tags"] = [{**found["band_tags"][0], "": tags}]
    found.pop("pam", None)
    return found


class _Band:
    """A band of another image, resampled as it is read."""

    def __init__(
        self, raster: WarpedVRT, record: dict[str, Any], name: str, file: Path, loss: Loss
    ) -> None:
        self.record, self.name, self.loss = record, name, loss
        self._raster, self._file = raster, file

    def read(self, rows: tuple[int, int], columns: tuple[int, int]) -> npt.NDArray[Any]:
        window = Window(columns[0], rows[0], columns[1] - columns[0], rows[1] - rows[0])
        with gdal_calls("read", self._file, StoreError):
            samples: npt.NDArray[Any] = self._raster.read(1, window=window)
        nodata = self.record["nodata"][0]
        if nodata is None:
            return samples
        absent = self._raster.dataset_mask(window=window) == 0
        return np.where(absent, samples.dtype.type(number_of(nodata)), samples)


class _WithOthers:
    """An ``ExportReader`` of an image with bands of others behind its own."""

    def __init__(self, reader: ExportReader, others: Sequence[_Band]) -> None:
        self._reader, self._others = reader, others
        self._own = reader.shape[0] if "band" in reader.axes else 1
        self.axes = ("band", "y", "x")
        self.shape = (self._own + len(others), *reader.shape[-2:])
        self.dtype, self.has_mask = reader.dtype, reader.has_mask
        self.decoder_note = reader.decoder_note
        self.chunk = (1, *reader.chunk[-2:])
        losses = [reader.loss, *(one.loss for one in others)]
        self.loss = next((loss for loss in losses if not loss.is_lossless), reader.loss)

    @property
    def ratio(self) -> float:
        return self._reader.ratio

    @property
    def attrs(self) -> Mapping[str, Any]:
        own = names_of_bands(self._reader) or tuple(f"{n}" for n in range(1, self._own + 1))
        return {**self._reader.attrs, "band_names": [*own, *(one.name for one in self._others)]}

    @property
    def origin(self) -> Mapping[str, Any]:
        files = list(self._reader.origin["files"])
        files += [{"name": one.name, "item": f"other-{n}"} for n, one in enumerate(self._others)]
        return {**self._reader.origin, "kind": _STACK, "files": files}

    def read(self, box: Box) -> npt.NDArray[Any]:
        (first, top, left), (last, bottom, right) = box.start, box.stop
        parts = []
        if first < self._own:
            own = Box((first, top, left), (min(last, self._own), bottom, right))
            if "band" not in self._reader.axes:
                own = Box((top, left), (bottom, right))
            parts.append(self._reader.read(own).reshape(-1, bottom - top, right - left))
        for number in range(max(first, self._own), last):
            band = self._others[number - self._own]
            parts.append(band.read((top, bottom), (left, right))[np.newaxis])
        return np.concatenate(parts)

    def read_mask(self, box: Box) -> npt.NDArray[np.uint8]:
        return self._reader.read_mask(box)

    def source_names(self) -> tuple[str, ...]:
        return (*self._reader.source_names(), *(f"other-{n}" for n in range(len(self._others))))

    def source_bytes(self, name: str) -> bytes:
        prefix, dash, number = name.partition("-")
        if prefix == "other" and dash:
            return dump_record(self._others[int(number)].record)
        return self._reader.source_bytes(name)
