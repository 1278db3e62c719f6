"""The commands that write archives: compress, plan, finish, repair."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tilepress.errors import UsageError
from tilepress.pipeline.archive.options import LOSSES
from tilepress.workflows.cli.console import EXIT_FAILED, Json, complain, open_console, tell
from tilepress.workflows.cli.options import (
    Cluster,
    CodingCommand,
    Device,
    DeviceName,
    Driver,
    Events,
    Exclude,
    Include,
    KeepFiles,
    Lossless,
    NoThumbnails,
    Quiet,
    ReportFile,
    ShowPaths,
    Sign,
    SkipLarger,
    SourcesAndDestination,
    Stack,
    Thumbnails,
    Verbose,
    Workers,
    bytes_of,
    in_order,
    patterns,
    plain,
    takes_coding_options,
    thumbnails_of,
)

if TYPE_CHECKING:
    from tilepress.workflows.report.report import Report
    from tilepress.workflows.report.telling import Progress

__all__ = ["compress", "finish", "plan", "register", "repair"]


def register(app: typer.Typer) -> None:
    """Add these commands to the program."""
    for coding in (compress, plan):
        app.command(cls=CodingCommand)(coding)
    for other in (finish, repair):
        app.command()(other)


@takes_coding_options
def compress(
    paths: SourcesAndDestination,
    lossless: Lossless = False,
    tune: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            help="Tune the model on a sample of the images first, for so long; its weights go into "
            "those stores where they save more than they take (needs the extra torch).",
        ),
    ] = None,
    stack: Stack = None,
    keep: KeepFiles = "known",
    include: Include = None,
    exclude: Exclude = None,
    driver: Driver = None,
    skip_larger: SkipLarger = None,
    device: Device = DeviceName.auto,
    workers: Workers = None,
    cluster: Cluster = None,
    dashboard: Annotated[
        bool,
        typer.Option(
            "--dashboard", help="Serve Dask's dashboard of local workers on this machine (bokeh)."
        ),
    ] = False,
    part: Annotated[
        str | None,
        typer.Option(
            metavar="I/N",
            help="Write only this share of the shards, I from 0 to N-1, without Dask; all parts "
            "may run at the same time. Then: tilepress finish DST.",
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace what the destination holds.")
    ] = False,
    checksum: Annotated[
        bool,
        typer.Option(
            "--checksum",
            help="Compare the samples, too, before a store counts as unchanged (reads all of it).",
        ),
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Write nothing; tell what would be done, and about how much and how long.",
        ),
    ] = False,
    sign: Sign = None,
    thumbnails: Thumbnails = False,
    no_thumbnails: NoThumbnails = False,
    report: ReportFile = None,
    events: Events = None,
    show_paths: ShowPaths = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    **coding: Any,  # noqa: ANN401  # as they are declared
) -> None:
    """Compress images into Zarr stores; lossless by default, checked, resumable.

    A DST that ends in .zarr takes exactly one image. Any other DST is an archive, a folder or
    s3://bucket/prefix that mirrors the sources. Run the same line again to go on after an
    interruption; what is unchanged is skipped.

    **Examples**

        tilepress compress scene.tif scene.zarr

        tilepress compress /archive out/ --workers 8

        tilepress compress '/archive/**/*.tif' s3://bucket/out --report report.json

        find /archive -name '*.dcm' -print0 | tilepress compress - out/

        tilepress compress ct-series/ out/ --max-error 2

        tilepress compress scenes/ quicklooks/ --psnr 45

        tilepress compress LC08_scene/ out/ --stack '*_B*.TIF'

        tilepress compress series/ out/ --deidentify=basic,retain-uids

        tilepress compress /archive out/ --cluster slurm.yaml

        tilepress compress /archive out/ --part $SLURM_ARRAY_TASK_ID/64
    """
    from tilepress.workflows.run.compress import compress as run_compress

    sources, destination = _split(paths, "compressing")
    coding = plain(coding)
    for name in LOSSES:
        if lossless and coding[name]:
            option = name.replace("_", "-")
            raise UsageError(f"compressing: --lossless and --{option} exclude each other")
    told = in_order(compress, {**locals(), **coding})
    del told["paths"], told["lossless"]  # max_error says it
    told |= {"sources": sources, "destination": destination}
    done = run_compress(
        sources,
        destination,
        **coding,
        tune=tune,
        stack=patterns(stack),
        keep=keep,
        include=include or (),
        exclude=exclude or (),
        driver=driver or (),
        skip_larger=bytes_of(skip_larger),
        device=device.value,
        workers=workers,
        cluster=cluster,
        dashboard=dashboard,
        part=part,
        force=force,
        checksum=checksum,
        dry_run=dry_run,
        sign=sign,
        thumbnails=thumbnails_of(thumbnails, no_thumbnails),
        report=report,
        show_paths=show_paths,
        progress=_progress(events, told, quiet=quiet, verbose=verbose),
    )
    _conclude(done, quiet=quiet, events=events, tuned=tune is not None)


@takes_coding_options
def plan(
    paths: SourcesAndDestination,
    stack: Stack = None,
    keep: KeepFiles = "known",
    include: Include = None,
    exclude: Exclude = None,
    driver: Driver = None,
    skip_larger: SkipLarger = None,
    workers: Workers = None,
    force: Annotated[
        bool,
        typer.Option("--force", help="Plan anew, and replace what the destination holds."),
    ] = False,
    events: Events = None,
    show_paths: ShowPaths = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    **coding: Any,  # noqa: ANN401  # as they are declared
) -> None:
    """Fix what compress --part will write: every image, its store and its shards.

    Without it, the first part plans and the others wait for it.

    **Examples**

        tilepress plan /archive out/

        tilepress plan @list.txt s3://bucket/out --tier fast
    """
    from tilepress.pipeline.storage.text import size
    from tilepress.workflows.report.alike import lines_of
    from tilepress.workflows.run.parts import plan as run_plan

    sources, destination = _split(paths, "planning")
    head = run_plan(
        sources,
        destination,
        **plain(coding),
        stack=patterns(stack),
        keep=keep,
        include=include or (),
        exclude=exclude or (),
        driver=driver or (),
        skip_larger=bytes_of(skip_larger),
        workers=workers,
        force=force,
        show_paths=show_paths,
        progress=_progress(events, {}, quiet=quiet, verbose=verbose),
    )
    if quiet:
        for line in lines_of(head.failures):
            complain(line)
    else:
        print(
            f"{head.images} image{'' if head.images == 1 else 's'} to write in {head.shards} "
            f"shard{'' if head.shards == 1 else 's'} ({size(head.raw_bytes)}), "
            f"{head.unchanged} unchanged, {len(head.failures)} failed"
        )
    if head.failures:
        raise typer.Exit(EXIT_FAILED)


def finish(
    destination: Annotated[str, typer.Argument(metavar="DST", help="What the parts wrote to.")],
    workers: Workers = None,
    sign: Sign = None,
    thumbnails: Thumbnails = False,
    no_thumbnails: NoThumbnails = False,
    report: ReportFile = None,
    events: Events = None,
    show_paths: ShowPaths = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Seal what compress --part has written; list what is still missing.

    **Example**

        tilepress finish out/
    """
    from tilepress.workflows.run.parts import finish as run_finish

    done = run_finish(
        destination,
        workers=workers,
        sign=sign,
        thumbnails=thumbnails_of(thumbnails, no_thumbnails),
        report=report,
        show_paths=show_paths,
        progress=_progress(events, {"destination": destination}, quiet=quiet, verbose=verbose),
    )
    if done.images or done.failures:  # else a note has said that there was nothing to do
        _conclude(done, quiet=quiet, events=events, unchanged="sealed before")


