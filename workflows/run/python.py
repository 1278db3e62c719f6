"""What ``tilepress.compress`` is: a run as the command makes it, for a program or a notebook."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import ParamSpec

from tilepress.errors import UsageError
from tilepress.workflows.report.report import Report
from tilepress.workflows.report.telling import Progress, SilentProgress
from tilepress.workflows.run.compress import compress as run_compress

__all__ = ["compress"]

P = ParamSpec("P")


def _for_python(function: Callable[P, Report]) -> Callable[P, Report]:
    """Have a run show itself where somebody looks, and raise where it was about nothing."""

    @functools.wraps(function)
    def run(*arguments: P.args, **options: P.kwargs) -> Report:
        options["progress"] = _shown(options.get("progress"))
        report = function(*arguments, **options)
        nothing = not (report.images or report.excluded or report.kept.files or report.shared)
        if nothing and report.failures and len(report.failures) == report.absent:
            first, more = next(iter(report.failures)).message, report.absent - 1
            raise UsageError(f"compressing: {first}" + (f" (and {more} more)" if more else ""))
        return report

    return run


def _shown(asked: object) -> Progress:
    """Return what shows a run: True asks for it, False for nothing, None for it in notebooks."""
    if asked is None:
        asked = "IPython" in sys.modules  # else nobody looks, and rich is not loaded
        if asked:
            from tilepress.workflows.report.notebook import in_notebook

            asked = in_notebook()
    if asked is False:
        return SilentProgress()
    if asked is not True:
        return asked  # type: ignore[return-value]  # a Progress of the caller's own
    from tilepress.workflows.report.notebook import shown_progress

    return shown_progress()


compress = _for_python(run_compress)
