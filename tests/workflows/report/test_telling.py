"""What a run tells is one event after another, for however many receivers there are."""

from __future__ import annotations

import errno
import io
from pathlib import Path
from types import TracebackType
from typing import get_args

import pytest
from rich.console import Console

from tilepress.workflows.report import telling as room
from tilepress.workflows.report.events import EventLog, read_events
from tilepress.workflows.report.progress import LogProgress
from tilepress.workflows.report.telling import Event, Note, SilentProgress, several

from .made_up import every_event, tell_all


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events.jsonl"


class Deaf(SilentProgress):
    """Fails whenever it is told something."""

    def __init__(self) -> None:
        self.left: list[type[BaseException] | None] = []

    def tell(self, event: Event) -> None:
        raise OSError(errno.EIO, "deaf")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.left.append(kind)


class TestSeveralAreToldAsOne:
    """A person and a program follow the same run."""

    def test_each_hears_everything(self, path: Path):
        screen = Console(file=io.StringIO(), width=200)
        with several(LogProgress(screen), EventLog(path)) as both:
            tell_all(both)
        with EventLog(path.with_name("alone.jsonl")) as alone:
            tell_all(alone)
        told = [event["event"] for event in read_events(path)]
        assert told == [event["event"] for event in read_events(path.with_name("alone.jsonl"))]
        assert len(told) == 12
        assert isinstance(screen.file, io.StringIO)
        assert "tilepress: reading 3.npy: it is cut" in screen.file.getvalue()

    def test_nobody_and_one_need_no_combination(self, path: Path):
        log = EventLog(path)
        assert several(None, log) is log
        assert type(several(None)) is SilentProgress
        with log:
            pass

    def test_one_that_fails_is_heard_of_after_the_others_were_told(self, path: Path):
        deaf = Deaf()

        def run() -> None:
            with several(deaf, EventLog(path)) as both:
                both.tell(Note("hello"))

        with pytest.raises(OSError, match="deaf"):
            run()
        assert [e["event"] for e in read_events(path)] == ["run-started", "note", "run-failed"]
        assert deaf.left == [OSError]

    def test_one_that_cannot_begin_ends_those_that_did(self):
        deaf = Deaf()
        if not Path("/dev/full").exists():
            pytest.skip("no /dev/full")
        with pytest.raises(OSError, match="No space"), several(deaf, EventLog("/dev/full")):
            pass
        assert deaf.left == [OSError]

    def test_it_passes_on_every_event(self):
        """An event that is added and not passed on would be heard by nobody."""
        first, second = Heard(), Heard()
        with several(first, second) as both:
            for event in every_event():
                both.tell(event)
        assert first.events == second.events == every_event()


class Heard(SilentProgress):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def tell(self, event: Event) -> None:
        self.events.append(event)


class TestEveryEventIsReceived:
    """A receiver passes over what is nothing to it, so none that it forgot would be missed."""

    def test_the_tests_know_all_of_them(self):
        assert {type(event) for event in every_event()} == set(get_args(Event))
        assert {kind.__name__ for kind in get_args(Event)} < set(room.__all__)

    def test_each_is_a_line_of_the_log(self, tmp_path: Path):
        for number, event in enumerate(every_event()):
            path = tmp_path / f"{number}.jsonl"
            with EventLog(path) as log:
                log.tell(event)
            assert len(list(read_events(path))) == 3, event

    @pytest.mark.parametrize("event", every_event(), ids=lambda event: type(event).__name__)
    def test_each_changes_what_a_person_sees(self, event: Event):
        screen = io.StringIO()
        progress = LogProgress(Console(file=screen, width=200))
        before = repr(progress._meter)
        progress.tell(event)
        assert screen.getvalue() or repr(progress._meter) != before
