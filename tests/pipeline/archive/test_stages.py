"""Stages: every second of every thread is counted once, and people see what bounds a run."""

from __future__ import annotations

import itertools
import sys
import threading
from collections.abc import Iterator

import pytest

from tilepress.pipeline.archive import stages as module
from tilepress.pipeline.archive.stages import STAGES, StageClock, Stages


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
