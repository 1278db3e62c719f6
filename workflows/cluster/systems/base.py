"""What tilepress must know of a batch system; a subclass in a module of its own describes one."""

from __future__ import annotations

import math
import signal
import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any, ClassVar

from tilepress.errors import UsageError
from tilepress.workflows.cluster.closed import WORKER_CLASS, job_scratch
from tilepress.workflows.cluster.profiles import USUAL_KEYS, BatchProfile
from tilepress.workflows.cluster.settings import worker_environment

if TYPE_CHECKING:
    from dask_jobqueue.core import JobQueueCluster

__all__ = ["ArraySyntax", "BatchSystem", "given_keys", "mebibytes"]

LIFETIME_MARGIN_S = 300
"""Seconds before the end of a job at which its worker stops taking tasks."""

SHORT_WALLTIME_S = 1800
"""Jobs up to so long get no lifetime: the margin would be a large part of them."""

EXAMPLE = """\
# Workers of tilepress as jobs of {title}.
#
#     tilepress cluster check FILE                     is it right?
#     tilepress cluster show FILE                      the job script
#     tilepress compress SRC... DST --cluster FILE     use it
kind: {kind}

jobs: {jobs}  # kept running until the archive is done
cores: {cores}  # of a job; one worker process codes with all of them
memory: {memory}  # of a job; about 1 GB a core is enough for most images
{gpus}{keys}
# python: /shared/venv/bin/python  # the default is the one that runs the command
# prologue: ["module load python"]  # commands before the worker starts
# directives: [{directive}]  # further lines for the head of the job script
# interface: ib0  # network interface of workers and scheduler
# scheduler: {{host: login1, dashboard: true}}
# tls: false  # only where the network is trusted
shared_folder: tilepress-jobs  # seen by the nodes, too: job logs, and keys during the run
"""

EXAMPLE_GPUS = "gpus: 1  # of a job; with more than one, dask-cuda must be on the nodes\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class ArraySyntax:
    """How a batch system takes an array of jobs, and jobs that wait for others."""

    mark: str
    """What directives begin with."""
    job: tuple[str, ...]
    """Directives of a job that is called ``{name}`` and logs into ``{folder}``."""
    array: tuple[str, ...]
    """Directives of an array of ``{count}`` jobs, the ``{last}`` counted from 0."""
    part: str
    """Number of a job of the array, from 0, in its script."""
    submit: tuple[str, ...]
    """Command that takes a script."""
    after_success: str
    """Its arguments for a job that waits until the job ``{id}`` has ended well."""
    after_end: str
    """The same however that job ends."""
    job_id: str
    """Pattern of the id in what submitting prints."""
    stdin: bool = False
    """Whether the script is read from stdin."""
    least: int = 1
    """Jobs of an array at least."""


