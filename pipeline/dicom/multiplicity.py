"""How many values an element has by the dictionary, and whether numbers are a text in disguise."""

from __future__ import annotations

import re
import struct
from functools import cache

from pydicom.datadict import dictionary_VM
from pydicom.dataset import Dataset

from tilepress.pipeline.dicom.elements import (
    BYTES,
    NUMBERS,
    Encoding,
    raw_bytes,
    texts_of,
)
from tilepress.pipeline.privacy.numbers import seems_text

__all__ = ["COLOUR_TABLES", "check_values", "colour_table"]

COLOUR_TABLES = {
    **{0x00281201: 0x00281101, 0x00281202: 0x00281102, 0x00281203: 0x00281103},
    0x00283006: 0x00283002,
}
"""The tables of colours that may stay, with the elements that say how long they are."""

_TEXTS = frozenset({"DS", "IS", "AS", "DA", "TM", "DT", "UI"})


def check_values(tag: int, vr: str, raw: bytes, encoding: Encoding) -> None:
    """Raise ValueError for numbers, dates, or UIDs that are no such, by their number or their look.

    ``raw`` is in the order of the file, and not empty.
    """
    if vr in _TEXTS:
        count = len(texts_of(raw))
    elif vr in NUMBERS and vr not in BYTES:
        count, rest = divmod(len(raw), NUMBERS[vr])
        if rest:
            raise ValueError("half a number")
    else:
        return
    least, most, step = _multiplicity(tag)
    if count < least or count % step or (most is not None and count > most):
        raise ValueError("not as many values as the dictionary has")
    if vr in NUMBERS:
        size = {"FD": 8, "FL": 4 if most is not None else 0}.get(vr, 0)
        if seems_text(raw, floats=size, order=encoding.order):
            raise ValueError("a text where numbers belong")


@cache
def _multiplicity(tag: int) -> tuple[int, int | None, int]:
    """Return (least, most or None, step) of "1", "1-3", "1-n", "2-2n"…; "1-n or 1" is the wider."""
    widest: tuple[int, int | None, int] = (1, 1, 1)
    for number, text in enumerate(dictionary_VM(tag).split(" or ")):
        least, _, most = text.partition("-")
        step = int(re.sub(r"\D", "", most) or 1) if most.endswith("n") else 1
        first = int(re.sub(r"\D", "", least) or 1)
        last = None if text.endswith("n") else int(most or least)
        if number == 0 or last is None:
            widest = (first, last, step)
    return widest


def colour_table(dataset: Dataset, tag: int, raw: bytes, encoding: Encoding) -> bytes:
    """Return a table of colours as long as its descriptor says (PS3.3 C.7.6.3.1.5, C.11.1).

    Raises ValueError for any other.
    """
    descriptor = COLOUR_TABLES[tag]
    if descriptor not in dataset:
        raise ValueError("nothing says how long the table is")
    told = raw_bytes(dataset, descriptor, "US", encoding)
    if len(told) != 6:
        raise ValueError("no descriptor of a table")
    entries, _, bits = struct.unpack("<3H" if encoding.little else ">3H", told)
    entries = entries or 1 << 16
    if not 8 <= bits <= 16:
        raise ValueError("no descriptor of a table")
    if bits == 8 and len(raw) == entries + entries % 2:
        return raw[:entries] + b"\0" * (entries % 2)
    if len(raw) != 2 * entries:
        raise ValueError("not as long as its descriptor says")
    return raw
