"""The command bench: compare codecs on somebody's own images."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tilepress.errors import UsageError
from tilepress.workflows.cli.console import EXIT_FAILED, complain, open_console

if TYPE_CHECKING:
    from tilepress.workflows.bench.compare import SpeedPlan

__all__ = ["bench", "register"]

WIDE = 400
"""Columns of a table that has one per codec, where no terminal shows it: it takes what it needs."""


def register(app: typer.Typer) -> None:
    """Add this command to the program."""
    app.command()(bench)


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
    rd: Annotated[
        bool,
        typer.Option(
            "--rd",
            help="Compare lossy codecs by what they take at several PSNR: jpeg2000 (others are "
            "measured against it), htj2k, jpegxl, avif, webp, ntc, mlp (the default), jpeg, "
            "jpegls, lerc, zstd, compressai:ARCH@FILE+FILE…; :apart after a name codes each band "
            "by itself, @net, @view or @gan after ntc decodes by that; survey: the learned ones "
            "(MLP, ntc, a CNN, a GAN) beside JPEG.",
        ),
    ] = False,
    psnr: Annotated[
        str | None,
        typer.Option(metavar="DB[,DB…]", help="With --rd: PSNR to compare at; 30,34,…,50."),
    ] = None,
    cache: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Keep the sizes of other codecs here.")
    ] = None,
) -> None:
    """Compare codecs on your own images; every size is of data that decoded to the same samples.

    With --rd lossy ones, by rate and distortion; --html shows curves and pictures.

    **Examples**

        tilepress bench /archive/samples --codecs tilepress,jpegxl,zstd --json figures.json

        tilepress bench /archive/samples --max-error 1,2,4,16 --html near.html

        tilepress bench /archive/samples --no-sizes --speed 5

        tilepress bench /archive/samples --rd --html rates.html

        tilepress bench /archive/samples --rd --codecs survey --html survey.html
    """
    if rd:
        if manifest is not None or max_error != "0" or not sizes or speed or cache is not None:
            raise UsageError(
                "comparing rates: --rd goes with --codecs, --psnr, --json and --html alone"
            )
        _bench_rates(sources, codecs, psnr, json_file, html)
        return
    if psnr is not None:
        raise UsageError("comparing codecs: --psnr goes with --rd")
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


def _codec_names(text: str) -> list[str]:
    """Return the names of "a,b:x=1,y=2,c": parameters of one have commas of their own."""
    return re.split(r",(?![a-z]+=)", text)


def _bench_rates(
    sources: list[Path],
    codecs: str | None,
    psnr: str | None,
    json_file: Path | None,
    page: Path | None,
) -> None:
    from tilepress.workflows.bench.rate_codecs import RD_CODECS
    from tilepress.workflows.bench.rate_distortion import TARGETS_DB, run_rd
    from tilepress.workflows.bench.rate_page import rd_page
    from tilepress.workflows.bench.rate_tables import rd_tables

    progress = open_console(stderr=True)
    try:
        targets = TARGETS_DB if psnr is None else tuple(map(float, psnr.split(",")))
    except ValueError as error:
        raise UsageError(
            f"comparing rates: got --psnr {psnr!r}, want numbers as in 30,40,50"
        ) from error
    found = run_rd(
        sources,
        _codec_names(codecs) if codecs else RD_CODECS,
        targets,
        on_step=lambda text: progress.print(text, markup=False, highlight=False, soft_wrap=True),
    )
    if json_file is not None:
        json_file.write_text(json.dumps(found.to_json(), indent=2) + "\n")
    if page is not None:
        page.write_text(rd_page(found), encoding="utf-8")
    console = open_console(pipe_width=WIDE)
    for table in rd_tables(found):
        console.print(table)
    for text in found.skipped:
        print(f"not measured: {text}", file=sys.stderr)
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