def repair(
    store: Annotated[str, typer.Argument(metavar="STORE|ARCHIVE", help="What to repair.")],
    source: Annotated[
        list[str], typer.Option(metavar="SRC", help="What it was made of (repeatable).")
    ],
    stack: Stack = None,
    driver: Driver = None,
    show_paths: ShowPaths = False,
    as_json: Json = False,
) -> None:
    """Write damaged or missing objects of a store again from its source.

    Whatever is sound stays as it is. The source must be what the store was made of.

    **Examples**

        tilepress repair out/scene.zarr --source /archive/scene.tif

        tilepress repair out/ --source /archive
    """
    from tilepress.pipeline.archive.repair import repair_stores
    from tilepress.pipeline.find.choose import Choice

    choice = Choice.of((), (), driver or ())
    found = repair_stores(store, source, patterns(stack), show_paths=show_paths, choice=choice)
    repairs = tell(found, as_json=as_json)
    if any(not one.ok for one in repairs):
        raise typer.Exit(EXIT_FAILED)


def _split(paths: list[str], doing: str) -> tuple[list[str], str]:
    if len(paths) < 2:
        raise UsageError(f"{doing}: give at least one source and a destination; see --help")
    return paths[:-1], paths[-1]


def _progress(
    events: str | None, options: dict[str, Any], *, quiet: bool, verbose: bool
) -> Progress:
    from tilepress.workflows.report.events import EventLog
    from tilepress.workflows.report.progress import progress_for
    from tilepress.workflows.report.telling import several

    if quiet and verbose:
        raise UsageError("telling of a run: --quiet and --verbose exclude each other")
    bar = events != "-"  # which may be the same terminal
    shown = progress_for(open_console(stderr=True), quiet=quiet, verbose=verbose, bar=bar)
    return shown if events is None else several(shown, EventLog(events, options))


