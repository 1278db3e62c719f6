"""``mlp`` as a codec: its parameters are a part of its name, and what must be exact is."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from tilepress.codecs.config import lossless_config
from tilepress.codecs.loss import AtLeast, AtMost, Lossless, Quality, Within
from tilepress.codecs.mlp.codec import MlpCoder, parse_model
from tilepress.codecs.record import CODER_STORED, unpack_record
from tilepress.codecs.registry import canonical, coder_class
from tilepress.codecs.tile import TileCodec
from tilepress.codecs.weights import load_named
from tilepress.errors import ModelError, UnsupportedArray, UnsupportedFormat

from ..ntc.pictures import image


class TestItsParameters:
    @pytest.mark.parametrize(
        ("told", "spelt"),
        [
            ("mlp", "mlp"),
            ("mlp:", "mlp"),
            ("mlp:block=8,bits=22", "mlp"),
            ("mlp:bits=6,hidden=16", "mlp:hidden=16,bits=6"),
            ("mlp:block=16", "mlp:block=16"),
            ("mlp:bits=06", "mlp:bits=6"),
        ],
    )
    def test_have_one_spelling(self, told: str, spelt: str) -> None:
        assert canonical(told) == spelt
        assert TileCodec(told, psnr=40).to_config()["codec"] == spelt
        assert coder_class(told) is coder_class(spelt)

    @pytest.mark.parametrize(
        "told",
        ["block=5", "hidden=0", "hidden=257", "bits=0", "bits=23", "units=4", "block", "block=8,",
         "bits=-4", "bits=4,bits=5", "bits=99999", "bits=٤"],
    )  # fmt: skip
    def test_others_are_refused(self, told: str) -> None:
        with pytest.raises(UnsupportedFormat, match="as in mlp:block=8,hidden=16,bits=6"):
            TileCodec(f"mlp:{told}", psnr=40)

    def test_other_codecs_have_none(self) -> None:
        with pytest.raises(UnsupportedFormat, match="'wave' has no parameters"):
            TileCodec("wave:block=8")
        with pytest.raises(UnsupportedFormat, match="want one of"):
            TileCodec("none:block=8")

    def test_a_configuration_has_the_one_spelling(self) -> None:
        config = TileCodec("mlp:bits=6", psnr=40).to_config()
        assert TileCodec.from_config(config).to_config() == config
        for other in ("mlp:bits=06", "mlp:block=8,bits=6", "mlp:", "mlp:bits=6,"):
            with pytest.raises(UnsupportedFormat):
                TileCodec.from_config({**config, "codec": other})

    @pytest.mark.parametrize("block", [4, 8, 16])
    def test_each_block_has_its_network(self, block: int) -> None:
        samples = image(70, 90, 1)
        codec = TileCodec(f"mlp:block={block}", quality=40)
        assert parse_model(codec.model.data).block == block
        assert codec.decode(codec.encode(samples)).shape == samples.shape

    def test_large_blocks_reach_a_high_psnr(self) -> None:
        """The first network of blocks of 16 had half of the units, and samples were stored."""
        samples = image(96, 96, 1)
        found = {}
        for model in ("mlp-1-16", "auto"):
            record = TileCodec("mlp:block=16", psnr=55, model=model).encode(samples)
            found[model] = unpack_record(record)[0].coder
        assert found == {"mlp-1-16": CODER_STORED, "auto": MlpCoder.number}

    def test_stores_of_the_first_network_are_what_the_same_line_asks(self) -> None:
        for name in ("mlp:block=16", "mlp:block=16,hidden=9"):
            assert coder_class(name).former_models == {"standard": ("mlp-1-16",)}
        assert coder_class("mlp:block=4").former_models == {"standard": ()}

    def test_a_network_of_another_block_is_refused(self) -> None:
        with pytest.raises(UnsupportedFormat, match="say mlp:block=16"):
            TileCodec("mlp", quality=40, model="mlp-1-16")

    def test_fewer_units_or_bits_take_fewer_bytes_and_lose_more(self) -> None:
        samples = image(96, 96)
        peak = float(samples.max()) - float(samples.min())
        found = []
        for name in ("mlp", "mlp:hidden=24", "mlp:hidden=24,bits=5", "mlp:hidden=6,bits=3"):
            record, lost = TileCodec(name, quality=70).encode_at(samples, 70.0, peak=peak)
            found.append((-len(record), lost.squared))
        assert found == sorted(found)
        assert len(set(found)) == 4


class TestItsPromise:
    def test_is_lossy_and_nothing_else(self) -> None:
        assert MlpCoder.losses == {Quality, AtLeast, AtMost}
        for loss in (Lossless(), Within(2)):
            with pytest.raises(UnsupportedFormat, match="codec 'mlp' is never"):
                TileCodec("mlp", max_error=loss.max_error)
        assert lossless_config(TileCodec("mlp", quality=9).to_config())["codec"] == "wave"

    @pytest.mark.parametrize("bands", [1, 3])
    @pytest.mark.parametrize("db", [30.0, 45.0, 60.0])
    def test_a_psnr_is_reached(self, bands: int, db: float) -> None:
        samples = image(160, 150, bands)
        codec = TileCodec("mlp", psnr=db)
        record = codec.encode(samples, bands=bands)
        decoded = TileCodec.from_config(codec.to_config()).decode(record)
        peak = float(samples.max()) - float(samples.min())
        error = float(np.square(decoded.astype(float) - samples).mean())
        assert db <= 10 * np.log10(peak**2 / error) < db + 1.5

    @pytest.mark.parametrize("bits", [0.5, 1.0, 3.0])
    def test_a_rate_is_kept(self, bits: float) -> None:
        samples = image(160, 150, 2)
        record = TileCodec("mlp", bits_per_sample=bits).encode(samples, bands=2)
        assert 0.8 * bits < 8 * len(record) / samples.size <= bits

    @pytest.mark.parametrize(
        "dtype", ["int8", "int16", "uint32", "int64", "uint64", "float16", "float32", "float64"]
    )
    def test_every_dtype_of_numbers(self, dtype: str) -> None:
        samples = (image(50, 60, 2, "int16") // 16).astype(dtype)
        codec = TileCodec("mlp", psnr=50)
        decoded = codec.decode(codec.encode(samples))
        assert decoded.dtype == samples.dtype
        span = float(samples.max()) - float(samples.min())
        off = np.abs(decoded.astype(float) - samples.astype(float))
        assert off.max() < max(span / 20, 4)  # of 8 bits the peak is 255
        with pytest.raises(UnsupportedArray, match="bool"):
            TileCodec("mlp", psnr=50).encode(np.ones((8, 8), bool))

    def test_integers_that_no_float_tells_apart_are_stored(self) -> None:
        samples = image(20, 20, 1, "uint64") + np.uint64(2**63)
        codec = TileCodec("mlp", quality=50)
        assert np.array_equal(codec.decode(codec.encode(samples)), samples)

    def test_absent_samples_nan_and_infinities_come_back(self) -> None:
        samples = image(100, 100, 2, "int16")
        samples[:, 20:50, 30:70] = -32768
        codec = TileCodec("mlp", quality=30, nodata=-32768)
        decoded = codec.decode(codec.encode(samples))
        assert np.array_equal(decoded == -32768, samples == -32768)
        floats = samples.astype("float32")
        floats[0, :9, :9], floats[1, 4, 4], floats[1, 5, 5] = np.nan, np.inf, -np.inf
        codec = TileCodec("mlp", quality=30)
        decoded = codec.decode(codec.encode(floats, bands=2))
        odd = ~np.isfinite(floats)
        assert np.array_equal(decoded[odd], floats[odd], equal_nan=True)
        assert np.isfinite(decoded[~odd]).all()

    def test_no_sample_becomes_nodata(self) -> None:
        """A value in the middle of the range that marks absent ones is hit by rounding."""
        samples = image(64, 64, 1, "uint8")
        samples[samples == 77] = 78
        samples[0, :5] = 77
        codec = TileCodec("mlp", quality=10, nodata=77)
        decoded = codec.decode(codec.encode(samples))
        assert np.array_equal(decoded == 77, samples == 77)

    def test_some_planes(self) -> None:
        samples = image(64, 64, 4)
        for bands in (1, 2, 4):
            codec = TileCodec("mlp", quality=60)
            record = codec.encode(samples, bands=bands)
            assert np.array_equal(codec.decode(record, planes=[2]), codec.decode(record)[[2]])

    def test_a_plane_before_helps(self) -> None:
        """Slices that are alike cost less together than apart."""
        samples = np.repeat(image(96, 96), 4, axis=0)
        codec = TileCodec("mlp", quality=60)
        alone = len(codec.encode(samples[:1]))
        assert len(codec.encode(samples)) < 3.95 * alone

    def test_odd_sizes(self) -> None:
        for sides in ((1, 1), (1, 40), (7, 9), (8, 8), (17, 3)):
            samples = image(*sides)
            codec = TileCodec("mlp", quality=60)
            assert codec.decode(codec.encode(samples)).shape == samples.shape


class TestMaking:
    def test_other_weights_and_devices_are_refused(self) -> None:
        with pytest.raises(ModelError):
            MlpCoder(Quality(50), "standard", load_named("wave-3").data, "cpu")
        with pytest.raises(UnsupportedFormat, match="CPU only"):
            MlpCoder(Quality(50), "standard", load_named("mlp-1").data, "cuda")

    def test_travels_to_other_processes(self) -> None:
        samples = image(40, 40, 2)
        for name in ("mlp", "mlp:hidden=20,bits=7"):
            codec = TileCodec(name, quality=50)
            again = pickle.loads(pickle.dumps(codec))
            assert again.encode(samples) == codec.encode(samples)
