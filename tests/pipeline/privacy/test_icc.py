"""A colour profile keeps its colours, its length, and no text."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tilepress.pipeline.privacy.icc import without_texts

ImageCms = pytest.importorskip("PIL.ImageCms", reason="pillow makes the profile")

MARK = b"JANE DOE"


def profile() -> bytes:
    """Return a profile with a mark in its description, in its copyright and between its tags."""
    made = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    made[80:84] = b"DOE "
    (count,) = struct.unpack_from(">I", made, 128)
    for number in range(count):
        name, start, size = struct.unpack_from(">4sII", made, 132 + 12 * number)
        if name in (b"desc", b"cprt") and size >= 28 + len(MARK):
            made[start + 20 : start + 20 + len(MARK)] = MARK
    made += MARK
    made[:4] = struct.pack(">I", len(made))
    return bytes(made)


def test_texts_go_and_colours_stay():
    given_ = profile()
    assert given_.count(MARK) >= 2
    made = without_texts(given_)
    assert made is not None
    assert MARK not in made
    assert b"DOE" not in made
    assert len(made) == len(given_)
    for name in (b"rXYZ", b"wtpt", b"rTRC"):
        assert value(made, name) == value(given_, name)
    assert without_texts(made) == made


@pytest.mark.parametrize(("at", "text"), [(8, b"DOE1"), (64, b"DOE1"), (68, b"JANE")])
def test_a_header_says_nothing(at: int, text: bytes):
    data = bytearray(profile())
    data[at : at + 4] = text
    made = without_texts(bytes(data))
    assert made is not None
    assert text not in made


@pytest.mark.parametrize("name", [b"rXYZ", b"rTRC", b"chad"])
def test_numbers_that_are_texts_go(name: bytes):
    data = profile()
    found = value(data, name)
    hidden = found[:8] + (b"JANE DOE 1999-01-02 " * 20)[: len(found) - 8]
    made = without_texts(data.replace(found, hidden))
    assert made is not None
    assert b"JANE" not in made


def test_tables_of_any_content_go_with_their_profile():
    data = bytearray(profile())
    assert without_texts(bytes(data).replace(b"rTRC", b"A2B0")) is None


def value(data: bytes, wanted: bytes) -> bytes:
    (count,) = struct.unpack_from(">I", data, 128)
    for number in range(count):
        name, start, size = struct.unpack_from(">4sII", data, 132 + 12 * number)
        if name == wanted:
            return data[start : start + size]
    raise KeyError(wanted)


@given(st.binary(max_size=300))
def test_what_is_no_profile_is_none(data: bytes):
    assert without_texts(data) is None


@given(st.integers(0, 400), st.integers(0, 255))
def test_a_damaged_one_is_none_or_one_of_the_same_length(at: int, byte: int):
    data = bytearray(profile())
    data[at % len(data)] = byte
    made = without_texts(bytes(data))
    assert made is None or len(made) == len(data)
