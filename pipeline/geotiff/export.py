"""Write GeoTIFF files back from a sealed store: same samples, same profile, same metadata.

A file is written window by window in a folder beside its destination and moved into place when
it is whole. What GDAL can write, GDAL writes; TIFF entries that it would drop or round
(orientation, vendor tags, EXIF, ICC profile, GeoTIFF keys) are then appended from the store's
record.

Lossless compression stays what it was. Lossy compression (JPEG, lossy WebP, …) becomes deflate, so
that the decoded samples are exactly those of the source; coding them again would change them.
Samples that GDAL converted when reading (YCbCr, CIELAB, LogLuv) are written as the RGB they became.
Overviews are derived data and are not written.
"""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio
from affine import Affine
from rasterio.env import Env
from rasterio.errors import NotGeoreferencedWarning
from rasterio.io import DatasetWriter
from rasterio.windows import Window

from tilepress.codecs.numbers import number_of
from tilepress.errors import (
    DamagedStore,
    DestinationConflict,
    FileInTheWay,
    StoreError,
    UsageError,
)
from tilepress.pipeline.geotiff.creation import creation_options, plain_options
from tilepress.pipeline.geotiff.drivers import OPTED
from tilepress.pipeline.geotiff.gdal import gdal_calls, gdal_errors
from tilepress.pipeline.geotiff.join import joined_record
from tilepress.pipeline.geotiff.kept_record import parse_record
from tilepress.pipeline.geotiff.metadata import (
    append_carried,
    write_band_nodata,
    write_metadata,
    write_tables,
)
from tilepress.pipeline.geotiff.part import FilePart
from tilepress.pipeline.geotiff.record import (
    parse_crs,
)
from tilepress.pipeline.geotiff.stream_export import append_streams, stream_options
from tilepress.pipeline.geotiff.window import transform_of, window_of
from tilepress.pipeline.image.band_choice import names_of_bands
from tilepress.pipeline.image.grid import Box
from tilepress.pipeline.image.names import path_to_write, safe_name
from tilepress.pipeline.image.source import ExportReader
from tilepress.pipeline.storage.atomic import make_directory, sync_directory
from tilepress.pipeline.storage.placed import refuse_links
from tilepress.pipeline.storage.unfinished import unfinished

__all__ = ["export_geotiff", "record_of", "writes_into_folder"]

WINDOW_BYTES = 64 * 2**20
"""Samples that are read and written at a time."""


def export_geotiff(
    reader: ExportReader,
    out: Path,
    *,
    bands: Sequence[int] | None = None,
    bbox: tuple[float, float, float, float] | None = None,
    bbox_crs: str | None = None,
) -> list[Path]:
    """Write the files that the store was made of; return them.

    Parameters
    ----------
    out :
        File to write, or a folder, which gets the original name: one that exists, or whatever does
        not end in ``.tif`` or ``.tiff`` (made where there is none). A stack gives every file back
        under its own name into a folder; as a file it is one raster of all bands. One page of a
        file of several images becomes a file of its own, ``<stem>-page<n>.tif``.
    bands :
        Numbers from 1 along the image's ``band`` axis, in the order to write; None means all.
    bbox :
        (left, bottom, right, top); the smallest window of whole pixels that covers it is written.
        None means the whole image.
    bbox_crs :
        CRS of ``bbox``, as PROJ knows it ("EPSG:4326": longitudes first); None is the image's.
    """
    origin = reader.origin
    if origin.get("kind") not in ("geotiff", "stack"):
        raise UsageError(f"export GeoTIFF: the store was made of {origin.get('kind')!r}")
    records = [record_of(reader, str(file["item"])) for file in origin["files"]]
    window = window_of(records[0], reader.shape[-2:], bbox, bbox_crs)
    if origin["kind"] == "stack" and not writes_into_folder(out):
        records = [joined_record(records, names_of_bands(reader), out.name)]
        targets = [out]
    else:
        targets = _targets(out, origin)
    parts = []
    for target, (record, first) in zip(targets, _with_first_band(records), strict=True):
        chosen = _choose(record, first, bands)
        if chosen:
            parts.append(FilePart(record, first, chosen, window, target))
    _refuse_bands(records, bands)
    targets = [part.target for part in parts]
    for part in parts:
        if targets.count(part.target) > 1:
            raise DestinationConflict(f"export: several files would be written as {part.target}")
        if part.target != out:
            refuse_links(out, part.target, "export")
        if os.path.lexists(part.target):
            text = f"export: {part.target} exists; remove it or choose another name"
            raise FileInTheWay(text, str(part.target))
    return [path for part in parts for path in _write_part(reader, part)]


def record_of(reader: ExportReader, item: str) -> dict[str, Any]:
    """Return the record of a file that a store was made of. Raises DamagedStore."""
    try:
        return parse_record(reader.source_bytes(item))
    except (KeyError, ValueError) as exc:
        raise DamagedStore(f"export: source/{item} is missing or no raster record") from exc


def _targets(out: Path, origin: Mapping[str, Any]) -> list[Path]:
    names = [_target_name(file) for file in origin["files"]]
    return [out / name for name in names] if writes_into_folder(out) else [out]


