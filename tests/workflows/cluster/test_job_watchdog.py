"""Jobs of a batch system are kept running, but not for ever where they end at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from types import SimpleNamespace
from typing import Any

import pytest

from tilepress.workflows.cluster import job_watchdog
from tilepress.workflows.cluster.job_watchdog import JobsEnd, Watchdog
from tilepress.workflows.cluster.systems import batch_system


class FakeJobs:
    """A cluster of jobs without a batch system; ``lives_s`` tells how long a job lives."""

    def __init__(self, lives_s: Callable[[int], float]) -> None:
        self.lives_s = lives_s
        self.now = 1000.0
        self.submitted = 0
        self.ends: dict[str, float] = {}
        self.worker_spec: dict[str, Any] = {}
        self.workers: dict[str, SimpleNamespace] = {}
        self.endings: tuple[str, ...] = ("",)
        """Of the names of a job's workers."""
        self._i = 0

    def new_worker_spec(self) -> dict[str, Any]:
        while str(self._i) in self.worker_spec:
            self._i += 1
        return {str(self._i): {}}

    async def _correct_state(self) -> None:
        for name in self.worker_spec.keys() - self.workers.keys():
            self.submitted += 1
            self.workers[name] = SimpleNamespace(job_id=name)
            self.ends[name] = self.now + self.lives_s(self.submitted)

    def sync(self, call: Callable[[], Coroutine[Any, Any, None]], callback_timeout: float) -> None:
        asyncio.run(call())

    @property
    def scheduler(self) -> SimpleNamespace:
        alive = [
            SimpleNamespace(name=f"{name}{ending}")
            for name in self.ends
            for ending in self.endings
            if self.is_there(name)
        ]
        return SimpleNamespace(workers=dict(enumerate(alive)))

    def is_there(self, job_id: str) -> bool:
        return self.now < self.ends[job_id]


class TestWatchdog:
    """Jobs that end are submitted again, but not for ever where they end at once."""

    @pytest.fixture
    def watched(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> Callable[..., tuple[FakeJobs, list[str], Callable[[float], None]]]:
        """Return a function that returns jobs, what is told of them, and what lets time pass."""

        def start(
            jobs: int, lives_s: Callable[[int], float]
        ) -> tuple[FakeJobs, list[str], Callable[[float], None]]:
            fake = FakeJobs(lives_s)
            told: list[str] = []
            monkeypatch.setattr(job_watchdog, "time", SimpleNamespace(monotonic=lambda: fake.now))
            monkeypatch.setattr(Watchdog, "_is_there", lambda _, job_id: fake.is_there(job_id))
            system = batch_system("slurm")
            dog = Watchdog(fake, system, jobs, where="/jobs", note=told.append)  # type: ignore[arg-type]
            dog._submit()

            def passes(seconds: float) -> None:
                end = fake.now + seconds
                while fake.now < end:
                    fake.now += dog.every_s
                    dog._look()

            return fake, told, passes

        return start

    def test_all_end_at_once(self, watched: Any):
        jobs, _, passes = watched(4, lambda _: 0)
        with pytest.raises(JobsEnd, match="keeping 4 slurm jobs running: 12 in a row ended soon"):
            passes(600)
        assert jobs.submitted == 12

    def test_most_end_at_once_and_one_runs(self, watched: Any):
        jobs, told, passes = watched(10, lambda number: 1e9 if number == 1 else 0)
        passes(3600)
        assert jobs.submitted < 10 * 3 * 4
        assert any("going on with 1, next try in 30 min" in text for text in told)
        before = jobs.submitted
        passes(24 * 3600)
        assert before < jobs.submitted < before + 10 * 3 * 6

    def test_one_that_comes_up_late_is_waited_for(self, watched: Any):
        """Others fail before it has stood the test."""
        _, _, passes = watched(2, lambda number: {1: 30}.get(number, 0))
        with pytest.raises(JobsEnd):
            passes(600)

    def test_the_last_that_ran_ends_in_the_pause(self, watched: Any):
        jobs, told, passes = watched(3, lambda number: 300 if number == 1 else 0)
        with pytest.raises(JobsEnd):
            passes(1200)
        assert any("going on with 1" in text for text in told)
        assert jobs.submitted < 3 * 3 * 4

    def test_jobs_that_use_their_time_are_replaced_for_ever(self, watched: Any):
        jobs, told, passes = watched(4, lambda _: 900)
        passes(36000)
        assert jobs.submitted > 4 * 30
        assert not [text for text in told if "going on" in text]

    @pytest.mark.slow
    def test_jobs_of_several_gpus_have_several_workers(self, watched: Any):
        """dask-cuda numbers them: "job-0", "job-1"."""
        jobs, told, passes = watched(2, lambda _: 900)
        jobs.endings = ("-0", "-1")
        passes(36000)
        assert jobs.submitted > 2 * 30
        assert not [text for text in told if "going on" in text]

    @pytest.mark.slow
    def test_failures_now_and_then_do_no_harm(self, watched: Any):
        jobs, told, passes = watched(4, lambda number: 0 if number % 3 == 0 else 900)
        passes(36000)
        assert jobs.submitted > 4 * 30
        assert not [text for text in told if "going on" in text]
