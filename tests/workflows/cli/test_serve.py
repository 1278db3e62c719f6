"""The commands show and serve."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tilepress.workflows.cli import serve as command

from .conftest import Command, write_tiff


@pytest.fixture
def store(call: Command, tmp_path: Path) -> Path:
    write_tiff(tmp_path / "map.tif")
    call("compress", tmp_path / "map.tif", tmp_path / "map.zarr", "--workers", 0)
    return tmp_path / "map.zarr"


class TestShow:
    def test_writes_a_png_or_prints(self, call: Command, store: Path, tmp_path: Path) -> None:
        done = call("show", store, "--png", tmp_path / "map.png", "--size", 50)
        assert done.returncode == 0
        assert done.stdout == f"{tmp_path}/map.png\n"
        assert (tmp_path / "map.png").read_bytes()[:4] == b"\x89PNG"
        assert "▀" in call("show", store).stdout

    def test_nonsense_is_one_line(self, call: Command, store: Path, tmp_path: Path) -> None:
        for line in (["--bands", "9"], ["--at", "q:1"]):
            done = call("show", store, *line)
            assert done.returncode == 2
            assert len(done.stderr.splitlines()) == 1
        for path in (tmp_path / "absent.zarr", tmp_path):
            done = call("show", path)
            assert done.returncode == 2
            assert len(done.stderr.splitlines()) == 1

    def test_replaces_a_picture_and_nothing_else(self, call: Command, store: Path) -> None:
        source, picture = store.with_name("map.tif"), store.with_name("map.png")
        before = source.read_bytes()
        done = call("show", store, "--png", source)
        assert done.returncode == 2
        assert f"drawing: {source} is there, and no PNG file" in done.stderr
        assert source.read_bytes() == before
        sizes = []
        for size in (50, 20):
            assert call("show", store, "--png", picture, "--size", size).returncode == 0
            sizes.append(picture.stat().st_size)
        assert sizes[1] < sizes[0]


class TestServe:
    @pytest.fixture
    def run(self, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
        import uvicorn

        found: list[Any] = []
        monkeypatch.setattr(
            uvicorn.Server, "run", lambda self, sockets: found.append(self.config.app)
        )
        return found

    def test_says_where(self, call: Command, store: Path, run: list[Any]) -> None:
        done = call("serve", store, "--port", 0)
        assert done.returncode == 0
        assert f"serving {store} at http://127.0.0.1:" in done.stdout
        assert "token" not in done.stdout
        assert run[0]._token is None
        assert "127.0.0.1" in run[0]._hosts

    def test_others_reach_it_with_a_token_alone(
        self, call: Command, store: Path, run: list[Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        done = call("serve", store, "--port", 0, "--host", "0.0.0.0")
        assert "?token=" in done.stdout
        assert len(run[0]._token) >= 16
        monkeypatch.setenv("TILEPRESS_TOKEN", "mine")
        call("serve", store, "--port", 0)
        assert run[1]._token == "mine"

    def test_what_is_not_there(self, call: Command, tmp_path: Path) -> None:
        done = call("serve", tmp_path / "absent", "--port", 0)
        assert done.returncode == 2
        assert "no such folder" in done.stderr

    def test_ctrl_c_is_how_it_ends(self, store: Path) -> None:
        line = [sys.executable, "-m", "tilepress", "serve", str(store), "--port", "0"]
        with subprocess.Popen(
            line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        ) as server:  # fmt: skip
            assert server.stdout is not None
            address = re.search(r"http://\S+", server.stdout.readline())
            assert address is not None
            urllib.request.urlopen(address[0]).close()  # ours: it listens
            server.send_signal(signal.SIGINT)
            told = server.communicate(timeout=60)
        assert (server.returncode, *told) == (0, "", "")

    def test_without_the_extra(
        self, call: Command, store: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "uvicorn", None)
        done = call("serve", store)
        assert done.returncode == 2
        assert "tilepress[serve]" in done.stderr

    @pytest.mark.parametrize(
        ("host", "here"),
        [("127.0.0.1", True), ("::1", True), ("localhost", True), ("127.9.9.9", True),
         ("0.0.0.0", False), ("::", False), ("192.168.1.5", False), ("example.org", False)],
    )  # fmt: skip
    def test_which_hosts_are_this_machine(self, host: str, here: bool) -> None:
        assert command._is_loopback(host) is here
