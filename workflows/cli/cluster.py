"""The commands ``tilepress cluster``: show, check, init, submit."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tilepress.errors import UsageError
from tilepress.workflows.cli.console import EXIT_FAILED, complain
from tilepress.workflows.cluster.systems import SYSTEMS

if TYPE_CHECKING:
    from tilepress.workflows.cluster.profiles import Profile

__all__ = ["cluster_app", "register"]

cluster_app = typer.Typer(
    help="Profiles of batch systems and clusters: write, check, see, submit.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)

ProfileFile = Annotated[str, typer.Argument(metavar="PROFILE", help="A profile (*.yaml).")]

WAIT_S = 600.0
"""Seconds that a check waits for workers where nothing is said."""

NOT_FOR_PARTS = (
    "cluster",
    "part",
    "tune",
    "workers",
    "checksum",
    "dashboard",
    "dry_run",
    "report",
    "events",
)


def register(app: typer.Typer) -> None:
    """Add this group of commands to the program."""
    app.add_typer(cluster_app, name="cluster")


@cluster_app.command()
def init(
    system: Annotated[
        str,
        typer.Argument(metavar="SYSTEM", help=f"{', '.join(SYSTEMS)} or address."),
    ],
    gpu: Annotated[bool, typer.Option("--gpu", help="Jobs with a GPU each.")] = False,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write it there, unless there is a file.")
    ] = None,
) -> None:
    """Write a profile to start from, with comments.

    **Examples**

        tilepress cluster init slurm > slurm.yaml

        tilepress cluster init pbs --gpu --out pbs.yaml
    """
    from tilepress.workflows.cluster.profile_files import example_profile, known_kinds

    kinds = known_kinds()
    if system not in kinds:
        raise UsageError(f"writing a profile: got {system}, want one of {', '.join(kinds)}")
    text = example_profile(system, gpu=gpu)
    if out is None:
        print(text, end="")
        return
    try:
        with out.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise UsageError(f"writing a profile: {out} exists") from error
    print(out)


@cluster_app.command()
def show(profile: ProfileFile) -> None:
    """Print a profile with its defaults, and the job script as it would be submitted.

    **Example**

        tilepress cluster show slurm.yaml
    """
    from tilepress.workflows.cluster.profiles import BatchProfile

    loaded = _load(profile)
    print(_as_yaml(loaded), end="")
    if isinstance(loaded, BatchProfile):
        from tilepress.workflows.cluster.jobs import job_script

        print(f"---\n{job_script(loaded)}", end="")


@cluster_app.command()
def check(
    profile: ProfileFile,
    run: Annotated[
        bool,
        typer.Option("--run", help="Start one job, or join the scheduler, and ask its workers."),
    ] = False,
    destination: Annotated[
        str | None,
        typer.Option(metavar="DST", help="As --run; and whether workers can write there."),
    ] = None,
    wait: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS", help="As --run; how long to wait for workers. [default: 600]"
        ),
    ] = None,
) -> None:
    """Check a profile: its keys, the commands of the system, and its workers with --run.

    With --run it tells where the scheduler is and whether connections are encrypted, when the
    first worker came, and of each worker its host, threads, memory and device, and whether a tile
    that it codes comes back. The exit code is 0 where all is well, else 1.

    **Examples**

        tilepress cluster check slurm.yaml

        tilepress cluster check slurm.yaml --run --destination /scratch/out
    """
    from tilepress.workflows.cluster.check import check_workers, problems

    if wait is not None and not 0 < wait < float("inf"):
        raise UsageError(f"checking a profile: got --wait {wait:g}, want seconds, more than 0")
    loaded = _load(profile)
    print(f"{profile}: the profile is well formed")
    found = problems(loaded)
    for text in found:
        complain(text)
    wanted = run or wait is not None or destination is not None
    if wanted and not found:
        wait_s = WAIT_S if wait is None else wait
        found = check_workers(loaded, destination, wait_s, lambda line: print(line, flush=True))
        for text in found:
            complain(text)
    if found:
        raise typer.Exit(EXIT_FAILED)


@cluster_app.command(context_settings={"ignore_unknown_options": True})
def submit(
    profile: ProfileFile,
    line: Annotated[
        list[str],
        typer.Argument(metavar="-- SRC... DST [OPTIONS]", help="As tilepress compress takes it."),
    ],
    parts: Annotated[int, typer.Option(metavar="N", help="Jobs of the array.")],
    folder: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Where scripts go; default: the shared folder."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Write the scripts, submit nothing.")
    ] = False,
) -> None:
    """Compress as an array job without Dask: a job that plans, N parts, a job that finishes.

    Submitting the same line again does what is missing. For Slurm, PBS, LSF and SGE.

    **Examples**

        tilepress cluster submit slurm.yaml --parts 64 -- /archive /scratch/out --tier fast

        tilepress cluster submit pbs.yaml --parts 16 --dry-run -- /archive s3://bucket/out
    """
    from tilepress.workflows.cluster.array_job import ArrayJob
    from tilepress.workflows.cluster.profiles import BatchProfile

    loaded = _load(profile)
    if not isinstance(loaded, BatchProfile):
        raise UsageError(f"submitting an array: {profile} is an address, want a batch system")
    paths, plan_options, part_options, finish_options = _compress_line(line)
    job = ArrayJob(
        profile=loaded,
        parts=parts,
        paths=paths,
        plan_options=plan_options,
        part_options=part_options,
        finish_options=finish_options,
        folder=(folder or loaded.folder).absolute(),
    )
    loaded.folder.mkdir(parents=True, exist_ok=True)
    scripts = job.write()
    for name, path in scripts.items():
        print(f"{name}: {path}")
    if not dry_run:
        for name, job_id in job.submit(scripts).items():
            print(f"{name}: job {job_id}")


def _load(name: str) -> Profile:
    """Read a profile; every mistake in it is a line of its own."""
    from tilepress.workflows.cluster.profile_files import load_profile

    try:
        return load_profile(name)
    except UsageError as error:
        *others, last = str(error).splitlines()
        for line in others:
            complain(line)
        raise UsageError(last) from error


def _compress_line(line: list[str]) -> tuple[tuple[str, ...], ...]:
    """Return paths, the options for ``plan``, those for ``compress --part``, and for ``finish``.

    Of a key to sign with only the path is in them.
    """
    from tilepress.workflows.cli import write

    program = typer.Typer()
    write.register(program)
    commands: Any = typer.main.get_command(program)
    compress, plan = commands.commands["compress"], commands.commands["plan"]
    context = compress.make_context("compress", list(line))
    given = {
        parameter.name: parameter
        for parameter in compress.params
        if context.get_parameter_source(parameter.name).name == "COMMANDLINE"
    }
    paths = tuple(context.params["paths"])
    for name in NOT_FOR_PARTS:
        if name in given:
            option = name.replace("_", "-")
            raise UsageError(f"submitting an array: --{option} does not go with parts")
    if len(paths) < 2:
        raise UsageError("submitting an array: give at least one source and a destination")
    if "-" in paths:
        raise UsageError("submitting an array: jobs have no stdin; put the list into a file: @FILE")
    plans = {parameter.name for parameter in plan.params}

    def tokens(names: set[str]) -> tuple[str, ...]:
        out: list[str] = []
        for name, parameter in given.items():
            if name in names and name != "paths":
                flag = max(parameter.opts, key=len)
                value = context.params[name]
                if parameter.is_flag:
                    out.append(flag)
                    continue
                for one in value if isinstance(value, (list, tuple)) else (value,):
                    out += [flag, str(getattr(one, "value", one))]
        return tuple(out)

    return paths, tokens(plans), tokens(set(given) - {"force"}), tokens({"sign"})


def _as_yaml(profile: Profile) -> str:
    import yaml

    values = profile.model_dump(mode="json", exclude_none=True)
    for name in ("memory", "memory_per_gpu", "disk"):
        if name in values:
            values[name] = f"{values[name] / 2**30:g}GB"
    text: str = yaml.safe_dump(values, sort_keys=False)
    return text
