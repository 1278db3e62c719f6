"""The commands that look at stores: info, ls, verify."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from tilepress.errors import UsageError
from tilepress.workflows.cli.console import (
    EXIT_CANNOT_TELL,
    EXIT_FAILED,
    Json,
    say,
    tell,
)
from tilepress.workflows.cli.options import (
    Driver,
    Exclude,
    Include,
    ShowPaths,
    Stack,
    patterns,
)

__all__ = ["info", "list_archive", "register", "verify"]


Store = Annotated[
    str, typer.Argument(metavar="STORE|ARCHIVE", help="A store (*.zarr), a path or s3://…")
]


def register(app: typer.Typer) -> None:
    """Add these commands to the program."""
    app.command()(info)
    app.command("ls")(list_archive)
    app.command()(verify)


def info(store: Store, as_json: Json = False) -> None:
    """Show what a store holds: shape, geometry, codec, loss statement, sizes.

    Of an archive it lists the stores, as ls does.

    **Example**

        tilepress info out/scene.zarr --json
    """
    from tilepress.pipeline.catalogue.told import Listing, short
    from tilepress.pipeline.catalogue.told import info as told_of

    _must_exist(store)
    told = told_of(store)
    if isinstance(told, Listing):
        list_archive(store, as_json)
        return
    details = told.to_json()
    if as_json:
        print(json.dumps(details, indent=2, default=str))
        return
    for key, value in details.items():
        if value in (None, {}, [], ""):
            continue
        if isinstance(value, dict):
            print(f"{key}:")
            for name, item in value.items():
                say(f"  {name}: {short(item)}")
        else:
            say(f"{key}: {short(value)}")
    if told.tiles:
        say(f"tiles: {told.tiles}")


def list_archive(
    archive: Annotated[
        str, typer.Argument(metavar="ARCHIVE", help="A folder of stores, or s3://…")
    ],
    as_json: Json = False,
) -> None:
    """List the stores of an archive; those whose writing has not finished are marked.

    **Example**

        tilepress ls out/
    """
    from tilepress.pipeline.catalogue.stores import list_json, list_lines, list_stores
    from tilepress.pipeline.kept.check import totals_of_kept
    from tilepress.pipeline.kept.index import FILES
    from tilepress.pipeline.storage.path import storage_path
    from tilepress.pipeline.storage.text import size

    for line in (list_json if as_json else list_lines)(list_stores(archive)):
        say(line)
    kept = totals_of_kept(storage_path(archive))
    if kept.files and not as_json:
        several = f"{kept.files} files that are no images"
        files = "1 file that is no image" if kept.files == 1 else several
        say(f"{files} in {FILES}/, {size(kept.bytes)}")


def verify(
    path: Annotated[str, typer.Argument(metavar="STORE|ARCHIVE", help="What to check.")],
    source: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SRC", help="Compare with what it was made of, pixel for pixel (repeatable)."
        ),
    ] = None,
    stack: Stack = None,
    include: Include = None,
    exclude: Exclude = None,
    driver: Driver = None,
    key: Annotated[
        str | None,
        typer.Option(
            metavar="PUBKEYFILE", help="Check that every store is signed by this ed25519 key, too."
        ),
    ] = None,
    show_paths: ShowPaths = False,
    as_json: Json = False,
) -> None:
    """Check every checksum and decode every tile.

    Exit code 0: sound. 1: damaged, each damage is named, or with --key a wrong signature. 2: the
    line makes no sense, e.g. there is nothing at the path. 3: cannot tell, e.g. because it is no
    tilepress store, its writing has not finished or a model is missing, or with --key because it is
    not signed.

    **Examples**

        tilepress verify out/

        tilepress verify scene.zarr --source scene.tif

        tilepress verify out/ --source /archive

        tilepress verify out/ --key archivist.pub
    """
    from tilepress.pipeline.archive.signed import with_signatures
    from tilepress.pipeline.archive.verify import check_stores
    from tilepress.pipeline.find.choose import Choice
    from tilepress.pipeline.store.signature import Verifier

    verifier = None if key is None else Verifier.load(key)
    _must_exist(path)
    choice = Choice.of(include or (), exclude or (), driver or ())
    given = patterns(stack)
    found = check_stores(path, source or (), given, show_paths=show_paths, choice=choice)
    checks = tell(found if verifier is None else with_signatures(found, verifier), as_json=as_json)
    if any(c.state == "damaged" for c in checks):
        raise typer.Exit(EXIT_FAILED)
    if any(c.state == "unknown" for c in checks):
        raise typer.Exit(EXIT_CANNOT_TELL)


def _must_exist(where: str) -> None:
    from tilepress.pipeline.storage.path import storage_path

    if not storage_path(where).exists():
        raise UsageError(f"opening {where}: no such file or folder")
