"""Places of answers that are being sent, and who has to give one up.

Every client has a credit of seconds. Waiting for it costs them, each piece that it takes earns what
that is worth at a fair rate. Nobody is cut off for being slow alone; but where somebody waits for a
place and there is none, the client of the least credit gives its place up once that is below
nothing. So whoever reads slowly, or not at all, cannot keep others out.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from starlette.exceptions import HTTPException

__all__ = ["Pace", "Places"]

STREAMS = 16
"""So many answers are made at a time."""

WAITING = 8
WAITING_S = 30.0
"""So many requests wait for a place, each so long; others are told to come again."""

FAIR_RATE = 2**18
"""Bytes a second that cost a client nothing."""

CREDIT_S = 5.0
"""Credit of a client at first, and at most."""

_LOOK_S = 0.5
"""How often one who waits looks for a place that can be given up."""


class Pace:
    """How fast the client of one answer takes it. One thread tells, any may ask."""

    def __init__(self, cut: Callable[[], None]) -> None:
        """``cut`` ends the answer, from any thread."""
        self.cut = cut
        self.is_cut = False
        self._credit_s = CREDIT_S
        self._since: float | None = None

    def begins(self) -> None:
        """Say that a piece is offered to the client."""
        self._since = time.monotonic()

    def ends(self, size: int) -> None:
        """Say that the client has taken the piece, of so many bytes."""
        credit = self.credit_s() + size / FAIR_RATE
        self._credit_s, self._since = min(CREDIT_S, credit), None

    def credit_s(self) -> float:
        """Return the seconds that the client has left, below 0 where it is too slow."""
        since = self._since
        return self._credit_s - (0.0 if since is None else time.monotonic() - since)

    @property
    def is_waiting(self) -> bool:
        """Whether the answer waits for its client now."""
        return self._since is not None


class Places:
    """The places of one server."""

    def __init__(self) -> None:
        self._free = threading.BoundedSemaphore(STREAMS)
        self._queue = threading.BoundedSemaphore(WAITING)
        self._lock = threading.Lock()
        self._paces: set[Pace] = set()

    def take(self) -> None:
        """Take a place, which ``give_back`` ends. Raises HTTPException 503 where there is none."""
        if self._free.acquire(blocking=False):
            return
        if not self._queue.acquire(blocking=False):  # who waits has a thread, which pages need too
            raise self._none()
        try:
            end = time.monotonic() + WAITING_S
            while not self._free.acquire(timeout=_LOOK_S):
                self._cut_one()
                if time.monotonic() > end:
                    raise self._none()
        finally:
            self._queue.release()

    def give_back(self) -> None:
        self._free.release()

    def enter(self, pace: Pace) -> None:
        """Let the place of this answer be given up."""
        with self._lock:
            self._paces.add(pace)

    def leave(self, pace: Pace) -> None:
        with self._lock:
            self._paces.discard(pace)

    def _cut_one(self) -> None:
        with self._lock:
            slow = [one for one in self._paces if one.is_waiting and not one.is_cut]
            slowest = min(slow, key=Pace.credit_s, default=None)
            if slowest is None or slowest.credit_s() >= 0:
                return
            slowest.is_cut = True
            slowest.cut()

    @staticmethod
    def _none() -> HTTPException:
        return HTTPException(503, "too many answers are being made; ask again")
