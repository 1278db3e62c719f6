"""Remember below an exported archive which stores are written, so that a later run goes on.

A line of JSON for every store, before its files are moved to where they belong: so they are known
as ours wherever a run is killed. What is there and is not known as ours is never touched.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tilepress.errors import UsageError
from tilepress.pipeline.image.names import stays_below

__all__ = ["LEDGER", "ExportLedger", "Signature", "signature_of"]

LEDGER = ".tilepress-export"
"""The file's name; only its owner may read it: files that it names may be called after patients."""

COMPANIONS = (".aux.xml", ".msk", ".ovr")
"""Endings of what GDAL writes beside a raster; what the archive kept of it takes its place."""

Signature = tuple[int, int]
"""Size in bytes, -1 of a folder, and time of change in nanoseconds."""


def signature_of(path: Path) -> Signature | None:
    """Return what tells a file or folder from another of its name; None for nothing or a link."""
    try:
        found = path.lstat()
    except (OSError, ValueError):  # a ledger may name what no file is called
        return None
    if stat.S_ISDIR(found.st_mode):
        return -1, found.st_mtime_ns
    return (found.st_size, found.st_mtime_ns) if stat.S_ISREG(found.st_mode) else None


@dataclass(frozen=True, slots=True)
class _Written:
    """What was written of one store."""

    seal: str
    format: str | None
    files: Mapping[str, Signature]


class ExportLedger:
    """The ledger of one folder, locked while a run writes there."""

    def __init__(self, out: Path, handle: int) -> None:
        self._out, self._handle = out, handle
        self._written: dict[str, _Written] = {}
        data = b"".join(iter(lambda: os.read(handle, 2**20), b""))
        for line in data.splitlines():
            # whoever may write to the folder may have written it: any type of error may come
            with contextlib.suppress(Exception):
                self._take(json.loads(line))
        if data and not data.endswith(b"\n"):
            os.write(handle, b"\n")  # a run was killed in the middle of a line

    @classmethod
    @contextlib.contextmanager
    def open(cls, out: Path) -> Iterator[ExportLedger]:
        """Open that of a folder; OSError where there is no way, UsageError where another run is,
        and where something else has its name."""
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
        handle = os.open(out / LEDGER, flags, 0o600)
        try:
            found = os.fstat(handle)
            if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:  # a pipe would never end
                text = f"{LEDGER} is no file of ours; remove it or choose another folder"
                raise UsageError(f"exporting to {out}: {text}")
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UsageError(f"exporting to {out}: another export writes there") from None
            except OSError:
                pass  # the file system has no locks
            yield cls(out, handle)
        finally:
            os.close(handle)

    def is_done(self, store: str, seal: str, wanted: str | None) -> list[Path] | None:
        """Return the files of a store that are all there as they were written; else None."""
        known = self._of(store, seal, wanted)
        if not known or any(not self._is_there(name, mark) for name, mark in known.items()):
            return None
        return [self._out / name for name in known]

    def is_ours(self, store: str, seal: str, wanted: str | None, path: Path) -> bool:
        """Whether a file is what an earlier run wrote of this store, untouched."""
        known = self._of(store, seal, wanted).get(path.relative_to(self._out).as_posix())
        return known is not None and signature_of(path) == known

    def add(
        self, store: str, seal: str, wanted: str | None, files: Sequence[tuple[Path, Signature]]
    ) -> None:
        """Write down what is about to be moved to where it belongs."""
        named = {path.relative_to(self._out).as_posix(): list(mark) for path, mark in files}
        entry = {"store": store, "seal": seal, "format": wanted, "files": named}
        self._take(entry)
        line = json.dumps(entry).encode("ascii") + b"\n"
        while line:
            line = line[os.write(self._handle, line) :]
        os.fsync(self._handle)

    def _take(self, entry: Mapping[str, object]) -> None:
        files = entry["files"]
        assert isinstance(files, Mapping) or files is None
        marks = {str(n): (int(size), int(time)) for n, (size, time) in (files or {}).items()}
        if not all(map(stays_below, marks)):
            return
        wanted = entry["format"]
        known = _Written(str(entry["seal"]), None if wanted is None else str(wanted), marks)
        self._written[str(entry["store"])] = known

    def _of(self, store: str, seal: str, wanted: str | None) -> Mapping[str, Signature]:
        found = self._written.get(store)
        return found.files if found and (found.seal, found.format) == (seal, wanted) else {}

    def _is_there(self, name: str, mark: Signature) -> bool:
        found = signature_of(self._out / name)
        return found == mark or (found is not None and name.endswith(COMPANIONS))
