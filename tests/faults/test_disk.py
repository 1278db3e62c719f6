"""A disk that is full, read-only, or fails: one clear error, nothing sealed wrongly, then go on."""

from __future__ import annotations

import errno
import json
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import zarr

from tilepress.errors import UsageError
from tilepress.pipeline.storage.path import storage_path
from tilepress.workflows.cli import app as cli
from tilepress.workflows.run.driver import NoRoom

from .conftest import TILE, Scene, check_any, check_archive, write_sources
from .recording import watched

pytestmark = pytest.mark.usefixtures("tiny_shards", "dead_holders")

KINDS = ("create", "write", "sync", "rename", "mkdir", "link")

SYNC_IS_SLOW = [
    pytest.param(kind, marks=pytest.mark.slow) if kind == "sync" else kind for kind in KINDS
]


PROBES = {"create": 1, "write": 0, "sync": 1, "rename": 0, "mkdir": 1, "link": 0}
"""Operations before a run is begun, by kind: whether the destination can be written."""


class Failing:
    """Fails the n-th operation of some kinds, and ``times`` - 1 after it."""

    def __init__(self, number: int, code: int, kinds: tuple[str, ...], times: int = 1 << 30):
        self.number, self.code, self.kinds, self.times = number, code, kinds, times
        self.seen = self.failed = 0

    def __call__(self, kind: str, path: str) -> None:
        if kind not in self.kinds:
            return
        self.seen += 1
        if self.seen >= self.number and self.failed < self.times:
            self.failed += 1
            raise OSError(self.code, "on demand", path)


@pytest.fixture
def older(tmp_path: Path) -> Scene:
    """Another image of the same name and shape."""
    every = write_sources(tmp_path / "old", 50)
    return Scene(every.folder / "large.npy", {"large": every.images["large"]}, {})


@pytest.fixture
def one(scene: Scene) -> Scene:
    """The image of several shards alone: every operation of its run is to fail once."""
    return Scene(scene.folder / "large.npy", {"large": scene.images["large"]}, {})


def count(scene: Scene, out: Path, kind: str) -> int:
    counter = Failing(1 << 30, 0, (kind,))
    out.mkdir(parents=True)
    with watched(out, counter):
        assert scene.compress(out / "large.zarr").ok
    return counter.seen


def run_to_an_error(scene: Scene, target: Path, *, force: bool = False) -> str:
    """Run; return what a person is told of the failure, or "" where there was none."""
    try:
        report = scene.compress(target, force=force)
    except (OSError, UsageError, NoRoom) as error:  # the command prints one line of these
        return str(error)
    assert {failure.kind for failure in report.failures} <= {"storage"}
    return "".join(failure.message for failure in report.failures)


class TestTheNthOperationFails:
    """For every n, of every kind."""

    @pytest.mark.parametrize("kind", SYNC_IS_SLOW)
    def test_and_so_do_all_after_it_for_the_disk_is_full(self, one: Scene, folder: Path, kind: str):
        total = count(one, folder / "count", kind)
        assert total
        for number in range(1, total + 1):
            out = folder / f"{number}"
            out.mkdir()
            kinds = tuple({kind, "create", "write", "mkdir"} if kind != "sync" else {kind})
            failing = Failing(number, errno.ENOSPC, (kind,) if number % 2 else kinds)
            with watched(out, failing):
                told = run_to_an_error(one, out / "large.zarr")
            # where the last lines of a run fail the store may be whole, and the failure is nobody's
            assert (
                told
                or check_any(storage_path(out / "large.zarr"), (one.images["large"],)) == "sealed"
            )
            assert not told or "on demand" in told or "No space" in told, told
            check_any(storage_path(out / "large.zarr"), (one.images["large"],))
            assert one.compress(out / "large.zarr").ok
            check_archive(one, out)

    @pytest.mark.parametrize("kind", SYNC_IS_SLOW)
    def test_twice_and_then_works_again(self, one: Scene, folder: Path, kind: str):
        """What networked storage says for a while costs a run nothing, while shards are written."""
        total = count(one, folder / "count", kind)
        survived = 0
        for number in range(1, total + 1):
            out = folder / f"{number}"
            out.mkdir()
            with watched(out, Failing(number, errno.EIO, (kind,), times=2)):
                told = run_to_an_error(one, out / "large.zarr")
            survived += not told
            check_any(storage_path(out / "large.zarr"), (one.images["large"],))
            assert one.compress(out / "large.zarr").ok
            check_archive(one, out)
        print(f"EIO at {kind}: {survived} of {total} survived without an error")
        assert survived >= total - PROBES[kind], "only the probes before the run may fail it"

    @pytest.mark.parametrize("kind", ["write", pytest.param("rename", marks=pytest.mark.slow)])
    def test_and_the_old_store_stays(self, one: Scene, older: Scene, folder: Path, kind: str):
        """Replaced or not, there is a store; and the run says which one where it fails."""
        assert older.compress(folder / "count/large.zarr").ok
        counter = Failing(1 << 30, 0, (kind,))
        with watched(folder / "count", counter):
            assert one.compress(folder / "count/large.zarr", force=True).ok
        kept = 0
        for number in range(1, counter.seen + 1):
            out = folder / f"{number}"
            assert older.compress(out / "large.zarr").ok
            with watched(out, Failing(number, errno.ENOSPC, (kind,))):
                told = run_to_an_error(one, out / "large.zarr", force=True)
            both = older.images["large"], one.images["large"]
            assert check_any(storage_path(out / "large.zarr"), both) == "sealed"
            if "the old store stays in its place" in told:
                found = zarr.open_group(out / "large.zarr", mode="r")["0/image"][...]
                assert np.array_equal(found, both[0])
                kept += 1
            assert one.compress(out / "large.zarr", force=True).ok
            check_archive(one, out)
        assert kept > counter.seen // 2

    def test_earlier_seals_stay(self, scene: Scene, folder: Path):
        out = folder / "out"
        small = Scene(scene.folder / "small1.npy", {"small1": scene.images["small1"]}, {})
        assert small.compress(out).ok
        with watched(out, Failing(20, errno.ENOSPC, KINDS)):
            assert run_to_an_error(scene, out)
        assert check_any(storage_path(out / "small1.zarr"), (scene.images["small1"],)) == "sealed"
        assert scene.compress(out).ok
        check_archive(scene, out)


