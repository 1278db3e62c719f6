"""Stages: every second of every thread is counted once, and people see what bounds a run."""

from __future__ import annotations

import ast
import itertools
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tilepress.workflows import stages as module
from tilepress.workflows.stages import STAGES, StageClock, Stages


@pytest.fixture
def ticking(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every look at the clock take a second of the thread that looks."""
    here = threading.local()

    def look() -> float:
        here.now = getattr(here, "now", 0) + 1
        return float(here.now)

    monkeypatch.setattr(module.time, "perf_counter", look)


@pytest.fixture
def hasty_threads() -> Iterator[None]:
    """Let threads be switched as often as can be: a lost update shows."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


class TestTheClockCountsEveryThread:
    """A shard is coded by several threads at once; their time is what it costs."""

    @pytest.mark.parametrize("stage", STAGES)
    def test_a_block_goes_to_its_stage(self, ticking: None, stage: module.Stage):
        clock = StageClock()
        with clock.time(stage):
            pass
        assert clock.stages == Stages(**{f"{stage}_s": 1.0})

    def test_no_update_of_a_thread_is_lost(self, ticking: None, hasty_threads: None):
        clock = StageClock()

        def work() -> None:
            for _ in range(500):
                with clock.time("code"):
                    pass
                clock.count(read_bytes=3, written_bytes=1)

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert clock.stages == Stages(code_s=4000.0, read_bytes=12_000, written_bytes=4000)

    def test_time_that_ended_in_an_error_counts(self, ticking: None):
        clock = StageClock()
        with pytest.raises(OSError, match="gone"), clock.time("write"):
            raise OSError("gone")
        assert clock.stages == Stages(write_s=1.0)


class TestWhatBoundsARun:
    """The largest share comes first: there a run can be made faster."""

    def test_the_text_names_the_largest_share_first(self):
        stages = Stages(read_s=6, code_s=71, check_s=20, write_s=3)
        assert stages.text == "code 71 %, check 20 %, read 6 %, write 3 % of worker time"
        assert stages.bound_by == "code"

    def test_nothing_timed_says_nothing(self):
        assert Stages(read_bytes=9).text == ""
        assert Stages().bound_by is None
        assert Stages().shares == {}

    def test_sums_and_differences_are_by_field(self):
        names = list(Stages().to_json())
        one = Stages(**{name: 2**place for place, name in enumerate(names)})
        two = Stages(**{name: 100 * place for place, name in enumerate(names)})
        assert (one + two).to_json() == {n: 2**p + 100 * p for p, n in enumerate(names)}
        assert one + two - two == one
        assert list(itertools.accumulate([one, two, one]))[-1] == one + two + one

    def test_json_has_every_field(self):
        told = Stages(read_s=0.1234567, written_bytes=7).to_json()
        assert told == {
            "read_s": 0.123457, "code_s": 0.0, "check_s": 0.0, "write_s": 0.0,
            "read_bytes": 0, "written_bytes": 7,
        }  # fmt: skip


def timed_asserts(path: Path) -> Iterator[str]:
    """Yield the asserts that compare a duration with a number of seconds other than 0."""
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.Assert):
            continue
        for comparison in (n for n in ast.walk(node.test) if isinstance(n, ast.Compare)):
            sides = [comparison.left, *comparison.comparators]
            names = [getattr(side, "attr", getattr(side, "id", "")) for side in sides]
            numbers = [side.value for side in sides if isinstance(side, ast.Constant)]
            duration = any(name.endswith(("_s", "seconds", "elapsed")) for name in names)
            if duration and any(isinstance(n, (int, float)) and n for n in numbers):
                yield f"{path.name}:{node.lineno}"


class TestNoTestTrustsTheClock:
    """A machine that is busy is slow: a test that asserts seconds fails there and nowhere else."""

    def test_no_duration_is_compared_with_a_number(self):
        rooms = ("stages", "spool", "report", "progress", "events")
        paths = [Path(__file__).with_name(f"test_{room}.py") for room in rooms]
        assert not [found for path in paths for found in timed_asserts(path)]

    def test_the_scan_sees_one(self, tmp_path: Path):
        path = tmp_path / "test_it.py"
        path.write_text("assert report.seconds < 5\nassert took_s > 0\n")
        assert list(timed_asserts(path)) == ["test_it.py:1"]
