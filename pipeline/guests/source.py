"""An image that a guest reads: its samples come through shared memory."""

from __future__ import annotations

import fcntl
import math
import mmap
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from tilepress.codecs.passed.families import FAMILIES
from tilepress.errors import SourceError
from tilepress.pipeline.guests import budget
from tilepress.pipeline.guests.budget import Budget
from tilepress.pipeline.guests.client import Guest
from tilepress.pipeline.image.fingerprint import bytes_of
from tilepress.pipeline.image.grid import Box
from tilepress.pipeline.image.info import ImageInfo, Level
from tilepress.pipeline.image.source import SourceSpec
from tilepress.pipeline.image.streams import Streams
from tilepress.pipeline.privacy.keyed import Replacements
from tilepress.pipeline.storage.path import is_url

__all__ = ["GuestSource", "Limit", "readable"]

MAX_FILES_BY_NAME = 4096
"""Files that a guest is allowed one by one; of more, their folders."""

MAX_WAITING = 2
"""Guests that wait to have their image opened again."""

Limit = Callable[[int], Budget]
"""What a request may use, by the bytes of the files that it is about."""


class GuestSource:
    """A source in a guest. Not thread-safe."""

    def __init__(self, spec: SourceSpec, modules: Sequence[str], *, whole_folders: bool) -> None:
        """Open it; raises SourceError.

        ``modules`` are those that open it; with ``whole_folders`` it may read all that lies beside
        its files: what says more of them is found there.
        """
        self._spec, self._modules = spec, tuple(modules)
        self._whole_folders = whole_folders
        on_disk = [path for path in spec.paths if not is_url(path)]
        self._readable = readable(on_disk, whole_folders=whole_folders)
        self._bytes = bytes_of(spec.paths)
        self._guest: Guest | None = None
        self._key: tuple[object, ...] = ()
        """What the guest is known by while it waits: the very files that it may read."""
        self._info = self._opened()

    @property
    def info(self) -> ImageInfo:
        return self._info

    @property
    def spec(self) -> SourceSpec:
        return self._spec

    def read(self, box: Box) -> npt.NDArray[Any]:
        return self.read_level(0, box)

    def read_level(self, level: int, box: Box) -> npt.NDArray[Any]:
        return self._samples("read", box, self._info.dtype, level)

    def read_mask(self, box: Box) -> npt.NDArray[np.uint8]:
        return self._samples("read_mask", box, np.dtype(np.uint8))

    def streams(self, box: Box) -> Streams | None:
        """Return the streams of a box as the guest found them: whoever codes them compares."""
        return self.level_streams(0, box)

    def level_streams(self, level: int, box: Box) -> Streams | None:
        length = math.prod(box.shape) * self._info.dtype.itemsize

        def limit(size: int) -> Budget:
            return budget.to_read(self._info, self._spec, size, length)

        request = {"do": "streams", "level": level, "start": box.start, "stop": box.stop}
        found = self._ask(request, limit)
        try:
            return None if found is None else _checked_streams(Streams(**found))
        except (TypeError, ValueError):
            raise self._nonsense() from None

    def source_items(self) -> Iterator[tuple[str, bytes]]:
        yield from self._items({"do": "items"})

    def identifiers(self) -> list[tuple[str, str]] | None:
        """Return what is to be replaced in a de-identified image; see ``privacy.keyed``.

        None: nothing, whatever the files hold, and ``source_items`` are as they should be.
        """
        found = self._ask({"do": "identifiers"}, self._limit_of_items)
        try:
            return None if found is None else [(str(what), str(text)) for what, text in found]
        except (TypeError, ValueError):
            raise self._nonsense() from None

    def replaced_items(self, replacements: Replacements) -> Iterator[tuple[str, bytes]]:
        """Yield the items of a de-identified image, with replacements for its identifiers."""
        yield from self._items({"do": "replaced items", "replacements": replacements})

    def _items(self, request: dict[str, Any]) -> Iterator[tuple[str, bytes]]:
        self._ask(request, self._limit_of_items)
        while (item := self._ask({"do": "next item"}, self._limit_of_items)) is not None:
            name, content = item
            yield str(name), bytes(content)

    def _limit_of_items(self, size: int) -> Budget:
        whole = math.prod(self._info.shape) * self._info.dtype.itemsize
        limit = budget.to_read(self._info, self._spec, size, min(whole, size))
        headers = budget.to_open(self._spec, size)  # of every file one
        return replace(limit, cpu_s=max(limit.cpu_s, headers.cpu_s))

    def _nonsense(self) -> SourceError:
        return SourceError(f"reading {self._spec.paths[0]}: its reader answered nonsense")

    def fingerprint(self) -> dict[str, Any]:
        return dict(self._ask({"do": "fingerprint"}, self._limit_to_open))

    def close(self) -> None:
        """Let the guest close the image; it waits for a while, in case it is opened again."""
        guest, self._guest = self._guest, None
        if guest is not None and guest.is_open:
            try:
                guest.ask({"do": "close"}, budget.to_look(0), "closing", self._spec.paths[0])
            except (SourceError, OSError):
                guest.close()
                return
            _keep_waiting(self._key, guest)

    def _opened(self) -> ImageInfo:
        """Open the image in a guest: a new one, or the one that had it open last."""
        request = {"do": "open", "spec": self._spec}
        self._key = (self._spec.kind, *map(_identity, self._spec.paths))
        self._guest = _taken_back(self._key)
        if self._guest is None:
            self._guest = Guest(self._modules, self._readable, scratch=self._whole_folders)
        try:
            return _checked(self._asked(request, self._limit_to_open, "opening"), self._spec)
        except BaseException:
            self._guest.close()
            raise

    def _limit_to_open(self, size: int) -> Budget:
        return budget.to_open(self._spec, size)

    def _samples(
        self, what: str, box: Box, dtype: np.dtype[Any], level: int = 0
    ) -> npt.NDArray[Any]:
        length = math.prod(box.shape) * dtype.itemsize

        def limit(size: int) -> Budget:
            return budget.to_read(self._info, self._spec, size, length)

        request = {"do": what, "level": level, "start": box.start, "stop": box.stop, "dtype": dtype}
        shared = _SharedBytes(length)
        try:
            self._ask(request, limit, shared.file)
            return np.frombuffer(shared.taken(), dtype).reshape(box.shape)
        except BlockingIOError:
            self.close()
            text = "its reader holds on to samples that it has given"
            raise SourceError(f"reading {self._spec.paths[0]}: {text}") from None
        finally:
            shared.close()

    def _ask(self, request: dict[str, Any], limit: Limit, file: int | None = None) -> Any:  # noqa: ANN401
        if self._guest is None or not self._guest.is_open:  # the last one died of a request
            info = self._opened()
            if (info.shape, info.dtype) != (self._info.shape, self._info.dtype):
                raise SourceError(f"opening {self._spec.paths[0]}: it changed while it was read")
        return self._asked(request, limit, "reading", file)

    def _asked(
        self, request: dict[str, Any], limit: Limit, doing: str, file: int | None = None
    ) -> Any:  # noqa: ANN401  # data
        assert self._guest is not None, "begun before"
        path = self._spec.paths[0]
        return self._guest.ask(request, limit(self._bytes), doing, path, file=file)


