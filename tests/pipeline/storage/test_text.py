"""Names, sizes and times as people read them, in one line."""

import pytest

from tilepress.pipeline.storage.text import clock, grouped, printable, size


class TestNamesStayInTheirLine:
    """A file may be named so that a terminal clears its screen."""

    @pytest.mark.parametrize(
        ("text", "shown"),
        [
            ("scène 1.tif", "scène 1.tif"),
            ("a\nb\x1b[2J", "a\\nb\\x1b[2J"),
            ("caf\udce9.tif", "caf\\udce9.tif"),  # bytes that are no UTF-8
        ],
    )
    def test_what_is_no_character_is_spelled_out(self, text: str, shown: str):
        assert printable(text) == shown
        assert printable(text).isprintable()
        printable(text).encode()


class TestFigures:
    @pytest.mark.parametrize(
        ("n_bytes", "text"),
        [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (2.5e9, "2.5 GB"), (3e15, "3000.00 TB")],
    )
    def test_sizes_in_decimal_units(self, n_bytes: float, text: str):
        assert size(n_bytes) == text

    def test_durations_and_counts(self):
        assert clock(3661.4) == "1:01:01"
        assert grouped(1234567) == "1 234 567"
