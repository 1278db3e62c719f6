"""The command ``tilepress``: parse the line, call the room that does it, print, set the exit code.

Exit codes: 0 done, 1 some inputs failed or damage was found (each is named), 2 the line makes no
sense, 3 ``verify`` cannot tell, 70 an error that nobody expected (please report it), 130
interrupted (run the same line again to go on).
"""

from __future__ import annotations

import copy
import json
import os
import sys
import traceback
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from tilepress.errors import TilepressError, UsageError
from tilepress.workflows.cli import write as cli_compress
from tilepress.workflows.cli.cluster import cluster_app
from tilepress.workflows.cli.console import (
    EXIT_BUG,
    EXIT_CANNOT_TELL,
    EXIT_DONE,
    EXIT_FAILED,
    EXIT_USAGE,
    Json,
    complain,
    open_console,
    say,
    tell,
)
from tilepress.workflows.cluster.task_errors import describe_unexpected, quiet_libraries
from tilepress.workflows.interrupts import EXIT_INTERRUPTED, interrupts

if TYPE_CHECKING:
    from tilepress.workflows.bench.compare import SpeedPlan

__all__ = ["app", "main"]

_CommandLineError: Any = next(
    c for c in typer.BadParameter.__mro__ if c.__name__ == "ClickException"
)
"""What the parser raises: of the package click or of the copy that newer typers bring."""

DEBUG = "TILEPRESS_DEBUG"
"""As --debug: set to anything, an error that nobody expected shows its traceback."""

WIDE = 400
"""The same for tables with a column per codec: they take what they need of it."""

