"""An archive as an array job of a batch system, without Dask: plan ─► parts ─► finish.

Three scripts are written beside one another, so that a person can read and submit them by hand.
The parts wait for the plan, and ``tilepress finish`` for all parts, however they end: what is
missing then is listed, and submitting again does only that.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tilepress.errors import UsageError
from tilepress.workflows.cluster.choose import worker_environment
from tilepress.workflows.cluster.jobs import make_job
from tilepress.workflows.cluster.profiles import BatchProfile

__all__ = ["SYSTEMS", "ArrayJob"]

MOST_PARTS = 100_000


@dataclass(frozen=True, slots=True)
class _System:
    """How a batch system is told of an array and of what a job waits for."""

    mark: str
    """What directives begin with."""
    array: str
    """Directive of an array of ``n`` jobs."""
    part: str
    """Number of a part, from 0, in its script."""
    submit: tuple[str, ...]
    after_ok: str
    after_any: str
    log: str
    job_id: str
    """Pattern of the id in what submitting prints."""
    stdin: bool = False
    """Whether the script is read from stdin."""


SYSTEMS: dict[str, _System] = {
    "slurm": _System(
        mark="#SBATCH",
        array="--array=0-{last}",
        part="${SLURM_ARRAY_TASK_ID}",
        submit=("sbatch", "--parsable"),
        after_ok="--dependency=afterok:{id} --kill-on-invalid-dep=yes",
        after_any="--dependency=afterany:{id}",
        log="-o {folder}/{name}-%A_%a.log",
        job_id=r"(\d+)",
    ),
    "pbs": _System(
        mark="#PBS",
        array="-J 0-{last}",
        part="${{PBS_ARRAY_INDEX}}",
        submit=("qsub",),
        after_ok="-W depend=afterok:{id}",
        after_any="-W depend=afterany:{id}",
        log="-j oe -o {folder}/",
        job_id=r"(\S+)",
    ),
    "lsf": _System(
        mark="#BSUB",
        array='-J "tilepress[1-{n}]"',
        part="$((LSB_JOBINDEX - 1))",
        submit=("bsub",),
        after_ok="-w done({id})",
        after_any="-w ended({id})",
        log="-o {folder}/{name}-%J_%I.log",
        job_id=r"Job <(\d+)>",
        stdin=True,
    ),
    "sge": _System(
        mark="#$",
        array="-t 1-{n}",
        part="$((SGE_TASK_ID - 1))",
        submit=("qsub", "-terse"),
        after_ok="-hold_jid {id}",
        after_any="-hold_jid {id}",
        log="-o {folder}/",
        job_id=r"(\d+)",
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ArrayJob:
    """One archive, split into parts."""

    profile: BatchProfile
    parts: int
    paths: tuple[str, ...]
    """Sources, then the destination."""
    plan_options: tuple[str, ...] = ()
    part_options: tuple[str, ...] = ()
    folder: Path
    """Where the scripts are written."""

    def __post_init__(self) -> None:
        if self.profile.kind not in SYSTEMS:
            raise UsageError(
                f"submitting an array: {self.profile.kind} is not one of {', '.join(SYSTEMS)}; "
                "use compress --cluster"
            )
        least = 2 if self.profile.kind == "pbs" else 1
        if not least <= self.parts <= MOST_PARTS:
            raise UsageError(
                f"submitting an array: got {self.parts} parts, want {least} to {MOST_PARTS}"
            )

    def scripts(self) -> dict[str, str]:
        """Return the texts of the scripts by name: plan, parts, finish."""
        system = SYSTEMS[self.profile.kind]
        array = system.array.format(n=self.parts, last=self.parts - 1)
        part = system.part.replace("{{", "{").replace("}}", "}")
        plan = ["plan", *self.plan_options, "--", *self.paths]
        parts = ["compress", *self.part_options, "--", *self.paths]
        return {
            "plan": self._script("plan", [], shlex.join(plan)),
            "parts": self._script(
                "parts",
                [array],
                f'{parts[0]} --part "{part}/{self.parts}" {shlex.join(parts[1:])}',
            ),
            "finish": self._script("finish", [], shlex.join(["finish", "--", self.paths[-1]])),
        }

    def write(self) -> dict[str, Path]:
        """Write the scripts; return where they are."""
        self.folder.mkdir(parents=True, exist_ok=True)
        written = {}
        for name, text in self.scripts().items():
            written[name] = self.folder / f"{name}.sh"
            written[name].write_text(text)
            written[name].chmod(0o755)
        return written

    def submit(self, scripts: dict[str, Path]) -> dict[str, str]:
        """Submit the scripts one after another; return the ids of the jobs."""
        system = SYSTEMS[self.profile.kind]
        if shutil.which(system.submit[0]) is None:
            raise UsageError(
                f"submitting an array: there is no {system.submit[0]} here; the scripts are in "
                f"{self.folder}"
            )
        ids: dict[str, str] = {}
        ids["plan"] = _submit(system, scripts["plan"], "")
        ids["parts"] = _submit(system, scripts["parts"], system.after_ok.format(id=ids["plan"]))
        ids["finish"] = _submit(system, scripts["finish"], system.after_any.format(id=ids["parts"]))
        return ids

    def _script(self, name: str, directives: list[str], command: str) -> str:
        system = SYSTEMS[self.profile.kind]
        head = self._header(with_gpus=name == "parts")
        log = system.log.format(folder=self.profile.folder, name=name)
        if name != "parts":
            log = log.replace("%A_%a", "%j").replace("_%I", "")
        own = [f"{system.mark} {line}" for line in (_name(system, name), log, *directives)]
        environment = worker_environment(self.profile.cores)
        lines = [
            "#!/usr/bin/env bash",
            *head,
            *own,
            f"cd {shlex.quote(str(Path.cwd()))} || exit 1",
            *(f"export {key}={value}" for key, value in environment.items()),
            *self.profile.prologue,
            self._line(name, command),
        ]
        return "\n".join(line for line in lines if line) + "\n"

    def _line(self, name: str, command: str) -> str:
        line = f"{shlex.quote(self.profile.python or sys.executable)} -m tilepress {command}"
        if name == "plan":  # exit code 1: some inputs cannot be read; finish lists them again
            return f"{line} || [ $? -eq 1 ]"
        return f"exec {line}"

    def _header(self, *, with_gpus: bool) -> list[str]:
        """Return what dask-jobqueue would ask for one worker, without its name and log."""
        profile = self.profile
        if not with_gpus:
            nothing = {"gpus": 0, "gpu_type": None, "memory_per_gpu": None}
            profile = profile.model_copy(update=nothing)
        lines = str(make_job(profile).job_header).splitlines()
        return [line for line in lines if not re.search(r" -[JN] tilepress$", line)]


def _name(system: _System, name: str) -> str:
    if system.mark == "#BSUB":
        return "" if name == "parts" else f"-J tilepress-{name}"
    return f"{'-J' if system.mark == '#SBATCH' else '-N'} tilepress-{name}"


def _submit(system: _System, script: Path, dependency: str) -> str:
    command = [*system.submit, *shlex.split(dependency)]
    text = script.read_text() if system.stdin else None
    if not system.stdin:
        command.append(str(script))
    told = subprocess.run(  # noqa: S603  # the batch system's own command
        command, input=text, capture_output=True, text=True, check=False
    )
    found = re.search(system.job_id, told.stdout)
    if told.returncode != 0 or found is None:
        why = (told.stderr.strip() or told.stdout.strip() or "no word").splitlines()[0]
        raise UsageError(f"submitting {script}: {command[0]} said {why}")
    return found[1]
