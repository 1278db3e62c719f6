"""Choose who does the work of a run: workers of a cluster, or this process."""

from __future__ import annotations

from typing import Any, cast

from tilepress.codecs.loss import Lossless
from tilepress.codecs.registry import coder_class
from tilepress.errors import UsageError
from tilepress.pipeline.archive.device import WantedDevice
from tilepress.pipeline.archive.options import EncodeOptions
from tilepress.workflows.cluster.choose import choose_cluster
from tilepress.workflows.cluster.executor import DaskExecutor, Executor, InProcessExecutor
from tilepress.workflows.cluster.worker import set_up
from tilepress.workflows.report.telling import Note, Progress

__all__ = ["make_executor"]

_ANY_QUALITY = 50.0
"""Codecs that always lose are made warm at some quality: the images have their own."""


def make_executor(
    workers: int | None,
    cluster: str | None,
    device: str,
    options: EncodeOptions,
    progress: Progress | None,
    *,
    dashboard: bool = False,
) -> Executor:
    """Return what runs the tasks; nothing is started before the first one."""
    wanted = _device(device)
    if not coder_class(options.codec).on_device:
        if wanted == "cuda":
            raise UsageError(f"compressing: codec {options.codec!r} knows no device")
        wanted = "cpu"
    codec: dict[str, Any] | None = None  # nothing to make warm
    if coder_class(options.codec).on_device:
        codec = {"codec": options.codec, "tier": options.tier, "model": options.model}
        if Lossless not in coder_class(options.codec).losses:
            codec["quality"] = _ANY_QUALITY
    if workers == 0:
        if cluster is not None:
            raise UsageError(f"starting workers: --workers 0 does not go with --cluster {cluster}")
        from tilepress.workflows.cluster.local import visible_gpus

        has_gpu = wanted == "cuda" or (wanted == "auto" and bool(visible_gpus()))
        set_up(wanted, has_gpu=has_gpu, codec=codec, warm=False)
        return InProcessExecutor()
    if cluster in (None, "local", "cuda"):
        _check_shared_memory()
    note = None if progress is None else lambda text: progress.tell(Note(text))
    return DaskExecutor(
        choose_cluster(
            cluster, workers=workers, device=wanted, codec=codec, note=note, dashboard=dashboard
        )
    )


def _check_shared_memory() -> None:
    """Raise UsageError where processes cannot share locks: Dask's workers would fail one by one."""
    import multiprocessing

    try:
        multiprocessing.get_context("fork").Lock()  # of "spawn", it would start a process
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise UsageError(
            f"starting workers: shared memory (/dev/shm) cannot be used: {reason}; "
            "--workers 0 works without"
        ) from error


def _device(name: str) -> WantedDevice:
    if name not in ("auto", "cpu", "cuda"):
        raise UsageError(f"compressing: got device {name!r}, want auto, cpu or cuda")
    return cast("WantedDevice", name)
