"""Read XML that stands in the description of a directory: a hostile one, or one that is cut off."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from xml.parsers import expat

__all__ = ["read_xml"]


def read_xml(
    description: bytes,
    start: Callable[[str, Mapping[str, str]], None],
    end: Callable[[str], None],
    text: Callable[[str], None] | None = None,
) -> None:
    """Tell elements, and the text in them, as they come.

    Of a text that is cut off, that declares entities or that a function refuses by a ValueError,
    what stands before is told.
    """
    parser = expat.ParserCreate()
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = text
    parser.EntityDeclHandler = _refuse
    with contextlib.suppress(expat.ExpatError, ValueError):
        parser.Parse(description.rstrip(b"\0 \r\n"), True)


def _refuse(*_: object) -> None:
    raise ValueError("entities may grow without bound")
