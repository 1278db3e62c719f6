"""See whether a profile works: the system's commands here, and what one worker sees there."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tilepress.codecs.errors import TilepressError
from tilepress.workflows.cluster import ClusterOpener, OpenedCluster
from tilepress.workflows.profiles import BatchProfile, Profile

__all__ = ["Seen", "check_worker", "look_around", "problems"]


@dataclass(frozen=True, slots=True)
class Seen:
    """What a worker sees."""

    python: str
    tilepress: str
    cores: int
    gpus: tuple[str, ...]
    device: str
    destination: str | None = None
    trouble: str | None = None
    """Why the destination cannot be written."""
    problems: list[str] = field(default_factory=list)

    def lines(self) -> Iterator[str]:
        """Yield a line for each."""
        yield f"worker: Python {self.python}, tilepress {self.tilepress}, {self.cores} cores"
        yield f"worker: GPUs {', '.join(self.gpus) or 'none'}, codes on {self.device}"
        if self.destination is not None and self.trouble is None:
            yield f"worker: can write {self.destination}"


def problems(profile: Profile) -> list[str]:
    """Return what is missing on this machine."""
    if not isinstance(profile, BatchProfile):
        return []
    from tilepress.workflows.job_cluster import STATUS, job_class

    job = job_class(profile.kind)
    commands = (job.submit_command.split()[0], job.cancel_command.split()[0])
    found = [
        f"checking {profile.kind}: there is no command {name} here; run on a machine that submits"
        for name in (*commands, STATUS[profile.kind][0])
        if shutil.which(name) is None
    ]
    return list(dict.fromkeys(found))


def look_around(destination: str | None) -> Seen:
    """Return what this process sees; runs on a worker."""
    import platform
    from importlib.metadata import version

    from tilepress.workflows.executor import cpu_count
    from tilepress.workflows.local_cluster import visible_gpus
    from tilepress.workflows.worker import device

    trouble = None
    if destination is not None:
        from tilepress.pipeline.place import place
        from tilepress.workflows.destination import Destination

        try:
            Destination(place(destination)).check_writable()
        except (TilepressError, OSError) as error:
            trouble = f"writing to {destination}: {error}"
    return Seen(
        python=platform.python_version(),
        tilepress=version("tilepress"),
        cores=cpu_count(),
        gpus=visible_gpus(),
        device=device(),
        destination=destination,
        trouble=trouble,
    )


def check_worker(profile: Profile, destination: str | None, wait_s: float) -> Seen:
    """Start or find one worker and ask it; raise what keeps it from coming up."""
    with _opener(profile).open() as opened:
        _wait_for_worker(opened, wait_s)
        resources = {"GPU": 1} if isinstance(profile, BatchProfile) and profile.gpus else None
        future = opened.client.submit(look_around, destination, pure=False, resources=resources)
        seen: Seen = future.result(timeout=wait_s)
    if seen.trouble is not None:
        seen.problems.append(seen.trouble)
    if resources and not seen.gpus:
        seen.problems.append("checking a worker: its job asks for a GPU, and no device is seen")
    return seen


def _opener(profile: Profile) -> ClusterOpener:
    if isinstance(profile, BatchProfile):
        from tilepress.workflows.job_cluster import JobOpener

        return JobOpener(profile, jobs=1)
    from tilepress.workflows.address_cluster import AddressOpener

    return AddressOpener(profile)


def _wait_for_worker(opened: OpenedCluster, wait_s: float) -> None:
    from tilepress.workflows.watch import NoWorkers

    end = time.monotonic() + wait_s
    while True:
        workers: dict[str, Any] = opened.client.scheduler_info(n_workers=-1)["workers"]
        if workers:
            opened.admit(frozenset(workers))
            return
        opened.check()
        if time.monotonic() > end:
            raise NoWorkers(f"checking a profile: no worker came up in {wait_s:.0f} s")
        time.sleep(0.5)
