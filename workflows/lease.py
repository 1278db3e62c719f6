"""Keep two writers from one store: a lease file with its holder and a heartbeat.

The lease is a file made with O_EXCL that names its holder; its modification time is the
heartbeat. A lease is stale when its holder was a process of this host that no longer runs, or
when the heartbeat of another host is older than ``STALE_AFTER_S``. Judging and replacing a stale
lease happen under an advisory lock on the directory that holds the store, so that two that come at
once cannot both take it over.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import platform
import tempfile
import threading
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType

from tilepress.codecs.errors import DestinationConflict

__all__ = ["Lease", "LeaseKeeper", "holds"]

HEARTBEAT_S = 10.0
"""Seconds between two heartbeats of a live holder."""

STALE_AFTER_S = 120.0
"""Age in seconds of the heartbeat of a holder on another host that counts as dead."""

_LEASE = "lease.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Holder:
    """Who holds a lease. Process start time tells a reused process id from the holder's."""

    id: str
    host: str
    boot: str
    pid: int
    started: str


class Lease:
    """The right to write one store, held by this process until ``release``."""

    def __init__(self, folder: Path, holder_id: str) -> None:
        self.folder = folder
        self.holder_id = holder_id

    @classmethod
    def acquire(cls, folder: Path) -> Lease:
        """Take the lease of ``folder`` (made where it is missing).

        Raises DestinationConflict while another live process holds it.
        """
        me = _this_holder()
        folder.parent.parent.mkdir(parents=True, exist_ok=True)
        with _guard(folder.parent.parent):
            folder.mkdir(parents=True, exist_ok=True)
            if not _create(folder, me):
                _remove_stale(folder)
                if not _create(folder, me):
                    raise DestinationConflict(f"locking {folder}: another process was quicker")
        return cls(folder, me.id)

    def beat(self) -> bool:
        """Renew the heartbeat; False where the lease is no longer this process's."""
        if not holds(self.folder, self.holder_id):
            return False
        try:
            os.utime(self.folder / _LEASE)
        except FileNotFoundError:
            return False
        return True

    def release(self) -> None:
        """Give the lease back, and remove its folder and the one above where nothing is left."""
        with _guard(self.folder.parent.parent):
            if holds(self.folder, self.holder_id):
                (self.folder / _LEASE).unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                self.folder.rmdir()
                self.folder.parent.rmdir()


class LeaseKeeper:
    """A thread that beats for every lease of a run."""

    def __init__(self, interval_s: float = HEARTBEAT_S) -> None:
        self._interval_s = interval_s
        self._leases: dict[str, Lease] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat_all, name="tilepress-lease", daemon=True)

    def acquire(self, folder: Path) -> Lease:
        lease = Lease.acquire(folder)
        with self._lock:
            self._leases[lease.holder_id] = lease
        return lease

    def release(self, lease: Lease) -> None:
        with self._lock:
            self._leases.pop(lease.holder_id, None)
        lease.release()

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


def holds(folder: Path, holder_id: str) -> bool:
    """Tell whether the lease of ``folder`` names ``holder_id``; workers ask before they write."""
    holder = _read(folder / _LEASE)
    return holder is not None and holder.id == holder_id


def _create(folder: Path, holder: _Holder) -> bool:
    """Make the lease file in one step (a link to a finished file); False where one exists."""
    handle, name = tempfile.mkstemp(prefix=".lease-", dir=folder)
    try:
        with os.fdopen(handle, "w", encoding="ascii") as file:
            json.dump(asdict(holder), file)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(name, folder / _LEASE)
        except FileExistsError:
            return False
        except OSError:
            return _create_exclusive(folder, holder)
    finally:
        os.unlink(name)
    return True


def _create_exclusive(folder: Path, holder: _Holder) -> bool:
    """Make the lease file with O_EXCL, for file systems without hard links."""
    try:
        with (folder / _LEASE).open("x", encoding="ascii") as file:
            json.dump(asdict(holder), file)
    except FileExistsError:
        return False
    return True


def _remove_stale(folder: Path) -> None:
    """Clear away a lease whose holder is dead; raise DestinationConflict where it lives."""
    other = _read(folder / _LEASE)
    if other is not None and not _is_stale(folder, other):
        raise DestinationConflict(
            f"locking {folder}: process {other.pid} on {other.host} is writing there"
        )
    aside = folder / f".lease-{uuid.uuid4().hex}"
    try:
        os.rename(folder / _LEASE, aside)
    except FileNotFoundError:
        return
    try:
        if _read(aside) != other:  # without locks, another process was quicker: put its lease back
            with contextlib.suppress(OSError):
                os.link(aside, folder / _LEASE)
    finally:
        aside.unlink()


def _read(path: Path) -> _Holder | None:
    """Return whom a lease file names; None where there is none or it is no lease."""
    try:
        fields = json.loads(path.read_text(encoding="ascii"))
        return _Holder(
            id=str(fields["id"]),
            host=str(fields["host"]),
            boot=str(fields["boot"]),
            pid=int(fields["pid"]),
            started=str(fields["started"]),
        )
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def _is_stale(folder: Path, holder: _Holder) -> bool:
    me = _this_holder()
    if (holder.host, holder.boot) == (me.host, me.boot):
        return _process_start(holder.pid) != holder.started
    try:
        beat = (folder / _LEASE).stat().st_mtime
    except FileNotFoundError:
        return True
    return _storage_now(folder) - beat > STALE_AFTER_S


def _storage_now(folder: Path) -> float:
    """Return the time by the clock that stamps files in ``folder``: hosts' clocks may differ."""
    handle, name = tempfile.mkstemp(prefix=".clock-", dir=folder)
    try:
        return os.fstat(handle).st_mtime
    finally:
        os.close(handle)
        os.unlink(name)


@contextlib.contextmanager
def _guard(folder: Path) -> Iterator[None]:
    """Hold an advisory lock on a directory; without effect where the file system has none."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _this_holder() -> _Holder:
    pid = os.getpid()
    return _Holder(
        id=uuid.uuid4().hex,
        host=platform.node(),
        boot=_boot_id(),
        pid=pid,
        started=_process_start(pid) or "",
    )


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
