"""Decoders that are networks: their files, what they add, and how they are trained."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load, save

from tilepress.codecs.ntc.decoders.choose import BUNDLED, is_generative, remake_of
from tilepress.codecs.ntc.decoders.weights import DecoderWeights, shapes_of
from tilepress.codecs.ntc.layout import NETS
from tilepress.codecs.tile import TileCodec
from tilepress.codecs.weights import bundled_decoders
from tilepress.errors import ModelError, UnsupportedFormat

from ..pictures import bundled, image

torch = pytest.importorskip("torch")

from tilepress.codecs.ntc.decoders.net import ResidualNet  # noqa: E402
from tilepress.codecs.ntc.decoders.networks import Networks, as_halves  # noqa: E402
from tilepress.codecs.ntc.decoders.train import make_pairs, train_net  # noqa: E402
from tilepress.codecs.ntc.decoders.train_gan import NOISE, train_gan, with_noise  # noqa: E402
from tilepress.codecs.ntc.examples import cut_crops  # noqa: E402


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Torch waits for its threads in a loop: beside others' tests that takes all the time."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def weights(decoder: str = "net", spread: float = 0.0, noise: int = 0) -> DecoderWeights:
    """Return weights of small nets; of no spread they add nothing."""
    made = np.random.default_rng(3)
    nets = {
        name: {
            key: (made.normal(0, spread, shape) if spread else np.zeros(shape)).astype(np.float16)
            for key, shape in shapes_of(8, 1, noise).items()
        }
        for name in NETS
    }
    return DecoderWeights(decoder, 8, 1, noise, nets)


@pytest.fixture
def record() -> bytes:
    return TileCodec("ntc", psnr=34).encode(image(100, 90, 2), bands=1)


def decode(record: bytes, path: Path, given: DecoderWeights) -> np.ndarray:
    path.write_bytes(given.to_bytes())
    return TileCodec("ntc", psnr=34).decode(record, decoder=str(path))


class TestFiles:
    def test_there_and_back(self) -> None:
        given = weights("gan", 0.1, 4)
        again = DecoderWeights.from_bytes(given.to_bytes())
        assert (again.decoder, again.channels, again.blocks, again.noise) == ("gan", 8, 1, 4)
        for name, net in given.nets.items():
            assert all(np.array_equal(net[key], again.nets[name][key]) for key in net)

    def test_the_net_has_these_parameters(self) -> None:
        net = ResidualNet(8, 2, 3)
        found = {key: tuple(value.shape) for key, value in net.state_dict().items()}
        assert found == shapes_of(8, 2, 3)

    @pytest.mark.parametrize("told", ["tilepress-ntc-1", "", "tilepress-ntc-net-2"])
    def test_another_format(self, told: str) -> None:
        with pytest.raises(ModelError, match="none of ntc's"):
            DecoderWeights.from_bytes(save(load(weights().to_bytes()), metadata={"format": told}))

    @pytest.mark.parametrize(("channels", "noise"), [(600, 0), (8, 65), (0, 0)])
    def test_sizes_beyond_what_there_is(self, channels: int, noise: int) -> None:
        tensors = load(weights().to_bytes())
        tensors["lapped.first.weight"] = np.zeros((channels, 67 + noise, 1, 1), np.float16)
        told = {"format": "tilepress-ntc-net-1"}
        with pytest.raises(ModelError, match="loading a decoder"):
            DecoderWeights.from_bytes(save(tensors, metadata=told))

    def test_equal_weights_are_equal_bytes(self) -> None:
        assert len({weights("gan", 0.1, 4).to_bytes() for _ in range(8)}) == 1

    @pytest.mark.parametrize("spoilt", ["type", "shape", "nan", "missing", "more"])
    def test_tensors_that_are_wrong(self, spoilt: str) -> None:
        tensors = load(weights().to_bytes())
        key = "lapped.first.bias"
        if spoilt == "type":
            tensors[key] = tensors[key].astype(np.float32)
        elif spoilt == "shape":
            tensors[key] = tensors[key][:4].copy()
        elif spoilt == "nan":
            tensors[key] = np.full_like(tensors[key], np.nan)
        elif spoilt == "missing":
            del tensors[key]
        else:
            tensors["lapped.second.bias"] = tensors[key]
        told = {"format": "tilepress-ntc-net-1"}
        with pytest.raises(ModelError, match="loading a decoder"):
            DecoderWeights.from_bytes(save(tensors, metadata=told))

    def test_a_file_of_the_codec_itself(self, tmp_path: Path) -> None:
        path = tmp_path / "ntc.safetensors"
        path.write_bytes(bundled().to_bytes())
        with pytest.raises(ModelError, match="none of ntc's"):
            remake_of(str(path))


class TestBundled:
    def test_each_is_what_its_name_says(self) -> None:
        found = {w.name: DecoderWeights.from_bytes(w.data) for w in bundled_decoders()}
        assert set(found) == set(BUNDLED.values())
        for decoder, name in BUNDLED.items():
            assert found[name].decoder == decoder
            assert (found[name].noise > 0) == (decoder == "gan")

    def test_the_net_is_nearer_to_what_was_there(self) -> None:
        y, x = np.mgrid[:256, :256]
        smooth = (900 + 400 * np.sin(x / 7) * np.cos(y / 11) + 300 * (x > 2 * y)).astype(np.uint16)
        codec = TileCodec("ntc", psnr=36)
        record = codec.encode(smooth[None])
        off = {
            decoder: np.square(codec.decode(record, decoder=decoder) - smooth.astype(float)).mean()
            for decoder in ("base", "net", "gan")
        }
        assert off["net"] < off["base"]
        assert off["gan"] < 2 * off["base"]


class TestSamples:
    def test_a_net_that_adds_nothing_is_the_base(self, record: bytes, tmp_path: Path) -> None:
        base = TileCodec("ntc", psnr=34).decode(record)
        found = decode(record, tmp_path / "zero.safetensors", weights())
        assert np.array_equal(found, base)

    def test_a_bias_moves_brightness(self, record: bytes, tmp_path: Path) -> None:
        given = weights()
        for net in given.nets.values():
            net["last.bias"][0] = 8  # of 64 samples, of unit norm: one step each
        base = TileCodec("ntc", psnr=34).decode(record).astype(int)
        found = decode(record, tmp_path / "bright.safetensors", given).astype(int)
        inside = (base > base.min() + 200) & (base < base.max() - 200)
        moved = (found - base)[inside]
        assert moved.min() > 0
        assert moved.std() < 0.2 * moved.mean()

    def test_noise_is_the_same_for_everybody(self, record: bytes, tmp_path: Path) -> None:
        path = tmp_path / "noisy.safetensors"
        one = decode(record, path, weights("gan", 0.3, 4))
        assert np.array_equal(one, decode(record, path, weights("gan", 0.3, 4)))
        assert is_generative(str(path))

    def test_no_coefficient_of_a_gan_moves_by_more_than_a_step(self) -> None:
        given = weights("gan", 5.0, 4)
        cells = np.random.default_rng(1).normal(0, 3, (1, 64, 4, 4)).astype(np.float32)
        noise = np.zeros((1, 4, 4, 4), np.float32)
        more = Networks(given).corrections(0, cells, noise)
        assert np.abs(more).max() == 1

    @pytest.mark.gpu
    @pytest.mark.parametrize("decoder", ["net", "gan"])
    def test_on_a_device_they_are_near(self, decoder: str, record: bytes) -> None:
        """Sums have another order and fewer bits there: of what is added, a small part."""
        if not torch.cuda.is_available():
            pytest.skip("no CUDA device: networks ran on the CPU only")
        there = TileCodec("ntc", psnr=34, device="cuda", decoder=decoder).decode(record)
        here = TileCodec("ntc", psnr=34, decoder=decoder).decode(record)
        added = here.astype(float) - TileCodec("ntc", psnr=34).decode(record)
        assert np.std(there.astype(float) - here) < 0.25 * np.std(added)  # rounding, too
        again = TileCodec("ntc", psnr=34, device="cuda").encode(image(100, 90, 2), bands=1)
        assert again == record

    def test_without_torch(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        path = tmp_path / "net.safetensors"
        path.write_bytes(weights().to_bytes())
        monkeypatch.setitem(sys.modules, "torch", None)
        with pytest.raises(UnsupportedFormat, match="torch is not installed"):
            remake_of(str(path))


@pytest.fixture(scope="module")
def pairs():
    crops = [c for seed in range(3) for c in cut_crops(image(300, 300), 1, "a", seed)]
    return make_pairs(crops, bundled(), 40, 0)


class TestTraining:
    def test_pieces_of_both_transforms(self, pairs) -> None:
        assert set(pairs) == set(NETS)
        for some in pairs.values():
            assert some.decoded.shape == some.missing.shape
            assert some.decoded.shape[1:] == (64, 16, 16)
            assert len(some.decoded) >= 40
            assert some.missing.float().square().mean() < 0.1  # squared steps

    def test_less_error_is_left(self, pairs) -> None:
        told: list[str] = []
        torch.manual_seed(0)
        train_net(ResidualNet(16, 1), pairs["lapped"], steps=500, seed=0, progress=told.append)
        assert len(told) == 1
        assert float(told[0].split()[2]) < 99

    def test_it_goes_on_where_it_stopped(self, pairs, tmp_path: Path) -> None:
        def trained(steps: int, path: Path | None) -> dict[str, np.ndarray]:
            torch.manual_seed(0)
            net = ResidualNet(8, 1)
            some = pairs["wavelet"]
            made = train_net(net, some, steps=steps, seed=1, batch=2, progress=str, checkpoint=path)
            return as_halves(made)

        path = tmp_path / "state.pt"
        whole = trained(501, path)  # leaves a checkpoint at 500
        again = trained(501, path)
        assert all(np.array_equal(whole[key], again[key]) for key in whole)

    def test_a_generator_begins_as_the_net(self) -> None:
        torch.manual_seed(0)
        net = ResidualNet(8, 1)
        torch.nn.init.normal_(net.last.weight)
        cells = torch.randn(1, 64, 4, 4)
        silent = torch.zeros(1, NOISE, 4, 4)
        assert torch.allclose(with_noise(net, 0)(cells, silent), net(cells), atol=1e-5)

    def test_a_generator_learns_to_use_noise(self, pairs) -> None:
        torch.manual_seed(0)
        net = ResidualNet(8, 1)
        some = pairs["lapped"]
        made = train_gan(net, some, steps=60, seed=0, batch=2, progress=str)
        with torch.no_grad():
            cells = some.decoded[:2]
            noise = torch.randn(2, 2, NOISE, 16, 16)
            one, other = (made(cells, n) for n in noise)
        assert (one - other).abs().mean() > 1e-4
