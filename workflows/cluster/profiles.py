"""Profiles: what a job of a batch system is, in the same words for all, or where a scheduler is.

How a system wants to be told is known in ``systems``. Each job runs one worker process, for several
in a job start one another again and again while jobs come and go (dask-jobqueue#498).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

import pydantic
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

__all__ = [
    "ADDRESS_EXAMPLE",
    "SPECIAL_KEYS",
    "USUAL_KEYS",
    "AddressProfile",
    "BatchProfile",
    "Profile",
    "TlsFiles",
]

USUAL_KEYS = ("walltime", "queue", "account")
"""Keys that most batch systems know."""

SPECIAL_KEYS = ("memory_per_gpu", "gpu_type", "memory_property", "disk")
"""Keys that few batch systems know."""

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

    kind: str
    """Name of a batch system."""
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

ADDRESS_EXAMPLE = """\
# A scheduler that somebody else runs: the Kubernetes operator (examples/cluster/kubernetes.yaml),
# Dask Gateway, or one started by hand with
#
#     dask scheduler --port 8786
#     dask worker tcp://HOST:8786 --nworkers 1 --nthreads 8 --resources CPU=1
#     dask worker tcp://HOST:8786 --nworkers 1 --nthreads 8 --resources GPU=1    # beside a GPU
#
# Without TLS whoever can reach its ports can run code as the user of its workers: start it with
# --tls-ca-file, --tls-cert and --tls-key, workers too, and use the last two lines below.
# Without resources a worker codes on the CPU. One worker runs one task at a time, with all threads.
# Python and tilepress must be the same there as here.
kind: address
address: tcp://127.0.0.1:8786
# address: tls://scheduler:8786
# tls: {ca: ca.pem, cert: client.pem, key: client-key.pem}
"""
