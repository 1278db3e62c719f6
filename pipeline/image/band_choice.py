"""Find the bands that people mean: by number, or by the names that a store tells of them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tilepress.errors import UsageError
from tilepress.pipeline.image.source import ExportReader

__all__ = ["band_numbers", "bands_called", "names_of_bands"]

_NAMES_TOLD = 30
"""Bands that an error lists at most."""


def names_of_bands(reader: ExportReader) -> tuple[str, ...]:
    """Return the name of every band, "" for one without; () where the store tells none."""
    told = reader.attrs.get("band_names")
    if told is None and isinstance(reader.attrs.get("long_name"), str):
        told = [reader.attrs["long_name"]]
    if not isinstance(told, list | tuple) or len(told) != _count(reader):
        return ()
    return tuple(str(name) for name in told)


def band_numbers(reader: ExportReader, asked: Sequence[int | str], name: str) -> list[int]:
    """Return the numbers from 1 of the bands that are asked for, in that order.

    A text is a name as the store tells it; failing that, one that differs from it in case or in
    zeros before its number (B4 for B04); failing that, a number. ``name`` is the store's.

    Raises UsageError for what is no band, and for one that is asked for twice.
    """
    names = names_of_bands(reader)
    found = [_number(one, names, _count(reader), name) for one in asked]
    if not found:
        raise UsageError(f"exporting {name}: no band is asked for")
    if len(set(found)) != len(found):
        raise UsageError(f"exporting {name}: of bands {_listed(asked)} one is named twice")
    return found


def bands_called(asked: int | str, names: Sequence[str], count: int) -> list[int]:
    """Return the numbers from 1 of the bands that may be meant: one, none, or several of a name.

    ``names`` has "" for a band without a name, or is empty; ``count`` is how many bands there are.
    """
    if isinstance(asked, str):
        for alike in (str, _plain):
            at = [n for n, one in enumerate(names, 1) if one and alike(one) == alike(asked)]
            if at:
                return at
    number = int(asked) if isinstance(asked, int) or asked.isdecimal() else 0
    return [number] if 1 <= number <= count else []


def _number(asked: int | str, names: Sequence[str], count: int, name: str) -> int:
    found = bands_called(asked, names, count)
    if len(found) > 1:
        text = f"band {asked!r} may be any of {_listed(found)}: give its number"
        raise UsageError(f"exporting {name}: {text}")
    if not found:
        known = f", called {_listed(names)}" if any(names) else ""
        text = f"got band {asked!r}, and the image has bands 1 … {count}{known}"
        raise UsageError(f"exporting {name}: {text}")
    return found[0]


def _plain(name: str) -> str:
    return re.sub(r"(?<![0-9])0+(?=[0-9])", "", name.strip().casefold())


def _listed(values: Sequence[object]) -> str:
    shown = ", ".join(map(str, values[:_NAMES_TOLD]))
    return f"{shown} …" if len(values) > _NAMES_TOLD else shown


def _count(reader: ExportReader) -> int:
    return reader.shape[reader.axes.index("band")] if "band" in reader.axes else 1
