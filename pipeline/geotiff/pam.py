"""Keep what NAME.aux.xml says of bands and rasterio does not give: what values stand for.

Category names, attribute tables, colour tables and histograms of GDAL's persistent auxiliary
metadata (PAM). A record keeps them as they are written, and an export writes them back.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from tilepress.errors import DamagedStore

__all__ = ["BandTable", "band_attributes", "band_table", "read_pam", "write_pam"]

MAX_PAM_BYTES = 16 * 2**20
"""Longest file of which tables are kept: the attribute table of some 10⁵ classes."""

MAX_TOLD = 4096
"""Classes of a band that attributes tell; what are more is kept, and told of in a remark."""

_KEPT = ("CategoryNames", "GDALRasterAttributeTable", "ColorTable", "ColorInterp")
_OF_SAMPLES = ("Histograms",)
"""True of all samples as they are, and of no others."""

_NAME, _MIN, _MAX, _MIN_MAX = "2", "3", "4", "5"
"""Usages of columns (GDALRATFieldUsage)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BandTable:
    """What the values of a band stand for."""

    names: Mapping[int, str]
    """Name by value, none of them empty."""
    colors: Mapping[int, str]
    """Colour by value, "#rrggbbaa"."""
    thematic: bool
    """Whether samples are values of such a table."""


def read_pam(file: BinaryIO) -> dict[str, str]:
    """Return what is kept of every band, as XML by the band's number; {} where there is none.

    Raises ValueError where the file is too long or no XML.
    """
    file.seek(0)
    data = file.read(MAX_PAM_BYTES + 1)
    if len(data) > MAX_PAM_BYTES:
        raise ValueError(f"it has more than {MAX_PAM_BYTES} bytes")
    try:
        root = ElementTree.fromstring(data)  # noqa: S314  # in a guest
    except ElementTree.ParseError as error:
        raise ValueError(f"it is no XML ({error})") from error
    found = {}
    for band in root.iter("PAMRasterBand"):
        kept = [child for child in band if child.tag in (*_KEPT, *_OF_SAMPLES)]
        if any(child.tag != "ColorInterp" for child in kept):
            whole = ElementTree.Element("PAMRasterBand")
            whole.extend(kept)
            found[band.get("band", "1")] = ElementTree.tostring(whole, "unicode")
    return found


def band_table(text: str) -> BandTable:
    """Return what the values of a band stand for by what ``read_pam`` gave of it."""
    band = _parsed(text)
    names, rows = {}, _rows(band.find("GDALRasterAttributeTable"))
    for at, one in enumerate(band.iterfind("CategoryNames/Category")):
        names[at] = one.text or ""
    names |= rows
    colors = {
        at: "#"
        + "".join(f"{min(255, max(0, _integer(one.get(f'c{i}'), 255))):02x}" for i in range(1, 5))
        for at, one in enumerate(band.iterfind("ColorTable/Entry"))
    }
    table = band.find("GDALRasterAttributeTable")
    thematic = bool(names) if table is None else table.get("tableType", "") != "athematic"
    return BandTable(
        names={value: name for value, name in names.items() if name},
        colors=colors,
        thematic=thematic,
    )


def band_attributes(tables: Sequence[BandTable | None]) -> dict[str, Any]:
    """Return what readers are told of the values of all bands, in the words of CF (§3.5).

    Of one band flag_values, flag_meanings…; of several, a list of these by band.
    """
    told = [{} if table is None else _attributes(table) for table in tables]
    if len(told) == 1:
        return told[0]
    rows = [{"band": number} | one for number, one in enumerate(told, 1) if one]
    return {"band_flags": rows} if rows else {}


def write_pam(path: Path, bands: Mapping[int, str], *, same_samples: bool) -> None:
    """Add bands, as XML by number, to the file that GDAL reads beside ``path``; make it if needed.

    Raises DamagedStore for what ``read_pam`` did not give.
    """
    if not bands:
        return
    sidecar = path.with_name(path.name + ".aux.xml")
    root = ElementTree.Element("PAMDataset")
    if sidecar.exists():
        root = ElementTree.parse(sidecar).getroot()  # noqa: S314  # GDAL wrote it a moment ago
    for number, text in sorted(bands.items()):
        band = root.find(f"PAMRasterBand[@band='{number}']")
        if band is None:
            band = ElementTree.SubElement(root, "PAMRasterBand", {"band": str(number)})
        for child in _parsed(text):
            if child.tag in _KEPT or (same_samples and child.tag in _OF_SAMPLES):
                for other in band.findall(child.tag):
                    band.remove(other)
                band.append(child)
    ElementTree.ElementTree(root).write(sidecar, encoding="utf-8")


def _parsed(text: str) -> ElementTree.Element:
    if "<!" in text:  # it was written without any declaration
        raise DamagedStore("reading a raster record: its auxiliary metadata are not its own")
    try:
        return ElementTree.fromstring(text)  # noqa: S314  # without declarations
    except ElementTree.ParseError as error:
        text = f"reading a raster record: its auxiliary metadata are damaged: {error}"
        raise DamagedStore(text) from error


def _attributes(table: BandTable) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if 0 < len(table.names) <= MAX_TOLD and table.thematic:
        values = sorted(table.names)
        names = [table.names[value] for value in values]
        found["flag_values"] = values
        found["flag_meanings"] = " ".join(
            re.sub(r"[^\w.+@-]+", "_", name).strip("_") or "_" for name in names
        )
        found["category_names"] = names
    if 0 < len(table.colors) <= MAX_TOLD:
        found["color_table"] = [table.colors[value] for value in sorted(table.colors)]
    return found


def _rows(table: ElementTree.Element | None) -> dict[int, str]:
    """Return the name by value that an attribute table gives; {} where it names no values."""
    if table is None:
        return {}
    columns = sorted(table.iterfind("FieldDefn"), key=lambda one: _integer(one.get("index"), 0))
    usages = [column.findtext("Usage", "0").strip() for column in columns]
    kinds = [column.findtext("Type", "0").strip() for column in columns]
    named = next((at for at, usage in enumerate(usages) if usage == _NAME), None)
    if named is None:
        named = next((at for at, kind in enumerate(kinds) if kind == "2"), None)
    lowest = next((at for at, usage in enumerate(usages) if usage in (_MIN_MAX, _MIN)), None)
    highest = next((at for at, usage in enumerate(usages) if usage in (_MIN_MAX, _MAX)), lowest)
    found: dict[int, str] = {}
    for number, row in enumerate(table.iterfind("Row")):
        fields = [one.text or "" for one in row.iterfind("F")]
        low = (
            _whole(fields, lowest) if lowest is not None else _whole([row.get("index", number)], 0)
        )
        high = low if highest is None else _whole(fields, highest)
        if named is not None and named < len(fields) and low is not None and low == high:
            found[low] = fields[named]
    return found


def _whole(fields: Sequence[Any], at: int) -> int | None:
    try:
        value = float(fields[at])
        return int(value) if value == int(value) else None
    except (ValueError, OverflowError, IndexError):
        return None


def _integer(text: str | None, default: int) -> int:
    try:
        return int(text or default)
    except ValueError:
        return default
