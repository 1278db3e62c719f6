"""The first picture of a fresh server is measured."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import tilepress
from tilepress.workflows.bench.first_tile import main


def test_tells_clock_and_processor(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = np.random.default_rng(0).integers(0, 99, (300, 520)).astype(np.uint8)
    np.save(tmp_path / "image.npy", image)
    tilepress.compress(tmp_path / "image.npy", tmp_path / "image.zarr", workers=0, tier="fast")
    main([str(tmp_path / "image.zarr"), "--repeat", "1"])
    told = json.loads(capsys.readouterr().out)
    assert set(told) == {"start", "first", "next"}
    assert all(processor >= 0 for _, processor in told.values())
    assert all(clock > 0 for clock, _ in told.values())
