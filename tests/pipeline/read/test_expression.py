"""Formulas mean what they say, and what a stranger sends is bounded."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tilepress.errors import UsageError
from tilepress.pipeline.read import expression as room
from tilepress.pipeline.read.expression import MAX_LENGTH, Expression, parse_expression

NAMES = ("red", "nir", "blue", "Near Infrared")


def _called(name: str | int) -> Sequence[int]:
    if isinstance(name, int):
        return [name - 1] if 1 <= name <= len(NAMES) else []
    return [n for n, one in enumerate(NAMES) if one == name]


def _parsed(text: str) -> Expression:
    return parse_expression(text, _called)


def _value(text: str, **bands: float) -> float:
    expression = _parsed(text)
    samples = np.array([[[bands[NAMES[band].split()[0]]]] for band in expression.bands])
    return float(expression.values(samples)[0, 0])


class TestFormulas:
    @pytest.mark.parametrize(
        ("text", "value"),
        [
            ("(nir - red) / (nir + red)", 0.6),
            ("2.5*(nir-red)/(nir+6*red-7.5*blue+1)", 2.5 * 6 / (8 + 12 - 3.75 + 1)),
            ("nir-red-1", 5),
            ("nir/red/2", 2),
            ("nir - -red", 10),
            ("-nir*red", -16),
            ("--+-nir", -8),
            ("2*nir+3*red", 22),
            ("nir/red*2", 8),
            ("sqrt(red*nir)", 4),
            ("abs(red-nir)", 6),
            ("min(nir, red, 3)", 2),
            ("max(red, nir)+min(red,nir)", 10),
            ("[2]", 8),
            ("[ 1 ]*1e1", 20),
            ('"Near Infrared" + .5', 9.5),
            ("1.5e-1 * red", 0.3),
            ("(((nir)))", 8),
        ],
    )
    def test_mean_what_they_say(self, text: str, value: float) -> None:
        assert _value(text, red=2, nir=8, blue=0.5, Near=9) == pytest.approx(value, rel=1e-12)

    def test_read_each_band_once(self) -> None:
        assert _parsed("nir*nir + red*nir").bands == (1, 0)

    @pytest.mark.parametrize("text", ["red/nir", "sqrt(nir-1)", "1e30*1e30*1e300*red*1e300*1e300"])
    def test_have_no_value_where_there_is_none(self, text: str) -> None:
        assert np.isnan(_value(text, red=1, nir=0))

    def test_are_of_physical_values(self) -> None:
        samples = np.array([[[10, 20]], [[3, 5]]], np.uint16)
        values = _parsed("red - nir").values(samples, ((0.5, 1), (2, -1)))
        assert values.tolist() == [[1, 2]]
        assert samples.tolist() == [[[10, 20]], [[3, 5]]], "samples are the caller's"

    def test_are_computed_strip_by_strip(self, monkeypatch: pytest.MonkeyPatch) -> None:
        samples = np.random.default_rng(3).random((2, 37, 11))
        whole = _parsed("red/(nir+1)").values(samples)
        monkeypatch.setattr(room, "_STRIP", 50)
        np.testing.assert_array_equal(_parsed("red/(nir+1)").values(samples), whole)

    @given(st.recursive(
        st.sampled_from(["red", "nir", "3", "0.25"]),
        lambda inner: st.builds("({}{}{})".format, inner, st.sampled_from("+-*/"), inner)
        | st.builds("(-{})".format, inner),
        max_leaves=12,
    ))  # fmt: skip
    def test_agree_with_python(self, text: str) -> None:
        names: dict[str, Any] = {"red": np.float64(2), "nir": np.float64(7)}
        with np.errstate(all="ignore"):
            want = eval(compile(ast.parse(text, mode="eval"), "formula", "eval"), {}, names)
        if "red" not in text and "nir" not in text:
            with pytest.raises(UsageError, match="want a band in it"):
                _parsed(text)
        else:
            found = _value(text, red=2, nir=7)
            assert found == pytest.approx(float(want)) or not np.isfinite(want)


class TestWhatIsRefused:
    @pytest.mark.parametrize(
        ("text", "told"),
        [
            ("", "a number or a band before 'the end'"),
            ("1+2", "a band in it"),
            ("nir red", "an operator before 'red'; an address has %2B for +"),
            ("1/(nir 6*red)", "a \")\" before '6'; an address has %2B for +"),
            ("max(nir red)", "a \")\" before 'red'; an address has %2B for +"),
            ("nir (red)", "an operator before '('; an address has %2B for +"),
            ("(nir", "a \")\" before 'the end'"),
            ("nir)", "an operator before ')'"),
            ("nir+", "before 'the end'"),
            ("nir**2", "a number or a band before '*'"),
            ("green", "bands of the image, not 'green'"),
            ("[0]", "bands of the image, not [0]"),
            ("[99999]", "bands of the image"),
            ("sqrt(nir, red)", "sqrt of one value"),
            ("min(nir)", "min of two values or more"),
            ("sqrt", "bands of the image, not 'sqrt'"),
            ("nir.real", "not '.'"),
            ("nir if red else 1", "an operator"),
            ("__import__('os')", 'not "\'"'),
            ("nir;red", "not ';'"),
            ("nir\n+\x00red", r"not '\x00'"),
            ("níre", "not 'í'"),
            ("1e999*nir", "finite numbers"),
            ("(" * 30 + "nir" + ")" * 30, "brackets in each other"),
            ("+".join(["nir"] * 120), "numbers, bands and operations"),
            ("lambda: nir", "not ':'"),
        ],
    )
    def test_says_what_is_wanted_in_one_short_line(self, text: str, told: str) -> None:
        with pytest.raises(UsageError) as caught:
            _parsed(text)
        assert told in str(caught.value)
        assert "\n" not in str(caught.value)
        assert str(caught.value).isprintable()
        assert len(str(caught.value)) < 250

    def test_too_long(self) -> None:
        with pytest.raises(UsageError, match="at most 500"):
            _parsed("nir " * MAX_LENGTH)

    def test_too_many_bands(self) -> None:
        text = "+".join(f"[{n}]" for n in range(1, 30))
        with pytest.raises(UsageError, match="at most 16 bands"):
            parse_expression(text, lambda name: [int(name) - 1])

    def test_a_name_of_several(self) -> None:
        with pytest.raises(UsageError, match=r"'b4' may be any of \[3\], \[7\]"):
            parse_expression("b4", lambda _: [2, 6])

    @given(st.text(alphabet='()+-*/,.[]"019eE nirabsqtmx_\n\\é', max_size=60))
    def test_any_text_is_a_formula_or_refused(self, text: str) -> None:
        refused = ""
        try:
            expression = _parsed(text)
            expression.values(np.zeros((len(expression.bands), 2, 2)))
        except UsageError as error:
            refused = str(error)
        assert "\n" not in refused
