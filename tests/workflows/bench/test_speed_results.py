"""Speeds of one machine: only rounds compare, and a table shows what was measured."""

from __future__ import annotations

import pytest

from tilepress.workflows.bench.speed_results import SpeedResult, SpeedRow


def row(codec: str, encode_s: tuple[float, ...], decode_s: tuple[float, ...]) -> SpeedRow:
    return SpeedRow(
        kind="16-bit grey",
        codec=codec,
        encode_setting="tiles",
        decode_setting="tiles",
        raw_bytes=6_000_000,
        samples=3_000_000,
        coded_bytes=1_000_000,
        first_s=0.0,
        encode_s=encode_s,
        decode_s=decode_s,
        encode_cpu_s=encode_s,
        decode_cpu_s=decode_s,
    )


class TestRatiosArePaired:
    """A machine that is busy in one round slows both: only rounds compare."""

    def test_the_median_of_the_rounds(self):
        a = row("a", (1.0, 10.0, 2.0), (1.0, 1.0, 1.0))
        b = row("b", (2.0, 20.0, 8.0), (0.5, 0.5, 3.0))
        assert a.ratios(b) == (2.0, 0.5)

    def test_megabytes_are_of_decoded_samples(self):
        assert row("a", (1.0, 2.0, 3.0), (6.0, 6.0, 6.0)).encode_mb_s == pytest.approx(3)


class TestTheTable:
    """A codec that was not timed has no column of ratios."""

    def test_columns_of_the_references_that_are_there(self):
        second = (1.0, 1.0, 1.0)
        rows = [row("tilepress", (2.0, 2.0, 2.0), second), row("jpegxl e3", second, second)]
        result = SpeedResult(threads=2, rounds=3, load_before=0.5, rows=rows)
        (table,) = result.figures()
        assert table.columns.count("× jpegxl e3") == 2
        assert "× jpegxl e7" not in table.columns
        assert table.rows[0][:5] == ("16-bit grey", "tilepress", "6.0", "2.667", "3.0")
        assert [cells[6] for cells in table.rows] == ["0.50", "1.00"]

    def test_time_by_function_is_a_table_of_its_own(self):
        result = SpeedResult(threads=1, rounds=3, load_before=0.0)
        result.stages = {"tilepress, grey": {"encode": {"a": 3.0, "b": 1.0}, "decode": {}}}
        assert result.figures()[1].rows == [("tilepress, grey", "a 75 %, b 25 %", "")]
