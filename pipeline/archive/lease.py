"""Keep two writers from one store: a lease that names its holder and plan, and a heartbeat.

The lease is an object made only where none is (O_EXCL on disks, If-None-Match in buckets); the time
it was last written is the heartbeat. The parts of one plan share a lease, for they write the same
bytes. A lease is stale when its holder was a process of this host that no longer runs, or when the
heartbeat of another host, or of parts, is older than ``STALE_AFTER_S``. A stale lease is replaced
by compare-and-swap, so that two that come at once cannot both take it over.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import threading
import uuid
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Literal

from tilepress.errors import DestinationConflict, StoreError
from tilepress.pipeline.storage.links import check_no_link
from tilepress.pipeline.storage.path import StoragePath
from tilepress.pipeline.storage.retry import retried

__all__ = ["Holder", "Lease", "LeaseKeeper", "LeaseLost", "Role", "holds"]

HEARTBEAT_S = 10.0
"""Seconds between two heartbeats of a live holder."""

STALE_AFTER_S = 120.0
"""Age in seconds of the heartbeat of a holder on another host that counts as dead."""

_LEASE = "lease.json"

Role = Literal["run", "part", "finish"]


class LeaseLost(StoreError):
    """Another process took over the store while this one was away."""

    kind = "lease-lost"


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Who may write a store. Workers get it along with each task."""

    id: str
    host: str
    boot: str
    pid: int
    started: str
    """When the process started: tells a reused process id from the holder's."""
    role: Role = "run"
    """"run": alone. "part": beside other parts of the same plan. "finish": after all parts."""
    plan: str = ""
    """Digest of the plan that is written."""

    @classmethod
    def this_process(cls, role: Role = "run") -> Holder:
        pid = os.getpid()
        return cls(
            id=uuid.uuid4().hex,
            host=platform.node(),
            boot=_boot_id(),
            pid=pid,
            started=_process_start(pid) or "",
            role=role,
        )

    def of_plan(self, digest: str) -> Holder:
        """Return the same holder with the plan that it writes."""
        return replace(self, plan=digest)

    def shares(self, other: Holder) -> bool:
        """Whether the lease of ``other`` is as good as this holder's own."""
        if self.id == other.id:
            return True
        return self.role == other.role == "part" and self.plan == other.plan

    def follows(self, other: Holder) -> bool:
        """Whether this holder seals what the parts that hold the lease have written."""
        return self.role == "finish" and other.role == "part" and self.plan == other.plan


class Lease:
    """The right to write one store, held until ``release``."""

    def __init__(self, folder: StoragePath, holder: Holder) -> None:
        self.folder = folder
        self.holder = holder

    @classmethod
    def acquire(cls, folder: StoragePath, holder: Holder | None = None) -> Lease:
        """Take the lease of ``folder`` (made where it is missing).

        Raises DestinationConflict while another live process holds it, and where it is a link.
        """
        me = holder or Holder.this_process()
        check_no_link(folder.parent.parent, folder)
        folder.make_folder()
        with folder.parent.parent.guard():
            folder.make_folder()  # whoever held the lock may have removed it
            _take(folder, me)
        return cls(folder, me)

    def beat(self) -> bool:
        """Renew the heartbeat; False where the lease is no longer this holder's."""
        return holds(self.folder, self.holder) and (self.folder / _LEASE).touch()

    def release(self, *, sealed: bool = False) -> None:
        """Give the lease back, and remove its folder and the one above where nothing is left.

        Parts only stop beating, for others may be at work under the same lease, unless the store is
        sealed.
        """
        if self.holder.role == "part" and not sealed:
            return
        with self.folder.parent.parent.guard():
            if holds(self.folder, self.holder):
                self.folder.sweep()  # a killed process may have left half a lease
                (self.folder / _LEASE).remove()
            self.folder.remove_empty()
            self.folder.parent.remove_empty()


