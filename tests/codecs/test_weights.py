"""Models: found by their hash, refused when they are not what they claim."""

from __future__ import annotations

import base64
import hashlib
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load, save

from tilepress.codecs.mlp.codec import parse_model as parse_mlp
from tilepress.codecs.ntc.codec import parse_model as parse_ntc
from tilepress.codecs.tile import TileCodec
from tilepress.codecs.wave.codec import WaveCoder, load_model, parse_model
from tilepress.codecs.wave.model import WaveModel
from tilepress.codecs.weights import (
    add_model,
    find_model,
    inline_text,
    known_models,
    load_named,
    model_card,
)
from tilepress.errors import ModelError


@pytest.fixture
def other_model(tmp_path: Path) -> Path:
    """A weights file that is not bundled."""
    tensors = load(load_named("auto").data)
    tensors["output.bias"] = tensors["output.bias"] + 1
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


class TestTunedWeightsTravelAsAPatch:
    @pytest.fixture
    def tuned(self) -> bytes:
        """The bundled model with other weights in its hidden layer."""
        base = load_model("auto")
        weights, bias, shift = base.layers["hidden"]
        layers = base.layers | {"hidden": (np.flip(weights, 1).copy(), bias, shift)}
        return WaveModel(layers, base.frequencies, base.linear).to_bytes()

    def test_a_tuned_network_takes_little(self, tuned: bytes) -> None:
        text = inline_text(tuned)
        assert text.startswith(load_named("auto").sha256 + ":")
        assert len(text) < len(tuned) / 5
        assert find_model("tuned", hashlib.sha256(tuned).hexdigest(), text).data == tuned

    def test_other_tables_travel_whole(self, other_model: Path) -> None:
        data = other_model.read_bytes() + b" "
        assert inline_text(data) == base64.b64encode(data).decode()

    @pytest.mark.parametrize(
        ("damage", "words"),
        [
            (lambda sha, text: f"{'0' * 64}:{text}", "no weights with sha256"),
            (lambda sha, text: f"{sha}:{text[:-8]}", "inline weights"),
            (lambda sha, text: f"{sha}:{base64.b64encode(b'no stream').decode()}", "no zlib"),
            (lambda sha, text: f"{sha}:{_zipped(bytes(10))}", "do not fit"),
            (lambda sha, text: f"{sha}:{_zipped(bytes(50_000_000))}", "do not fit"),
            (lambda sha, text: f"{sha}:not base64!", "not base64"),
        ],
    )
    def test_damage_is_named(
        self, tuned: bytes, damage: Callable[[str, str], str], words: str
    ) -> None:
        sha, _, text = inline_text(tuned).partition(":")
        with pytest.raises(ModelError, match=words):
            find_model("tuned", hashlib.sha256(tuned).hexdigest(), damage(sha, text))


def _zipped(data: bytes) -> str:
    return base64.b64encode(zlib.compress(data)).decode()


class TestTiersHaveTheirModels:
    @pytest.mark.parametrize("tier", sorted(WaveCoder.models))
    def test_auto_is_the_tiers(self, tier: str) -> None:
        codec = TileCodec(tier=tier)
        assert codec.model.name == WaveCoder.models[tier]
        assert codec.model.origin == "bundled"
        assert codec.to_config()["model"]["weights"] is None

    def test_fast_has_no_network_and_max_the_largest(self) -> None:
        units = [load_model(WaveCoder.models[t]).hidden for t in ("fast", "standard", "max")]
        assert units[0] == 0
        assert units == sorted(set(units))

    def test_another_model_goes_with_any_tier(self) -> None:
        array = np.arange(40 * 50, dtype=np.uint16).reshape(40, 50) % 777
        codec = TileCodec(tier="fast", model="wave-2")
        record = codec.encode(array)
        assert np.array_equal(TileCodec(model="wave-2").decode(record), array)


class TestTamperedWeightsAreRefused:
    @pytest.mark.parametrize(
        ("name", "change"),
        [
            ("hidden.weight", lambda t: np.where(t == t.max(), 64, t).astype(t.dtype)),
            ("hidden.shift", lambda t: t - 30),
            ("output.bias", lambda t: t + 2**24),
            ("output.weight", lambda t: t[:2]),
            ("hidden.bias", lambda t: t[:-4]),
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

    @pytest.mark.parametrize("hidden", [4, 12, 72])
    def test_width_of_the_network(self, hidden: int) -> None:
        tensors = load(load_named("auto").data)
        for name in ("hidden.weight", "hidden.bias", "hidden.shift"):
            tensors[name] = np.resize(tensors[name], (hidden, *tensors[name].shape[1:]))
        tensors["output.weight"] = np.resize(tensors["output.weight"], (3, hidden))
        with pytest.raises(ModelError, match="hidden units"):
            WaveModel.from_bytes(save(tensors))

    @pytest.mark.parametrize("data", [b"", b"\x80\x04.", b"PK\3\4", b"\xff" * 64])
    def test_other_files(self, data: bytes) -> None:
        with pytest.raises(ModelError):
            WaveModel.from_bytes(data)

    def test_what_was_read_is_what_was_written(self) -> None:
        for weights in known_models():
            parse = {"ntc": parse_ntc, "mlp": parse_mlp}.get(weights.name[:3], parse_model)
            assert parse(weights.data).to_bytes() == weights.data


class TestEveryBundledModelHasACard:
    def test_cards_name_data_and_command(self) -> None:
        for weights in known_models():
            if weights.origin == "bundled":
                card = model_card(weights.name)
                assert weights.sha256 in card
                assert "tilepress train" in card
