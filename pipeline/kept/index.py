"""What an archive knows of the files that it keeps beside its stores.

    ARCHIVE/files/LC08_…/LC08_…_MTL.txt     a file, byte for byte, where it lay below its source
    ARCHIVE/files/dicom-0123456789ab.dcm    one whose path may name a patient, or is unusual
    ARCHIVE/files/.index/<hash>.json        all that is kept of one folder: path, size, sha256

A document of a folder is written after the files that it lists, and carries a digest of itself. A
file that is replaced has both digests in it while that goes on, so that no crash leaves a document
that is wrong. What a document does not list is none of the archive's.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from tilepress.errors import DamagedStore, DestinationConflict
from tilepress.pipeline.image.names import stays_below
from tilepress.pipeline.storage.links import check_no_link
from tilepress.pipeline.storage.path import StoragePath
from tilepress.pipeline.storage.retry import retried
from tilepress.pipeline.store.manifest import sha256_hex

__all__ = [
    "FILES",
    "INDEX",
    "FolderIndex",
    "KeptFile",
    "digest_of",
    "folder_indexes",
    "forget_next",
    "has_kept",
    "is_kept",
]

FILES = "files"
"""The folder of an archive that holds files that are no images."""

INDEX = f"{FILES}/.index"

INDEX_VERSION = 1

SAVE_TRIES = 20
"""Times that a document is written anew because another run has written it."""

_WRONG = (ValueError, KeyError, TypeError, RecursionError)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptFile:
    """One file that is kept."""

    name: str
    """Of the source, in its folder; bytes that are no UTF-8 are escaped as Python does it."""
    key: str
    """Of the object below ``files/``."""
    bytes: int
    sha256: str
    kind: str
    """What it is counted as: see ``OtherFile``."""
    origin: str
    """Hash of the path that it was read from: it tells a changed file from another one."""
    mark: str = ""
    """Time or version of the source; "" where only its content tells whether it has changed."""
    private: bool = False
    """Whether its path may name a patient."""
    next_sha256: str | None = None
    """What a run is about to write, or has written, in its place."""
    next_bytes: int | None = None

    @property
    def sizes(self) -> frozenset[int | None]:
        """The sizes that its object may have."""
        return frozenset(
            {self.bytes} if self.next_sha256 is None else {self.bytes, self.next_bytes}
        )

    @property
    def digests(self) -> frozenset[str | None]:
        """The digests that its object may have."""
        return frozenset(
            {self.sha256} if self.next_sha256 is None else {self.sha256, self.next_sha256}
        )

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> KeptFile:
        """Return what ``asdict`` was called on; raises what ``_WRONG`` lists for anything else."""
        found = cls(**fields)
        texts = (found.name, found.key, found.sha256, found.kind, found.origin, found.mark)
        numbers = (found.bytes, 0 if found.next_bytes is None else found.next_bytes)
        right = all(isinstance(text, str) for text in texts) and isinstance(found.private, bool)
        if not right or any(type(number) is not int for number in numbers):
            raise TypeError("an entry has other types")
        if "/" in found.name or not stays_below(found.name) or not stays_below(found.key):
            raise ValueError("an entry leaves its folder")
        if found.key.startswith("."):
            raise ValueError("an entry names the index")
        return found


@dataclass(slots=True)
class FolderIndex:
    """What is kept of one folder."""

    archive: StoragePath
    folder: str
    """Below what was named."""
    files: dict[str, KeptFile] = field(default_factory=dict)
    """By the key of the object."""
    _tag: str | None = None
    _changed: dict[str, KeptFile] = field(default_factory=dict)

    @classmethod
    def load(cls, archive: StoragePath, folder: str) -> FolderIndex:
        """Read what is kept of a folder, nothing where there is no document.

        Raises DamagedStore where it cannot be read.
        """
        index = cls(archive, folder)
        index._read()
        return index

    @property
    def place(self) -> StoragePath:
        return self.archive / INDEX / f"{sha256_hex(os.fsencode(self.folder))[:32]}.json"

    def object(self, file: KeptFile) -> StoragePath:
        """Return the place of a file's object."""
        return self.archive / FILES / file.key

    def relative(self, file: KeptFile) -> str:
        """Return the path of a file below what was named."""
        return f"{self.folder}/{file.name}" if self.folder else file.name

    def set(self, file: KeptFile) -> None:
        """Note a file; ``save`` writes it down."""
        if self.files.get(file.key) == file:
            return
        self.files[file.key] = self._changed[file.key] = file

    @property
    def unsaved(self) -> int:
        return len(self._changed)

    def save(self) -> None:
        """Write down what is noted; what another run has written meanwhile stays.

        Raises DestinationConflict where others write without end, or a link is on the way.
        """
        check_no_link(self.archive, self.place)
        for _ in range(SAVE_TRIES):
            if not self._changed or retried(self._put):
                self._changed.clear()
                self._read()
                return
            self._read()
        raise DestinationConflict(
            f"writing {self.place}: other processes write it, too; run the same line again"
        )

    def _put(self) -> bool:
        data = _dump(self.folder, list(self.files.values()))
        if self._tag is None:
            return self.place.create(data)
        return self.place.swap(data, self._tag)

    def _read(self) -> None:
        found = retried(self.place.read_tagged)
        if found is None:
            self._tag, self.files = None, dict(self._changed)
            return
        folder, files = _parse(found[0], str(self.place))
        if folder != self.folder:
            raise DamagedStore(f"reading {self.place}: it is of another folder")
        self._tag = found[1]
        self.files = {file.key: file for file in files} | self._changed


