"""A format whose files say what their reader does: crash, hang, eat memory, look around.

A guest imports it by name, as it would the module of a real format. The file's text is the deed.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import mmap
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tilepress.errors import DamagedSource, SourceError
from tilepress.pipeline import formats
from tilepress.pipeline.image.format import (
    Candidate,
    Certainty,
    FileImage,
    FileImages,
    Format,
)
from tilepress.pipeline.image.grid import Box
from tilepress.pipeline.image.info import ImageInfo
from tilepress.pipeline.image.source import SourceSpec
from tilepress.pipeline.storage.below import below
from tilepress.pipeline.storage.path import is_url
from tilepress.pipeline.storage.ranges import RemoteFile

MAGIC = b"HOSTILE "


def do(deed: str) -> str:
    """Do what the text says; return what came of it."""
    name, _, argument = deed.partition(" ")
    try:
        return str(DEEDS[name](argument))
    except OSError as error:
        return f"errno {error.errno}"


def _eat(argument: str) -> str:
    return str(len(bytes(int(argument))))


def _spin(_: str) -> str:
    while True:
        pass


def _stop(_: str) -> str:
    os.kill(os.getpid(), signal.SIGSTOP)
    return "went on"


def _connect(argument: str) -> str:
    with socket.socket() as link:
        link.settimeout(5)
        link.connect(("127.0.0.1", int(argument)))
    return "connected"


def _reach(address: str) -> str:
    ours, theirs = socket.socketpair(socket.AF_UNIX)  # given: to make one alone is refused
    theirs.close()
    with ours:
        ours.connect(address)
    return "connected"


def _sockets(_: str) -> str:
    """Count the sockets that are open here."""
    kinds = []
    for number in range(256):
        try:
            kinds.append(stat.S_ISSOCK(os.fstat(number).st_mode))
        except OSError:
            continue
    return str(sum(kinds))


def _run(argument: str) -> str:
    return str(subprocess.run([argument], check=False).returncode)


def _raise_limit(_: str) -> str:
    import resource

    try:
        resource.setrlimit(resource.RLIMIT_AS, (2**62, resource.RLIM_INFINITY))
    except (OSError, ValueError) as error:
        return type(error).__name__
    return "raised"


def _hold(_: str) -> str:
    _held.append(True)
    return "will hold"


def _ask(text: str) -> str:
    """Ask for an object below the address of the image, by what is JSON of [key, start, stop]."""
    try:
        (found,) = below(_address[-1]).fetch([tuple(json.loads(text))])
    except SourceError as error:
        return str(error)
    return repr(found)


def _ask_nonsense(text: str) -> str:
    """Ask for what is no list of objects."""
    try:
        return repr(below(_address[-1]).fetch(json.loads(text)))
    except SourceError as error:
        return str(error)


_held: list[Any] = []
_address: list[str] = []

DEEDS = {
    "nothing": lambda _: "done",
    "read": lambda path: Path(path).read_text()[:20],
    "list": lambda path: ",".join(sorted(os.listdir(path))),
    "write": lambda path: Path(path).write_text("written"),
    "truncate": lambda path: os.truncate(path, 0),
    "nice": lambda process: os.setpriority(os.PRIO_PROCESS, int(process), 5),
    "owner": lambda process: fcntl.fcntl(0, fcntl.F_SETOWN, int(process)),
    "remove": os.unlink,
    "chmod": lambda path: os.chmod(path, 0o777),
    "crash": lambda _: ctypes.string_at(0),
    "abort": lambda _: os.abort(),
    "exit": lambda _: os._exit(0),
    "eat": _eat,
    "spin": _spin,
    "sleep": lambda seconds: time.sleep(float(seconds)),
    "stop": _stop,
    "connect": _connect,
    "reach": _reach,
    "sockets": _sockets,
    "run": _run,
    "fork": lambda _: os.fork(),
    "kill": lambda process: os.kill(int(process), signal.SIGKILL),
    "environment": lambda name: os.environ.get(name, "absent"),
    "limit": _raise_limit,
    "hold": _hold,
    "ask": _ask,
    "ask-nonsense": _ask_nonsense,
    "fail": lambda name: (_ for _ in ()).throw(
        {"ours": DamagedSource("text of ours"), "foreign": KeyError("text of the file")}[name]
    ),
    "deep": lambda _: do("deep"),
}


class HostileSource:
    """Opens, and on reading does what the file says; the deed's result is the item "result"."""

    def __init__(self, spec: SourceSpec) -> None:
        self.spec = spec
        path = spec.paths[0]
        if is_url(path):
            _address.append(path)
            (content,) = below(path).fetch([("deed", 0, None)])
        else:
            content = Path(path).read_bytes()
        self._deed = content.removeprefix(MAGIC).decode()
        if self._deed.startswith("on-open "):
            self._deed = do(self._deed.removeprefix("on-open "))
        self.info = ImageInfo(
            name="hostile", axes=("y", "x"), shape=(64, 64), dtype=np.dtype(np.uint16)
        )

    def read(self, box: Box) -> np.ndarray:
        do(self._deed)
        if _held:
            return _Holding(box.shape)
        y, x = np.ogrid[box.slices]
        return (y * 100 + x).astype(np.uint16)

    def read_mask(self, box: Box) -> np.ndarray:
        return np.full(box.shape, 255, np.uint8)

    def source_items(self) -> Iterator[tuple[str, bytes]]:
        yield "result", do(self._deed).encode()

    def fingerprint(self) -> dict[str, Any]:
        return {"file": self.spec.paths[0]}

    def close(self) -> None:
        pass


