"""Decoders are compared on the same records."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tilepress.workflows.bench import decoders
from tilepress.workflows.bench.lossy import Image


@pytest.fixture
def picture() -> Image:
    made = np.random.default_rng(2)
    ramp = np.add.outer(np.arange(128), 2 * np.arange(128))
    samples = (ramp + made.integers(0, 60, (1, 128, 128))).astype(np.uint16)
    return Image("ramp", samples, 1, float(samples.max()))


def test_a_decoder_beside_the_base(picture: Image) -> None:
    found = decoders.compare(picture, ["base", "view"])
    base, view = found["base"], found["view"]
    assert [p.rate for p in base.points] == [p.rate for p in view.points]
    assert all(a.psnr >= b.psnr for a, b in zip(base.points, view.points, strict=True))
    assert any(a.psnr > b.psnr for a, b in zip(base.points, view.points, strict=True))
    assert len(view.rows) == len(view.points)
    assert view.megasamples > 0


def test_a_line_of_the_table(
    picture: Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.setattr(decoders, "read", lambda *given: picture)
    decoders.main([f"ramp={tmp_path}", "--decoders", "view"])
    name, line = capsys.readouterr().out.splitlines()
    assert name == "ramp 1×128×128"
    assert line.split()[0] == "view"
    assert "dB" in line
