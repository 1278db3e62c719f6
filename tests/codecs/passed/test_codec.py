"""Streams come back byte by byte, and their samples as the source's reader gave them."""

from __future__ import annotations

import sys
from dataclasses import replace

import imagecodecs
import numpy as np
import pytest

from tilepress.codecs.grid import Grid
from tilepress.codecs.passed.codec import Refused, encode, streams
from tilepress.codecs.passed.families import FAMILIES
from tilepress.codecs.passed.payload import pack, unpack
from tilepress.codecs.record import (
    is_irreversible,
    keeps_streams,
    pack_record,
    samples_crc,
    unpack_record,
)
from tilepress.codecs.tile import TileCodec
from tilepress.errors import ChecksumMismatch, InvalidRecord, TooMuchMemory, UnsupportedFormat

from .codestreams import codestream
from .pictures import LOSSLESS, LOSSY, family, picture, samples_of, stream


@pytest.mark.parametrize(
    ("kind", "lossy"), [*((kind, False) for kind in LOSSLESS), *((kind, True) for kind in LOSSY)]
)
def test_a_stream_is_its_record(kind: str, lossy: bool):
    data = stream(kind, picture(40, 55), lossy=lossy)
    samples = samples_of(kind, data)
    record = encode([data], samples, family=family(kind), lossless=not lossy)
    assert streams(record) == [data]
    assert np.array_equal(TileCodec().decode(record), samples)
    assert keeps_streams(record)
    assert is_irreversible(record) == lossy
    assert len(record) < len(data) + 90


def test_a_reversible_stream_is_exact_only_if_its_source_says_so():
    """It may leave passes out, for which decoders put other bits."""
    image = picture(64, 64)
    cut = bytes(imagecodecs.jpeg2k_encode(image, level=30, reversible=True))
    samples = samples_of("jpeg2000", cut)
    assert not np.array_equal(samples, image.transpose(2, 0, 1)), "it is whole"
    assert is_irreversible(encode([cut], samples, family="jpeg2000"))
    whole = stream("jpeg2000", image)
    samples = samples_of("jpeg2000", whole)
    assert is_irreversible(encode([whole], samples, family="jpeg2000"))
    assert not is_irreversible(encode([whole], samples, family="jpeg2000", lossless=True))
    lossy = stream("jpeg2000", image, lossy=True)
    samples = samples_of("jpeg2000", lossy)
    assert is_irreversible(encode([lossy], samples, family="jpeg2000", lossless=True))


@pytest.mark.parametrize("kind", ["jpegxl", "webp"])
def test_other_exact_streams_say_so_themselves(kind: str):
    data = stream(kind, picture(40, 55))
    assert not is_irreversible(encode([data], samples_of(kind, data), family=kind))


def test_blocks_cover_a_chunk_that_ends_with_the_image():
    data = stream("webp", picture(32, 32), lossy=True)
    one = samples_of("webp", data)
    whole = np.zeros((6, 64, 96), np.uint8)
    for frame in range(2):
        whole[3 * frame : 3 * frame + 3, :32, 32:64] = one
    whole[3:, 32:, 64:] = one
    given = [None, data, None, None, None, None, None, data, None, None, None, data]
    samples = np.ascontiguousarray(whole[:, :50, :90])
    record = encode(
        given, samples, family="webp", grid=Grid(2, 2, 3, 32, 32), shape=(9, 64, 96), fill=7
    )
    decoded = TileCodec().decode(record)
    assert np.array_equal(decoded[:6, :50, :90], samples)
    assert (decoded[6:] == 7).all()
    assert (decoded[:, 50:] == 7).all()
    assert streams(record) == given


@pytest.mark.parametrize(
    ("stored", "read"), [("uint16", "int16"), ("int16", "uint16"), ("uint8", "uint16")]
)
def test_samples_may_have_another_sign_or_more_bytes(stored: str, read: str):
    image = picture(20, 30, 1, stored)
    data = stream("jpeg2000", image)
    samples = image.astype(read)[None]
    record = encode([data], samples, family="jpeg2000")
    assert np.array_equal(TileCodec().decode(record), samples)


def test_other_samples_and_other_places_are_refused():
    data = stream("jpeg2000", picture(20, 30))
    samples = samples_of("jpeg2000", data)
    wrong = [
        (samples + 1, None),
        (np.pad(samples, ((0, 0), (0, 1), (0, 0))), None),
        (samples[:2], None),
        (samples, Grid(1, 1, 2, 20, 15)),
        (samples.astype(np.float32), None),
    ]
    for other, grid in wrong:
        given = [data] * (1 if grid is None else grid.count)
        with pytest.raises(Refused):
            encode(given, other, family="jpeg2000", grid=grid or Grid(1, 1, 1, 21, 30))
    with pytest.raises(Refused, match="there is none"):
        encode([None], samples * 0, family="jpeg2000")
    grey = stream("jpeg2000", picture(20, 30, 1, "uint16"))
    mixed = np.concatenate([samples_of("jpeg2000", grey), samples[:1].astype(np.uint16)])
    eight = stream("jpeg2000", picture(20, 30, 1))
    with pytest.raises(Refused, match="differ in bits"):
        encode([grey, eight], mixed, family="jpeg2000")


