"""Order the files of a stack, and name the image that they make."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

__all__ = ["band_order", "stack_name"]


def band_order(path: str | os.PathLike[str]) -> list[tuple[int, int, str]]:
    """Return what the files of a stack are sorted by: B2 before B10, B8A after B8."""
    parts = re.split(r"(\d+)", os.fspath(path).lower())
    return [(0, int(p), "") if p.isdigit() else (1, 0, p) for p in parts if p]


def stack_name(paths: Sequence[str | os.PathLike[str]]) -> str:
    """Return the common beginning of the files' names, e.g. LC08_L1TP_224077_20200518."""
    stems = [Path(path).name.split(".")[0] for path in paths]
    common = os.path.commonprefix(stems)  # noqa: RUF071 (letters of a name, not folders)
    if any(stem != common for stem in stems):
        common = re.sub(r"([_\-. ]+(B|band|BAND)?[_\-. ]*0?|[_\-. ]+)$", "", common)
    return common or Path(paths[0]).absolute().parent.name or "stack"
