"""Chunks of which some planes are exact, or too wide for ``ntc``: records of parts (FORMAT §16)."""

from __future__ import annotations

import numpy as np
import pytest

from tilepress.codecs.loss import AtLeast
from tilepress.codecs.record import unpack_record
from tilepress.codecs.tile import TileCodec, decode_chunk, encode_chunk_at
from tilepress.errors import CodecError, UnsupportedFormat

from .pictures import image


def rgba(height: int = 90, width: int = 110) -> np.ndarray:
    chunk = image(height, width, 4, "uint8")
    y, x = np.mgrid[:height, :width]
    chunk[3] = np.where((y - 40) ** 2 + (x - 50) ** 2 < 900, 255, 0)
    return chunk


def made(*exact: int, nodata: int | None = None, **target: float) -> TileCodec:
    config = TileCodec("ntc", nodata=nodata, **(target or {"psnr": 40})).to_config()
    return TileCodec.from_config(config, exact=exact)


class TestExactBands:
    @pytest.mark.parametrize("exact", [(3,), (0,), (1, 3)])
    @pytest.mark.parametrize("level", [20.0, 70.0])
    def test_come_back_to_the_bit_beside_lossy_ones(
        self, exact: tuple[int, ...], level: float
    ) -> None:
        chunk = rgba()
        record, difference = encode_chunk_at(made(*exact), chunk, level, 255.0)
        assert unpack_record(record)[0].coder == 7
        plain = TileCodec.from_config(made().to_config())  # a reader is told of no bands
        decoded = decode_chunk(plain, record, chunk.shape, chunk.dtype)
        same = [np.array_equal(a, b) for a, b in zip(decoded, chunk, strict=True)]
        assert same == [band in exact for band in range(4)]
        error = np.square(decoded.astype(float) - chunk).sum()
        assert error == difference.squared > 0

    def test_some_planes_are_decoded_alone(self) -> None:
        chunk = rgba()
        record, _ = encode_chunk_at(made(3), chunk, 40, 255.0)
        codec = made()
        whole = codec.decode(record)
        for planes in ([3], [0], [2, 3], [1, 0]):
            assert np.array_equal(codec.decode(record, planes=planes), whole[planes])

    def test_frames_of_several_bands(self) -> None:
        chunk = np.stack([rgba(40, 50), rgba(40, 50)[:, ::-1]])
        record, _ = encode_chunk_at(made(3), chunk, 40, 255.0)
        decoded = decode_chunk(made(), record, chunk.shape, chunk.dtype)
        assert np.array_equal(decoded[:, 3], chunk[:, 3])
        assert not np.array_equal(decoded[:, 0], chunk[:, 0])

    @pytest.mark.parametrize("empty", [3, 0])
    def test_bands_of_nothing_but_fill(self, empty: int) -> None:
        """Planes at the end that are all fill are not coded: the others keep their bands."""
        chunk = rgba()
        chunk[empty] = 0
        chunk[3, :20] = 7 if empty != 3 else 0
        record, _ = encode_chunk_at(made(3), chunk, 30, 255.0)
        decoded = decode_chunk(made(), record, chunk.shape, chunk.dtype)
        assert np.array_equal(decoded[3], chunk[3])
        assert np.abs(decoded[:3].astype(int) - chunk[:3]).max() < 100

    def test_absent_samples_stay(self) -> None:
        chunk = rgba()
        chunk[:, 10:30, 20:60] = 5
        record, _ = encode_chunk_at(made(3, nodata=5), chunk, 30, 255.0)
        decoded = decode_chunk(made(nodata=5), record, chunk.shape, chunk.dtype)
        assert np.array_equal(decoded == 5, chunk == 5)
        assert np.array_equal(decoded[3], chunk[3])

    def test_are_no_samples_that_errors_are_measured_of(self) -> None:
        chunk = rgba()
        assert made(3).present(chunk).sum() == chunk[:3].size
        changed = chunk.copy()
        changed[3, 0, 0] ^= 1
        with pytest.raises(CodecError, match="lossless"):
            made(3).check_loss(chunk, changed)
        made(2).check_loss(chunk, changed)

    def test_other_codecs_keep_none(self) -> None:
        config = TileCodec("jpegxl", psnr=40).to_config()
        with pytest.raises(UnsupportedFormat, match="keeps no bands exact"):
            TileCodec.from_config(config, exact=[3])


class TestWideSamples:
    """Planes that span 2^16 or more."""

    @pytest.mark.parametrize("dtype", ["uint32", "int32"])
    @pytest.mark.parametrize("db", [40.0, 60.0, 90.0, 130.0])
    def test_hold_a_psnr(self, dtype: str, db: float) -> None:
        chunk = image(80, 90, 2, "uint16").astype(np.int64) * 70001
        chunk = (chunk - (10**9 if dtype == "int32" else 0)).astype(dtype)
        codec = TileCodec("ntc", psnr=db)
        record = codec.encode(chunk, bands=2)
        assert unpack_record(record)[0].coder in (4, 7)
        decoded = TileCodec.from_config(codec.to_config()).decode(record)
        peak = float(chunk.max()) - float(chunk.min())
        error = np.square(decoded.astype(float) - chunk).mean()
        assert not error or 10 * np.log10(peak**2 / error) >= db
        assert len(record) < chunk.nbytes * 0.8

    def test_absent_samples_stay(self) -> None:
        chunk = image(80, 90, 2, "uint16").astype(np.uint32) * 70001
        chunk[:, 10:30, 20:60] = 2**32 - 1
        chunk[1, 50:, :20] = 2**32 - 1
        codec = TileCodec("ntc", psnr=45, nodata=2**32 - 1)
        decoded = codec.decode(codec.encode(chunk, bands=2))
        assert np.array_equal(decoded == 2**32 - 1, chunk == 2**32 - 1)
        assert isinstance(codec.loss, AtLeast)

    def test_no_sample_becomes_absent_in_the_middle(self) -> None:
        chunk = image(80, 90, 1, "uint16").astype(np.uint32) * 4001
        nodata = int(np.sort(chunk.ravel())[chunk.size // 2])
        codec = TileCodec("ntc", psnr=35, nodata=nodata)
        decoded = codec.decode(codec.encode(chunk))
        assert np.array_equal(decoded == nodata, chunk == nodata)


class TestNothingIsLost:
    def test_where_that_is_asked(self) -> None:
        chunk = image(60, 70, 3)
        record, difference = TileCodec("ntc", psnr=60).encode_at(
            chunk, float("inf"), bands=3, peak=1.0
        )
        assert difference.worst == 0
        assert unpack_record(record)[0].coder == 4
        assert np.array_equal(TileCodec("ntc", psnr=60).decode(record), chunk)
