"""Make the command the same whatever environment it is started in.

* An interpreter that leaves out ``assert`` is refused: those of ours guard what a store becomes.
* Names of files are UTF-8, whatever the locale says: else one that is none in it would be another
  in the store. Python decides that when it starts, so it is started again where need be.
* Processes that are started take no modules from the working folder.
* What a terminal cannot show is written in other words, and is no error.
"""

from __future__ import annotations

import codecs
import os
import sys

from tilepress.errors import UsageError

__all__ = ["check_interpreter", "prepare"]

ERRORS = "tilepress"
"""Name of the way in which characters are written that an encoding has not."""

IN_OTHER_WORDS = {
    "→": "->", "…": "...", "–": "-", "—": "-", "−": "-", "·": ".", "×": "x", "≤": "<=", "≥": ">=",
    "µ": "u", "²": "^2", "✓": "ok", "✗": "x", "█": "#", "─": "-", "━": "-", "•": "*",
}  # fmt: skip


def check_interpreter() -> None:
    """Raise UsageError where asserts are left out."""
    if sys.flags.optimize:
        raise UsageError(
            "starting: this Python leaves out checks of what is written (-O, or PYTHONOPTIMIZE is "
            "set); run it without"
        )


def prepare() -> None:
    """Prepare this process for the command, or replace it by one whose file names are UTF-8."""
    if sys.getfilesystemencoding() != "utf-8" and os.environ.get("PYTHONUTF8") != "1":
        os.environ["PYTHONUTF8"] = "1"  # workers, too
        if sys.stdout is not None:  # a terminal stays what it is
            os.environ.setdefault("PYTHONIOENCODING", sys.stdout.encoding)
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606  # no shell
    # Pythons that multiprocessing starts would look for modules in the working folder first, which
    # may be an archive of somebody else's
    os.environ["PYTHONSAFEPATH"] = "1"
    codecs.register_error(ERRORS, _in_other_words)  # type: ignore[attr-defined]  # not our folder
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors=ERRORS)


def _in_other_words(error: UnicodeError) -> tuple[str, int]:
    """Return what stands for characters that an encoding has not, e.g. ``\\u4e2d``."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    words = [IN_OTHER_WORDS.get(c) or c.encode("ascii", "backslashreplace").decode() for c in text]
    return "".join(words), error.end
