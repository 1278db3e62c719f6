"""Check the files that an archive keeps, mend them from their sources, give them back."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Literal

from tilepress.errors import DamagedStore, SourceError, StoreError, TilepressError
from tilepress.pipeline.find.others import OtherFile
from tilepress.pipeline.kept.index import FILES, FolderIndex, KeptFile, folder_indexes, forget_next
from tilepress.pipeline.kept.reading import LeftOut, read
from tilepress.pipeline.storage.links import check_no_link
from tilepress.pipeline.storage.path import StoragePath
from tilepress.pipeline.storage.placed import place_new, refuse_links
from tilepress.pipeline.storage.retry import retried
from tilepress.pipeline.storage.unfinished import unfinished
from tilepress.pipeline.store.manifest import sha256_hex

__all__ = [
    "Finding",
    "KeptTotals",
    "check_kept",
    "differences_from",
    "export_kept",
    "mend_kept",
    "totals_of_kept",
]


IGNORED_NAMES = frozenset({"Thumbs.db", "desktop.ini"})
"""Files that file managers leave behind."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong with a file that is kept."""

    key: str
    """Of the object below the archive; of the archive's private files it names nobody."""
    detail: str
    state: Literal["damaged", "unknown"] = "damaged"
    file: KeptFile | None = None
    index: FolderIndex | None = None

    def __str__(self) -> str:
        return f"{self.key}: {self.detail}"


@dataclass(slots=True)
class KeptTotals:
    """What the files that are kept add up to."""

    files: int = 0
    bytes: int = 0


def totals_of_kept(archive: StoragePath) -> KeptTotals:
    """Return how many files an archive keeps beside its stores, and their size."""
    totals = KeptTotals()
    for index in folder_indexes(archive):
        if isinstance(index, FolderIndex):
            totals.files += len(index.files)
            totals.bytes += sum(file.bytes for file in index.files.values())
    return totals


def check_kept(archive: StoragePath) -> Iterator[Finding]:
    """Yield what is wrong with the files that an archive keeps: every one is read.

    What no index lists comes last: it is of a run that was killed, or its index is lost.
    """
    listed: set[str] = set()
    for index in folder_indexes(archive):
        if not isinstance(index, FolderIndex):
            yield Finding(f"{FILES}/.index", str(index))
            continue
        for file in index.files.values():
            listed.add(file.key)
            found = wrong_with(index, file)
            if found is not None:
                yield Finding(f"{FILES}/{file.key}", found, file=file, index=index)
    for key in _objects(archive):
        if key not in listed:
            text = "no index lists it: run the compress line of its source again"
            yield Finding(f"{FILES}/{key}", text, "unknown")


def wrong_with(index: FolderIndex, file: KeptFile) -> str | None:
    """Tell what is wrong with the object of a file; None for nothing."""
    place = index.object(file)
    try:
        check_no_link(index.archive, place)
        size = retried(place.size)
        if size is None:
            return "missing: there is no such file"
        if size not in file.sizes:
            return f"changed: it has {size} bytes, want {file.bytes}"
        if retried(place.sha256) not in file.digests:
            return "changed: its bytes do not match their sha256"
    except StoreError as error:
        return f"changed: {error}"
    except OSError as error:
        return f"missing: it cannot be read ({error.strerror})"
    return None


def differences_from(
    archive: StoragePath, others: Sequence[OtherFile]
) -> Iterator[tuple[OtherFile, str]]:
    """Yield the files of one folder of the sources that are not kept as they are, and why."""
    if not others:
        return
    try:
        index = FolderIndex.load(archive, others[0].folder)
    except DamagedStore as error:
        yield others[0], str(error)
        return
    for other in others:
        kept = [one for one in index.files.values() if one.name == other.name]
        try:
            data, _ = read(other.file)
        except LeftOut:
            continue
        except (TilepressError, OSError) as error:
            yield other, f"it cannot be read ({_reason(error)})"
            continue
        if not kept:
            yield other, "the archive does not keep it"
        elif not any(sha256_hex(data) in one.digests for one in kept):
            yield other, "what the archive keeps of it is another version"


def mend_kept(
    findings: Sequence[Finding], others: Mapping[str, Sequence[OtherFile]]
) -> Iterator[tuple[Finding, str | None]]:
    """Write damaged files again from their sources; yield each with why that failed, or None.

    ``others`` are the files of the sources by their path below what was named.
    """
    for finding in findings:
        file, index = finding.file, finding.index
        if file is None or index is None:
            yield finding, "only a copy of the archive, or its compress line, brings it back"
            continue
        yield finding, _mend(index, file, others.get(index.relative(file), ()))


