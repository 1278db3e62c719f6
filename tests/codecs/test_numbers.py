"""Every number of a store survives JSON that any reader takes."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from tilepress.codecs.numbers import json_number, number_of, shown

TEXTS = [
    (0, "0"), (0.0, "0.0"), (-9999, "-9999"), (0.1, "0.1"), (2**63, "9223372036854775808"),
    (math.nan, '"NaN"'), (math.inf, '"Infinity"'), (-math.inf, '"-Infinity"'),
]  # fmt: skip


class TestANumberIsStrictJson:
    @pytest.mark.parametrize(("number", "text"), TEXTS)
    def test_and_comes_back(self, number: float, text: str) -> None:
        assert json.dumps(json_number(number), allow_nan=False) == text
        back = number_of(json.loads(text))
        assert type(back) is type(number)
        assert back == number or (math.isnan(back) and math.isnan(number))

    def test_numpys_are_numbers_like_any(self) -> None:
        assert json_number(np.float32(np.inf)) == "Infinity"
        assert json_number(np.float64(np.nan)) == "NaN"
        assert type(json_number(np.float64(2.5))) is float
        assert type(json_number(np.int16(-3))) is int

    def test_none_is_no_number_and_stays(self) -> None:
        assert json_number(None) is None

    @pytest.mark.parametrize("text", ["", "nan", "inf", "Inf", "1.5", "infinity"])
    def test_any_other_text_is_refused(self, text: str) -> None:
        with pytest.raises(ValueError, match="reading a number"):
            number_of(text)


class TestWhatAMessageQuotes:
    def test_is_one_short_line(self) -> None:
        long = 10**5000  # more digits than Python spells
        values = [None, "x" * 10**6, "a\nb", "\ud800", long, [long], {"k": [long]}, [0] * 10**5,
                  dict.fromkeys(range(99)), math.nan, b"x" * 999, object]  # fmt: skip
        for value in values:
            text = shown(value)
            assert 0 < len(text) < 120
            assert "\n" not in text
            text.encode()

    def test_of_anything_nested(self) -> None:
        deep: list[object] = []
        for _ in range(100_000):
            deep = [deep]
        assert shown(deep) == "a list"
