"""Progress: people see how far a run is and what failed, and their screen stays whole."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from collections.abc import Callable

import pytest
from rich.console import Console

from tilepress.pipeline.archive.stages import Stages
from tilepress.workflows.report import progress as module
from tilepress.workflows.report.progress import (
    LogProgress,
    TerminalProgress,
    describe,
    progress_for,
)
from tilepress.workflows.report.telling import (
    Discovered,
    Failed,
    ImageDone,
    ImageStarted,
    Note,
    SilentProgress,
    Workers,
)

from .made_up import RAW_BYTES, failure, plan, result, shard_stored

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")

HIDE_CURSOR, SHOW_CURSOR = "\x1b[?25l", "\x1b[?25h"


class Screen(Console):
    """A console whose output is kept."""

    def __init__(self, *, terminal: bool, width: int = 80) -> None:
        super().__init__(
            file=io.StringIO(), force_terminal=terminal, width=width, color_system=None,
            _environ={"TERM": "xterm", "COLUMNS": str(width)},
        )  # fmt: skip

    @property
    def raw(self) -> str:
        assert isinstance(self.file, io.StringIO)
        return self.file.getvalue()

    @property
    def lines(self) -> list[str]:
        return ESCAPES.sub("", self.raw.replace("\r", "\n")).splitlines()


@pytest.fixture(params=[False, True], ids=["log", "terminal"])
def screen(request: pytest.FixtureRequest) -> Screen:
    return Screen(terminal=request.param, width=200)


@pytest.fixture
def log() -> Screen:
    return Screen(terminal=False)


@pytest.fixture
def terminal() -> Screen:
    return Screen(terminal=True)


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every moment be the time for a line about how far the run is."""
    monkeypatch.setattr(module, "LOG_EVERY_S", 0.0)
    monkeypatch.setattr(module, "MARK_EVERY_S", 0.0)


