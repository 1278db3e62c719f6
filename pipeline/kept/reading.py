"""Read a file that is to be kept, whole and as one version of it."""

from __future__ import annotations

import io
import os
import stat
import time
from dataclasses import dataclass

from tilepress.errors import DamagedSource, SourceTooLarge
from tilepress.pipeline.find.walk import InputFile
from tilepress.pipeline.packed.unpack import download, look_up
from tilepress.pipeline.storage.regular import RefusedFile, open_regular

__all__ = ["MAX_KEPT_BYTES", "LeftOut", "Look", "look", "read"]

MAX_KEPT_BYTES = 2**30
"""A file is held in memory while it is copied."""

SETTLED_NS = 2 * 10**9
"""Age at which the time of a file tells whether it has changed: clocks of file systems are
coarse."""

ELSEWHERE = "links that lead elsewhere"
NO_FILES = "pipes and devices"


class LeftOut(Exception):
    """A file that is not kept, whoever asks; the text is what it is counted as."""


@dataclass(frozen=True, slots=True)
class Look:
    """What is known of a file before it is read."""

    bytes: int
    mark: str
    """What changes with the file; "" where nothing does surely."""


def look(file: InputFile) -> Look:
    """Look at a file. Raises LeftOut for what is none, OSError."""
    if file.remote is not None or "://" in file.path:
        remote = file.remote or look_up(file.path)
        return Look(remote.size, remote.version)
    found = os.lstat(file.path)
    if stat.S_ISLNK(found.st_mode):
        _check_link(file)
        found = os.stat(file.path)
    if not stat.S_ISREG(found.st_mode):
        raise LeftOut(NO_FILES)
    return Look(found.st_size, _mark(found))


def read(file: InputFile) -> tuple[bytes, Look]:
    """Return a whole file and the look that goes with it.

    Raises DamagedSource where it changed while it was read, SourceTooLarge, LeftOut, OSError.
    """
    before = look(file)
    if before.bytes > MAX_KEPT_BYTES:
        raise SourceTooLarge(
            f"it has more than {MAX_KEPT_BYTES} bytes, and would be copied in memory; exclude it "
            "and keep it yourself"
        )
    if file.remote is not None or "://" in file.path:
        target = io.BytesIO()
        download(file.remote or look_up(file.path), target)
        return target.getvalue(), before
    try:
        with open_regular(file.path, _roots(file)) as opened:
            first = os.fstat(opened.fileno())
            data = opened.read(first.st_size + 1)
            last = os.fstat(opened.fileno())
    except RefusedFile as error:
        raise LeftOut(NO_FILES if "regular" in str(error.strerror) else ELSEWHERE) from error
    same = (first.st_mtime_ns, first.st_ctime_ns) == (last.st_mtime_ns, last.st_ctime_ns)
    if not same or not len(data) == first.st_size == last.st_size:
        raise DamagedSource("it changed while it was read; run the same line again")
    return data, Look(len(data), _mark(last))


def _mark(found: os.stat_result) -> str:
    settled = time.time_ns() - found.st_mtime_ns > SETTLED_NS
    return str(found.st_mtime_ns) if settled else ""


def _roots(file: InputFile) -> tuple[str, ...]:
    """Return the folders that a link may lead to: its own, and the one that was named."""
    folder = os.path.dirname(file.path)
    named = file.path.removesuffix(file.relative)
    return (folder,) if named in (file.path, "/", "") else (folder, named)


def _check_link(file: InputFile) -> None:
    real = os.path.realpath(file.path)
    roots = [os.path.realpath(root) for root in _roots(file)]
    if not os.path.exists(real) or not any(
        os.path.commonpath([real, root]) == root for root in roots
    ):
        raise LeftOut(ELSEWHERE)
