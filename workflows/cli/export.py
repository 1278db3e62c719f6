"""The command that writes stores back: as what they were made of, or as another format."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tilepress.errors import StoreError, UsageError
from tilepress.workflows.cli.console import EXIT_FAILED, complain, open_console, say
from tilepress.workflows.cli.options import (
    DecoderChoice,
    ForceGenerative,
    ReportFile,
    ShowPaths,
    Workers,
)

if TYPE_CHECKING:
    from tilepress.pipeline.export_archive import Exported
    from tilepress.pipeline.export_staging import Wanted

__all__ = ["export", "register"]


class ExportFormat(StrEnum):
    """What an export writes."""

    geotiff = "geotiff"
    cog = "cog"
    ome_tiff = "ome-tiff"
    dicom = "dicom"
    zarr = "zarr"
    npy = "npy"
    nifti = "nifti"
    nrrd = "nrrd"


class Resample(StrEnum):
    """How samples of another grid are taken."""

    nearest = "nearest"
    bilinear = "bilinear"
    cubic = "cubic"
    average = "average"
    mode = "mode"


class Syntax(StrEnum):
    """What the frames of DICOM files are coded as."""

    native = "native"
    jpegls = "jpegls"
    jpeg2000 = "jpeg2000"
    htj2k = "htj2k"
    rle = "rle"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(export)


def export(
    store: Annotated[
        str, typer.Argument(metavar="STORE|ARCHIVE", help="A store, or all of an archive.")
    ],
    out: Annotated[str, typer.Argument(metavar="OUT", help="File or folder to write.")],
    export_format: Annotated[
        ExportFormat | None,
        typer.Option("--format", help="Default: what OUT ends in, else what the source was."),
    ] = None,
    bands: Annotated[
        str | None,
        typer.Option(
            metavar="B,B,…",
            help="Bands of a raster by name or by number from 1, e.g. B4,B3 or 4,1-2.",
        ),
    ] = None,
    slices: Annotated[
        str | None,
        typer.Option(metavar="N,N-N,…", help="Slices of a series or volume, from 0, e.g. 0-9."),
    ] = None,
    bbox: Annotated[
        str | None,
        typer.Option(
            metavar="LEFT,BOTTOM,RIGHT,TOP",
            help="Part of a raster, in units of its CRS unless --bbox-crs says otherwise.",
        ),
    ] = None,
    bbox_crs: Annotated[
        str | None,
        typer.Option(
            metavar="CRS",
            help="CRS of --bbox, e.g. EPSG:4326 (longitude first). Default: the image's.",
        ),
    ] = None,
    resample: Annotated[
        Resample | None,
        typer.Option(
            help="Take --bands of other resolutions, from stores of the scene beside this one, to "
            "its grid. Default: refuse them."
        ),
    ] = None,
    transfer_syntax: Annotated[
        Syntax | None,
        typer.Option(help="Code the frames of DICOM files losslessly so. Default: as they came."),
    ] = None,
    join_stacks: Annotated[
        bool,
        typer.Option(
            "--join-stacks",
            help="Of an archive: bands that came in files of their own become one GeoTIFF or COG.",
        ),
    ] = False,
    fitting_only: Annotated[
        bool,
        typer.Option(
            "--fitting-only",
            help="Of an archive: that --format is not for some stores is no failure.",
        ),
    ] = False,
    decoder: DecoderChoice = "base",
    force_generative: ForceGenerative = False,
    workers: Workers = None,
    report: ReportFile = None,
    show_paths: ShowPaths = False,
) -> None:
    """Write a store, or all of an archive, back as what it was made of, or as another format.

    OUT is one file where it ends in what some format is called (.tif, .dcm, .nii.gz, .nrrd, .zarr,
    .npy, .ome.tif); with another ending it is refused; without one, or with a slash at its end, it
    is a folder, which is made and gets the original names. Nothing that is there is replaced.

    Bands in files of their own become one raster as NAME.tif, and come back as they were in a
    folder. An archive goes into a folder, with the files that are no images; run the same line
    again to go on.

    **Examples**

        tilepress export out/scene.zarr scene.tif

        tilepress export out/ originals/

        tilepress export out/ cogs/ --format cog --join-stacks --fitting-only

        tilepress export out/CT-0123456789ab.zarr series/

        tilepress export out/landsat.zarr rgb.tif --bands B4,B3,B2 --format cog

        tilepress export out/S2-10m.zarr x.tif --bands B04,B11 --resample bilinear

        tilepress export out/scene.zarr part.tif --bbox 8.4,47.3,8.6,47.4 --bbox-crs EPSG:4326

        tilepress export out/CT-0123456789ab.zarr ct.nii.gz --slices 10-59

        tilepress export out/CT-0123456789ab.zarr series/ --transfer-syntax htj2k
    """
    from tilepress.pipeline.catalogue.stores import is_store
    from tilepress.pipeline.export import export as run_export
    from tilepress.pipeline.export import told
    from tilepress.pipeline.storage.path import storage_path

    if not storage_path(store).exists():
        raise UsageError(f"opening {store}: no such file or folder")
    wanted = None if export_format is None else export_format.value
    if not is_store(store):
        if bands or slices or bbox or bbox_crs or resample:
            text = "--bands, --slices, --bbox, --bbox-crs and --resample are of one store"
            raise UsageError(f"exporting: {text}")
        from tilepress.pipeline.export_staging import Wanted

        every = Wanted(
            format=wanted,
            transfer_syntax=None if transfer_syntax is None else transfer_syntax.value,
            join_stacks=join_stacks,
            decoder=decoder,
            force_generative=force_generative,
        )
        with _told(store, out):
            _export_archive(store, Path(out), every, workers, report, fitting_only=fitting_only)
        return
    if join_stacks or fitting_only or workers is not None or report is not None:
        raise UsageError(
            "exporting: --join-stacks, --fitting-only, --workers and --report are of an archive; "
            "one stack as NAME.tif is joined"
        )
    with _told(store, out):
        files = run_export(
            store,
            out,
            format=wanted,
            bands=_bands(bands),
            slices=_numbers("--slices", slices),
            bbox=_box(bbox),
            bbox_crs=bbox_crs,
            resample=None if resample is None else resample.value,
            transfer_syntax=None if transfer_syntax is None else transfer_syntax.value,
            decoder=decoder,
            force_generative=force_generative,
        )
    if show_paths or (len(files) == 1 and files[0] == Path(out)):
        for path in files:
            say(str(path))
    else:
        for line in told(store, Path(out), files):
            say(line)


@contextlib.contextmanager
def _told(store: str, out: str) -> Iterator[None]:
    """Have what storage refuses say what was being done; raises StoreError."""
    try:
        yield
    except BrokenPipeError:  # of standard output: its reader has gone
        raise
    except OSError as error:
        where = f" ({error.filename})" if str(error.filename) not in ("None", out) else ""
        text = f"{error.strerror or type(error).__name__}{where}"
        raise StoreError(f"exporting {Path(store).name} to {out}: {text}") from error


def _export_archive(
    archive: str,
    out: Path,
    wanted: Wanted,
    workers: int | None,
    report: Path | None,
    *,
    fitting_only: bool,
) -> None:
    """Write all of an archive back; exit with 1 where something was not."""
    from tilepress.workflows.report.exported import ExportSummary
    from tilepress.workflows.run.export import export_archive

    summary = ExportSummary(out, report)
    interrupted = True
    with _progress() as show:
        try:
            # closed at once where Ctrl-C comes: workers end before their folders are removed
            with contextlib.closing(export_archive(archive, out, wanted, workers=workers)) as done:
                for one in done:
                    show(one)
                    summary.add(one)
                    for line in one.lines(out):
                        say(line)
            interrupted = False
        finally:
            summary.write(interrupted=interrupted)
    for line in summary.problems():
        complain(line)
    say(summary.line())
    if summary.stopped:
        complain("exporting stopped: make room and run the same line again to go on")
    if summary.failed(fitting_only=fitting_only):
        raise typer.Exit(EXIT_FAILED)


@contextlib.contextmanager
def _progress() -> Iterator[Callable[[Exported], None]]:
    """Show on a terminal how many stores are done, and nothing elsewhere."""
    if not sys.stderr.isatty():
        yield lambda done: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("exporting"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=open_console(stderr=True), transient=True) as bar:
        task = bar.add_task("exporting", total=None)

        def show(done: Exported) -> None:
            if done.total:
                bar.update(task, completed=done.number, total=done.total)

        yield show


def _bands(text: str | None) -> list[int | str] | None:
    """Return the bands of "B4,1,4-6" in the order given: numbers of ranges, else texts."""
    if text is None:
        return None
    bands: list[int | str] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if dash and first.isdecimal() and last.isdecimal():
            bands += range(int(first), int(last) + 1)
        elif part.strip():
            bands.append(part.strip())
    return bands


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
