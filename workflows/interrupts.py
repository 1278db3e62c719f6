"""Stop signals: the command gets one KeyboardInterrupt, what it starts gets none.

Ctrl-C reaches all processes of a terminal; only the command acts on it, and tells its workers.

Python runs a signal handler wherever the main thread happens to be. Where that is a destructor or a
callback from C, the exception is printed and dropped (``sys.unraisablehook``) and the program would
go on as if nobody had asked it to stop. Such an interrupt is raised again a moment later.

Where that is code given to ``exec`` as text (dataclasses and named tuples are made so, thousands of
them while torch is imported), the interpreter notes that nobody handled the interrupt, although
somebody does, and ``python -m`` then ends by SIGINT whatever the exit code was to be. The next text
that is executed takes the note away.
"""

from __future__ import annotations

import os
import signal
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["EXIT_INTERRUPTED", "end_when_asked", "interrupts", "interrupts_stay_here"]

EXIT_INTERRUPTED = 130
"""Exit code of an interrupted command: 128 + SIGINT, as shells have it."""

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)

RAISE_AGAIN_AFTER_S = 0.02


def end_when_asked() -> None:
    """End the process at a stop signal, as it is. Only for the main thread."""
    for number in STOP_SIGNALS:
        signal.signal(number, lambda *_: os._exit(EXIT_INTERRUPTED))


@contextmanager
def interrupts() -> Iterator[None]:
    """Raise KeyboardInterrupt in the block at the first stop signal, end the process at the second.

    Every file that we write is atomic, so the second may fall anywhere. Only for the main thread.
    """
    before = {number: signal.signal(number, _first) for number in STOP_SIGNALS}
    alarm = signal.getsignal(signal.SIGALRM)
    hook, sys.unraisablehook = sys.unraisablehook, _unraisable
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGALRM) is _again:  # else the timer is somebody else's
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, alarm)
        sys.unraisablehook = hook
        for number, handler in before.items():
            signal.signal(number, handler)
        exec("")  # noqa: S102  # takes away the note that nobody handled the interrupt


def _first(number: int, frame: FrameType | None) -> None:
    end_when_asked()
    _again(number, frame)


def _again(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _ask_again() -> None:
    signal.signal(signal.SIGALRM, _again)
    signal.setitimer(signal.ITIMER_REAL, RAISE_AGAIN_AFTER_S)


def _unraisable(dropped: sys.UnraisableHookArgs) -> None:
    """Raise an interrupt again that fell into a destructor; by timer, for here it is lost too."""
    if dropped.exc_type is KeyboardInterrupt:
        _ask_again()
    else:
        sys.__unraisablehook__(dropped)


@contextmanager
def _careful_child() -> Iterator[None]:
    """Start a Python that prints no warnings, and takes no modules from the working folder.

    The tracker of semaphores outlives a command that is killed, removes what is left, and would
    complain of it in the middle of a user's terminal.
    """
    changes = {"PYTHONWARNINGS": "ignore", "PYTHONSAFEPATH": "1"}
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def interrupts_stay_here() -> Iterator[None]:
    """Block SIGINT while threads and processes are started, which they inherit for good.

    Only the thread that calls may act on Ctrl-C.
    """
    import multiprocessing.resource_tracker  # here, for a command first of all listens to Ctrl-C

    with warnings.catch_warnings(), _careful_child():  # of leaks, where we are killed
        warnings.simplefilter("ignore")
        multiprocessing.resource_tracker.ensure_running()  # else it unblocks the signal later
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
