"""Choose files by patterns of their paths below what was named: --include and --exclude."""

from __future__ import annotations

import fnmatch
import posixpath
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from tilepress.errors import UsageError
from tilepress.pipeline.find.companions import may_be_packed
from tilepress.pipeline.find.walk import End, Failure, InputFile, Item, PassedOver, ZarrNode
from tilepress.pipeline.geotiff.drivers import OPTED

__all__ = ["ALL", "EXCLUDED", "Choice", "chosen"]

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
    drivers: tuple[str, ...] = ()
    """Further drivers that rasters are read with; see ``geotiff.drivers.OPTED``."""
    _included: tuple[re.Pattern[str], ...] = field(init=False, repr=False, compare=False)
    _excluded: tuple[re.Pattern[str], ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_included", tuple(map(_compiled, self.include)))
        object.__setattr__(self, "_excluded", tuple(map(_compiled, self.exclude)))

    @classmethod
    def of(
        cls,
        include: str | Sequence[str],
        exclude: str | Sequence[str],
        driver: str | Sequence[str] = (),
    ) -> Choice:
        """Return the choice of these patterns and drivers; raise UsageError where one is empty."""
        both = [(one,) if isinstance(one, str) else tuple(one) for one in (include, exclude)]
        if not all(text.strip("/") for texts in both for text in texts):
            raise UsageError(
                "choosing files: got an empty pattern, want one of names, such as '*.tif', or of "
                "paths, such as 'raw/**'"
            )
        drivers = (driver,) if isinstance(driver, str) else tuple(driver)
        for name in drivers:
            if name not in OPTED:
                raise UsageError(f"choosing drivers: got {name!r}, want one of {', '.join(OPTED)}")
        return cls(include=both[0], exclude=both[1], drivers=drivers)

    def may_take(self, relative: str) -> bool:
        """Whether a file is meant, or may be packed so that what is meant is in it."""
        if self.takes(relative):
            return True
        excluded = any(one.fullmatch(relative) for one in self._excluded)
        return may_be_packed(relative) and not excluded

    def takes_packed(self, file: InputFile) -> bool:
        """Whether a file is meant by its name, packed or unpacked."""
        packed = posixpath.join(posixpath.dirname(file.relative), posixpath.basename(file.path))
        return self.takes(file.relative) or self.takes(packed)

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


def chosen(
    items: Iterable[Item], choice: Choice, passed_over: Counter[str], *, packed: bool = False
) -> Iterator[Item]:
    """Leave out the files that are not meant, and count them; ``packed`` of those in a packed one.

    What may be packed is looked into, unless it is excluded.
    """
    may_take = choice.takes if packed else choice.may_take
    for item in items:
        if choice == ALL or isinstance(item, (Failure, End)):
            yield item
        elif isinstance(item, ZarrNode):
            if choice.takes(item.file.relative):
                yield item
            else:
                passed_over[EXCLUDED] += 1
        else:
            files = tuple(file for file in item.files if may_take(file.relative))
            if len(files) < len(item.files):
                passed_over[EXCLUDED] += len(item.files) - len(files)
            if files or isinstance(item, PassedOver):
                yield replace(item, files=files)
