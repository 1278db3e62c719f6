"""Open files of other people's trees: regular ones only, and none outside the folder meant."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import stat
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

__all__ = ["RefusedFile", "given", "open_regular", "read_regular"]


class RefusedFile(OSError):
    """There is something of that name, and it is never opened; ``strerror`` says why."""

    def __init__(self, reason: str, path: str | os.PathLike[str]) -> None:
        super().__init__(errno.EPERM, reason, os.fspath(path))


def open_regular(
    path: str | os.PathLike[str], within: Collection[str | os.PathLike[str]] | None = None
) -> BinaryIO:
    """Open a regular file for reading, and nothing else.

    A pipe, a socket or a device is refused before it is opened: to open one can wait for ever, or
    do something. Links are followed; with ``within``, only where they lead below one of these
    folders. What was opened is looked at again, as somebody may have put another file there.

    Raises RefusedFile, or another OSError where there is no file or it cannot be read.
    """
    if (descriptor := _given.get(os.fspath(path))) is not None:
        _check_kind(os.fstat(descriptor).st_mode, path)
        return cast("BinaryIO", io.BufferedReader(_Given(os.dup(descriptor))))
    real = os.path.realpath(path)
    roots = None if within is None else [os.path.realpath(folder) for folder in within]
    _check_place(real, roots, path)
    _check_kind(os.stat(real).st_mode, path)
    handle = os.open(real, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        _check_kind(os.fstat(handle).st_mode, path)
        if roots is not None:
            _check_place(_opened(handle, real), roots, path)
        return os.fdopen(handle, "rb")
    except BaseException:
        os.close(handle)
        raise


@contextlib.contextmanager
def given(path: str | os.PathLike[str], descriptor: int) -> Iterator[None]:
    """Let ``path`` be the file of this open descriptor: who may open no file is given one."""
    _given[os.fspath(path)] = descriptor
    try:
        yield
    finally:
        del _given[os.fspath(path)]


_given: dict[str, int] = {}


class _Given(io.RawIOBase):
    """A file that was opened before, read from its start: its own offset is others'."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor, self._at = descriptor, 0

    def fileno(self) -> int:
        return self._descriptor

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        size = os.fstat(self._descriptor).st_size
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: size}[whence]
        if base + offset < 0:
            raise ValueError("negative seek position")
        self._at = base + offset
        return self._at

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401  # any writable buffer
        count = os.preadv(self._descriptor, [buffer], self._at)
        self._at += count
        return count

    def close(self) -> None:
        if not self.closed:
            os.close(self._descriptor)
        super().close()


def read_regular(
    path: str | os.PathLike[str],
    limit_bytes: int,
    within: Collection[str | os.PathLike[str]] | None = None,
) -> bytes:
    """Return what a regular file holds; RefusedFile where it is more than ``limit_bytes``."""
    with open_regular(path, within) as file:
        data = file.read(limit_bytes + 1)
    if len(data) > limit_bytes:
        raise RefusedFile(f"it has more than {limit_bytes} bytes", path)
    return data


def _check_place(real: str, roots: Collection[str] | None, path: str | os.PathLike[str]) -> None:
    if roots is not None and not any(_is_below(real, root) for root in roots):
        raise RefusedFile("it leads outside the folder that it lies in", path)


def _check_kind(mode: int, path: str | os.PathLike[str]) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
    if not stat.S_ISREG(mode):
        raise RefusedFile("it is no regular file", path)


def _is_below(path: str, root: str) -> bool:
    return Path(path).is_relative_to(root)


def _opened(handle: int, real: str) -> str:
    """Return the path of an open file as the system knows it; ``real`` where it does not say."""
    try:
        return os.readlink(f"/proc/self/fd/{handle}")
    except OSError:
        return real
