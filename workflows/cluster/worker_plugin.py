"""Set up every worker of a cluster once, also after its nanny has started it again."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

from distributed import WorkerPlugin

from tilepress.pipeline.archive.device import WantedDevice
from tilepress.workflows.cluster.worker import keep_memory, let_go, set_up

if TYPE_CHECKING:
    from distributed import Worker

__all__ = ["SetUp"]


class SetUp(WorkerPlugin):
    """Pins the device of a worker and loads the model that its tasks code with.

    A worker that outlives the run closes the sources when the plugin is taken back.
    """

    def __init__(self, device: WantedDevice, codec: dict[str, Any] | None = None) -> None:
        self.name = f"tilepress-{secrets.token_hex(4)}"  # several runs may share a worker
        self.device = device
        self.codec = codec

    def setup(self, worker: Worker) -> None:
        has_gpu = worker.state.total_resources.get("GPU", 0) > 0
        keep_memory()
        set_up(self.device, has_gpu, self.codec)

    def teardown(self, worker: Worker) -> None:
        let_go()
