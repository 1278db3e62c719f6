"""What a TIFF file of a slide tells of it: how large a sample is, its lens, names of channels."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any

import numpy as np

from tilepress.pipeline.geotiff.header import Entry

__all__ = ["pixel_size_um", "taken_at", "told_attributes"]

DATE_TIME = 306
NDPI_LENS = 65421
DESCRIPTION, X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT = 270, 282, 283, 296
UM_PER_UNIT = {2: 25400.0, 3: 10000.0}
"""Micrometres of an inch and of a centimetre, by ResolutionUnit."""

MAX_PIXEL_UM = 100.0
"""Larger samples are those of prints and screens: 72 to the inch is what programs say for nothing.
"""

MAX_DESCRIPTION = 2**24

_OME_UNITS = {"": 1.0, "µm": 1.0, "μm": 1.0, "um": 1.0, "nm": 1e-3, "mm": 1e3, "cm": 1e4, "m": 1e6}
_NUMBER = r"[+-]?\d{1,12}(?:\.\d{1,30})?(?:[eE][+-]?\d{1,3})?"


def pixel_size_um(entries: Mapping[int, Entry], order: str) -> tuple[float, float] | None:
    """Return the size of a sample along y and x, in µm; None where the directory does not say.

    As Aperio's description has it, or OME-XML, or the resolution in TIFF's own words.
    """
    text = _description(entries)
    if text.startswith("Aperio"):
        found = re.search(rf"\|\s*MPP\s*=\s*({_NUMBER})", text)
        size = _plausible(float(found[1])) if found else None
        return None if size is None else (size, size)
    told = [_ome_size(text, axis) for axis in "YX"]
    if None in told:
        told = [_by_resolution(entries, order, tag) for tag in (Y_RESOLUTION, X_RESOLUTION)]
    down, across = told
    return None if down is None or across is None else (down, across)


def _objective_power(entries: Mapping[int, Entry], order: str) -> float | None:
    """Return the magnification of the lens, as Aperio's description, OME-XML or NDPI has it."""
    text = _description(entries)
    found = re.search(rf"\|\s*AppMag\s*=\s*({_NUMBER})", text) or re.search(
        rf"""\bNominalMagnification\s*=\s*["']({_NUMBER})["']""", text
    )
    lens = entries.get(NDPI_LENS)
    power = float(found[1]) if found else 0.0
    if found is None and lens is not None and lens.kind == 11 and len(lens.data) >= 4:
        power = float(np.frombuffer(lens.data[:4], f"{order}f4")[0])
    return power if 0 < power < 1e4 else None


def taken_at(entries: Mapping[int, Entry]) -> datetime | None:
    """Return when a slide was scanned, in its scanner's zone; None where nothing says so.

    As Aperio's description has it, or OME-XML, or TIFF's own entry.
    """
    text = _description(entries)
    if text.startswith("Aperio"):
        day = re.search(r"\|\s*Date\s*=\s*(\d\d/\d\d/\d{2,4})\s*(?:\||$)", text)
        hour = re.search(r"\|\s*Time\s*=\s*(\d\d:\d\d:\d\d)", text)
        if day is not None and hour is not None:
            year = "%Y" if len(day[1]) == 10 else "%y"
            with suppress(ValueError):
                return datetime.strptime(f"{day[1]} {hour[1]}", f"%m/%d/{year} %H:%M:%S")
    said = re.search(r"<AcquisitionDate>([^<]{10,40})</AcquisitionDate>", text)
    if _is_ome(text) and said is not None:
        with suppress(ValueError):
            return datetime.fromisoformat(said[1]).replace(tzinfo=None)
    entry = entries.get(DATE_TIME)
    if entry is not None:
        with suppress(ValueError):
            words = entry.data.decode("latin-1").rstrip("\0 ")
            return datetime.strptime(words, "%Y:%m:%d %H:%M:%S")
    return None


def _channel_names(entries: Mapping[int, Entry], count: int) -> list[str] | None:
    """Return a name for each of ``count`` bands, where OME-XML names as many channels."""
    text = _description(entries)
    if not _is_ome(text):
        return None
    pixels = text.split("</Pixels>")[0]
    names = []
    for channel in re.findall(r"<Channel\b([^>]{0,4000})>", pixels):
        named = re.search(r"""\bName\s*=\s*["']([^"'<>]{1,200})["']""", channel)
        names.append("" if named is None else named[1])
    return names if len(names) == count > 1 and any(names) else None


def _description(entries: Mapping[int, Entry]) -> str:
    entry = entries.get(DESCRIPTION)
    data = b"" if entry is None else entry.data[:MAX_DESCRIPTION]
    return data.decode("utf-8", "replace").rstrip("\0 ")


def _is_ome(text: str) -> bool:
    return "<OME" in text[:4096] or ":OME" in text[:4096]


def _ome_size(text: str, axis: str) -> float | None:
    if not _is_ome(text):
        return None
    size = re.search(rf"""\bPhysicalSize{axis}\s*=\s*["']({_NUMBER})["']""", text)
    unit = re.search(rf"""\bPhysicalSize{axis}Unit\s*=\s*["']([^"']{{1,20}})["']""", text)
    factor = _OME_UNITS.get(unit[1].replace("&#181;", "µ") if unit else "")
    return None if size is None or factor is None else _plausible(float(size[1]) * factor)


def _by_resolution(entries: Mapping[int, Entry], order: str, tag: int) -> float | None:
    entry, unit = entries.get(tag), entries.get(RESOLUTION_UNIT)
    if entry is None or entry.kind != 5 or unit is None or unit.kind != 3:
        return None
    above, below = np.frombuffer(entry.data[:8], f"{order}u4").tolist()
    length = UM_PER_UNIT.get(int(np.frombuffer(unit.data[:2], f"{order}u2")[0]))
    if length is None or not above or not below:
        return None
    size = _plausible(length * below / above)
    return size if size is not None and size <= MAX_PIXEL_UM else None


def _plausible(size: float) -> float | None:
    return size if math.isfinite(size) and 1e-4 < size < 1e5 else None


def told_attributes(
    entries: Mapping[int, Entry], bands: int, *, plain: bool, order: str = "<"
) -> dict[str, Any]:
    """Return the attributes of a slide; ``plain`` without what somebody has typed."""
    power = _objective_power(entries, order)
    names = None if plain else _channel_names(entries, bands)
    told: dict[str, Any] = {} if power is None else {"objective_power": power}
    return told if names is None else {**told, "band_names": names}