class BatchSystem(ABC):
    """How a batch system is asked for jobs that run one worker each, and for news of them."""

    name: ClassVar[str]
    """What ``kind`` says in a profile."""
    title: ClassVar[str]
    """Its name for people."""
    dask_class: ClassVar[str]
    """Its class in dask-jobqueue."""
    keys: ClassVar[frozenset[str]] = frozenset(USUAL_KEYS)
    """Which of ``USUAL_KEYS`` and ``SPECIAL_KEYS`` its profiles may have."""
    needs: ClassVar[Mapping[str, str]] = {}
    """Those that they must have, with an example of each."""

    status: ClassVar[tuple[str, ...]]
    """Command that tells of one job, whose id follows; of one that is over it fails, is silent or
    says one of ``over``."""
    over: ClassVar[tuple[str, ...]]
    array: ClassVar[ArraySyntax | None] = None
    """None: archives are not submitted to it as arrays."""

    example_keys: ClassVar[str] = 'queue: {queue}\nwalltime: "04:00:00"\n# account: my-project\n'
    """Lines of an example profile that others do not have; so are the next two."""
    example_gpu_keys: ClassVar[str] = ""
    example_directive: ClassVar[str]

    @abstractmethod
    def arguments(self, profile: BatchProfile) -> dict[str, Any]:
        """Return those arguments of dask-jobqueue's class that only this system has, or has in
        words of its own."""

    def mistake(self, profile: BatchProfile) -> str | None:
        """Return what does not fit together in a profile of this system."""
        return None

    def job_arguments(self, profile: BatchProfile) -> dict[str, Any]:
        """Return all arguments of dask-jobqueue's class for jobs of a profile."""
        arguments: dict[str, Any] = {
            "cores": profile.cores,
            "memory": f"{profile.memory}B",
            "processes": 1,
            "interface": profile.interface,
            "python": profile.python,
            "job_name": "tilepress",
            "log_directory": str(profile.folder),
            "job_script_prologue": _prologue(profile),
            "job_directives_skip": list(profile.skip_directives),
            "job_extra_directives": list(profile.directives),
            "worker_extra_args": _worker_arguments(profile),
        }
        if profile.gpus > 1:
            arguments["worker_command"] = "dask_cuda.cli worker"
        return arguments | self.arguments(profile)

    def cluster_class(self) -> type[JobQueueCluster]:
        """Return dask-jobqueue's class; UsageError where the package is not installed."""
        found: type[JobQueueCluster] = getattr(_dask_jobqueue(), self.dask_class)
        return found

    def job_class(self) -> Any:  # noqa: ANN401  # untyped there
        """Return dask-jobqueue's class of one job."""
        found: Any = self.cluster_class()
        return found.job_cls

    def example_profile(self, *, gpu: bool) -> str:
        """Return the text of a profile to start from."""
        return EXAMPLE.format(
            title=self.title,
            kind=self.name,
            jobs=4 if gpu else 16,
            cores=8,
            memory="32GB" if gpu else "16GB",
            gpus=EXAMPLE_GPUS + self.example_gpu_keys if gpu else "",
            keys=self.example_keys.format(queue="gpu" if gpu else "normal"),
            directive=self.example_directive,
        )


def given_keys(profile: BatchProfile, *keys: str, **renamed: str) -> dict[str, Any]:
    """Return those keys that a profile has a value for, some under dask-jobqueue's name of them."""
    values = {key: getattr(profile, key) for key in keys}
    values |= {theirs: getattr(profile, ours) for ours, theirs in renamed.items()}
    return {key: value for key, value in values.items() if value is not None}


def mebibytes(profile: BatchProfile) -> int:
    """Return the memory of a job."""
    return math.ceil(profile.memory / 2**20)


def _prologue(profile: BatchProfile) -> list[str]:
    lines = [f"export {name}={value}" for name, value in worker_environment(profile.cores).items()]
    memory = "DASK_DISTRIBUTED__WORKER__MEMORY__"
    lines += [f"export {memory}{name}=False" for name in ("TARGET", "SPILL", "PAUSE")]
    return [*lines, *job_scratch(profile.scratch), *profile.prologue]


def _worker_arguments(profile: BatchProfile) -> list[str]:
    resource = "GPU=1" if profile.gpus else "CPU=1"
    arguments = ["--resources", resource, "--worker-class", WORKER_CLASS, "--no-dashboard"]
    walltime = profile.walltime_s
    if walltime is not None and walltime > SHORT_WALLTIME_S and profile.gpus < 2:
        stagger = LIFETIME_MARGIN_S // 2
        arguments += [
            "--lifetime", f"{walltime - LIFETIME_MARGIN_S - stagger}s",
            "--lifetime-stagger", f"{stagger}s",
        ]  # fmt: skip
    return arguments


def _dask_jobqueue() -> ModuleType:
    """Import the package, and take back the handler of SIGINT that it sets on import."""
    before = signal.getsignal(signal.SIGINT)
    try:
        import dask_jobqueue
    except ImportError as error:
        raise UsageError(
            "starting a cluster: dask-jobqueue is not installed; pip install 'tilepress[cluster]'"
        ) from error
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, before)
    module: ModuleType = dask_jobqueue
    return module
