"""The process that guests are forked from: it has imported what they need, and reads no file.

A message names the modules that the next guest needs; with it comes the guest's end of a
connection. The answer is the number of its process. Or it names a process that has ended; the
answer is how it ended.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import signal
import socket
import sys
from collections import OrderedDict
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from typing import Any

from tilepress.pipeline.guests import seccomp, wire
from tilepress.pipeline.guests.box import libraries

__all__ = ["main"]

GUEST = "tilepress.pipeline.guests.guest"

MAX_REMEMBERED = 1000
_PR_SET_PDEATHSIG = 1


def main(descriptor: int) -> None:
    """Serve until the connection of this number is closed by the process that began this one."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # who began this one decides when it ends
    control = socket.socket(fileno=descriptor)
    imports = _Imports()
    ended: OrderedDict[int, int] = OrderedDict()
    while True:
        try:
            request, file = wire.receive_with_file(control)
            if "ended" in request:
                answer = {"status": _status(int(request["ended"]), ended)}
            else:
                assert file is not None, "a guest has a connection"
                _collect(ended)
                answer = _begin(imports, request["modules"], file, control)
            wire.send(control, answer)
        except (EOFError, OSError):
            sys.exit()


class _Imports:
    """What every guest to come has imported."""

    def __init__(self) -> None:
        self.folders: list[str] = []
        self._modules: set[str] = set()

    def add(self, modules: Iterable[str]) -> None:
        new = set(modules) - self._modules
        if new or not self.folders:
            for name in (GUEST, *new):
                import_module(name)
            self._modules |= new
            seccomp.prepare()
            self.folders = libraries()
            gc.collect()
            gc.freeze()  # a guest that collects garbage leaves these pages alone: they stay shared


def _begin(
    imports: _Imports, modules: list[str], connection: int, control: socket.socket
) -> dict[str, Any]:
    try:
        imports.add(modules)
    except Exception as error:  # a broken installation, whatever it raises
        os.close(connection)
        return {"failed": f"{type(error).__name__}: {error}"}
    process = os.fork()
    if process:
        os.close(connection)
        return {"process": process, "memory_bytes": _address_space()}
    code = 1
    try:
        control.close()
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        sys.modules[GUEST].serve(socket.socket(fileno=connection), imports.folders)
        code = 0
    finally:
        os._exit(code)


def _status(process: int, ended: OrderedDict[int, int]) -> int:
    """Wait for a process to end; return what ``os.waitpid`` says of it, -1 where it is unknown."""
    if process not in ended:
        try:
            ended[process] = os.waitpid(process, 0)[1]
        except ChildProcessError:
            return -1
    return ended.pop(process)


def _collect(ended: OrderedDict[int, int]) -> None:
    """Remember how the processes ended that have ended since."""
    with contextlib.suppress(ChildProcessError):
        while (found := os.waitpid(-1, os.WNOHANG))[0]:
            ended[found[0]] = found[1]
    while len(ended) > MAX_REMEMBERED:
        ended.popitem(last=False)


def _address_space() -> int:
    """Return the bytes of address space that this process, and so a guest, has."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return pages * os.sysconf("SC_PAGE_SIZE")
