"""A model is trained from files, in one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from tilepress.codecs.ntc.model import NtcModel
from tilepress.errors import UsageError
from tilepress.workflows.learn import ntc


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch):
    """What training was given; it takes no time here."""
    from tilepress.codecs.ntc.codec import parse_model
    from tilepress.codecs.weights import load_named

    given: dict[str, object] = {}

    def train(crops, **options):
        given.update(options, crops=crops)
        return parse_model(load_named("ntc-1").data)

    monkeypatch.setattr(ntc, "train_ntc", train)
    return given


def found(path: Path, planes: int):
    rng = np.random.default_rng(planes)
    samples = np.cumsum(rng.integers(-3, 4, (planes, 128, 128)), axis=2) + 500
    return path, samples.astype(np.uint16), 1


class TestTheCommand:
    def test_writes_a_file(self, trained, tmp_path: Path, monkeypatch, capsys) -> None:
        files = [found(tmp_path / "a.zip", 1), found(tmp_path / "b.zip", 6)]
        monkeypatch.setattr(ntc, "images", lambda sources, tell: files)
        out = tmp_path / "m.safetensors"
        assert ntc.main([str(tmp_path), "--out", str(out), "--steps", "7"]) == 0
        assert NtcModel.from_bytes(out.read_bytes()).used.size == 80
        assert trained["steps"] == 7
        assert "crops" in capsys.readouterr().out

    def test_the_manifest_says_what_goes_together(self, trained, tmp_path, monkeypatch) -> None:
        table = tmp_path / "MANIFEST.tsv"
        table.write_text("file\tkind\tclass\na.zip\tsat\tlandsat\nb.zip\tmed\tct_vol\n")
        files = [found(tmp_path / "a.zip", 6), found(tmp_path / "b.zip", 6)]
        monkeypatch.setattr(ntc, "images", lambda sources, tell: files)
        out = tmp_path / "m.safetensors"
        ntc.main([str(tmp_path), "--manifest", str(table), "--out", str(out)])
        assert {crop.group for crop in trained["crops"]} == {"landsat", "ct_vol"}

    def test_without_images(self, trained, tmp_path: Path, monkeypatch) -> None:
        monkeypatch.setattr(ntc, "images", lambda sources, tell: [])
        with pytest.raises(UsageError, match="no image"):
            ntc.main([str(tmp_path), "--out", str(tmp_path / "m")])
