"""What a process that runs tasks knows of itself: the device that it codes on, and one lock.

Workers of a cluster are set up by ``worker_plugin``; any other process codes on the CPU. Nothing
here imports Dask, for the parts of an array job run the same tasks without it.
"""

from __future__ import annotations

import contextlib
import ctypes
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tilepress.codecs.registry import DEFAULT_CODEC, coder_class
from tilepress.errors import UsageError
from tilepress.pipeline.archive.device import Device, WantedDevice, code_on
from tilepress.workflows.cluster.task_errors import quiet_libraries, run_at_boundary

__all__ = [
    "Call",
    "Raised",
    "keep_memory",
    "let_go",
    "run_task",
    "set_up",
]

WARM_TILE = 16
"""Rows and columns of the tile that is coded so that kernels are compiled before the first task."""

LET_GO_S = 2.0
"""How long a worker that should let go waits for the task that it runs."""

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
"""Of malloc.h."""

_one = threading.Lock()
"""Held while a task runs: tasks keep sources open, which threads must not share. A task codes with
as many threads as its worker has."""


@dataclass(frozen=True, slots=True)
class Call:
    """A task as it travels; Dask takes it for data and looks no further into it."""

    function: Callable[..., Any]
    args: tuple[Any, ...] = field(repr=False)
    """Not shown: Dask logs tasks, and paths may be named after patients."""


@dataclass(frozen=True, slots=True)
class Raised:
    """The error of a task, which travels as a result: Dask writes the text of others to its log."""

    error: Exception = field(repr=False)


def run_task(call: Call) -> Any:  # noqa: ANN401  # what the task returns
    """Run a task on a worker, one at a time in a process; return ``Raised`` for its errors."""
    with _one:
        quiet_libraries()
        try:
            return run_at_boundary(call.function, *call.args)
        except Exception as error:  # the boundary of a worker: see Raised
            return Raised(error.with_traceback(None))


def set_up(
    wanted: WantedDevice,
    has_gpu: bool,
    codec: dict[str, Any] | None = None,
    *,
    warm: bool = True,
) -> Device:
    """Choose the device of this process, load the model, and on a GPU compile what codes with it.

    ``codec`` are arguments of TileCodec, which tell what a device must have; with ``warm`` a tile
    is coded. A worker without a GPU codes on the CPU, whatever is wanted; one whose GPU the codec
    cannot use does so, too, unless "cuda" is wanted (UsageError).
    """
    where = _usable(wanted, (codec or {}).get("codec", DEFAULT_CODEC)) if has_gpu else "cpu"
    code_on(where)
    if codec is not None and warm:
        _warm(codec, where)
    return where


def let_go() -> None:
    """Close what tasks keep open for the next one, and remove this machine's copies of objects.

    Left out while a task runs, which is another run's: that one will do so.
    """
    tasks = sys.modules.get("tilepress.pipeline.archive.write")
    if tasks is None or not _one.acquire(timeout=LET_GO_S):  # no task ever came: nothing is open
        return
    try:
        tasks.close_sources()
        copies = sys.modules.get("tilepress.pipeline.storage.copies")
        if copies is not None:
            copies.clear()
    finally:
        _one.release()


def keep_memory() -> None:
    """Let this process keep what it frees, for the arrays of the next chunk, where glibc is.

    Dask starts its workers with MALLOC_TRIM_THRESHOLD_=65536: every array of a chunk is then mapped
    and faulted in anew, which is a third of the whole time. See mallopt(3).
    """
    with contextlib.suppress(OSError, AttributeError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_THRESHOLD, 32 * 2**20)  # the largest that glibc takes
        mallopt(_M_TRIM_THRESHOLD, 128 * 2**20)


def _usable(wanted: WantedDevice, codec: str) -> Device:
    if wanted == "cpu":
        return "cpu"
    reason = coder_class(codec).why_no_device()
    if reason is None:
        return "cuda"
    if wanted == "cuda":
        raise UsageError(f"setting up a worker: it has the resource GPU, but {reason}")
    return "cpu"


def _warm(codec: dict[str, Any], where: Device) -> None:
    import numpy as np

    from tilepress.codecs.tile import TileCodec

    made = TileCodec(**codec, device=where)
    if where == "cuda":
        ramp = np.arange(WARM_TILE * WARM_TILE, dtype=np.uint16)
        made.decode(made.encode(ramp.reshape(WARM_TILE, WARM_TILE)))
