"""Sum up an export of an archive: what was written, and why what was not."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from tilepress.pipeline.export_archive import Exported
from tilepress.pipeline.kept.index import FILES
from tilepress.workflows.report.report_file import check_writable_report, write_report

__all__ = ["ExportSummary"]

NAMED = 3
"""Stores that a line names which tells of several."""

MAX_REASONS = 1000
"""Reasons that are told apart: each may name something else."""


@dataclass(slots=True)
class _Reason:
    first: str
    """The message of the first."""
    names: list[str] = field(default_factory=list)
    count: int = 0

    def line(self, where: str) -> str:
        others = self.names[1:]
        if not others:
            return self.first
        more = self.count - len(self.names)
        listed = ", ".join(others)
        if more:
            listed += f" and {more} more, {where}"
        return f"{self.first} ({self.count} for this reason: also {listed})"


class ExportSummary:
    """What became of the stores of an archive, added one by one; names of files are not kept."""

    def __init__(self, out: Path, report: Path | None = None) -> None:
        """``report`` : where the report goes; raises UsageError where it cannot be written."""
        if report is not None:
            check_writable_report(report)
        self._out, self._report = out, report
        self._states: Counter[str] = Counter()
        self._reasons: dict[str, _Reason] = {}
        self._listed: list[dict[str, Any]] = []
        self._stores = self._kept = self._failed_files = 0
        self.stopped = False
        """Whether the run ended before all was looked at: there was no room."""

    def add(self, done: Exported) -> None:
        self.stopped = self.stopped or done.stops
        if done.problem is not None:
            self._add_reason(done.name, done.problem)
        if self._report is not None:
            self._listed.append(done.to_json())
        if done.name == FILES:
            self._kept += len(done.files)
            self._failed_files += done.problem is not None
            return
        self._states[done.state] += 1
        self._stores = max(self._stores, done.total)

    def failed(self, *, fitting_only: bool) -> bool:
        """Whether something is missing; with ``fitting_only`` not what the format is not for."""
        left_out = 0 if fitting_only else self._states["left out"]
        return bool(self.stopped or self._failed_files or self._states["failed"] or left_out)

    def problems(self) -> Iterator[str]:
        """Yield a line for every reason: the first store that it holds for, and how many do."""
        where = "see --report" if self._report is None else f"see {self._report}"
        return (reason.line(where) for reason in self._reasons.values())

    def line(self) -> str:
        """Return e.g. "back: 12 of 15 stores written, 2 there already, 1 failed; 3 other files"."""
        states, stores = self._states, self._stores
        parts = [f"{states['written']} of {stores} store{'' if stores == 1 else 's'} written"]
        names = {"there": "there already", "left out": "left out", "failed": "failed"}
        parts += [f"{states[state]} {name}" for state, name in names.items() if states[state]]
        text = f"{self._out}: {', '.join(parts)}"
        kept, failed = self._kept, self._failed_files
        if kept or failed:
            text += (
                "; 1 file that is no image" if kept == 1 else f"; {kept} files that are no images"
            )
        return f"{text}, {failed} failed" if failed else text

    def write(self, *, interrupted: bool) -> None:
        """Write the report where one is wanted: every store, and what became of it."""
        if self._report is None:
            return
        content = {
            "stores": {state: self._states[state] for state in _STATES},
            "files": {"written": self._kept, "failed": self._failed_files},
            "stopped": self.stopped,
            "interrupted": interrupted,
            "results": self._listed,
        }
        text = json.dumps(content, indent=2)
        write_report(self._report, lambda file: _write_line(file, text))

    def _add_reason(self, name: str, problem: str) -> None:
        key = _reason(name, problem)
        if key not in self._reasons and len(self._reasons) >= MAX_REASONS:
            key = ""
        found = self._reasons.setdefault(key, _Reason(problem))
        found.count += 1
        if len(found.names) < NAMED:
            found.names.append(name)


_STATES = ("written", "there", "left out", "failed")


def _write_line(file: TextIO, text: str) -> None:
    file.write(f"{text}\n")


def _reason(name: str, problem: str) -> str:
    """Return what a message says beside names and numbers."""
    for text in (name, Path(name).name, Path(name).stem):
        problem = problem.replace(text, "…")
    return re.sub(r"[0-9]+", "#", problem)
