"""What the basic profile of PS3.15 Table E.1-1 says is to be done with an attribute of DICOM."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cache
from importlib.resources import files

__all__ = ["Action", "Row", "table"]

_RECURSED = "X/Z/U*"


class Action(Enum):
    """What is done with an attribute. The values are those that a store's counts are called by."""

    REMOVE = "removed"
    EMPTY = "emptied"
    DUMMY = "replaced by a dummy"
    UID = "replaced by a keyed UID"
    CLEAN = "cleaned"
    SHIFT = "moved in time"
    KEEP = "kept"


_BASIC: Mapping[str, Action] = {
    "X": Action.REMOVE,
    "Z": Action.EMPTY,
    "D": Action.DUMMY,
    "U": Action.UID,
    # where it depends on the kind of object what is required, that which is right for all of them
    "Z/D": Action.DUMMY,
    "X/Z": Action.EMPTY,
    "X/D": Action.DUMMY,
    "X/Z/D": Action.DUMMY,
    _RECURSED: Action.CLEAN,
}


@dataclass(frozen=True, slots=True)
class Row:
    """One attribute."""

    code: str
    """As the table has it: "X/Z"."""
    keyword: str

    @property
    def basic(self) -> Action:
        """What the profile without options does."""
        return _BASIC[self.code]


@cache
def table() -> Mapping[int, Row]:
    """Return the table by tag."""
    text = (files("tilepress.pipeline.privacy") / "table_e1_1.tsv").read_text("ascii")
    rows: dict[int, Row] = {}
    for line in text.splitlines():
        tag, code, keyword = line.split("\t")
        rows[int(tag, 16)] = Row(code, keyword)
    return rows
