"""The commands that look at stores: info, ls, verify, export."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from tilepress.errors import UsageError
from tilepress.workflows.cli.console import (
    EXIT_CANNOT_TELL,
    EXIT_FAILED,
    Json,
    complain,
    say,
    tell,
)
from tilepress.workflows.cli.options import (
    DecoderChoice,
    Driver,
    Exclude,
    ForceGenerative,
    Include,
    ShowPaths,
    Stack,
    patterns,
)

__all__ = ["export", "info", "list_archive", "register", "verify"]


class ExportFormat(StrEnum):
    """What an export writes."""

    geotiff = "geotiff"
    cog = "cog"
    ome_tiff = "ome-tiff"
    dicom = "dicom"
    zarr = "zarr"
    npy = "npy"


Store = Annotated[str, typer.Argument(metavar="STORE", help="A store (*.zarr), a path or s3://…")]


def register(app: typer.Typer) -> None:
    """Add these commands to the program."""
    app.command()(info)
    app.command("ls")(list_archive)
    app.command()(verify)
    app.command()(export)


def info(store: Store, as_json: Json = False) -> None:
    """Show what a store holds: shape, geometry, codec, loss statement, sizes.

    **Example**

        tilepress info out/scene.zarr --json
    """
    from tilepress.pipeline.catalogue.stores import summarize
    from tilepress.pipeline.store.reader import StoreReader

    _must_exist(store)
    reader = StoreReader.open(store)
    summary = summarize(store, reader.path.name)
    details = {
        **summary.to_json(),
        "path": str(store),
        "chunk": list(reader.chunk),
        "levels": [list(reader.at_level(n).shape) for n in range(1, reader.level_count)],
        "has_mask": reader.has_mask,
        "source": sorted(reader.source_names()),
        "tilepress": dict(reader.statement),
        "attributes": {k: v for k, v in reader.attrs.items() if k != "tilepress"},
    }
    if as_json:
        print(json.dumps(details, indent=2, default=str))
        return
    for key, value in details.items():
        if value in (None, {}, [], ""):
            continue
        if isinstance(value, dict):
            print(f"{key}:")
            for name, item in value.items():
                say(f"  {name}: {_short(item)}")
        else:
            say(f"{key}: {_short(value)}")


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


def export(
    store: Annotated[
        str, typer.Argument(metavar="STORE|ARCHIVE", help="A store, or all of an archive.")
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="File or folder to write.")],
    export_format: Annotated[
        ExportFormat | None,
        typer.Option("--format", help="Default: what the source was."),
    ] = None,
    bands: Annotated[
        str | None, typer.Option(metavar="N,N-N,…", help="Bands of a GeoTIFF, from 1, e.g. 4,2-3.")
    ] = None,
    slices: Annotated[
        str | None,
        typer.Option(metavar="N,N-N,…", help="Slices of a DICOM series, from 0, e.g. 0-9."),
    ] = None,
    bbox: Annotated[
        str | None,
        typer.Option(
            metavar="LEFT,BOTTOM,RIGHT,TOP", help="Part of a GeoTIFF, in units of its CRS."
        ),
    ] = None,
    decoder: DecoderChoice = "base",
    force_generative: ForceGenerative = False,
    show_paths: ShowPaths = False,
) -> None:
    """Write a store, or all of an archive, back as what it was made of, or as another format.

    GeoTIFF: OUT is the file where it ends in .tif or .tiff, else a folder, which is made and gets
    the original name. DICOM: OUT is a folder; one file may be named OUT.dcm.

    **Examples**

        tilepress export out/scene.zarr scene.tif

        tilepress export out/ originals/

        tilepress export out/CT-0123456789ab.zarr series/

        tilepress export out/scene.zarr part.tif --bands 4,3,2 --bbox 500000,4000000,530000,4030000
    """
    from tilepress.pipeline.catalogue.stores import is_store
    from tilepress.pipeline.export import export as run_export
    from tilepress.pipeline.export import told

    _must_exist(store)
    if not is_store(store):
        if bands or slices or bbox:
            raise UsageError("exporting: --bands, --slices and --bbox are of one store")
        wanted = export_format.value if export_format else None
        _export_archive(store, out, wanted, decoder, force_generative=force_generative)
        return
    files = run_export(
        store,
        out,
        format=export_format.value if export_format else None,
        bands=_numbers("--bands", bands),
        slices=_numbers("--slices", slices),
        bbox=_box(bbox),
        decoder=decoder,
        force_generative=force_generative,
    )
    if show_paths or (len(files) == 1 and files[0] == out):
        for path in files:
            say(str(path))
    else:
        for line in told(store, out, files):
            say(line)


def _export_archive(
    archive: str, out: Path, export_format: str | None, decoder: str, *, force_generative: bool
) -> None:
    """Write all of an archive back; exit with 1 where something could not be."""
    from tilepress.pipeline.export import export_archive

    failed = False
    exported = export_archive(
        archive, out, export_format, decoder=decoder, force_generative=force_generative
    )
    for done in exported:
        for line in done.lines(out):
            say(line)
        if done.problem is not None:
            failed = True
            complain(done.problem)
    if failed:
        raise typer.Exit(EXIT_FAILED)


def _must_exist(where: str) -> None:
    from tilepress.pipeline.storage.path import storage_path

    if not storage_path(where).exists():
        raise UsageError(f"opening {where}: no such file or folder")


def _numbers(option: str, text: str | None) -> list[int] | None:
    """Return the numbers of "1,4-6" in the order given; None for None."""
    if text is None:
        return None
    numbers: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise UsageError(f"exporting: got {option} {text!r}, want numbers as in 1,4-6")
        numbers += range(int(first), int(last if dash else first) + 1)
    if not numbers:
        raise UsageError(f"exporting: got {option} {text!r}, which names nothing")
    return numbers


def _box(text: str | None) -> tuple[float, float, float, float] | None:
    """Return the four numbers of "left,bottom,right,top"; None for None."""
    if text is None:
        return None
    try:
        left, bottom, right, top = (float(part) for part in text.split(","))
    except ValueError:
        wanted = "left,bottom,right,top in units of the CRS"
        raise UsageError(f"exporting: got --bbox {text!r}, want {wanted}") from None
    return left, bottom, right, top


def _short(value: object, limit: int = 200) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= limit else f"{text[:limit]}…"
