"""What all rooms of the command line share: exit codes, error lines, consoles, common options."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any, Protocol, TypeVar

import typer

from tilepress.pipeline.storage.text import printable

if TYPE_CHECKING:
    from rich.console import Console

__all__ = [
    "EXIT_BUG",
    "EXIT_CANNOT_TELL",
    "EXIT_DONE",
    "EXIT_FAILED",
    "EXIT_USAGE",
    "PIPE_WIDTH",
    "Json",
    "complain",
    "open_console",
    "say",
    "tell",
]

EXIT_DONE, EXIT_FAILED, EXIT_USAGE, EXIT_CANNOT_TELL = 0, 1, 2, 3

EXIT_BUG = 70
"""An error that nobody expected: EX_SOFTWARE of sysexits.h, so that no other code is mistaken."""

PIPE_WIDTH = 160
"""Columns of a table that no terminal shows."""

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


class Telling(Protocol):
    """What became of one store."""

    def lines(self) -> list[str]: ...

    def to_json(self) -> dict[str, Any]: ...


T = TypeVar("T", bound=Telling)


def complain(text: str) -> None:
    """Print one line about what went wrong."""
    print(f"tilepress: {printable(' '.join(text.split()))}", file=sys.stderr)


def say(text: str) -> None:
    """Print one line at once, whatever names of files are in it."""
    print(printable(text), flush=True)


def tell(results: Iterable[T], *, as_json: bool) -> list[T]:
    """Print the lines of each result as it comes, or all of them as one JSON list; return them."""
    told = []
    for one in results:
        told.append(one)
        for line in () if as_json else one.lines():
            say(line)
    if as_json:
        print(json.dumps([one.to_json() for one in told], indent=2))
    return told


def open_console(*, stderr: bool = False, pipe_width: int = PIPE_WIDTH) -> Console:
    """Return a console as wide as the terminal, or as ``pipe_width`` where there is none."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    return Console(stderr=stderr, width=None if stream.isatty() else pipe_width)
