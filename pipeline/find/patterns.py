"""Match paths against a pattern with wildcards, folder by folder."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Sequence

__all__ = ["EVERYTHING", "Pattern", "has_wildcard", "split_pattern"]

_WILDCARD = re.compile(r"[*?\[]")


def has_wildcard(text: str) -> bool:
    return _WILDCARD.search(text) is not None


class Pattern:
    """A pattern of paths; a state is how much of it the folders above have matched."""

    WHOLE: frozenset[int] = frozenset({-1})
    """The state in which everything below is taken."""

    def __init__(self, parts: Sequence[str]) -> None:
        self._parts = [None if part == "**" else _part(part) for part in parts]
        self.start = self._closed({0})

    def enter(self, state: frozenset[int], name: str) -> frozenset[int]:
        """Return the state in a folder's sub-folder; empty where nothing below can match."""
        if state == self.WHOLE:
            return self.WHOLE
        found: set[int] = set()
        for at in state - {len(self._parts)}:
            part = self._parts[at]
            if part is None:
                found |= set() if name.startswith(".") else {at}
            elif part.fullmatch(name):
                if at + 1 == len(self._parts):
                    return self.WHOLE
                found.add(at + 1)
        return self._closed(found)

    def includes(self, state: frozenset[int]) -> bool:
        """Whether a folder itself matches."""
        return state == self.WHOLE or len(self._parts) in state

    def takes(self, state: frozenset[int], name: str) -> bool:
        """Whether a file of a folder matches."""
        if self.includes(state):
            return True
        part = self._parts[-1]
        return part is not None and len(self._parts) - 1 in state and bool(part.fullmatch(name))

    def _closed(self, state: set[int]) -> frozenset[int]:
        """Add what ``**`` may match without any folder."""
        for at, part in enumerate(self._parts):
            if at in state and part is None:
                state.add(at + 1)
        return frozenset(state)


def _part(text: str) -> re.Pattern[str]:
    """Translate one part; as in shells, a wildcard at its beginning matches no dot."""
    hidden = "" if text.startswith(".") else r"(?!\.)"
    return re.compile(hidden + fnmatch.translate(text))


def split_pattern(pattern: str) -> tuple[str, Pattern]:
    """Return the folder before the first wildcard, and the pattern below it."""
    parts = pattern.split("/")
    first = next(at for at, part in enumerate(parts) if _WILDCARD.search(part))
    root = "/".join(parts[:first]) or ("/" if first else ".")
    return root, Pattern([part for part in parts[first:] if part not in ("", ".")])


EVERYTHING = Pattern(["**"])
