"""Read and write single elements of DICOM data sets as bytes (PS3.5 §7)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_data_element
from pydicom.sequence import Sequence

__all__ = [
    "BYTES",
    "NUMBERS",
    "Encoding",
    "element_bytes",
    "item_bytes",
    "items_of",
    "raw_bytes",
    "text_of",
    "texts_of",
    "vr_of",
]

NUMBERS = {
    **{"US": 2, "SS": 2, "UL": 4, "SL": 4, "UV": 8, "SV": 8, "FL": 4, "FD": 8, "AT": 4},
    **{"OB": 1, "OW": 2, "OL": 4, "OF": 4, "OD": 8, "OV": 8, "UN": 1},
}
"""Bytes of one value of a binary VR. AT is two of 2, of which the order is the same."""

_ORDERED = {**NUMBERS, "AT": 2}

BYTES = frozenset({"OB", "OW", "OL", "OF", "OD", "OV", "UN"})
_LONG = frozenset({*BYTES, "SQ", "UC", "UR", "UT", "SV", "UV"})
"""Whose length has 32 bits in explicit encodings (PS3.5 §7.1.2)."""


@dataclass(frozen=True, slots=True)
class Encoding:
    """How elements are encoded: that of the file."""

    implicit: bool
    little: bool

    @property
    def order(self) -> str:
        return "<" if self.little else ">"


def vr_of(dataset: Dataset, tag: int) -> str:
    """Return the VR of the dictionary; of several the one that the file says."""
    known = dictionary_VR(tag).split(" or ")
    said = getattr(dataset.get_item(tag), "VR", None)
    return str(said) if said in known else known[0]


def items_of(dataset: Dataset, tag: int) -> Sequence:
    try:
        items = dataset[tag].value
    except Exception as error:  # whatever the parser raises on bytes that are no items
        raise ValueError("no sequence") from error
    if not isinstance(items, Sequence):
        raise ValueError("no sequence")  # noqa: TRY004  # malformed
    return items


def raw_bytes(dataset: Dataset, tag: int, vr: str, encoding: Encoding) -> bytes:
    """Return a value's bytes, in the order of the file. Raises ValueError where it has none."""
    element: Any = dataset.get_item(tag)
    if isinstance(element, DataElement):
        return _encoded(element, encoding)
    value = element.value or b""
    size = _ORDERED.get(vr, 1)
    if size > 1 and bool(element.is_little_endian) != encoding.little:
        if len(value) % size:
            raise ValueError("half a number")
        return b"".join(value[at : at + size][::-1] for at in range(0, len(value), size))
    return value


def _encoded(element: DataElement, encoding: Encoding) -> bytes:
    """Return the value of an element that pydicom has parsed: it does so to know VRs of others."""
    if element.VR == "SQ":
        raise ValueError("a sequence")
    stream = DicomBytesIO()
    stream.is_implicit_VR, stream.is_little_endian = True, encoding.little
    write_data_element(stream, element)
    return stream.getvalue()[8:]


def texts_of(raw: bytes) -> list[str]:
    return [part.strip("\0 ") for part in raw.decode("latin-1").split("\\")]


def text_of(dataset: Dataset, tag: int) -> str:
    """Return the text of an element; "" where there is none."""
    element = dataset.get_item(tag) if tag in dataset else None
    value = getattr(element, "value", None)
    return value.decode("latin-1").strip("\0 ") if isinstance(value, bytes) else ""


def element_bytes(tag: int, vr: str, value: bytes, encoding: Encoding) -> bytes | None:
    """Encode an element; None where its value is too long for its VR."""
    if len(value) % 2:
        value += b"\0" if vr in BYTES or vr == "UI" else b" "
    head = struct.pack(f"{encoding.order}HH", tag >> 16, tag & 0xFFFF)
    if encoding.implicit:
        return head + struct.pack(f"{encoding.order}I", len(value)) + value
    if vr in _LONG:
        return head + vr.encode() + struct.pack(f"{encoding.order}HI", 0, len(value)) + value
    if len(value) > 0xFFFE:
        return None
    return head + vr.encode() + struct.pack(f"{encoding.order}H", len(value)) + value


def item_bytes(content: bytes, encoding: Encoding) -> bytes:
    return struct.pack(f"{encoding.order}HHI", 0xFFFE, 0xE000, len(content)) + content
