"""The process that guests are forked from: it has imported what they need, and reads no file.

A message names the modules that the next guest needs; with it comes the guest's end of a
connection. The answer is the number of its process. Or it names a process that has ended; the
answer is how it ended. Or a listening socket comes, for other processes of the same user and run:
they may ask the same.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import select
import signal
import socket
import struct
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

NETWORK_LIBRARIES = ("boto3", "requests")
"""What readers of images import where it is installed, to fetch some. Guests have no network, and
it is a fifth of what they would begin with."""

MAX_REMEMBERED = 1000

ANSWER_S = 10
"""Whoever shares this process has said or heard by then what is to be said."""

_PR_SET_PDEATHSIG = 1


def main(descriptor: int) -> None:
    """Serve until the connection of this number is closed by the process that began this one."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # who began this one decides when it ends
    _Host(socket.socket(fileno=descriptor)).serve()


class _Host:
    """Connections of those that want guests: of who began this process, and of others."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._links = [control]
        self._listener: socket.socket | None = None
        self._address = ""
        self._imports = _Imports()
        self._ended: OrderedDict[int, int] = OrderedDict()

    def serve(self) -> None:
        try:
            while self._control in self._links:
                for link in self._ready():
                    if link is self._listener:
                        self._accept()
                    elif not self._is_answered(link):
                        self._links.remove(link)
                        link.close()
        finally:
            self._stop_listening()

    def _ready(self) -> list[socket.socket]:
        waited = [*self._links, *filter(None, [self._listener])]
        poll = select.poll()
        for link in waited:
            poll.register(link, select.POLLIN)
        found = {number for number, _ in poll.poll()}
        return [link for link in waited if link.fileno() in found]

    def _is_answered(self, link: socket.socket) -> bool:
        """Answer a request; False where whoever asks is gone, or stopped in the middle of it."""
        file: int | None = None
        try:
            request, file = wire.receive_with_file(link)
            wire.send(link, self._answer(request, file))
        except (EOFError, OSError, wire.Garbled):
            return False
        finally:
            if file is not None:
                os.close(file)
        return True

    def _answer(self, request: dict[str, Any], file: int | None) -> dict[str, Any]:
        if "ended" in request:
            return {"status": _status(int(request["ended"]), self._ended)}
        assert file is not None, "a guest has a connection, and a listener is one"
        if "listen" in request:
            self._address = request["listen"]
            self._listener = socket.socket(fileno=os.dup(file))
            self._listener.listen()
            return {}
        _collect(self._ended)
        return self._begin(request["modules"], file)

    def _accept(self) -> None:
        assert self._listener is not None, "it was ready"
        try:
            link, _ = self._listener.accept()
        except OSError:
            return
        if _user_of(link) != os.getuid():
            link.close()
            return
        link.settimeout(ANSWER_S)
        self._links.append(link)

    def _begin(self, modules: list[str], connection: int) -> dict[str, Any]:
        try:
            self._imports.add(modules)
        except Exception as error:  # a broken installation, whatever it raises
            return {"failed": f"{type(error).__name__}: {error}"}
        process = os.fork()
        if process:
            return {"process": process, "memory_bytes": _address_space()}
        code = 1
        try:
            for link in (*self._links, *filter(None, [self._listener])):
                link.close()  # a guest that was taken over would answer in the host's place
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            gc.enable()
            sys.modules[GUEST].serve(socket.socket(fileno=connection), self._imports.folders)
            code = 0
        finally:
            os._exit(code)

    def _stop_listening(self) -> None:
        if self._listener is not None:
            self._listener.close()
            with contextlib.suppress(OSError):
                os.unlink(self._address)
            with contextlib.suppress(OSError):
                os.rmdir(os.path.dirname(self._address))


def _user_of(link: socket.socket) -> int:
    """Return the number of the user whose process has connected."""
    length = struct.calcsize("3i")
    peer = link.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, length)
    return int(struct.unpack("3i", peer)[1])


class _Imports:
    """What every guest to come has imported."""

    def __init__(self) -> None:
        self.folders: list[str] = []
        self._modules: set[str] = set()

    def add(self, modules: Iterable[str]) -> None:
        gc.disable()  # what is imported stays
        new = set(modules) - self._modules
        if new or not self.folders:
            for name in NETWORK_LIBRARIES:
                sys.modules.setdefault(name, None)  # type: ignore[arg-type]  # as if not installed
            for name in (GUEST, *sorted(new)):
                module = import_module(name)
                if hasattr(module, "prepare"):
                    with contextlib.suppress(Exception):  # the first file tells what is wrong
                        module.prepare()
            self._modules |= new
            seccomp.prepare()
            self.folders = libraries()
            gc.collect()
            gc.freeze()  # a guest that collects garbage leaves these pages alone: they stay shared


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
