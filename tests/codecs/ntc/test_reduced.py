"""Decoding at 1/2, 1/4 and 1/8: what low frequencies alone say of the means of blocks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from tilepress.codecs.budget import Budget
from tilepress.codecs.ntc.chunk import Analysis, decode_chunk
from tilepress.codecs.ntc.layout import LAPPED, WAVELET
from tilepress.codecs.ntc.model import NtcModel
from tilepress.codecs.ntc.plane import inverse, padded_sides
from tilepress.codecs.ntc.reduced import SCALES, bands_for, can_reduce, reduce_plane
from tilepress.codecs.record import HEADER_BYTES, pack_record, unpack_record
from tilepress.codecs.reduce import all_of, reduced
from tilepress.codecs.tile import TileCodec
from tilepress.errors import ChecksumMismatch, InvalidRecord, UnsupportedFormat, UsageError

from .pictures import bundled, dependent, image

SIDES = [(8, 8), (16, 40), (24, 24), (100, 93), (61, 200), (257, 130)]


def means(samples: np.ndarray, scale: int) -> np.ndarray:
    rows, columns = (np.arange(0, n, scale) for n in samples.shape)
    sums = np.add.reduceat(np.add.reduceat(samples.astype(float), rows, 0), columns, 1)
    counts = np.outer(np.diff([*rows, samples.shape[0]]), np.diff([*columns, samples.shape[1]]))
    return sums / counts


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("sides", SIDES)
class TestAPlane:
    def test_of_low_frequencies_is_the_mean_of_what_they_make(
        self, sides: tuple[int, int], scale: int
    ) -> None:
        rng = np.random.default_rng(3)
        for kind in (LAPPED, WAVELET):
            height, width = sides if kind == WAVELET else padded_sides(kind, *sides)
            if not can_reduce(kind, height, width, scale):
                assert kind == WAVELET
                continue
            low = np.zeros((height, width), np.float32)
            if kind == WAVELET:
                rows, columns = -(-height // scale), -(-width // scale)
                low[:rows, :columns] = rng.normal(0, 9, (rows, columns))
                made = low.copy()
                inverse(kind, made)
            else:
                frequencies = 8 // scale
                for v in range(frequencies):
                    for u in range(frequencies):
                        low[v::8, u::8] = rng.normal(0, 9, low[v::8, u::8].shape)
                made = low.copy()
                inverse(kind, made)
            found = reduce_plane(kind, low, height, width, scale)
            assert np.abs(found - means(made, scale)).max() < 1e-3


def coded(samples: np.ndarray, bands: int, step: float, kind: int, absent=None, model_of=bundled):
    analysis = Analysis.of(samples, absent, bands)
    assert analysis is not None
    analysis.kinds = (kind,)
    del analysis.ways[1:]
    return analysis.encode(step, model_of())


def at_scale(
    payload: bytes, samples: np.ndarray, scale: int, planes=None, model_of=bundled
) -> np.ndarray:
    budget = Budget("decoding", 2**30)
    return decode_chunk(
        memoryview(payload), samples.shape, samples.dtype, model_of(), budget, planes, scale
    )


@pytest.mark.parametrize("kind", [LAPPED, WAVELET])
@pytest.mark.parametrize("scale", SCALES)
class TestAChunk:
    @pytest.mark.parametrize("model_of", [bundled, dependent])
    @pytest.mark.parametrize(("planes", "bands"), [(1, 1), (3, 3), (5, 1), (4, 2)])
    def test_is_near_to_the_means_of_all_of_it(
        self, planes: int, bands: int, scale: int, kind: int, model_of: Callable[[], NtcModel]
    ) -> None:
        samples = image(120, 136, planes)
        payload, decoded = coded(samples, bands, 6.0, kind, model_of=model_of)
        found = at_scale(payload, samples, scale, model_of=model_of)
        want = reduced(decoded, scale, "average")
        assert found.shape == want.shape
        assert found.dtype == want.dtype
        error = np.square(found.astype(float) - want).mean()
        variance = float(want.var())
        assert error < variance / 15

    def test_some_planes(self, scale: int, kind: int) -> None:
        samples = image(64, 72, 4)
        payload, _ = coded(samples, 4, 6.0, kind)
        whole = at_scale(payload, samples, scale)
        some = at_scale(payload, samples, scale, frozenset({1, 2}))
        assert np.array_equal(some[1:3], whole[1:3])

    def test_absent_are_blocks_of_which_all_is(self, scale: int, kind: int) -> None:
        samples = image(80, 88, 2)
        samples[:, 16:50, 24:61] = 300
        absent = np.array(300, np.uint16)
        payload, decoded = coded(samples, 2, 6.0, kind, absent)
        found = at_scale(payload, samples, scale)
        want = all_of(decoded == 300, scale)
        assert np.array_equal(found == 300, want)

    def test_takes_a_part_of_the_symbols(self, scale: int, kind: int) -> None:
        sides = padded_sides(kind, 256, 256)
        counts = [bands_for(kind, *sides, s, 0) for s in SCALES]
        assert counts == sorted(counts, reverse=True)
        assert bands_for(kind, *sides, scale, 20) >= bands_for(kind, *sides, scale, 0)


class TestTiny:
    @pytest.mark.parametrize("scale", SCALES)
    @pytest.mark.parametrize("sides", [(1, 1), (3, 40), (7, 9)])
    def test_planes_without_levels_are_averaged(self, sides: tuple[int, int], scale: int) -> None:
        samples = image(*sides, 2)
        payload, decoded = coded(samples, 2, 6.0, WAVELET)
        assert np.array_equal(at_scale(payload, samples, scale), reduced(decoded, scale, "average"))


class TestRecords:
    def test_of_any_coder_have_a_scale(self) -> None:
        chunk = image(90, 100, 4, "uint8")
        chunk[3] = np.where(np.arange(100) > 40, 255, 0)
        config = TileCodec("ntc", psnr=40).to_config()
        codec = TileCodec.from_config(config, exact=[3])
        record = codec.encode(chunk, bands=4)
        found = TileCodec.from_config(config).decode(record, scale=4)
        assert found.shape == (4, 23, 25)
        assert np.array_equal(found[3], reduced(chunk, 4, "nearest")[3])
        near = np.abs(found[:3].astype(int) - reduced(chunk, 4, "average")[:3])
        assert near.mean() < 5
        for other in (TileCodec(), TileCodec("jpegxl", psnr=40)):
            record = other.encode(chunk, bands=4)
            want = reduced(other.decode(record), 4, "average")
            assert np.array_equal(other.decode(record, scale=4), want)
        plane = TileCodec("ntc", psnr=40).encode(chunk[0])
        assert TileCodec("ntc", psnr=40).decode(plane, scale=8).shape == (12, 13)

    def test_with_trailing_fill(self) -> None:
        chunk = image(96, 96, 3)
        chunk[:, 50:] = 0
        chunk[:, :, 70:] = 0
        codec = TileCodec("ntc", psnr=45, nodata=0)
        found = codec.decode(codec.encode(chunk, bands=3), scale=8)
        assert found.shape == (3, 12, 12)
        assert not found[:, 7:].any()
        assert not found[:, :, 9:].any()
        assert found[:, :6, :8].all()

    @pytest.mark.parametrize("scale", [2, 4, 8])
    def test_with_any_byte_changed_are_refused(self, scale: int) -> None:
        """Samples at a scale have no checksum: that of the record's bytes comes first."""
        codec = TileCodec("ntc", psnr=40)
        record = codec.encode(image(90, 100, 2), bands=2)
        for at in range(len(record)):
            broken = bytearray(record)
            broken[at] ^= 1 << at % 8
            with pytest.raises((ChecksumMismatch, InvalidRecord, UnsupportedFormat)) as error:
                codec.decode(bytes(broken), scale=scale)
            if at >= HEADER_BYTES:
                assert "bytes do not match their crc32c" in str(error.value)

    def test_only_scales_that_there_are(self) -> None:
        record = TileCodec().encode(image(20, 20))
        with pytest.raises(UsageError, match="scale 3"):
            TileCodec().decode(record, scale=3)

    @pytest.mark.parametrize("scale", [1, 4])
    def test_are_checked_alike_at_every_scale(self, scale: int) -> None:
        """A check that one of the ways to decode lacked would be a hole."""
        codec = TileCodec("ntc", psnr=40)
        chunk = image(40, 48, 2, "uint8")
        record = codec.encode(chunk)
        assert unpack_record(record)[0].coder in (6, 7)
        with pytest.raises(InvalidRecord, match="it holds"):
            codec.decode(record, scale=scale, expect=((2, 40, 49), np.dtype(np.uint8)))
        with pytest.raises(IndexError, match="plane 2 of 2"):
            codec.decode(record, scale=scale, planes=[2])
        header, payload = unpack_record(record)
        other = pack_record(replace(header, model_id=b"another!"), bytes(payload))
        with pytest.raises(UnsupportedFormat, match="it needs model"):
            codec.decode(other, scale=scale)
        empty = pack_record(replace(header, coded=(0, 0, 0)), bytes(payload))
        with pytest.raises(InvalidRecord):
            codec.decode(empty, scale=scale)
