"""What is kept of WebP: still images."""

from __future__ import annotations

import pytest

from tilepress.codecs.passed.head import Refused
from tilepress.codecs.passed.webp import read_head

from .pictures import picture, stream

LOSSY = stream("webp", picture(40, 55), lossy=True)
ALPHA = stream("webp", picture(40, 55, 4), lossy=True)
LOSSLESS = stream("webp", picture(40, 55))


@pytest.mark.parametrize(("data", "exact"), [(LOSSY, False), (ALPHA, False), (LOSSLESS, True)])
def test_what_encoders_write(data: bytes, exact: bool):
    head = read_head(data)
    assert (head.rows, head.columns, head.components, head.exact) == (40, 55, (3, 4), exact)
    assert read_head(data + b"\0") == head


@pytest.mark.parametrize(
    "data",
    [
        b"",
        LOSSY[:20],
        LOSSY[:-1],
        b"RIFX" + LOSSY[4:],
        LOSSY.replace(b"\x9d\x01\x2a", b"\x9d\x01\x2b"),
        LOSSY.replace(b"VP8 ", b"ANMF"),
        LOSSLESS.replace(b"\x2f", b"\x2e", 1),
        ALPHA[:24] + b"\xff" + ALPHA[25:],
        ALPHA[:20] + bytes([ALPHA[20] | 2]) + ALPHA[21:],
    ],
)
def test_others_are_refused(data: bytes):
    with pytest.raises(Refused, match="keeping a WebP stream: "):
        read_head(data)