def _conclude(
    done: Report,
    *,
    quiet: bool,
    events: str | None = None,
    tuned: bool = False,
    unchanged: str = "unchanged",
) -> None:
    """Print the last lines of a run, beside events on stdout; exit with 1 where inputs failed.

    ``unchanged`` is what to call the images that were sealed already.
    """
    from tilepress.workflows.report.alike import lines_of

    out = sys.stderr if events == "-" else sys.stdout
    if quiet:
        for line in lines_of(done.failures):
            complain(line)
    elif done.forecast is not None:
        lines = done.forecast.lines(len(done.failures), len(done.excluded))
        kept = done.kept.text.replace("kept", "would keep", 1)
        for text in filter(None, (*lines, kept, done.passed_over_text)):
            print(text, file=out)
    else:
        parts = [f"{done.written} written", f"{done.unchanged} {unchanged}"]
        if done.shared:
            parts.append(f"{done.shared} shared with other parts")
        if done.excluded:
            parts.append(f"{len(done.excluded)} left out")
        parts.append(f"{len(done.failures)} failed")
        if done.images:
            parts.append(done.sizes_text)
        if tuned:
            parts.append(_tuned(done))
        print(f"{', '.join(parts)}, {done.seconds:.1f} s", file=out)
        for text in filter(
            None, (done.loss_text, done.larger_text, done.kept.text, done.passed_over_text)
        ):
            print(text, file=out)
        if done.stages.text:
            print(done.stages.text, file=out)
    if not done.ok:
        raise typer.Exit(EXIT_FAILED)


def _tuned(report: Report) -> str:
    """Say what tuning brought, e.g. "tuned weights in 2 of 5 stores (save about 1.2 MB)"."""
    from tilepress.pipeline.storage.text import size

    used = saved = 0
    for image in report.images:
        used += bool(image.tuned)
        saved += (image.tuning_saved_bytes or 0) if image.tuned else 0
    gain = f" (save about {size(saved)})" if saved else ""
    return f"tuned weights in {used} of {len(report.images)} stores{gain}"
