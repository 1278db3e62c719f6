"""A thousand failures for one reason are one line with their number."""

from __future__ import annotations

from tilepress.workflows.report import alike as room
from tilepress.workflows.report.alike import Alike, lines_of

from .made_up import failure


def test_few_are_named():
    assert list(lines_of(failure(n) for n in range(3))) == [
        f"reading {n}.npy: it is cut" for n in range(3)
    ]


def test_many_are_counted_by_reason():
    """Names and numbers in a message are no reason."""
    cut = [failure(n, message=f"reading {n}.npy: it ends at byte {n}") for n in range(500)]
    private = [
        failure(source=f"file #{n:08}", message=f"keeping file #{n:08}: Permission denied")
        for n in range(500)
    ]
    other = [failure(7, kind="storage", message="reading 7.npy: Input/output error")]
    told = list(lines_of([*cut, *private, *other]))
    assert told == [
        "reading 0.npy: it ends at byte 0 (and 499 more like it, see --report)",
        "keeping file #00000000: Permission denied (and 499 more like it, see --report)",
        "reading 7.npy: Input/output error",
    ]


def test_reasons_without_end_take_no_memory(monkeypatch):
    monkeypatch.setattr(room, "MAX_REASONS", 30)
    alike = Alike()
    for n in range(100):
        alike.add(failure(1, message="x" * n))
    assert len(alike._reasons) == 31
    told = list(alike.lines())
    assert len(told) == room.LISTED_FAILURES + 1
    assert told[-1] == "… and 80 more, see the lines above or --report"
