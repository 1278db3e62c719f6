"""Match attributes as a DICOM query does (PS3.4 C.2.2.2), over the JSON model of a data set."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydicom.datadict import dictionary_VR, tag_for_keyword

from tilepress.errors import UsageError
from tilepress.pipeline.dicom.model import Model

__all__ = ["Condition", "parse_condition", "parse_path"]

MAX_VALUE = 2048
"""Characters of what an attribute is compared with."""

_HEX = re.compile(r"[0-9A-Fa-f]{8}")
_KEYWORD = re.compile(r"[A-Za-z][A-Za-z0-9]{0,63}")
_RANGE = {
    "DA": re.compile(r"([0-9]{8})?-([0-9]{8})?"),
    "TM": re.compile(r"([0-9.]{2,13})?-([0-9.]{2,13})?"),
    "DT": re.compile(r"([0-9.]{4,21})?-([0-9.]{4,21})?"),
}
_DATE = re.compile(r"[0-9]{8}|[0-9]{4}\.[0-9]{2}\.[0-9]{2}")
_NUMBERS = frozenset(("DS", "FD", "FL", "IS", "SL", "SS", "SV", "UL", "US", "UV"))
_WILD = frozenset(("AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT", "AS"))
MAX_PATH = 8


@dataclass(frozen=True, slots=True)
class Condition:
    """An attribute, and what it has to be. Any value will do for an empty text."""

    path: tuple[str, ...]
    """Tags, those of sequences first."""
    vr: str
    wanted: str

    def takes(self, model: Model) -> bool:
        """Whether a data set meets the condition; one without the attribute does not."""
        if not self.wanted or set(self.wanted) == {"*"}:
            return True
        return any(self._takes(value) for value in _values(model, self.path))

    def _takes(self, value: object) -> bool:
        wanted, vr = self.wanted, self.vr
        if vr == "UI":
            return str(value) in re.split(r"[,\\]", wanted)
        if vr in _RANGE:
            return _in_range(str(value).strip(), wanted, vr)
        if vr in _NUMBERS:
            return _number(value) is not None and _number(value) == _number(wanted)
        if isinstance(value, dict):  # a person's name
            groups = [str(part) for part in value.values()]
            names = [_name(one) for one in (*groups, "=".join(groups))]
            return any(_is_like(one, _name(wanted)) for one in names)
        text = str(value).strip()
        return _is_like(text, wanted) if vr in _WILD else text == wanted


def parse_condition(key: str, value: str) -> Condition:
    """Return a condition of a query's parameter; raises UsageError, which quotes no value."""
    path = parse_path(key)
    vr = _vr(path[-1])
    if len(value) > MAX_VALUE:
        raise UsageError(f"searching: the value of {key} is longer than {MAX_VALUE} characters")
    value = value.strip()
    if vr == "SQ" and value:
        raise UsageError(f"searching: {key} is a sequence; name an attribute in it, as {key}.…")
    if vr == "DA" and value and not _DATE.fullmatch(value) and not _is_range(value, vr):
        raise UsageError(f"searching: {key} is no date, want YYYYMMDD or a range of two")
    if vr in _NUMBERS and value and _number(value) is None:
        raise UsageError(f"searching: the value of {key} is no number")
    return Condition(path, vr, value)


def parse_path(key: str) -> tuple[str, ...]:
    """Return the tags of "PatientName", "00100010" or "00400275.00400009"; raises UsageError."""
    parts = key.split(".")
    if len(parts) > MAX_PATH:
        raise UsageError("searching: an attribute lies too deep in sequences")
    tags = []
    for part in parts:
        if _HEX.fullmatch(part):
            tags.append(part.upper())
            continue
        tag = tag_for_keyword(part) if _KEYWORD.fullmatch(part) else None
        if tag is None:
            raise UsageError(
                "searching: a parameter is neither a DICOM attribute nor limit, offset, "
                "includefield or fuzzymatching"
            )
        tags.append(f"{tag:08X}")
    return tuple(tags)


def _vr(tag: str) -> str:
    try:
        return dictionary_VR(int(tag, 16)).split(" ")[0]
    except KeyError:
        return "LO"  # private: compared as text


def _values(model: Model, path: tuple[str, ...]) -> Iterator[Any]:
    attribute = model.get(path[0]) or {}
    for value in attribute.get("Value") or ():
        if value is None:
            continue
        if len(path) == 1:
            yield value
        elif isinstance(value, dict):
            yield from _values(value, path[1:])


def _is_range(text: str, vr: str) -> bool:
    return text != "-" and _RANGE[vr].fullmatch(text) is not None


def _in_range(value: str, wanted: str, vr: str) -> bool:
    """Whether a date or time is one, or lies between two, each to the precision that is told."""
    if vr == "DA":
        value, wanted = value.replace(".", ""), wanted.replace(".", "")
    if not _is_range(wanted, vr):
        return value == wanted or (vr != "DA" and bool(value) and value.startswith(wanted))
    low, _, high = wanted.partition("-")
    value = re.split(r"[&+-]", value)[0]  # the offset of a moment's zone
    if not value:
        return False
    return (not low or value >= low) and (not high or value[: len(high)] <= high)


def _number(text: object) -> float | None:
    try:
        return float(str(text))
    except (TypeError, ValueError):
        return None


def _name(text: str) -> str:
    """Return a person's name without what is told by nothing: case and empty components."""
    return "=".join(part.strip().rstrip("^").casefold() for part in text.split("=")).rstrip("=")


def _is_like(text: str, pattern: str) -> bool:
    """Whether a text is what a pattern of ``*`` and ``?`` says, in steps of their product."""
    at = star = 0
    back = -1
    place = 0
    while place < len(text):
        if at < len(pattern) and pattern[at] == "*":
            back, star = at, place
            at += 1
        elif at < len(pattern) and pattern[at] in ("?", text[place]):
            at += 1
            place += 1
        elif back >= 0:
            at, star = back + 1, star + 1
            place = star
        else:
            return False
    return not pattern[at:].strip("*")
