"""No input ends a run, and none makes it open what nobody has named.

One run over all inputs of ``helpers.hostile``, between two good images, with its system calls
traced where that can be done.
"""

from __future__ import annotations

import codecs
import json
import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tilepress

from ..helpers.hostile import HOSTILE, SECRET, Hostile, good, make_outside, makeable

TIMEOUT_S = 240
MEMORY_BYTES = 2 * 2**30

PASSED_OVER = {"file-is-a-folder", "file-link-above", "file-link-to-the-folder"}
"""Folders, empty or linked, are no inputs."""

CALLS = "open,openat,openat2,creat,connect"


@dataclass(frozen=True)
class Attack:
    """What came of the run."""

    root: Path
    made: list[Hostile]
    code: int
    shown: str
    report: dict[str, Any]
    peak_bytes: int
    trace: list[str] | None
    """Lines of system calls; None where they cannot be traced."""

    def failures_of(self, name: str) -> list[dict[str, Any]]:
        place = f"{self.root}/in/m/{name}/"
        return [
            one
            for one in self.report["failures"]
            if place in f"{one['source']}/" or place in one["message"]
        ]

    def stores_of(self, name: str) -> list[str]:
        place = f"{self.root}/in/m/{name}/"
        return [one["store"] for one in self.report["images"] if one["source"].startswith(place)]


def _can_trace() -> bool:
    if shutil.which("strace") is None:
        return False
    tried = subprocess.run(["strace", "-f", "-o", os.devnull, "true"], capture_output=True)
    return tried.returncode == 0


_MEASURED = """
import resource, runpy, sys
sys.argv = ["tilepress", *sys.argv[2:]]
try:
    runpy.run_module("tilepress", run_name="__main__")
finally:
    with open(sys.orig_argv[-1] + ".rss", "w") as file:
        own, guests = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        file.write(str(max(own.ru_maxrss, guests.ru_maxrss) * 1024))
"""


@pytest.fixture(scope="module")
def attack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Attack]:
    root = tmp_path_factory.mktemp("attack")
    make_outside(root / "outside")
    for place in "az":
        good(root / "in" / place / "good.npy")
    which = [one for one in HOSTILE.values() if not one.slow]
    made = makeable(which, root / "in" / "m", root / "outside")
    (root / "temporary").mkdir()
    report = root / "archive-report.json"
    command = [sys.executable, "-P", "-c", _MEASURED, "--"]  # -P: as the installed command
    command += ["compress", root / "in", root / "archive"]
    command += ["--workers", "0", "--tier", "fast", "--show-paths", "--report", report]
    traced = _can_trace()
    if traced:
        tracing = ["strace", "-f", "-y", "-qq", "-s", "5000", "-e", f"trace={CALLS}"]
        command = [*tracing, "-o", root / "trace", *command]
    done = subprocess.run(
        [*map(str, command)],
        capture_output=True,
        text=True,
        errors="replace",
        timeout=TIMEOUT_S,
        env={  # whoever runs the tests may have models of his own
            **os.environ,
            "TMPDIR": str(root / "temporary"),
            "TILEPRESS_MODELS": str(root / "models"),
        },
    )
    yield Attack(
        root=root,
        made=made,
        code=done.returncode,
        shown=done.stdout + done.stderr,
        report=json.loads(report.read_text()),
        peak_bytes=int(Path(f"{report}.rss").read_text()),
        trace=(root / "trace").read_text().splitlines() if traced else None,
    )
    shutil.rmtree(root, ignore_errors=True)


@pytest.mark.slow
class TestNoInputEndsARun:
    def test_there_are_many(self, attack: Attack) -> None:
        assert len(attack.made) >= 100

    def test_good_images_on_either_side_are_sealed(self, attack: Attack) -> None:
        assert attack.code == 1, attack.shown[-2000:]
        for place in "az":
            store = tilepress.open(attack.root / "archive" / place / "good.zarr")
            assert (store["image"].values == 5).all()

    def test_every_other_is_sealed_or_listed_by_name(self, attack: Attack) -> None:
        silent = [
            one.name
            for one in attack.made
            if not attack.failures_of(one.name)
            and not (one.is_image and attack.stores_of(one.name))
        ]
        assert set(silent) == PASSED_OVER

    def test_what_is_no_image_is_not_sealed(self, attack: Attack) -> None:
        sealed = [one.name for one in attack.made if attack.stores_of(one.name)]
        assert [name for name in sealed if not HOSTILE[name].is_image] == []

    def test_each_is_told_in_one_line_and_none_is_an_error_of_ours(self, attack: Attack) -> None:
        assert "Traceback" not in attack.shown
        wrong = [
            one
            for one in attack.report["failures"]
            if "\n" in one["message"] or one["kind"] in ("internal", "error")
        ]
        assert wrong == []

    def test_memory_is_bounded(self, attack: Attack) -> None:
        assert attack.peak_bytes < MEMORY_BYTES