@pytest.fixture
def clockwork(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Return a function that moves the clock of the progress on."""
    now = [1000.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])

    def pass_time(seconds: float) -> None:
        now[0] += seconds

    return pass_time


class TestItIsChosenByWhereTheOutputGoes:
    """A bar in a log file is megabytes of escapes; lines without a bar on a terminal are blind."""

    def test_a_terminal_gets_a_bar_and_a_file_lines(self, log: Screen, terminal: Screen):
        assert type(progress_for(terminal)) is TerminalProgress
        assert type(progress_for(log)) is LogProgress
        assert type(progress_for(terminal, quiet=True)) is SilentProgress
        assert type(progress_for(terminal, bar=False)) is LogProgress

    def test_a_terminal_that_cannot_move_gets_lines(self):
        dumb = Console(file=io.StringIO(), force_terminal=True, _environ={"TERM": "dumb"})
        assert type(progress_for(dumb)) is LogProgress

    def test_a_log_has_no_escapes(self, log: Screen, always: None):
        with progress_for(log) as progress:
            progress.tell(ImageStarted(plan()))
            progress.tell(shard_stored(9, 3, reused=False, stages=Stages(code_s=1)))
            progress.tell(ImageDone(result()))
            progress.tell(Failed(failure(2)))
        assert "\x1b" not in log.raw


class TestItSaysHowFarTheRunIs:
    """Images, bytes, rate, time left, workers, and where their time goes."""

    def work(self, screen: Screen, pass_time: Callable[[float], None]) -> list[str]:
        with progress_for(screen) as progress:
            progress.tell(Discovered(12_300, 4))
            progress.tell(ImageStarted(plan(1)))
            progress.tell(ImageStarted(plan(2)))
            progress.tell(Workers(8))
            pass_time(10)
            stages = Stages(code_s=9, check_s=3)
            progress.tell(shard_stored(RAW_BYTES, RAW_BYTES // 4, reused=False, stages=stages))
            pass_time(10)
            progress.tell(ImageDone(result(1)))
        return screen.lines

    def test_in_a_log(self, log: Screen, clockwork: Callable[[float], None]):
        lines = self.work(log, clockwork)
        assert lines[-1] == (
            "1 of 4+ images, 25%, 1.0 MB of 4.0 MB, 50.0 kB/s, ETA ~0:01:00, ratio 4.00, "
            "8 workers, code 75 %"
        )
        assert len(lines) == 2, "the image and one line after fifteen seconds"

    def test_on_a_terminal(self, terminal: Screen, clockwork: Callable[[float], None]):
        screen = "\n".join(self.work(terminal, clockwork))
        assert re.search(r"1 of 4\+ images .*25% .*ETA ~0:01:00", screen)
        assert "1.0 MB of 4.0 MB, 50.0 kB/s, ratio 4.00, 8 workers, code 75 %" in screen

    @pytest.mark.parametrize("width", [40, 80, 300])
    def test_the_bar_never_breaks_its_lines(self, width: int):
        """A broken line moves the cursor elsewhere than the bar thinks, and litters the screen."""
        screen = Screen(terminal=True, width=width)
        with progress_for(screen) as progress:
            progress.tell(ImageStarted(plan(1, (10**6, 10**6))))
            progress.tell(Discovered(10**7, 10**6))
            progress.tell(Workers(10**4))
            progress.tell(shard_stored(10**9, 10**6, reused=False, stages=Stages(code_s=1)))
        drawn = [part.strip("\n").split("\n") for part in ESCAPES.sub("", screen.raw).split("\r")]
        assert max(len(line) for lines in drawn for line in lines) <= width
        assert max(len(lines) for lines in drawn) == 2

    def test_looking_through_sources(self, screen: Screen, always: None):
        with progress_for(screen) as progress:
            progress.tell(Discovered(12_300, 840))
        assert any(
            "looking through sources: 12 300 files, 840 images so far" in line
            for line in screen.lines
        )

    def test_the_search_is_no_plus_when_it_is_done(self, screen: Screen, always: None):
        with progress_for(screen) as progress:
            progress.tell(Discovered(9, 2, done=True))
            progress.tell(ImageStarted(plan(1)))
        assert any("0 of 2 images" in line for line in screen.lines)

    def test_the_stage_is_that_of_late(self, log: Screen, clockwork: Callable[[float], None]):
        """A run may be bound by reading today because of what else the disk does today."""
        with progress_for(log) as progress:
            progress.tell(ImageStarted(plan(1)))
            progress.tell(shard_stored(1, 1, reused=False, stages=Stages(code_s=1000)))
            for _ in range(10):
                clockwork(10)
                progress.tell(shard_stored(1, 1, reused=False, stages=Stages(read_s=1)))
        assert log.lines[-1].endswith("read 100 %")

    def test_reused_shards_do_not_make_it_look_fast(
        self, log: Screen, clockwork: Callable[[float], None]
    ):
        with progress_for(log) as progress:
            progress.tell(ImageStarted(plan(1)))
            clockwork(20)
            progress.tell(shard_stored(RAW_BYTES // 2, 5, reused=True))
        (line,) = log.lines
        assert "50%, 500.0 kB of 1.0 MB, 0 B/s, ratio" in line

    def test_small_images_count_too(self, log: Screen, clockwork: Callable[[float], None]):
        """The task that plans them writes them: they are told when they are done."""
        with progress_for(log) as progress:
            progress.tell(Discovered(4, 4, done=True))
            clockwork(20)
            progress.tell(shard_stored(RAW_BYTES, RAW_BYTES // 2, reused=False))
            progress.tell(ImageDone(result(1, stages=Stages(write_s=2))))
            clockwork(20)
            progress.tell(ImageDone(result(2, status="unchanged")))
        assert log.lines[-1].startswith("2 of 4 images, 33%, 1.0 MB of 3.0 MB")
        assert log.lines[-1].endswith("write 100 %")

    def test_a_share_of_nobody_knows_what_is_not_told(
        self, screen: Screen, clockwork: Callable[[float], None]
    ):
        """Small images are found, written and told of one by one: it would always be 100 %."""
        with progress_for(screen) as progress:
            for number in range(3):
                clockwork(20)
                progress.tell(shard_stored(RAW_BYTES, 9, reused=False))
                progress.tell(ImageDone(result(number)))
                progress.tell(Discovered(number + 1, number + 1))
        assert any(re.search(r"(\d) of \1\+ images", line) for line in screen.lines)
        assert not any("%" in line or "ETA" in line for line in screen.lines)

    @pytest.mark.parametrize("shard", [None, "image-0.1"])
    def test_nobody_waits_for_failed_images(
        self, log: Screen, clockwork: Callable[[float], None], shard: str | None
    ):
        with progress_for(log) as progress:
            progress.tell(Discovered(2, 2))
            progress.tell(ImageStarted(plan(1)))
            progress.tell(ImageStarted(plan(2)))
            progress.tell(Failed(failure(2, shard=shard)))
            if shard:  # another one of the same image
                progress.tell(Failed(failure(2, shard="image-0.2")))
            progress.tell(Failed(failure(3, kind="unsupported-source")))
            progress.tell(Discovered(3, 2))
            progress.tell(Discovered(3, 2, done=True))
            clockwork(20)
            progress.tell(shard_stored(RAW_BYTES, 5, reused=False))
        told = next(line for line in log.lines if " of 2 images" in line)
        assert told.startswith("0 of 2 images, 99%, 1.0 MB of 1.0 MB"), "the seal comes after it"
        assert "ETA" not in told

    @pytest.mark.parametrize("kind", ["source", "unsupported-source", "damaged-source"])
    def test_what_is_no_image_is_not_taken_for_one_that_is_done(
        self, screen: Screen, always: None, kind: str
    ):
        """The search lists it as a failure; the images are still to come."""
        with progress_for(screen) as progress:
            progress.tell(Failed(failure(3, kind=kind)))
            progress.tell(Discovered(1, 0))
            progress.tell(Discovered(2, 1))
            progress.tell(Discovered(2, 1, done=True))
        assert any("0 of 1 images" in line for line in screen.lines)
        assert not any("%" in line for line in screen.lines)

    def test_no_share_before_a_size_is_known_and_all_of_it_at_the_end(
        self, log: Screen, clockwork: Callable[[float], None]
    ):
        with progress_for(log) as progress:
            progress.tell(Discovered(3, 3, done=True))
            clockwork(20)
            progress.tell(ImageDone(result(1, status="unchanged")))
            clockwork(20)
            progress.tell(Failed(failure(2)))
            assert [line for line in log.lines if "%" in line] == []
            clockwork(20)
            progress.tell(ImageDone(result(3, status="unchanged")))
        assert any(line.startswith("2 of 3 images, 100%") for line in log.lines)


class TestALogIsReadable:
    """Thousands of small images are a line now and then; what failed is always told."""

    def many(self, screen: Screen, **options: bool) -> list[str]:
        with progress_for(screen, **options) as progress:
            for number in range(500):
                if number % 10 == 9:
                    progress.tell(Failed(failure(number)))
                else:
                    progress.tell(ImageDone(result(number)))
        return screen.lines

    def test_the_first_images_have_lines_and_all_failures(self, screen: Screen):
        lines = self.many(screen)
        told = [line for line in lines if "→ /out/" in line]
        assert len(told) == module.LISTED_IMAGES
        assert sum(line.startswith("tilepress: ") for line in lines) == 50
        assert sum("--verbose" in line for line in lines) == 1

    def test_remarks_on_images_without_a_line_are_counted(self, screen: Screen):
        """What was left out beside a slide may stand in one of them."""
        with progress_for(screen) as progress:
            for number in range(60):
                progress.tell(ImageDone(result(number, remarks=("a gap",) * (number > 50))))
        assert any("remarks on 9 images that are not listed" in line for line in screen.lines)

    def test_verbose_keeps_every_line(self, screen: Screen):
        lines = self.many(screen, verbose=True)
        assert sum("→ /out/" in line for line in lines) == 450
        assert not any("--verbose" in line for line in lines)

    def test_a_line_is_never_wrapped(self, log: Screen):
        with progress_for(log) as progress:
            progress.tell(Note(300 * "x"))
        assert log.lines == [300 * "x"]

    def test_text_is_no_markup(self, screen: Screen):
        with progress_for(screen) as progress:
            progress.tell(Note("the dashboard [bold] is at http://127.0.0.1:8787/status"))
        assert any("[bold] is at http://127.0.0.1:8787/status" in line for line in screen.lines)

    def test_a_file_name_cannot_move_the_cursor(self, screen: Screen):
        name = "/in/a\x1b[2J\n\x07\udce4\u202eb.npy"
        with progress_for(screen) as progress:
            progress.tell(Failed(failure(source=name, message="it is cut")))
            progress.tell(ImageDone(result(source=name)))
        assert not any(bad in screen.raw for bad in ("\x1b[2J", "\x07", "\u202e"))
        told = [line for line in screen.lines if r"/in/a\x1b[2J\n\x07\udce4\u202eb.npy" in line]
        assert len(told) == 3, "failure, image, failure at the end"


class TestFailuresAreAtTheEnd:
    """After ten thousand lines nobody scrolls up."""

    def test_they_are_repeated(self, screen: Screen):
        with progress_for(screen) as progress:
            for number in range(3):
                progress.tell(Failed(failure(number)))
            progress.tell(ImageDone(result(7)))
        assert screen.lines[-4] == "3 failed:"
        assert screen.lines[-3:] == [f"  reading {n}.npy: it is cut" for n in range(3)]

    def test_many_are_cut_short(self, screen: Screen):
        with progress_for(screen) as progress:
            for number in range(1020):
                progress.tell(Failed(failure(number)))
            progress.tell(ImageDone(result(7)))
        assert screen.lines[-22] == "1 020 failed:"
        assert screen.lines[-1] == "  … and 1 000 more, see the lines above or --report"

    def test_inputs_that_fail_alike_are_named_once(self, log: Screen):
        with progress_for(log) as progress:
            progress.tell(ImageDone(result(1)))
            for number in range(1000):
                progress.tell(Failed(failure(number), listed=3))
        named = [f"tilepress: reading {n}.npy: it is cut" for n in range(3)]
        told = "  reading 0.npy: it is cut (and 999 more like it, see --report)"
        assert log.lines[1:] == [*named, "1 000 failed:", told]

    def test_those_of_files_beside_images_are_told_at_the_end_alone(self, log: Screen):
        with progress_for(log) as progress:
            progress.tell(ImageDone(result(1)))
            for number in range(1000):
                progress.tell(Failed(failure(number), listed=0))
        told = "  reading 0.npy: it is cut (and 999 more like it, see --report)"
        assert log.lines[1:] == ["1 000 failed:", told]

    def test_what_was_the_last_line_anyway_is_not_repeated(self, log: Screen):
        with progress_for(log) as progress:
            progress.tell(ImageDone(result(1)))
            progress.tell(Failed(failure(2)))
        assert len(log.lines) == 2

    def test_an_interrupted_run_tells_them_too(self, screen: Screen):
        def stopped() -> None:
            with progress_for(screen) as progress:
                progress.tell(Failed(failure(1)))
                progress.tell(ImageDone(result(2)))
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            stopped()
        assert screen.lines[-2:] == ["1 failed:", "  reading 1.npy: it is cut"]


PROGRAM = """
import os, signal, sys
from rich.console import Console
from tilepress.workflows.interrupts import interrupts
from tilepress.workflows.report.progress import progress_for
from tilepress.workflows.report.telling import Note

with progress_for(Console(force_terminal=True, stderr=True)) as progress, interrupts():
    progress.tell(Note("working"))
    {end}
"""


class TestTheScreenStaysWhole:
    """However a command ends, the next line stands alone and the cursor is there."""

    def end(self, how: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM.format(end=how)],
            capture_output=True, text=True, timeout=100,
            env={**os.environ, "TERM": "xterm", "COLUMNS": "80"},
        )  # fmt: skip
        assert "starting workers" in done.stderr, "there was a bar"
        return done.stderr

    @pytest.mark.parametrize(
        "how", ["os.kill(os.getpid(), signal.SIGINT); signal.pause()", "1 / 0"], ids=["^C", "error"]
    )
    def test_a_traceback_comes_after_the_bar(self, how: str):
        told = self.end(how)
        erased, _, after = told.rpartition("\x1b[2K")
        assert after.startswith("Traceback (most recent call last)")
        assert erased.rindex(SHOW_CURSOR) > erased.rindex(HIDE_CURSOR)

    @pytest.mark.parametrize("number", ["signal.SIGKILL", "signal.SIGTERM"])
    def test_a_kill_leaves_a_cursor(self, number: str):
        """The second interrupt ends the process at once, too."""
        told = self.end(f"os.kill(os.getpid(), {number}); signal.pause()")
        assert told.rindex(SHOW_CURSOR) > told.rindex(HIDE_CURSOR)

    def test_notes_stand_above_the_bar(self, terminal: Screen):
        with progress_for(terminal) as progress:
            progress.tell(Note("a note"))
        assert "a note" in terminal.lines
        assert terminal.raw.endswith("\x1b[2K"), "the bar was erased"


class TestOneImageIsOneLine:
    """What was read, what came out, and what a user should know."""

    def test_it_has_all_of_it(self):
        text = describe(result(1, remarks=("a gap", "b"), shards=4, shards_reused=3, tuned=True))
        assert text == (
            "/in/1.npy → /out/1.zarr: 1000×500 uint16, 1.0 MB → 500.0 kB (ratio 2.00), "
            "3 of 4 shards were there already, tuned; a gap; b"
        )
        assert describe(result(1, status="unchanged")).endswith("1.0 MB, unchanged")

    def test_the_size_of_its_file(self):
        text = describe(result(1, file_bytes=400_000))
        assert text.endswith("1.0 MB → 500.0 kB (ratio 2.00; file 400.0 kB, ratio 0.80)")
        text = describe(result(1, file_bytes=400_000, files=3))
        assert "; files 400.0 kB" in text
