"""Read numbers, codes and texts of a parsed data set, whatever its writer put there."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from typing import Any

import numpy as np
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

__all__ = [
    "Malformed",
    "Vector",
    "binary",
    "code",
    "codes",
    "first_item",
    "hashed",
    "integer",
    "integer_or",
    "is_present",
    "listed",
    "number",
    "numbers",
    "numbers_of",
    "pair",
    "text_of",
    "words",
]

Vector = tuple[float, ...]


class Malformed(ValueError):
    """An element that is needed is absent or malformed; the message names its keyword only."""


def words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_NOTHING = Dataset()
"""Most data sets that are asked have nothing: then nothing is made, nor looked up."""


def first_item(dataset: Dataset, keyword: str) -> Dataset:
    """Return the first item of a sequence, or an empty data set, which is not to be changed."""
    items = _value(dataset, keyword)
    return items[0] if isinstance(items, Sequence) and len(items) else _NOTHING


def _value(dataset: Dataset, keyword: str) -> Any:  # noqa: ANN401  # whatever a writer put there
    return dataset.get(keyword) if len(dataset) else None


def hashed(text: str) -> str:
    """Return 12 hex digits that stand for an identifier of the source."""
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:12]


def text_of(dataset: Dataset, keyword: str) -> str:
    value = _value(dataset, keyword)
    return "" if value is None else str(value).strip()


def code(dataset: Dataset, keyword: str) -> str | None:
    """Return a code string of the form that PS3.5 allows; anything else is None."""
    text = text_of(dataset, keyword)
    return text if re.fullmatch(r"[A-Z0-9_ ]{1,16}", text) else None


def codes(dataset: Dataset, keyword: str) -> tuple[str, ...]:
    """Return the code strings of a list, in capitals; what is none is left out."""
    value = _value(dataset, keyword)
    found = [value] if isinstance(value, str) else list(value or ())
    texts = (str(one).strip().upper() for one in found)
    return tuple(text for text in texts if re.fullmatch(r"[A-Z0-9_ ]{1,16}", text))


def listed(dataset: Dataset, keyword: str, allowed: Iterable[str]) -> str | None:
    text = text_of(dataset, keyword)
    return text if text in allowed else None


def binary(dataset: Dataset, keyword: str) -> bytes:
    value = _value(dataset, keyword)
    return value if isinstance(value, bytes) else b""


def numbers(dataset: Dataset, keyword: str, count: int | None = None) -> Vector | None:
    """Return finite numbers, exactly ``count`` where that is given; None otherwise."""
    return numbers_of(_value(dataset, keyword), count)


def numbers_of(value: object, count: int | None = None) -> Vector | None:
    """Return the finite numbers of an element's value, as ``numbers`` does."""
    if value is None or value == "" or isinstance(value, bytes):
        return None
    values: Any = [value] if isinstance(value, (int, float, str)) else value
    try:
        found = tuple(float(v) for v in values)
    except (TypeError, ValueError):
        return None
    if not found or not all(np.isfinite(found)) or count not in (None, len(found)):
        return None
    return found


def number(dataset: Dataset, keyword: str) -> float | None:
    found = numbers(dataset, keyword)
    return found[0] if found else None


def pair(dataset: Dataset, first: str, second: str) -> tuple[int, int] | None:
    a, b = number(dataset, first), number(dataset, second)
    return None if a is None or b is None else (int(a), int(b))


def integer(dataset: Dataset, keyword: str, default: int | None = None) -> int:
    """Return one integer; a missing or malformed one is ``default`` or else damage."""
    found = numbers(dataset, keyword, 1)
    if found is not None and found[0] == int(found[0]):
        return int(found[0])
    if default is None or (found is None and is_present(dataset, keyword)):
        raise Malformed(f"{keyword} is missing or is no integer")
    return default


def integer_or(dataset: Dataset, keyword: str, default: int) -> int:
    """Return one integer, or ``default`` where there is none, whatever is there."""
    found = numbers(dataset, keyword, 1)
    return int(found[0]) if found is not None and found[0] == int(found[0]) else default


def is_present(dataset: Dataset, keyword: str) -> bool:
    return _value(dataset, keyword) not in (None, "", b"")
