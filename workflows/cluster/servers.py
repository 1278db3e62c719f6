"""Scheduler and worker of Dask without the web server that theirs always start."""

from __future__ import annotations

from distributed import Scheduler, Worker

__all__ = ["ClosedScheduler", "ClosedWorker"]


class ClosedScheduler(Scheduler):
    """Listens for connections with the keys of the run, and for nothing else."""

    def start_http_server(self, *_: object, **__: object) -> None:
        """Start none."""


class ClosedWorker(Worker):
    """Listens for connections with the keys of the run, and for nothing else."""

    def start_http_server(self, *_: object, **__: object) -> None:
        """Start none, and no dashboard that would be served by it."""
        self._dashboard = False
