"""Keep copies of objects on this machine while their pixels are read, once for all processes.

    $TILEPRESS_SCRATCH (else the folder for temporary files)
      tilepress-<user>/            nobody else may look inside
        lock                       held while somebody makes room
        <id>.lock                  held by whoever reads (shared) or fetches (alone)
        <id>/band.tif, …           the objects of one image, named as below their common folder
        <id>.part/                 being fetched, or left by a process that was killed

The id is a hash of where the objects lie and of their versions, so that a copy is never out of
date. ``TILEPRESS_SCRATCH_LIMIT`` bounds all copies together; to make room, those go that nobody has
open, the least recently opened first.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import functools
import hashlib
import json
import os
import re
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing.util import Finalize
from pathlib import Path
from typing import BinaryIO
from weakref import WeakSet

from tilepress.errors import SourceError, UsageError
from tilepress.pipeline.storage.ranges import RemoteFile, download

__all__ = ["FETCHES", "Copy", "clear", "scratch_folder"]

DEFAULT_LIMIT_BYTES = 64 * 10**9
"""Copies on one machine together, where TILEPRESS_SCRATCH_LIMIT does not say otherwise."""

WAIT_FOR_ROOM_S = 60.0
"""How long to wait for others to close what fills the folder."""

FETCHES = 8
"""Objects of one image that are fetched at the same time."""

Fetch = Callable[[RemoteFile, BinaryIO], RemoteFile]
"""Writes a file to an open one, and returns what is known of it then."""

_open_copies: WeakSet[Copy] = WeakSet()
"""Of this process."""

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


class Copy:
    """The copies of one image's objects; they stay while this is open."""

    def __init__(self, files: Sequence[tuple[str, RemoteFile]], fetch: Fetch = download) -> None:
        """Fetch ``files`` that are not here yet, each under its name below a folder of their own.

        ``fetch`` writes a file whole, or raises.

        Raises DamagedSource where an object is no longer the version that is named, and SourceError
        where it cannot be fetched or there is no room.
        """
        self._files, self._fetch_file = files, fetch
        self._root = scratch_folder()
        self._name = _name_of(files)
        self.folder = self._root / self._name
        self.paths = [self.folder / name for name, _ in files]
        self._lock = -1
        _clear_when_the_process_ends()
        _open_copies.add(self)
        try:
            while not self._open():
                self._fetch()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _open(self) -> bool:
        """Take a share of the copy, if it is there; whoever has one keeps it from going."""
        self.close()
        self._lock = _lock_of(self.folder, fcntl.LOCK_SH)
        if not self._is_whole():
            return False
        os.utime(self._lock)  # the least recently opened goes first
        return True

    def _is_whole(self) -> bool:
        """Whether every file has its size: a power cut may leave names without bytes."""
        try:
            sizes = [path.stat().st_size for path in self.paths]
        except OSError:
            return False
        return sizes == [remote.size for _, remote in self._files]

    def _fetch(self) -> None:
        """Fetch the objects, unless somebody else has done so while this one waited."""
        self.close()
        lock = _lock_of(self.folder, fcntl.LOCK_EX)
        try:
            if self._is_whole():
                return
            wanted = sum(remote.size for _, remote in self._files)
            _make_room(self._root, self._name, lock, wanted)
            part = self.folder.with_name(f"{self._name}.part")
            for left in (part, self.folder):
                shutil.rmtree(left, ignore_errors=True)
            try:
                self._download(part)
                part.rename(self.folder)
            except BaseException:
                shutil.rmtree(part, ignore_errors=True)
                os.ftruncate(lock, 0)
                raise
        finally:
            os.close(lock)

    def _download(self, part: Path) -> None:
        def one(file: tuple[str, RemoteFile]) -> None:
            name, remote = file
            path = part / name
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                with path.open("xb") as target:
                    found = self._fetch_file(remote, target)
                os.utime(path, ns=(found.modified_ns, found.modified_ns))
            except FileNotFoundError as error:
                raise SourceError(f"reading {remote.url}: {error.strerror}") from None
            except OSError as error:
                hint = ""
                if error.errno in (errno.ENOSPC, errno.EDQUOT):
                    hint = f" in {self._root}; set TILEPRESS_SCRATCH to a larger folder"
                raise SourceError(f"fetching {remote.url}: {error.strerror}{hint}") from None

        pool = ThreadPoolExecutor(min(FETCHES, len(self._files)), thread_name_prefix="fetch")
        try:
            for _ in pool.map(one, self._files):
                pass
        finally:
            pool.shutdown(cancel_futures=True)


def scratch_folder() -> Path:
    """Return the folder for copies; make it, for this user alone.

    Raises UsageError where it belongs to somebody else.
    """
    folder = _folder()
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        own = _is_own(folder)
    except OSError as error:
        raise UsageError(f"opening the scratch folder {folder}: {error.strerror}") from error
    if not own:
        raise UsageError(
            f"opening the scratch folder {folder}: it is not this user's own with mode 700; "
            "set TILEPRESS_SCRATCH to another folder"
        )
    return folder


