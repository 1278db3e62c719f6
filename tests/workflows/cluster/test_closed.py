"""Nobody but the user who started a cluster can reach its servers, or put code beside them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil
import pytest

from tilepress.errors import UsageError
from tilepress.workflows.cluster.closed import (
    PROTOCOL,
    keys_folder,
    keys_of_one_run,
    scratch_settings,
)
from tilepress.workflows.cluster.executor import DaskExecutor
from tilepress.workflows.cluster.jobs import JobOpener
from tilepress.workflows.cluster.local import LocalOpener
from tilepress.workflows.cluster.profile_files import parse_profile
from tilepress.workflows.cluster.profiles import BatchProfile

from .running import run_one

NOBODY = 65534

ATTACK = """
import asyncio, os, sys
from distributed import Client
from distributed.core import connect, rpc
from tilepress.workflows.cluster.closed import keys_of_one_run
import distributed.comm.tcp, distributed.protocol.pickle

os.setgroups([])
os.setgid({nobody})
os.setuid({nobody})
os.environ["HOME"] = "/"

async def run_code(address, arguments):
    comm = await asyncio.wait_for(connect(address, timeout=3, **arguments), 8)
    function = distributed.protocol.pickle.dumps(os.getuid)
    await asyncio.wait_for(comm.write({{"op": "run", "function": function, "reply": True}}), 8)
    return await asyncio.wait_for(comm.read(), 8)

for port in sys.argv[1:]:
    own = keys_of_one_run().get_connection_args("client")
    for scheme, arguments in (("tcp", {{}}), ("tls", own)):
        try:
            answer = asyncio.run(run_code(f"{{scheme}}://127.0.0.1:{{port}}", arguments))
        except Exception as error:
            print("refused", type(error).__name__)
        else:
            print("code ran as", distributed.protocol.pickle.loads(answer["result"])
                  if isinstance(answer["result"], bytes) else answer["result"])
"""


@pytest.fixture(scope="module")
def nobody() -> int:
    """Return another user's id whose process this test may start, or skip."""
    if os.getuid() != 0:
        pytest.skip("only root can start a process of another user")
    return NOBODY


