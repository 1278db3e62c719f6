"""Tell that a script lacks ``if __name__ == "__main__":``, once, and where all began.

Worker processes are spawned, and Python has each read the script that started them. Where that
script calls ``compress`` as it is read, every worker would start workers of its own; Python forbids
that, in a traceback of each. Instead a worker that comes so far leaves a mark and ends in silence,
and the process that started it says what is wrong.
"""

from __future__ import annotations

import multiprocessing
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tilepress.errors import UsageError

__all__ = ["VARIABLE", "end_if_unguarded", "told_if_unguarded"]

VARIABLE = "TILEPRESS_UNGUARDED"
"""Of workers: the file that marks a script which none of them can read."""


@contextmanager
def told_if_unguarded() -> Iterator[dict[str, str]]:
    """Yield the environment in which workers that are started meanwhile can say so.

    Raises UsageError in place of whatever came of it that they ended.
    """
    with tempfile.TemporaryDirectory(prefix="tilepress-") as folder:
        mark = Path(folder) / "unguarded"
        try:
            yield {VARIABLE: str(mark)}
        except Exception:
            if mark.exists():
                raise UsageError(_ADVICE) from None
            raise


_ADVICE = (
    "starting workers: each of them runs this script as it starts; put what calls tilepress below "
    'if __name__ == "__main__":, or give workers=0'
)


def end_if_unguarded() -> None:
    """End this process if it is a worker that reads the script of those who started it."""
    mark = os.environ.get(VARIABLE)
    if mark and getattr(multiprocessing.current_process(), "_inheriting", False):
        Path(mark).touch()
        raise SystemExit(1)
