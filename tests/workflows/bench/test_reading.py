"""Speeds of reading are of right samples, and every store is read by every pattern."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tilepress.workflows.bench import reading
from tilepress.workflows.bench.reading import main, measure

PLANE = np.random.default_rng(1).integers(0, 900, (700, 600), dtype=np.uint16)


class TestMeasuring:
    def test_every_store_and_pattern_has_a_speed(self) -> None:
        results = measure(PLANE, patches=3, rounds=2)
        assert {"tilepress standard", "JPEG XL e7", "COG zstd (rasterio)"} <= {
            one.name for one in results
        }
        for one in results:
            assert set(one.speeds) == {"scan", "random 512²", "random 224²"}
            assert all(len(speeds) == 2 and min(speeds) > 0 for speeds in one.speeds.values())
            assert 0 < one.stored_bytes < PLANE.nbytes

    def test_wrong_samples_end_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(reading, "_by_rasterio", lambda _: lambda box: np.zeros(box[2:], "u2"))
        with pytest.raises(AssertionError, match="other samples"):
            measure(PLANE, patches=2, rounds=1)

    def test_the_command(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        np.save(tmp_path / "image.npy", PLANE[:200, :150])
        command = [str(tmp_path / "image.npy"), "--side", "500", "--patches", "2", "--rounds", "1"]
        assert main(command) == 0
        shown = capsys.readouterr().out
        assert "image.npy: 500 × 500 uint16" in shown
        assert "HTJ2K" in shown