def clear() -> int:
    """Remove every copy that nobody has open; return the bytes that were freed.

    Where there is no folder of this user's, there are no copies. A process that has fetched any
    does this at its end, too, unless it is killed.
    """
    folder = _folder()
    if not _is_own(folder):
        return 0
    freed = 0
    with contextlib.suppress(FileNotFoundError), _locked(folder / "lock", fcntl.LOCK_EX):
        for entry in _entries(folder):
            freed += entry.remove()
    return freed


@functools.cache
def _clear_when_the_process_ends() -> None:
    # atexit would not do: processes that multiprocessing started end without it
    Finalize(None, _clear_at_exit, exitpriority=0)


def _clear_at_exit() -> None:
    for copy in list(_open_copies):
        copy.close()
    with contextlib.suppress(OSError):
        clear()


def _folder() -> Path:
    base = Path(os.environ.get("TILEPRESS_SCRATCH") or tempfile.gettempdir())
    return base / f"tilepress-{os.getuid()}"


def _is_own(folder: Path) -> bool:
    """Whether a folder is there which is this user's alone; OSError where storage fails."""
    try:
        found = folder.lstat()
    except FileNotFoundError:
        return False
    own = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()
    return own and not found.st_mode & 0o077


def _name_of(files: Sequence[tuple[str, RemoteFile]]) -> str:
    """Return the id of a copy: where its objects lie, and in which version."""
    service = os.environ.get("AWS_ENDPOINT_URL") or os.environ.get("AWS_ENDPOINT") or ""
    material = [service, [[name, one.url, one.version, one.size] for name, one in files]]
    return hashlib.sha256(json.dumps(material).encode()).hexdigest()[:32]


# room


@dataclass(frozen=True, slots=True)
class _Entry:
    """A copy in the scratch folder, whole or not."""

    folder: Path
    size: int
    opened_s: float

    def remove(self) -> int:
        """Remove it unless somebody has it open; return the bytes that were freed."""
        try:
            lock = _lock_of(self.folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return 0
        try:
            shutil.rmtree(self.folder.with_name(f"{self.folder.name}.part"), ignore_errors=True)
            shutil.rmtree(self.folder, ignore_errors=True)
            _lock_path(self.folder).unlink(missing_ok=True)
        finally:
            os.close(lock)
        return self.size


def _entries(root: Path) -> list[_Entry]:
    """Return all copies with the bytes that they have or were promised, the oldest first."""
    found: list[_Entry] = []
    for lock in root.glob("*.lock"):
        with contextlib.suppress(OSError, ValueError):
            opened_s = lock.stat().st_mtime
            found.append(_Entry(lock.with_suffix(""), int(lock.read_text() or 0), opened_s))
    return sorted(found, key=lambda entry: entry.opened_s)


def _make_room(root: Path, name: str, lock: int, wanted: int) -> None:
    """Remove copies until ``wanted`` bytes are free under the limit, and promise them to ``name``.

    Raises SourceError where what others have open leaves no room.
    """
    limit = _limit()
    used, deadline = 0, time.monotonic() + WAIT_FOR_ROOM_S
    while wanted <= limit:
        with _locked(root / "lock", fcntl.LOCK_EX):
            others = [entry for entry in _entries(root) if entry.folder.name != name]
            used = sum(entry.size for entry in others)
            for entry in others:
                if used + wanted <= limit:
                    break
                used -= entry.remove()
            if used + wanted <= limit:
                os.pwrite(lock, f"{wanted:<20}".encode(), 0)
                return
        if time.monotonic() > deadline:
            break
        time.sleep(0.2)
    raise SourceError(
        f"fetching an image of {wanted} bytes: {used} of {limit} bytes in {root} are in use; set "
        "TILEPRESS_SCRATCH_LIMIT, or TILEPRESS_SCRATCH to a larger folder"
    )


def _limit() -> int:
    text = os.environ.get("TILEPRESS_SCRATCH_LIMIT", "")
    if not text:
        return DEFAULT_LIMIT_BYTES
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)B?\s*", text, re.IGNORECASE)
    if match is None:
        raise UsageError(f"reading TILEPRESS_SCRATCH_LIMIT: got {text!r}, want e.g. 200GB")
    return int(float(match[1]) * _UNITS[match[2].upper()])


def _lock_path(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.lock")


def _lock_of(folder: Path, how: int) -> int:
    """Lock a copy; return the open lock. Raises BlockingIOError where ``how`` does not wait."""
    path = _lock_path(folder)
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, how)
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(handle), path.stat()):
                    return handle
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)  # somebody removed the copy, and this lock with it, meanwhile


@contextlib.contextmanager
def _locked(path: Path, how: int) -> Iterator[None]:
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, how)
        yield
    finally:
        os.close(handle)
