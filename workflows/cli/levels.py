"""The command that adds levels of lower resolution to stores that have none."""

from __future__ import annotations

from typing import Annotated

import typer

from tilepress.errors import UsageError
from tilepress.workflows.cli.console import EXIT_FAILED, Json, tell
from tilepress.workflows.cli.options import Driver, ShowPaths, Stack, patterns

__all__ = ["levels", "register"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(levels)


def levels(
    store: Annotated[str, typer.Argument(metavar="STORE|ARCHIVE", help="What gets levels.")],
    source: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SRC",
            help="What it was made of (repeatable). Default: a lossless store's own samples.",
        ),
    ] = None,
    asked: Annotated[
        str,
        typer.Option(
            "--levels",
            metavar="auto|N",
            help="auto: from a quarter of the rows and columns on, of images above 4096 × 4096; N, "
            "each half of the one before.",
        ),
    ] = "auto",
    stack: Stack = None,
    driver: Driver = None,
    show_paths: ShowPaths = False,
    as_json: Json = False,
) -> None:
    """Add levels of lower resolution to a store, or to each of an archive that has none.

    The full resolution stays as it is coded; the store gets a new seal. A lossless store has all
    that levels are made of. Others need their source, untouched.

    **Examples**

        tilepress levels out/scene.zarr

        tilepress levels out/ --source /archive
    """
    from tilepress.pipeline.archive.add_levels import add_levels
    from tilepress.pipeline.find.choose import Choice
    from tilepress.pipeline.image.made_levels import NO_LEVELS, parse_asked

    if asked == NO_LEVELS:
        raise UsageError("adding levels: got --levels none, want auto or how many")
    if not source and (stack or driver):
        raise UsageError("adding levels: --stack and --driver say how --source is read; name it")
    found = add_levels(
        store,
        source or None,
        parse_asked(asked),
        patterns(stack),
        show_paths=show_paths,
        choice=Choice.of((), (), driver or ()),
    )
    done = tell(found, as_json=as_json)
    if any(not one.ok for one in done):
        raise typer.Exit(EXIT_FAILED)
