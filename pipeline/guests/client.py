"""Begin guests, ask them, and end those that take too long."""

from __future__ import annotations

import contextlib
import fcntl
import os
import resource
import shutil
import signal
import socket
import sys
import tempfile
import time
import weakref
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, NoReturn

from tilepress.errors import DamagedSource, SourceError, UnsupportedSource
from tilepress.pipeline.guests import hosts, wire
from tilepress.pipeline.guests.box import offered
from tilepress.pipeline.guests.budget import Budget
from tilepress.pipeline.guests.told import raise_told, told

__all__ = ["Guest", "are_possible", "check_held_to_one_file", "for_workers", "held_by"]

SWITCH = "TILEPRESS_GUESTS"
"""Environment variable: "off" reads foreign files in this process, without limits."""


def are_possible() -> bool:
    """Whether foreign files are read by guests here: on Linux, unless they are switched off."""
    return os.environ.get(SWITCH, "").lower() != "off" and _can_be()


@lru_cache(maxsize=1)
def _can_be() -> bool:
    """Whether this Python and kernel have what guests are made of (Linux 5.3)."""
    if sys.platform != "linux" or not hasattr(fcntl, "F_ADD_SEALS"):
        return False
    try:
        os.close(os.pidfd_open(os.getpid()))
        os.close(os.memfd_create("probe", os.MFD_ALLOW_SEALING))
    except (AttributeError, OSError):
        return False
    return True


def for_workers() -> dict[str, str]:
    """Return what processes that this one begins need in their environment to share its host."""
    return hosts.shared() if are_possible() else {}


def held_by() -> dict[str, int | bool]:
    """Return what holds foreign files on this machine, as JSON: for who judges a run later."""
    return {"processes": are_possible(), **offered()}


def check_held_to_one_file(path: str) -> None:
    """Raise UnsupportedSource where no guest can be held to a single file: without Landlock."""
    if not are_possible() or not offered()["landlock"]:
        raise UnsupportedSource(
            f"opening {path}: readers that open files by themselves need Linux 5.13, which holds "
            "them to those of the image, and TILEPRESS_GUESTS not off"
        )


OWN_ENVIRONMENT = ("GDAL_CACHEMAX", "GDAL_NUM_THREADS", "OMP_NUM_THREADS")
"""What a guest does as the process that has begun it does, whoever has begun its host."""


SAME_LIMIT_S = 1
"""For so long a limit of processor time stays as it is: a small part of any."""


class _Deadline:
    """A connection on which nothing is waited for beyond a moment."""

    def __init__(self, link: socket.socket, wall_s: float) -> None:
        self._link, self._until = link, time.monotonic() + wall_s

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  # a socket's
        self._link.settimeout(max(self._until - time.monotonic(), 1e-3))
        return getattr(self._link, name)


