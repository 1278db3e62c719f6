"""Keep files that are no images: copy what is new, leave what is unchanged.

Nothing that is kept is changed or removed unless it is asked for: a file that changed since is a
failure that says so. Each function may be called again after a crash at any point.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Literal

from tilepress.errors import NO_ROOM, DestinationConflict, TilepressError, describe_error
from tilepress.pipeline.find.companions import told_ending
from tilepress.pipeline.find.others import OtherFile
from tilepress.pipeline.image.names import stays_below
from tilepress.pipeline.image.pseudonyms import PseudonymsOf
from tilepress.pipeline.kept.index import FILES, FolderIndex, KeptFile, forget_next
from tilepress.pipeline.kept.reading import LeftOut, Look, look, read
from tilepress.pipeline.storage.links import check_no_link
from tilepress.pipeline.storage.path import StoragePath
from tilepress.pipeline.storage.retry import retried
from tilepress.pipeline.store.manifest import sha256_hex

__all__ = ["Kept", "keep_folder", "missing_of"]

SAVE_EVERY = 200
"""Files after which a document is written, and then whenever it has grown by half."""

MAX_NAME_BYTES = 200
"""Of a file or folder, so that what is put before and after it fits."""

MAX_KEY_BYTES = 700
"""Of an object: a key of a bucket has 1024 at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What became of one file."""

    file: OtherFile
    status: Literal["written", "unchanged", "left out", "failed"]
    bytes: int = 0
    reason: str = ""
    """What it is counted as where it is left out; why it failed."""
    error_kind: str = ""


def keep_folder(
    archive: StoragePath,
    files: Sequence[OtherFile],
    pseudonyms: PseudonymsOf,
    *,
    force: bool = False,
    checksum: bool = False,
    dry: bool = False,
    stop: Callable[[], bool] = lambda: False,
) -> list[Kept]:
    """Keep the files of one folder; return what became of each, in their order.

    Once ``stop`` says so, no further file is kept.

    ``force`` replaces what changed, ``checksum`` reads also what looks unchanged, ``dry`` writes
    nothing and tells what would be. Raises OSError where the archive takes nothing more; whatever
    else goes wrong is one file's failure.
    """
    try:
        index = FolderIndex.load(archive, files[0].folder)
    except (TilepressError, OSError) as error:
        return [_failed(file, error) for file in files]
    kind = _Forecaster if dry else _Keeper
    keeper = kind(index, pseudonyms, force=force, checksum=checksum)
    try:
        done = keeper.keep(files, stop)
        if not dry:
            index.save()
    except (TilepressError, OSError) as error:
        return [_failed(file, error) for file in files]
    return done


def missing_of(archive: StoragePath, files: Sequence[OtherFile]) -> list[Kept]:
    """Return which files of a folder are kept as they should be: "unchanged", or "failed".

    Those that nobody keeps (pipes, links that lead elsewhere) are "left out" as they always are.
    """
    index = FolderIndex.load(archive, files[0].folder)
    done = []
    for other in files:
        origin = _origin(other)
        found = [one for one in index.files.values() if one.name == other.name]
        found = [one for one in found if one.origin == origin] or found
        if found and retried(index.object(found[0]).size) in found[0].sizes:
            done.append(Kept(file=other, status="unchanged", bytes=found[0].bytes))
            continue
        try:
            look(other.file)
        except LeftOut as reason:
            done.append(Kept(file=other, status="left out", reason=str(reason)))
            continue
        except OSError as error:
            done.append(_failed(other, error))
            continue
        text = "no part has kept it; run the parts again"
        done.append(Kept(file=other, status="failed", reason=text, error_kind="unsealed-store"))
    return done


class _Keeper:
    """Keeps the files of one folder."""

    def __init__(
        self, index: FolderIndex, pseudonyms: PseudonymsOf, *, force: bool, checksum: bool
    ) -> None:
        self._index, self._pseudonyms = index, pseudonyms
        self._force, self._checksum = force, checksum
        self._claimed: set[str] = set()
        """Keys of what was found to be a file of this run."""
        self._taken = {key.casefold() for key in index.files}
        self._by_name: dict[str, list[str]] = {}
        for entry in index.files.values():
            self._by_name.setdefault(entry.name, []).append(entry.key)

    def keep(self, files: Sequence[OtherFile], stop: Callable[[], bool]) -> list[Kept]:
        """Keep what is there already first: what is left of the index is then not theirs."""
        done: dict[int, Kept] = {}
        for step in (self._as_it_looks, self._as_it_reads):
            for at, other in enumerate(files):
                if at in done:
                    continue
                if stop():
                    break
                found = self._guarded(step, other)
                if found is not None:
                    done[at] = found
                self._save_now_and_then()
        return [done[at] for at in sorted(done)]

    def _save_now_and_then(self) -> None:
        if self._index.unsaved > max(SAVE_EVERY, len(self._index.files) // 2):
            self._index.save()

    def _guarded(self, step: Callable[[OtherFile], Kept | None], other: OtherFile) -> Kept | None:
        try:
            return step(other)
        except LeftOut as reason:
            return Kept(file=other, status="left out", reason=str(reason))
        except (TilepressError, OSError) as error:
            return _failed(other, error)

    def _as_it_looks(self, other: OtherFile) -> Kept | None:
        """Take a file for unchanged by its size and time, without reading it."""
        found = look(other.file)
        if self._checksum or not found.mark:
            return None
        wanted = (_origin(other), found.bytes, found.mark, None)
        for entry in self._entries(other):
            if (entry.origin, entry.bytes, entry.mark, entry.next_sha256) != wanted:
                continue
            if retried(self._index.object(entry).size) == entry.bytes:
                self._claimed.add(entry.key)
                return Kept(file=other, status="unchanged", bytes=entry.bytes)
        return None

    def _as_it_reads(self, other: OtherFile) -> Kept:
        """Read a file; find it among what is kept, or write it."""
        data, found = retried(lambda: read(other.file))
        sha256 = sha256_hex(data)
        entries = self._entries(other)
        same = next((one for one in entries if sha256 in one.digests), None)
        if same is not None:
            return self._same(other, same, data, found, sha256)
        if any(one.sha256 == sha256 for one in self._of_name(other)):
            return Kept(file=other, status="unchanged", bytes=len(data))  # found in two places
        changed = next((one for one in entries if one.origin == _origin(other)), None)
        if changed is not None:
            return self._changed(other, changed, data, found, sha256)
        key = self._free_key(other, sha256)
        self._create(key, data, sha256)
        self._note(other, key, found, sha256)
        return Kept(file=other, status="written", bytes=len(data))

    def _entries(self, other: OtherFile) -> list[KeptFile]:
        """Return what is kept of files of this name and is no other one's, its own first."""
        origin = _origin(other)
        entries = [one for one in self._of_name(other) if one.key not in self._claimed]
        return sorted(entries, key=lambda one: one.origin != origin)

    def _of_name(self, other: OtherFile) -> list[KeptFile]:
        return [self._index.files[key] for key in self._by_name.get(other.name, ())]

    def _same(
        self, other: OtherFile, entry: KeptFile, data: bytes, found: Look, sha256: str
    ) -> Kept:
        """Note that a file is what is kept; write its object where that is not sound."""
        place = self._index.object(entry)
        sound = retried(place.size) == len(data) and retried(place.sha256) == sha256
        if not sound:
            self._put(place, data)
        ended = forget_next(entry, written=sha256 == entry.next_sha256)
        self._index.set(replace(ended, mark=found.mark, origin=_origin(other)))
        self._claimed.add(entry.key)
        return Kept(file=other, status="unchanged" if sound else "written", bytes=len(data))

    def _changed(
        self, other: OtherFile, entry: KeptFile, data: bytes, found: Look, sha256: str
    ) -> Kept:
        """Replace what is kept of a file, if that is asked for."""
        self._claimed.add(entry.key)
        if not self._force:
            raise DestinationConflict(
                f"it changed since {FILES}/{entry.key} was made of it, which stays; look which of "
                "the two is right (--force replaces what is kept)"
            )
        place = self._index.object(entry)
        if entry.next_sha256 is not None:  # a run was killed that replaced it
            entry = forget_next(entry, written=retried(place.sha256) == entry.next_sha256)
        coming = replace(entry, next_sha256=sha256, next_bytes=len(data))
        self._replace(coming, data, found)
        return Kept(file=other, status="written", bytes=len(data))

    def _replace(self, coming: KeptFile, data: bytes, found: Look) -> None:
        self._index.set(coming)
        self._index.save()
        self._put(self._index.object(coming), data)
        self._index.set(replace(forget_next(coming, written=True), mark=found.mark))

    def _put(self, place: StoragePath, data: bytes) -> None:
        check_no_link(self._index.archive, place)
        retried(lambda: place.write(data))

    def _create(self, key: str, data: bytes, sha256: str) -> None:
        place = self._index.archive / FILES / key
        check_no_link(self._index.archive, place)
        if self._is_new(place, data) or retried(place.sha256) == sha256:
            return  # the latter was left by a run that was killed
        if not self._force:
            raise DestinationConflict(
                f"{FILES}/{key} is there, and no index lists it: of a run that was killed before "
                "this file changed, or of somebody else; take it away (--force replaces it)"
            )
        self._put(place, data)

    def _is_new(self, place: StoragePath, data: bytes) -> bool:
        """Write an object where none is; False where there is one."""
        return retried(lambda: place.create(data))

    def _note(self, other: OtherFile, key: str, found: Look, sha256: str) -> None:
        self._claimed.add(key)
        self._taken.add(key.casefold())
        self._by_name.setdefault(other.name, []).append(key)
        self._index.set(
            KeptFile(
                name=other.name,
                key=key,
                bytes=found.bytes,
                sha256=sha256,
                kind=other.kind,
                origin=_origin(other),
                mark=found.mark,
                private=other.private,
            )
        )

    def _free_key(self, other: OtherFile, sha256: str) -> str:
        """Return a key that nothing has; what it says does not depend on the order of files."""
        key = self._key(other)
        if key.casefold() in self._taken:
            path = PurePosixPath(key)
            key = str(path.with_name(f"{path.stem}-{sha256[:8]}{path.suffix}"))
        while key.casefold() in self._taken:  # the same content twice: told apart by where it lies
            path = PurePosixPath(key)
            key = str(path.with_name(f"{path.stem}-{_origin(other)[:8]}{path.suffix}"))
        return key

    def _key(self, other: OtherFile) -> str:
        relative = other.file.relative
        if not other.private and _is_usual(relative):
            return relative
        plain = sha256_hex(os.fsencode(relative))
        hashed = self._pseudonyms().of(plain) if other.private else plain[:24]
        if " " in other.kind:  # "DICOM without pixels"
            return f"dicom-{hashed}.dcm"
        return f"file-{hashed}{told_ending(other.name)}"


