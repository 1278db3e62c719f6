"""A cluster of dask-cuda on this machine: one worker for each GPU, as RAPIDS has it."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tilepress.errors import UsageError
from tilepress.pipeline.archive.device import WantedDevice
from tilepress.workflows.cluster.closed import PROTOCOL, keys_of_one_run, scratch_settings
from tilepress.workflows.cluster.contract import NO_WORKERS_AFTER_S, OpenedCluster, starting, stop
from tilepress.workflows.cluster.local import cpu_count, visible_gpus
from tilepress.workflows.cluster.worker_kinds import WorkerCounts
from tilepress.workflows.interrupts import interrupts_stay_here

__all__ = ["DaskCudaOpener"]


@dataclass(frozen=True, slots=True)
class DaskCudaOpener:
    """Opens dask-cuda's LocalCUDACluster."""

    gpus: tuple[str, ...]
    codec: dict[str, Any] | None = None

    @classmethod
    def of(
        cls, workers: int | None, device: WantedDevice, codec: dict[str, Any] | None = None
    ) -> DaskCudaOpener:
        """Return an opener; UsageError where dask-cuda or GPUs are missing."""
        if device == "cpu":
            raise UsageError("starting workers: --cluster cuda and --device cpu exclude each other")
        try:
            import dask_cuda  # noqa: F401
        except ImportError as error:
            raise UsageError(
                "starting workers: dask-cuda is not installed; pip install 'tilepress[cuda]'"
            ) from error
        gpus = visible_gpus()
        if not gpus:
            raise UsageError("starting workers: --cluster cuda was asked for, no GPU is visible")
        return cls(gpus if workers is None else gpus[:workers], codec)

    at_once = False

    @property
    def expected(self) -> WorkerCounts:
        return WorkerCounts(gpu=len(self.gpus))

    @property
    def shared_threads(self) -> int:
        return max(len(self.gpus), cpu_count())

    @contextlib.contextmanager
    def open(self) -> Iterator[OpenedCluster]:
        """Start a process for each GPU; stop them on leaving."""
        import dask
        from dask_cuda import LocalCUDACluster
        from distributed import Client

        from tilepress.workflows.cluster.servers import ClosedWorker
        from tilepress.workflows.cluster.worker_plugin import SetUp

        settings = {**scratch_settings(), "distributed.scheduler.http.routes": []}
        with dask.config.set(settings), interrupts_stay_here(), starting():
            cluster = LocalCUDACluster(
                CUDA_VISIBLE_DEVICES=",".join(self.gpus),
                threads_per_worker=1,
                resources={"GPU": 1},
                host="127.0.0.1",
                dashboard_address="127.0.0.1:0",
                protocol=PROTOCOL,
                security=keys_of_one_run(),
                worker_class=ClosedWorker,
                silence_logs=logging.CRITICAL + 1,
            )
            client = Client(cluster)
        try:
            client.register_plugin(SetUp("cuda", self.codec))
            yield OpenedCluster(
                client=client,
                address="this machine",
                give_up_after_s=NO_WORKERS_AFTER_S,
                own_scheduler=True,
            )
        finally:
            stop(client, cluster)
