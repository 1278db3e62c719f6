"""Coordinate reference systems whose names are those of PROJ's database, and say nothing else."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from functools import cache
from pathlib import Path

from pyproj.datadir import get_data_dir

__all__ = ["is_known_name", "plain_wkt"]

UNKNOWN = "unknown"

_AXIS = re.compile(
    r"((geodetic|ellipsoidal|geocentric) )?(latitude|longitude|easting|northing|height|up)"
    r"( \([A-Za-z]{1,3}\))?|\([A-Za-z]{1,3}\)|unknown|n/a",
    re.IGNORECASE,
)
_NUMBER = re.compile(r"[-+0-9.eE]{1,24}")


def plain_wkt(wkt: str | None) -> str | None:
    """Return WKT with "unknown" in place of every text that PROJ does not know."""
    if wkt is None:
        return None

    def known(match: re.Match[str]) -> str:
        return match[0] if is_known_name(match[1].replace('""', '"')) else f'"{UNKNOWN}"'

    return re.sub(r'"((?:[^"]|"")*)"', known, wkt)


def is_known_name(text: str) -> bool:
    """Whether a text names something of geodesy in PROJ's database, or is a number or an axis."""
    found = _AXIS.fullmatch(text) or _NUMBER.fullmatch(text)
    return bool(found) or text in _names()


@cache
def _names() -> frozenset[str]:
    """Return every name in PROJ's database: of systems, datums, methods, units, places."""
    path = Path(get_data_dir()) / "proj.db"
    found: set[str] = set()
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro&immutable=1", uri=True)) as database:
        tables = [row[0] for row in database.execute("SELECT name FROM sqlite_master")]
        for table in tables:
            for row in database.execute("SELECT name FROM pragma_table_info(?)", (table,)):
                column = str(row[0])
                if column in _COLUMNS or column.endswith("_name"):
                    query = f'SELECT DISTINCT "{column}" FROM "{table}"'  # noqa: S608  # its own names
                    found |= {text for (text,) in database.execute(query) if isinstance(text, str)}
    return frozenset(found)


_COLUMNS = frozenset({"name", "alt_name", "abbrev", "orientation", "scope", "description"})
