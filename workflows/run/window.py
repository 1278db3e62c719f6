"""Keep a bounded number of tasks in flight, and find out which of them kills its workers.

A task that killed its workers may have been an innocent neighbour of the one that did. So it is
tried once more, in its smallest pieces, with nothing beside it; what kills again is to blame.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tilepress.workflows.cluster.executor import Executor, Killed

__all__ = ["Task", "TaskWindow"]


@dataclass(slots=True, eq=False)
class Task:
    """One task with what is to be done with its outcome."""

    name: str
    function: Callable[..., Any]
    args: tuple[Any, ...]
    on_result: Callable[[Any], None]
    on_error: Callable[[Exception], None]
    codes: bool = False
    """Whether it would gain by a GPU."""
    pieces: tuple[Task, ...] = ()
    """What to try one after another if this kills its workers; itself where nothing is given."""
    tries: int = 0


class TaskWindow:
    """The tasks that an executor has, as many as it asks for."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._in_flight: dict[str, Task] = {}
        self._suspects: deque[Task] = deque()

    def __len__(self) -> int:
        """Return the number of tasks in flight."""
        return len(self._in_flight)

    def fill(self, next_task: Callable[[], Task | None]) -> None:
        """Submit until the window is full or nothing is left; a suspect runs with none beside."""
        if self._suspects:
            if not self._in_flight:
                self._submit(self._suspects.popleft())
            return
        while len(self._in_flight) < self._executor.window:
            task = next_task()
            if task is None:
                return
            self._submit(task)

    def take(self) -> None:
        """Wait until any task ends, and do what is to be done with its outcome."""
        completed = self._executor.next()
        task = self._in_flight.pop(completed.key)
        if completed.error is None:
            task.on_result(completed.result)
        elif isinstance(completed.error, Killed) and task.tries == 1:
            self._suspects.extend(task.pieces or (task,))
        else:
            task.on_error(completed.error)

    def _submit(self, task: Task) -> None:
        task.tries += 1
        key = f"{task.name}-{task.tries}"
        self._in_flight[key] = task
        self._executor.submit(key, task.function, *task.args, codes=task.codes)
