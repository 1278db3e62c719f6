"""What the workflow costs is its time over that of a bare loop which codes the same shards."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from tilepress.codecs import threads as pool
from tilepress.workflows.bench import overhead
from tilepress.workflows.bench.overhead import Overhead, measure_overhead

from ...helpers.samples import smooth


@pytest.fixture(autouse=True)
def _threads_as_before() -> Iterator[None]:
    before = pool.threads()
    yield
    pool.set_threads(before)


class TestRatio:
    """A machine that is busy in one round slows both: only rounds compare."""

    def test_the_median_of_the_rounds(self):
        found = Overhead(
            bare_s=(1.0, 10.0, 2.0), workflow_s=(1.5, 11.0, 4.0), start_s=0, raw_bytes=1
        )
        assert found.ratio == 1.5


class TestMeasuring:
    """Both sides have the same to do, in turns, and the command a last time with nothing left."""

    def test_the_bare_loop_codes_every_shard(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        for name in ("a", "b"):
            np.save(tmp_path / f"{name}.npy", smooth((40, 50)))
        outs: list[str] = []

        def compress(sources: Sequence[str | Path], out: Path, tier: str) -> None:
            outs.append(f"{out.name} {tier}")

        monkeypatch.setattr(overhead, "_compress", compress)
        found = measure_overhead([tmp_path], rounds=2, tier="fast")
        assert outs == ["out0 fast", "out1 fast", "out1 fast"]
        assert len(found.bare_s) == len(found.workflow_s) == 2
        assert found.raw_bytes == 2 * 40 * 50 * 2
