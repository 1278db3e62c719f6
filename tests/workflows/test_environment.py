"""The command does the same in every environment, or says in one line why it cannot."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ..helpers.samples import smooth

NAME = "größe-中-ÿ"

ENVIRONMENTS = {
    "C": {"LC_ALL": "C"},
    "C as it was before UTF-8 mode": {
        "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0",
    },
    "ascii output": {"PYTHONIOENCODING": "ascii"},
    "strict ascii output": {"PYTHONIOENCODING": "ascii:strict", "LC_ALL": "C"},
    "latin-1 output": {"PYTHONIOENCODING": "latin-1"},
}  # fmt: skip


def environment(more: dict[str, str]) -> dict[str, str]:
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("LC_", "LANG")) and name not in ("PYTHONUTF8", "PYTHONIOENCODING")
    }
    return kept | more


def tilepress(
    folder: Path, more: dict[str, str], *line: str, code: int = 0, python: tuple[str, ...] = ()
) -> str:
    """Run the command; return all that it printed, which any terminal of its own could show."""
    done = subprocess.run(
        [sys.executable, *python, "-m", "tilepress", *line],
        cwd=folder,
        env=environment(more),
        capture_output=True,
        timeout=120,
    )
    told = (done.stdout + done.stderr).decode("latin-1")
    assert done.returncode == code, told
    assert "Traceback" not in told
    if more.get("PYTHONIOENCODING", "").startswith("ascii"):
        assert told.isascii()
    return told


@pytest.mark.parametrize(
    "more",
    [
        pytest.param(more, id=name, marks=() if name == "latin-1 output" else pytest.mark.slow)
        for name, more in ENVIRONMENTS.items()
    ],
)
def test_names_that_a_terminal_cannot_show_are_names_all_the_same(
    more: dict[str, str], tmp_path: Path
):
    np.save(tmp_path / f"{NAME}.npy", smooth((64, 64)))
    tilepress(tmp_path, more, "compress", f"{NAME}.npy", "out", "--workers", "0", "--verbose")
    assert os.listdir(os.fsencode(tmp_path / "out")).count(f"{NAME}.zarr".encode()) == 1
    assert "gr" in tilepress(tmp_path, more, "ls", "out")
    told = tilepress(tmp_path, more, "info", f"{NAME}-gone.zarr", code=2)
    assert len(told.splitlines()) == 1


def test_all_commands_in_the_poorest(tmp_path: Path):
    more = ENVIRONMENTS["C as it was before UTF-8 mode"] | {"PYTHONIOENCODING": "ascii:strict"}
    np.save(tmp_path / f"{NAME}.npy", smooth((64, 64)))
    tilepress(tmp_path, more, "compress", f"{NAME}.npy", "out", "--workers", "0", "--verbose")
    tilepress(tmp_path, more, "info", f"out/{NAME}.zarr")
    assert "sound" in tilepress(tmp_path, more, "verify", "out", "--source", f"{NAME}.npy")
    tilepress(tmp_path, more, "export", f"out/{NAME}.zarr", f"{NAME}-back.npy")
    assert (tmp_path / f"{NAME}-back.npy").exists()
    tilepress(tmp_path, more, "compress", "--help")


def read(terminal: int) -> bytes:
    """Return what was written to a terminal; nothing once its last writer has gone."""
    try:
        return os.read(terminal, 2**16)
    except OSError:
        return b""


def test_a_terminal_without_utf8_shows_progress(tmp_path: Path):
    np.save(tmp_path / f"{NAME}.npy", smooth((64, 64)))
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "tilepress", "compress", f"{NAME}.npy", "out", "--workers", "0"],
        cwd=tmp_path,
        env=environment({"LC_ALL": "C", "PYTHONIOENCODING": "ascii", "TERM": "xterm"}),
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    shown = b"".join(iter(lambda: read(ours), b""))
    os.close(ours)
    assert process.wait(timeout=60) == 0, shown
    assert shown.isascii()
    assert b"1 written" in shown
    assert b"->" in shown
    assert b"\\u2" not in shown, "what is drawn has other words"


@pytest.mark.parametrize(
    ("python", "more"), [(("-O",), {}), (("-OO",), {}), ((), {"PYTHONOPTIMIZE": "1"})]
)
def test_an_interpreter_without_asserts_is_refused(
    python: tuple[str, ...], more: dict[str, str], tmp_path: Path
):
    line = ("compress", "a.tif", "out")
    (told,) = tilepress(tmp_path, more, *line, code=2, python=python).splitlines()
    assert told.startswith("tilepress: starting: this Python leaves out checks of what is written")
    assert not list(tmp_path.iterdir())


def test_so_it_is_in_a_script(tmp_path: Path):
    script = "import tilepress; tilepress.compress('a.tif', 'out')"
    done = subprocess.run(
        [sys.executable, "-O", "-c", script], capture_output=True, text=True, cwd=tmp_path
    )
    assert "UsageError: starting: this Python leaves out checks" in done.stderr


HOSTILE = ("multiprocessing", "numpy", "pickle", "random", "signal", "socket", "tempfile", "zlib")

SCRIPT = """
from tilepress.__main__ import main

if __name__ == "__main__":
    main()
"""


@pytest.mark.slow
def test_no_module_of_the_working_folder_is_imported(tmp_path: Path):
    """It may be an archive that somebody else has filled."""
    archive, mark = tmp_path / "archive", tmp_path / "mark"
    archive.mkdir()
    np.save(archive / "scene.npy", smooth((64, 64)))
    for name in HOSTILE:
        (archive / f"{name}.py").write_text(f"open({str(mark)!r}, 'a').write('{name} ')")
    subprocess.run([sys.executable, "-c", "import random"], cwd=archive, check=True)
    assert mark.exists(), "else this proves nothing"
    mark.unlink()
    script = tmp_path / "tilepress-command"
    script.write_text(SCRIPT)
    line = [sys.executable, str(script), "compress", "scene.npy", str(tmp_path / "out")]
    done = subprocess.run(
        [*line, "--workers", "1"], cwd=archive, capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stderr
    assert "1 written" in done.stdout
    assert not mark.exists(), mark.read_text()