class Guest:
    """A process that may read some files, and nothing else. One thread at a time."""

    def __init__(
        self, modules: Iterable[str], readable: Iterable[str], *, scratch: bool = False
    ) -> None:
        """Begin it; raises SourceError where it cannot be begun.

        ``modules`` are imported before it is forked, so that the next guest has them too;
        ``readable`` are the files and folders that it may read. With ``scratch`` it has a folder of
        its own in which it can make links.
        """
        self._host, (process, link, self._idle_bytes) = hosts.begin_guest(modules)
        self._link = link
        self._process = process
        self._handle = os.pidfd_open(process)
        folder = _scratch() if scratch else None
        self._end = weakref.finalize(self, _end, link, self._handle, folder)
        self._memory_bytes = 0
        self._cpu_s, self._cpu_limited_at = 0, 0.0
        try:
            own = {name: os.environ[name] for name in OWN_ENVIRONMENT if name in os.environ}
            wire.send(link, {"readable": list(readable), "scratch": folder, "environment": own})
            wire.receive(_Deadline(link, hosts.START_S))  # type: ignore[arg-type]  # acts as a socket
        except (EOFError, OSError, wire.Garbled) as error:
            self.close()
            raise SourceError("starting a reader of images: its box cannot be closed") from error

    @property
    def is_open(self) -> bool:
        return self._end.alive

    def ask(
        self,
        request: Mapping[str, Any],
        budget: Budget,
        doing: str,
        path: str,
        *,
        file: int | None = None,
        fetch: Callable[..., Any] | None = None,
        grown: Callable[[], Budget] | None = None,
    ) -> Any:  # noqa: ANN401  # data
        """Return the answer to a request; raises what it raised, or a SourceError where it died.

        ``doing`` and ``path`` begin messages; ``file`` is sent along; ``fetch`` reads bytes of
        objects in a bucket for it, after which it may use the memory of ``grown()``.
        """
        link: Any = _Deadline(self._link, budget.wall_s)
        try:
            self._limit(budget)
            wire.send(link, request, file)
            answer = wire.receive(link)
            while "fetch" in answer:
                fetched = _fetched(answer["fetch"], fetch)
                if grown is not None:
                    self._limit_memory(grown())
                wire.send(link, fetched)
                answer = wire.receive(link)
        except TimeoutError:
            self._kill()
            self.close()
            text = f"its decoder took more than {budget.wall_s:.0f} s"
            raise UnsupportedSource(f"{doing} {path}: {text}") from None
        except (EOFError, OSError):
            self._died(budget, doing, path)
        except (wire.Garbled, KeyError, TypeError, ValueError):
            self._kill()
            self.close()
            raise SourceError(f"{doing} {path}: its reader answered nonsense") from None
        except BaseException:  # interrupted: what it will answer is no answer to the next request
            self._kill()
            self.close()
            raise
        if "raised" in answer:
            raise_told(answer["raised"], doing, path, budget.memory_bytes)
        return answer.get("is")

    def close(self) -> None:
        self._end()

    def _limit_memory(self, budget: Budget) -> None:
        memory = self._idle_bytes + budget.memory_bytes
        if memory != self._memory_bytes:
            _set_limit(self._process, resource.RLIMIT_AS, memory)
            self._memory_bytes = memory

    def _limit(self, budget: Budget) -> None:
        self._limit_memory(budget)
        now = time.monotonic()
        if budget.cpu_s == self._cpu_s and now - self._cpu_limited_at < SAME_LIMIT_S:
            return
        seconds = _cpu_seconds(self._process) + budget.cpu_s
        _set_limit(self._process, resource.RLIMIT_CPU, seconds)
        self._cpu_s, self._cpu_limited_at = budget.cpu_s, now

    def _kill(self) -> None:
        with contextlib.suppress(OSError):
            signal.pidfd_send_signal(self._handle, signal.SIGKILL)

    def _died(self, budget: Budget, doing: str, path: str) -> NoReturn:
        """Raise what a guest's end means."""
        self._kill()  # it may have closed its connection only
        try:
            status = self._host.status(self._process)
        except (EOFError, OSError, wire.Garbled):
            hosts.drop(self._host)
            status = -1
        self.close()
        number = os.WTERMSIG(status) if status >= 0 and os.WIFSIGNALED(status) else 0
        if number == signal.SIGXCPU:
            text = f"its decoder took more than {budget.cpu_s} s of processor time"
            raise UnsupportedSource(f"{doing} {path}: {text}") from None
        if number == signal.SIGABRT:  # of C++ libraries: memory was refused, or all is confused
            text = "its decoder gave up (SIGABRT), for want of memory or because it is damaged"
            raise DamagedSource(f"{doing} {path}: {text}") from None
        if number in (0, signal.SIGKILL):
            text = "its reader was ended from outside; the machine may be out of memory"
            raise SourceError(f"{doing} {path}: {text}") from None
        text = f"its decoder crashed ({signal.Signals(number).name})"
        raise DamagedSource(f"{doing} {path}: {text}") from None


def _scratch() -> str | None:
    """Make a folder; None where there is no room, which only a guest that needs it has to say."""
    try:
        return tempfile.mkdtemp(prefix="tilepress-guest-")
    except OSError:
        return None


def _end(link: socket.socket, handle: int, folder: str | None) -> None:
    """Close a connection: the guest ends when it sees that."""
    link.close()
    os.close(handle)
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)


def _fetched(wanted: Any, fetch: Callable[..., Any] | None) -> dict[str, Any]:  # noqa: ANN401
    if fetch is None or not isinstance(wanted, list):
        raise wire.Garbled("nothing can be fetched")
    try:
        return {"fetched": fetch(*wanted)}
    except (OSError, SourceError) as error:
        return {"raised": told(error)}


def _set_limit(process: int, what: int, value: int) -> None:
    """Set a limit, below the one that a batch system has set for all."""
    hard = resource.prlimit(process, what)[1]
    soft = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.prlimit(process, what, (soft, hard))


def _cpu_seconds(process: int) -> int:
    """Return the processor time that a process has used, rounded up."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) // os.sysconf("SC_CLK_TCK") + 1
