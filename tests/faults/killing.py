"""Start commands, workers and schedulers that die where they are told to; see what is left."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil
import zarr

from tilepress.pipeline.storage.path import storage_path
from tilepress.pipeline.verify import verify

from ..helpers.samples import smooth
from .conftest import check_any

TILE = 64
SIDE = 5 * TILE
SHARDS = (SIDE // TILE) ** 2

POINTS = (
    "before-read", "after-encode", "mid-write", "before-rename", "after-rename", "after-ledger",
    "before-seal", "mid-seal", "after-seal",
)  # fmt: skip

SEAL_POINTS = ("before-seal", "mid-seal", "after-seal")

SCRIPT = '''
"""The command with tiny shards that take their time, and that dies where DIE_AT says.

The workers import this file, too. DIE_AT is "point:k": the process that comes there for the k-th
time kills itself, if it is the first to do so.
"""

import os
import signal
import sys
import time

from tilepress.pipeline.storage import atomic
from tilepress.pipeline.image import grid as geometry
from tilepress.pipeline.store.writer import StoreWriter
from tilepress.pipeline.archive import plan
from tilepress.pipeline.archive import write as task
from tilepress.pipeline.archive.ledger import Ledger

POINT, _, NUMBER = os.environ.get("DIE_AT", "").partition(":")
passed = 0


def reach(point):
    global passed
    if point != POINT:
        return
    passed += 1
    if passed < int(NUMBER):
        return
    try:
        os.close(os.open(os.environ["DIED"], os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return
    os.kill(os.getpid(), signal.SIGKILL)


def tiny(shape, itemsize, *, tile, block=None):
    return geometry.choose_grid(shape, itemsize, tile=tile, max_shard_bytes=64 * 64 * 2)


def slow(coding, ref, source=None):
    reach("before-read")
    time.sleep(0.02)
    coded = encode(coding, ref, source)
    log = os.open(os.environ["ENCODED"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(log, f"{ref.name}\\n".encode())
    os.close(log)
    reach("after-encode")
    return coded


def is_shard(path):
    return "/c/" in str(path) and "/0/image/" in str(path)


def write_synced(path, data):
    if is_shard(path) and POINT == "mid-write":
        with open(path, "xb") as file:
            file.write(bytes(data)[: len(data) // 2])
            file.flush()
            reach("mid-write")
        os.unlink(path)
    written(path, data)


def replace(old, new, **options):
    shard, document = is_shard(new), str(new).endswith(".zarr/0/zarr.json")
    if shard:
        reach("before-rename")
    renamed(old, new, **options)
    if shard:
        reach("after-rename")
    if document:
        reach("mid-seal")


def record(self, entry):
    recorded(self, entry)
    reach("after-ledger")


def seal(self, *arguments):
    reach("before-seal")
    sealed(self, *arguments)
    reach("after-seal")


if "encode" not in globals():  # Dask reloads what it preloads
    plan.choose_grid = tiny
    encode, task._encode = task._encode, slow
    written, atomic._write_synced = atomic._write_synced, write_synced
    renamed, os.replace = os.replace, replace
    recorded, Ledger.record = Ledger.record, record
    sealed, StoreWriter.seal = StoreWriter.seal, seal

if __name__ == "__main__":
    from tilepress.workflows.cli.app import main

    main()
'''


@dataclass
class Tally:
    """What kills of one kind came to."""

    kills: int = 0
    wrong: int = 0
    finished: int = 0
    """Shards that the ledger knew when something was killed."""
    redone: int = 0
    """Those of them that were coded again."""

    @property
    def reused(self) -> float:
        return 1 - self.redone / self.finished if self.finished else 1.0


@dataclass
class Archive:
    """A source, and a destination that is made anew for every kill."""

    folder: Path
    dice: random.Random
    out: str = ""
    tally: dict[str, Tally] = field(default_factory=dict)
    _number: int = 0

    def __post_init__(self) -> None:
        self.samples = smooth((SIDE, SIDE))
        self.source = self.folder / "scene.npy"
        np.save(self.source, self.samples)
        self.script = self.folder / "command.py"
        self.script.write_text(SCRIPT)
        self.renew()

    def renew(self, out: str = "") -> None:
        self._number += 1
        self.base = self.folder / str(self._number)
        self.base.mkdir()
        self.out = out or str(self.base / "out")

    def environment(self, point: str = "", number: int = 1) -> dict[str, str]:
        own = {"ENCODED": str(self.base / "encoded"), "DIED": str(self.base / "died")}
        return os.environ | own | {"DIE_AT": f"{point}:{number}" if point else ""}

    def start(self, *words: object, point: str = "", number: int = 1) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, str(self.script), *map(str, words)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=self.environment(point, number),
        )

    def compress(self, *more: object, point: str = "", number: int = 1):
        words = ("compress", self.source, self.out, "--tile", TILE, "--tier", "fast", *more)
        return self.start(*words, point=point, number=number)

    def done(self) -> set[str]:
        """Return the names of the shards that the ledger knows."""
        keys = (
            (key for key, _ in storage_path(self.out).walk())
            if storage_path(self.out).is_folder()
            else ()
        )
        names = (key.rpartition("/")[2] for key in keys if key.startswith(".tilepress/scene"))
        return {n[:-5] for n in names if n.startswith("image-") and n.endswith(".json")}

    def encoded(self) -> list[str]:
        log = self.base / "encoded"
        return log.read_text().split() if log.exists() else []

    def kills(self) -> int:
        """Return how many processes were killed so far."""
        return sum(one.kills for one in self.tally.values())

    def check(self, kind: str, killed: bool, known: set[str], before: int) -> None:
        """Count a kill, after the line was run to its end; what ended by itself was not killed."""
        if not killed:
            return
        tally = self.tally.setdefault(kind, Tally())
        store = storage_path(self.out) / "scene.zarr"
        found = zarr.open_group(store.zarr_store(), mode="r")["0/image"][...]
        if verify(store) or not np.array_equal(found, self.samples):
            tally.wrong += 1
        tally.kills += 1
        tally.finished += len(known)
        tally.redone += len(known & set(self.encoded()[before:]))

    def look(self, kind: str) -> tuple[set[str], int]:
        """See what a kill left; return what ``check`` wants to know."""
        known = self.done()
        before = len(self.encoded())
        try:
            check_any(storage_path(self.out) / "scene.zarr", (self.samples,))
        except BaseException:
            self.tally.setdefault(kind, Tally()).wrong += 1
            raise
        return known, before

    def table(self) -> str:
        lines = ["kind                     kills  wrong  finished shards  reused"]
        for kind, one in sorted(self.tally.items()):
            lines.append(
                f"{kind:<24} {one.kills:>5}  {one.wrong:>5}  {one.finished:>15}  {one.reused:>6.1%}"
            )
        return "\n".join([*lines, f"{'all':<24} {self.kills():>5}"])


def end(command: subprocess.Popen[bytes], limit_s: float = 180) -> str:
    """Wait for a command that must succeed."""
    text = command.communicate(timeout=limit_s)[0].decode()
    assert command.returncode == 0, text
    return text


def wait_for(condition: Callable[[], object], command: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while not condition() and command.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def family_of(command: subprocess.Popen[bytes]) -> list[psutil.Process]:
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(command.pid).children(recursive=True)
    return []


def wait_until_gone(processes: list[psutil.Process], limit_s: float = 60) -> None:
    _, alive = psutil.wait_procs(processes, timeout=limit_s)
    assert not alive, f"{len(alive)} processes outlived their command"


def moment(archive: Archive, command: subprocess.Popen[bytes], least: int = 0) -> None:
    """Wait until a random moment of a run."""
    goal = archive.dice.randint(least, SHARDS)
    wait_for(lambda: len(archive.done()) >= goal, command)
    time.sleep(archive.dice.uniform(0, 0.1))


def kill_command(archive: Archive, workers: int, *points: str) -> None:
    """Kill a line again and again, by itself at points, or ("") at random; then let it end."""
    looks = []
    for point in points:
        kind = f"command {'at a point' if point else 'at random'}"
        (archive.base / "died").unlink(missing_ok=True)
        number = 1 if point in SEAL_POINTS else archive.dice.randint(1, 4)
        command = archive.compress("--workers", workers, point=point, number=number)
        if not point:
            moment(archive, command, len(archive.done()))
            family = family_of(command)
            command.kill()
            wait_until_gone(family)
        command.communicate(timeout=180)
        killed = command.returncode == -signal.SIGKILL
        assert killed or not point, "it was to die at the point"
        looks.append((kind, killed, *archive.look(kind)))
    end(archive.compress("--workers", workers))
    for look in looks:
        archive.check(*look)
    archive.renew()


def kill_workers(archive: Archive, points: tuple[str, ...] = (), kills: int = 1) -> None:
    """Kill workers of one run, which goes on."""
    kind = f"worker {'at a point' if points else 'at random'}"
    point = points[0] if points else ""
    number = 1 if point in SEAL_POINTS else archive.dice.randint(1, 5)
    command = archive.compress("--workers", 2, point=point, number=number)
    looks = []
    for _ in range(1 if points else kills):
        killed = bool(points)
        if points:
            wait_for((archive.base / "died").exists, command)
        else:
            goal = archive.dice.randrange(SHARDS - 3)
            wait_for(lambda goal=goal: len(archive.done()) >= goal, command)
            wait_for(lambda: workers_of(command), command)
            with contextlib.suppress(psutil.NoSuchProcess, IndexError):
                archive.dice.choice(workers_of(command)).kill()
                killed = True
        looks.append((killed, *archive.look(kind)))
    end(command)
    assert not points or (archive.base / "died").exists(), "a worker was to die at the point"
    for look in looks:
        archive.check(kind, *look)
    archive.renew()


def workers_of(command: subprocess.Popen[bytes]) -> list[psutil.Process]:
    with contextlib.suppress(psutil.NoSuchProcess):
        return [
            process
            for process in psutil.Process(command.pid).children()
            if "spawn_main" in " ".join(process.cmdline())
        ]
    return []


def kill_part(archive: Archive, *points: str) -> None:
    """Kill a part again and again; then a batch system runs both parts, and somebody finish."""
    looks = []
    for point in points:
        kind = f"part {'at a point' if point else 'at random'}"
        (archive.base / "died").unlink(missing_ok=True)
        number = archive.dice.randint(1, 2)
        command = archive.compress("--part", "0/2", point=point, number=number)
        if not point:
            goal = archive.dice.randint(len(archive.done()), SHARDS // 2)
            wait_for(lambda goal=goal: len(archive.done()) >= goal, command)
            time.sleep(archive.dice.uniform(0, 0.1))
            command.kill()
        command.communicate(timeout=180)
        killed = command.returncode == -signal.SIGKILL
        looks.append((kind, killed, *archive.look(kind)))
    for part in [archive.compress("--part", f"{i}/2") for i in range(2)]:
        end(part)
    end(archive.start("finish", archive.out, "--workers", 0))
    for look in looks:
        archive.check(*look)
    archive.renew()


@contextlib.contextmanager
def scheduler(archive: Archive) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Start a scheduler and two workers, each in its own process."""
    file = archive.base / f"scheduler-{time.monotonic_ns()}.json"
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    dask = [sys.executable, "-m", "dask"]
    options = ["--host", "127.0.0.1", "--no-dashboard", "--scheduler-file", str(file)]
    head = subprocess.Popen([*dask, "scheduler", *options], **quiet)
    workers = []
    try:
        wait_for(lambda: file.exists() and file.stat().st_size, head)
        address = json.loads(file.read_text())["address"]
        more = ["--no-nanny", "--no-dashboard", "--nthreads", "1", "--death-timeout", "10"]
        preload = ["--preload", str(archive.script), "--local-directory", str(archive.base)]
        workers = [
            subprocess.Popen(
                [*dask, "worker", address, *more, *preload], env=archive.environment(), **quiet
            )
            for _ in range(2)
        ]
        yield address, head
    finally:
        for process in (head, *workers):
            process.kill()
            process.wait()


def kill_scheduler(archive: Archive) -> float:
    """Kill the scheduler; return after how many seconds the command ended."""
    kind = "scheduler at random"
    with scheduler(archive) as (address, head):
        command = archive.compress("--cluster", address)
        goal = archive.dice.randrange(1, SHARDS // 2)  # far enough from the end of the run
        wait_for(lambda: len(archive.done()) >= goal, command)
        head.kill()
        killed = time.monotonic()
        text = command.communicate(timeout=120)[0].decode()
        took_s = time.monotonic() - killed
    assert command.returncode not in (0, None), text
    assert "Traceback" not in text, text
    look = archive.look(kind)
    with scheduler(archive) as (address, _):
        end(archive.compress("--cluster", address))
    archive.check(kind, True, *look)
    archive.renew()
    return took_s
