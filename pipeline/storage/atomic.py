"""Write files that are there whole or not at all, whatever stops us."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

__all__ = [
    "PARTIAL_SUFFIX",
    "file_lock",
    "is_partial",
    "make_directory",
    "partial_of",
    "replacing",
    "sweep_partials",
    "sync_directory",
    "whole_of",
    "write_atomic",
    "write_new",
]

PARTIAL_SUFFIX = ".partial"
"""Ending of the temporary files; a killed writer leaves one, a later run sweeps it."""

NAME_BYTES = 255
"""Length of a file name at most, on the file systems in use."""


def write_atomic(path: Path, data: bytes | memoryview) -> None:
    """Write ``data`` to ``path`` so that a crash at any moment leaves the old state or the new.

    A temporary file in the same directory is written and synced, then renamed over ``path``, and
    the directory is synced. On an error the temporary file is removed and the error passed on.
    """
    with replacing(path) as partial:
        _write_synced(partial, data)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield the name of a file that stands for ``path`` until the block ends, and then is it.

    The block makes it, and syncs it. On an error it is removed and the error passed on.
    """
    make_directory(path.parent)
    partial = partial_of(path)
    try:
        yield partial
        os.replace(partial, path)
    except BaseException:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def write_new(path: Path, data: bytes | memoryview) -> bool:
    """Write ``data`` to ``path`` in one step unless a file is there; False where one is.

    A finished temporary file is linked to ``path``. Where the file system has no links, the file is
    made with O_EXCL, and a crash may leave it cut.
    """
    make_directory(path.parent)
    partial = partial_of(path)
    try:
        _write_synced(partial, data)
        try:
            os.link(partial, path)
        except FileExistsError:
            return False
        except OSError:
            try:
                _write_synced(path, data)
            except FileExistsError:
                return False
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
    sync_directory(path.parent)
    return True


@contextlib.contextmanager
def file_lock(directory: Path) -> Iterator[None]:
    """Hold an advisory lock on a directory; without effect where the file system has none."""
    handle = os.open(directory, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def make_directory(path: Path) -> None:
    """Create a directory and its parents; sync the parents of those that are new."""
    missing = []
    while not path.is_dir():
        missing.append(path)
        path = path.parent
    for directory in reversed(missing):
        directory.mkdir(exist_ok=True)
        sync_directory(directory.parent)


def partial_of(path: Path) -> Path:
    """Return a new name for a temporary file beside ``path``, as long a name as it may have."""
    ending = f".{secrets.token_hex(8)}{PARTIAL_SUFFIX}"
    kept = os.fsencode(path.name)[: NAME_BYTES - 1 - len(ending)].decode(errors="ignore")
    return path.with_name(f".{kept}{ending}")


def is_partial(path: Path) -> bool:
    """Return whether ``path`` is a temporary file of ``write_atomic``."""
    return path.name.startswith(".") and path.name.endswith(PARTIAL_SUFFIX)


def whole_of(partial: Path) -> str:
    """Return the name of the file that a temporary file was to become, cut where it was long."""
    return partial.name[1:].rsplit(".", 2)[0]


def sweep_partials(root: Path) -> int:
    """Remove what killed writers left below ``root``; only when no other writer is at work."""
    count = 0
    for path in root.rglob(f".*{PARTIAL_SUFFIX}"):
        path.unlink(missing_ok=True)
        count += 1
    return count


def _write_synced(path: Path, data: bytes | memoryview) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        view = memoryview(data).cast("B")
        while view:
            view = view[os.write(descriptor, view) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_directory(path: Path) -> None:
    """Make the names in a directory survive a power cut."""
    if not hasattr(os, "O_DIRECTORY"):
        return  # Windows: renames are durable without it
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
