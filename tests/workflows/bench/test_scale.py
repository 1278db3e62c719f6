"""An archive of 10⁴ shards through real processes: what schedules it does not grow with it."""

from __future__ import annotations

import pytest

from tilepress.workflows.bench.scale import measure_scale


@pytest.mark.slow
class TestTenThousandShards:
    """By hand also 10⁵ and 10⁶: see ``workflows/README.md``."""

    def test_memory_is_flat_and_tasks_are_few(self):
        found = measure_scale(10_000)
        print(found.line)
        assert found.images == 10
        assert found.client_mib < found.client_early_mib + 32
        assert found.scheduler_mib < found.scheduler_early_mib + 32
        assert found.tasks_on_scheduler < 1000
