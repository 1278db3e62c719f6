"""Speeds of patches are of right samples, and every way is measured beside the others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tilepress.workflows.bench import training
from tilepress.workflows.bench.training import COVERAGES, lines_of, main, measure

from ...helpers.samples import smooth

PLANES = [smooth((300, 280), seed) for seed in range(2)]


@pytest.mark.slow
class TestMeasuring:
    def test_every_way_has_a_speed_in_every_round(self) -> None:
        results = measure(PLANES, size=60, patches=4, cache=2**20, rounds=2)
        names = {one.name for one in results}
        assert {"tilepress: zarr, random", "COG zstd 256: rasterio, random"} <= names
        assert sum("sampler" in name for name in names) == 2 * len(COVERAGES) + 2
        for one in results:
            assert len(one.speeds) == 2
            assert min(one.speeds) > 0
            assert 0 < one.stored_bytes < 2 * PLANES[0].nbytes
        head, *rows = lines_of(results)
        assert "× naive" in head
        assert len(rows) == len(results)

    def test_wrong_samples_end_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def wrong(*_: Any) -> Any:
            return lambda place: torch.zeros(60, 60)

        monkeypatch.setattr(training, "_by_zarr", wrong)
        with pytest.raises(AssertionError, match="other samples"):
            measure(PLANES, size=60, patches=2, cache=2**20, rounds=1)

    def test_the_command(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        np.save(tmp_path / "image.npy", PLANES[0])
        command = [str(tmp_path / "image.npy"), "--side", "310", "--size", "40"]
        assert main([*command, "--patches", "2", "--rounds", "1", "--cache", "1MiB"]) == 0
        assert "1 images of 310²" in capsys.readouterr().out
