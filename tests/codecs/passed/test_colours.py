"""Streams of luminance and colour differences give red, green and blue, and come back."""

from __future__ import annotations

from dataclasses import replace

import imagecodecs
import numpy as np
import pytest

from tilepress.codecs.grid import Grid
from tilepress.codecs.passed.codec import Refused, encode, streams
from tilepress.codecs.passed.colours import rgb_of_ycbcr
from tilepress.codecs.passed.families import FAMILIES
from tilepress.codecs.passed.jpeg2000 import read_head
from tilepress.codecs.passed.payload import AS_DECODED, YCBCR, pack, unpack
from tilepress.codecs.record import crc32c, is_irreversible, pack_record, unpack_record
from tilepress.codecs.tile import TileCodec
from tilepress.errors import InvalidRecord

from .pictures import picture, samples_of, stream
from .subsampled import HALF, QUARTER


def test_conversion_is_that_of_the_standard():
    y, cb, cr = (one.ravel() for one in np.mgrid[:256:5, :256:5, :256:5])
    exact = np.stack(
        [
            y + 1.402 * (cr - 128),
            y - 0.114 * 1.772 / 0.587 * (cb - 128) - 0.299 * 1.402 / 0.587 * (cr - 128),
            y + 1.772 * (cb - 128),
        ]
    ).clip(0, 255)
    found = rgb_of_ycbcr(np.stack([y, cb, cr])[:, None])[:, 0]
    assert np.abs(found - exact).max() <= 0.51


def test_a_chunk_comes_back_and_what_has_no_stream_is_0():
    data = stream("jpeg2000", picture(32, 32), lossy=True)
    rgb = rgb_of_ycbcr(samples_of("jpeg2000", data))
    whole = np.zeros((6, 32, 64), np.uint8)
    whole[:3, :, :32] = whole[3:, :, 32:] = rgb
    given = [data, None, None, data]
    record = encode(given, whole[..., :60].copy(), family="jpeg2000", grid=Grid(2, 1, 2, 32, 32))
    assert unpack(unpack_record(record)[1]).meaning == YCBCR
    assert is_irreversible(record)
    assert np.array_equal(TileCodec().decode(record), whole[..., :60])
    assert streams(record) == given


@pytest.mark.parametrize("data", [HALF, QUARTER])
def test_colours_may_have_fewer_samples(data: bytes):
    head = read_head(data)
    assert (head.rows, head.columns, head.components, head.subsampled) == (32, 32, (3,), True)
    rgb = np.moveaxis(np.asarray(imagecodecs.jpeg2k_decode(data)), -1, 0).copy()
    record = encode([data], rgb, family="jpeg2000")
    assert unpack(unpack_record(record)[1]).meaning == YCBCR
    assert np.array_equal(TileCodec().decode(record), rgb)
    with pytest.raises(Refused, match="not those that were read"):
        encode([data], 255 - rgb, family="jpeg2000")


def test_what_is_exact_is_never_converted():
    data = stream("jpeg2000", picture(32, 32))
    rgb = rgb_of_ycbcr(samples_of("jpeg2000", data)).astype(np.uint8)
    with pytest.raises(Refused, match="not those that were read"):
        encode([data], rgb, family="jpeg2000", lossless=True)


@pytest.mark.parametrize(
    ("data", "meaning", "bands"),
    [
        (HALF, AS_DECODED, 3),
        (stream("jpeg2000", picture(32, 32, 1)), YCBCR, 1),
    ],
)
def test_a_record_of_other_colours_than_it_says_is_refused(data: bytes, meaning: int, bands: int):
    good = stream("jpeg2000", picture(32, 32, bands))
    record = encode([good], samples_of("jpeg2000", good), family="jpeg2000")
    header, _ = unpack_record(record)
    payload = pack(FAMILIES["jpeg2000"], meaning, Grid(1, 1, 1, 32, 32), [data])
    wrong = pack_record(replace(header, symbols_crc=crc32c(data)), payload)
    with pytest.raises(InvalidRecord, match="not of the colours"):
        TileCodec().decode(wrong)


def test_colours_that_begin_elsewhere_are_refused():
    at = HALF.index(b"\xff\x51") + 4 + 2 + 8  # XOsiz
    moved = HALF[:at] + (2).to_bytes(4, "big") + HALF[at + 4 :]
    with pytest.raises(Refused, match="do not begin where"):
        read_head(moved)