def test_a_claim_of_much_memory_is_refused_before_it_is_decoded(monkeypatch: pytest.MonkeyPatch):
    data = codestream(2048, 2048, block=(2, 2))
    monkeypatch.setenv("TILEPRESS_MAX_MEMORY", "200MiB")
    with pytest.raises(TooMuchMemory):
        encode([data], np.zeros((1, 2048, 2048), np.uint8), family="jpeg2000")


class TestARecordThatIsNotTrusted:
    DATA = stream("jpeg2000", picture(20, 30), lossy=True)
    RECORD = encode([DATA], samples_of("jpeg2000", DATA), family="jpeg2000")

    def made(self, payload: bytes, **changes: object) -> bytes:
        header, _ = unpack_record(self.RECORD)
        return pack_record(replace(header, **changes), payload)  # type: ignore[arg-type]

    @property
    def payload(self) -> bytes:
        return bytes(unpack_record(self.RECORD)[1])

    def test_other_samples_than_those_of_a_decoder_are_no_damage(self):
        """Another version of a decoder may give them: the checksum is that of the stream."""
        other = self.made(self.payload, symbols_crc=1)
        with pytest.raises(ChecksumMismatch, match="streams"):
            TileCodec().decode(other)
        assert TileCodec().decode(self.RECORD).shape == (3, 20, 30)

    def test_of_exact_streams_they_are(self):
        data = stream("jpeg2000", picture(20, 30))
        samples = samples_of("jpeg2000", data)
        header, payload = unpack_record(encode([data], samples, family="jpeg2000", lossless=True))
        assert header.symbols_crc == samples_crc(samples)
        with pytest.raises(ChecksumMismatch, match="samples"):
            TileCodec().decode(pack_record(replace(header, symbols_crc=1), bytes(payload)))

    def test_a_family_of_a_newer_version_is_named(self):
        with pytest.raises(UnsupportedFormat, match="family 9 unknown"):
            TileCodec().decode(self.made(b"\x09" + self.payload[1:]))

    def test_a_header_of_other_samples_is_damage(self):
        for changes in (
            {"dtype": np.dtype("<f4")},
            {"shape": (3, 20, 31), "coded": (3, 20, 31)},
            {"shape": (3, 21, 30), "coded": (3, 21, 30)},
            {"shape": (2, 20, 30), "coded": (2, 20, 30)},
            {"coded": (3, 0, 30)},
        ):
            with pytest.raises(InvalidRecord):
                TileCodec().decode(self.made(self.payload, **changes))

    def test_a_payload_that_is_cut_or_longer_is_damage(self):
        for payload in (b"", self.payload[:9], self.payload[:-1], self.payload + b"\0"):
            with pytest.raises(InvalidRecord):
                TileCodec().decode(self.made(payload))

    def test_claims_are_checked_with_the_budget(self):
        grid = Grid(1, 1, 1, 2048, 2048)
        payload = pack(FAMILIES["jpeg2000"], 0, grid, [codestream(2048, 2048, block=(2, 2))])
        sides = (1, 2048, 2048)
        record = self.made(payload, shape=sides, coded=sides, irreversible=False)
        with pytest.raises(TooMuchMemory, match="max_memory="):
            TileCodec().decode(record, max_memory="300MiB")

    def test_wave_records_say_nothing_of_streams(self):
        header, payload = unpack_record(TileCodec().encode(picture(20, 30, 1)))
        with pytest.raises(InvalidRecord, match="keeps none"):
            unpack_record(pack_record(replace(header, irreversible=True), bytes(payload)))
        with pytest.raises(InvalidRecord, match="keeps none"):
            streams(pack_record(header, bytes(payload)))

    def test_what_is_packed_is_unpacked(self):
        found = unpack(memoryview(self.payload))
        assert pack(found.family, found.meaning, found.grid, found.streams) == self.payload


def test_without_imagecodecs_the_error_names_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    with pytest.raises(UnsupportedFormat, match="pip install imagecodecs"):
        TileCodec().decode(TestARecordThatIsNotTrusted.RECORD)
    assert streams(TestARecordThatIsNotTrusted.RECORD) == [TestARecordThatIsNotTrusted.DATA]