@pytest.mark.long
def test_inputs_that_take_until_a_limit_ends_them_are_told_too(
    tmp_path: Path, command: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    slow = [one for one in HOSTILE.values() if one.slow]
    make_outside(tmp_path / "outside")
    makeable(slow, tmp_path / "m", tmp_path / "outside")
    last = good(tmp_path / "z/good.npy")
    options = ["--workers", "0", "--tier", "fast", "--report", tmp_path / "report.json"]
    command("compress", tmp_path / "m", last, tmp_path / "out", *options, timeout_s=3600)
    report = json.loads((tmp_path / "report.json").read_text())
    failed = {Path(one["source"]).parent.name for one in report["failures"]}
    assert failed == {one.name for one in slow}
    assert str(last) in {one["source"] for one in report["images"]}


@pytest.mark.slow
def test_inputs_that_were_read_wrong_once_stop_nobody(
    shared_data: Path, tmp_path: Path, command: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    faults = [shared_data / "faults" / kind for kind in ("tiff", "dicom")]
    if not all(folder.is_dir() for folder in faults):
        pytest.skip("no such inputs beside the checkout: ../shared/data/faults")
    first, last = good(tmp_path / "a/good.npy"), good(tmp_path / "z/other.npy")
    sources = [first, *faults, last]
    options = ["--workers", "0", "--tier", "fast", "--report", tmp_path / "report.json"]
    done = command("compress", *sources, tmp_path / "out", *options, timeout_s=TIMEOUT_S)
    report = json.loads((tmp_path / "report.json").read_text())
    sealed = {one["source"] for one in report["images"]}
    assert {str(first), str(last)} <= sealed
    assert len(sealed) > 50
    assert "Traceback" not in done.stdout + done.stderr
    assert [one for one in report["failures"] if one["kind"] == "internal"] == []


@pytest.mark.slow
class TestNothingElseIsOpened:
    def test_no_store_holds_what_nobody_named(self, attack: Attack) -> None:
        for one in attack.made:
            for store in attack.stores_of(one.name):
                assert not np.any(tilepress.open(store)["image"].values == SECRET), one.name

    def test_every_file_is_of_the_inputs_or_of_the_program(self, attack: Attack) -> None:
        root = attack.root
        allowed = [root / "in", root / "archive", root / "temporary", *_of_the_program()]
        allowed += [root / "archive-report.json", root / "archive-report.json.rss"]
        strange = [
            path
            for _, path in _opened(attack)
            if not any(map(Path(path).is_relative_to, allowed))
            and not _is_partial_report(path, root)
            and path != str(root)  # synced, as the destination and the report were made in it
        ]
        assert strange == []

    def test_nothing_is_opened_for_writing_but_the_destination(self, attack: Attack) -> None:
        root = attack.root
        may = [root / "archive", root / "temporary", Path("/dev"), *_caches()]
        written = [
            path
            for flags, path in _opened(attack)
            if re.search(r"O_WRONLY|O_RDWR|O_CREAT|O_TRUNC", flags)
            and not any(map(Path(path).is_relative_to, may))
            and not path.startswith(f"{root}/archive-report.json")
            and not _is_partial_report(path, root)
        ]
        assert written == []

    def test_of_the_inputs_only_regular_files_and_folders(self, attack: Attack) -> None:
        inputs = [path for _, path in _opened(attack) if path.startswith(f"{attack.root}/in/")]
        assert len(inputs) > len(attack.made)
        for path in inputs:
            mode = os.lstat(path).st_mode
            assert stat.S_ISREG(mode) or stat.S_ISDIR(mode), path

    def test_no_other_machine_is_called(self, attack: Attack) -> None:
        calls = [line for line in _lines(attack) if re.search(r"\bconnect\(", line)]
        assert [line for line in calls if "AF_UNIX" not in line] == []

    def test_a_call_would_be_seen(self, tmp_path: Path) -> None:
        """A trace that shows nothing proves nothing."""
        if not _can_trace():
            pytest.skip("system calls cannot be traced here: no strace, or no right to")
        call = "import socket; socket.socket().connect_ex(('127.0.0.1', 9)); open('/etc/passwd')"
        command = ["strace", "-f", "-y", "-e", f"trace={CALLS}", "-o", str(tmp_path / "trace")]
        subprocess.run([*command, sys.executable, "-c", call], check=True)
        lines = (tmp_path / "trace").read_text().splitlines()
        assert any("connect(" in line and "AF_INET" in line for line in lines)
        assert "/etc/passwd" in [path for _, path in map(_parsed, lines) if path]


def _lines(attack: Attack) -> list[str]:
    if attack.trace is None:
        pytest.skip("system calls cannot be traced here: no strace, or no right to")
    return attack.trace


def _opened(attack: Attack) -> list[tuple[str, str]]:
    """Return flags and real path of every file that was opened."""
    return [(flags, path) for flags, path in map(_parsed, _lines(attack)) if path.startswith("/")]


def _parsed(line: str) -> tuple[str, str]:
    found = re.search(r"\b(?:open|openat|openat2|creat)\((.*)\) = \d+<(.*)>$", line)
    if found is None:
        return "", ""
    path = codecs.escape_decode(found[2].encode("latin-1", "replace"))[0]
    flags = re.findall(r"O_[A-Z]+", found[1].rpartition('"')[2])
    return "|".join(flags), os.fsdecode(path).removesuffix(" (deleted)")


def _of_the_program() -> list[Path]:
    """Return where the interpreter, its libraries and ours lie, and what the system tells."""
    ours = [Path(tilepress.__file__).resolve().parents[2], Path(np.__file__).resolve().parents[1]]
    prefixes = [Path(one).resolve() for one in (sys.prefix, sys.base_prefix)]
    system = map(Path, ("/usr", "/lib", "/lib64", "/etc", "/proc", "/sys", "/dev"))
    return [*ours, *prefixes, *system, *_caches()]


def _caches() -> list[Path]:
    ours = Path(tilepress.__file__).resolve().parents[2]
    return [Path.home() / ".cache", ours / "codecs"]


def _is_partial_report(path: str, root: Path) -> bool:
    return path.startswith(f"{root}/.archive-report.json.")
