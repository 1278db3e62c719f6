"""Profiles: what a batch system is asked for, as a YAML file that a person writes and can check.

A profile says what a job is (cores, memory, GPUs) in the same words for every system; how the
system wants to be told is known here. Each job runs one worker process, for several in a job start
one another again and again while jobs come and go (dask-jobqueue#498).
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import pydantic
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from tilepress.errors import UsageError
from tilepress.workflows.cluster.choose import worker_environment

__all__ = ["AddressProfile", "BatchProfile", "Profile", "System", "job_arguments", "load_profile"]

System = Literal["slurm", "pbs", "lsf", "sge", "oar", "moab", "htcondor"]

LIFETIME_MARGIN_S = 300
"""Seconds before the end of a job at which its worker stops taking tasks."""

SHORT_WALLTIME_S = 1800
"""Jobs up to so long get no lifetime: the margin would be a large part of them."""

WALLTIME = re.compile(r"(?:(?P<days>\d+)-)?(?P<hours>\d+):(?P<minutes>\d\d):(?P<seconds>\d\d)")

_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_SIZE = re.compile(r"(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>[KMGT]?)i?B?", re.IGNORECASE)

_STRICT = ConfigDict(extra="forbid", frozen=True)


def _bytes(text: object) -> int:
    """Return the bytes of "32GB"; batch systems mean powers of two, whatever they call them."""
    found = _SIZE.fullmatch(str(text).strip())
    if found is None:
        raise ValueError("want a size such as 32GB")
    return int(float(found["number"]) * _UNITS[found["unit"].upper()])


Bytes = Annotated[int, pydantic.BeforeValidator(_bytes), Field(ge=2**28)]


class SchedulerOptions(BaseModel):
    """Where the scheduler, which is a part of the command, listens."""

    model_config = _STRICT

    host: str | None = None
    port: int = Field(default=0, ge=0, le=65535)
    interface: str | None = None
    dashboard: bool = False


class BatchProfile(BaseModel):
    """Jobs of a batch system."""

    model_config = _STRICT

    kind: System
    jobs: int = Field(ge=1, le=100_000)
    """Jobs to keep running."""
    cores: int = Field(ge=1, le=1024)
    """Of a job."""
    memory: Bytes
    """Of a job, e.g. 32GB."""
    gpus: int = Field(default=0, ge=0, le=16)
    """Of a job. More than one needs dask-cuda on the nodes, which starts a worker for each."""
    gpu_type: str | None = None
    memory_per_gpu: Bytes | None = None
    """Slurm: ask for memory with --mem-per-gpu in place of --mem."""
    walltime: str | None = None
    """hours:minutes:seconds, as the system takes it."""
    queue: str | None = None
    account: str | None = None
    disk: Bytes | None = None
    """HTCondor: scratch space of a job."""
    memory_property: str | None = None
    """OAR: the property that holds the MiB of memory per core, e.g. memcore."""
    directives: tuple[str, ...] = ()
    """Further lines for the head of the job script, without #SBATCH and the like."""
    skip_directives: tuple[str, ...] = ()
    """Generated lines that contain one of these are left out."""
    prologue: tuple[str, ...] = ()
    """Commands before the worker starts, e.g. module load."""
    python: str | None = None
    """Python of the jobs; default the one that runs this."""
    interface: str | None = None
    """Network interface of workers and scheduler, e.g. ib0."""
    scheduler: SchedulerOptions = SchedulerOptions()
    tls: bool = True
    """Encrypt and authenticate all connections with keys made for this run."""
    shared_folder: str = "tilepress-jobs"
    """Seen by this machine and the nodes alike: job logs, and the keys while the run lasts."""
    scratch: str | None = None
    """Folder of a node for a worker's temporary files."""

    @field_validator("walltime")
    @classmethod
    def _walltime(cls, text: str | None) -> str | None:
        if text is not None and WALLTIME.fullmatch(text) is None:
            raise ValueError('want hours:minutes:seconds in quotes, e.g. "04:00:00"')
        return text

    @model_validator(mode="after")
    def _fit(self) -> BatchProfile:
        wrong = [
            (self.memory_per_gpu and self.kind != "slurm", "memory_per_gpu is for slurm only"),
            (self.memory_per_gpu and not self.gpus, "memory_per_gpu needs gpus"),
            (self.gpu_type and self.kind not in ("slurm", "lsf"), "gpu_type is for slurm and lsf"),
            (self.memory_property and self.kind != "oar", "memory_property is for oar only"),
            (self.disk and self.kind != "htcondor", "disk is for htcondor only"),
            (self.kind == "htcondor" and not self.disk, "htcondor needs disk, e.g. disk: 10GB"),
            (self.kind == "htcondor" and self.walltime, "htcondor takes no walltime"),
            (self.kind == "htcondor" and self.queue, "htcondor takes no queue"),
        ]
        for found, text in wrong:
            if found:
                raise ValueError(text)
        return self

    @property
    def walltime_s(self) -> int | None:
        """Return how long a job may run."""
        found = WALLTIME.fullmatch(self.walltime or "")
        if found is None:
            return None
        days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
        return ((days * 24 + hours) * 60 + minutes) * 60 + seconds

    @property
    def folder(self) -> Path:
        """Return the shared folder."""
        return Path(self.shared_folder).expanduser().absolute()