class TestTheCommand:
    """One line on stderr, exit code 1 (or 2 where nothing can be written at all)."""

    @pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EDQUOT])
    @pytest.mark.parametrize("number", [1, 10, 40, 80])
    def test_says_what_the_disk_said(
        self, one: Scene, folder: Path, capfd: pytest.CaptureFixture[str], code: int, number: int
    ):
        out = folder / "out"
        out.mkdir()
        words = ["compress", one.folder, out / "large.zarr", "--tile", TILE, "--workers", 0]
        with watched(out, Failing(number, code, KINDS)):
            exit_code = cli._guarded(lambda: cli.app(list(map(str, words)), standalone_mode=False))
        told = capfd.readouterr().err
        assert exit_code in (1, 2), told
        assert told.count("on demand") == 1, told
        assert "Traceback" not in told
        assert check_any(storage_path(out / "large.zarr"), (one.images["large"],)) == "unsealed"

    def test_says_it_once_for_a_whole_archive(
        self, scene: Scene, folder: Path, capfd: pytest.CaptureFixture[str]
    ):
        """No other image would fare better: the run ends, and the report tells how far it came."""
        out, report = folder / "out", folder / "report.json"
        out.mkdir()
        words = ["compress", scene.folder, out, "--tile", TILE, "--tier", "fast", "--workers", 0]
        words += ["--report", report]
        with watched(out, Failing(60, errno.ENOSPC, KINDS)):
            exit_code = cli._guarded(lambda: cli.app(list(map(str, words)), standalone_mode=False))
        told = capfd.readouterr().err
        assert exit_code == 1
        assert told.count("on demand") == 1, told
        assert f"writing into {out}: " in told
        assert "make room and run the same line again" in told
        written = json.loads(report.read_text())
        assert written["interrupted"]
        assert written["written"] < len(scene.images)
        assert scene.compress(out).ok
        check_archive(scene, out)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Return a file system of 8 MB in memory, or skip."""
    folder = tmp_path / "disk"
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "tilepress", str(folder)],
        capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode:
        pytest.skip(f"no small disk: mounting a tmpfs was refused ({done.stderr.strip()})")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.skipif(sys.platform != "linux", reason="mounts a tmpfs")
class TestARealDisk:
    """borg's pattern: fill a file system at random, then go on where there is room again."""

    @pytest.mark.slow
    def test_filled_ten_times(self, small_disk: Path, tmp_path: Path):
        dice = random.Random(5)
        source = tmp_path / "noise.npy"
        noise = np.random.default_rng(1).integers(0, 2**16, (1024, 1024), np.uint16)
        np.save(source, noise)
        scene = Scene(source, {"large": noise}, {})
        stops = 0
        for _ in range(10):
            out = small_disk / "out"
            ballast = small_disk / "ballast"
            ballast.write_bytes(bytes(int(8 * 2**20 - dice.uniform(0.02, 2) * 2**20)))
            told = run_large(scene, out)
            stops += bool(told)
            assert not told or "No space left on device" in told, told
            check_any(storage_path(out / "large.zarr"), (noise,))
            ballast.unlink()
            assert run_large(scene, out) == ""
            check_archive(scene, out)
            subprocess.run(["rm", "-r", str(out)], check=True)
        assert stops >= 9, "a store of 2 MB does not fit into what was left"

    def test_read_only(self, small_disk: Path, one: Scene):
        """Root may write where the permission bits say no; not where the mount does."""
        out = small_disk / "out"
        assert one.compress(out / "large.zarr").ok
        subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
        with pytest.raises(UsageError, match="Read-only file system"):
            one.compress(out / "other.zarr")
        assert check_any(storage_path(out / "large.zarr"), (one.images["large"],)) == "sealed"
        subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
        assert one.compress(out / "other.zarr").ok


def run_large(scene: Scene, out: Path) -> str:
    from tilepress.workflows.run.compress import compress

    try:
        report = compress(scene.folder, out / "large.zarr", tile=256, tier="fast", workers=0)
    except (OSError, UsageError, NoRoom) as error:
        return str(error)
    return "".join(failure.message for failure in report.failures)
