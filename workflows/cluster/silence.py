"""Workers that have gone silent: stopped, suspended, cut off, or busy with something that hangs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["SILENT_AFTER_S", "Silence"]

SILENT_AFTER_S = 60.0
"""Seconds without a heartbeat after which a worker is told of."""

WORKERS_PER_BEAT_S = 200
BEATS = 10
"""Dask spreads the heartbeats of many workers out; so many must be missing at least."""


@dataclass(slots=True)
class Silence:
    """For how long each worker has not been heard of.

    Counted in what passed between looks, a long gap as a short one: where this whole machine slept,
    workers were not silent. A worker that is still setting itself up may compile for long.
    """

    _seen: dict[str, tuple[float, float]] = field(default_factory=dict)
    """By address: when it was last heard of, by the scheduler's clock, and seconds since."""

    def look(
        self, workers: Mapping[str, Mapping[str, Any]], passed_s: float
    ) -> dict[str, Mapping[str, Any]]:
        """Return the silent ones of all workers that the scheduler knows, by address."""
        seen, self._seen = self._seen, {}
        for address, worker in workers.items():
            heard = float(worker.get("last_seen", 0.0))
            before, silent_s = seen.get(address, (heard, 0.0))
            again = heard != before or worker.get("status") != "running"
            self._seen[address] = heard, 0.0 if again else silent_s + passed_s
        limit_s = max(SILENT_AFTER_S, BEATS * len(workers) / WORKERS_PER_BEAT_S)
        return {
            address: workers[address]
            for address, (_, silent_s) in self._seen.items()
            if silent_s > limit_s
        }