_waiting: OrderedDict[tuple[object, ...], Guest] = OrderedDict()
"""Guests by the image that they had open, the latest last: it is opened again to seal its store.

A guest never gets another image: what one file has done to it would be done to the other.
"""


def _keep_waiting(key: tuple[object, ...], guest: Guest) -> None:
    with _waiting_lock:
        _waiting[key] = guest
        surplus = [_waiting.popitem(last=False)[1] for _ in range(len(_waiting) - MAX_WAITING)]
    for one in surplus:
        one.close()


def _taken_back(key: tuple[object, ...]) -> Guest | None:
    with _waiting_lock:
        return _waiting.pop(key, None)


def _forget_waiting() -> None:
    """Leave guests to the process that they are those of: this one was forked from it."""
    global _waiting_lock
    _waiting_lock = threading.Lock()
    _waiting.clear()


_waiting_lock = threading.Lock()
os.register_at_fork(after_in_child=_forget_waiting)


class _SharedBytes:
    """Memory that a guest writes, and that cannot change any more once it is taken."""

    def __init__(self, length: int) -> None:
        self._length = length
        self.file = os.memfd_create("samples", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.ftruncate(self.file, length)
        fcntl.fcntl(self.file, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)

    def taken(self) -> mmap.mmap:
        """Return what was written. Raises BlockingIOError where the guest may still write."""
        try:
            fcntl.fcntl(self.file, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL)
        except OSError as error:
            raise BlockingIOError from error
        return mmap.mmap(
            self.file, self._length, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE
        )

    def close(self) -> None:
        os.close(self.file)


def _identity(path: str) -> tuple[object, ...]:
    try:
        found = os.stat(path)
    except OSError:
        return (path,)
    # numbers of inodes are given again at once: the time of the last change of the inode is not
    return path, found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def readable(paths: Sequence[str], *, whole_folders: bool = False) -> list[str]:
    """Return what a guest is allowed to read of files: themselves, or their folders."""
    if whole_folders or len(paths) > MAX_FILES_BY_NAME:
        both = [*paths, *map(os.path.realpath, paths)]  # a link's target has its own companions
        return sorted({os.path.dirname(path) for path in both})
    return list(paths)


def _checked(info: object, spec: SourceSpec) -> ImageInfo:
    """Return what a guest says of an image if it has the types that everybody relies upon."""
    if (
        isinstance(info, ImageInfo)
        and isinstance(info.name, str)
        and isinstance(info.dtype, np.dtype)
        and len(info.axes) == len(info.shape) >= 2
        and all(type(n) is int and n > 0 for n in info.shape)
        and all(_is_level(level, info) for level in info.levels)
    ):
        return info
    raise SourceError(f"opening {spec.paths[0]}: its reader answered nonsense")


def _is_level(level: object, info: ImageInfo) -> bool:
    return (
        isinstance(level, Level)
        and len(level.shape) == len(info.shape)
        and all(type(n) is int and n > 0 for n in level.shape)
    )


def _checked_streams(found: Streams) -> Streams:
    """Return streams of the types that they should have; raises ValueError for others."""
    numbers = (found.rows, found.columns, found.height, found.width)
    is_sound = all(type(number) is int and number > 0 for number in numbers)
    streams = tuple(found.streams)
    parts = (found.tables, *(one for one in streams if one is not None))
    is_sound = is_sound and found.family in ("jpeg", *FAMILIES) and type(found.lossless) is bool
    if not is_sound or any(type(part) is not bytes for part in parts):
        raise ValueError("no streams")
    if not streams or len(streams) % (found.rows * found.columns):
        raise ValueError("streams that cover no box")
    return replace(found, streams=streams)
