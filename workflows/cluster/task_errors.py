"""Where a task ends: what it raises must reach the caller whole, and with nothing private in it.

Errors cross from a worker to the command pickled, with every error that they came of. An error of a
library may not survive that, and its text may hold what the source holds, patient text included.
"""

from __future__ import annotations

import sys
import traceback
import warnings
from collections.abc import Callable
from typing import TypeVar

from tilepress.errors import TaskFailed, TilepressError, describe_error

__all__ = [
    "describe_unexpected",
    "quiet_libraries",
    "run_at_boundary",
]

T = TypeVar("T")

_SEES_NO_IMAGE = {"tilepress", "typer", "click", "__main__"} | sys.stdlib_module_names
"""Packages whose errors quote nothing of an image; of ours only what is above the pipeline."""


def quiet_libraries() -> None:
    """Drop warnings of libraries that read sources: they quote what they read.

    ``python -W`` brings them back.
    """
    if not sys.warnoptions:
        for library in ("pydicom", "rasterio", "PIL", "pylibjpeg"):
            warnings.filterwarnings("ignore", module=library)


def run_at_boundary(function: Callable[..., T], *args: object) -> T:
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
        ("tilepress.codecs", "tilepress.pipeline")
    )
