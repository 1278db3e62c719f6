"""Join a scheduler that somebody else runs: by hand, the Kubernetes operator, Dask Gateway.

How often a task may see its worker die is that scheduler's own setting, which a client cannot
change: ``distributed.scheduler.allowed-failures``, 3 where nobody set it, so that a task that kills
its workers takes 4 of them along; the clusters that tilepress starts give it up after 2. To have
the same, start the scheduler with DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES=1.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tilepress.errors import UsageError
from tilepress.pipeline.archive.device import WantedDevice
from tilepress.workflows.cluster.closed import OPEN_TO_ALL
from tilepress.workflows.cluster.contract import (
    NO_WORKERS_AFTER_S,
    STOP_AFTER_S,
    NoScheduler,
    NoWorkers,
    OpenedCluster,
    check_versions,
    ignore_note,
    stop,
)
from tilepress.workflows.cluster.profiles import AddressProfile
from tilepress.workflows.cluster.settings import WORKER_DEATHS
from tilepress.workflows.cluster.worker_kinds import WorkerCounts
from tilepress.workflows.interrupts import interrupts_stay_here

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["AddressOpener"]

CONNECT_WITHIN_S = 20
"""Seconds in which a scheduler must take the connection."""


@dataclass(slots=True)
class AddressOpener:
    """Joins a running scheduler; it and its workers go on when the run is over."""

    profile: AddressProfile
    device: WantedDevice = "auto"
    codec: dict[str, Any] | None = None
    note: Callable[[str], None] | None = None
    wait_s: float = NO_WORKERS_AFTER_S
    """Seconds for which the first worker is waited for."""

    expected: WorkerCounts = field(default_factory=lambda: WorkerCounts(plain=1))
    """Nothing is known before it is joined."""
    shared_threads: int | None = None
    at_once: bool = False

    @contextlib.contextmanager
    def open(self) -> Iterator[OpenedCluster]:
        """Connect; disconnect on leaving."""
        from distributed.utils import silence_logging_cmgr

        from tilepress.workflows.cluster.worker_plugin import SetUp

        if self.note is not None and self.profile.address.startswith("tcp://"):
            self.note(
                f"the scheduler at {self.profile.address} runs without TLS: {OPEN_TO_ALL}; start "
                "it with TLS, and name it tls://… in a profile with ca, cert and key"
            )
        client = self._connect()
        with contextlib.ExitStack() as leaving:
            leaving.enter_context(silence_logging_cmgr(logging.CRITICAL + 1))
            leaving.callback(stop, client)
            self.expected = self._first_workers(client)
            if self.device == "cuda" and not self.expected.gpu:
                raise UsageError(
                    f"joining {self.profile.address}: --device cuda was asked for, and no worker "
                    "has a GPU; start workers with --resources GPU=1"
                )
            plugin = SetUp(self.device, self.codec)
            leaving.callback(_take_back, client, plugin.name)
            client.register_plugin(plugin)
            if self.note is not None:
                self._tell_of(client, self.note)
            yield OpenedCluster(
                client=client,
                address=self.profile.address,
                give_up_after_s=NO_WORKERS_AFTER_S,
                admit=lambda workers: check_versions(client, workers),
                note=self.note or ignore_note,
            )

    def _tell_of(self, client: Client, note: Callable[[str], None]) -> None:
        """Tell where the dashboard is, and where the scheduler gives up tasks later than ours."""
        with contextlib.suppress(KeyError):  # it serves nothing
            if client.dashboard_link:
                note(f"dashboard: {client.dashboard_link}")
        deaths = _allowed_deaths(client)
        if deaths is not None and deaths != WORKER_DEATHS:
            note(
                f"the scheduler gives up a task after {deaths} deaths of its workers, tilepress's "
                f"own after {WORKER_DEATHS}; its setting distributed.scheduler.allowed-failures "
                f"is {deaths - 1}"
            )

    def _connect(self) -> Client:
        import dask
        from distributed import Client
        from distributed.security import Security

        if self.profile.address.startswith("gateway://"):
            _know_gateways()
        security = None
        if self.profile.tls is not None:
            files = self.profile.tls
            security = Security(
                require_encryption=True,
                tls_ca_file=files.ca,
                tls_client_cert=files.cert,
                tls_client_key=files.key,
            )
        try:
            with (
                dask.config.set({"distributed.comm.timeouts.connect": f"{CONNECT_WITHIN_S}s"}),
                interrupts_stay_here(),
            ):
                return Client(self.profile.address, timeout=CONNECT_WITHIN_S, security=security)
        except (OSError, ValueError, TypeError) as error:
            raise NoScheduler(
                f"joining {self.profile.address}: no scheduler answered within {CONNECT_WITHIN_S} s"
            ) from error

    def _first_workers(self, client: Client) -> WorkerCounts:
        """Wait for the first workers, and see that they suit."""
        end = time.monotonic() + self.wait_s
        while True:
            workers = client.scheduler_info(n_workers=-1)["workers"]
            if workers:
                check_versions(client, workers)
                return WorkerCounts.of(workers.values())
            if time.monotonic() > end:
                raise NoWorkers(
                    f"joining {self.profile.address}: it had no workers for {self.wait_s:g} s"
                )
            time.sleep(0.5)


def _take_back(client: Client, plugin: str) -> None:
    """Let workers that go on without us close what they have open."""
    try:
        client.sync(client._unregister_worker_plugin, name=plugin, callback_timeout=STOP_AFTER_S)
    except Exception as error:  # the scheduler may be gone, or busy with what we left
        logging.getLogger(__name__).debug("taking the plugin back: %r", error)


def _allowed_deaths(client: Client) -> int | None:
    """Return the deaths of workers after which a scheduler gives up a task; None: it tells not."""
    try:
        # by value, as a lambda travels: tilepress need not be there
        allowed = client.run_on_scheduler(lambda dask_scheduler: dask_scheduler.allowed_failures)
    except Exception as error:  # e.g. one that runs no functions of clients
        logging.getLogger(__name__).debug("asking for allowed-failures: %r", error)
        return None
    return int(allowed) + 1


def _know_gateways() -> None:
    """Import what teaches Dask the protocol of Dask Gateway."""
    try:
        import dask_gateway  # noqa: F401
    except ImportError as error:
        raise UsageError(
            "joining a gateway: dask-gateway is not installed; pip install dask-gateway"
        ) from error
