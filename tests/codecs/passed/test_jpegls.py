"""What is kept of JPEG-LS: what its head says, and nothing unusual in it."""

from __future__ import annotations

import numpy as np
import pytest

from tilepress.codecs.passed.codec import encode, streams
from tilepress.codecs.passed.head import Refused
from tilepress.codecs.passed.jpegls import read_head
from tilepress.codecs.record import is_irreversible
from tilepress.codecs.tile import TileCodec

from .pictures import picture, samples_of, stream

GREY = stream("jpegls", picture(40, 55, 1, "uint16"))
COLOUR = stream("jpegls", picture(40, 55))
TEXT = b"\xff\xfe\x00\x06Text"


@pytest.mark.parametrize(
    ("data", "components", "bits"),
    [(GREY, 1, 16), (COLOUR, 3, 8), (GREY[:2] + TEXT + GREY[2:], 1, 16)],
)
def test_what_encoders_write(data: bytes, components: int, bits: int):
    head = read_head(data)
    assert (head.rows, head.columns, head.components, head.bits) == (40, 55, (components,), bits)
    assert (head.exact, head.signed, head.subsampled) == (True, False, False)
    assert read_head(data + b"\xff") == head


@pytest.mark.parametrize(
    "data",
    [
        b"",
        GREY[:20],
        b"\xff\xd7" + GREY[2:],
        GREY.replace(b"\xff\xf7", b"\xff\xc0", 1),
        GREY.replace(b"\x01\x11\x00", b"\x01\x21\x00", 1),
        GREY.replace(b"\xff\xf7\x00\x0b\x10", b"\xff\xf7\x00\x0b\x11", 1),
        GREY.replace(b"\xff\xf7\x00\x0b\x10\x00\x28", b"\xff\xf7\x00\x0b\x10\x00\x00", 1),
        GREY[:2] + b"\xff\xe8\x00\x07mrfx\x01" + GREY[2:],
        GREY[:2] + b"\xff\xf8\x00\x05\x04\x02\x01" + GREY[2:],
        GREY[:2] + b"\xff\xdd\x00\x04\x00\x01" + GREY[2:],
        GREY[:2] + b"\xff\xfe\x00\x01" + GREY[2:],
        GREY[:15] + GREY[2:],
    ],
)
def test_others_are_refused(data: bytes):
    with pytest.raises(Refused, match="keeping a JPEG-LS stream: "):
        read_head(data)


def test_samples_are_exact_within_a_bound():
    """The standard says each one: records have their checksum, and no flag of lossy streams."""
    for image in (picture(40, 55), picture(40, 55, 1), picture(40, 55, 1, "uint16")):
        data = stream("jpegls", image)
        samples = samples_of("jpegls", data)
        assert np.abs(samples.astype(int) - np.atleast_3d(image).transpose(2, 0, 1)).max() == 2
        record = encode([data], samples, family="jpegls")
        assert not is_irreversible(record)
        assert streams(record) == [data]
        np.testing.assert_array_equal(TileCodec().decode(record), samples)
        with pytest.raises(Refused):
            encode([data[:-30]], samples, family="jpegls")
