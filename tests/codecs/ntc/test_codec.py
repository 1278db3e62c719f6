"""``ntc`` as a codec: it is never taken for lossless, and its records say what they need."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from tilepress.codecs.budget import Budget
from tilepress.codecs.config import lossless_config
from tilepress.codecs.levels import EXACT
from tilepress.codecs.loss import AtLeast, AtMost, Loss, Lossless, Quality, Within
from tilepress.codecs.ntc.codec import NtcCoder
from tilepress.codecs.tile import TileCodec
from tilepress.codecs.weights import load_named
from tilepress.errors import ModelError, UnsupportedArray, UnsupportedFormat
from tilepress.pipeline.archive.options import EncodeOptions

from .pictures import image

WEIGHTS = load_named("ntc-1").data


def made(loss: Loss | None = None) -> NtcCoder:
    return NtcCoder(loss or Quality(50), "standard", WEIGHTS, "cpu")


class TestItsPromise:
    def test_is_lossy_and_nothing_else(self) -> None:
        assert NtcCoder.losses == {Quality, AtLeast, AtMost}
        for loss in (Lossless(), Within(2)):
            with pytest.raises(UnsupportedFormat, match="codec 'ntc' is never"):
                TileCodec("ntc", max_error=loss.max_error)
        assert made().encode(image(8, 8), None, 1) is None

    def test_a_higher_level_is_finer_by_half_a_decibel(self) -> None:
        samples = image(96, 96)
        peak = float(samples.max()) - float(samples.min())
        found = []
        for level in (10.0, 40.0, 70.0, 100.0, 130.0):
            coded = made().encode_at(samples, None, 1, level, peak)
            assert coded is not None
            assert not coded.irreversible
            error = float(np.square(coded.decoded.astype(float) - samples).mean())
            found.append(10 * np.log10(peak**2 / max(error, 1e-9)))
            assert found[-1] > 19 + level / 2
        assert found == sorted(found)
        assert found[2] < 20 + 70 / 2 + 8

    def test_what_must_not_lose_anything_is_another_coders(self) -> None:
        samples = image(8, 8)
        coded = made().encode_at(samples, None, 1, EXACT, 1.0)
        assert coded is not None
        assert coded.number == 4
        assert np.array_equal(coded.decoded, samples)

    @pytest.mark.parametrize("dtype", ["float32", "uint64", "int64", "bool"])
    def test_what_it_takes(self, dtype: str) -> None:
        assert "takes integers" in str(made().refusal(np.dtype(dtype)))
        with pytest.raises(UnsupportedArray):
            TileCodec("ntc", psnr=40).encode(np.ones((8, 8), dtype))
        assert made().refusal(np.dtype("int16")) is None


class TestTargets:
    """What is asked for holds, and a reader needs the configuration alone."""

    @pytest.mark.parametrize("bands", [1, 3])
    @pytest.mark.parametrize("db", [30.0, 45.0, 60.0])
    def test_a_psnr_is_reached(self, bands: int, db: float) -> None:
        samples = image(160, 150, bands)
        codec = TileCodec("ntc", psnr=db)
        record = codec.encode(samples, bands=bands)
        decoded = TileCodec.from_config(codec.to_config()).decode(record)
        peak = float(samples.max()) - float(samples.min())
        error = float(np.square(decoded.astype(float) - samples).mean())
        assert db <= 10 * np.log10(peak**2 / error) < db + 1.5

    @pytest.mark.parametrize("bits", [0.5, 1.0, 3.0])
    def test_a_rate_is_kept(self, bits: float) -> None:
        samples = image(160, 150, 2)
        record = TileCodec("ntc", bits_per_sample=bits).encode(samples, bands=2)
        assert 0.8 * bits < 8 * len(record) / samples.size <= bits

    def test_absent_samples_come_back(self) -> None:
        samples = image(100, 100, 2, "int16")
        samples[:, 20:50, 30:70] = -32768
        codec = TileCodec("ntc", quality=30, nodata=-32768)
        decoded = codec.decode(codec.encode(samples))
        assert np.array_equal(decoded == -32768, samples == -32768)

    def test_some_planes(self) -> None:
        samples = image(64, 64, 4)
        codec = TileCodec("ntc", quality=60)
        record = codec.encode(samples)
        assert np.array_equal(codec.decode(record, planes=[2]), codec.decode(record)[[2]])

    def test_masks_beside_it_are_lossless(self) -> None:
        """A mask is coded by the default codec, for this one always loses."""
        config = lossless_config(TileCodec("ntc", quality=60).to_config())
        assert config["codec"] == "wave"
        assert TileCodec.from_config(config).loss == Lossless()
        options = EncodeOptions(codec="ntc", psnr=40.0)
        assert options.tile_codec(lossless=True, nodata=3).loss == Lossless()
        assert options.tile_codec(lossless=True, nodata=3).nodata == 3


class TestMaking:
    def test_other_weights_and_devices_are_refused(self) -> None:
        with pytest.raises(ModelError):
            NtcCoder(Quality(50), "standard", load_named("wave-3").data, "cpu")

    def test_travels_to_other_processes(self) -> None:
        coder = made()
        again = pickle.loads(pickle.dumps(coder))
        samples = image(40, 40, 2)
        coded, other = (
            coder.encode_step(samples, None, 1, 9),
            again.encode_step(samples, None, 1, 9),
        )
        assert coded is not None
        assert other is not None
        assert coded[0] == other[0]

    def test_chunks_in_threads_give_the_same(self) -> None:
        coder = made()
        chunks = [image(64, 64, 2, seed=seed) for seed in range(8)]
        found = coder.map(lambda chunk: coder.encode_step(chunk, None, 1, 9.0), chunks)
        for chunk, coded in zip(chunks, found, strict=True):
            alone = coder.encode_step(chunk, None, 1, 9.0)
            assert coded is not None
            assert alone is not None
            assert coded[0] == alone[0]
            budget = Budget("decoding", 2**30)
            out = coder.decode(memoryview(coded[0]), chunk.shape, chunk.dtype, None, budget, 6)
            assert np.array_equal(out, alone[1])
