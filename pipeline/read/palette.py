"""The colours of a store whose samples are numbers of colours.

They are in its attributes (``color_table``, or ``palette`` of a DICOM image), or in what
``source/`` keeps of the file, which its format knows.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tilepress.errors import TilepressError
from tilepress.pipeline import formats
from tilepress.pipeline.store.reader import StoreReader

__all__ = ["MAX_COLORS", "Palette", "palette_of"]

Palette = npt.NDArray[np.uint8]
"""(n, 4): red, green, blue, opacity by stored value; what has no colour is transparent."""

MAX_COLORS = 65536


def palette_of(reader: StoreReader) -> Palette | None:
    """Return the colours of a store; None where it tells none, or more than ``MAX_COLORS``."""
    attributes = reader.attrs
    with contextlib.suppress(KeyError, TypeError, ValueError, OverflowError):
        if "color_table" in attributes:
            values = _values(attributes)
            return _array(dict(zip(values, map(_color, _listed(attributes)), strict=True)))
        if "palette" in attributes:
            return _array(_of_dicom(attributes["palette"]))
    format_ = formats.format_of_kind(str(reader.origin.get("kind")))
    with contextlib.suppress(TilepressError, KeyError, TypeError, ValueError, OverflowError):
        colors = None if format_ is None else format_.colors(reader)
        return None if colors is None else _array({n: _four(c) for n, c in enumerate(colors)})
    return None


def _listed(attributes: Mapping[str, Any]) -> list[object]:
    table = attributes["color_table"]
    return list(table.values() if isinstance(table, Mapping) else table)


def _values(attributes: Mapping[str, Any]) -> list[int]:
    """Return the stored values that a table has colours of: its keys, flags, or 0 … n − 1."""
    table = attributes["color_table"]
    if isinstance(table, Mapping):
        return [int(key) for key in table]
    flags = attributes.get("flag_values")
    if isinstance(flags, list) and len(flags) == len(table):
        return [int(value) for value in flags]
    return list(range(len(table)))


def _color(text: object) -> tuple[int, int, int, int]:
    """Return the colour of "#rrggbb" or "#rrggbbaa"; ValueError or TypeError for another value."""
    if not isinstance(text, str):
        raise TypeError("a colour that is no text")
    return _four(bytes.fromhex(text.removeprefix("#")))


def _four(color: Sequence[int]) -> tuple[int, int, int, int]:
    red, green, blue, opacity = (*color, 255) if len(color) == 3 else color
    return red, green, blue, opacity


def _of_dicom(table: Mapping[str, Any]) -> dict[int, tuple[int, int, int, int]]:
    """Return the colours of PS3.3 C.7.6.3.1.5, the 8 highest bits of each."""
    first, down = int(table["first"]), max(0, int(table["bits"]) - 8)
    rows = zip(table["red"], table["green"], table["blue"], strict=True)
    return {first + n: (r >> down, g >> down, b >> down, 255) for n, (r, g, b) in enumerate(rows)}


def _array(colors: Mapping[int, tuple[int, int, int, int]]) -> Palette | None:
    if not colors or min(colors) < 0 or max(colors) >= MAX_COLORS:
        return None
    palette = np.zeros((max(colors) + 1, 4), np.uint8)
    for value, color in colors.items():
        if min(color) < 0 or max(color) > 255:
            return None
        palette[value] = color
    return palette
