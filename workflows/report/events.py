"""Write what happens in a run to a file, one JSON object per line, for programs to follow.

Every line has ``time`` (RFC 3339, UTC), ``event`` and ``run`` (eight hexadecimal digits, the same
in all lines of one run). Sizes are in bytes, seconds are elapsed ones.

    event          further fields
    run-started    version (of this table, 1), tilepress, options
    discovered     files, images, done (whether these are all)
    workers        workers
    image-started  source, store, axes, shape, dtype, raw_bytes, shards; not of small images
    shard-done     store, shard, raw_bytes, stored_bytes, reused, stages
    image-done     the fields of an image in the report
    failed         source, kind, message, shard: those of a failure in the report
    files-kept     files, bytes, written: of files that are no images, when all are in the archive
    note           text
    run-done       ok, written, unchanged, failed, raw_bytes, stored_bytes, seconds, stages
    interrupted    the same, by then; the same command goes on from there
    run-failed     the same, with kind and message of the error that ended the run

``store``, ``shard`` and ``stages`` may be null. ``stages`` has read_s, code_s, check_s, write_s,
read_bytes and written_bytes. ``discovered`` is told every few seconds and when it is done. A run
that ends without one of the last three events was killed. Events and fields are only ever added;
readers pass over those that they do not know. There is nothing of an image in the lines but its
geometry and type, and of the source only its path.
"""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tilepress.errors import UsageError, describe_error
from tilepress.pipeline.archive.outcome import ImageFailure, ImageResult
from tilepress.pipeline.archive.plan import ImagePlan
from tilepress.pipeline.archive.stages import Stages
from tilepress.workflows.report.report import check_writable_file, timestamp, without_credentials
from tilepress.workflows.report.telling import (
    Discovered,
    Event,
    Failed,
    FilesKept,
    ImageDone,
    ImageStarted,
    Note,
    ShardStored,
    Workers,
)

__all__ = ["EVENTS_VERSION", "EventLog", "read_events"]

EVENTS_VERSION = 1

STANDARD_OUTPUT = "-"

DISCOVERED_EVERY_S = 5.0
"""Seconds between two events that only say how far the search is."""