def _dump(folder: str, files: Sequence[KeptFile]) -> bytes:
    listed = [
        {
            name: value
            for name, value in asdict(file).items()
            if value is not None and value is not False and value != ""
        }
        for file in sorted(files, key=lambda file: (file.name, file.key))
    ]
    body = {"version": INDEX_VERSION, "folder": folder, "files": listed}
    return json.dumps(body | {"sha256": digest_of(body)}, separators=(",", ":")).encode() + b"\n"


def digest_of(body: Mapping[str, Any]) -> str:
    """Return the digest that a document carries of what else is in it."""
    return sha256_hex(json.dumps(body, separators=(",", ":")).encode())


def _parse(data: bytes, where: str) -> tuple[str, list[KeptFile]]:
    """Return the folder of a document, and its files; raises DamagedStore where it is not whole."""
    try:
        document = json.loads(data)
        digest = document.pop("sha256")
        if digest_of(document) != digest:
            raise ValueError(digest)  # told below
        folder = document["folder"]
        if document["version"] != INDEX_VERSION or not isinstance(folder, str) or "\0" in folder:
            raise ValueError(document["version"])
        files = [KeptFile.from_json({"kind": "", **fields}) for fields in document["files"]]
    except _WRONG:
        raise DamagedStore(
            f"reading {where}: it is damaged, or of a newer tilepress; bring it back from a copy, "
            "or remove it and run the compress line of its files again"
        ) from None
    return folder, files


def folder_indexes(archive: StoragePath) -> Iterator[FolderIndex | DamagedStore]:
    """Yield what is kept of every folder, in no order that means anything; errors are items."""
    place = archive / INDEX
    if not place.is_folder():
        return
    for key in sorted(key for key, _ in place.walk()):
        if key.startswith(".") or not key.endswith(".json"):
            continue
        found = retried((place / key).read_tagged)
        if found is None:
            continue
        try:
            folder, files = _parse(found[0], str(place / key))
        except DamagedStore as error:
            yield error
            continue
        index = FolderIndex(archive, folder, {file.key: file for file in files}, found[1])
        yield (
            index
            if index.place.name == key
            else DamagedStore(
                f"reading {place / key}: it is not called as the document of its folder"
            )
        )


def has_kept(archive: StoragePath) -> bool:
    """Whether an archive keeps files that are no images."""
    return (archive / INDEX).is_folder()


def is_kept(archive: StoragePath, key: str, known: dict[str, FolderIndex]) -> bool:
    """Whether an object below an archive is a file that it keeps: our own output is no input.

    ``known`` are documents that were read before, by folder.
    """
    below = key.removeprefix(f"{FILES}/")
    if below == key:
        return False
    folder, _, name = below.rpartition("/")
    if not folder and name.startswith(("dicom-", "file-")):
        return has_kept(archive)
    if folder not in known:
        try:
            known[folder] = FolderIndex.load(archive, folder)
        except DamagedStore:
            known[folder] = FolderIndex(archive, folder)
    return below in known[folder].files


def forget_next(file: KeptFile, *, written: bool) -> KeptFile:
    """Return an entry whose replacement has ended: with the new content, or the old one."""
    if not written or file.next_sha256 is None or file.next_bytes is None:
        return replace(file, next_sha256=None, next_bytes=None)
    return replace(
        file,
        sha256=file.next_sha256,
        bytes=file.next_bytes,
        next_sha256=None,
        next_bytes=None,
    )
