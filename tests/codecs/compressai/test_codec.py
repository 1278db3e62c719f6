"""Models of CompressAI with small random weights code tiles, and no wrong decode is a picture."""

from __future__ import annotations

import pickle
import warnings
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest

from tilepress.codecs.budget import Budget
from tilepress.codecs.compressai import chunk, network
from tilepress.codecs.compressai.network import ARCHITECTURES
from tilepress.codecs.record import unpack_record
from tilepress.codecs.tile import TileCodec
from tilepress.errors import ChecksumMismatch, CodecError, UnsupportedArray, UnsupportedFormat

from ..ntc.pictures import image
from ..ntc.test_fuzz import mutated

torch = pytest.importorskip("torch")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    models = pytest.importorskip("compressai.models")

pytestmark = pytest.mark.filterwarnings("ignore")


@lru_cache
def checkpoint(name: str) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    sizes = (8,) if name.startswith("cheng") else (8, 12)
    net = getattr(models, ARCHITECTURES[name])(*sizes).eval()
    net.update(force=True)
    return net.state_dict()


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TILEPRESS_MODELS", str(tmp_path / "models"))

    def codec(name: str = "mbt2018-mean", **options) -> TileCodec:
        path = tmp_path / f"{name}.pth.tar"
        torch.save({"state_dict": checkpoint(name)}, path)
        return TileCodec(f"compressai:{name}", quality=50, model=str(path), **options)

    return codec


class TestEveryArchitecture:
    @pytest.mark.parametrize("name", sorted(ARCHITECTURES))
    def test_codes_a_picture(self, name: str, made) -> None:
        samples = image(40, 50, 3, "uint8")
        codec = made(name)
        record = codec.encode(samples, bands=3)
        assert unpack_record(record)[0].coder == 9
        again = TileCodec.from_config(codec.to_config())
        decoded = again.decode(record)
        assert decoded.shape == samples.shape
        assert np.array_equal(decoded, pickle.loads(pickle.dumps(codec)).decode(record))


class TestSamples:
    def test_of_16_bits_keep_their_range_and_absent_ones(self, made) -> None:
        samples = image(64, 70, 2) + np.uint16(500)
        samples[:, 3:9, 4:20] = 0
        codec = made(nodata=0)
        decoded = codec.decode(codec.encode(samples))
        assert np.array_equal(decoded == 0, samples == 0)
        there = samples > 0
        assert decoded[there].min() >= samples[there].min()
        assert decoded[there].max() <= samples[there].max()

    def test_others_are_refused(self, made) -> None:
        for dtype in ("float32", "int32", "bool"):
            with pytest.raises(UnsupportedArray):
                made().encode(np.ones((8, 8), dtype))


class TestWhatIsWritten:
    def test_is_decoded_and_compared(self, made, monkeypatch: pytest.MonkeyPatch) -> None:
        """An entropy coder that goes astray writes nothing."""
        codec = made()
        real = network._decompressed

        def astray(net, strings, sides):
            return 1.0 - np.clip(real(net, strings, sides), 0, 1) + 40.0

        monkeypatch.setattr(network, "_decompressed", astray)
        with pytest.raises(CodecError, match="cannot be relied on here"):
            codec.encode(image(64, 64, 3, "uint8"), bands=3)

    def test_other_samples_are_an_error_that_names_the_writer(
        self, made, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        codec = made()
        record = codec.encode(image(64, 64, 3, "uint8"), bands=3)
        real = chunk.decompress
        monkeypatch.setattr(chunk, "decompress", lambda *given: real(*given) + 0.05)
        with pytest.raises(ChecksumMismatch, match=r"compressai 1\.\S+, torch \S+, \S+ cpu"):
            codec.decode(record)

    def test_weights_of_another_architecture_are_refused(self, made) -> None:
        config = made("mbt2018-mean").to_config()
        with pytest.raises(CodecError, match="not those of bmshj2018-factorized"):
            TileCodec.from_config({**config, "codec": "compressai:bmshj2018-factorized"})
        with pytest.raises(UnsupportedFormat, match="takes no psnr"):
            TileCodec("compressai:mbt2018", psnr=30)


class TestHostileBytes:
    def test_end_in_our_errors(self, made) -> None:
        codec = made("bmshj2018-hyperprior")
        samples = image(64, 64, 1, "uint8")
        samples[0, :9, :9] = 7
        record = codec.encode(samples)
        payload = bytes(unpack_record(record)[1])
        coder, rng = codec._coder, np.random.default_rng(0)
        expected, refused = codec.decode(record), 0
        for _ in range(60):
            data = memoryview(mutated(payload, rng))
            try:
                budget = Budget("decoding", 2**28)
                out = coder.decode(data, samples.shape, samples.dtype, None, budget, 9)
            except CodecError:
                refused += 1
                continue
            assert np.array_equal(out, expected)
        assert refused > 15

    def test_strings_that_are_missing(self, made) -> None:
        """Its models assert how many there are."""
        codec, samples = made(), image(64, 64, 1, "uint8")
        payload = bytes(unpack_record(codec.encode(samples))[1])
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(chunk, "decompress", _asserts)
            with pytest.raises(CodecError, match="its decoder refuses it"):
                codec._coder.decode(
                    memoryview(payload), samples.shape, samples.dtype, None, Budget("", 2**28), 9
                )

    @pytest.mark.parametrize(
        ("name", "forge"),
        [
            ("_cdf_length", lambda t: t + 10_000),
            ("_cdf_length", lambda t: -t),
            ("_cdf_length", lambda t: t * 0),
            ("_cdf_length", lambda t: t - 1),
            ("_cdf_length", lambda t: t[:-1]),
            ("_quantized_cdf", lambda t: t * 0),
            ("_quantized_cdf", lambda t: t[:1]),
            ("_quantized_cdf", lambda t: t.flip(1)),
            ("_quantized_cdf", lambda t: t * 2),
            ("_offset", lambda t: t * 0 - 2**31),
        ],
    )
    def test_tables_that_lead_astray_are_refused(
        self, name: str, forge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("TILEPRESS_MODELS", str(tmp_path / "models"))
        state = dict(checkpoint("mbt2018-mean"))
        for part in ("entropy_bottleneck", "gaussian_conditional"):
            forged = {**state, f"{part}.{name}": forge(state[f"{part}.{name}"]).contiguous()}
            path = tmp_path / f"{part}.pth"
            torch.save(forged, path)
            with pytest.raises(CodecError, match=r"entropy table|not those of"):
                TileCodec("compressai:mbt2018-mean", quality=50, model=str(path))


def _asserts(*_: object) -> np.ndarray:
    raise AssertionError
