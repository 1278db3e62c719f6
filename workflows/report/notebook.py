"""Progress of a run in a notebook: a bar and the last lines, in the output of its cell.

Plain HTML that is drawn anew, as every notebook can show it: a widget would need an extension of
the notebook beside the kernel, and without that rich draws nothing.
"""

from __future__ import annotations

import io
import sys
import time
from collections import deque
from html import escape
from importlib import import_module
from types import TracebackType
from typing import Any, Self

from rich.console import Console

from tilepress.workflows.report.progress import LogProgress, progress_for
from tilepress.workflows.report.telling import Progress

__all__ = ["NotebookProgress", "in_notebook", "shown_progress"]

REDRAW_EVERY_S = 0.25

LINES = 8
"""The last lines that stay below the bar."""


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook, which need not be installed."""
    ipython: Any = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return getattr(shell, "kernel", None) is not None


def shown_progress() -> Progress:
    """Return what shows a run where this process is looked at: in a notebook or a terminal."""
    return NotebookProgress() if in_notebook() else progress_for(Console(stderr=True))


class NotebookProgress(LogProgress):
    """A bar with what a terminal's has, and below it the lines of a log."""

    def __init__(self, *, verbose: bool = False) -> None:
        super().__init__(Console(file=io.StringIO()), verbose=verbose)
        self._shown: deque[str] = deque(maxlen=LINES)
        self._handle: Any = None

    @property
    def _display(self) -> Any:  # noqa: ANN401  # IPython has no types
        return import_module("IPython.display")

    def __enter__(self) -> Self:
        shown = self._display
        self._handle = shown.display(shown.HTML(self._page()), display_id=True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        super().__exit__(kind, error, trace)
        self._draw()

    def _changed(self) -> None:
        if time.monotonic() - self._last >= REDRAW_EVERY_S:
            self._last = time.monotonic()
            self._draw()

    def _line(self, text: str) -> None:
        self._lines += 1
        self._shown.append(text)

    def _draw(self) -> None:
        if self._handle is not None:
            self._handle.update(self._display.HTML(self._page()))

    def _page(self) -> str:
        meter = self._meter
        if not meter.begun:
            bar, text = "<progress></progress>", meter.looking if meter.files else "starting"
        else:
            done = meter.done_bytes / meter.expected_bytes if meter.expected_bytes else 0
            done = 1 if meter.complete else min(done, 0.99)
            bar = f'<progress max="1" value="{done:.4f}"></progress>'
            parts = (meter.images, meter.share, meter.amount, meter.eta, meter.details)
            text = ", ".join(filter(None, parts))
        lines = "<br>".join(map(escape, self._shown))
        return f"<div>{bar} {escape(text)}</div><div><small>{lines}</small></div>"
