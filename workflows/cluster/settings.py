"""Settings of the clusters that tilepress starts: few retries, lean workers."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

__all__ = [
    "DASHBOARD_ROUTES",
    "WORKER_DEATHS",
    "environment_put_back",
    "scheduler_settings",
    "worker_environment",
]

WORKER_DEATHS = 2
"""Deaths of a worker that one submission of a task may see. Neighbours in the same queue are
counted too, so the caller tries such a task once more on its own before it blames it."""

TICK = "500ms"
"""How often Dask looks whether an event loop lags: 50 times a second, its own way, takes 1 % of a
core from every process."""

DASHBOARD_ROUTES = ["distributed.http.scheduler.info", "distributed.http.statics"]
"""What is served where the dashboard is: its pages, and nothing that could change a thing."""

DASKS_OWN = ("PYTHONHASHSEED", "__DASK_PARENT_PID")
"""Environment variables that Dask sets for workers unasked."""


def scheduler_settings() -> dict[str, Any]:
    """Return what Dask's configuration says while a scheduler of ours is started."""
    return {
        "distributed.scheduler.allowed-failures": WORKER_DEATHS - 1,
        "distributed.admin.log-length": 0,
        "distributed.admin.tick.interval": TICK,
        "distributed.scheduler.http.routes": DASHBOARD_ROUTES,
    }


def worker_environment(threads: int) -> dict[str, Any]:
    """Return what a worker's process finds in its environment: lean libraries, few threads."""
    return {
        "OMP_NUM_THREADS": 1,
        "MKL_NUM_THREADS": 1,
        "OPENBLAS_NUM_THREADS": 1,
        "TILEPRESS_THREADS": threads,
        "GDAL_NUM_THREADS": 1,
        "GDAL_CACHEMAX": 64,  # MiB, also of guests; GDAL takes 5 % of the machine for every process
        "MALLOC_ARENA_MAX": 2,
        "PYTHONSAFEPATH": 1,  # else a worker looks for modules in the working folder first
        "DASK_DISTRIBUTED__ADMIN__TICK__INTERVAL": TICK,
        "DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED": False,  # 3 % of a core for every worker
    }


_lock = threading.Lock()
_clusters = 0
_before: dict[str, str | None] = {}


@contextmanager
def environment_put_back(names: Iterable[str]) -> Iterator[None]:
    """Put back variables of this process that a cluster in the block sets, ``names`` and Dask's.

    A nanny sets what its workers are to find where they inherit it: in its own process, which is
    the user's, and it leaves it there. The next cluster would take it for the user's wish. Where
    clusters overlap, the last one puts back what was there before the first.
    """
    global _clusters
    with _lock:
        _clusters += 1
        for name in (*names, *DASKS_OWN):
            _before.setdefault(name, os.environ.get(name))
    try:
        yield
    finally:
        with _lock:
            _clusters -= 1
            while not _clusters and _before:
                name, value = _before.popitem()
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value
