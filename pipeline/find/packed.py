"""Search zip and tar files as if they were folders of their name."""

from __future__ import annotations

import posixpath
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from tilepress.errors import DamagedSource, SourceError, UnsupportedSource
from tilepress.pipeline.find.choose import Choice, chosen
from tilepress.pipeline.find.companions import is_passed_over
from tilepress.pipeline.find.looked import Looked
from tilepress.pipeline.find.walk import (
    Batch,
    Failure,
    InputFile,
    Item,
    PassedOver,
    batches,
    each_or_failure,
    printable_name,
)
from tilepress.pipeline.packed.gzip_file import unpacked_name
from tilepress.pipeline.packed.member import LeftOut, Member
from tilepress.pipeline.packed.unpack import Packed, check_expansion, look_up, open_packed
from tilepress.pipeline.storage.path import is_url
from tilepress.pipeline.storage.ranges import RemoteFile

__all__ = ["PackedFiles", "PackedWalk"]

MAX_COMPANION_BYTES = 2**26
"""Larger files beside rasters say nothing of them."""


class PackedFiles:
    """The packed files that a search has come by, whose files it looks at next."""

    def __init__(
        self,
        choice: Choice,
        passed_over: Counter[str],
        *,
        limit: int | None,
        max_expansion: float,
    ) -> None:
        self._choice, self._passed_over = choice, passed_over
        self._limit, self._max_expansion = limit, max_expansion
        self._waiting: list[InputFile] = []
        self._nested = 0

    def takes(self, looked: Looked, batch: Batch) -> bool:
        """Take a packed file, to give its files later; one in another is counted alone.

        What lies in a bucket, or is called as what accompanies images, is not looked into.
        """
        nested = looked.packing == "gzip" and batch.container is not None
        if is_url(looked.file.path) or not (looked.is_packed_folder or nested):
            return False
        if is_passed_over(unpacked_name(looked.file.name)):
            return False
        if batch.container is None:
            self._waiting.append(looked.file)
        else:
            self._nested += 1
        return True

    def items(self) -> Iterator[Item]:
        """Yield the files of what was taken, and what cannot be taken of it: a failure for each."""
        waiting, self._waiting = self._waiting, []
        for file in waiting:
            self._nested = 0
            yield from each_or_failure(self._items(file), file.path)

    def _items(self, file: InputFile) -> Iterator[Item]:
        shown = printable_name(file.path)
        try:
            packed = open_packed(file.path)
            check_expansion(packed.unpacked_bytes, packed.packed_bytes, self._max_expansion)
            walk = PackedWalk(packed, file.relative)
            choice = self._choice
            if choice.takes(file.relative):
                choice = replace(choice, include=())
            items = walk.items(self._limit)
            yield from chosen(items, choice, self._passed_over, packed=True)
        except (SourceError, OSError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            kind = type(error) if isinstance(error, SourceError) else SourceError
            yield Failure(shown, kind(f"opening {shown}: {reason}"))
            return
        left_out = packed.left_out | ({LeftOut.NESTED: self._nested} if self._nested else {})
        lost = {why: count for why, count in left_out.items() if why.is_loss}
        self._passed_over.update({w.value: n for w, n in left_out.items() if w not in lost})
        if lost:
            texts = ", ".join(f"{count} {why.value}" for why, count in lost.items())
            text = f"not all files in it are taken ({texts}); unpack it, and name what it held"
            yield Failure(shown, UnsupportedSource(f"opening {shown}: {text}"))
        if packed.problem is not None:
            yield Failure(shown, DamagedSource(f"opening {shown}: {packed.problem}"))


@dataclass(frozen=True, slots=True)
class PackedWalk:
    """A packed file, searched through as a folder is; hidden files and folders are left out."""

    packed: Packed
    prefix: str
    """What the names of files are put below."""
    _names_in_use: dict[str, set[str]] = field(default_factory=dict)

    def items(self, limit: int | None) -> Iterator[Batch | PassedOver]:
        """Yield the files of each folder. Raises SourceError, OSError."""
        for folder in self.packed.index.folders():
            if any(part.startswith(".") for part in folder.split("/")) or _is_of_mac(folder):
                continue
            names = [n for n in self.packed.index.names(folder) if not n.startswith(".")]
            passed_over = [name for name in names if is_passed_over(name)]
            wanted = [name for name in names if not is_passed_over(name)]
            beside = self._companions(folder, passed_over) if wanted else ()
            for some in batches(wanted, limit):
                files = self._files(folder, some)
                yield Batch(files, self._names_in_use, beside, container=self.packed.path)
            if passed_over:
                yield PassedOver(self._files(folder, passed_over))

    def _files(self, folder: str, names: Sequence[str]) -> tuple[InputFile, ...]:
        return tuple(map(self._file, self.packed.index.members(folder, names)))

    def _file(self, member: Member) -> InputFile:
        remote = self.packed.file(member)
        relative = posixpath.join(self.prefix, member.name)
        return InputFile(remote.url, relative, remote, member.packed_bytes)

    def _companions(self, folder: str, names: Sequence[str]) -> tuple[RemoteFile, ...]:
        """Return what may say more of rasters, pinned to its content."""
        found = self.packed.index.members(folder, [n for n in names if not n.endswith(".ovr")])
        small = (member for member in found if member.size <= MAX_COMPANION_BYTES)
        return tuple(look_up(self.packed.file(member).url) for member in small)


def _is_of_mac(folder: str) -> bool:
    """Whether a folder holds what macOS adds to zips: forks of files, called as these."""
    return folder.partition("/")[0] == "__MACOSX"
