"""Samples as pydicom's reader of JPEG gives them, bit by bit."""

from __future__ import annotations

import io

import libjpeg
import numpy as np
import pytest

from tilepress.codecs.budget import Budget
from tilepress.codecs.jpeg.codec import encode, streams
from tilepress.codecs.jpeg.payload import unpack
from tilepress.codecs.jpeg.render import FINE
from tilepress.codecs.record import pack_record, unpack_record
from tilepress.codecs.tile import TileCodec
from tilepress.errors import InvalidRecord

from .pictures import jpeg, picture, samples_of


def as_read(data: bytes) -> np.ndarray:
    """Return what the library gives, (components, y, x), colours as they are coded."""
    found = libjpeg.decode(io.BytesIO(data), colour_transform=0)
    return np.ascontiguousarray(found[None] if found.ndim == 2 else found.transpose(2, 0, 1))


@pytest.mark.parametrize("sampling", ["444", "422", "420", "440"])
@pytest.mark.parametrize("sides", [(40, 64), (37, 51), (9, 8), (8, 9), (17, 3), (1, 1), (2, 18)])
@pytest.mark.parametrize("quality", [30, 95])
def test_every_sampling_and_size(sampling: str, sides: tuple[int, int], quality: int):
    data = jpeg(picture(*sides, seed=5), quality, sampling)
    samples = as_read(data)
    record = encode([data], samples)
    head = unpack(unpack_record(record)[1], Budget("reading", 2**30))
    assert head.correction is None
    assert streams(record) == [data]
    assert np.array_equal(TileCodec().decode(record), samples)


def test_it_is_what_was_found():
    data = jpeg(picture(60, 70, seed=3), 60, "420")
    record = encode([data], as_read(data))
    assert unpack(unpack_record(record)[1], Budget("reading", 2**30)).head.manner == FINE


def test_grey():
    data = jpeg(picture(50, 41, seed=2, bands=1), 70)
    record = encode([data], as_read(data))
    assert unpack(unpack_record(record)[1], Budget("reading", 2**30)).correction is None


def test_other_colours_and_samplings_are_damage():
    """Nobody has made samples of these in this manner."""
    for sampling, flags in (("420", FINE << 3 | 1), ("411", FINE << 3)):
        data = jpeg(picture(40, 64, seed=5), 80, sampling)
        header, payload = unpack_record(encode([data], samples_of(data)))
        with pytest.raises(InvalidRecord, match="manner 3"):
            TileCodec().decode(pack_record(header, bytes([flags]) + bytes(payload[1:])))
