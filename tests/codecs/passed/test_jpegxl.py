"""What is kept of JPEG XL: one frame that is the image."""

from __future__ import annotations

import imagecodecs
import numpy as np
import pytest

from tilepress.codecs.passed.head import Refused
from tilepress.codecs.passed.jpegxl import _Bits, read_head

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


def _written(number: int) -> str:
    """Write a number the longest way, lowest bits first, as the standard's U64 has it."""
    text, shift = f"{number % 4096:012b}"[::-1], 12
    while number >> shift and shift < 60:
        text += "1" + f"{number >> shift & 255:08b}"[::-1]
        shift += 8
    last = number >> 60 if shift == 60 else 0
    return "11" + text + ("1" + f"{last:04b}"[::-1] if last else "0")


@pytest.mark.parametrize("number", [0, 32, 272, 4095, 4096, 2**20 + 5, 2**59 + 1, 2**63 + 7])
def test_long_numbers_are_read_to_their_end(number: int):
    """Small ones may be written so, too: what follows would be misread."""
    text = _written(number) + "101"
    bits = _Bits(int(text[::-1], 2).to_bytes(len(text) // 8 + 1, "little"))
    assert bits.long() == number
    assert bits.read(3) == 0b101


def test_a_flag_in_a_long_number_is_seen():
    """That a frame needs another one, told the long way."""
    from tilepress.codecs.passed.jpegxl import _frame, _Metadata

    text = "0" + "00" + "1" + _written(32)
    with pytest.raises(Refused, match="needs another frame"):
        _frame(
            _Bits(int(text[::-1], 2).to_bytes(len(text) // 8 + 1, "little")),
            _Metadata(8, 3, True),
        )


def test_cut_ones_are_refused():
    data = stream("jpegxl", picture(40, 55))
    for length in range(8):
        with pytest.raises(Refused):
            read_head(data[:length])
    with pytest.raises(Refused, match="impossible length"):
        read_head(bytes.fromhex("0000000c4a584c200d0a870a") + b"\0\0\0\x04jxlc")
