"""The processes that guests are forked from: one for this process, or for several of a run."""

from __future__ import annotations

import atexit
import contextlib
import os
import re
import socket
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable, Mapping
from typing import Any

import tilepress
from tilepress.errors import SourceError
from tilepress.pipeline.guests import seccomp, wire

__all__ = ["START_S", "begin_guest", "drop", "shared"]

START_S = 120
"""A host has begun by then, on whatever machine."""

HOST_VARIABLE = "TILEPRESS_GUEST_HOST"
"""Environment variable: the address of a host that another process of this run has begun."""

_KEPT_ENVIRONMENT = (
    "COVERAGE_", "CPL_", "GDAL_", "GTIFF_", "HOME", "LANG", "LC_", "LD_", "OMP_",
    "OPJ_", "PATH", "PROJ_", "PYTHON", "TILEPRESS_MAX_MEMORY", "TZ", "VIRTUAL_ENV",
)  # fmt: skip
"""What guests may know of the environment, by how it begins."""

_SECRET = re.compile(
    "(CPL|GDAL)_.*(AUTH|COOKIE|CRED|HEADER|HTTP|KEY|PASS|PWD|SECRET|TOKEN|USER|VSI)"
)
"""Such have credentials in them: no guest needs any."""


class Host:
    """The process that guests are forked from, begun by this one."""

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
        self._address: str | None = None

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

    def address(self) -> str:
        """Return where other processes of this user reach it. Raises OSError where they cannot."""
        with self._lock:
            if self._address is None:
                folder = tempfile.mkdtemp(prefix="tilepress-host-")  # nobody else may enter it
                path = os.path.join(folder, "host")
                try:
                    with socket.socket(socket.AF_UNIX) as listener:
                        listener.bind(path)
                        self._exchange({"listen": path}, listener.fileno())
                except BaseException:
                    _remove(path)
                    raise
                self._address = path
            return self._address

    def close(self) -> None:
        self._control.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(10)
        if self._address is not None:
            _remove(self._address)

    def forget(self) -> None:
        """Let go of a host that is another process's: this one was forked from it."""
        self._control.close()
        self._process.returncode = 0  # not ours to wait for

    def _ask(self, request: Mapping[str, Any], file: int | None = None) -> dict[str, Any]:
        with self._lock:
            return self._exchange(request, file)

    def _exchange(self, request: Mapping[str, Any], file: int | None) -> dict[str, Any]:
        wire.send(self._control, request, file)
        answer: dict[str, Any] = wire.receive(self._control)
        return answer


class _OthersHost(Host):
    """A host that another process of this run has begun; it ends with that one."""

    def __init__(self, address: str) -> None:
        """Connect to it; raises OSError where there is none that can serve this process."""
        self._control = socket.socket(socket.AF_UNIX)
        try:
            self._control.settimeout(START_S)
            self._control.connect(address)
            _check_peer(self._control)
        except BaseException:
            self._control.close()
            raise
        self._lock = threading.Lock()
        self._address = address

    def close(self) -> None:
        self._control.close()

    def forget(self) -> None:
        self._control.close()


def _check_peer(link: socket.socket) -> None:
    """Raise OSError unless the host is this user's and sees the processes and files that we see."""
    length = struct.calcsize("3i")
    peer = link.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, length)
    process, user, _ = struct.unpack("3i", peer)
    if user != os.getuid() or process <= 0:
        raise PermissionError("it is somebody else's")
    for kind in ("pid", "mnt"):
        if os.readlink(f"/proc/{process}/ns/{kind}") != os.readlink(f"/proc/self/ns/{kind}"):
            raise PermissionError("it is in another container")


def _remove(address: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(address)
    with contextlib.suppress(OSError):
        os.rmdir(os.path.dirname(address))


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


_hosts: list[Host] = []
_hosts_lock = threading.Lock()


def shared() -> dict[str, str]:
    """Return what other processes on this machine need in their environment to share the host.

    It ends with this process. Nothing where they cannot: where the system calls of guests are not
    held, one that was taken over could connect to the host, and begin others.
    """
    if not seccomp.is_known_machine():
        return {}
    try:
        return {HOST_VARIABLE: _host().address()}
    except (EOFError, OSError, wire.Garbled):  # a long name of a folder, a full disk…
        return {}


def begin_guest(modules: Iterable[str]) -> tuple[Host, tuple[int, socket.socket, int]]:
    """Begin a guest; where the host has died meanwhile, with a new one.

    Returns the host, and of the guest its process, the connection to it and its idle address space.
    Raises SourceError where it cannot be begun.
    """
    wanted = list(modules)
    for last in (False, True):
        host = _host(alone=last)
        try:
            return host, host.begin(wanted)
        except (EOFError, OSError, wire.Garbled) as error:
            drop(host)
            if last:
                text = f"starting a reader of images: {type(error).__name__}"
                raise SourceError(text) from error
    raise AssertionError("one of two tries returned or raised")


def _host(*, alone: bool = False) -> Host:
    """Return the host; ``alone`` begins one where there is none, whatever others have begun."""
    with _hosts_lock:
        if not _hosts:
            _hosts.append(Host() if alone else _others_host() or Host())
        return _hosts[0]


def _others_host() -> Host | None:
    address = os.environ.get(HOST_VARIABLE, "")
    with contextlib.suppress(OSError):
        return _OthersHost(address) if address else None
    return None


def drop(host: Host) -> None:
    """Give up a host that does not answer."""
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
