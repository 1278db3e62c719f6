"""Errors as data, on their way from a guest to who asked it, or back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from tilepress.errors import (
    SourceError,
    SourceTooLarge,
    TilepressError,
    UnforeseenSource,
    describe_error,
)
from tilepress.pipeline.guests.budget import MEMORY_VARIABLE

__all__ = ["raise_told", "told"]


def told(error: Exception) -> list[Any]:
    """Return the class and text of an error; of a foreign one no more than its type and place."""
    if isinstance(error, TilepressError):
        return ["ours", type(error).__name__, [str(arg) for arg in error.args]]
    if isinstance(error, OSError) and error.errno is not None:
        return ["system", error.errno, error.strerror or "", str(error.filename or "")]
    if isinstance(error, MemoryError):
        return ["memory"]
    return ["foreign", describe_error(error)[1].removeprefix("running a task: ")]


def raise_told(what: Sequence[Any], doing: str, path: str, memory_bytes: int) -> None:
    """Raise the error that was told.

    A TilepressError is raised again as what it was, and an OSError. All else is a SourceError that
    names ``path``.
    """
    match what:
        case ["ours", str(name), [*args]]:
            raise _OURS.get(name, SourceError)(*map(str, args))
        case ["system", int(number), str(text), str(file)]:
            raise OSError(number, text, file or None)
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


def _tree(kind: type[TilepressError]) -> Iterator[type[TilepressError]]:
    yield kind
    for below in kind.__subclasses__():
        yield from _tree(below)


_OURS = {kind.__name__: kind for kind in _tree(TilepressError)}
