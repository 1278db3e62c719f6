"""Find the files that a directory of others refers to: a DICOMDIR, which the user has named."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterator, Sequence

from tilepress.errors import SourceError, UnsupportedSource
from tilepress.pipeline.find.walk import Batch, Failure, InputFile, Item, batches, printable_name
from tilepress.pipeline.packed.member import clean_name
from tilepress.pipeline.storage.path import is_url

__all__ = ["referenced"]


def referenced(file: InputFile, references: Sequence[str], limit: int | None) -> Iterator[Item]:
    """Yield the files that ``file`` refers to, those of one folder together.

    What it refers to lies below its own folder, links resolved, or is not opened. What is not there
    or leads elsewhere is one failure, which counts it.
    """
    shown = printable_name(file.path)
    if is_url(file.path):
        text = f"opening {shown}: what it refers to in a bucket is not looked for; name its folder"
        yield Failure(shown, UnsupportedSource(text), private=True)
        return
    disc = _Disc(os.path.dirname(file.path))
    folders: dict[str, dict[str, None]] = {}
    missing = elsewhere = 0
    for reference in references:
        name = clean_name(reference)
        found = None if name is None else disc.find(name)
        if name is None or (found is not None and not disc.holds(found)):
            elsewhere += 1
        elif found is None:
            missing += 1
        else:
            folder, _, base = found.rpartition("/")
            folders.setdefault(folder, {})[base] = None
    prefix = posixpath.dirname(file.relative)
    for folder in sorted(folders):
        names_in_use: dict[str, set[str]] = {}
        for names in batches(sorted(folders[folder]), limit):
            below = [posixpath.join(folder, name) for name in names]
            files = (InputFile(disc.path(one), posixpath.join(prefix, one)) for one in below)
            yield Batch(tuple(files), names_in_use)
    if missing or elsewhere:
        counts = ((missing, "are not there"), (elsewhere, "lead out of its folder"))
        text = " and ".join(f"{count} {what}" for count, what in counts if count)
        text = f"opening {shown}: of the {len(references)} files that it refers to, {text}"
        yield Failure(shown, SourceError(text), private=True)


class _Disc:
    """The folder that a directory lies in. Names on discs have capitals, and maybe a version."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._names: dict[str, dict[str, str]] = {}

    def path(self, below: str) -> str:
        return os.path.join(self._root, below)

    def holds(self, below: str) -> bool:
        """Whether a file lies below the folder once links are resolved."""
        real, root = os.path.realpath(self.path(below)), os.path.realpath(self._root)
        return os.path.commonpath([real, root]) == root

    def find(self, name: str) -> str | None:
        """Return the path below the folder that a name stands for; None where there is none."""
        if os.path.isfile(self.path(name)):
            return name
        found = ""
        for part in name.split("/"):
            base = self._listed(found).get(part.casefold())
            if base is None:
                return None
            found = posixpath.join(found, base)
        return found if os.path.isfile(self.path(found)) else None

    def _listed(self, folder: str) -> dict[str, str]:
        """Return the names in a folder by what they are called on a disc."""
        if folder not in self._names:
            try:
                names = sorted(os.listdir(self.path(folder)))
            except OSError:
                names = []
            called = ((name.partition(";")[0].rstrip(".").casefold(), name) for name in names)
            self._names[folder] = dict(called)
        return self._names[folder]
