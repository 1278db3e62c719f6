"""Models: found by their hash, refused when they are not what they claim."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load, save

from tilepress.codecs.errors import ModelError
from tilepress.codecs.tile import TileCodec
from tilepress.codecs.wave.model import WaveModel
from tilepress.codecs.weights import add_model, known_models, load_named, model_card


@pytest.fixture
def other_model(tmp_path: Path) -> Path:
    """A weights file that is not bundled."""
    tensors = load(load_named("auto").data)
    tensors["first.output.bias"] = tensors["first.output.bias"] + 1
    path = tmp_path / "other.safetensors"
    path.write_bytes(save(tensors))
    return path


class TestModelTravelsWithTheData:
    def test_inline_weights_decode_anywhere(self, other_model: Path) -> None:
        codec = TileCodec(model=str(other_model))
        array = np.arange(40 * 50, dtype=np.uint16).reshape(40, 50) % 777
        record = codec.encode(array)
        config = codec.to_config()
        other_model.unlink()
        assert np.array_equal(TileCodec.from_config(config).decode(record), array)

    def test_inline_weights_must_match_their_hash(self, other_model: Path) -> None:
        config = TileCodec(model=str(other_model)).to_config()
        config["model"] = {**config["model"], "sha256": load_named("auto").sha256}
        with pytest.raises(ModelError, match="do not match"):
            TileCodec.from_config(config)

    def test_user_folder(self, other_model: Path, tmp_path: Path, monkeypatch) -> None:
        monkeypatch.setenv("TILEPRESS_MODELS", str(tmp_path / "models"))
        config = TileCodec(model=str(other_model)).to_config()
        config["model"] = {**config["model"], "weights": None}
        with pytest.raises(ModelError, match="models add"):
            TileCodec.from_config(config)
        added = add_model(other_model)
        assert added.sha256 in {m.sha256 for m in known_models()}
        assert TileCodec.from_config(config).model.sha256 == added.sha256


class TestTamperedWeightsAreRefused:
    @pytest.mark.parametrize(
        ("name", "change"),
        [
            ("first.hidden.weight", lambda t: np.where(t == t.max(), 64, t).astype(t.dtype)),
            ("first.hidden.shift", lambda t: t - 30),
            ("second.output.bias", lambda t: t + 2**24),
            ("tables", lambda t: t + np.uint16(1)),
            ("tables.sizes", lambda t: t[:-1]),
            ("linear", lambda t: t * 0 + 2**18),
            ("linear", lambda t: t.astype(np.int64)),
        ],
    )
    def test_out_of_bounds(self, name: str, change) -> None:
        tensors = load(load_named("auto").data)
        tensors[name] = change(tensors[name])
        with pytest.raises(ModelError):
            WaveModel.from_bytes(save(tensors))

    @pytest.mark.parametrize("data", [b"", b"\x80\x04.", b"PK\3\4", b"\xff" * 64])
    def test_other_files(self, data: bytes) -> None:
        with pytest.raises(ModelError):
            WaveModel.from_bytes(data)

    def test_what_was_read_is_what_was_written(self) -> None:
        for weights in known_models():
            assert weights.model.to_bytes() == weights.data


class TestEveryBundledModelHasACard:
    def test_cards_name_data_and_command(self) -> None:
        for weights in known_models():
            if weights.origin == "bundled":
                card = model_card(weights.name)
                assert weights.sha256 in card
                assert "tilepress train" in card
