"""Choose how a store is written, by what was asked for and by what its destination is called."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from tilepress.errors import FileInTheWay, UsageError
from tilepress.pipeline import formats
from tilepress.pipeline.image.format import Export

__all__ = ["chosen_export", "destination", "known_endings"]

_ENDING = re.compile(r"\.(?=[0-9]*[a-z])[a-z0-9]{1,8}", re.IGNORECASE)
"""What people mean as the ending of a file: results.v2 has one, out-1.0 and scan.2024 have none."""


def known_endings() -> tuple[str, ...]:
    """Return every ending that some export writes."""
    return tuple(dict.fromkeys(s for one in formats.exports().values() for s in one.suffixes))


def chosen_export(kind: str, name: str, out: Path, wanted: str | None) -> Export:
    """Return how a store is written.

    Parameters
    ----------
    kind :
        of the store's origin
    name :
        what the store is called, for errors
    out :
        the destination: a folder where one is there or its name has no ending, else one file
    wanted :
        the format that was asked for; None leaves it to the ending, and in a folder to the origin

    Raises UsageError for a format that nobody knows, an ending that nobody writes, and where they
    contradict each other or the store's origin; FileInTheWay where a folder would be a file.
    """
    known = formats.exports()
    if wanted is not None and wanted not in known:
        raise UsageError(
            f"exporting {name}: format {wanted!r} is unknown, want one of {', '.join(known)}"
        )
    own = _own(kind)
    if os.path.lexists(out) and not out.is_dir() and not _has_ending(out):
        text = f"exporting {name}: {out} exists; remove it or choose another name"
        raise FileInTheWay(text, str(out))
    if wanted is not None:
        chosen = known[wanted]
        if not _is_folder(out) and not _ends(out, chosen.suffixes):
            raise UsageError(f"exporting {name}: got {out.name}, want {chosen.wanted}")
        return chosen
    if _is_folder(out):
        return next(iter(own.values()))
    every = [*own.values(), *(one for one in known.values() if one.any_store)]
    for one in every:
        if _ends(out, one.suffixes if one.implied is None else one.implied):
            return one
    if not _ends(out, known_endings()):
        text = f"got {out.name}, want an ending of {', '.join(known_endings())}"
        raise UsageError(f"exporting {name}: {text}; {out.name}/ is a folder")
    wanted_by = next(iter(own.values())).wanted
    raise UsageError(
        f"exporting {name}: got {out.name}, want {wanted_by} (--format says what else)"
    )


def destination(out: Path, store_stem: str, chosen: Export) -> Path:
    """Return where an export writes: of those that are one file, the file where a folder is meant.

    ``store_stem`` is what the store is called, without its ending.
    """
    if chosen.is_file and _is_folder(out):
        return out / f"{store_stem}{chosen.suffixes[0]}"
    return out


def _own(kind: str) -> Mapping[str, Export]:
    """Return the ways of a store's own format, the usual one first; else those of any store."""
    origin = formats.format_of_kind(kind)
    ways = () if origin is None else origin.exports
    if not ways:
        every = [one for one in formats.exports().values() if one.any_store]
        ways = tuple(sorted(every, key=lambda one: not one.keeps_levels))
    return {one.name: one for one in ways}


def _is_folder(out: Path) -> bool:
    return out.is_dir() or not _has_ending(out)


def _has_ending(out: Path) -> bool:
    return _ENDING.fullmatch(out.suffix) is not None


def _ends(out: Path, endings: tuple[str, ...]) -> bool:
    return out.name.lower().endswith(endings)
