"""What is kept of JPEG XL: one frame that is the image."""

from __future__ import annotations

import imagecodecs
import numpy as np
import pytest

from tilepress.codecs.passed.head import Refused
from tilepress.codecs.passed.jpegxl import read_head

from .pictures import picture, stream


@pytest.mark.parametrize(("bands", "dtype"), [(1, "uint8"), (3, "uint8"), (1, "uint16")])
@pytest.mark.parametrize("lossy", [False, True])
@pytest.mark.parametrize("sides", [(40, 55), (8, 8), (300, 3), (64, 128)])
def test_what_encoders_write(bands: int, dtype: str, lossy: bool, sides: tuple[int, int]):
    data = stream("jpegxl", picture(*sides, bands, dtype), lossy=lossy)
    head = read_head(data)
    assert (head.rows, head.columns, head.components) == (*sides, (bands,))
    assert (head.bits, head.exact) == (8 if dtype == "uint8" else 16, not lossy)
    assert read_head(data + b"\0") == head


@pytest.mark.parametrize("effort", [1, 3, 5, 9])
def test_what_loses_nothing_is_exact_whatever_the_effort(effort: int):
    image = picture(40, 55)
    data = bytes(imagecodecs.jpegxl_encode(image, lossless=True, effort=effort, usecontainer=True))
    assert data[4:8] == b"JXL "
    assert read_head(data).exact


def test_recoded_jpeg_is_not_exact():
    data = bytes(imagecodecs.jpegxl_encode_jpeg(imagecodecs.jpeg_encode(picture(40, 55))))
    head = read_head(data)
    assert (head.rows, head.columns, head.components, head.exact) == (40, 55, (3,), False)


@pytest.mark.parametrize(
    "image",
    [picture(40, 55, 4), picture(40, 55).astype(np.float32), np.stack([picture(40, 55)] * 2)],
    ids=["alpha", "floats", "frames"],
)
def test_other_images_are_refused(image: np.ndarray):
    data = bytes(imagecodecs.jpegxl_encode(image, lossless=True))
    with pytest.raises(Refused, match="keeping a JPEG XL stream: "):
        read_head(data)


def test_cut_ones_are_refused():
    data = stream("jpegxl", picture(40, 55))
    for length in range(8):
        with pytest.raises(Refused):
            read_head(data[:length])
    with pytest.raises(Refused, match="impossible length"):
        read_head(bytes.fromhex("0000000c4a584c200d0a870a") + b"\0\0\0\x04jxlc")
