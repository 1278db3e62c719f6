"""Start threads and processes that leave Ctrl-C to the command."""

from __future__ import annotations

import multiprocessing.resource_tracker
import signal
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["interrupts_stay_here"]


@contextmanager
def interrupts_stay_here() -> Iterator[None]:
    """Block SIGINT while threads and processes are started, which they inherit for good.

    Ctrl-C reaches every process of the terminal's group; only this thread may act on it.
    """
    with warnings.catch_warnings():  # of a tracker that somebody killed: nothing of ours leaks
        warnings.simplefilter("ignore")
        multiprocessing.resource_tracker.ensure_running()  # else it unblocks the signal later
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
