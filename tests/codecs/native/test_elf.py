"""What the headers of a library say of its length."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from tilepress.codecs.native import library
from tilepress.codecs.native.elf import HEADER_BYTES, least_bytes


def made(
    order: str = "<", segments: tuple[tuple[int, int], ...] = (), sections: tuple[int, int] = (0, 0)
) -> bytes:
    """Return headers: segments by offset and length, sections by offset and count."""
    head = struct.pack(
        f"{order}4sBB10xHHIQQQI6H",
        *(b"\x7fELF", 2, 1 if order == "<" else 2, 3, 62, 1, 0),
        *(HEADER_BYTES, sections[0], 0, 64, 56, len(segments), 64, sections[1], 0),
    )
    return head + b"".join(struct.pack(f"{order}8xQ16xQ16x", *segment) for segment in segments)


class TestLeastBytes:
    def test_of_the_kernel_is_its_length(self) -> None:
        content = Path(library._library()._name).read_bytes()
        assert 0 < least_bytes(content) <= len(content)

    @pytest.mark.parametrize("order", ["<", ">"])
    def test_the_last_segment_or_the_table_of_sections_ends_it(self, order: str) -> None:
        assert least_bytes(made(order, ((0, 900), (1000, 24), (16, 8)))) == 1024
        assert least_bytes(made(order, ((0, 900),), (2000, 3))) == 2000 + 3 * 64

    def test_a_table_that_is_missing_counts(self) -> None:
        whole = made("<", ((0, 10), (0, 10)))
        assert least_bytes(whole[:-1]) == least_bytes(whole) == len(whole)

    @pytest.mark.parametrize(
        "file", [b"", b"\x7fEL", b"MZ" + bytes(100), b"\x7fELF\x01\x01" + bytes(90)]
    )
    def test_of_other_files_nothing_is_known(self, file: bytes) -> None:
        assert least_bytes(file) == 0

    def test_numbers_as_large_as_they_get_are_no_trouble(self) -> None:
        assert least_bytes(b"\x7fELF\x02\x01" + b"\xff" * 122) > 2**63
