"""Read what stored values stand for: real world values, tables, palettes. An allow-list."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from tilepress.pipeline.dicom.values import first_item, listed, number, numbers, text_of, words

__all__ = ["RESCALE_TYPES", "TABLE_TAGS", "tables_of"]

RESCALE_TYPES = words("""OD HU US MGML Z_EFF ED EDW HU_MOD PCT EDGEENHANCED IU NORMALIZED""")
"""Units of rescaled values and of modality tables (PS3.3 C.11.1.1.2)."""
MAX_ENTRIES = 4096
"""Of a table that is told; longer ones stay in the headers."""

_MAPPING = "RealWorldValueMappingSequence"
_COLOURS = ("Red", "Green", "Blue")
TABLE_TAGS = (
    Tag(_MAPPING),
    Tag("ModalityLUTSequence"),
    *(
        Tag(f"{colour}PaletteColorLookupTable{part}")
        for colour in _COLOURS
        for part in ("Descriptor", "Data")
    ),
)
"""Top-level elements that are read here."""

_UNITS = words(
    """1 % [hnsf'U] mm2/s um2/s mm cm cm2 cm3 ml s ms Hz /s /min Bq/ml Bq kBq/ml MBq/ml g/ml mg/ml
    mg/cm3 g/cm3 ml/min ml/min/g ml/(100.g) ml/100g/min ml/100ml ug/ml mmol/l umol/ml kPa Pa m/s
    cm/s mm/s rad deg Gy cGy keV eV K Cel cm-1 1/cm /cm {counts} {SUVbw}g/ml {SUVlbm}g/ml
    {SUVbsa}cm2/ml {ratio} {propcounts} {arbu}"""
)
"""Units of UCUM that are told (PS3.16, context groups 82 and 84, and their like)."""


def tables_of(
    dataset: Dataset, groups: Sequence[Dataset], *, little: bool, signed: bool, is_palette: bool
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return attributes of an instance, JSON-able, and remarks on what is not told.

    ``groups`` are the functional groups of its frames, the shared one first.
    """
    found: dict[str, Any] = {}
    remarks = []
    mappings = [_mappings(group) for group in (dataset, *groups) if group.get(_MAPPING)]
    if mappings and all(one == mappings[0] for one in mappings):
        found["real_world_value_mapping"] = mappings[0]
    elif mappings:
        remarks.append("frames differ in their real world values: these are in the header only")
    modality = first_item(dataset, "ModalityLUTSequence")
    if len(modality):
        table = _table(modality, "LUTDescriptor", "LUTData", little=little, signed=signed)
        if table is None:
            remarks.append("its Modality LUT is in the header only")
        else:
            kind = listed(modality, "ModalityLUTType", RESCALE_TYPES)
            found["modality_lut"] = table | ({"type": kind} if kind else {})
    if is_palette:
        tables = [
            _table(
                dataset,
                f"{colour}PaletteColorLookupTableDescriptor",
                f"{colour}PaletteColorLookupTableData",
                little=little,
                signed=signed,
            )
            for colour in _COLOURS
        ]
        told = [table for table in tables if table is not None]
        ranges = {(t["first"], t["bits"], len(t["values"])) for t in told}
        if len(told) == len(_COLOURS) and len(ranges) == 1:
            found["palette"] = {"first": told[0]["first"], "bits": told[0]["bits"]} | {
                colour.lower(): t["values"] for colour, t in zip(_COLOURS, told, strict=True)
            }
        else:
            remarks.append("its palette is in the header only")
    return found, tuple(remarks)


def _mappings(group: Dataset) -> list[dict[str, Any]]:
    """Return what a sequence of real world value mappings says (PS3.3 C.7.6.16.2.11)."""
    found = []
    for item in group.get(_MAPPING) or ():
        units = first_item(item, "MeasurementUnitsCodeSequence")
        unit = text_of(units, "CodeValue")
        values = numbers(item, "RealWorldValueLUTData")
        told: dict[str, Any] = {
            "first": _either(item, "FirstValueMapped"),
            "last": _either(item, "LastValueMapped"),
            "slope": number(item, "RealWorldValueSlope"),
            "intercept": number(item, "RealWorldValueIntercept"),
            "units": unit if unit in _UNITS else None,
            "values": list(values) if values and len(values) <= MAX_ENTRIES else None,
        }
        found.append({name: value for name, value in told.items() if value is not None})
    return found


def _either(item: Dataset, name: str) -> float | int | None:
    """Return a bound of a mapping, which is of another element for floats."""
    for keyword in (f"RealWorldValue{name}", f"DoubleFloatRealWorldValue{name}"):
        value = number(item, keyword)
        if value is not None:
            return int(value) if value == int(value) else value
    return None


def _table(
    item: Dataset, descriptor: str, data: str, *, little: bool, signed: bool
) -> dict[str, Any] | None:
    """Return first value mapped, bits and values; None where it is too long or contradicts itself.

    Entries of 8 bits may lie in words or in bytes (PS3.3 C.7.6.3.1.6).
    """
    layout = numbers(item, descriptor, 3)
    if layout is None:
        return None
    entries, first, bits = (int(value) for value in layout)
    entries = entries % 2**16 or 2**16
    if entries > MAX_ENTRIES or not 1 <= bits <= 16:
        return None
    content = item.get(data)
    if isinstance(content, bytes):
        order = "<" if little else ">"
        is_words = len(content) >= 2 * entries
        values = np.frombuffer(content, f"{order}u2" if is_words else "u1")[:entries].tolist()
    else:
        values = [int(value) % 2**16 for value in numbers(item, data) or ()]
    if len(values) != entries:
        return None
    first %= 2**16
    return {
        "first": first - 2**16 if signed and first >= 2**15 else first,
        "bits": bits,
        "values": values,
    }