class _Holding(np.ndarray):
    """Samples that stay mapped: whoever copies them finds its memory mapped once more."""

    def __new__(cls, shape: tuple[int, ...]) -> _Holding:
        for number in range(3, 100):
            try:
                if "samples" in os.readlink(f"/proc/self/fd/{number}"):
                    _held.append(mmap.mmap(number, 0))
            except OSError:
                pass
        return np.zeros(shape, np.uint16).view(cls)


def _lie(about: str) -> FileImages:
    image = FileImage(kind="hostile")
    return {
        "name": FileImages(images=(replace(image, options={"name": "/home/u/evil"}),)),
        "ending": FileImages(images=(replace(image, ending="/../../x"),)),
        "kind": FileImages(images=(replace(image, kind="dicom"),)),
        "member": FileImages(member=SourceSpec(kind="hostile", paths=("/etc/passwd",))),
        "companions": FileImages(companions=(RemoteFile("s3://other/key", 1, "v"),)),
        "problem": FileImages(problem=["no", "text"]),
        "format": FileImages(images=(image,) * 70_000),
    }[about]


class _Hostile(Format):
    kinds = ("hostile",)
    names = ("hostile files",)

    def sniff(self, file: Candidate) -> Certainty:
        return Certainty.MARKED if file.head.startswith(MAGIC) else Certainty.NONE

    def images(self, file: Candidate) -> FileImages:
        deed = file.stream.read().decode().removeprefix(MAGIC.decode())
        if deed.startswith("lie "):
            return _lie(deed.removeprefix("lie "))
        if deed.startswith("tell "):
            raise DamagedSource(f"told: {do(deed.removeprefix('tell '))}")
        do(deed)
        return super().images(file)

    def reader_modules(self, paths: Sequence[str]) -> tuple[str, ...]:
        return (__name__,)

    look_modules = (__name__,)

    def open(self, spec: SourceSpec) -> HostileSource:
        return HostileSource(spec)


HOSTILE: Format = _Hostile()
if "tilepress.pipeline.guests.host" in sys.modules:  # a host of guests: their formats are these
    formats.FORMATS = (*formats.FORMATS, HOSTILE)
