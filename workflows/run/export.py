"""Export an archive by several processes: they write stores aside, this one puts them in place.

    stores ──► tasks ──(a bounded number ahead)──► workers: each writes a store into a hidden folder
    in order ◄── held until all before them are placed ◄──┘

So the tree is that of one process, whoever was done first, and what waits takes bounded room.
"""

from __future__ import annotations

import itertools
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from tilepress.errors import UsageError, describe_error
from tilepress.pipeline.catalogue.index import Index
from tilepress.pipeline.catalogue.stores import CATALOGUE
from tilepress.pipeline.export_archive import Exported
from tilepress.pipeline.export_archive import export_archive as run_export
from tilepress.pipeline.export_staging import (
    HereStager,
    Staged,
    Stager,
    StoreTask,
    Wanted,
    stage_store,
)
from tilepress.pipeline.storage.path import AnyPath, StoragePath, storage_path
from tilepress.workflows.cluster.executor import DaskExecutor, Executor
from tilepress.workflows.cluster.local import LocalOpener, default_workers
from tilepress.workflows.run.window import Task, TaskWindow
from tilepress.workflows.run.workers import check_shared_memory

__all__ = ["ExecutorStager", "export_archive"]

AHEAD_PER_WORKER = 3
"""Stores for each worker that are begun and not placed: meanwhile they take room in ``OUT``."""

SMALL_BYTES = 2**31
"""An archive of fewer decoded bytes is written before workers would have started."""


def export_archive(
    archive: AnyPath, out: Path | str, wanted: Wanted, *, workers: int | None = None
) -> Generator[Exported, None, None]:
    """Export as ``pipeline.export_archive`` does, by worker processes of this machine.

    ``workers`` : None for one per processor and none for a small archive; 0 for none.
    """
    if workers is not None and workers < 0:
        raise UsageError(f"exporting: got {workers} workers, want 0 or more")
    where = storage_path(archive)

    def stager(stores: Sequence[StoragePath]) -> Stager:
        count = _workers(where, stores) if workers is None else min(workers, len(stores))
        if count == 0:
            return HereStager()
        check_shared_memory()
        return ExecutorStager(DaskExecutor(LocalOpener(workers=count)))

    return run_export(archive, out, wanted, stager=stager)


def _workers(archive: StoragePath, stores: Sequence[StoragePath]) -> int:
    """Return how many processes an archive is worth, by what its catalogue says of it."""
    count = min(default_workers(), len(stores))
    if count < 2:
        return 0
    known = {entry.key: entry.summary.raw_bytes for entry in Index(archive / CATALOGUE).entries()}
    is_small = sum(known.values()) < SMALL_BYTES and len(known) >= len(stores)
    return 0 if is_small else count


@dataclass(slots=True, eq=False)
class _Slot:
    """A place in the order of stores, and what became of its task."""

    task: StoreTask | None
    staged: Staged | None = None
    is_done: bool = field(default=False)


class ExecutorStager:
    """Has tasks done by the processes of an executor."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._window = TaskWindow(executor)
        self._order: list[_Slot] = []

    def staged(self, tasks: Iterable[StoreTask | None]) -> Iterator[Staged | None]:
        slots, numbers = map(_Slot, tasks), itertools.count()

        def next_task() -> Task | None:
            while len(self._order) < AHEAD_PER_WORKER * self._executor.slots:
                slot = next(slots, None)
                if slot is None:
                    return None
                self._order.append(slot)
                if slot.task is not None:
                    return _task(slot, next(numbers))
                slot.is_done = True
            return None

        while True:
            self._window.fill(next_task)
            while self._order and self._order[0].is_done:
                yield self._order.pop(0).staged
                self._window.fill(next_task)
            if not self._order:
                return
            self._window.take()

    def __enter__(self) -> Self:
        self._executor.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._executor.__exit__(kind, error, trace)


def _task(slot: _Slot, number: int) -> Task:
    """Return the task of a slot for the executor; errors are those of its processes alone."""
    assert slot.task is not None, "it has a store to write"
    key = slot.task.key

    def ended(staged: Staged) -> None:
        slot.staged, slot.is_done = staged, True

    def failed(error: Exception) -> None:
        problem = f"exporting {key}: {describe_error(error)[1]}"
        ended(Staged(state="failed", problem=problem))

    return Task(f"store-{number}", stage_store, (slot.task,), ended, failed)
