"""Describe a raster file as JSON: all that export needs beside the pixels.

One record per file goes into the store's ``source/`` group. Numbers keep every bit (JSON carries
the shortest decimal that gives the same double), NaN and infinities are strings, bytes base64.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rasterio.crs import CRS
from rasterio.enums import MaskFlags
from rasterio.errors import CRSError, RasterioError
from rasterio.io import DatasetReader

from tilepress.codecs.numbers import json_number
from tilepress.pipeline.geotiff.gdal import ask
from tilepress.pipeline.geotiff.header import Directory, Entry, TiffHeader
from tilepress.pipeline.geotiff.kept_record import RECORD_VERSION
from tilepress.pipeline.geotiff.placing import placing_entries

__all__ = [
    "COLOR_ENTRIES",
    "GDAL_ENTRIES",
    "GEO_ENTRIES",
    "carried_entries",
    "carried_notes",
    "describe_raster",
    "dump_record",
    "parse_crs",
    "placed_entries",
]


MAX_CARRIED_BYTES = 16 * 2**20
"""Longest value of a single TIFF entry that is kept (vendor tags; Photoshop layers are longer)."""

_GENERATED = ("IMAGE_STRUCTURE", "DERIVED_SUBDATASETS", "SUBDATASETS", "RPC", "EXIF")
"""Metadata domains that GDAL derives from the file itself and that cannot be written."""

_NOT_CARRIED = frozenset(
    [
        *(254, 255, 256, 257, 258, 259, 263, 266, 273, 277, 278, 279, 284, 288, 289),
        *(292, 293, 317, 322, 323, 324, 325, 330, 339, 347, *range(512, 522)),
        *(33550, 33922, 34264, 34665, 34853, 40965, 50674, 50844),
    ]
)
"""Entries that say how samples are laid out (the writer decides anew), that point elsewhere in
the file, or that GDAL writes from the record's other fields."""

COLOR_ENTRIES = frozenset({262, 320, 332, 333, 334, 338, 529, 530, 531, 532})
"""Photometric interpretation, colour map, inks, extra samples, YCbCr: true of samples as stored."""

GEO_ENTRIES = frozenset({34735, 34736, 34737})
"""GeoTIFF's key directory, doubles and texts (OGC 19-008r4 §7.1): they carry the CRS exactly."""

_HALF = {"float16": "float32"}
"""Half floats are read as GDAL before 3.11 reads them, so that an image has one type everywhere."""

GDAL_ENTRIES = frozenset({42112, 42113})
"""GDAL's metadata and nodata texts."""


