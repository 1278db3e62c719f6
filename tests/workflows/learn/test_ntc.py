"""A model is trained from files, in one line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from tilepress.codecs.ntc.decoders.weights import DecoderWeights
from tilepress.codecs.ntc.model import NtcModel
from tilepress.errors import UsageError
from tilepress.workflows.learn import crops, ntc


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


class TestTheContextModel:
    def test_writes_a_file(self, trained, tmp_path: Path, monkeypatch) -> None:
        files = [found(tmp_path / "a.zip", 1), found(tmp_path / "b.zip", 6)]
        monkeypatch.setattr(crops, "images", lambda sources, tell: files)
        out = tmp_path / "m.safetensors"
        told: list[str] = []
        ntc.train_context([tmp_path], out, told.append, steps=7)
        assert NtcModel.from_bytes(out.read_bytes()).used.size == 80
        assert trained["steps"] == 7
        assert "crops" in told[0]

    def test_the_manifest_says_what_goes_together(self, trained, tmp_path, monkeypatch) -> None:
        table = tmp_path / "MANIFEST.tsv"
        table.write_text("file\tkind\tclass\na.zip\tsat\tlandsat\nb.zip\tmed\tct_vol\n")
        files = [found(tmp_path / "a.zip", 6), found(tmp_path / "b.zip", 6)]
        monkeypatch.setattr(crops, "images", lambda sources, tell: files)
        out = tmp_path / "m.safetensors"
        ntc.train_context([tmp_path], out, str, manifest=table)
        assert {crop.group for crop in trained["crops"]} == {"landsat", "ct_vol"}

    def test_goes_on_from_a_model(self, trained, tmp_path: Path, monkeypatch) -> None:
        files = [found(tmp_path / "a.zip", 1)]
        monkeypatch.setattr(crops, "images", lambda sources, tell: files)
        first, second = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
        ntc.train_context([tmp_path], first, str)
        assert trained["start"] is None
        for base in ("ntc-1", str(first)):
            ntc.train_context([tmp_path], second, str, base=base)
            assert isinstance(trained["start"], NtcModel)
        for base in ("wave-3", "nobody", str(tmp_path / "none.safetensors")):
            with pytest.raises(UsageError, match="training: "):
                ntc.train_context([tmp_path], second, str, base=base)

    def test_without_images(self, trained, tmp_path: Path, monkeypatch) -> None:
        monkeypatch.setattr(crops, "images", lambda sources, tell: [])
        with pytest.raises(UsageError, match="no image"):
            ntc.train_context([tmp_path], tmp_path / "m", str)


class TestDecoders:
    @pytest.fixture
    def plan(self, tmp_path: Path, monkeypatch):
        files = [found(tmp_path / "a.zip", 1), found(tmp_path / "b.zip", 2)]
        monkeypatch.setattr(crops, "images", lambda sources, tell: files)
        return ntc.DecoderPlan(channels=8, blocks=1, steps=2, pieces=4, batch=2)

    def test_a_net_and_a_generator_that_begins_as_it(self, plan, tmp_path: Path) -> None:
        net, gan = tmp_path / "net.safetensors", tmp_path / "gan.safetensors"
        ntc.train_decoder([tmp_path], net, str, plan)
        made = DecoderWeights.from_bytes(net.read_bytes())
        assert (made.decoder, made.channels, made.blocks, made.noise) == ("net", 8, 1, 0)
        adversarial = replace(plan, adversarial=True, channels=99)
        ntc.train_decoder([tmp_path], gan, str, adversarial, base=net)
        made = DecoderWeights.from_bytes(gan.read_bytes())
        assert (made.decoder, made.channels, made.noise > 0) == ("gan", 8, True)
        with pytest.raises(UsageError, match="begin from a net"):
            ntc.train_decoder([tmp_path], net, str, plan, base=gan)

    def test_the_same_seed_gives_the_same_file(self, plan, tmp_path: Path) -> None:
        files = [tmp_path / f"{k}.safetensors" for k in range(3)]
        for path, seed in zip(files, (0, 0, 1), strict=True):
            ntc.train_decoder([tmp_path], path, str, replace(plan, seed=seed))
        data = [path.read_bytes() for path in files]
        assert data[0] == data[1] != data[2]

    def test_cuda_where_there_is_none(self, plan, tmp_path: Path, monkeypatch) -> None:
        monkeypatch.setattr(ntc.torch.cuda, "is_available", lambda: False)
        with pytest.raises(UsageError, match="torch finds none"):
            ntc.train_decoder([tmp_path], tmp_path / "n", str, replace(plan, device="cuda"))