def writes_into_folder(out: Path) -> bool:
    """Whether a destination is a folder to write into, existing or not, rather than a file."""
    return out.is_dir() or (not out.exists() and out.suffix.lower() not in (".tif", ".tiff"))


def _target_name(file: Mapping[str, Any]) -> PurePosixPath:
    """Return what a file is called in a folder: as it was, or ``<stem>-page<n>.tif`` for a page.

    One variable of several is ``<stem>-<variable>.tif``.
    """
    name = path_to_write(file["name"], "export")
    if name.suffix.lower() in (".jp2", ".hgt", ".png"):  # it was no TIFF, and is one now
        name = name.with_suffix(".tif")
    if "variable" in file:
        return name.with_name(f"{name.stem}-{safe_name(str(file['variable']))[:200]}.tif")
    if file.get("driver") in OPTED:
        return name.with_suffix(".tif")
    if "page" not in file:
        return name
    return name.with_name(f"{name.stem}-page{int(file['page'])}.tif")


def _with_first_band(records: Sequence[dict[str, Any]]) -> Iterator[tuple[dict[str, Any], int]]:
    first = 0
    for record in records:
        yield record, first
        first += record["count"]


def _choose(record: Mapping[str, Any], first: int, bands: Sequence[int] | None) -> tuple[int, ...]:
    count = record["count"]
    if bands is None:
        return tuple(range(count))
    return tuple(band - 1 - first for band in bands if first <= band - 1 < first + count)


def _refuse_bands(records: Sequence[Mapping[str, Any]], bands: Sequence[int] | None) -> None:
    total = sum(record["count"] for record in records)
    wrong = [band for band in bands or () if not 1 <= band <= total]
    if wrong or (bands is not None and not bands):
        raise UsageError(f"export bands {list(bands or ())}: the image has bands 1 … {total}")
    if bands is not None and len(set(bands)) != len(bands):
        raise UsageError(f"export bands {list(bands)}: a band is named twice")


def _write_part(reader: ExportReader, part: FilePart) -> list[Path]:
    """Write one file, with its sidecars if it needs any, and move it into place.

    As the source lay, or plainly where this GDAL does not write such files.
    """
    make_directory(part.target.parent)
    ways = [creation_options(part), plain_options(part)]
    streams = stream_options(part, reader)
    if streams is not None:
        ways.insert(0, {k: v for k, v in ways[0].items() if k != "PREDICTOR"} | streams)
    for options in ways[:-1]:
        try:
            return _write_in(
                reader, part, options, streams=streams is not None and options is ways[0]
            )
        except StoreError as error:
            if not isinstance(error.__cause__, gdal_errors()):
                raise
    return _write_in(reader, part, ways[-1])


def _write_in(
    reader: ExportReader,
    part: FilePart,
    options: Mapping[str, Any],
    *,
    streams: bool = False,
) -> list[Path]:
    """Write a file in a folder of its own; with ``streams``, those that the store keeps."""
    try:
        with unfinished(part.target, folder=True) as scratch:
            partial = scratch / part.target.name
            with gdal_calls("write", part.target, StoreError):
                internal = part.record["mask"] != "external"
                with (
                    Env(GDAL_TIFF_INTERNAL_MASK=internal),
                    _created(partial, part, options) as dataset,
                ):
                    write_metadata(dataset, part, reader.loss, reader.decoder_note)
                    _write_samples(dataset, reader, part, mask_only=streams)
                if _swaps_nodata(options):
                    with warnings.catch_warnings():
                        warnings.simplefilter("ignore", NotGeoreferencedWarning)
                        again = rasterio.open(partial.absolute(), "r+")
                    with again as dataset:
                        dataset.nodata = _common_nodata(part)
            if streams:
                append_streams(partial, reader, part)
            append_carried(partial, part, reader.loss)
            write_tables(partial, part, reader.loss)
            write_band_nodata(partial, part)
            return _move_into(scratch, part.target)
    except OSError as exc:
        raise StoreError(f"write {part.target}: {exc.strerror or exc}") from exc


def _move_into(scratch: Path, target: Path) -> list[Path]:
    """Move the finished files beside each other: sidecars first, so that none is ever missing."""
    made = sorted(scratch.iterdir(), key=lambda path: path.name == target.name)
    for path in made:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        path.replace(target.parent / path.name)
    sync_directory(target.parent)
    return [target, *(target.parent / path.name for path in made if path.name != target.name)]


def _created(path: Path, part: FilePart, options: Mapping[str, Any]) -> DatasetWriter:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        return rasterio.open(
            path.absolute(),
            "w",
            driver="GTiff",
            height=part.height,
            width=part.width,
            count=len(part.bands),
            dtype=part.dtype,
            crs=_crs(part),
            transform=_moved_transform(part),
            nodata=None if _swaps_nodata(options) else _common_nodata(part),
            **options,
        )


