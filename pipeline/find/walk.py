"""Search folders and buckets for files, as a stream.

Whatever is searched, gives the same items: files of one folder together, in the order of their
names; Zarr arrays as they are; and what cannot be read.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TypeVar

from tilepress.errors import SourceError, UnsupportedSource, failure_of
from tilepress.pipeline.arrays.zarr_nodes import (
    MAX_DOCUMENT_BYTES,
    is_array_document,
    is_zarr_array,
    is_zarr_node,
)
from tilepress.pipeline.find.companions import is_passed_over
from tilepress.pipeline.find.patterns import EVERYTHING, Pattern
from tilepress.pipeline.image.names import scene_of
from tilepress.pipeline.packed.unpack import as_copied
from tilepress.pipeline.storage.ranges import RemoteFile, listing, look_up, shown
from tilepress.pipeline.storage.regular import RefusedFile, read_regular
from tilepress.pipeline.storage.s3 import BucketPath
from tilepress.pipeline.storage.text import printable
from tilepress.pipeline.store.keys import IMAGE

__all__ = [
    "Batch",
    "BucketWalk",
    "End",
    "Failure",
    "FolderWalk",
    "InputFile",
    "Item",
    "PassedOver",
    "ZarrNode",
    "batches",
    "each_or_failure",
    "is_utf8",
    "not_utf8",
    "printable_name",
    "unsupported",
]


@dataclass(frozen=True, slots=True)
class Failure:
    """An input that is no image for us, and why."""

    path: str
    error: SourceError
    private: bool = False
    """Whether the path may name a patient: nobody is told it unless they ask."""


@dataclass(frozen=True, slots=True)
class InputFile:
    """A file, an object of a bucket or a file in a packed one: an image or a part of one, maybe."""

    path: str
    """Absolute path, or URL."""
    relative: str
    """Path below the folder that names count from, with forward slashes."""
    remote: RemoteFile | None = None
    """What the bucket's listing says of an object, or a packed file of what is in it; None for
    files, and where nobody has asked."""
    packed_bytes: int | None = None
    """What it takes in its packed file; None where it is in none."""

    @property
    def name(self) -> str:
        name = posixpath.basename(self.path)
        return name if self.remote is None else as_copied(name, self.remote.version)

    @property
    def stem(self) -> str:
        return PurePosixPath(self.name).stem

    @property
    def suffix(self) -> str:
        return PurePosixPath(self.name).suffix


@dataclass(frozen=True, slots=True)
class Batch:
    """Files of one folder that are looked at together."""

    files: tuple[InputFile, ...]
    names_in_use: dict[str, set[str]]
    """Names that earlier batches of the folder took, by folder of the archive; shared by them."""
    companions: tuple[RemoteFile, ...] | None = None
    """Objects beside those of a bucket that may say more of them: ``.aux.xml``, ``.tfw``…; None
    where nobody has looked."""
    named: bool = False
    """Whether the user named these very files: then whatever is no image is a failure."""
    container: str | None = None
    """The packed file that these files are in."""


@dataclass(frozen=True, slots=True)
class ZarrNode:
    """A Zarr array or group."""

    file: InputFile
    is_array: bool


@dataclass(frozen=True, slots=True)
class End:
    """An argument ends here: series of DICOM files do not reach across."""


@dataclass(frozen=True, slots=True)
class PassedOver:
    """What a searched folder holds beside images, hidden files left out."""

    files: tuple[InputFile, ...] = ()
    """Files whose names say that they accompany images."""
    links: int = 0
    """Links to folders, which are not followed."""


T = TypeVar("T")

Item = Batch | ZarrNode | Failure | End | PassedOver


def printable_name(text: str) -> str:
    """Return a name as it may stand in a message: one line, valid UTF-8, and no signature."""
    return printable(shown(text))


def unsupported(text: str, reason: str) -> Failure:
    shown = printable_name(text)
    return Failure(shown, UnsupportedSource(f"opening {shown}: {reason}"))


def each_or_failure(items: Iterator[T], what: str) -> Iterator[T | Failure]:
    """Yield items; an error that nobody foresaw ends these, and is one of them.

    The edge of what was named, of a folder, of a batch: what comes after it goes on.
    """
    try:
        yield from items
    except Exception as error:  # whatever it is, it is told and no reason to end a run
        shown = printable_name(what)
        yield Failure(shown, failure_of(f"searching {shown}", error))


def not_utf8(path: str) -> Failure:
    return unsupported(path, "its name is not valid UTF-8")


def is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class FolderWalk:
    """A folder of this machine, searched through; links to folders are not followed."""

    root: str
    prefix: str = ""
    """What the names of files are put below."""
    pattern: Pattern | None = None

    @property
    def name(self) -> str:
        return self.root

    def items(self, limit: int | None) -> Iterator[Item]:
        root = Path(self.root)
        try:
            is_node = self.pattern is None and is_zarr_node(root)
        except OSError as error:
            yield _unreadable(root, error)
            return
        if is_node:
            yield _node(root, self.prefix or root.absolute().name)
            return
        start = Pattern.WHOLE if self.pattern is None else self.pattern.start
        waiting: list[tuple[Path, str, frozenset[int]] | End] = [(root, self.prefix, start)]
        while waiting:
            following = waiting.pop()
            if isinstance(following, End):
                yield following
                continue
            folder, prefix, state = following
            found: list[tuple[Path, str, frozenset[int]] | End] = []
            for item in each_or_failure(self._folder(folder, prefix, state, limit), str(folder)):
                if not isinstance(item, tuple):
                    yield item
                elif item[2] == Pattern.WHOLE != state:  # an argument of its own
                    found += [End(), item, End()]
                else:
                    found.append(item)
            waiting += reversed(found)

    def _folder(
        self, folder: Path, prefix: str, state: frozenset[int], limit: int | None
    ) -> Iterator[Item | tuple[Path, str, frozenset[int]]]:
        """Yield the arrays and files of one folder, and the folders in it that are searched."""
        files: list[str] = []
        passed_over: list[str] = []
        folders: list[tuple[str, bool]] = []
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if entry.name.startswith("."):
                        continue
                    if _is_folder(entry):
                        folders.append((entry.name, entry.is_symlink()))
                    elif not self._takes(state, entry.name):
                        continue
                    elif is_passed_over(entry.name):
                        passed_over.append(entry.name)
                    else:
                        files.append(entry.name)
        except OSError as error:
            yield _unreadable(folder, error)
        for name, is_link in sorted(folders):
            found = self._sub_folder(folder / name, _join(prefix, name), state, is_link)
            yield from each_or_failure(found, str(folder / name))
        yield from (not_utf8(str(folder / name)) for name in files if not is_utf8(name))
        names_in_use: dict[str, set[str]] = {}
        absolute = str(folder.absolute())

        def inputs(names: Sequence[str]) -> tuple[InputFile, ...]:
            return tuple(InputFile(os.path.join(absolute, n), _join(prefix, n)) for n in names)

        for names in batches(sorted(filter(is_utf8, files)), limit):
            yield Batch(inputs(names), names_in_use)
        if passed_over:
            yield PassedOver(inputs(sorted(passed_over)))

    def _takes(self, state: frozenset[int], name: str) -> bool:
        return self.pattern is None or self.pattern.takes(state, name)

    def _sub_folder(
        self, path: Path, relative: str, state: frozenset[int], is_link: bool
    ) -> Iterator[Item | tuple[Path, str, frozenset[int]]]:
        """Yield a folder as the array that it is, or to be searched; nothing for stores of ours."""
        pattern = self.pattern or EVERYTHING
        below = pattern.enter(state, path.name)
        if not is_utf8(path.name):
            yield not_utf8(str(path))
        elif not below or _is_unfinished(path):
            return
        elif not is_zarr_node(path):
            yield PassedOver(links=1) if is_link else (path, relative, below)
        elif pattern.includes(below) and not _is_ours(path):
            yield _node(path, relative)


def _unreadable(folder: Path, error: OSError) -> Failure:
    shown = printable_name(str(folder))
    return Failure(shown, SourceError(f"reading folder {shown}: {error.strerror}"))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _node(path: Path, relative: str) -> ZarrNode:
    return ZarrNode(InputFile(str(path.absolute()), relative), is_zarr_array(path))


def _is_ours(path: Path) -> bool:
    """Whether a Zarr folder is what an earlier run wrote."""
    try:
        return b'"tilepress"' in read_regular(path / "zarr.json", MAX_DOCUMENT_BYTES, (path,))
    except OSError:
        return False


def _is_unfinished(path: Path) -> bool:
    """Whether a folder is a store that a stopped run left without its documents."""
    return path.suffix == ".zarr" and not is_zarr_node(path) and (path / IMAGE).is_dir()


def _join(prefix: str, name: str) -> str:
    return f"{prefix}/{name}" if prefix else name


def batches(names: Sequence[str], limit: int | None) -> Iterator[Sequence[str]]:
    """Cut the sorted names of a folder into pieces that are looked at one after another."""
    start = 0
    for at in range(1, len(names)):
        if _may_cut(at - start, limit, names[at - 1], names[at]):
            yield names[start:at]
            start = at
    if names:
        yield names[start:]


def _may_cut(count: int, limit: int | None, last: str, following: str) -> bool:
    """Whether ``count`` files are enough, and the next one is not of the same scene."""
    if limit is None or count < limit:
        return False
    apart = not following.startswith(scene_of(last)) and not last.startswith(scene_of(following))
    return apart or count >= 20 * limit


@dataclass(slots=True)
class _OpenFolder:
    """A folder of a bucket whose keys are being listed."""

    key: str
    """With a slash at its end; "" for the whole bucket."""
    prefix: str
    state: frozenset[int]
    own_argument: bool = False
    files: list[InputFile] = field(default_factory=list)
    companions: list[RemoteFile] = field(default_factory=list)
    passed_over: list[InputFile] = field(default_factory=list)
    names_in_use: dict[str, set[str]] = field(default_factory=dict)

    def batch(self) -> Iterator[Batch]:
        """Yield what has come together, and begin anew."""
        files = [file for file in self.files if file.remote and not _is_marker(file.remote)]
        if files:
            yield Batch(tuple(files), self.names_in_use, tuple(self.companions))
        self.files, self.companions = [], []


@dataclass(frozen=True, slots=True)
class BucketWalk:
    """A folder of a bucket, searched through by one listing in the order of keys."""

    where: BucketPath
    prefix: str = ""
    pattern: Pattern | None = None

    @property
    def name(self) -> str:
        return str(self.where)

    def items(self, limit: int | None) -> Iterator[Item]:
        root = f"{self.where.key}/" if self.where.key else ""
        start = Pattern.WHOLE if self.pattern is None else self.pattern.start
        folders = [_OpenFolder(root, self.prefix, start)]
        after: str | None = ""
        try:
            if self.pattern is None and (node := self._root_node(root)) is not None:
                yield node
                return
            while after is not None:
                after = yield from self._list(folders, after, limit)
        except OSError as error:
            text = f"listing {printable_name(str(self.where))}: {error.strerror}"
            yield Failure(printable_name(str(self.where)), SourceError(text))
        except SourceError as error:
            yield Failure(printable_name(str(self.where)), error)
        while folders:
            yield from _closed(folders.pop())

    def _root_node(self, root: str) -> ZarrNode | None:
        """Return the Zarr array or group that the folder itself is."""
        first = next(listing(self.where), None)
        if first is None:
            return None
        node = self._node_at(root, first.url.removeprefix(f"s3://{self.where.bucket}/"))
        relative = self.prefix or self.where.name
        found = ZarrNode(InputFile(str(self.where), relative), node == "array")
        return found if node is not None else None

    def _list(
        self, folders: list[_OpenFolder], after: str, limit: int | None
    ) -> Generator[Item, None, str | None]:
        """List keys; return after which one to go on where a folder is to be left out."""
        for remote in listing(self.where, after):
            key = remote.url.removeprefix(f"s3://{self.where.bucket}/")
            while not key.startswith(folders[-1].key):
                yield from _closed(folders.pop())
            last = folders[-1].files[-1:]
            if last and remote.url.startswith(f"{last[0].path}/"):
                folders[-1].files.pop()  # it stands for the folder that is entered now
            left_out = yield from self._enter(folders, key)
            if left_out is not None:
                return f"{left_out}\U0010fffd"
            yield from self._add(folders[-1], remote, key, limit)
        return None

    def _enter(self, folders: list[_OpenFolder], key: str) -> Generator[Item, None, str | None]:
        """Open the folders that a key lies in; return the one that is to be left out."""
        while "/" in (rest := key[len(folders[-1].key) :]):
            above, name = folders[-1], rest.partition("/")[0]
            folder, relative = f"{above.key}{name}/", _join(above.prefix, name)
            state = (self.pattern or EVERYTHING).enter(above.state, name)
            if not state or name.startswith("."):
                return folder
            node = self._node_at(folder, key)
            if node is not None:
                if node != "ours" and (self.pattern or EVERYTHING).includes(state):
                    url = f"s3://{self.where.bucket}/{folder[:-1]}"
                    yield ZarrNode(InputFile(url, relative), node == "array")
                return folder
            own_argument = state == Pattern.WHOLE != above.state
            if own_argument:
                yield End()
            folders.append(_OpenFolder(folder, relative, state, own_argument))
        return None

    def _add(
        self, folder: _OpenFolder, remote: RemoteFile, key: str, limit: int | None
    ) -> Iterator[Batch]:
        name = key.rpartition("/")[2]
        if is_passed_over(name):
            if not name.startswith("."):
                folder.companions.append(remote)
                if self.pattern is None or self.pattern.takes(folder.state, name):
                    file = InputFile(remote.url, _join(folder.prefix, name), remote)
                    folder.passed_over.append(file)
            return
        if self.pattern is not None and not self.pattern.takes(folder.state, name):
            return
        if folder.files and _may_cut(len(folder.files), limit, folder.files[-1].name, name):
            yield from folder.batch()
        folder.files.append(InputFile(remote.url, _join(folder.prefix, name), remote))

    def _node_at(self, folder: str, first: str) -> str | None:
        """Tell what lies in a folder whose first key is ``first``: a Zarr "array", "group", "ours".

        "ours" is what an earlier run wrote, finished or not; None is a folder of files.
        """
        below = BucketPath(self.where.bucket, folder[:-1])
        if first[len(folder) :] in (".zarray", ".zattrs", ".zgroup"):
            return "array" if (below / ".zarray").size() is not None else "group"
        try:
            document = (below / "zarr.json").read(MAX_DOCUMENT_BYTES)
        except FileNotFoundError:
            unfinished = below.suffix == ".zarr" and (below / IMAGE).is_folder()
            return "ours" if unfinished else None
        except RefusedFile:
            return "array"  # to open it says what is wrong
        if b'"tilepress"' in document:
            return "ours"
        return "array" if is_array_document(document) else "group"


def _closed(folder: _OpenFolder) -> Iterator[Item]:
    yield from folder.batch()
    if folder.passed_over:
        yield PassedOver(tuple(folder.passed_over))
    if folder.own_argument:
        yield End()


def _is_marker(remote: RemoteFile) -> bool:
    """Whether an empty object stands for a folder: its real key ends with a slash."""
    if remote.size:
        return False
    try:
        look_up(remote.url)
    except FileNotFoundError:
        return True
    return False
