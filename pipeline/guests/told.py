"""Errors as data, on their way from a guest to who asked it, or back."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from typing import Any

from tilepress.errors import (
    SourceError,
    SourceTooLarge,
    UnforeseenSource,
    describe_error,
)
from tilepress.pipeline.guests.budget import MEMORY_VARIABLE
from tilepress.pipeline.storage.retry import TRANSIENT_ERRORS

__all__ = ["raise_told", "told"]


_OF_DISKS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})


def told(error: Exception) -> list[Any]:
    """Return the class and text of an error; of a foreign one no more than its type and place."""
    if isinstance(error, SourceError):
        text = str(error)
        return ["ours", type(error).__name__, text, _passing(error)]
    if isinstance(error, OSError) and error.errno is not None:
        return ["system", error.errno]
    if isinstance(error, MemoryError):
        return ["memory"]
    return ["foreign", describe_error(error)[1].removeprefix("running a task: ")]


def raise_told(what: Sequence[Any], doing: str, path: str, memory_bytes: int) -> None:
    """Raise the error that was told.

    A SourceError is raised again as what it was, with the error of storage that may pass, if that
    was its cause; so is an OSError. All else is a SourceError that names ``path``: whatever a guest
    says, it is about this one input.
    """
    match what:
        case ["ours", str(name), str(text), number]:
            cause = OSError(number, os.strerror(number)) if number in TRANSIENT_ERRORS else None
            raise _OURS.get(name, SourceError)(text) from cause
        case ["system", int(number)]:
            if number in _OF_DISKS:  # its own: a guest writes nowhere
                raise SourceError(f"{doing} {path}: {os.strerror(number)}")
            raise OSError(number, os.strerror(number), path)
        case ["memory"]:
            raise too_much_memory(doing, path, memory_bytes)
        case ["foreign", str(text)]:
            raise UnforeseenSource(f"{doing} {path}: {' '.join(text.split())[:300]}")
    raise SourceError(f"{doing} {path}: its reader answered nonsense")


def too_much_memory(doing: str, path: str, memory_bytes: int) -> SourceTooLarge:
    return SourceTooLarge(
        f"{doing} {path}: its decoder wanted more than {memory_bytes / 2**30:.1f} GiB of memory; "
        f"if the file is sound, set {MEMORY_VARIABLE} to more GiB"
    )


def _passing(error: BaseException | None) -> int | None:
    """Return the error of storage that another came of, and that may pass (``retried``)."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in TRANSIENT_ERRORS:
            return error.errno
        error = error.__cause__ or error.__context__
    return None


def _tree(kind: type[SourceError]) -> Iterator[type[SourceError]]:
    yield kind
    for below in kind.__subclasses__():
        yield from _tree(below)


_OURS = {kind.__name__: kind for kind in _tree(SourceError)}