def attack(ports: list[int]) -> list[str]:
    """Try as another user to run code through each port, in the clear and with keys of his own."""
    done = subprocess.run(
        [sys.executable, "-c", ATTACK.format(nobody=NOBODY), *map(str, ports)],
        capture_output=True,
        text=True,
        timeout=120,
        cwd="/",
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def module_path() -> list[str]:
    return sys.path


def processes() -> list[psutil.Process]:
    """Return this process and all that it started, also for tests before this one."""
    me = psutil.Process()
    return [me, *me.children(recursive=True)]


def sockets() -> frozenset[tuple[int, str, int]]:
    """Return (process, address, port) of all sockets that listen."""
    found = set()
    for process in processes():
        with contextlib.suppress(psutil.NoSuchProcess):  # it has ended, if only just
            found |= {
                (process.pid, one.laddr.ip, one.laddr.port)
                for one in process.net_connections("inet")
                if one.status == psutil.CONN_LISTEN
            }
    return frozenset(found)


def listening(before: frozenset[tuple[int, str, int]]) -> set[tuple[int, int]]:
    """Return (process, port) of sockets that listen since; all must do so on the loopback."""
    found = sockets() - before
    assert {address for _, address, _ in found} <= {"127.0.0.1"}, found
    return {(process, port) for process, _, port in found}


def says(port: int, greeting: bytes) -> bytes:
    """Return what a server answers to somebody who speaks first and in the clear."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as plain:
        plain.sendall(greeting)
        try:
            return plain.recv(100)
        except (TimeoutError, ConnectionError):
            return b""


def accepts(port: int, context: ssl.SSLContext) -> bool:
    """Whether a server lets somebody in with what the context shows."""
    try:
        with (
            socket.create_connection(("127.0.0.1", port), timeout=5) as plain,
            context.wrap_socket(plain) as encrypted,
        ):
            return bool(encrypted.recv(1))  # servers of Dask greet whom they let in
    except (ssl.SSLError, ConnectionError):
        return False


def assert_closed(ports: set[int], keys: ssl.SSLContext) -> None:
    nothing = ssl.create_default_context()
    nothing.check_hostname, nothing.verify_mode = False, ssl.CERT_NONE
    others = keys_of_one_run().get_connection_args("client")["ssl_context"]
    others.verify_mode = ssl.CERT_NONE
    for port in ports:
        assert accepts(port, keys), "else refusing the others proves nothing"
        assert not accepts(port, nothing)
        assert not accepts(port, others)
        assert not says(port, b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").startswith(b"HTTP")


class TestLocal:
    """Every user of a machine can connect to its loopback interface."""

    def test_every_port_wants_the_key_of_the_run(self):
        before = sockets()
        with DaskExecutor(LocalOpener(workers=2)) as executor:
            run_one(executor)
            found = listening(before)
            # the scheduler, two nannies beside it, two workers
            assert len(found) == 5
            client = executor._open().client
            assert client.scheduler.address.startswith(PROTOCOL)
            keys = client.security.get_connection_args("client")["ssl_context"]
            assert_closed({port for _, port in found}, keys)

    def test_another_user_runs_no_code(self, nobody: int):
        before = sockets()
        with DaskExecutor(LocalOpener(workers=1)) as executor:
            run_one(executor)
            ports = [port for _, port in listening(before)]
            told = attack(ports)
        assert len(told) == 2 * len(ports)
        assert {line.split()[0] for line in told} == {"refused"}

    def test_the_attack_is_one(self, nobody: int):
        """Without keys the code of another user runs as us."""
        from distributed import Nanny, Scheduler, SpecCluster

        options = {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0"}
        scheduler = {"cls": Scheduler, "options": {**options, "dashboard": False}}
        workers = {0: {"cls": Nanny, "options": options | {"nthreads": 1}}}
        with SpecCluster(workers=workers, scheduler=scheduler, silence_logs=60) as cluster:
            (worker,) = cluster.scheduler.workers
            assert f"code ran as {os.getuid()}" in attack([int(worker.rpartition(":")[2])])

    def test_the_key_is_in_no_command_line_and_no_environment(self):
        with DaskExecutor(LocalOpener(workers=1)) as executor:
            run_one(executor)
            security = executor._open().client.security
            secret = security.tls_worker_key.splitlines()[1]
            looked_at = set()
            for process in processes():
                with contextlib.suppress(psutil.NoSuchProcess):  # nor has it either, once it ended
                    assert secret not in " ".join(process.cmdline())
                    assert secret not in str(process.environ())
                    looked_at.add(process.pid)
            assert looked_at >= {os.getpid(), *executor.worker_pids()}
            assert secret not in repr(security)

    def test_a_folder_that_somebody_left_in_tmp_is_not_searched_for_modules(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        """Dask puts its scratch folder first into sys.path, whoever made it."""
        (tmp_path / "dask-scratch-space").mkdir()
        (tmp_path / "dask-scratch-space").chmod(0o777)
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
        monkeypatch.delenv("TILEPRESS_SCRATCH", raising=False)
        with DaskExecutor(LocalOpener(workers=1)) as executor:
            run_one(executor)
            searched = [sys.path, *executor._open().client.run(module_path).values()]
        added = [Path(p) for path in searched for p in path if Path(p).is_relative_to(tmp_path)]
        assert added
        for folder in added:
            assert folder.relative_to(tmp_path).parts[0] == f"tilepress-{os.getuid()}"
        assert stat.S_IMODE((tmp_path / f"tilepress-{os.getuid()}").stat().st_mode) == 0o700

    def test_somebody_elses_folder_is_an_error(
        self, nobody: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        folder = tmp_path / f"tilepress-{os.getuid()}"
        folder.mkdir(mode=0o700)
        os.chown(folder, nobody, nobody)
        monkeypatch.setenv("TILEPRESS_SCRATCH", str(tmp_path))
        with pytest.raises(UsageError, match="it is not this user's own with mode 700"):
            scratch_settings()


SBATCH = """#!/bin/sh
cp "$1" {folder}/job.sh
setsid bash {folder}/job.sh > {folder}/job.log 2>&1 &
echo Submitted batch job $!
"""


@pytest.fixture
def batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with a batch system of one machine, which runs jobs at once."""
    pytest.importorskip("dask_jobqueue", reason="extra cluster is not installed")
    commands = tmp_path / "commands"
    commands.mkdir()
    texts = {
        "sbatch": SBATCH.format(folder=tmp_path),
        "scancel": '#!/bin/sh\nkill -TERM -- "-$1"\n',
        "squeue": '#!/bin/sh\nfor last; do :; done\nkill -0 "$last" && echo RUNNING\n',
    }
    for name, text in texts.items():
        (commands / name).write_text(text)
        (commands / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{commands}:{os.environ['PATH']}")
    (tmp_path / "nodes").mkdir()
    return tmp_path


class TestJobs:
    """Nodes of a batch system are open to all its users."""

    def profile(self, folder: Path) -> BatchProfile:
        given = {
            "kind": "slurm", "jobs": 1, "cores": 1, "memory": "1GB", "interface": "lo",
            "shared_folder": str(folder / "jobs"), "scratch": str(folder / "nodes"),
        }  # fmt: skip
        made = parse_profile(given, "p.yaml")
        assert isinstance(made, BatchProfile)
        return made

    def test_scheduler_nannies_and_workers_want_the_key_of_the_run(self, batch: Path):
        before = sockets()
        with JobOpener(self.profile(batch)).open() as opened:
            opened.client.wait_for_workers(1, timeout=30)
            (folder,) = (batch / "jobs").glob(".keys-*")
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700
            files = list(folder.iterdir())
            assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
            secrets = [t for p in files if "PRIVATE" in (t := p.read_text())]
            assert len(secrets) == 1
            workers = opened.client.run(os.getpid)
            worker = psutil.Process(next(iter(workers.values())))
            lines = " ".join(" ".join(one.cmdline()) for one in worker.parents())
            assert "--tls-key" in lines
            assert "PRIVATE" not in lines
            found = {port for _, port in listening(before)}
            for process in (worker, worker.parent(), worker.parent().parent()):
                for one in process.net_connections("inet"):
                    if one.status == psutil.CONN_LISTEN:
                        assert one.laddr.ip == "127.0.0.1"
                        found.add(one.laddr.port)
            assert len(found) == 3
            keys = opened.client.security.get_connection_args("client")["ssl_context"]
            assert_closed(found, keys)
            (scratch,) = (batch / "nodes").iterdir()
            assert stat.S_IMODE(scratch.stat().st_mode) == 0o700
        assert not list((batch / "jobs").glob(".keys-*"))

    def test_a_folder_where_others_may_write_takes_no_keys(self, tmp_path: Path):
        tmp_path.chmod(0o770)
        with (
            pytest.raises(UsageError, match=f"others may write into {tmp_path}.*chmod go-w"),
            keys_folder(tmp_path),
        ):
            pass
        tmp_path.chmod(0o1777)
        with keys_folder(tmp_path) as folder:
            assert folder.parent == tmp_path
        assert not folder.exists()


class TestKeys:
    """Clocks of nodes differ, and a run may take months."""

    def test_they_are_valid_for_a_node_whose_clock_is_behind(self):
        from cryptography import x509

        certificate = x509.load_pem_x509_certificate(keys_of_one_run().tls_ca_file.encode())
        valid = certificate.not_valid_after_utc - certificate.not_valid_before_utc
        assert valid.days == 366

    def test_each_run_has_its_own(self):
        assert keys_of_one_run().tls_worker_key != keys_of_one_run().tls_worker_key


def test_servers_of_dask_greet_whom_they_let_in():
    """What ``accepts`` relies on."""
    from distributed.core import Server

    async def run() -> bool:
        security = keys_of_one_run()
        server = Server({})
        await server.listen(f"{PROTOCOL}127.0.0.1:0", **security.get_listen_args("worker"))
        context = security.get_connection_args("client")["ssl_context"]
        try:
            return await asyncio.to_thread(accepts, server.port, context)
        finally:
            await server.close()

    assert asyncio.run(run())
