"""What levels cost and save, measured."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tilepress.workflows.bench import levels

from ...helpers.samples import smooth


def test_of_each_image_that_is_large_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "large.npy", smooth((200, 300), 1).astype(np.uint16))
    np.save(tmp_path / "small.npy", smooth((20, 300), 2).astype(np.uint16))
    (found,) = levels.measure_levels([tmp_path], from_side=100)
    assert (found.name, found.shape) == ("large.zarr", (200, 300))
    assert len(found.stored_bytes) == 5
    assert 1 > found.share(1) > found.share(2) > found.share(3) > 0
    monkeypatch.setattr("sys.argv", ["levels", str(tmp_path), "--from-side", "100"])
    levels.main()
    assert "mean of 1 images: +" in capsys.readouterr().out
