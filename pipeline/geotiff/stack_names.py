"""Order the files of a stack, and name the image that they make and its bands."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

__all__ = ["band_labels", "band_order", "former_names", "stack_name", "stamp_of"]

MAX_FORMER = 1000

_ENDINGS = (".tif", ".tiff", ".gtiff", ".jp2", ".j2k", ".j2c", ".jpx", ".hgt", ".png")

_STAMPS = (
    (r"\d{8}T\d{6}Z?", "%Y%m%dT%H%M%S"),
    (r"\d{7}T\d{6}Z?", "%Y%jT%H%M%S"),
    (r"\d{4}-\d\d-\d\dT\d\d:?\d\d:?\d\dZ?", None),
    (r"\d{4}-\d\d-\d\d", "%Y-%m-%d"),
    (r"\d{8}", "%Y%m%d"),
    (r"A?\d{7}", "%Y%j"),
)
"""How dates stand in names, and how they are read."""

_DATE = r"(?<!\d)\d{4}-\d\d-\d\d(?:T\d\d:?\d\d:?\d\dZ?)?(?!\d)"
"""A date with hyphens, which elsewhere part the words of a name."""


def band_order(path: str | os.PathLike[str]) -> list[tuple[int, int, str]]:
    """Return what the files of a stack are sorted by: B2 before B10, B8A after B8."""
    parts = re.split(r"(\d+)", os.fspath(path).lower())
    return [(0, int(p), "") if p.isdigit() else (1, 0, p) for p in parts if p]


def stack_name(paths: Sequence[str | os.PathLike[str]]) -> str:
    """Return what the files' names begin with in whole words, e.g. LC08_L1TP_224077_20200518."""
    stems = [_stem(path) for path in paths]
    if len(set(stems)) == 1:
        return stems[0] or "stack"
    words = [_words(stem, with_gaps=True) for stem in stems]
    common = "".join(words[0][: _shared(words)]).strip("_-. ")
    if not common:
        letters = os.path.commonprefix(stems)  # noqa: RUF071 (letters of a name, not folders)
        common = re.sub(r"[\d_\-. ]+$", "", letters)
    return common or Path(paths[0]).absolute().parent.name or "stack"


def band_labels(paths: Sequence[str | os.PathLike[str]]) -> list[str]:
    """Return what tells each file of a stack from the others: B2, B8A, 2019-12-22.

    Empty texts for a single file. A date is written as ISO 8601 has it.
    """
    words = [_words(_stem(path)) for path in paths]
    if len(words) < 2:
        return [""] * len(words)
    first = _shared(words)
    rest = [one[first:] for one in words]
    last = min(_shared([one[::-1] for one in rest]), *(len(one) for one in rest))
    labels = ["_".join(one[: len(one) - last]) for one in rest]
    stamps = [stamp_of(label) for label in labels]
    if all(stamps):
        return [_iso(stamp) for stamp in stamps if stamp is not None]
    return labels


def stamp_of(text: str) -> datetime | None:
    """Return the date, and time, that a part of a name spells; None where it spells none."""
    for pattern, how in _STAMPS:
        if re.fullmatch(pattern, text):
            plain = text.removesuffix("Z").removeprefix("A")
            try:
                found = datetime.fromisoformat(plain) if how is None else None
                found = found or datetime.strptime(plain, how or "")  # names tell no zone
            except ValueError:
                continue
            if 1900 <= found.year < 2200:
                return found
    return None


def former_names(paths: Sequence[str | os.PathLike[str]]) -> Iterator[str]:
    """Yield the names that versions before 0.2 gave a stack of these files, the first one first.

    They went by letters and not by words, up to the first dot, and numbered what came out alike.
    """
    stems = [Path(path).name.split(".")[0] for path in paths]
    common = os.path.commonprefix(stems)  # noqa: RUF071 (letters of a name, not folders)
    if any(stem != common for stem in stems):
        common = re.sub(r"([_\-. ]+(B|band|BAND)?[_\-. ]*0?|[_\-. ]+)$", "", common)
    common = common or Path(paths[0]).absolute().parent.name or "stack"
    yield common
    yield f"{common}-stack"
    for number in range(2, MAX_FORMER):
        yield f"{common}-stack-{number}"


def _stem(path: str | os.PathLike[str]) -> str:
    name = Path(path).name
    ending = Path(name).suffix
    return name.removesuffix(ending) if ending.lower() in _ENDINGS else name


def _words(stem: str, *, with_gaps: bool = False) -> list[str]:
    """Split a name into words; a date with hyphens is one."""
    found = re.split(rf"({_DATE}|[_\-. ]+)", stem)
    return [word for word in found if word and (with_gaps or word.strip("_-. "))]


def _shared(words: Sequence[Sequence[str]]) -> int:
    """Return how many words all begin with."""
    count = 0
    for column in zip(*words, strict=False):
        if len(set(column)) > 1:
            break
        count += 1
    return count


def _iso(stamp: datetime) -> str:
    whole_day = (stamp.hour, stamp.minute, stamp.second) == (0, 0, 0)
    return stamp.date().isoformat() if whole_day else stamp.isoformat()
