"""What an export writes under another name until it is whole, and what killed ones left of it.

Who writes holds a lock, so that a later export knows which of these nobody writes any more.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

__all__ = ["sweep_unfinished", "unfinished"]

PREFIX = ".tilepress-export-"

_NAMES = re.compile(r"\.tilepress-export-\w{8,16}|\.[0-9a-f]{16}\.partial")
"""Also those of DICOM files that earlier versions left."""

YOUNG_S = 5.0
"""A writer has made its file and not locked it yet: others let it be for so long."""


@contextlib.contextmanager
def unfinished(target: Path, *, folder: bool = False) -> Iterator[Path]:
    """Make an empty file, or a folder, beside ``target``; it is gone at the end, unless renamed.

    The name says nothing of the target, which may be called after a patient. Raises OSError.
    """
    path = target.parent / (PREFIX + secrets.token_hex(8))  # the target may be "."
    if folder:
        path.mkdir()
    handle = os.open(path, os.O_RDONLY if folder else os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        with contextlib.suppress(OSError):  # the file system has no locks: nobody sweeps there
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield path
    finally:
        try:
            _remove(path)
        except KeyboardInterrupt:  # the second one ends the process
            _remove(path)
            raise
        finally:
            os.close(handle)


def sweep_unfinished(folder: Path, *, waits: bool = False) -> int:
    """Remove what killed exports left in a folder, and nothing that is being written.

    ``waits`` : whether to wait for what is too young to be told apart, ``YOUNG_S`` at most.
    """
    try:
        with os.scandir(folder) as entries:
            found = [Path(entry.path) for entry in entries if _NAMES.fullmatch(entry.name)]
    except OSError:
        return 0
    became = {path: _swept(path) for path in found}
    young = [path for path, what in became.items() if what == "young"]
    if waits and young:
        time.sleep(YOUNG_S)
        became |= {path: _swept(path) for path in young}
    return sum(what == "gone" for what in became.values())


def _swept(path: Path) -> Literal["gone", "young", "held"]:
    """Remove what nobody writes; say what became of it."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return "held"
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if time.time() - os.fstat(handle).st_mtime < YOUNG_S:
            return "young"
        _remove(path)
    except OSError:
        return "held"
    finally:
        os.close(handle)
    return "held" if path.exists() else "gone"


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()
