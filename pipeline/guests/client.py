"""Begin guests, ask them, and end those that take too long."""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, NoReturn

import tilepress
from tilepress.errors import DamagedSource, SourceError, UnsupportedSource
from tilepress.pipeline.guests import wire
from tilepress.pipeline.guests.box import offered
from tilepress.pipeline.guests.budget import Budget
from tilepress.pipeline.guests.told import raise_told, told

__all__ = ["Guest", "are_possible", "held_by"]

SWITCH = "TILEPRESS_GUESTS"
"""Environment variable: "off" reads foreign files in this process, without limits."""

START_S = 120
"""A host has begun by then, on whatever machine."""

_KEPT_ENVIRONMENT = (
    "COVERAGE_", "CPL_", "GDAL_", "GTIFF_", "HOME", "LANG", "LC_", "LD_", "NUMBA_", "OMP_",
    "OPJ_", "PATH", "PROJ_", "PYTHON", "TILEPRESS_MAX_MEMORY", "TZ", "VIRTUAL_ENV",
)  # fmt: skip
"""What guests may know of the environment, by how it begins."""

_SECRET = re.compile(
    "(CPL|GDAL)_.*(AUTH|COOKIE|CRED|HEADER|HTTP|KEY|PASS|PWD|SECRET|TOKEN|USER|VSI)"
)
"""Such have credentials in them: no guest needs any."""


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


def held_by() -> dict[str, int | bool]:
    """Return what holds foreign files on this machine, as JSON: for who judges a run later."""
    return {"processes": are_possible(), **offered()}


class _Deadline:
    """A connection on which nothing is waited for beyond a moment."""

    def __init__(self, link: socket.socket, wall_s: float) -> None:
        self._link, self._until = link, time.monotonic() + wall_s

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  # a socket's
        self._link.settimeout(max(self._until - time.monotonic(), 1e-3))
        return getattr(self._link, name)


class _Host:
    """The process that guests are forked from."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            code = f"from tilepress.pipeline.guests.host import main; main({theirs.fileno()})"
            self._process = subprocess.Popen(  # noqa: S603  # this very interpreter
                [sys.executable, "-P", "-c", code],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                env=_environment(),
                cwd="/",
            )
        self._control = ours
        self._control.settimeout(START_S)
        self._lock = threading.Lock()

    def begin(self, modules: Iterable[str]) -> tuple[int, socket.socket, int]:
        """Return the process of a new guest, the connection to it, and its idle address space."""
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                answer = self._ask({"modules": list(modules)}, theirs.fileno())
            except BaseException:
                ours.close()
                raise
        if "failed" in answer:
            ours.close()
            raise SourceError(f"starting a reader of images: {answer['failed']}")
        return int(answer["process"]), ours, int(answer["memory_bytes"])

    def status(self, process: int) -> int:
        """Wait until a guest has ended; return what ``os.waitpid`` says, -1 if it is unknown."""
        return int(self._ask({"ended": process})["status"])

    def _ask(self, request: Mapping[str, Any], file: int | None = None) -> dict[str, Any]:
        with self._lock:
            wire.send(self._control, request, file)
            answer: dict[str, Any] = wire.receive(self._control)
            return answer

    def close(self) -> None:
        self._control.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(10)

    def forget(self) -> None:
        """Let go of a host that is another process's: this one was forked from it."""
        self._control.close()
        self._process.returncode = 0  # not ours to wait for


def _environment() -> dict[str, str]:
    kept = {
        name: value
        for name, value in os.environ.items()
        if name.startswith(_KEPT_ENVIRONMENT) and not _SECRET.match(name)
    }
    return kept | {
        "PYTHONPATH": os.pathsep.join(_search_path()),
        "OPENBLAS_NUM_THREADS": "1",  # threads do not survive a fork
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def _search_path() -> list[str]:
    """Return where a host finds its modules: neither in the working folder nor beside a script."""
    own = os.path.dirname(tilepress.__path__[0])
    asked = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    installed = [path for path in sys.path if path.startswith((sys.prefix, sys.base_prefix))]
    return list(dict.fromkeys(map(os.path.abspath, [own, *asked, *installed])))


_hosts: list[_Host] = []
_hosts_lock = threading.Lock()


def _host() -> _Host:
    with _hosts_lock:
        if not _hosts:
            _hosts.append(_Host())
        return _hosts[0]


def _drop(host: _Host) -> None:
    with _hosts_lock:
        if host in _hosts:
            _hosts.remove(host)
    host.close()


def _close_hosts() -> None:
    while _hosts:
        _hosts.pop().close()


def _forget_hosts() -> None:
    global _hosts_lock
    _hosts_lock = threading.Lock()
    while _hosts:
        _hosts.pop().forget()


atexit.register(_close_hosts)
os.register_at_fork(after_in_child=_forget_hosts)


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
        self._host, (process, link, self._idle_bytes) = _begun(modules)
        self._link = link
        self._process = process
        self._handle = os.pidfd_open(process)
        folder = _scratch() if scratch else None
        self._end = weakref.finalize(self, _end, link, self._handle, folder)
        self._memory_bytes = 0
        try:
            wire.send(link, {"readable": list(readable), "scratch": folder})
            wire.receive(_Deadline(link, START_S))  # type: ignore[arg-type]  # acts as a socket
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
        seconds = _cpu_seconds(self._process) + budget.cpu_s
        _set_limit(self._process, resource.RLIMIT_CPU, seconds)

    def _kill(self) -> None:
        with contextlib.suppress(OSError):
            signal.pidfd_send_signal(self._handle, signal.SIGKILL)

    def _died(self, budget: Budget, doing: str, path: str) -> NoReturn:
        """Raise what a guest's end means."""
        self._kill()  # it may have closed its connection only
        try:
            status = self._host.status(self._process)
        except (EOFError, OSError, wire.Garbled):
            _drop(self._host)
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


def _begun(modules: Iterable[str]) -> tuple[_Host, tuple[int, socket.socket, int]]:
    """Begin a guest; where the host has died meanwhile, with a new one."""
    wanted = list(modules)
    for last in (False, True):
        host = _host()
        try:
            return host, host.begin(wanted)
        except (EOFError, OSError, wire.Garbled) as error:
            _drop(host)
            if last:
                text = f"starting a reader of images: {type(error).__name__}"
                raise SourceError(text) from error
    raise AssertionError("one of two tries returned or raised")


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
