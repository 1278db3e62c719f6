"""Measure what scheduling costs for archives of 10⁴ … 10⁶ shards: a run whose coder does nothing.

Everything but reading, coding and writing is as in a real run: the stream of images, leases and
ledgers of each, the bounded window of tasks, client, scheduler and workers in processes of their
own. Memory is that of the client and of the scheduler, which must not grow with the archive.

    python -m tilepress.workflows.bench.scale 10000 100000 1000000
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from tilepress.pipeline.archive.destination import Destination
from tilepress.pipeline.archive.images import Job, Todo
from tilepress.pipeline.archive.lease import Holder, LeaseKeeper
from tilepress.pipeline.archive.options import EncodeOptions
from tilepress.pipeline.archive.outcome import Outcome, SealedImage, ShardDone
from tilepress.pipeline.archive.plan import ImagePlan, ShardRef
from tilepress.pipeline.geotiff.format import GEOTIFF
from tilepress.pipeline.image.grid import ShardGrid
from tilepress.pipeline.image.info import ImageInfo
from tilepress.pipeline.image.source import SourceSpec
from tilepress.pipeline.storage.path import storage_path
from tilepress.workflows.cluster.closed import key_files, keys_of_one_run, write_keys
from tilepress.workflows.cluster.executor import DaskExecutor
from tilepress.workflows.cluster.profiles import AddressProfile, TlsFiles
from tilepress.workflows.report.telling import Event, ShardStored, SilentProgress
from tilepress.workflows.run.driver import Run

__all__ = ["Scale", "measure_scale"]

SHARDS_PER_IMAGE = 1000

SHARD_BYTES = 128 * 2**20

MIB = 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """What a run of so many shards took."""

    shards: int
    images: int
    seconds: float
    client_mib: float
    """Largest resident memory of the client."""
    client_early_mib: float
    """The same when a tenth of the shards was done."""
    scheduler_mib: float
    scheduler_early_mib: float
    tasks_on_scheduler: int
    """Most tasks that the scheduler knew at a time."""

    @property
    def per_s(self) -> float:
        return self.shards / self.seconds

    @property
    def line(self) -> str:
        return (
            f"{self.shards} shards, {self.images} images: {self.seconds:.0f} s, "
            f"{self.per_s:.0f} shards/s; client {self.client_early_mib:.0f} MiB after a tenth, "
            f"{self.client_mib:.0f} at most; scheduler {self.scheduler_early_mib:.0f}, "
            f"{self.scheduler_mib:.0f}; {self.tasks_on_scheduler} tasks on it at most"
        )


def measure_scale(shards: int, *, workers: int = 2) -> Scale:
    """Run ``shards`` shards through real processes with a coder that does nothing."""
    from tilepress.workflows.cluster.address import AddressOpener

    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tilepress-scale-")))
        scheduler, profile = stack.enter_context(_cluster(folder, workers))
        keeper = stack.enter_context(LeaseKeeper())
        executor = stack.enter_context(DaskExecutor(AddressOpener(profile)))
        watcher = _Watcher(scheduler, shards, executor)
        run = Run(
            executor=executor,
            keeper=keeper,
            job=Job(
                destination=Destination(storage_path(folder / "archive")),
                options=EncodeOptions(),
                holder=keeper.holder,
            ),
            progress=watcher,
            group=plan_nothing,
            write=write_nothing,
            seal=seal_nothing,
        )
        begin = time.monotonic()
        report = run.run(_todos(shards))
        seconds = time.monotonic() - begin
        assert not report.failures, report.failures[0]
        assert watcher.done == shards, (watcher.done, shards)
        return Scale(
            shards=shards,
            images=len(report.images),
            seconds=seconds,
            client_mib=watcher.client.most,
            client_early_mib=watcher.client.early,
            scheduler_mib=watcher.scheduler.most,
            scheduler_early_mib=watcher.scheduler.early,
            tasks_on_scheduler=watcher.most_tasks,
        )


# what does nothing


def plan_nothing(todos: tuple[Todo, ...], job: Job, threads: int = 1) -> list[Outcome]:
    """Plan images of ``SHARDS_PER_IMAGE`` shards, or as many as their options say."""
    return [Outcome(plan=_plan(todo, job)) for todo in todos]


def write_nothing(plan: ImagePlan, ref: ShardRef, holder: Holder, threads: int = 1) -> ShardDone:
    return ShardDone(SHARD_BYTES, SHARD_BYTES // 2, reused=False)


def seal_nothing(plan: ImagePlan, holder: Holder) -> SealedImage:
    return SealedImage(plan.raw_bytes, plan.raw_bytes // 2)


def _plan(todo: Todo, job: Job) -> ImagePlan:
    count = int(todo.spec.options["shards"])
    grid = ShardGrid((count * 8192, 8192), (512, 512), (8192, 8192))
    info = ImageInfo(name="image", axes=("y", "x"), shape=grid.shape, dtype=np.dtype(np.uint16))
    return ImagePlan(
        digest=f"{abs(hash(todo.spec.paths)):064x}",
        store=str(job.destination.store_of(todo.spec)),
        spec=todo.spec,
        info=info,
        grid=grid,
        mask_grid=None,
        codec_config={},
    )


def _todos(shards: int) -> Iterator[Todo]:
    kind = GEOTIFF.kinds[0]
    for begin in range(0, shards, SHARDS_PER_IMAGE):
        name = f"image{begin // SHARDS_PER_IMAGE:07}"
        count = min(SHARDS_PER_IMAGE, shards - begin)
        options = {"name": name, "relative": f"{name}.tif", "shards": count}
        yield Todo(SourceSpec(kind=kind, paths=(f"/none/{name}.tif",), options=options))


# watching


@dataclass(slots=True)
class _Memory:
    """Resident memory of one process in MiB, looked at now and then."""

    pid: int
    most: float = 0.0
    early: float = 0.0

    def look(self, share: float) -> None:
        now = resident_mib(self.pid)
        self.most = max(self.most, now)
        if share <= 0.1:
            self.early = max(self.early, now)


class _Watcher(SilentProgress):
    """Counts shards, and looks at both processes two hundred times a run."""

    def __init__(self, scheduler_pid: int, shards: int, executor: DaskExecutor) -> None:
        self.done = 0
        self.most_tasks = 0
        self._executor = executor
        self.client, self.scheduler = _Memory(os.getpid()), _Memory(scheduler_pid)
        self._shards = shards
        self._every = max(1, shards // 200)

    def tell(self, event: Event) -> None:
        if not isinstance(event, ShardStored):
            return
        self.done += 1
        if self.done % self._every == 0:
            self.most_tasks = max(self.most_tasks, self._executor.scheduler_tasks())
            for memory in (self.client, self.scheduler):
                memory.look(self.done / self._shards)


def resident_mib(pid: int) -> float:
    """Return the resident memory of a process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / MIB


