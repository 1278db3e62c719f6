"""Profiles to start from, with comments. ``examples/cluster`` has the same texts."""

from __future__ import annotations

from typing import get_args

from tilepress.workflows.cluster.profiles import System

__all__ = ["ADDRESS", "SYSTEMS", "example_profile"]

SYSTEMS: tuple[str, ...] = (*get_args(System), "address")

_HEAD = """\
# Workers of tilepress as jobs of {title}.
#
#     tilepress cluster check FILE                     is it right?
#     tilepress cluster show FILE                      the job script
#     tilepress compress SRC... DST --cluster FILE     use it
kind: {kind}
"""

_JOBS = """
jobs: {jobs}  # kept running until the archive is done
cores: {cores}  # of a job; one worker process codes with all of them
memory: {memory}  # of a job; about 1 GB a core is enough for most images
"""

_GPU = "gpus: 1  # of a job; with more than one, dask-cuda must be on the nodes\n"

_COMMON = """
# python: /shared/venv/bin/python  # the default is the one that runs the command
# prologue: ["module load python"]  # commands before the worker starts
# directives: [{directive}]  # further lines for the head of the job script
# interface: ib0  # network interface of workers and scheduler
# scheduler: {{host: login1, dashboard: true}}
# tls: false  # only where the network is trusted
shared_folder: tilepress-jobs  # seen by the nodes, too: job logs, and keys during the run
"""

_TITLES = {
    "slurm": "Slurm",
    "pbs": "PBS Pro or OpenPBS",
    "lsf": "LSF",
    "sge": "(Sun, Univa, Altair) Grid Engine",
    "oar": "OAR",
    "moab": "Moab",
    "htcondor": "HTCondor",
}

_ASKS = {
    "slurm": 'queue: {queue}  # partition\nwalltime: "04:00:00"\n# account: my-project\n',
    "pbs": 'queue: {queue}\nwalltime: "04:00:00"\n# account: my-project\n',
    "lsf": 'queue: {queue}\nwalltime: "04:00:00"\n# account: my-project\n',
    "sge": 'queue: {queue}\nwalltime: "04:00:00"\n# account: my-project\n',
    "oar": (
        'queue: {queue}\nwalltime: "04:00:00"\n# account: my-project\n'
        "# memory_property: memcore  # the site's property, MiB of memory per core\n"
    ),
    "moab": 'queue: {queue}\nwalltime: "04:00:00"\n# account: my-project\n',
    "htcondor": "disk: 10GB  # scratch space; HTCondor takes no walltime\n",
}

_GPU_HINTS = {
    "slurm": "# gpu_type: a100\n# memory_per_gpu: 64GB  # where the site wants --mem-per-gpu\n",
    "lsf": "# gpu_type: NVIDIAA100\n",
}

_DIRECTIVES = {
    "slurm": '"--exclusive"',
    "pbs": '"-l place=excl"',
    "lsf": '"-x"',
    "sge": '"-pe smp 8"',
    "oar": '"-t besteffort"',
    "moab": '"-l qos=high"',
    "htcondor": '"+Group = physics"',
}

ADDRESS = """\
# A scheduler that somebody else runs: the Kubernetes operator (examples/cluster/kubernetes.yaml),
# Dask Gateway, or one started by hand with
#
#     dask scheduler --port 8786
#     dask worker tcp://HOST:8786 --nworkers 1 --nthreads 8 --resources CPU=1
#     dask worker tcp://HOST:8786 --nworkers 1 --nthreads 8 --resources GPU=1    # beside a GPU
#
# Without resources a worker codes on the CPU. One worker runs one task at a time, with all threads.
# Python and tilepress must be the same there as here.
kind: address
address: tcp://127.0.0.1:8786
# address: tls://scheduler:8786
# tls: {ca: ca.pem, cert: client.pem, key: client-key.pem}
"""


def example_profile(system: str, *, gpu: bool = False) -> str:
    """Return the text of a profile to start from."""
    if system == "address":
        return ADDRESS
    jobs, cores, memory = (4, 8, "32GB") if gpu else (16, 8, "16GB")
    text = _HEAD.format(title=_TITLES[system], kind=system)
    text += _JOBS.format(jobs=jobs, cores=cores, memory=memory)
    if gpu:
        text += _GPU + _GPU_HINTS.get(system, "")
    text += _ASKS[system].format(queue="gpu" if gpu else "normal")
    return text + _COMMON.format(directive=_DIRECTIVES[system])
