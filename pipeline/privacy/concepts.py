"""The codes that PS3.16 uses, and what each means: a code that is none of them may say anything."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from pydicom.sr._concepts_dict import concepts
from pydicom.sr._snomed_dict import mapping

__all__ = ["meaning_of"]

_OLD_SNOMED = frozenset({"SRT", "SNM3", "99SDM"})


def meaning_of(scheme: str, code: str) -> str | None:
    """Return the meaning of a code of the context groups; None where it is none of them."""
    if scheme in _OLD_SNOMED:
        scheme, code = "SCT", mapping["SRT"].get(code, "")
    return _by_code().get((scheme, code))


@cache
def _by_code() -> Mapping[tuple[str, str], str]:
    found: dict[tuple[str, str], str] = {}
    tree: Any = concepts
    for scheme, keywords in tree.items():
        for codes in keywords.values():
            for code, (meaning, *_) in codes.items():
                found[str(scheme), str(code)] = str(meaning)
    return found
