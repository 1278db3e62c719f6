"""Processes of one run share the process that guests are forked from, and nobody else does."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tilepress.errors import SourceError
from tilepress.pipeline.guests import client, hosts, seccomp
from tilepress.pipeline.guests.budget import to_look

from .conftest import MODULES, Opens, find_hostile_format

pytestmark = pytest.mark.skipif(
    not client.are_possible() or not seccomp.is_known_machine(),
    reason="hosts are shared on Linux, where the calls of guests are held",
)


@pytest.fixture
def address(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Return the address of a host of this process."""
    hosts._close_hosts()
    yield client.for_workers()[hosts.HOST_VARIABLE]
    hosts._close_hosts()


OTHER = """
import sys
from tilepress.pipeline.guests import client, hosts
from tilepress.pipeline.guests.budget import to_look
guest = client.Guest([], [])
host = hosts._host()
print(type(host).__name__, guest._process, flush=True)
sys.stdin.readline()
"""


def other(address: str) -> subprocess.Popen[str]:
    environment = {**os.environ, hosts.HOST_VARIABLE: address}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    return subprocess.Popen([sys.executable, "-c", OTHER], env=environment, text=True, **pipes)


def parent_of(process: int) -> int:
    return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])


def is_gone(path: Path) -> bool:
    for _ in range(200):
        if not path.exists():
            return True
        time.sleep(0.05)
    return False


def test_another_process_has_guests_of_the_same_host(address: str) -> None:
    with other(address) as process:
        kind, guest = process.stdout.readline().split()
        assert kind == "_OthersHost"
        assert parent_of(int(guest)) == hosts._host()._process.pid
        process.communicate("end")
    assert process.returncode == 0
    assert client.Guest([], []).is_open  # its own guests go on


def test_one_that_stops_in_the_middle_of_a_request_is_let_go(address: str) -> None:
    with socket.socket(socket.AF_UNIX) as link:
        link.connect(address)
        link.sendall(b"\0" * 5)
        assert client.Guest([], []).is_open


def test_its_address_is_for_this_user_and_goes_with_it(address: str) -> None:
    folder = Path(address).parent
    assert folder.stat().st_mode & 0o077 == 0
    hosts._close_hosts()
    assert is_gone(folder)


def test_its_address_goes_when_the_process_is_killed() -> None:
    code = "from tilepress.pipeline.guests import client; import time\n"
    code += "print(client.for_workers(), flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        folder = Path(eval(process.stdout.readline())[hosts.HOST_VARIABLE]).parent
        assert folder.is_dir()
        process.kill()
    assert is_gone(folder)


@pytest.mark.parametrize("where", ["/none/such", "gone", "\0"])
def test_where_there_is_none_a_process_begins_its_own(
    address: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, where: str
) -> None:
    hosts._close_hosts()
    if where == "gone":
        where = str(tmp_path / "host")
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(where)
    monkeypatch.setitem(os.environ, hosts.HOST_VARIABLE, where.replace("\0", "x" * 200))
    assert client.Guest([], []).is_open
    assert type(hosts._host()) is hosts.Host


def test_where_it_dies_a_process_begins_its_own(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = hosts._host()
    monkeypatch.setattr(hosts, "_hosts", [])
    monkeypatch.setenv(hosts.HOST_VARIABLE, address)
    guest = client.Guest([], [])
    others = hosts._host()
    assert type(others) is hosts._OthersHost
    os.kill(shared._process.pid, signal.SIGKILL)
    assert select.select([guest._handle], [], [], 10)[0], "its guests end with it"
    with pytest.raises(SourceError, match="ended from outside"):
        guest.ask({"do": "items"}, to_look(0), "opening", "x")
    assert client.Guest([], []).is_open
    assert type(hosts._host()) is hosts.Host
    hosts._close_hosts()
    shared.close()


def test_one_of_another_user_is_not_taken(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 4711)
    with pytest.raises(PermissionError, match="somebody else's"):
        hosts._OthersHost(address)


@pytest.mark.parametrize("kind", ["pid", "mnt"])
def test_one_of_another_container_is_not_taken(
    address: str, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    links = {f"/proc/self/ns/{kind}": "another"}
    own = os.readlink
    monkeypatch.setattr(os, "readlink", lambda path: links.get(path) or own(path))
    with pytest.raises(PermissionError, match="in another container"):
        hosts._OthersHost(address)


def test_nobody_shares_where_calls_are_not_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seccomp, "is_known_machine", lambda: False)
    assert client.for_workers() == {}


def test_a_name_that_is_too_long_for_an_address_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hosts._close_hosts()
    folder = tmp_path / ("x" * 120)
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    assert client.for_workers() == {}
    assert list(folder.iterdir()) == []


def test_a_guest_has_no_connection_but_its_own(address: str, opens: Opens, monkeypatch) -> None:
    """With those of its host it could answer others in the host's place."""
    find_hostile_format(monkeypatch)
    address = client.for_workers()[hosts.HOST_VARIABLE]
    with socket.socket(socket.AF_UNIX) as link:
        link.connect(address)
        items = dict(opens("sockets").source_items())
    assert items["result"] == b"1"
    assert MODULES


def test_a_guest_cannot_reach_the_host(address: str, opens: Opens) -> None:
    address = client.for_workers()[hosts.HOST_VARIABLE]
    assert dict(opens(f"reach {address}").source_items())["result"] in (b"errno 1", b"errno 13")
