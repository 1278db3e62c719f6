"""A thread that owns a device and gathers what other threads ask of it into batches.

    chunk threads ─► ask, and wait ─► owner: gathers ─► one run a batch ─► answers

What one chunk asks follows from what it was answered before; several chunks know nothing of one
another. So every chunk has a thread of its own, which waits while its request is on the device; the
owner starts once all of them wait, or one has waited ``PATIENCE_S``.
"""

from __future__ import annotations

import os
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from tilepress.errors import CodecError

__all__ = ["DEVICE_BYTES", "MAX_CHUNKS", "PATIENCE_S", "OfProcess", "Owner", "batches"]

MAX_CHUNKS = 64
"""Chunks of one call that are under way at a time, each in a thread."""
PATIENCE_S = 0.01
"""How long a request waits for company at most: less than a plane of 512² takes on a GPU."""

DEVICE_BYTES = 8 * 2**30
"""Device memory that a batch may take unless the caller says otherwise; longer lists are cut."""

Item = TypeVar("Item")
Result = TypeVar("Result")
Request = TypeVar("Request")
Answer = TypeVar("Answer")
Device = TypeVar("Device")
Run = Callable[[list[Request]], Sequence[Answer]]
"""Runs a batch on the device: an answer to each request, in order."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """A request, what runs it, and where its answer is awaited."""

    run: Run[Any, Any]
    request: Any
    answer: Future[Any] = field(default_factory=Future)


class Owner:
    """Runs requests that threads make at the same time side by side, in its own thread.

    Parameters
    ----------
    doing : how messages begin where a batch fails: "coding a plane on the device".
    """

    def __init__(self, doing: str) -> None:
        self._doing = doing
        self._changed = threading.Condition()
        self._pending: list[_Asked] = []
        self._active = 0
        """Threads that have asked, or will."""
        self._thread: threading.Thread | None = None

    def ask(self, run: Run[Request, Answer], request: Request) -> Answer:
        """Return the answer of ``run`` to a request, together with others of the same ``run``.

        What the device says against it becomes a CodecError.
        """
        asked = _Asked(run, request)
        self._hand_over(asked)
        answer: Future[Answer] = asked.answer
        try:
            return answer.result()
        except CodecError:
            raise
        except Exception as error:
            raise CodecError(f"{self._doing}: {error!r}") from error

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
        """Run ``function`` on every chunk, as many at a time as the device may gather.

        All of them end, whatever happens to one; then the first error in order is raised.
        """
        items = list(items)
        count = min(MAX_CHUNKS, len(items))
        if not count:
            return []
        left = len(items)
        self._expect(count)

        def work(item: Item) -> Result:
            nonlocal left
            try:
                return function(item)
            finally:
                with self._changed:
                    left -= 1
                    if left < count:  # no item is left for this thread
                        self._expect(-1)

        if count == 1:
            return [work(item) for item in items]
        with ThreadPoolExecutor(count, thread_name_prefix="tilepress-device") as pool:
            futures = [pool.submit(work, item) for item in items]
        return [future.result() for future in futures]

    def _expect(self, threads: int) -> None:
        with self._changed:
            self._active += threads
            self._changed.notify_all()

    def _hand_over(self, asked: _Asked) -> None:
        with self._changed:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(
                    target=self._serve, name="tilepress-device-owner", daemon=True
                )
                self._thread.start()
            self._pending.append(asked)
            self._changed.notify_all()

    def _serve(self) -> None:
        while True:
            gathered = self._gather()
            for run in dict.fromkeys(asked.run for asked in gathered):
                _answer(run, [asked for asked in gathered if asked.run == run])

    def _gather(self) -> list[_Asked]:
        """Wait for requests until every thread waits for one, or the first has waited enough."""
        with self._changed:
            while not self._pending:
                self._changed.wait()
            end = time.monotonic() + PATIENCE_S
            while len(self._pending) < self._active and (left := end - time.monotonic()) > 0:
                self._changed.wait(left)
            gathered, self._pending = self._pending, []
        return gathered


def _answer(run: Run[Any, Any], batch: list[_Asked]) -> None:
    """Run a batch and answer it; what fails in company is tried in halves, down to one.

    So a batch too large for the device's memory still runs, and only who is to blame has an error.
    """
    answers: Sequence[Any] | None = None
    try:
        answers = _one_each(batch, run([asked.request for asked in batch]))
    except BaseException as error:  # whatever it is, somebody waits for an answer
        if len(batch) == 1:
            batch[0].answer.set_exception(error)
            return
    if answers is None:  # no longer in the handler, whose error keeps the failed run's arrays
        middle = len(batch) // 2
        _answer(run, batch[:middle])
        _answer(run, batch[middle:])
        return
    for asked, answer in zip(batch, answers, strict=False):
        asked.answer.set_result(answer)


def _one_each(batch: Sequence[_Asked], answers: Sequence[Any]) -> Sequence[Any]:
    """Return the answers; fewer or more than requests would leave somebody waiting for ever."""
    if len(answers) != len(batch):
        raise CodecError(f"running a batch: {len(answers)} answers to {len(batch)} requests")
    return answers


class OfProcess(Generic[Device]):
    """What a process has one of, opened when it is first asked for.

    A forked child has neither the owner's thread nor, if the parent used it, the device: it opens
    its own.
    """

    def __init__(self, opened: Callable[[], Device]) -> None:
        """``opened`` may raise: then it is asked again."""
        self._opened = opened
        self._lock = threading.Lock()
        self.device: Device | None = None
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._forget)

    def get(self) -> Device:
        with self._lock:
            if self.device is None:
                self.device = self._opened()
            return self.device

    def _forget(self) -> None:
        self._lock, self.device = threading.Lock(), None


def batches(
    requests: Sequence[Request],
    alike: Callable[[Request], Hashable],
    need: Callable[[Request], int],
    most: int,
) -> Iterator[list[int]]:
    """Yield numbers of requests that run together: of one kind, and with no more need in all than
    ``most``, unless one alone has."""
    groups: dict[Hashable, list[int]] = defaultdict(list)
    for number, request in enumerate(requests):
        groups[alike(request)].append(number)
    for numbers in groups.values():
        batch: list[int] = []
        used = 0
        for number in numbers:
            more = need(requests[number])
            if batch and used + more > most:
                yield batch
                batch, used = [], 0
            batch.append(number)
            used += more
        yield batch