app = typer.Typer(
    name="tilepress",
    help="Turn archives of large GeoTIFF and DICOM images into Zarr stores with learned codecs.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
models_app = typer.Typer(help="The learned models that this machine knows.")
app.add_typer(models_app, name="models")
app.add_typer(cluster_app, name="cluster")


class ExportFormat(StrEnum):
    """What an export writes."""

    geotiff = "geotiff"
    cog = "cog"
    dicom = "dicom"
    zarr = "zarr"
    npy = "npy"


Store = Annotated[str, typer.Argument(metavar="STORE", help="A store (*.zarr), a path or s3://…")]


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


app.command()(cli_compress.compress)
app.command()(cli_compress.plan)
app.command()(cli_compress.finish)
app.command()(cli_compress.repair)


@app.command()
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


@app.command("ls")
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

    for line in (list_json if as_json else list_lines)(list_stores(archive)):
        say(line)


@app.command()
def verify(
    path: Annotated[str, typer.Argument(metavar="STORE|ARCHIVE", help="What to check.")],
    source: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SRC", help="Compare with what it was made of, pixel for pixel (repeatable)."
        ),
    ] = None,
    stack: Annotated[
        str | None, typer.Option(metavar="GLOB", help="With --source: as it was compressed.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Check every checksum and decode every tile.

    Exit code 0: sound. 1: damaged, each damage is named. 2: the line makes no sense, e.g. there is
    nothing at the path. 3: cannot tell, e.g. because it is no tilepress store, its writing has not
    finished or a model is missing.

    **Examples**

        tilepress verify out/

        tilepress verify scene.zarr --source scene.tif

        tilepress verify out/ --source /archive
    """
    from tilepress.pipeline.archive.verify import check_stores

    _must_exist(path)
    checks = tell(check_stores(path, source or (), stack), as_json=as_json)
    if any(c.state == "damaged" for c in checks):
        raise typer.Exit(EXIT_FAILED)
    if any(c.state == "unknown" for c in checks):
        raise typer.Exit(EXIT_CANNOT_TELL)


@app.command()
def export(
    store: Store,
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
) -> None:
    """Write a store back as what it was made of, or as another format.

    GeoTIFF: OUT is the file where it ends in .tif or .tiff, else a folder, which is made and gets
    the original name. DICOM: OUT is a folder; one file may be named OUT.dcm.

    **Examples**

        tilepress export out/scene.zarr scene.tif

        tilepress export out/CT-0123456789ab.zarr series/

        tilepress export out/scene.zarr part.tif --bands 4,3,2 --bbox 500000,4000000,530000,4030000
    """
    from tilepress.pipeline.export import export as run_export

    _must_exist(store)
    files = run_export(
        store,
        out,
        format=export_format.value if export_format else None,
        bands=_numbers("--bands", bands),
        slices=_numbers("--slices", slices),
        bbox=_box(bbox),
    )
    for path in files:
        print(path)


@app.command()
def train(
    sources: Annotated[list[Path], typer.Argument(metavar="SRC...", help="Images to learn from.")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="File to write the model to.")],
    base: Annotated[
        Path | None,
        typer.Option("--from", metavar="NAME|FILE", help="Go on from this model."),
    ] = None,
    hidden: Annotated[
        int | None,
        typer.Option(
            metavar="UNITS",
            help="Hidden units of a new network: 8, 16, …; default that of standard.",
        ),
    ] = None,
    minutes: Annotated[float, typer.Option(metavar="MINUTES", help="How long to train.")] = 10.0,
    manifest: Annotated[
        Path | None,
        typer.Option(metavar="FILE.tsv", help="Table with columns file and class: equal shares."),
    ] = None,
    linear_only: Annotated[
        bool, typer.Option("--linear-only", help="Without the network: what it must beat.")
    ] = False,
) -> None:
    """Train a model of the lossless codec on your own images (needs the extra torch).

    Use it with compress --model; what it codes carries it along or needs it again (models add).

    **Examples**

        tilepress train /archive/2024 --out mine.safetensors --minutes 30

        tilepress train /archive/2025 --from mine.safetensors --out newer.safetensors
    """
    if not minutes > 0:
        raise UsageError(f"training: got {minutes} minutes, want more than 0")
    try:
        from tilepress.workflows.learn.train import train as run_train
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        text = "training: torch is not installed; pip install 'tilepress[torch]'"
        raise UsageError(text) from error

    console = open_console(stderr=True)

    def tell(text: str) -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    run_train(
        sources,
        out,
        minutes,
        base,
        tell,
        linear_only=linear_only,
        manifest=manifest,
        hidden=hidden,
    )
    print(out)


@models_app.callback(invoke_without_command=True)
def models(context: typer.Context) -> None:
    """List the models where no other command is given."""
    if context.invoked_subcommand is None:
        models_list()


@models_app.command("list")
def models_list() -> None:
    """List bundled and added models."""
    from tilepress.codecs import weights

    for model in weights.known_models():
        print(f"{model.name}  {model.sha256}  {model.origin}")


@models_app.command("show")
def models_show(
    name: Annotated[str, typer.Argument(metavar="NAME|FILE", help="Name or path of a model.")],
) -> None:
    """Show the card of a model: data, licences, command, figures.

    **Example**

        tilepress models show wave-2
    """
    from tilepress.codecs import weights

    print(weights.model_card(name))


@models_app.command("add")
def models_add(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="A model file (*.safetensors).")],
) -> None:
    """Copy a model into the user's model folder, where every reader finds it by its sha256.

    **Example**

        tilepress models add mine.safetensors
    """
    from tilepress.codecs import weights

    model = weights.add_model(path)
    print(f"{model.name}  {model.sha256}  {model.origin}")


@app.command()
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


@app.command()
def bench(
    sources: Annotated[list[Path], typer.Argument(metavar="SRC...", help="Files and folders.")],
    codecs: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,…",
            help="Codecs to compare: tilepress[@TIER][:MODEL], zstd, jpegls, jpeg2000, jpegxl, "
            "webp (the default), lerc (the default near-lossless), htj2k.",
        ),
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write everything as JSON.")
    ] = None,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the tables as one HTML page.")
    ] = None,
    manifest: Annotated[
        Path | None,
        typer.Option(metavar="FILE.tsv", help="Table with columns file and class, for the means."),
    ] = None,
    max_error: Annotated[
        str,
        typer.Option(metavar="K[,K…]", help="Compare within these errors; 0 is lossless."),
    ] = "0",
    sizes: Annotated[bool, typer.Option(help="Measure sizes.")] = True,
    speed: Annotated[
        int, typer.Option(metavar="ROUNDS", help="Compare speeds, too, in 3 or more rounds.")
    ] = 0,
    speed_mib: Annotated[
        int, typer.Option(metavar="MIB", help="With --speed: samples of each type, in MiB.")
    ] = 16,
    threads: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="With --speed: threads of every codec; default one per processor."
        ),
    ] = None,
    cache: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Keep the sizes of other codecs here.")
    ] = None,
) -> None:
    """Compare codecs on your own images; every size is of data that decoded to the same samples.

    **Examples**

        tilepress bench /archive/samples --codecs tilepress,jpegxl,zstd --json figures.json

        tilepress bench /archive/samples --max-error 1,2,4,16 --html near.html

        tilepress bench /archive/samples --no-sizes --speed 5
    """
    from tilepress.workflows.bench import compare as room

    progress = open_console(stderr=True)
    found = room.run_bench(
        sources,
        codecs.split(",") if codecs else None,
        manifest,
        max_errors=_errors(max_error),
        cache=cache,
        sizes=sizes,
        speed=_speed_plan(speed, speed_mib, threads),
        on_step=lambda text: progress.print(text, markup=False, highlight=False, soft_wrap=True),
    )
    if json_file is not None:
        json_file.write_text(json.dumps(found.to_json(), indent=2) + "\n")
    if html is not None:
        html.write_text(found.to_html(), encoding="utf-8")
    console = open_console(pipe_width=WIDE)
    for table in found.tables():
        console.print(table)
    for text in found.skipped:
        print(f"not near-lossless: {text}", file=sys.stderr)
    for failure in found.failures:
        complain(failure)
    if found.failures:
        raise typer.Exit(EXIT_FAILED)


def _errors(text: str) -> list[float]:
    """Return the different numbers of "1,2,4", in the order given."""
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if not numbers or not all(0 <= number < 2**31 for number in numbers):
        raise UsageError(f"comparing codecs: got --max-error {text!r}, want numbers as in 1,2,4")
    return list(dict.fromkeys(numbers))


def _speed_plan(rounds: int, mebibytes: int, threads: int | None) -> SpeedPlan | None:
    """Return how speeds are measured; None where they are not."""
    from tilepress.workflows.bench.compare import SpeedPlan
    from tilepress.workflows.bench.speed import MIN_ROUNDS

    if not rounds:
        return None
    if rounds < MIN_ROUNDS or mebibytes < 1 or (threads is not None and threads < 1):
        raise UsageError(
            f"comparing speeds: got --speed {rounds}, --speed-mib {mebibytes}, "
            f"--threads {threads}; want {MIN_ROUNDS} rounds, 1 MiB and 1 thread at least"
        )
    return SpeedPlan(rounds=rounds, limit_bytes=mebibytes << 20, threads=threads)


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


def _guarded(command: Callable[[], Any]) -> int:
    """Run a command; turn every way in which it can end into an exit code and at most one line."""
    quiet_libraries()
    try:
        with interrupts():
            result = command()
    except (KeyboardInterrupt, typer.Abort):
        result = EXIT_INTERRUPTED
    except _CommandLineError as error:
        complain(error.format_message())
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
            traceback.print_exc()
        complain(f"{describe_unexpected(error)} (please report it; --debug shows where)")
        return EXIT_BUG
    if result == EXIT_INTERRUPTED:  # typer may also have caught the interrupt and returned this
        complain("interrupted; run the same line again to go on")
    return result if isinstance(result, int) else EXIT_DONE


def _must_exist(where: str) -> None:
    from tilepress.pipeline.storage.path import place

    if not place(where).exists():
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
