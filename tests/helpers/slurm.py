"""A real Slurm on this machine for a test session: munge, one controller, one node, a fake GPU.

The node's GPU is ``/dev/null`` to Slurm, which sets CUDA_VISIBLE_DEVICES for jobs that ask for it.
Everything lies in one temporary folder and listens on ports of its own; daemons end by their pid,
and with the session.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Slurm", "running_slurm", "what_is_missing"]

PARTITION = "main"
START_WITHIN_S = 60.0

LIBC = ctypes.CDLL(None)
PR_SET_PDEATHSIG = 1
"""Of prctl(2): the signal that a process gets when the one that started it is gone."""

SLURM_CONF = """
ClusterName=tilepress
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/munge.sock
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
MpiDefault=none
SlurmdParameters=config_overrides
ReturnToService=2
GresTypes=gpu
SchedulerParameters=sched_interval=1,batch_sched_delay=0,defer_batch=0
KillWait=1
MinJobAge=30
NodeName={host} NodeAddr=127.0.0.1 CPUs=4 Sockets=1 CoresPerSocket=4 ThreadsPerCore=1 \
RealMemory=6000 Gres=gpu:1 State=UNKNOWN
PartitionName={partition} Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


def what_is_missing() -> str | None:
    """Return why no Slurm can be started here; None where one can."""
    for name in ("slurmctld", "slurmd", "munged", "sbatch", "runuser"):
        if shutil.which(name, path=_path()) is None:
            return f"no Slurm: {name} is not installed (packages slurm-wlm and munge)"
    if os.geteuid() != 0:
        return "no Slurm: only root can start its daemons"
    return None


@dataclass(frozen=True, slots=True)
class Slurm:
    """A running Slurm."""

    folder: Path
    node: str

    @property
    def environment(self) -> dict[str, str]:
        """Return the environment in which Slurm's commands find this one."""
        return {"SLURM_CONF": str(self.folder / "slurm.conf"), "PATH": _path()}

    def run(self, *command: object, timeout_s: float = 60) -> str:
        """Run one of Slurm's commands; return what it printed."""
        done = subprocess.run(
            [str(part) for part in command],
            env=os.environ | self.environment,
            capture_output=True,
            text=True,
            timeout=timeout_s,
        )
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        return done.stdout.strip()

    def jobs(self, *states: str) -> list[str]:
        """Return the ids of jobs in these states; of all that are not over where none is given."""
        chosen = [f"--states={','.join(states)}"] if states else []
        return self.run("squeue", "--noheader", "--format=%A", *chosen).split()

    def set_node(self, state: str) -> None:
        """Drain or resume the node."""
        self.run("scontrol", "update", f"nodename={self.node}", f"state={state}", "reason=test")

    def wait_until_idle(self, timeout_s: float = 60) -> None:
        """Wait until no job is left."""
        end = time.monotonic() + timeout_s
        while self.jobs():
            assert time.monotonic() < end, self.run("squeue")
            time.sleep(0.2)


@contextlib.contextmanager
def running_slurm() -> Iterator[Slurm]:
    """Start the daemons; stop them on leaving."""
    host = socket.gethostname().split(".")[0]
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tilepress-slurm-")))
        folder.chmod(0o755)
        _start_munge(folder, stack)
        for name in ("state", "spool"):
            (folder / name).mkdir()
        ports = dict(zip(("controller_port", "node_port"), _free_ports(2), strict=True))
        text = SLURM_CONF.format(folder=folder, host=host, partition=PARTITION, **ports)
        (folder / "slurm.conf").write_text(text)
        (folder / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\nConstrainCores=no\n")
        (folder / "gres.conf").write_text(f"NodeName={host} Name=gpu File=/dev/null\n")
        slurm = Slurm(folder, host)
        conf = str(folder / "slurm.conf")
        for command in (["slurmctld", "-D", "-f", conf], ["slurmd", "-D", "-f", conf, "-N", host]):
            _start(command, slurm.environment, folder / f"{command[0]}.out", stack)
        _wait_for_node(slurm)
        yield slurm
        with contextlib.suppress(AssertionError, subprocess.TimeoutExpired):
            slurm.run("scancel", "--user=root")
            slurm.wait_until_idle()


def _start_munge(folder: Path, stack: contextlib.ExitStack) -> None:
    munge = folder / "munge"
    munge.mkdir(mode=0o755)
    key = munge / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o600)
    for path in (munge, key):
        shutil.chown(path, "munge", "munge")
    files = {"key-file": key, "socket": munge / "munge.sock", "pid-file": munge / "munged.pid"}
    files |= {"log-file": munge / "munged.log", "seed-file": munge / "munged.seed"}
    options = [f"--{name}={path}" for name, path in files.items()]
    _start(
        ["runuser", "-u", "munge", "--", "munged", "--foreground", *options],
        {"PATH": _path()},
        folder / "munged.out",
        stack,
        ends=munge / "munged.pid",
    )
    end = time.monotonic() + START_WITHIN_S
    while not files["socket"].exists():
        assert time.monotonic() < end, (folder / "munged.out").read_text()
        time.sleep(0.05)


def _start(
    command: list[str],
    environment: dict[str, str],
    log: Path,
    stack: contextlib.ExitStack,
    ends: Path | None = None,
) -> None:
    """Start a daemon that ends with the stack, and with this process should that be killed.

    ``ends`` is the pid file of what must end first.
    """
    out = stack.enter_context(log.open("wb"))
    process = subprocess.Popen(
        command,
        env=os.environ | environment,
        stdout=out,
        stderr=subprocess.STDOUT,
        preexec_fn=lambda: LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM),
    )

    def end() -> None:
        if ends is not None:
            with contextlib.suppress(OSError, ValueError):
                os.kill(int(ends.read_text()), 15)
        else:
            process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    stack.callback(end)


def _wait_for_node(slurm: Slurm) -> None:
    end = time.monotonic() + START_WITHIN_S
    while True:
        with contextlib.suppress(AssertionError, subprocess.TimeoutExpired):
            if slurm.run("sinfo", "--noheader", "--format=%T", timeout_s=10) == "idle":
                return
        logs = [path.read_text()[-2000:] for path in slurm.folder.glob("slurm*.log")]
        assert time.monotonic() < end, logs
        time.sleep(0.2)


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]


def _path() -> str:
    return os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