class LeaseKeeper:
    """A thread that beats for every lease of a run."""

    def __init__(self, holder: Holder | None = None, interval_s: float = HEARTBEAT_S) -> None:
        self.holder = holder or Holder.this_process()
        self._interval_s = interval_s
        self._leases: dict[str, Lease] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat_all, name="tilepress-lease", daemon=True)

    def acquire(self, folder: StoragePath, plan: str = "") -> Lease:
        """Take the lease of a store for a plan; see ``Lease.acquire``."""
        lease = retried(lambda: Lease.acquire(folder, self.holder.of_plan(plan)))
        with self._lock:
            self._leases[str(folder)] = lease
        return lease

    def release(self, lease: Lease, *, sealed: bool = False) -> None:
        """Stop beating for a lease and give it back; a second time nothing happens.

        What storage does not take back goes stale: no reason to fail an image, or a run.
        """
        with self._lock:
            known = self._leases.pop(str(lease.folder), None)
        if known is not None:
            with contextlib.suppress(OSError):
                retried(lambda: lease.release(sealed=sealed))

    def __enter__(self) -> LeaseKeeper:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()
        for lease in list(self._leases.values()):
            self.release(lease)

    def _beat_all(self) -> None:
        while not self._stop.wait(self._interval_s):
            with self._lock:
                leases = list(self._leases.values())
            for lease in leases:
                # A storage error passes or turns into a stale lease: workers check before writing.
                with contextlib.suppress(OSError):
                    lease.beat()


def holds(folder: StoragePath, holder: Holder) -> bool:
    """Tell whether ``holder`` may write; workers ask before they do."""
    found = (folder / _LEASE).read_tagged()
    other = None if found is None else _parse(found[0])
    return other is not None and holder.shares(other)


def _take(folder: StoragePath, me: Holder) -> None:
    lease = folder / _LEASE
    data = json.dumps(asdict(me)).encode("ascii")
    if lease.create(data):
        return
    found = lease.read_tagged()
    if found is None:  # its holder let go just now
        if lease.create(data):
            return
        raise DestinationConflict(f"locking {folder}: another process was quicker")
    other = _parse(found[0])
    if other is not None:
        if me.shares(other):
            lease.touch()
            return
        if not me.follows(other) and not _is_stale(lease, other):
            raise DestinationConflict(f"locking {folder}: {_described(other)} is writing there")
    if not lease.swap(data, found[1]):
        raise DestinationConflict(f"locking {folder}: another process was quicker")


def _described(other: Holder) -> str:
    if other.role == "part":
        limit = f"{STALE_AFTER_S:.0f}"
        return f"a part of a plan (compress --part; it lived within the last {limit} s)"
    return f"process {other.pid} on {other.host}"


def _parse(data: bytes) -> Holder | None:
    """Return whom a lease names; None where it is no lease."""
    try:
        fields = json.loads(data)
        role = fields.get("role", "run")
        return Holder(
            id=str(fields["id"]),
            host=str(fields["host"]),
            boot=str(fields["boot"]),
            pid=int(fields["pid"]),
            started=str(fields["started"]),
            role=role if role in ("part", "finish") else "run",
            plan=str(fields.get("plan", "")),
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _is_stale(lease: StoragePath, holder: Holder) -> bool:
    if holder.role != "part" and (holder.host, holder.boot) == (platform.node(), _boot_id()):
        return _process_start(holder.pid) != holder.started
    age_s = lease.age_s()
    return age_s is None or age_s > STALE_AFTER_S


def _boot_id() -> str:
    """Return what tells this boot of this machine (and container) from any other."""
    parts = []
    with contextlib.suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip())
    with contextlib.suppress(OSError):
        parts.append(os.readlink("/proc/self/ns/pid"))
    return "/".join(parts)


def _process_start(pid: int) -> str | None:
    """Return when a process of this host started (clock ticks since boot); None if it is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None if Path("/proc/self/stat").exists() or not _is_alive(pid) else ""
    state, *fields = stat.rpartition(")")[2].split()
    return None if state in "ZX" else fields[18]


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
