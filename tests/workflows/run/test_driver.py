"""The drive of a run: innocent neighbours are kept, and idle workers help."""

from __future__ import annotations

from pathlib import Path

import pytest

from tilepress.codecs import threads as pool
from tilepress.pipeline.archive import write as task
from tilepress.pipeline.archive.images import plan_images
from tilepress.workflows.cluster.executor import Completed, InProcessExecutor, Killed
from tilepress.workflows.run.compress import compress

from .conftest import run, shard_files


class DeadlyExecutor(InProcessExecutor):
    """Kills the worker of some tasks, and of their neighbours where there are any."""

    def __init__(self, poison: str) -> None:
        super().__init__()
        self.window = 6
        self._poison = poison
        self.deaths = 0

    def next(self) -> Completed:
        if any(self._is_poison(task) for task in self._tasks):
            if not self._is_poison(self._tasks[0]):
                self._tasks.rotate(-1)
            key, _, _ = self._tasks.popleft()
            self.deaths += 1
            return Completed(key, error=Killed("running a task: workers died"))
        return super().next()

    def _is_poison(self, item: tuple) -> bool:
        return any(getattr(argument, "name", None) == self._poison for argument in item[2])


class TestPoison:
    """A shard that kills every worker must be named; the neighbours in its queue are innocent."""

    @pytest.fixture
    def executor(self, monkeypatch: pytest.MonkeyPatch) -> DeadlyExecutor:
        from tilepress.workflows.run import compress as room

        executor = DeadlyExecutor("image-0.1.2")
        monkeypatch.setattr(room, "make_executor", lambda *_, **__: executor)
        return executor

    def test_it_is_tried_alone_then_listed_and_the_others_are_kept(
        self, many_shards: Path, tmp_path: Path, executor: DeadlyExecutor
    ):
        report = run(many_shards, tmp_path / "many.zarr", tile=64)
        (failure,) = report.failures
        assert (failure.kind, failure.shard) == ("killed", "image-0.1.2")
        assert "image-0.1.2" in failure.line
        assert executor.deaths > 2, "no neighbour was hit"
        assert len(shard_files(tmp_path / "many.zarr")) == 15
        assert not (tmp_path / "many.zarr" / "zarr.json").exists()


class TestIdleWorkersHelp:
    """A single scene is one shard; with one thread it would take as long on 64 cores as on one."""

    def threads_of(
        self, sources: list[Path], store: Path, monkeypatch: pytest.MonkeyPatch
    ) -> list[int]:
        from tilepress.workflows.run import compress as room

        class Wide(InProcessExecutor):
            def __init__(self) -> None:
                super().__init__()
                self.window, self.slots, self._coders = 24, 8, 8

            def submit(self, key: str, function: object, *args: object, **how: object) -> None:
                if function is task.write_shard:
                    given.append(args[3])
                elif function is plan_images:
                    planned.append(args[2])
                super().submit(key, function, *args, **how)  # type: ignore[arg-type]

        given: list[int] = []
        planned: list[int] = []
        monkeypatch.setattr(room, "make_executor", lambda *_, **__: Wide())
        try:
            assert compress(sources, store, tile=64).ok
        finally:
            pool.set_threads(None)
        return given or planned

    def test_one_shard_gets_every_thread(
        self, image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        assert self.threads_of([image], tmp_path / "x.zarr", monkeypatch) == [8]

    def test_many_shards_get_one_each(
        self, many_shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        given = self.threads_of([many_shards], tmp_path / "x.zarr", monkeypatch)
        assert len(given) == 16
        assert set(given[:8]) == {1}
