"""The command bench: compare codecs on somebody's own images."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tilepress.errors import UsageError
from tilepress.workflows.cli.console import EXIT_FAILED, complain, open_console
from tilepress.workflows.cli.options import ForceGenerative

if TYPE_CHECKING:
    from rich.table import Table

    from tilepress.workflows.bench.compare import SpeedPlan
    from tilepress.workflows.bench.rate_distortion import RdBench
    from tilepress.workflows.bench.rate_speed import RateSpeeds

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
        int,
        typer.Option(
            metavar="ROUNDS",
            help="Compare speeds, too, in 3 or more rounds; with --rd speeds alone, near one PSNR.",
        ),
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
            "by itself, @net, @view or @gan after ntc decodes by that, @fast or @max is another "
            "tier of it; survey: the learned ones "
            "(MLP, ntc, a CNN, a GAN) beside JPEG.",
        ),
    ] = False,
    psnr: Annotated[
        str | None,
        typer.Option(
            metavar="DB[,DB…]", help="With --rd: PSNR to compare at; 30,34,…,50, with --speed 42."
        ),
    ] = None,
    force_generative: ForceGenerative = False,
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

        tilepress bench /archive/samples --rd --speed 5 --psnr 42
    """
    if rd:
        others = manifest is not None or max_error != "0" or not sizes or cache is not None
        if others or (speed and html is not None):
            raise UsageError(
                "comparing rates: --rd goes with --codecs, --psnr, --json, --force-generative and "
                "--html, or with --speed and --threads, alone"
            )
        how = _Rates(codecs, psnr, force_generative=force_generative)
        plan = _speed_plan(speed, speed_mib, threads)
        if plan is None:
            _bench_rates(sources, how, json_file, html)
        else:
            _bench_rate_speeds(sources, how, plan, json_file)
        return
    if psnr is not None or force_generative:
        raise UsageError("comparing codecs: --psnr and --force-generative go with --rd")
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


@dataclass(frozen=True, slots=True)
class _Rates:
    """What --rd compares."""

    codecs: str | None
    psnr: str | None
    force_generative: bool

    def names(self, default: Sequence[str]) -> Sequence[str]:
        return _codec_names(self.codecs) if self.codecs else default

    def targets_db(self, default: Sequence[float]) -> Sequence[float]:
        try:
            return default if self.psnr is None else tuple(map(float, self.psnr.split(",")))
        except ValueError as error:
            raise UsageError(
                f"comparing rates: got --psnr {self.psnr!r}, want numbers as in 30,40,50"
            ) from error


def _bench_rates(
    sources: list[Path], how: _Rates, json_file: Path | None, page: Path | None
) -> None:
    from tilepress.workflows.bench.rate_codecs import RD_CODECS
    from tilepress.workflows.bench.rate_distortion import TARGETS_DB, run_rd
    from tilepress.workflows.bench.rate_page import rd_page
    from tilepress.workflows.bench.rate_tables import rd_tables

    found = run_rd(
        sources,
        how.names(RD_CODECS),
        how.targets_db(TARGETS_DB),
        force_generative=how.force_generative,
        on_step=_on_step(),
    )
    if page is not None:
        page.write_text(rd_page(found), encoding="utf-8")
    _tell(found, json_file, rd_tables(found))


def _bench_rate_speeds(
    sources: list[Path], how: _Rates, plan: SpeedPlan, json_file: Path | None
) -> None:
    from tilepress.workflows.bench.rate_speed import (
        SPEED_CODECS,
        SPEED_DB,
        run_rate_speeds,
    )
    from tilepress.workflows.bench.rate_tables import speed_table

    targets = how.targets_db((SPEED_DB,))
    if len(targets) != 1:
        raise UsageError(f"comparing speeds: got --psnr {how.psnr}, want one number")
    found = run_rate_speeds(
        sources,
        how.names(SPEED_CODECS),
        targets[0],
        rounds=plan.rounds,
        threads=plan.threads,
        on_step=_on_step(),
    )
    _tell(found, json_file, [speed_table(found)])


def _on_step() -> Callable[[str], None]:
    progress = open_console(stderr=True)
    return lambda text: progress.print(text, markup=False, highlight=False, soft_wrap=True)


def _tell(found: RdBench | RateSpeeds, json_file: Path | None, tables: Iterable[Table]) -> None:
    """Print and write what was measured, and what was not; exits where images failed."""
    if json_file is not None:
        json_file.write_text(json.dumps(found.to_json(), indent=2) + "\n")
    console = open_console(pipe_width=WIDE)
    for table in tables:
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
        of_threads = "" if threads is None else f", --threads {threads}"
        raise UsageError(
            f"comparing speeds: got --speed {rounds}, --speed-mib {mebibytes}{of_threads}; "
            f"want {MIN_ROUNDS} rounds, 1 MiB and 1 thread at least"
        )
    return SpeedPlan(rounds=rounds, limit_bytes=mebibytes << 20, threads=threads)