def _swaps_nodata(options: Mapping[str, Any]) -> bool:
    """Whether GDAL writes blocks of nothing but nodata in the wrong order of bytes: 3.10 does."""
    return options["ENDIANNESS"] == "BIG" and "COMPRESS" not in options


def _crs(part: FilePart) -> Any:  # noqa: ANN401 (rasterio is untyped)
    return parse_crs(part.record["crs_wkt"])


def _moved_transform(part: FilePart) -> Affine | None:
    transform = transform_of(part.record)
    top, left = part.window[:2]
    if transform is None:
        return None
    # written out because affine 3 renames the operator for it
    a, b, c, d, e, f = transform[:6]
    return Affine(a, b, a * left + b * top + c, d, e, d * left + e * top + f)


def _common_nodata(part: FilePart) -> float | int | None:
    """Return the nodata of all bands, if they agree and the sample type can hold it."""
    values = part.per_band("nodata")
    if len({repr(value) for value in values}) != 1 or values[0] is None:
        return None
    value = number_of(values[0])
    name = part.record["dtype"]
    if name.startswith("complex") or np.dtype(name).kind == "f":
        return value
    limits = np.iinfo(name)
    return value if limits.min <= value <= limits.max else None


def _write_samples(
    dataset: DatasetWriter, reader: ExportReader, part: FilePart, *, mask_only: bool
) -> None:
    top, left = part.window[:2]
    # GDAL makes the mask of samples that equal this tag in all bands: there is none to write
    follows_from_tag = "NODATA_VALUES" in part.record["tags"].get("", {})
    for rows, columns in _windows(reader, part):
        window = Window(
            columns[0] - left, rows[0] - top, columns[1] - columns[0], rows[1] - rows[0]
        )
        for group in [] if mask_only else _band_groups(reader, part):
            samples = _read(reader, [part.first + part.bands[i] for i in group], rows, columns)
            dataset.write(samples, indexes=[i + 1 for i in group], window=window)
        if part.record["mask"] != "none" and not follows_from_tag:
            box = Box((rows[0], columns[0]), (rows[1], columns[1]))
            dataset.write_mask(reader.read_mask(box), window=window)


def _band_groups(reader: ExportReader, part: FilePart) -> list[range]:
    """Return the bands that are read together: all where pixels hold them side by side."""
    count = len(part.bands)
    at = reader.axes.index("band") if "band" in reader.axes else None
    size = count if part.is_pixel_interleaved or at is None else reader.chunk[at]
    return [range(i, min(i + size, count)) for i in range(0, count, size)]


def _windows(
    reader: ExportReader, part: FilePart
) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    """Yield (rows, columns) on the grid of the store's chunks, each small enough to hold.

    Windows span whole rows unless a row of chunks alone is too large; then tiles are split by
    columns and strips by rows, so that no block of the file is written twice.
    """
    top, left, bottom, right = part.window
    chunk_rows, chunk_columns = reader.chunk[-2:]
    planes = max(len(group) for group in _band_groups(reader, part))
    pixel = planes * part.sample_bytes
    layout = part.record["layout"]
    step_y = math.lcm(chunk_rows, layout["block"][0] if layout["tiled"] else 1)
    step_y = step_y if step_y <= 4096 else chunk_rows
    step_x = part.width + left
    fits = WINDOW_BYTES // max(1, pixel * part.width)
    if fits >= step_y:
        step_y *= fits // step_y
    elif layout["tiled"]:
        step_x = math.lcm(chunk_columns, layout["block"][1])
        step_x *= max(1, WINDOW_BYTES // (pixel * step_x * step_y))
    else:
        step_y = max(1, fits)
    for y in range(top - top % step_y, bottom, step_y):
        for x in range(left - left % step_x, right, step_x):
            rows = (max(y, top), min(y + step_y, bottom))
            yield rows, (max(x, left), min(x + step_x, right))


def _read(
    reader: ExportReader, bands: Sequence[int], rows: tuple[int, int], columns: tuple[int, int]
) -> npt.NDArray[Any]:
    """Return samples (band, y, x) of the given places along the band axis, complex if they are."""
    runs = [(bands[0], bands[-1] + 1)]
    if list(bands) != list(range(*runs[0])):
        runs = [(band, band + 1) for band in bands]
    parts = [_read_run(reader, run, rows, columns) for run in runs]
    samples = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=-3)
    if samples.ndim == 3:
        return samples
    joined = np.empty(samples.shape[1:], np.result_type(samples.dtype, np.complex64))
    joined.real, joined.imag = samples[0], samples[1]
    return joined


def _read_run(
    reader: ExportReader, bands: tuple[int, int], rows: tuple[int, int], columns: tuple[int, int]
) -> npt.NDArray[Any]:
    ranges = {"component": (0, 2), "band": bands, "y": rows, "x": columns}
    chosen = [ranges[axis] for axis in reader.axes]
    box = Box(tuple(a for a, _ in chosen), tuple(b for _, b in chosen))
    samples = reader.read(box)
    planes = (bands[1] - bands[0], rows[1] - rows[0], columns[1] - columns[0])
    return samples.reshape((2, *planes) if "component" in reader.axes else planes)
