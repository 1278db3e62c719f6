"""Every error that tilepress raises, as one tree.

    TilepressError
    ├── UsageError               the request itself is wrong (exit code 2)
    ├── SourceError              an input cannot be read
    │   ├── NoSuchSource         it names nothing that is there
    │   ├── UnsupportedSource    it is an image of a kind that we do not take, or not an image
    │   ├── DamagedSource        it is truncated or contradicts itself
    │   ├── SourceTooLarge       there is no memory for it
    │   ├── ExcludedSource       it is left out on purpose: a label where images are de-identified
    │   └── UnforeseenSource     an error of a library, or of ours, that nobody foresaw
    ├── CodecError               arrays <-> bytes
    │   ├── InvalidRecord        the bytes are not a record
    │   │   └── ChecksumMismatch the bytes or the decoded samples fail their checksum
    │   ├── UnsupportedFormat    a record or configuration of a newer or unknown format
    │   ├── UnsupportedArray     this codec cannot take this dtype, shape or option
    │   ├── TooMuchMemory        coding one chunk takes more memory than is allowed or there is
    │   └── ModelError           weights are missing, damaged or not those that the data name
    └── StoreError               a Zarr store on disk
        ├── UnsealedStore        writing has not finished; run the same command again
        ├── DamagedStore         something is missing or fails its checksum
        └── DestinationConflict  the destination holds something else

A message has three parts: what was being done, what was found, where. Never pixels or patient text.
``kind`` is stable: user code may match on it. New kinds are appended; old ones never change.
"""

from __future__ import annotations

import errno
import traceback
from pathlib import Path
from typing import ClassVar

__all__ = [
    "NO_ROOM",
    "ChecksumMismatch",
    "CodecError",
    "DamagedSource",
    "DamagedStore",
    "DestinationConflict",
    "ExcludedSource",
    "FileInTheWay",
    "InvalidRecord",
    "ModelError",
    "NoSuchSource",
    "SourceError",
    "SourceTooLarge",
    "StoreError",
    "TaskFailed",
    "TilepressError",
    "TooMuchMemory",
    "UnforeseenSource",
    "UnsealedStore",
    "UnsupportedArray",
    "UnsupportedFormat",
    "UnsupportedSource",
    "UsageError",
    "describe_error",
    "failure_of",
]

NO_ROOM = "no-room"
"""Kind of an error of storage that takes nothing more, whatever comes next."""

_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})


class TilepressError(Exception):
    """Base of every error that tilepress raises on purpose."""

    kind: ClassVar[str] = "error"


class UsageError(TilepressError):
    """The request cannot be carried out as it was given; nothing was done."""

    kind = "usage"


class SourceError(TilepressError):
    """An input image cannot be read."""

    kind = "source"


class NoSuchSource(SourceError):
    """An input names no file, or as a pattern matches no image."""


class UnsupportedSource(SourceError):
    """An input is not an image, or an image of a kind that tilepress does not take."""

    kind = "unsupported-source"


class ExcludedSource(SourceError):
    """An image is left out on purpose, as what was asked for wants it."""

    kind = "excluded"


class DamagedSource(SourceError):
    """An input image is truncated or contradicts itself."""

    kind = "damaged-source"


class SourceTooLarge(SourceError):
    """An input needs more memory than there is."""

    kind = "memory"


class UnforeseenSource(SourceError):
    """What came up while an input was looked at is no error that anybody thought of."""

    kind = "internal"


class CodecError(TilepressError):
    """Arrays could not be turned into bytes, or bytes into arrays."""

    kind = "codec"


class InvalidRecord(CodecError):
    """The bytes are not a tilepress record."""

    kind = "invalid-record"


class ChecksumMismatch(InvalidRecord):
    """The bytes, or the samples decoded from them, do not match their checksum."""

    kind = "checksum"


class UnsupportedFormat(CodecError):
    """A record or codec configuration needs a newer tilepress, or one that never was."""

    kind = "unsupported-format"


class UnsupportedArray(CodecError):
    """The codec does not take this dtype, shape or combination of options."""

    kind = "unsupported-array"


class TooMuchMemory(CodecError):
    """Coding one chunk takes more memory than the caller allows, or than the machine has."""

    kind = "memory"


class ModelError(CodecError):
    """Weights are missing, damaged, or not the ones that the data name."""

    kind = "model"


class StoreError(TilepressError):
    """A store cannot be read or written."""

    kind = "store"


class UnsealedStore(StoreError):
    """The store is still being written, or its writer was stopped: run the same command again."""

    kind = "unsealed-store"


class DamagedStore(StoreError):
    """A part of a sealed store is missing or fails its checksum."""

    kind = "damaged-store"


class DestinationConflict(StoreError):
    """The destination exists and holds something else than what this run would write."""

    kind = "destination-conflict"


class FileInTheWay(DestinationConflict):
    """A file of that name exists: ``path``."""

    def __init__(self, message: str, path: str = "") -> None:
        super().__init__(message)
        self.path = path


class TaskFailed(Exception):
    """A task raised what is no error of ours; this is all that is told of it."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(kind, message)
        self.kind = kind
        self.message = message

    def __str__(self) -> str:
        return self.message


def failure_of(doing: str, error: Exception) -> SourceError:
    """Return the failure of one input that an error amounts to, whichever error it is.

    What is not the input's fault is raised again: a full disk, or a request that makes no sense.
    """
    if isinstance(error, SourceError):
        return error
    kind, message = describe_error(error)
    if kind == NO_ROOM or isinstance(error, TilepressError):
        raise error
    if isinstance(error, OSError):
        return SourceError(f"{doing}: {error.strerror or type(error).__name__}")
    found = SourceTooLarge if isinstance(error, MemoryError) else UnforeseenSource
    return found(f"{doing}: {message.partition(': ')[2]}")


def describe_error(error: Exception) -> tuple[str, str]:
    """Return the stable kind of an error and one line about it.

    Of an error that is not ours only the type and the place are told: its text may hold what the
    source holds, patient text included.
    """
    if isinstance(error, TaskFailed):
        return error.kind, error.message
    if isinstance(error, TilepressError):
        return error.kind, " ".join(str(error).split())
    if isinstance(error, OSError):
        what = f"reading or writing files: {error.strerror or type(error).__name__}"
        if error.errno in _NO_ROOM:
            return NO_ROOM, what  # whichever file it was
        return "storage", f"{what}: {error.filename}" if error.filename else what
    if isinstance(error, MemoryError):
        return "memory", "running a task: out of memory; use fewer workers or a smaller tile"
    frame = traceback.extract_tb(error.__traceback__)[-1:]
    place = f" at {Path(frame[0].filename).name}:{frame[0].lineno}" if frame else ""
    return "internal", f"running a task: unexpected {type(error).__name__}{place}; please report it"