def _mend(index: FolderIndex, file: KeptFile, others: Sequence[OtherFile]) -> str | None:
    for other in others:
        try:
            data, _ = read(other.file)
        except (LeftOut, TilepressError, OSError):
            continue
        sha256 = sha256_hex(data)
        if sha256 not in file.digests:
            continue
        place = index.object(file)
        try:
            check_no_link(index.archive, place)
            retried(partial(place.write, data))
            if file.next_sha256 is not None:
                fresh = FolderIndex.load(index.archive, index.folder)
                fresh.set(forget_next(file, written=sha256 == file.next_sha256))
                fresh.save()
        except (StoreError, OSError) as error:
            return _reason(error)
        return None
    return "nothing in the source has its name and its content; nothing was changed"


def export_kept(
    archive: StoragePath, out: Path, images: Set[Path], companions: Set[Path]
) -> Iterator[Path | StoreError]:
    """Write the files that an archive keeps below a folder, where they lay below their source.

    ``images`` and ``companions`` are files that this export wrote before. What is kept takes the
    place of a companion, for it is what that was, byte for byte; where an image has its name, it
    gets digits of its digest. Nothing else is replaced; what is there with the same bytes stays.
    What is damaged is not written, and is an item.
    """
    made = set(images)
    written: set[str] = set()
    for index in folder_indexes(archive):
        if not isinstance(index, FolderIndex):
            yield index
            continue
        for file in sorted(index.files.values(), key=lambda one: (one.name, len(one.key), one.key)):
            relative = index.relative(file)
            if relative in written:  # two sources had one of this name
                relative = str(PurePosixPath(relative).with_name(PurePosixPath(file.key).name))
            written.add(relative)
            try:
                target = _export(index, file, out, relative, made, companions)
                made.add(target)
                yield target
            except StoreError as error:
                yield error
            except OSError as error:
                yield StoreError(f"exporting {FILES}/{file.key}: {_reason(error)}")


def _export(
    index: FolderIndex,
    file: KeptFile,
    out: Path,
    relative: str,
    made: Set[Path],
    companions: Set[Path],
) -> Path:
    place = index.object(file)
    check_no_link(index.archive, place)
    data = retried(place.read)
    if sha256_hex(data) not in file.digests:
        raise DamagedStore(
            f"exporting {FILES}/{file.key}: its bytes do not match their sha256; run tilepress "
            "repair"
        )
    parts = [part for part in relative.split("/") if part not in ("", "..", ".")]
    if os.sep == "\\":
        parts = [part.replace("\\", "_") for part in parts]
    target = out.joinpath(*parts)
    if target in made:
        target = target.with_name(f"{target.stem}-{sha256_hex(data)[:12]}{target.suffix}")
    refuse_links(out, target, f"exporting {FILES}/{file.key}")
    target.parent.mkdir(parents=True, exist_ok=True)
    if _holds(target, data):
        return target
    with unfinished(out / "file") as partial:  # where a later run sweeps
        with open(partial, "wb") as opened:
            opened.write(data)
            opened.flush()
            os.fsync(opened.fileno())
        if file.mark.isdecimal():
            with contextlib.suppress(OSError, OverflowError):
                os.utime(partial, ns=(int(file.mark), int(file.mark)))
        if target in companions:
            os.replace(partial, target)
        else:
            place_new(partial, target)
    return target


def _holds(path: Path, data: bytes) -> bool:
    """Whether a file has these very bytes, of an earlier export as a rule."""
    with contextlib.suppress(OSError):
        found = path.lstat()
        return (
            stat.S_ISREG(found.st_mode) and found.st_size == len(data) and path.read_bytes() == data
        )
    return False


def _objects(archive: StoragePath) -> Iterator[str]:
    """Yield the keys of what lies below ``files/`` and is no part of a store or of the index."""
    place = archive / FILES
    if not place.is_folder():
        return
    for key, _ in place.walk():
        parts = key.split("/")
        in_store = any(part.endswith(".zarr") for part in parts[:-1])
        ours = in_store or parts[-1] in IGNORED_NAMES
        if not ours and not any(part.startswith(".") for part in parts):
            yield key


def _reason(error: Exception) -> str:
    if isinstance(error, (SourceError, StoreError)):
        return str(error)
    return getattr(error, "strerror", None) or type(error).__name__
