"""A target together with a bound: no sample is off by more, whatever the target allows."""

from __future__ import annotations

import numpy as np
import pytest

from tilepress.codecs.config import CodecConfig
from tilepress.codecs.loss import AtLeast, parse_target, stated_loss
from tilepress.codecs.record import unpack_record
from tilepress.codecs.tile import TileCodec
from tilepress.errors import UnsupportedFormat

from .pictures import image


def spiked(dtype: str = "uint16", planes: int = 2) -> np.ndarray:
    """Return an image with single samples that a coarse quantiser loses."""
    chunk = image(90, 100, planes, dtype)
    info = np.iinfo(dtype)
    chunk[:, 13::29, 7::31] = info.max
    chunk[:, 3::37, 11::41] = info.min
    return chunk


class TestTheBound:
    @pytest.mark.parametrize("bound", [1, 3, 40])
    @pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16"])
    def test_holds_beside_a_psnr(self, dtype: str, bound: int) -> None:
        chunk = spiked(dtype)
        codec = TileCodec("ntc", psnr=30, max_error=bound)
        record = codec.encode(chunk, bands=2)
        decoded = TileCodec.from_config(codec.to_config()).decode(record)
        error = np.abs(decoded.astype(int) - chunk)
        assert 0 < error.max() <= bound
        assert unpack_record(record)[0].max_error == error.max()
        peak = 255.0 if chunk.itemsize == 1 else float(np.ptp(chunk.astype(int)))
        assert 10 * np.log10(peak**2 / np.square(error).mean()) >= 30

    def test_holds_beside_bits(self) -> None:
        chunk = image(90, 100, 1)
        codec = TileCodec("ntc", bits_per_sample=4, max_error=60)
        record = codec.encode(chunk)
        assert 8 * len(record) <= 4 * chunk.size
        assert np.abs(codec.decode(record).astype(int) - chunk).max() <= 60

    def test_adds_only_what_is_missing(self) -> None:
        """A loose bound costs little: the samples that are beyond it."""
        chunk = image(150, 170, 2)
        plain = TileCodec("ntc", psnr=38).encode(chunk, bands=2)
        worst = unpack_record(plain)[0].max_error
        codec = TileCodec("ntc", psnr=38, max_error=0.7 * worst // 1)
        record = codec.encode(chunk, bands=2)
        assert unpack_record(record)[0].coder == 7
        assert len(plain) < len(record) < 1.2 * len(plain)
        same = TileCodec("ntc", psnr=38, max_error=worst).encode(chunk, bands=2)
        assert same == plain

    @pytest.mark.parametrize("nodata", [0, 65535, 900])
    def test_absent_samples_stay(self, nodata: int) -> None:
        chunk = spiked()
        chunk[:, 20:50, 30:70] = nodata
        codec = TileCodec("ntc", psnr=25, max_error=2, nodata=nodata)
        decoded = codec.decode(codec.encode(chunk, bands=2))
        assert np.array_equal(decoded == nodata, chunk == nodata)
        assert np.abs(decoded.astype(int) - chunk).max() <= 2

    def test_exact_bands_stay_exact(self) -> None:
        chunk = spiked("uint8", 4)
        config = TileCodec("ntc", psnr=30, max_error=5).to_config()
        codec = TileCodec.from_config(config, exact=[3])
        decoded = codec.decode(codec.encode(chunk, bands=4))
        error = np.abs(decoded.astype(int) - chunk)
        assert 0 < error[:3].max() <= 5
        assert not error[3].any()

    def test_of_wide_samples(self) -> None:
        chunk = image(80, 90, 1, "uint16").astype(np.uint32) * 70001
        codec = TileCodec("ntc", psnr=40, max_error=1000)
        decoded = codec.decode(codec.encode(chunk))
        assert 0 < np.abs(decoded.astype(np.int64) - chunk).max() <= 1000

    def test_some_planes_are_decoded_alone(self) -> None:
        chunk = spiked()
        codec = TileCodec("ntc", psnr=30, max_error=9, nodata=300)
        record = codec.encode(chunk, bands=2)
        whole = codec.decode(record)
        assert np.array_equal(codec.decode(record, planes=[1]), whole[[1]])


class TestItsConfiguration:
    def test_says_both(self) -> None:
        config = TileCodec("ntc", psnr=40, max_error=3).to_config()
        assert (config["version"], config["max_error"]) == (3, 3)
        loss = CodecConfig.parse(config).loss
        assert loss == AtLeast(40.0, within=3)
        assert str(loss) == "PSNR at least 40 dB, max error 3"
        assert stated_loss(loss.statement()) == loss
        assert loss != AtLeast(40.0)
        assert parse_target(config["target"]) == AtLeast(40.0)

    @pytest.mark.parametrize(
        "change", [{"max_error": None}, {"max_error": 0}, {"version": 2}, {"version": 1}]
    )
    def test_nonsense_is_refused(self, change: dict[str, object]) -> None:
        config = {**TileCodec("ntc", psnr=40, max_error=3).to_config(), **change}
        with pytest.raises(UnsupportedFormat, match="reading a codec configuration"):
            CodecConfig.parse(config)

    def test_a_codec_that_cannot_says_which_can(self) -> None:
        with pytest.raises(UnsupportedFormat, match="or choose ntc"):
            TileCodec("jpegxl", psnr=40, max_error=3)

    def test_bounds_of_integers_are_integers(self) -> None:
        with pytest.raises(Exception, match="no integer"):
            TileCodec("ntc", psnr=40, max_error=2.5).encode(image(20, 20))
