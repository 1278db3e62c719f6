"""Find the files that make one image together: by a pattern of their names, and by their grid.

    '*_B*.TIF'   all wildcards but the last say which image it is, the last one which band
    auto         bands of Landsat, Sentinel-2 and HLS by their own names

The image is called by what comes before the pattern's last piece of fixed text, whatever other
files there are. Files of a scene that lie on several grids, or differ in type, are as many images,
each with its resolution in its name. A file that is alone stays the image that it is.
"""

from __future__ import annotations

import hashlib
import posixpath
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TypeAlias, TypeVar

from tilepress.errors import UsageError

__all__ = ["STACKED", "Scene", "StackPattern", "Stacks", "by_grid", "stack_patterns"]

Stacks: TypeAlias = str | Sequence[str] | None
"""Patterns of files that make one image together; the first that a file fits says which."""

STACKED = "stacked"
"""Option of a recipe: that its files fit such a pattern."""

AUTO = "auto"

_AUTO = {
    "Landsat": (
        r"(L[COTEM]\d\d_\w{4}_\d{6}_\d{8}_\d{8}_\d\d_\w\w(?:_SR|_ST|_TOA)?)_B\d+",
        r"(L[COTEM]\d{14}[A-Z]{3}\d\d)_B\d+",  # before its Collection 1
    ),
    "Sentinel-2": (
        r"((?:L2A_)?T\d\d[A-Z]{3}_\d{8}T\d{6})_B\w\w(?:_\d\dm)?",
        r"(S2[A-D]_\d?\d[A-Z]{3}_\d{8}_\d_L\d[AC])_+B\w\w",  # as it lies in public buckets
    ),
    "HLS": (r"(HLS\.[SL]30\.T\w{5}\.\d{7}T\d{6}\.v\d\.\d)\.B\w\w",),
}
"""Spectral bands of products by the names that their producers give: scene, then band. Others of
their layers (quality, classes, angles) are images of their own."""

_IMAGE_ENDING = r"\.(?:tiff?|jp2)"

_SEPARATORS = "_-. "

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Scene:
    """Which image a file is a band of."""

    key: tuple[str, ...]
    """The same for all of its files, in one folder."""
    name: str
    """What the image is called; "" for what its files share."""


@dataclass(frozen=True, slots=True)
class StackPattern:
    """One pattern."""

    text: str
    _regex: tuple[re.Pattern[str], ...]

    @classmethod
    def parse(cls, text: str) -> StackPattern:
        if text == AUTO:
            return cls(
                text, tuple(re.compile(one + _IMAGE_ENDING, re.I) for one in chain(*_AUTO.values()))
            )
        pattern = "".join(
            "(.*)" if part == "*" else "." if part == "?" else re.escape(part)
            for part in re.split(r"([*?])", text)
        )
        return cls(text, (re.compile(pattern, re.DOTALL),))

    def scene(self, relative: str) -> Scene | None:
        """Return the image that a file is a band of; None where it is none by this pattern."""
        text = relative if "/" in self.text else posixpath.basename(relative)
        for regex in self._regex:
            match = regex.fullmatch(text)
            if match is not None and self.text == AUTO:
                return Scene((self.text, match[1]), match[1])
            if match is not None:
                return Scene((self.text, *match.groups()[:-1]), self._name(text, match))
        return None

    def _name(self, text: str, match: re.Match[str]) -> str:
        """Return what comes before the last fixed text but one: *_B*.TIF gives LC08 of LC08_B2."""
        stars = len(match.groups())
        if not stars:
            return ""
        before = text[: match.end(stars - 1)] if stars > 1 else text[: match.start(1)]
        name = posixpath.basename(before)
        if stars == 1:
            name = re.sub(r"(^|[_\-. ]+)(B|band)$", "", name, flags=re.IGNORECASE)
        return name.strip(_SEPARATORS)

    @property
    def nothing_found(self) -> str:
        """What to say where no raster fits."""
        if self.text == AUTO:
            return f"stacking: no raster is named like a band of {', '.join(_AUTO)}"
        return f"stacking: no raster is named like {self.text!r}; each is an image of its own"


def stack_patterns(stacks: Stacks) -> tuple[StackPattern, ...]:
    """Return the patterns that a caller gave; raises UsageError for an empty one."""
    texts = () if stacks is None else (stacks,) if isinstance(stacks, str) else tuple(stacks)
    if not all(texts):
        raise UsageError("stacking: got an empty pattern, want one of names, such as '*_B*.TIF'")
    return tuple(StackPattern.parse(text) for text in dict.fromkeys(texts))


def by_grid(
    files: Iterable[tuple[_T, tuple[str, ...]]],
) -> Iterator[tuple[str, list[_T]]]:
    """Yield what tells an image of a scene from its others, "" for the only one, and its files.

    Each file comes with the words of its grid: resolution, type, and all that places it. It takes
    as many of them as are needed, and never a number that depends on what else there is.
    """
    grids: dict[tuple[str, ...], list[_T]] = {}
    for file, words in files:
        grids.setdefault(words, []).append(file)
    for words, group in grids.items():
        if len(grids) == 1:
            yield "", group
            continue
        short = words[:1]
        for length in range(1, len(words) + 1):
            short = words[:length]
            if sum(other[:length] == short for other in grids) == 1:
                break
        told = [*short[:2], *(hashlib.sha256(one.encode()).hexdigest()[:8] for one in short[2:])]
        yield "-".join(word for word in told if word), group