class EventLog:
    """A sink of events. A failure to write is raised at once and by every later call.

    Parameters
    ----------
    path :
        File to append to, or "-" for standard output. Runs may share a file, one after another or
        at the same time on one machine: every line is written in one piece.
    options :
        What the command was asked for; credentials are left out.

    Raises UsageError where the file cannot be opened. Lines reach the file system one by one, so
    that a kill cuts the last one at most. What an earlier kill has cut, is ended here.
    """

    def __init__(self, path: Path | str, options: Mapping[str, Any] | None = None) -> None:
        self._path = path
        self._options = without_credentials(options or {})
        self._run = secrets.token_hex(4)
        self._error: OSError | None = None
        self._started = self._discovered = float("-inf")
        self._counts = {"written": 0, "unchanged": 0, "failed": 0, "raw_bytes": 0}
        self._counts["stored_bytes"] = 0
        self._stages = Stages()
        self._open: dict[str, str] = {}
        """Sources of the images that are being written, by store."""
        self._file: int | None = _open(path)
        """None once the run has ended: what is told then is told to others alone."""

    def tell(self, event: Event) -> None:
        match event:
            case Note(text):
                self._write("note", text=text)
            case Workers(count):
                self._write("workers", workers=count)
            case Discovered():
                self._discover(event)
            case ImageStarted(plan):
                self._start(plan)
            case ShardStored():
                self._store_shard(event)
            case ImageDone(result):
                self._finish(result)
            case Failed(failure):
                self._fail(failure)
            case FilesKept(files, total, written):
                self._write("files-kept", files=files, bytes=total, written=written)

    def _discover(self, event: Discovered) -> None:
        now = time.monotonic()
        if event.done or now - self._discovered >= DISCOVERED_EVERY_S:
            self._discovered = now
            self._write("discovered", files=event.files, images=event.images, done=event.done)

    def _start(self, plan: ImagePlan) -> None:
        self._open[plan.store] = plan.source_name
        self._write(
            "image-started",
            source=plan.source_name,
            store=plan.store,
            axes=plan.info.axes,
            shape=plan.info.shape,
            dtype=plan.info.dtype.name,
            raw_bytes=plan.raw_bytes,
            shards=plan.total_shards,
        )

    def _store_shard(self, event: ShardStored) -> None:
        if event.stages is not None:
            self._stages += event.stages
        self._write(
            "shard-done",
            store=event.store,
            shard=event.shard,
            raw_bytes=event.raw_bytes,
            stored_bytes=event.stored_bytes,
            reused=event.reused,
            stages=None if event.stages is None else event.stages.to_json(),
        )

    def _finish(self, result: ImageResult) -> None:
        self._counts[result.status] += 1
        self._counts["raw_bytes"] += result.raw_bytes
        self._counts["stored_bytes"] += result.stored_bytes
        if result.stages is not None and result.store not in self._open:
            self._stages += result.stages  # a small image: its shards had none
        self._open.pop(result.store, None)
        self._write("image-done", **result.to_json())

    def _fail(self, failure: ImageFailure) -> None:
        self._counts["failed"] += 1
        for store in [name for name, source in self._open.items() if source == failure.source]:
            del self._open[store]
        self._write("failed", **failure.to_json())

    def __enter__(self) -> Self:
        import tilepress

        self._started = time.monotonic()
        self._write(
            "run-started",
            version=EVENTS_VERSION,
            tilepress=tilepress.__version__,
            options=self._options,
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if self._error is None:
                self._end(error)
            elif error is None:  # somebody took it for a failure of an image
                raise self._error
        finally:
            file, self._file = self._file, None
            if file is not None:
                os.close(file)

    def _end(self, error: BaseException | None) -> None:
        totals = {
            "ok": error is None and not self._counts["failed"],
            **self._counts,
            "seconds": round(time.monotonic() - self._started, 3),
            "stages": self._stages.to_json(),
        }
        if error is None:
            self._write("run-done", **totals)
        elif isinstance(error, Exception):
            kind, message = describe_error(error)
            self._write("run-failed", **totals, kind=kind, message=message)
        else:
            self._write("interrupted", **totals)

    def _write(self, event: str, **fields: object) -> None:
        if self._file is None:
            return
        if self._error is not None:
            raise self._error
        line = {"time": timestamp(), "event": event, "run": self._run, **fields}
        data = json.dumps(line, separators=(",", ":"), default=str).encode("ascii") + b"\n"
        try:
            while data:
                data = data[os.write(self._file, data) :]
        except OSError as error:
            text = error.strerror or type(error).__name__
            self._error = OSError(
                error.errno,
                f"writing events (run the same line again to go on): {text}",
                str(self._path),
            )
            raise self._error from error


def read_events(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the events of a file, as a stream; lines that a kill or full disk cut are passed over.

    The file may be written meanwhile: what is there is read.
    """
    with path.open("rb") as file:
        for line in file:
            try:
                event = json.loads(line)
            except ValueError:
                continue
            if isinstance(event, dict) and "event" in event:
                yield event


def _open(path: Path | str) -> int:
    """Open a log to append to; end a line that was cut."""
    if str(path) == STANDARD_OUTPUT:
        return os.dup(1)  # past whatever else writes to sys.stdout
    path = Path(path)
    check_writable_file(path, "writing events")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
        if _is_cut(path):
            os.write(file, b"\n")
    except OSError as error:
        text = error.strerror or type(error).__name__
        raise UsageError(f"writing events to {path}: {text}") from error
    return file


def _is_cut(path: Path) -> bool:
    """Whether the last line of a file has no end."""
    if not path.is_file() or not path.stat().st_size:
        return False
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"
