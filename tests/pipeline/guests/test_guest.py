"""What a guest can do to files, network, processes and limits: nothing but read what it may."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from tests.helpers.hostile_format import MAGIC

from tilepress.pipeline.guests import box

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(autouse=True)
def _kernel():
    offered = box.offered()
    if not offered["landlock"] or not offered["seccomp"]:
        pytest.skip(f"this machine's kernel offers {offered}")


def result(source) -> str:
    ((name, content),) = source.source_items()
    assert name == "result"
    return content.decode()


DENIED = {"errno 13", "errno 1", "errno 38"}


def test_the_deeds_succeed_outside_a_guest(tmp_path):
    """A positive control: what is refused below is refused by the box alone."""
    from tests.helpers.hostile_format import do

    secret = tmp_path / "secret"
    secret.write_text("secret")
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert do(f"connect {server.getsockname()[1]}") == "connected"
    assert do(f"read {secret}") == "secret"
    assert do(f"list {tmp_path}") == "secret"
    assert do(f"chmod {secret}") == "None"
    assert do("run /bin/true") == "0"
    assert do(f"write {tmp_path}/new") == "7"
    assert do(f"remove {tmp_path}/new") == "None"


def test_it_reads_its_own_file_and_nothing_beside_it(opens, tmp_path):
    own = tmp_path / "image.hostile"
    secret = tmp_path / "secret.tif"
    secret.write_text("secret")
    assert result(opens(f"read {own}")).startswith("HOSTILE")
    assert result(opens(f"read {secret}")) == "errno 13"
    assert result(opens(f"list {tmp_path}")) == "errno 13"
    assert result(opens("read /etc/passwd")) == "errno 13"
    assert result(opens(f"read {os.path.expanduser('~')}/.bashrc")) in ("errno 13", "errno 2")
    assert result(opens(f"read /proc/{os.getpid()}/environ")) == "errno 13"
    assert result(opens("read /proc/self/environ")) == "errno 13"


def test_a_link_in_its_place_leads_nowhere(opens, tmp_path):
    source = opens(f"read {tmp_path}/link")
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "link").symlink_to("secret")
    assert result(source) == "errno 13"


def test_it_changes_no_file_not_even_its_own(opens, tmp_path):
    own = tmp_path / "image.hostile"
    assert result(opens(f"truncate {own}")) in DENIED
    for deed in (f"write {own}", f"write {tmp_path}/new", "write /tmp/new", f"remove {own}"):
        assert result(opens(deed)) == "errno 13"
    assert result(opens(f"chmod {own}")) in DENIED
    assert list(tmp_path.iterdir()) == [own]


def test_it_has_no_network(opens):
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        assert result(opens(f"connect {server.getsockname()[1]}")) in DENIED
        with pytest.raises(TimeoutError):
            server.accept()


def test_it_starts_no_program_and_no_process(opens):
    assert result(opens("run /bin/true")) in DENIED
    assert result(opens("fork")) in DENIED


def test_it_sends_no_signals_and_slows_nobody_down(opens):
    for deed in ("kill", "nice", "owner"):
        assert result(opens(f"{deed} {os.getpid()}")) in DENIED


def test_without_landlock_seccomp_still_refuses_what_it_can(tmp_path):
    """Kernels before 5.13 have no Landlock, those before 6.2 do not hold truncate by it."""
    own = tmp_path / "file"
    own.write_text("content")
    deeds = [f"truncate {own}", f"chmod {own}", "connect 9", "fork"]
    script = (
        "from tilepress.pipeline.guests import seccomp\n"
        "from tests.helpers.hostile_format import do\n"
        "seccomp.filter_calls()\n"
        f"print([do(deed) for deed in {deeds!r}])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.strip() == str(["errno 1"] * 4), done.stderr
    assert own.read_text() == "content"


def test_the_working_folder_and_a_scripts_folder_are_not_readable(tmp_path):
    """They are on the search path of modules: a home, or somebody else's archive."""
    (tmp_path / "id_rsa").write_text("secret")
    (tmp_path / "image.hostile").write_bytes(MAGIC + f"read {tmp_path}/id_rsa".encode())
    script = tmp_path / "script.py"
    script.write_text(
        "from tilepress.pipeline.guests.source import GuestSource\n"
        "from tilepress.pipeline.image.source import SourceSpec\n"
        f"spec = SourceSpec(kind='hostile', paths=({str(tmp_path / 'image.hostile')!r},))\n"
        "s = GuestSource(spec, ('tests.helpers.hostile_format',), whole_folders=False)\n"
        "print(list(s.source_items()))\n"
    )
    paths = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH", ""))))
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": paths},
    )  # fmt: skip
    assert done.stdout.strip() == "[('result', b'errno 13')]", done.stderr


def test_it_cannot_raise_its_own_limits(opens):
    assert result(opens("limit")) in ("PermissionError", "ValueError")


def test_it_knows_no_credentials(opens, monkeypatch):
    from tilepress.pipeline.guests import hosts

    hosts._close_hosts()  # the next host begins with this environment
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary")
    monkeypatch.setenv("GDAL_HTTP_USERPWD", "canary:canary")
    assert result(opens("environment GDAL_HTTP_USERPWD")) == "absent"
    assert result(opens("environment AWS_SECRET_ACCESS_KEY")) == "absent"
    assert result(opens("environment PATH")) == os.environ["PATH"]