class TlsFiles(BaseModel):
    """Keys of a scheduler that somebody else runs."""

    model_config = _STRICT

    ca: str
    cert: str
    key: str


class AddressProfile(BaseModel):
    """A scheduler that runs somewhere: Kubernetes operator, Gateway, by hand."""

    model_config = _STRICT

    kind: Literal["address"]
    address: str = Field(pattern=r"^(tcp|tls|gateway)://.+")
    tls: TlsFiles | None = None

    @model_validator(mode="after")
    def _fit(self) -> AddressProfile:
        if not self.address.startswith("tcp://") and self.tls is None:
            raise ValueError("such an address needs tls with ca, cert and key, in a profile")
        return self


Profile = BatchProfile | AddressProfile
KINDS = (*get_args(System), "address")


def load_profile(path: str | Path) -> Profile:
    """Read and check a profile.

    UsageError has a line for every mistake, with file, key, what was found and what is wanted.
    """
    import yaml

    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"reading profile {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"reading profile {path}: it is not text") from error
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark is not None else ""
        raise UsageError(f"reading profile {path}{line}: it is not YAML") from error
    return parse_profile(content, str(path))


def parse_profile(content: object, name: str) -> Profile:
    """Check what a profile holds."""
    if not isinstance(content, Mapping):
        raise UsageError(f"reading profile {name}: got no keys, want kind: slurm and so on")
    kind = content.get("kind")
    if kind not in KINDS:
        meant = _meant(str(kind), KINDS)
        told = f"got {kind!r}, want one of" if "kind" in content else "it is missing; want one of"
        raise UsageError(f"reading profile {name}: kind: {told} {', '.join(KINDS)}{meant}")
    model: type[Profile] = AddressProfile if kind == "address" else BatchProfile
    try:
        return model.model_validate(dict(content))
    except pydantic.ValidationError as error:
        lines = [f"reading profile {name}: {text}" for text in _mistakes(error, model)]
        raise UsageError("\n".join(lines)) from error


_WANTED = {
    "bool_": "true or false",
    "dict_": "keys and values",
    "float_": "a number",
    "int_": "a whole number",
    "literal_error": "one of {expected}",
    "greater_than_equal": "{ge} or more",
    "less_than_equal": "{le} or less",
    "model_": "keys and values",
    "string_": "text; put it in quotes",
    "tuple_": "a list: [one, two]",
}
"""What is wanted in place of a value, by how pydantic's type of the error begins."""

_WANTED_OF_KEY = {
    "address": "tcp://HOST:PORT, tls://HOST:PORT or gateway://HOST:PORT",
    "memory": "256MB or more",
    "memory_per_gpu": "256MB or more",
    "disk": "256MB or more",
    "walltime": 'hours:minutes:seconds in quotes, e.g. "04:00:00"',
}
"""What is wanted of keys whose values are more than numbers and text."""