class _Forecaster(_Keeper):
    """Goes through the files as one who keeps them, and writes nothing."""

    def _save_now_and_then(self) -> None:
        pass

    def _replace(self, coming: KeptFile, data: bytes, found: Look) -> None:
        pass

    def _put(self, place: StoragePath, data: bytes) -> None:
        pass

    def _is_new(self, place: StoragePath, data: bytes) -> bool:
        return retried(place.size) is None


def _is_usual(relative: str) -> bool:
    """Whether a path may be that of an object, in a folder and in a bucket, and of no store."""
    try:
        encoded = relative.encode()
    except UnicodeEncodeError:
        return False
    parts = relative.split("/")
    return (
        stays_below(relative)
        and relative.isprintable()
        and "\\" not in relative
        and len(encoded) <= MAX_KEY_BYTES
        and all(len(part.encode()) <= MAX_NAME_BYTES for part in parts)
        and not any(part.startswith(".") or part.lower().endswith(".zarr") for part in parts)
        and parts[-1].lower() != "zarr.json"
        and not (len(parts) == 1 and parts[0].startswith(("dicom-", "file-")))
    )


def _origin(other: OtherFile) -> str:
    return sha256_hex(os.fsencode(posixpath.normpath(other.file.path)))[:16]


def _failed(other: OtherFile, error: Exception) -> Kept:
    kind, message = describe_error(error)
    if kind == NO_ROOM:
        raise error
    if isinstance(error, OSError):
        message = error.strerror or type(error).__name__  # its path is told by who tells it
    return Kept(file=other, status="failed", reason=message, error_kind=kind)
