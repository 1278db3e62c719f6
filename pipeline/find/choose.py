"""Choose files by patterns of their paths below what was named: --include and --exclude."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from tilepress.errors import UsageError

__all__ = ["ALL", "EXCLUDED", "Choice"]

EXCLUDED = "excluded by patterns"
"""What files are counted as that no pattern lets in."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Which files of what was named are meant: those included, if any are, that are not excluded.

    A pattern without a slash is that of a name, of a file or of a folder above it. One with a slash
    is that of a path below what was named, and of all that lies below such a path. ``*`` stands for
    anything but a slash, ``**`` for anything.
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    _included: tuple[re.Pattern[str], ...] = field(init=False, repr=False, compare=False)
    _excluded: tuple[re.Pattern[str], ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_included", tuple(map(_compiled, self.include)))
        object.__setattr__(self, "_excluded", tuple(map(_compiled, self.exclude)))

    @classmethod
    def of(cls, include: str | Sequence[str], exclude: str | Sequence[str]) -> Choice:
        """Return the choice of these patterns; raise UsageError where one is empty."""
        both = [(one,) if isinstance(one, str) else tuple(one) for one in (include, exclude)]
        if not all(text.strip("/") for texts in both for text in texts):
            raise UsageError(
                "choosing files: got an empty pattern, want one of names, such as '*.tif', or of "
                "paths, such as 'raw/**'"
            )
        return cls(*both)

    def takes(self, relative: str) -> bool:
        """Whether a file is meant, by its path below what was named."""
        if self.include and not any(one.fullmatch(relative) for one in self._included):
            return False
        return not any(one.fullmatch(relative) for one in self._excluded)


def _compiled(pattern: str) -> re.Pattern[str]:
    """Translate a pattern: what it matches, it matches with all that lies below."""
    anywhere = "" if "/" in pattern.rstrip("/") else r"(?:.*/)?"
    parts = re.split(r"(\*\*/|\*\*|\*|\?|\[[^]/]+\])", pattern.strip("/"))
    text = "".join(_part(part) for part in parts)
    return re.compile(rf"{anywhere}{text}(?:/.*)?", re.DOTALL)


def _part(part: str) -> str:
    wildcards = {"**/": r"(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    if part in wildcards:
        return wildcards[part]
    if part.startswith("[") and part.endswith("]"):
        return fnmatch.translate(part).removeprefix("(?s:").removesuffix(r")\Z")
    return re.escape(part)


ALL = Choice()
"""Every file."""
