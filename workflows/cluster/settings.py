"""Settings of the clusters that tilepress starts: few retries, lean workers."""

from __future__ import annotations

from typing import Any

__all__ = ["DASHBOARD_ROUTES", "WORKER_DEATHS", "scheduler_settings", "worker_environment"]

WORKER_DEATHS = 2
"""Deaths of a worker that one submission of a task may see. Neighbours in the same queue are
counted too, so the caller tries such a task once more on its own before it blames it."""

TICK = "500ms"
"""How often Dask looks whether an event loop lags: 50 times a second, its own way, takes 1 % of a
core from every process."""

DASHBOARD_ROUTES = ["distributed.http.scheduler.info", "distributed.http.statics"]
"""What is served where the dashboard is: its pages, and nothing that could change a thing."""


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
        "GDAL_CACHEMAX": 256,  # MiB; GDAL's default of 5 % of the machine is too much per process
        "MALLOC_ARENA_MAX": 2,
        "PYTHONSAFEPATH": 1,  # else a worker looks for modules in the working folder first
        "DASK_DISTRIBUTED__ADMIN__TICK__INTERVAL": TICK,
        "DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED": False,  # 3 % of a core for every worker
    }
