"""A new codec to measure against is one module and one line; nothing else has to know it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tilepress.codecs.classical import ANCHORS
from tilepress.errors import UsageError
from tilepress.workflows.bench.compare import OurCodec, run_bench
from tilepress.workflows.bench.speed import measure_speed, speed_settings
from tilepress.workflows.bench.workload import Workload

from ...helpers.samples import smooth_planes
from . import toy


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ANCHORS, "toy", toy.__name__)


class TestNewAnchor:
    """It has a column of sizes and a row of speeds, and messages name it."""

    def test_its_sizes_are_told(self, tmp_path: Path):
        np.save(tmp_path / "a.npy", smooth_planes("u2"))
        (result,) = run_bench([tmp_path / "a.npy"], ("toy", "zstd")).results
        assert result.codecs == ("toy", "zstd", "best")
        assert result.images[0].sizes["toy"] > result.images[0].sizes["zstd"] > 0

    def test_it_is_timed(self):
        work = Workload()
        work.add(smooth_planes("u2"), 1, "grey", None)
        assert list(speed_settings(["toy"])) == ["toy 1"]
        assert [row.codec for row in measure_speed(work, {}, ["toy"]).rows] == ["toy 1"]

    def test_a_name_that_is_none_is_told_of_it(self):
        with pytest.raises(UsageError, match=r"lerc, htj2k, toy$"):
            OurCodec.parse("tory")
