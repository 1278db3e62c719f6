"""The window of tasks: never more than the executor asks for, and suspects run alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tilepress.workflows.cluster.executor import Completed, InProcessExecutor, Killed
from tilepress.workflows.run.window import Task, TaskWindow


class Room(InProcessExecutor):
    """Has room for some tasks; those that are deadly kill the worker of all that are in flight."""

    def __init__(self, window: int, deadly: set[str] | None = None) -> None:
        super().__init__()
        self.window = window
        self.deadly = deadly or set()
        self.beside: list[tuple[str, int]] = []

    def submit(
        self, key: str, function: Callable[..., Any], *args: object, codes: bool = False
    ) -> None:
        super().submit(key, function, *args, codes=codes)
        self.beside.append((key, len(self._tasks)))

    def next(self) -> Completed:
        keys = [key for key, _, _ in self._tasks]
        if any(key.rpartition("-")[0] in self.deadly for key in keys):
            key, _, _ = self._tasks.popleft()
            return Completed(key, error=Killed("running a task: workers died"))
        return super().next()


class Work:
    """Tasks by name, and what became of them."""

    def __init__(self, *names: str) -> None:
        self.left = [self.task(name) for name in names]
        self.done: list[str] = []
        self.failed: list[str] = []

    def task(self, name: str, *pieces: Task) -> Task:
        return Task(
            name, lambda: name, (), self.note, lambda _: self.failed.append(name), pieces=pieces
        )

    def note(self, result: str) -> None:
        if result.startswith("bad"):
            raise AssertionError(result)
        self.done.append(result)

    def next_task(self) -> Task | None:
        return self.left.pop(0) if self.left else None

    def run(self, executor: Room) -> TaskWindow:
        window = TaskWindow(executor)
        with executor:
            while True:
                window.fill(self.next_task)
                if not window:
                    return window
                assert len(window) <= executor.window
                window.take()


class TestTheWindow:
    """The scheduler never holds an archive."""

    def test_it_is_full_and_never_fuller(self):
        work, executor = Work(*"abcdefgh"), Room(3)
        work.run(executor)
        assert work.done == list("abcdefgh")
        assert max(beside for _, beside in executor.beside) == 3

    def test_an_error_is_the_tasks_own(self):
        def fail() -> None:
            raise ValueError("no")

        work = Work("a", "b")
        work.left.insert(1, Task("x", fail, (), work.note, lambda _: work.failed.append("x")))
        work.run(Room(2))
        assert (work.done, work.failed) == (["a", "b"], ["x"])


class TestWhatKills:
    """A worker that dies takes innocent tasks with it."""

    def test_the_innocent_are_done_and_the_deadly_one_is_named(self):
        work, executor = Work(*"abXcd"), Room(3, deadly={"X"})
        work.run(executor)
        assert (sorted(work.done), work.failed) == (list("abcd"), ["X"])
        again = [(key, beside) for key, beside in executor.beside if key.endswith("-2")]
        assert ("X-2", 1) in again
        assert {beside for _, beside in again} == {1}, "each alone"

    def test_a_group_is_taken_into_its_pieces(self):
        work = Work()
        pieces = [work.task(name) for name in ("a", "X", "b")]
        for piece in pieces:
            piece.tries = 1
        work.left = [work.task("group", *pieces)]
        executor = Room(3, deadly={"group", "X"})
        work.run(executor)
        assert (work.done, work.failed) == (["a", "b"], ["X"])
        assert [key for key, _ in executor.beside] == ["group-1", "a-2", "X-2", "b-2"]
