"""The command ``tilepress``: parse the line, call the room that does it, print, set the exit code.

Exit codes: 0 done, 1 some inputs failed or damage was found (each is named), 2 the line makes no
sense, 3 ``verify`` cannot tell, 70 an error that nobody expected (please report it), 130
interrupted (run the same line again to go on; what only looks or measures begins anew).
"""

from __future__ import annotations

import copy
import os
import sys
import traceback
from collections.abc import Callable
from typing import Annotated, Any, NoReturn

import typer

from tilepress.errors import TilepressError, UsageError
from tilepress.workflows.cli import (
    bench,
    cluster,
    demo,
    export,
    find,
    inspect,
    levels,
    models,
    serve,
    write,
)
from tilepress.workflows.cli.console import (
    EXIT_BUG,
    EXIT_DONE,
    EXIT_FAILED,
    EXIT_USAGE,
    complain,
)
from tilepress.workflows.cluster.task_errors import describe_unexpected, quiet_libraries
from tilepress.workflows.interrupts import EXIT_INTERRUPTED, interrupts

__all__ = ["app", "main"]

_CommandLineError: Any = next(
    c for c in typer.BadParameter.__mro__ if c.__name__ == "ClickException"
)
"""What the parser raises: of the package click or of the copy that newer typers bring."""

DEBUG = "TILEPRESS_DEBUG"
"""As --debug: set to anything, an error that nobody expected shows its traceback."""

_BEGIN_ANEW = ("bench", "find", "info", "ls", "show", "verify")
"""Commands that leave nothing to go on from: they look or measure."""

app = typer.Typer(
    name="tilepress",
    help="Turn archives of large GeoTIFF and DICOM images into Zarr stores with learned codecs.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        import tilepress

        print(f"tilepress {tilepress.__version__}")
        raise typer.Exit


def _set_debug(wanted: bool) -> None:
    if wanted:
        os.environ[DEBUG] = "1"


@app.callback()
def common(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            is_eager=True,
            callback=_print_version,
            help="Print the version and exit.",
        ),
    ] = False,
    debug: Annotated[
        bool,
        typer.Option(
            "--debug",
            is_eager=True,
            expose_value=False,
            callback=_set_debug,
            help=f"Show the traceback of an unexpected error, as {DEBUG}=1 does; goes with any "
            "command.",
        ),
    ] = False,
) -> None:
    """Options of the program itself."""


# as the help lists them
for commands in (write, levels, inspect, export, find, serve, models, demo, bench, cluster):
    commands.register(app)


def main() -> NoReturn:
    """Run the command line and exit."""
    if len(sys.argv) == 1:
        _guarded(lambda: _command()(["--help"], standalone_mode=False))
        sys.exit(EXIT_USAGE)
    sys.exit(_guarded(lambda: _command()(standalone_mode=False)))


def _command() -> Any:  # noqa: ANN401  # of the package click or of typer's copy, see above
    """Return the parser: --debug goes anywhere in the line, and help names no type of flags."""
    root: Any = typer.main.get_command(app)
    context = root.make_context("tilepress", [], resilient_parsing=True)
    debug = copy.copy(next(option for option in root.params if option.name == "debug"))
    debug.hidden = True  # the help of the program itself names it
    waiting = [root]
    while waiting:
        command = waiting.pop()
        waiting += getattr(command, "commands", {}).values()
        if command is not root:
            command.params.append(debug)
        for option in (*command.params, command.get_help_option(context)):
            if getattr(option, "is_flag", False) and option.metavar is None:
                option.metavar = ""
    return root


def _frames(error: BaseException | None) -> str:
    """Return the traceback of an error and of what it came of, without their texts.

    These may quote what was read, names of patients included.
    """
    if error is None:
        return ""
    came_of = _frames(error.__cause__ or error.__context__)
    here = "".join(traceback.format_tb(error.__traceback__))
    return f"{came_of}Traceback (most recent call last):\n{here}{type(error).__name__}\n"


def _help_of(error: Any) -> str:  # noqa: ANN401  # the parser's
    """Say which help there is on a line that the parser refused; "" where it is of no command."""
    context = getattr(error, "ctx", None)
    return "" if context is None else f"; see {context.command_path} --help"


def _what_next() -> str:
    """Say what the same line does after it was interrupted."""
    command = next((word for word in sys.argv[1:] if not word.startswith("-")), "")
    if command in _BEGIN_ANEW:
        return "the same line begins anew"
    return "run the same line again to go on"


def _guarded(command: Callable[[], Any]) -> int:
    """Run a command; turn every way in which it can end into an exit code and at most one line."""
    quiet_libraries()
    try:
        with interrupts():
            result = command()
    except (KeyboardInterrupt, typer.Abort):
        result = EXIT_INTERRUPTED
    except _CommandLineError as error:
        complain(f"{error.format_message().rstrip('.')}{_help_of(error)}")
        return EXIT_USAGE
    except UsageError as error:
        complain(str(error))
        return EXIT_USAGE
    except TilepressError as error:
        complain(str(error))
        return EXIT_FAILED
    except BrokenPipeError:  # the reader of our output, e.g. head, went away
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILED
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        complain(f"{error.strerror or type(error).__name__}{where}")
        return EXIT_FAILED
    except MemoryError:
        complain("out of memory; use fewer workers or a smaller tile")
        return EXIT_FAILED
    except Exception as error:  # a bug of ours
        if os.environ.get(DEBUG):
            print(_frames(error), file=sys.stderr)
        complain(f"{describe_unexpected(error)} (please report it; --debug shows where)")
        return EXIT_BUG
    if result == EXIT_INTERRUPTED:  # typer may also have caught the interrupt and returned this
        complain(f"interrupted; {_what_next()}")
    return result if isinstance(result, int) else EXIT_DONE
