"""Where a task ends: what it raises must reach the caller whole, and with nothing private in it.

Errors cross from a worker to the command pickled, with every error that they came of. An error of a
library may not survive that, and its text may hold what the source holds, patient text included.
"""

from __future__ import annotations

import errno
import sys
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from tilepress.errors import TilepressError

__all__ = [
    "NO_ROOM",
    "TaskFailed",
    "at_edge",
    "describe_error",
    "describe_unexpected",
    "quiet_libraries",
]

T = TypeVar("T")

_SEES_NO_IMAGE = {"tilepress", "typer", "click", "__main__"} | sys.stdlib_module_names
"""Packages whose errors quote nothing of an image; of ours only what is above the pipeline."""


NO_ROOM = "no-room"
"""Kind of an error of storage that takes nothing more, whatever comes next."""

_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})


def quiet_libraries() -> None:
    """Drop warnings of libraries that read sources: they quote what they read.

    ``python -W`` brings them back.
    """
    if not sys.warnoptions:
        for library in ("pydicom", "rasterio", "PIL", "pylibjpeg"):
            warnings.filterwarnings("ignore", module=library)


class TaskFailed(Exception):
    """A task raised what is no error of ours; this is all that is told of it."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(kind, message)
        self.kind = kind
        self.message = message

    def __str__(self) -> str:
        return self.message


def at_edge(function: Callable[..., T], *args: object) -> T:
    """Call a task; raise our errors without what caused them, any other as TaskFailed."""
    try:
        return function(*args)
    except TilepressError as error:
        raised: Exception = error
    except Exception as error:  # whatever it is, the caller gets a line about it
        raised = TaskFailed(*describe_error(error))
    raised.__cause__ = raised.__context__ = None  # not raised above: that would link them again
    try:
        raise raised
    finally:
        del raised  # with its traceback it would hold this frame, and the samples in those below


def describe_error(error: Exception) -> tuple[str, str]:
    """Return the stable kind of an error and one line about it.

    Of an error that is not ours only the type and the place are told: its text may hold what the
    source holds, patient text included.
    """
    if isinstance(error, TaskFailed):
        return error.kind, error.message
    if isinstance(error, TilepressError):
        return error.kind, " ".join(str(error).split())
    if isinstance(error, OSError):
        what = f"reading or writing files: {error.strerror or type(error).__name__}"
        if error.errno in _NO_ROOM:
            return NO_ROOM, what  # whichever file it was
        return "storage", f"{what}: {error.filename}" if error.filename else what
    if isinstance(error, MemoryError):
        return "memory", "running a task: out of memory; use fewer workers or a smaller tile"
    frame = traceback.extract_tb(error.__traceback__)[-1:]
    place = f" at {Path(frame[0].filename).name}:{frame[0].lineno}" if frame else ""
    return "internal", f"running a task: unexpected {type(error).__name__}{place}"


def describe_unexpected(error: Exception) -> str:
    """Return one line about an error that nobody expected: a bug of ours.

    Its text is told only if nothing that reads images had a hand in it.
    """
    name = f"unexpected error: {type(error).__name__}"
    text = " ".join(str(error).split())
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    may_quote = any(_may_see_images(frame.f_globals.get("__name__", "")) for frame in frames)
    return name if may_quote or not text else f"{name}: {text}"


def _may_see_images(module: str) -> bool:
    return module.partition(".")[0] not in _SEES_NO_IMAGE or module.startswith(
        ("tilepress.codecs", "tilepress.pipeline", "tilepress.workflows.task")
    )
