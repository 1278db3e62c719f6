"""Remove stores that were replaced, a while after, beside the work that goes on."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

from tilepress.pipeline.archive.lease import LeaseKeeper
from tilepress.pipeline.archive.write import clear_leftovers

__all__ = ["Sweeper"]

READERS_S = 2.0
"""Seconds for which the chunks of a store that was replaced are kept at least: whoever has just
opened it reads it to the end."""

SWEEPERS = 8
"""Stores that are swept at a time: in a bucket each takes some round trips."""


class Sweeper:
    """Keeps what stores have replaced until it is due, and removes it then.

    What is not removed, because storage fails or the run is stopped, a later run removes.
    """

    def __init__(self, keeper: LeaseKeeper) -> None:
        self._keeper = keeper
        self._waiting: deque[tuple[float, str, Future[Any] | None]] = deque()
        self._sweeping: deque[Future[None]] = deque()
        self._pool: ThreadPoolExecutor | None = None

    def add(self, store: str, before: Future[Any] | None = None) -> None:
        """Take a store that has just replaced another one; ``before`` is to be done first."""
        self._waiting.append((time.monotonic() + READERS_S, store, before))

    def start_due(self) -> None:
        """Sweep, in threads, what is due by now."""
        while self._waiting and self._waiting[0][0] <= time.monotonic():
            if self._pool is None:
                self._pool = ThreadPoolExecutor(SWEEPERS, thread_name_prefix="tilepress-sweep")
            _, store, before = self._waiting.popleft()
            self._sweeping.append(self._pool.submit(self._sweep, store, before))
        while self._sweeping and self._sweeping[0].done():
            self._sweeping.popleft().result()

    def finish(self) -> None:
        """Wait until everything is due, and swept."""
        while self._waiting:
            time.sleep(max(0.0, self._waiting[-1][0] - time.monotonic()))
            self.start_due()
        while self._sweeping:
            self._sweeping.popleft().result()

    def close(self) -> None:
        """Wait for what is being swept now; leave the rest."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def _sweep(self, store: str, before: Future[Any] | None) -> None:
        if before is not None:
            wait([before])
        with contextlib.suppress(OSError):
            clear_leftovers(store, self._keeper)
