"""Write what a file has beside its samples: tags, places, tables, nodata of each band.

What GDAL writes goes through the open dataset; TIFF entries that it would drop or round are
appended to the finished file, and what TIFF has no room for goes beside it.
"""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from pathlib import Path

from rasterio.control import GroundControlPoint
from rasterio.crs import CRS
from rasterio.enums import ColorInterp
from rasterio.io import DatasetWriter
from rasterio.rpc import RPC

from tilepress.codecs.loss import Loss
from tilepress.codecs.numbers import number_of
from tilepress.pipeline.geotiff.creation import has_palette
from tilepress.pipeline.geotiff.header import append_entries
from tilepress.pipeline.geotiff.pam import write_pam
from tilepress.pipeline.geotiff.part import FilePart
from tilepress.pipeline.geotiff.placing import PLACING_ENTRIES, centred_entries, moved_entries
from tilepress.pipeline.geotiff.record import (
    COLOR_ENTRIES,
    GDAL_ENTRIES,
    GEO_ENTRIES,
    carried_entries,
    carried_notes,
    parse_crs,
    placed_entries,
)

__all__ = ["append_carried", "write_band_nodata", "write_metadata", "write_tables"]

AREA_OR_POINT, POINT = "AREA_OR_POINT", "Point"
GCP_AXES = ("col", "row", "x", "y", "z")


def write_metadata(
    dataset: DatasetWriter, part: FilePart, loss: Loss, decoder_note: str | None = None
) -> None:
    """Write everything beside samples; before them, so that the directory is written once."""
    record = part.record
    changed = not (loss.is_lossless and part.is_whole)
    # of a TIFF, the carried ICC profile says the same, exactly
    with_profile = record["driver"] != "GTiff" and part.has_all_bands
    for domain, tags in record["tags"].items():
        if domain.upper() == "OVERVIEWS":
            continue  # it names a file that GDAL would open, here and wherever the export is read
        if domain != "COLOR_PROFILE" or with_profile:
            _update_tags(dataset, 0, domain, tags)
    if loss.max_error:
        dataset.update_tags(TILEPRESS_MAX_ERROR=str(loss.max_error))
    elif not loss.is_lossless:
        dataset.update_tags(TILEPRESS_LOSS=str(loss))
    if decoder_note is not None:
        dataset.update_tags(TILEPRESS_DECODER=decoder_note)
    for number, band in enumerate(part.bands, 1):
        for domain, tags in record["band_tags"][band].items():
            kept = {k: v for k, v in tags.items() if not (changed and k.startswith("STATISTICS_"))}
            _update_tags(dataset, number, domain, kept)
        if record["descriptions"][band]:
            dataset.set_band_description(number, record["descriptions"][band])
        if record["units"][band]:
            dataset.set_band_unit(number, record["units"][band])
        table = record["colormaps"].get(str(band + 1))
        if table and has_palette(part):
            dataset.write_colormap(number, {i: tuple(color) for i, color in enumerate(table)})
    scales, offsets = part.per_band("scales"), part.per_band("offsets")
    if any(scale != 1 for scale in scales):
        dataset.scales = tuple(number_of(scale) for scale in scales)
    if any(offset != 0 for offset in offsets):
        dataset.offsets = tuple(number_of(offset) for offset in offsets)
    _write_control(dataset, part)
    colors = tuple(ColorInterp[name] for name in part.per_band("colors"))
    if dataset.colorinterp != colors:
        dataset.colorinterp = colors


def _update_tags(dataset: DatasetWriter, band: int, domain: str, tags: Mapping[str, str]) -> None:
    if domain.startswith("xml:"):
        # rasterio writes "key=value" and an XML document is one such line: split it at any "="
        tags = dict([text.split("=", 1) for text in tags.values() if "=" in text])
    if tags:
        dataset.update_tags(bidx=band, ns=domain or None, **tags)


def _write_control(dataset: DatasetWriter, part: FilePart) -> None:
    """Write ground control points and rational polynomials, counted from the window's corner."""
    top, left = part.window[:2]
    gcps, rpcs = part.record["gcps"], part.record["rpcs"]
    if gcps:
        points = []
        for point in gcps["points"]:
            values = {k: v if k in ("id", "info") else number_of(v) for k, v in point.items()}
            values["row"], values["col"] = values["row"] - top, values["col"] - left
            points.append(GroundControlPoint(**values))
        dataset.gcps = (points, parse_crs(gcps["crs_wkt"]) or CRS())
    if rpcs:
        model = RPC.from_gdal(rpcs)
        model.line_off, model.samp_off = model.line_off - top, model.samp_off - left
        dataset.rpcs = model


def append_carried(path: Path, part: FilePart, loss: Loss) -> None:
    """Append the carried TIFF entries that still hold for what is written.

    What still holds as a group (colour, CRS, GDAL's texts) becomes exactly the source's: entries
    of it that GDAL added are removed. Where a sidecar spoke at reading, GDAL has the whole truth
    and the file's own entries may not.
    """
    record = part.record
    entries = carried_entries(record)
    told_beside = {name for name in record["sidecars"] if not name.endswith((".msk", ".ovr"))}
    is_tiff = record["driver"] == "GTiff"
    exact: set[int] = set()
    if is_tiff and not told_beside:
        exact |= GEO_ENTRIES if GEO_ENTRIES & set(entries) else set()
        exact |= GDAL_ENTRIES if part.is_whole and loss.is_lossless else set()
    if is_tiff and part.has_all_bands and not record["converted"]:
        exact |= COLOR_ENTRIES
    placed = placed_entries(record) if is_tiff and not told_beside else {}
    if not placed and record["gcps"] and record["tags"].get("", {}).get(AREA_OR_POINT) == POINT:
        points = record["gcps"]["points"]
        placed = centred_entries(
            [tuple(number_of(point[axis]) for axis in GCP_AXES) for point in points],
            record["order"],
        )
    if placed:
        moved = moved_entries(placed, record["order"], *part.window[:2])
        if moved is not None:
            exact |= PLACING_ENTRIES
            entries |= moved
    dropped = (COLOR_ENTRIES | GEO_ENTRIES | GDAL_ENTRIES) - exact
    kept = {tag: entry for tag, entry in entries.items() if tag not in dropped}
    notes = carried_notes(record)
    append_entries(path, kept, record["order"], removed=exact, directories=notes)


def write_tables(path: Path, part: FilePart, loss: Loss) -> None:
    """Write what values stand for beside the file, as it was said there."""
    tables = part.record.get("pam", {})
    bands = enumerate(part.bands, 1)
    texts = {number: tables[str(at + 1)] for number, at in bands if str(at + 1) in tables}
    write_pam(path, texts, same_samples=part.is_whole and loss.is_lossless)


def write_band_nodata(path: Path, part: FilePart) -> None:
    """Write nodata that differs between bands into GDAL's sidecar: TIFF has one for all."""
    values = part.per_band("nodata")
    if len({repr(value) for value in values}) == 1:
        return
    sidecar = path.with_name(path.name + ".aux.xml")
    root = ElementTree.Element("PAMDataset")
    if sidecar.exists():
        root = ElementTree.parse(sidecar).getroot()  # noqa: S314 (GDAL wrote it a moment ago)
    for number, value in enumerate(values, 1):
        band = root.find(f"PAMRasterBand[@band='{number}']")
        if band is None:
            band = ElementTree.SubElement(root, "PAMRasterBand", {"band": str(number)})
        if value is not None:
            element = ElementTree.Element("NoDataValue")
            element.text = str(value)
            band.insert(0, element)
    ElementTree.ElementTree(root).write(sidecar, encoding="utf-8")