def describe_raster(
    dataset: DatasetReader,
    name: str,
    driver: str,
    header: TiffHeader | None,
    converted: bool,
    companions: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Return the record of one open file; its numbers are encoded when it is dumped.

    ``converted`` says that samples are not those of the file but RGB that libtiff made of them.
    ``companions`` are the files beside it; where they are None, GDAL says which it has used. To be
    asked for them or for overviews, it opens those that metadata name, wherever they are.
    """
    if companions is None:
        sidecars = [Path(file).name for file in dataset.files[1:]]
        overviews = [int(n) for n in ask(lambda: dataset.overviews(1))]
    else:
        sidecars, overviews = list(companions), []
    bands = range(1, dataset.count + 1)
    domains = _domains(dataset, 0)
    structure = _tags(dataset, 0, "IMAGE_STRUCTURE")
    gcps = _gcps(dataset)
    placed = placing_entries(header, with_points=gcps is not None)
    return {
        "version": RECORD_VERSION,
        "name": name,
        "driver": driver,
        "height": dataset.height,
        "width": dataset.width,
        "count": dataset.count,
        "dtype": _HALF.get(dataset.dtypes[0], str(dataset.dtypes[0])),
        "layout": _layout(dataset, header, structure),
        "crs_wkt": _crs_wkt(dataset),
        "transform": _transform(dataset, explicit=bool(placed)),
        "gcps": gcps,
        "rpcs": _rpcs(dataset),
        "nodata": list(ask(lambda: dataset.nodatavals)),
        "tags": {ns: _tags(dataset, 0, ns) for ns in domains},
        "band_tags": [{ns: _tags(dataset, b, ns) for ns in _domains(dataset, b)} for b in bands],
        "descriptions": list(dataset.descriptions),
        "units": list(dataset.units),
        "scales": list(dataset.scales),
        "offsets": list(dataset.offsets),
        "colors": [color.name for color in ask(lambda: dataset.colorinterp)],
        "colormaps": {str(b): table for b in bands if (table := _colormap(dataset, b))},
        "mask": _mask(dataset, sidecars),
        "overviews": overviews,
        "converted": converted,
        "sidecars": sidecars,
        "order": header.order if header else "<",
        "carried": _carried(header.first if header else None),
        "notes": {str(t): _carried(d) for t, d in header.notes.items()} if header else {},
    } | ({"placed": _told(placed)} if placed else {})


def dump_record(record: Mapping[str, Any]) -> bytes:
    """Return the record as JSON bytes, the same for the same record."""
    text = json.dumps(_encoded(record), ensure_ascii=False, allow_nan=False, sort_keys=True)
    return text.encode("utf-8", "backslashreplace")


def carried_entries(record: Mapping[str, Any]) -> dict[int, Entry]:
    """Return the TIFF entries that GDAL does not write itself, by tag."""
    return _entries(record["carried"])


def placed_entries(record: Mapping[str, Any]) -> dict[int, Entry]:
    """Return the TIFF entries that say where an image lies, where GDAL would not give them back."""
    return _entries(record.get("placed", {}))


def carried_notes(record: Mapping[str, Any]) -> dict[int, dict[int, Entry]]:
    """Return the entries of the EXIF and GPS directories, by the tag that points to them."""
    return {int(tag): _entries(directory) for tag, directory in record["notes"].items()}


def parse_crs(wkt: str | None) -> CRS | None:
    """Return the CRS of a record."""
    return CRS.from_wkt(wkt) if wkt else None


def _encoded(value: Any) -> Any:  # noqa: ANN401 (any JSON value)
    """Return a JSON value with every number encoded."""
    if isinstance(value, Mapping):
        return {key: _encoded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_encoded(item) for item in value]
    return json_number(value) if isinstance(value, float) else value


def _crs_wkt(dataset: DatasetReader) -> str | None:
    """Return the CRS as WKT2; None where there is none or PROJ cannot express it."""
    crs = ask(lambda: dataset.crs)
    if not crs:
        return None
    for version in ("WKT2_2019", None):
        try:
            return str(crs.to_wkt(version=version) if version else crs.wkt)
        except (CRSError, RasterioError, ValueError):
            continue
    return None


def _layout(
    dataset: DatasetReader, header: TiffHeader | None, structure: Mapping[str, str]
) -> dict[str, Any]:
    """Return how the samples lie in the file: what a profile says, and what it leaves out."""
    block_height, block_width = dataset.block_shapes[0]
    band_structure = _tags(dataset, 1, "IMAGE_STRUCTURE")
    layout: dict[str, Any] = {
        "compress": structure.get("COMPRESSION", "NONE"),
        "reversible": structure.get("COMPRESSION_REVERSIBILITY", ""),
        "interleave": structure.get("INTERLEAVE", "BAND"),
        "predictor": _integer(structure.get("PREDICTOR", "1")) or 1,
        "tiled": bool(dataset.profile.get("tiled", False)),
        "block": [block_height, block_width],
        "nbits": _integer(band_structure.get("NBITS", "16" if dataset.dtypes[0] in _HALF else "0")),
        "structure": dict(structure),
        "big": bool(header and header.big),
        "photometric": None,
    }
    if header is not None:
        first = header.first
        layout["photometric"] = first.integer(262) if 262 in first.entries else None
        layout["predictor"] = first.integer(317, layout["predictor"])
        if not layout["tiled"]:
            # GDAL reports single rows for one huge strip; the file's own figure is kept
            layout["block"] = [min(first.integer(278, block_height), dataset.height), block_width]
    return layout


def _integer(text: str) -> int | None:
    """Return a number above 0 that GDAL tells as a text; None for any other text, a file's own."""
    return int(text) or None if re.fullmatch(r"[0-9]{1,2}", text) else None


def _domains(dataset: DatasetReader, band: int) -> list[str]:
    names = ask(lambda: dataset.tag_namespaces(band) if band else dataset.tag_namespaces())
    return ["", *(name for name in names if name and name not in _GENERATED)]


def _tags(dataset: DatasetReader, band: int, domain: str) -> dict[str, str]:
    found = ask(lambda: dataset.tags(bidx=band, ns=domain or None))
    return {str(key): str(value) for key, value in found.items()}


def _transform(dataset: DatasetReader, *, explicit: bool) -> list[float] | None:
    """Return the transform; None for the one that GDAL makes up where a file has none.

    ``explicit`` says that the file has one, whatever it is.
    """
    transform = ask(lambda: dataset.transform)
    made_up = transform.is_identity and (not explicit or bool(dataset.gcps[0]))
    return None if made_up else [float(v) for v in transform[:6]]


def _gcps(dataset: DatasetReader) -> dict[str, Any] | None:
    points, crs = ask(lambda: dataset.gcps)
    if not points:
        return None
    keys = ("row", "col", "x", "y", "z", "id", "info")
    return {
        "crs_wkt": str(crs.wkt) if crs else None,
        "points": [{key: getattr(point, key) for key in keys} for point in points],
    }


def _rpcs(dataset: DatasetReader) -> dict[str, str] | None:
    rpcs = ask(lambda: dataset.rpcs)
    return None if rpcs is None else {str(k): str(v) for k, v in rpcs.to_gdal().items()}


def _colormap(dataset: DatasetReader, band: int) -> list[list[int]] | None:
    """Return the colour table as (red, green, blue, alpha) rows by index."""
    try:
        table = dataset.colormap(band)
    except ValueError:
        return None
    return [list(table.get(i, (0, 0, 0, 255))) for i in range(max(table) + 1)]


def _mask(dataset: DatasetReader, sidecars: Sequence[str]) -> str:
    """Return "none", "internal", "external" or "bands" (a mask per band)."""
    flags = [set(flag) for flag in ask(lambda: dataset.mask_flag_enums)]
    plain = ({MaskFlags.all_valid}, {MaskFlags.nodata})
    if all(flag in plain or MaskFlags.alpha in flag for flag in flags):
        return "none"
    if not all(MaskFlags.per_dataset in flag for flag in flags):
        return "bands"
    return "external" if any(name.endswith(".msk") for name in sidecars) else "internal"


def _carried(directory: Directory | None) -> dict[str, list[Any]]:
    if directory is None:
        return {}
    kept = {
        tag: entry
        for tag, entry in directory.entries.items()
        if tag not in _NOT_CARRIED and len(entry.data) <= MAX_CARRIED_BYTES
    }
    return _told(kept)


def _told(entries: Mapping[int, Entry]) -> dict[str, list[Any]]:
    return {
        str(tag): [entry.kind, entry.count, base64.b64encode(entry.data).decode("ascii")]
        for tag, entry in entries.items()
    }


def _entries(carried: Mapping[str, Any]) -> dict[int, Entry]:
    return {
        int(tag): Entry(kind, count, base64.b64decode(data))
        for tag, (kind, count, data) in carried.items()
    }