def _mistakes(error: pydantic.ValidationError, model: type[BaseModel]) -> list[str]:
    """Return what is wrong: unknown keys first, for a typo makes the right key missing."""
    found = error.errors(include_url=False)
    order = ("extra_forbidden", "missing")
    found.sort(key=lambda one: order.index(one["type"]) if one["type"] in order else len(order))
    return [_mistake(dict(one), model) for one in found]


def _mistake(found: dict[str, Any], model: type[BaseModel]) -> str:
    """Return one line about one mistake."""
    key = ".".join(map(str, found["loc"]))
    if found["type"] == "extra_forbidden":
        *above, name = map(str, found["loc"])
        known = _model_at(model, above).model_fields
        meant = _meant(name, known)
        return f"unknown key {key!r}{meant or '; known are ' + ', '.join(known)}"
    if found["type"] == "missing":
        return f"{key}: it is missing"
    wanted = _wanted(found)
    if wanted is None:
        wanted = found["msg"].removeprefix("Value error, ").removeprefix("want ")
        if not key:
            return str(wanted)
    return f"{key}: got {found['input']!r}, want {wanted}"


def _wanted(found: dict[str, Any]) -> str | None:
    """Return what is wanted instead; None: a check of our own says so."""
    if found["type"] == "value_error":
        return None
    of_key = _WANTED_OF_KEY.get(str(found["loc"][-1]))
    if of_key is not None:
        return of_key
    for kind, text in _WANTED.items():
        if str(found["type"]).startswith(kind):
            return text.format(**found.get("ctx", {}))
    return None


def _model_at(model: type[BaseModel], keys: list[str]) -> type[BaseModel]:
    """Return what describes the value of nested keys."""
    for key in keys:
        annotation = model.model_fields[key].annotation
        (model,) = (
            one
            for one in (annotation, *get_args(annotation))
            if isinstance(one, type) and issubclass(one, BaseModel)
        )
    return model


def _meant(word: str, known: Iterable[str]) -> str:
    """Return a question where a word is like a known one, else nothing."""
    close = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


# how each system is told


def job_arguments(profile: BatchProfile) -> dict[str, Any]:
    """Return the arguments of dask-jobqueue's cluster for jobs of a profile."""
    arguments: dict[str, Any] = {
        "cores": profile.cores,
        "memory": f"{profile.memory}B",
        "processes": 1,
        "interface": profile.interface,
        "python": profile.python,
        "job_name": "tilepress",
        "log_directory": str(profile.folder),
        "local_directory": profile.scratch,
        "job_script_prologue": _prologue(profile),
        "job_directives_skip": list(profile.skip_directives),
        "job_extra_directives": list(profile.directives),
        "worker_extra_args": _worker_arguments(profile),
    }
    if profile.gpus > 1:
        arguments["worker_command"] = "dask_cuda.cli worker"
    _ASK[profile.kind](profile, arguments)
    return arguments


def _prologue(profile: BatchProfile) -> list[str]:
    lines = [f"export {name}={value}" for name, value in worker_environment(profile.cores).items()]
    memory = "DASK_DISTRIBUTED__WORKER__MEMORY__"
    lines += [f"export {memory}{name}=False" for name in ("TARGET", "SPILL", "PAUSE")]
    return lines + list(profile.prologue)


def _worker_arguments(profile: BatchProfile) -> list[str]:
    resource = "GPU=1" if profile.gpus else "CPU=1"
    arguments = ["--resources", resource, "--no-dashboard"]
    walltime = profile.walltime_s
    if walltime is not None and walltime > SHORT_WALLTIME_S and profile.gpus < 2:
        stagger = LIFETIME_MARGIN_S // 2
        arguments += [
            "--lifetime", f"{walltime - LIFETIME_MARGIN_S - stagger}s",
            "--lifetime-stagger", f"{stagger}s",
        ]  # fmt: skip
    return arguments


def _ask_slurm(profile: BatchProfile, arguments: dict[str, Any]) -> None:
    arguments |= _named(profile, "queue", "account", "walltime")
    if profile.gpus:
        kind = f"{profile.gpu_type}:" if profile.gpu_type else ""
        arguments["job_extra_directives"].insert(0, f"--gres=gpu:{kind}{profile.gpus}")
    if profile.memory_per_gpu:
        arguments["job_directives_skip"].append("--mem=")
        arguments["job_extra_directives"].insert(
            1, f"--mem-per-gpu={math.ceil(profile.memory_per_gpu / 2**20)}M"
        )


