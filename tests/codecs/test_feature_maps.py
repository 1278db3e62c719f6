"""Features and embeddings, tensors of floats, are coded within an error or for a PSNR."""

from __future__ import annotations

import numpy as np
import pytest

from tilepress.codecs.tile import TileCodec
from tilepress.errors import UnsupportedArray

Array = np.ndarray


def features(dtype: str = "float32", count: int = 12) -> Array:
    """Return (channels, y, x) that mix a few waves, of both signs."""
    rng = np.random.default_rng(3)
    waves = rng.normal(size=(3, 40, 48)).cumsum(axis=-1).cumsum(axis=-2)
    mixed = np.tensordot(rng.normal(size=(count, 3)), waves, axes=1)
    return (mixed / np.abs(mixed).max() * 4).astype(dtype)


def psnr_db(given: Array, decoded: Array) -> float:
    error = np.square(decoded.astype(np.float64) - given.astype(np.float64)).mean()
    return float(10 * np.log10(float(np.ptp(given.astype(np.float64))) ** 2 / error))


class TestWithinAnError:
    @pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
    @pytest.mark.parametrize("codec", [None, "lerc", "jpegls", "zstd"])
    def test_each_value_is_within_it(self, dtype: str, codec: str | None) -> None:
        given = features(dtype)
        one = TileCodec(codec, max_error=0.02)
        record = one.encode(given, bands=len(given))
        decoded = one.decode(record)
        assert decoded.dtype == given.dtype
        assert np.abs(decoded.astype(np.float64) - given.astype(np.float64)).max() <= 0.02
        assert 2 * len(record) < given.nbytes

    @pytest.mark.parametrize("size", [0.01, 1, 100, 8000])
    @pytest.mark.parametrize("share", [0.01, 0.05, 0.3])
    def test_of_float16_whose_own_steps_are_not_much_finer(self, size: float, share: float) -> None:
        """They lost nothing then, and took six times as much. Coding again changes nothing."""
        values = np.random.default_rng(1).normal(size=(20, 30)) * size
        given, bound = values.astype(np.float16), float(size * share)
        codec = TileCodec(max_error=bound, nodata=float(given[0, 0]))
        decoded = codec.decode(codec.encode(given))
        assert np.abs(decoded.astype(float) - given.astype(float)).max() <= bound
        assert len(np.unique(decoded)) < len(np.unique(given))
        assert np.array_equal(decoded == given[0, 0], given == given[0, 0])
        assert np.array_equal(codec.decode(codec.encode(decoded)), decoded)

    def test_rows_of_embeddings(self) -> None:
        given = np.random.default_rng(0).normal(size=(100, 64)).astype(np.float32)
        codec = TileCodec(max_error=0.05)
        assert np.abs(codec.decode(codec.encode(given)) - given).max() <= 0.05

    def test_what_is_no_number_stays(self) -> None:
        given = features()
        given[0, :3], given[1, 4] = np.nan, -0.0
        decoded = TileCodec(max_error=0.02).decode(TileCodec(max_error=0.02).encode(given))
        assert np.array_equal(np.isnan(decoded), np.isnan(given))
        assert np.nanmax(np.abs(decoded - given)) <= 0.02


class TestForAPsnr:
    @pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
    @pytest.mark.parametrize("codec", ["jpeg2000", "mlp", "zstd", "jpegxl"])
    def test_it_is_held_over_the_range(self, dtype: str, codec: str) -> None:
        given = features(dtype)
        one = TileCodec(codec, psnr=45)
        record = one.encode(given, bands=len(given))
        assert psnr_db(given, one.decode(record)) >= 45
        assert 2 * len(record) < given.nbytes

    @pytest.mark.parametrize("codec", ["jpeg2000", "mlp"])
    def test_channels_that_belong_together_take_less(self, codec: str) -> None:
        given, one = features(), TileCodec(codec, psnr=45)
        assert 3 * len(one.encode(given, bands=len(given))) < 2 * len(one.encode(given))

    def test_a_batch_is_channels_of_several(self) -> None:
        """(batch, channels, y, x): planes one below another, bands the channels."""
        batch = np.stack([features(), features()[::-1] / 2])
        planes, codec = batch.reshape(-1, *batch.shape[-2:]), TileCodec("jpeg2000", psnr=45)
        record = codec.encode(planes, bands=batch.shape[1])
        decoded = codec.decode(record).reshape(batch.shape)
        assert psnr_db(batch, decoded) >= 45

    def test_where_no_codec_is_named_the_line_names_some(self) -> None:
        with pytest.raises(UnsupportedArray, match="float32; choose codec 'jpeg2000' or 'mlp'"):
            TileCodec(psnr=45).encode(features())
