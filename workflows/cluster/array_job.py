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
from tilepress.workflows.cluster.jobs import make_job
from tilepress.workflows.cluster.profiles import BatchProfile
from tilepress.workflows.cluster.settings import worker_environment
from tilepress.workflows.cluster.systems import SYSTEMS, batch_system
from tilepress.workflows.cluster.systems.base import ArraySyntax

__all__ = ["ArrayJob"]

MOST_PARTS = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ArrayJob:
    """One archive, split into parts."""

    profile: BatchProfile
    parts: int
    paths: tuple[str, ...]
    """Sources, then the destination."""
    plan_options: tuple[str, ...] = ()
    part_options: tuple[str, ...] = ()
    finish_options: tuple[str, ...] = ()
    folder: Path
    """Where the scripts are written."""

    def __post_init__(self) -> None:
        least = self._syntax.least
        if not least <= self.parts <= MOST_PARTS:
            raise UsageError(
                f"submitting an array: got {self.parts} parts, want {least} to {MOST_PARTS}"
            )

    @property
    def _syntax(self) -> ArraySyntax:
        """How the batch system wants to be told; UsageError where it takes no arrays of ours."""
        syntax = batch_system(self.profile.kind).array
        if syntax is None:
            takers = [name for name in SYSTEMS if batch_system(name).array is not None]
            raise UsageError(
                f"submitting an array: {self.profile.kind} is not one of {', '.join(takers)}; "
                "use compress --cluster"
            )
        return syntax

    def scripts(self) -> dict[str, str]:
        """Return the texts of the scripts by name: plan, parts, finish."""
        plan = ["plan", *self.plan_options, "--", *self.paths]
        parts = ["compress", *self.part_options, "--", *self.paths]
        return {
            "plan": self._script("plan", shlex.join(plan)),
            "parts": self._script(
                "parts",
                f'{parts[0]} --part "{self._syntax.part}/{self.parts}" {shlex.join(parts[1:])}',
            ),
            "finish": self._script(
                "finish", shlex.join(["finish", *self.finish_options, "--", self.paths[-1]])
            ),
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
        syntax = self._syntax
        if shutil.which(syntax.submit[0]) is None:
            raise UsageError(
                f"submitting an array: there is no {syntax.submit[0]} here; the scripts are in "
                f"{self.folder}"
            )
        ids: dict[str, str] = {}
        ids["plan"] = _submit(syntax, scripts["plan"], "")
        ids["parts"] = _submit(
            syntax, scripts["parts"], syntax.after_success.format(id=ids["plan"])
        )
        ids["finish"] = _submit(syntax, scripts["finish"], syntax.after_end.format(id=ids["parts"]))
        return ids

    def _script(self, name: str, command: str) -> str:
        environment = worker_environment(self.profile.cores)
        lines = [
            "#!/usr/bin/env bash",
            *self._header(with_gpus=name == "parts"),
            *self._directives(name),
            f"cd {shlex.quote(str(Path.cwd()))} || exit 1",
            *(f"export {key}={value}" for key, value in environment.items()),
            *self.profile.prologue,
            self._line(name, command),
        ]
        return "\n".join(line for line in lines if line) + "\n"

    def _directives(self, name: str) -> list[str]:
        """Return those that dask-jobqueue does not write, or that it would write for a worker."""
        syntax = self._syntax
        templates = syntax.array if name == "parts" else syntax.job
        values = {
            "name": name,
            "folder": self.profile.folder,
            "count": self.parts,
            "last": self.parts - 1,
        }
        return [f"{syntax.mark} {template.format(**values)}" for template in templates]

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


def _submit(syntax: ArraySyntax, script: Path, dependency: str) -> str:
    command = [*syntax.submit, *shlex.split(dependency)]
    text = script.read_text() if syntax.stdin else None
    if not syntax.stdin:
        command.append(str(script))
    told = subprocess.run(  # noqa: S603  # the batch system's own command
        command, input=text, capture_output=True, text=True, check=False
    )
    found = re.search(syntax.job_id, told.stdout)
    if told.returncode != 0 or found is None:
        why = (told.stderr.strip() or told.stdout.strip() or "no word").splitlines()[0]
        raise UsageError(f"submitting {script}: {command[0]} said {why}")
    return found[1]
