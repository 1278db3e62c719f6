"""Write a report as a file, whole or not at all, and tell before a run that it can be."""

from __future__ import annotations

import contextlib
import os
import re
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TextIO

from tilepress.errors import UsageError
from tilepress.pipeline.storage.atomic import replacing

__all__ = ["check_writable_file", "check_writable_report", "write_report"]

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")
"""An address, also where it was made a path, which has one slash of two."""


def check_writable_report(path: Path) -> None:
    """Raise UsageError where the report could not be written: better before the run than after."""
    check_writable_file(path, "writing the report")


def check_writable_file(path: Path, doing: str) -> None:
    """Raise UsageError where no file can be made or replaced at ``path``; nothing is left there.

    Folders that are missing may be made later: the run itself may make them.
    """
    if _URL.match(str(path)):
        raise UsageError(f"{doing} to {path}: want a path on this machine")
    if path.is_dir():
        raise UsageError(f"{doing} to {path}: it is a folder, want a file")
    try:
        if _is_regular(path):
            with tempfile.TemporaryFile(dir=_nearest_folder(path)) as probe:
                probe.write(b"{}")
        elif not os.access(path, os.W_OK):
            raise PermissionError(13, "Permission denied")
    except OSError as error:
        text = error.strerror or type(error).__name__
        raise UsageError(f"{doing} to {path}: {text}") from error


def write_report(path: Path, write: Callable[[TextIO], None]) -> None:
    """Have a report written, whole or not at all.

    What is no file, e.g. /dev/stdout or a pipe, is written to directly. Raises OSError.
    """
    with _naming("writing the report", path):
        if _is_regular(path):
            _write_whole(path, write)
        else:
            with path.open("w", encoding="ascii") as file:
                write(file)


def _write_whole(path: Path, write: Callable[[TextIO], None]) -> None:
    """Write a text file so that a crash leaves the old one or the new one."""
    with (
        replacing(path.resolve()) as partial,  # a link stays a link
        partial.open("x", encoding="ascii") as file,
    ):
        write(file)
        file.flush()
        os.fsync(file.fileno())


def _is_regular(path: Path) -> bool:
    """Whether ``path`` is a file or nothing, not a device or pipe; OSError if it cannot be told."""
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except FileNotFoundError:
        return True


def _nearest_folder(path: Path) -> Path:
    """Return the folder of a path to be, or the one in which that will be made."""
    folder = path.resolve().parent
    while not folder.exists():
        folder = folder.parent
    return folder


@contextlib.contextmanager
def _naming(doing: str, path: Path) -> Iterator[None]:
    """Have an OSError say what was being done, and to which file."""
    try:
        yield
    except OSError as error:
        text = error.strerror or type(error).__name__
        raise OSError(error.errno, f"{doing}: {text}", str(path)) from error
