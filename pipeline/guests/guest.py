"""What a guest does: open one image, or look at files, and answer until its connection closes."""

from __future__ import annotations

import mmap
import os
import socket
import tempfile
import threading
from collections.abc import Iterator, Sequence
from dataclasses import fields
from typing import Any

import numpy as np
import numpy.ma  # np.median would import it, in every guest again

from tilepress.pipeline import formats
from tilepress.pipeline.guests import box as sandbox
from tilepress.pipeline.guests import wire
from tilepress.pipeline.guests.told import raise_told, told
from tilepress.pipeline.image.format import Candidate, FileImages
from tilepress.pipeline.image.grid import Box
from tilepress.pipeline.image.source import LevelSource, SourceSpec, TileSource, read_level
from tilepress.pipeline.image.streams import StreamSource
from tilepress.pipeline.storage import ranges
from tilepress.pipeline.storage.below import Wanted, use_below
from tilepress.pipeline.storage.path import is_url
from tilepress.pipeline.storage.regular import given, open_regular

__all__ = ["serve"]


def serve(link: socket.socket, libraries: Sequence[str]) -> None:
    """Close the box, and answer every request that comes.

    ``libraries`` are the folders of Python and its libraries.
    """
    try:
        first = wire.receive(link)
        scratch = first["scratch"]
        os.environ.update(first["environment"])
        tempfile.tempdir = scratch
        sandbox.close(first["readable"], libraries, scratch)
        wire.send(link, {})
        outside = _Outside(link)
        guest = _Guest(outside)
        while True:
            request, file = wire.receive_with_file(link)
            outside.listens(True)
            try:
                answer = {"is": guest.answer(request, file)}
            except Exception as error:  # a foreign parser's, whatever it is
                answer = {"raised": told(error)}
            finally:
                if file is not None:
                    os.close(file)
            outside.listens(False)
            wire.send(link, answer)
    except (EOFError, OSError):
        return


class _Outside:
    """The process outside: while it waits for an answer, it can be asked for bytes."""

    def __init__(self, link: socket.socket) -> None:
        self._link, self._lock, self._listens = link, threading.Lock(), False

    def listens(self, now: bool) -> None:  # it does or it does not
        with self._lock:  # not in the middle of what a thread of a failed request still asks
            self._listens = now

    def fetch(self, what: str, *wanted: object) -> Any:  # noqa: ANN401  # data
        """Return what is wanted of an object, or objects; ``what`` is told in messages."""
        with self._lock:
            if not self._listens:
                raise EOFError(what)
            wire.send(self._link, {"fetch": list(wanted)})
            answer = wire.receive(self._link)
        if "raised" in answer:
            raise_told(answer["raised"], "reading", what, 0)
        return answer["fetched"]


class _Guest:
    """The image that is open, and what was asked of it last."""

    def __init__(self, outside: _Outside) -> None:
        self._outside = outside
        self._source: TileSource | None = None
        self._items: Iterator[tuple[str, bytes]] = iter(())

    def answer(self, request: dict[str, Any], file: int | None) -> Any:  # noqa: ANN401  # data
        match request["do"]:
            case "look":
                return self._look(request, file)
            case "open":
                self._source = self._open(request["spec"])
                return self._source.info
            case "read" | "read_mask" as what:
                assert file is not None, "samples are written to it"
                self._read(what, request["level"], _box(request), request["dtype"], file)
                return None
            case "streams":
                return self._streams(request["level"], _box(request))
            case "items":
                self._items = self._opened.source_items()
                return None
            case "identifiers":
                source: Any = self._opened
                return source.identifiers() if hasattr(source, "identifiers") else None
            case "replaced items":
                replacing: Any = self._opened
                self._items = replacing.replaced_items(request["replacements"])
                return None
            case "next item":
                return next(self._items, None)
            case "close":
                self._items = iter(())
                self._opened.close()
                self._source = None
                return None
            case "fingerprint":
                return self._opened.fingerprint()
        raise ValueError(request["do"])

    def _open(self, spec: SourceSpec) -> TileSource:
        if is_url(spec.paths[0]):
            use_below(spec.paths[0], _FetchedObjects(spec.paths[0], self._outside))
        found = formats.format_of_kind(spec.kind)
        assert found is not None, "the kind was known before"
        return found.open(spec)

    @property
    def _opened(self) -> TileSource:
        assert self._source is not None, "opened before"
        return self._source

    def _streams(self, level: int, box: Box) -> dict[str, Any] | None:
        source = self._opened
        if level > 0:
            found = source.level_streams(level, box) if isinstance(source, LevelSource) else None
        else:
            found = source.streams(box) if isinstance(source, StreamSource) else None
        return None if found is None else {f.name: getattr(found, f.name) for f in fields(found)}

    def _read(self, what: str, level: int, wanted: Box, dtype: np.dtype[Any], file: int) -> None:
        """Write samples into a file of memory, which is not held open or mapped afterwards."""
        source = self._opened
        is_mask = what == "read_mask"
        samples = source.read_mask(wanted) if is_mask else read_level(source, level, wanted)
        if samples.shape != wanted.shape or samples.dtype != dtype:
            text = f"{samples.dtype} of shape {samples.shape}, want {dtype} of {wanted.shape}"
            raise AssertionError(text)
        with mmap.mmap(file, samples.nbytes) as shared:
            target = np.frombuffer(shared, dtype).reshape(wanted.shape)
            target[...] = samples
            del target

    def _look(self, request: dict[str, Any], file: int | None) -> tuple[str, FileImages] | None:
        """Say of what format a file is, by the format's first kind, and what it holds."""
        remote = request["remote"]
        if remote is None or not is_url(request["path"]):
            assert file is not None, "it was opened outside"
            with given(request["path"], file), open_regular(request["path"]) as stream:
                return _looked(_candidate(request, stream))
        source = _FetchedBytes(remote, self._outside)
        ranges.use_reader(source)
        return _looked(_candidate(request, source.stream()))


def _box(request: dict[str, Any]) -> Box:
    return Box(request["start"], request["stop"])


_FIELDS = ("path", "size", "head", "remote", "neighbours", "drivers", "by_name")


def _candidate(request: dict[str, Any], stream: Any) -> Candidate:  # noqa: ANN401  # a file
    fields = {name: request[name] for name in _FIELDS}
    return Candidate(stream=stream, **fields)


def _looked(file: Candidate) -> tuple[str, FileImages] | None:
    found, content = formats.look_at(file)
    return None if found is None else (found.kinds[0], content)


class _FetchedBytes(ranges.RemoteBytes):
    """The bytes of an object, which the process outside fetches: this one has no network."""

    def __init__(self, file: ranges.RemoteFile, outside: _Outside) -> None:
        super().__init__(file)
        self._outside = outside

    def _fetch(self, start: int, end: int) -> bytes:
        data: bytes = self._outside.fetch(self.file.url, self.file.url, start, end)
        return data


class _FetchedObjects:
    """Objects below an address, which the process outside fetches."""

    def __init__(self, url: str, outside: _Outside) -> None:
        self._url, self._outside = url, outside

    def fetch(self, wanted: Sequence[Wanted]) -> list[bytes | None]:
        found: list[bytes | None] = self._outside.fetch(self._url, *wanted)
        return found
