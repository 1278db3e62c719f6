"""See whether a profile works: the system's commands here, and what workers see and do there."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from tilepress.errors import TilepressError
from tilepress.workflows.cluster.address import AddressOpener
from tilepress.workflows.cluster.contract import ClusterOpener, NoWorkers, OpenedCluster
from tilepress.workflows.cluster.jobs import JobOpener
from tilepress.workflows.cluster.local import cpu_count, visible_gpus
from tilepress.workflows.cluster.profiles import BatchProfile, Profile
from tilepress.workflows.cluster.systems import batch_system
from tilepress.workflows.cluster.worker_kinds import WorkerCounts, WorkerKind

__all__ = ["Seen", "check_workers", "look_around", "problems"]

ASKED_WORKERS = 16
"""Workers that are asked at most; of every kind one at least."""

TILE = 64
"""Rows and columns of the tile that is coded and decoded."""

LOOK_EVERY_S = 0.5

Tell = Callable[[str], None]
Workers = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Seen:
    """What a worker sees."""

    cores: int
    gpus: tuple[str, ...]
    device: str
    round_trip: Literal["the same", "other samples"]
    """How a tile came back that was coded and decoded."""
    trouble: str | None = None
    """Why the destination cannot be written."""


def problems(profile: Profile) -> list[str]:
    """Return what is missing on this machine."""
    if not isinstance(profile, BatchProfile):
        return []
    system = batch_system(profile.kind)
    job = system.job_class()
    commands = (job.submit_command.split()[0], job.cancel_command.split()[0], system.status[0])
    found = [
        f"checking {profile.kind}: there is no command {name} here; run on a machine that submits"
        for name in commands
        if shutil.which(name) is None
    ]
    return list(dict.fromkeys(found))


def look_around(destination: str | None) -> Seen:
    """Return what this process sees; runs on a worker."""
    from tilepress.pipeline.archive.device import device

    trouble = None
    if destination is not None:
        from tilepress.pipeline.archive.destination import Destination
        from tilepress.pipeline.storage.path import storage_path

        try:
            Destination(storage_path(destination)).check_writable()
        except (TilepressError, OSError) as error:
            trouble = f"writing to {destination}: {error}"
    return Seen(
        cores=cpu_count(),
        gpus=visible_gpus(),
        device=device(),
        round_trip="the same" if _comes_back() else "other samples",
        trouble=trouble,
    )


def _comes_back() -> bool:
    """Code a tile where this process codes, decode it on the CPU, and compare."""
    import numpy as np

    from tilepress.codecs.tile import TileCodec
    from tilepress.pipeline.archive.device import device

    steps = np.random.default_rng(0).integers(-3, 4, (TILE, TILE))
    tile = (steps.cumsum(0).cumsum(1) % 4096).astype(np.uint16)
    record = TileCodec(tier="fast", device=device()).encode(tile)
    return bool(np.array_equal(TileCodec(tier="fast", device="cpu").decode(record), tile))


def check_workers(
    profile: Profile, destination: str | None, wait_s: float, tell: Tell
) -> list[str]:
    """Start one job or join what runs, and ask its workers; return what is wrong.

    ``tell`` gets a line for everything that is found, at once. Raises what keeps the first worker
    from coming up within ``wait_s``.
    """
    began = time.monotonic()
    opener = _opener(profile, wait_s, tell)
    with opener.open() as opened:
        own = opened.own_scheduler
        scheduler: Any = opened.client.scheduler
        address: str = scheduler.address
        safe = "encrypted" if address.startswith(("tls://", "gateway://")) else "not encrypted"
        tell(f"scheduler: {address}, {'in this process' if own else 'joined'}, {safe}")
        wanted = opener.expected.slots if own else 1
        workers = _wait_for_workers(opened, wanted, began, wait_s, tell)
        end = max(began + wait_s, time.monotonic() + LOOK_EVERY_S)
        found = [] if len(workers) >= wanted else [_too_few(len(workers), wanted, wait_s)]
        tell(_versions())
        return found + list(_ask(opened, workers, profile, destination, end, tell))


def _opener(profile: Profile, wait_s: float, tell: Tell) -> ClusterOpener:
    if isinstance(profile, BatchProfile):
        return JobOpener(profile, jobs=1, note=tell)
    return AddressOpener(profile, note=tell, wait_s=wait_s)


def _wait_for_workers(
    opened: OpenedCluster, wanted: int, began: float, wait_s: float, tell: Tell
) -> Workers:
    """Return the workers once there are enough, or at the end those that came."""
    first = True
    while True:
        workers: Workers = opened.client.scheduler_info(n_workers=-1)["workers"]
        passed = time.monotonic() - began
        if workers and first:
            first = False
            opened.admit(frozenset(workers))
            tell(f"first worker: after {passed:.1f} s")
        if len(workers) >= wanted or (workers and passed > wait_s):
            tell(
                _count(WorkerCounts.of(workers.values()), wanted if opened.own_scheduler else None)
            )
            return workers
        opened.check()
        if passed > wait_s:
            raise NoWorkers(f"checking a profile: no worker came up in {wait_s:g} s")
        time.sleep(LOOK_EVERY_S)


def _count(counts: WorkerCounts, wanted: int | None) -> str:
    kinds = {"on GPUs": counts.gpu, "on CPUs": counts.cpu, "without resources": counts.plain}
    listed = ", ".join(f"{count} {kind}" for kind, count in kinds.items() if count)
    of = "" if wanted is None else f" of {wanted} of one job"
    return f"workers: {counts.slots}{of}: {listed}"


def _too_few(count: int, wanted: int, wait_s: float) -> str:
    return f"checking a profile: {count} of {wanted} workers of a job came up in {wait_s:g} s"


def _versions() -> str:
    """Say which versions workers have: those of this process, or they had been refused."""
    import platform
    from importlib.metadata import version

    python = ".".join(platform.python_version_tuple()[:2])
    return f"versions: Python {python} and tilepress {version('tilepress')}, here and there"


def _ask(
    opened: OpenedCluster,
    workers: Workers,
    profile: Profile,
    destination: str | None,
    end: float,
    tell: Tell,
) -> Iterator[str]:
    """Tell what some workers of every kind see; yield what is wrong."""
    client = opened.client
    asked = {
        address: client.submit(
            look_around,
            destination,
            pure=False,
            workers=[address],
            resources=_kind(workers[address]).resources,
        )
        for address in _some(workers)
    }
    if len(workers) > len(asked):
        tell(f"asking {len(asked)} of {len(workers)} workers")
    for address, future in asked.items():
        name = f"worker {workers[address].get('host') or address}"
        try:
            seen: Seen = future.result(timeout=max(LOOK_EVERY_S, end - time.monotonic()))
        except TimeoutError:
            yield f"checking {name}: it gave no answer in time; it may be busy"
            continue
        tell(f"{name}: {_describe(workers[address], seen)}")
        if destination is not None and seen.trouble is None:
            tell(f"{name}: can write {destination}")
        yield from _wrong(name, seen, _kind(workers[address]), profile)


def _wrong(name: str, seen: Seen, kind: WorkerKind, profile: Profile) -> Iterator[str]:
    if seen.trouble is not None:
        yield f"checking {name}: {seen.trouble}"
    if seen.round_trip != "the same":
        yield f"checking {name}: a tile coded on {seen.device} came back changed"
    if isinstance(profile, BatchProfile) and profile.gpus and not seen.gpus:
        yield f"checking {name}: its job asks for a GPU, and no device is seen"
    elif kind is WorkerKind.gpu and seen.device == "cpu":
        yield f"checking {name}: it has the resource GPU, and codes on the CPU"


def _describe(worker: Mapping[str, Any], seen: Seen) -> str:
    memory = int(worker.get("memory_limit") or 0)
    parts = [
        f"{worker.get('nthreads', 1)} threads of {seen.cores} cores",
        f"{memory / 2**30:.1f} GiB" if memory else "memory without limit",
        f"GPUs {', '.join(seen.gpus) or 'none'}",
        f"codes on {seen.device}, round trip {seen.round_trip}",
    ]
    return ", ".join(parts)


def _kind(worker: Mapping[str, Any]) -> WorkerKind:
    resources = worker.get("resources") or {}
    return next(
        (kind for kind in (WorkerKind.gpu, WorkerKind.cpu) if resources.get(kind.value)),
        WorkerKind.any,
    )


def _some(workers: Workers) -> Iterable[str]:
    """Return workers to ask: the first of every kind, then others."""
    first = {_kind(worker): address for address, worker in reversed(list(workers.items()))}
    return list(dict.fromkeys([*first.values(), *workers]))[:ASKED_WORKERS]