@contextlib.contextmanager
def _cluster(folder: Path, workers: int) -> Iterator[tuple[int, AddressProfile]]:
    """Start a scheduler and workers as processes of their own; yield its pid and how to join."""
    file = folder / "scheduler.json"
    write_keys(keys_of_one_run(), folder)
    key, certificate = map(str, key_files(folder))
    closed = ["--host", "127.0.0.1", "--protocol", "tls", "--no-dashboard"]
    closed += ["--tls-ca-file", certificate, "--tls-cert", certificate, "--tls-key", key]
    python = [sys.executable, "-m"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    scheduler = subprocess.Popen(  # noqa: S603  # Dask's own commands
        [*python, "distributed.cli.dask_scheduler", *closed, "--port", "0",
         "--scheduler-file", str(file)],
        **quiet,  # type: ignore[call-overload]
    )  # fmt: skip
    crew = []
    try:
        while not file.exists() or not file.read_text():
            time.sleep(0.05)
        address = str(json.loads(file.read_text())["address"])
        crew = [
            subprocess.Popen(  # noqa: S603
                [*python, "distributed.cli.dask_worker", address, *closed, "--nthreads", "1",
                 "--no-nanny", "--local-directory", str(folder)],
                **quiet,  # type: ignore[call-overload]
            )
            for _ in range(workers)
        ]  # fmt: skip
        tls = TlsFiles(ca=certificate, cert=certificate, key=key)
        yield scheduler.pid, AddressProfile(kind="address", address=address, tls=tls)
    finally:
        for process in (*crew, scheduler):
            process.kill()
            process.wait()


def main() -> None:
    """Measure for each number of shards given; print a line and its JSON for each."""
    for text in sys.argv[1:] or ["10000"]:
        found = measure_scale(int(text))
        sys.stdout.write(found.line + "\n" + json.dumps(asdict(found)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
