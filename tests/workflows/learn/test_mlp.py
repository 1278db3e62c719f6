"""``tilepress train --codec mlp`` makes a network that compress --model takes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from tilepress.codecs.tile import TileCodec
from tilepress.errors import UsageError
from tilepress.workflows.cli.app import app

pytest.importorskip("torch")

from tilepress.workflows.learn import mlp


def source(folder: Path) -> Path:
    y, x = np.mgrid[:90, :110]
    noise = np.random.default_rng(0).normal(0, 20, x.shape)
    np.save(folder / "a.npy", (900 + 300 * np.sin(x / 9 + y / 17) + noise).astype(np.uint16))
    return folder / "a.npy"


class TestTraining:
    def test_of_a_block_that_is_asked_for(self, tmp_path: Path, monkeypatch) -> None:
        monkeypatch.setattr(mlp, "_DRAWS", 4)
        out = tmp_path / "mine.safetensors"
        line = [
            *("train", str(source(tmp_path)), "--codec", "mlp:block=4", "--hidden", "12"),
            *("--minutes", "0.004", "--out", str(out)),
        ]
        done = CliRunner().invoke(app, line)
        assert done.exit_code == 0, done.output
        codec = TileCodec("mlp:block=4", quality=50, model=str(out))
        samples = np.load(tmp_path / "a.npy")
        assert codec.decode(codec.encode(samples)).shape == samples.shape

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            (["--codec", "mlp:block=5"], "block=5"),
            (["--codec", "mlp", "--hidden", "65"], "want 1 … 64"),
            (["--codec", "mlp", "--linear-only"], "begins from nothing"),
            (["--codec", "jpegxl"], "want wave, ntc, ntc:net, ntc:gan, mlp"),
        ],
    )
    def test_refuses_what_makes_no_sense(
        self, options: list[str], words: str, tmp_path: Path
    ) -> None:
        line = ["train", str(tmp_path), "--out", str(tmp_path / "m.safetensors"), *options]
        done = CliRunner().invoke(app, line)
        assert isinstance(done.exception, UsageError)
        assert words in str(done.exception)