def _ask_pbs(profile: BatchProfile, arguments: dict[str, Any]) -> None:
    arguments |= _named(profile, "queue", "account", "walltime")
    gpus = f":ngpus={profile.gpus}" if profile.gpus else ""
    arguments["resource_spec"] = f"select=1:ncpus={profile.cores}{gpus}:mem={_mb(profile)}mb"


def _ask_moab(profile: BatchProfile, arguments: dict[str, Any]) -> None:
    arguments |= _named(profile, "queue", "account", "walltime")
    gpus = f":gpus={profile.gpus}" if profile.gpus else ""
    arguments["resource_spec"] = f"nodes=1:ppn={profile.cores}{gpus},mem={_mb(profile)}mb"


def _ask_lsf(profile: BatchProfile, arguments: dict[str, Any]) -> None:
    arguments |= _named(profile, "queue", account="project")
    if profile.walltime_s is not None:
        minutes = math.ceil(profile.walltime_s / 60)
        arguments["walltime"] = f"{minutes // 60:02d}:{minutes % 60:02d}"
    if profile.gpus:
        kind = f":gmodel={profile.gpu_type}" if profile.gpu_type else ""
        arguments["job_extra_directives"].insert(
            0, f'-gpu "num={profile.gpus}:mode=exclusive_process{kind}"'
        )


def _ask_sge(profile: BatchProfile, arguments: dict[str, Any]) -> None:
    arguments |= _named(profile, "queue", "walltime", account="project")
    # h_vmem counts for each slot; without a parallel environment a job has one
    gpu = f",gpu={profile.gpus}" if profile.gpus else ""
    arguments["resource_spec"] = f"h_vmem={_mb(profile)}M{gpu}"


def _ask_oar(profile: BatchProfile, arguments: dict[str, Any]) -> None:
    arguments |= _named(profile, "queue", "walltime", account="project")
    arguments["resource_spec"] = f"/nodes=1/core={profile.cores}"
    # of several -p lines OAR takes the last alone, so all wishes go into one
    arguments["memory_per_core_property_name"] = "not_applicable"
    wishes = ["gpu_count>0"] if profile.gpus else []
    if profile.memory_property:
        mib = math.ceil(profile.memory / profile.cores / 2**20)
        wishes.append(f"{profile.memory_property}>={mib}")
    others = arguments["job_extra_directives"]
    wishes += [line[2:].strip().strip("'\"") for line in others if line.startswith("-p")]
    rest = [line for line in others if not line.startswith("-p")]
    wish = [f"-p '{' AND '.join(wishes)}'"] if wishes else []
    arguments["job_extra_directives"] = [*wish, *rest]


def _ask_htcondor(profile: BatchProfile, arguments: dict[str, Any]) -> None:
    arguments["disk"] = f"{profile.disk}B"
    extra = dict(_pair(line) for line in arguments["job_extra_directives"])
    if profile.gpus:
        extra = {"request_gpus": str(profile.gpus)} | extra
    if profile.account:
        extra = {"accounting_group": profile.account} | extra
    arguments["job_extra_directives"] = extra


_ASK: dict[str, Callable[[BatchProfile, dict[str, Any]], None]] = {
    "slurm": _ask_slurm,
    "pbs": _ask_pbs,
    "moab": _ask_moab,
    "lsf": _ask_lsf,
    "sge": _ask_sge,
    "oar": _ask_oar,
    "htcondor": _ask_htcondor,
}


def _named(profile: BatchProfile, *names: str, **renamed: str) -> dict[str, Any]:
    given = {name: getattr(profile, name) for name in names}
    given |= {other: getattr(profile, name) for name, other in renamed.items()}
    return {name: value for name, value in given.items() if value is not None}


def _mb(profile: BatchProfile) -> int:
    return math.ceil(profile.memory / 2**20)


def _pair(line: str) -> tuple[str, str]:
    name, equals, value = line.partition("=")
    if not equals:
        raise UsageError(f"reading a profile: directives: got {line!r}, want name = value")
    return name.strip(), value.strip()
