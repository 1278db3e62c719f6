"""The command demo: the main job on bundled images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tilepress.workflows.cli.console import open_console

__all__ = ["demo", "register"]


def register(app: typer.Typer) -> None:
    """Add this command to the program."""
    app.command()(demo)


def demo(
    out: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Folder for what the demo writes.")
    ] = Path("demo-out"),
    workers: Annotated[
        int | None, typer.Option(metavar="N", help="Worker processes; default one per processor.")
    ] = None,
) -> None:
    """Run the main job on the bundled real images and print a table at the end.

    **Example**

        tilepress demo --out demo-out
    """
    from tilepress.workflows.bench.demo import run_demo

    raise typer.Exit(run_demo(out, open_console(), workers=workers))
