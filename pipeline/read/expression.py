"""Formulas over bands, such as ``(nir - red) / (nir + red)``: parsed by a grammar, never by Python.

::

    sum      = product { ("+" | "-") product }
    product  = signed { ("*" | "/") signed }
    signed   = { "+" | "-" } value
    value    = number | band | function "(" sum { "," sum } ")" | "(" sum ")"
    band     = name | quoted name | "[" number from 1 "]"
    function = "sqrt" | "abs" | "min" | "max"

Whoever reaches the server may send one, so that its length, its nesting, its steps and its bands
are bounded, and what it costs is known before a sample is read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tilepress.codecs.numbers import shown
from tilepress.errors import UsageError

__all__ = ["MAX_BANDS", "MAX_DEPTH", "MAX_LENGTH", "MAX_STEPS", "Expression", "parse_expression"]

Samples = npt.NDArray[Any]
Values = npt.NDArray[np.float64]

MAX_LENGTH = 500
"""Characters of a formula."""
MAX_DEPTH = 24
"""Brackets and signs that may lie in each other."""
MAX_STEPS = 200
"""Numbers, bands and operations of a formula."""
MAX_BANDS = 16
"""Bands of a formula that differ."""

_STRIP = 2**18
"""Pixels that are computed at a time: of those, every step may have one array."""

_ONE: dict[str, Any] = {"neg": np.negative, "sqrt": np.sqrt, "abs": np.abs}
_TWO: dict[str, Any] = {
    "+": np.add, "-": np.subtract, "*": np.multiply, "/": np.divide,
    "min": np.minimum, "max": np.maximum,
}  # fmt: skip
_FUNCTIONS = ("sqrt", "abs", "min", "max")

_TOKEN = re.compile(
    r"""\s*(?:(?P<number>(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?)
    |(?P<name>[A-Za-z_][A-Za-z0-9_]*)
    |"(?P<quoted>[^"]{1,200})"
    |\[\s*(?P<place>[0-9]{1,9})\s*\]
    |(?P<sign>[-+*/(),]))""",
    re.VERBOSE | re.ASCII,
)

Step = float | int | str
"""A float is a number, an int the place of a band in ``bands``, a text an operation."""


@dataclass(frozen=True, slots=True)
class Expression:
    """A formula over bands, in reverse Polish notation."""

    text: str
    bands: tuple[int, ...]
    """The bands that it reads, from 0, each once."""
    steps: tuple[Step, ...]

    def values(self, samples: Samples, rescaling: Sequence[tuple[float, float]] = ()) -> Values:
        """Return (y, x) values of (bands, y, x) samples, ordered as ``bands``.

        ``rescaling`` has slope and intercept of each, that make physical values of them. NaN
        stands where there is no value: after a division by zero, the root of a negative number, or
        of a sample that is no number.
        """
        rows, columns = samples.shape[-2:]
        found = np.empty((rows, columns))
        at_once = max(1, _STRIP // max(1, columns))
        for top in range(0, rows, at_once):
            part = samples[:, top : top + at_once].astype(np.float64)
            for plane, (slope, intercept) in zip(part, rescaling, strict=False):
                plane *= slope
                plane += intercept
            found[top : top + at_once] = self._computed(part)
        found[~np.isfinite(found)] = np.nan
        return found

    def _computed(self, planes: Values) -> Values | float:
        stack: list[Any] = []
        with np.errstate(all="ignore"):
            for step in self.steps:
                if isinstance(step, str) and step in _ONE:
                    stack.append(_ONE[step](stack.pop()))
                elif isinstance(step, str):
                    right, left = stack.pop(), stack.pop()
                    stack.append(_TWO[step](left, right))
                elif isinstance(step, int):
                    stack.append(planes[step])
                else:
                    stack.append(np.float64(step))
        (found,) = stack
        return found  # type: ignore[no-any-return]  # an array or one number, as the steps have it


def parse_expression(text: str, called: Callable[[str | int], Sequence[int]]) -> Expression:
    """Return the formula that a text says.

    ``called`` gives the bands, from 0, that a name may mean, or a number from 1 in brackets.
    Raises UsageError for what is no formula, for a band that is not there or may be several, and
    for one that is too long.
    """
    if len(text) > MAX_LENGTH:
        raise UsageError(
            f"drawing: got an expression of {len(text)} characters, want at most {MAX_LENGTH}"
        )
    return _Parser(text, called).expression()


class _Parser:
    def __init__(self, text: str, called: Callable[[str | int], Sequence[int]]) -> None:
        self._text, self._called = text, called
        self._tokens = list(self._found())
        self._at = 0
        self._depth = 0
        self._bands: list[int] = []
        self._steps: list[Step] = []

    def expression(self) -> Expression:
        self._sum()
        kind, token, _ = self._next()
        if kind != "end":
            raise self._wrong(f"an operator before {shown(token)}{self._hint()}")
        if not self._bands:
            raise self._wrong("a band in it")
        return Expression(self._text, tuple(self._bands), tuple(self._steps))

    def _found(self) -> Iterator[tuple[str, str, int]]:
        """Yield kind, text and place of every token, and an end."""
        at = 0
        while self._text[at:].strip():
            token = _TOKEN.match(self._text, at)
            if token is None or token.lastgroup is None:
                character = self._text[at:].lstrip()[0]
                raise self._wrong(f"numbers, bands, + - * / ( ) and not {shown(character)}")
            yield token.lastgroup, token[token.lastgroup], at
            at = token.end()
        yield "end", "the end", at

    def _next(self) -> tuple[str, str, int]:
        return self._tokens[self._at]

    def _take(self, *signs: str) -> str | None:
        """Take one of these signs, where it is the next token."""
        kind, token, _ = self._next()
        if kind != "sign" or token not in signs:
            return None
        self._at += 1
        return token

    def _sum(self) -> None:
        self._product()
        while sign := self._take("+", "-"):
            self._product()
            self._step(sign)

    def _product(self) -> None:
        self._signed()
        while sign := self._take("*", "/"):
            self._signed()
            self._step(sign)

    def _signed(self) -> None:
        negative = False
        while sign := self._take("+", "-"):
            negative ^= sign == "-"
        self._value()
        if negative:
            self._step("neg")

    def _value(self) -> None:
        kind, token, _ = self._next()
        if self._take("("):
            self._nested()
            self._close()
            return
        if kind in ("end", "sign"):
            raise self._wrong(f"a number or a band before {shown(token)}")
        self._at += 1
        if kind == "number":
            self._step(float(token))
        elif kind == "name" and token in _FUNCTIONS and self._take("("):
            self._function(token)
        else:
            self._band(int(token) if kind == "place" else token)

    def _function(self, name: str) -> None:
        self._nested()
        count = 1
        while self._take(","):
            self._nested()
            self._step(name)
            count += 1
        self._close()
        if name in _ONE and count == 1:
            self._step(name)
        elif (name in _ONE) or count == 1:
            raise self._wrong(f"{name} of {'one value' if name in _ONE else 'two values or more'}")

    def _nested(self) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise self._wrong(f"at most {MAX_DEPTH} brackets in each other")
        self._sum()
        self._depth -= 1

    def _close(self) -> None:
        if not self._take(")"):
            raise self._wrong(f'a ")" before {shown(self._next()[1])}{self._hint()}')

    def _hint(self) -> str:
        """Say what may be wrong where a value follows a value: "+" in an address is a blank."""
        kind, text, _ = self._next()
        value = kind not in ("end", "sign") or text == "("
        return "; an address has %2B for +" if value else ""

    def _band(self, name: str | int) -> None:
        found = self._called(name)
        if len(found) != 1:
            wanted = shown(name) if isinstance(name, str) else f"[{name}]"
            if not found:
                raise self._wrong(f"bands of the image, not {wanted}")
            any_of = ", ".join(f"[{n + 1}]" for n in found[:8])
            raise self._wrong(f"one band; {wanted} may be any of {any_of}")
        band = found[0]
        if band not in self._bands:
            if len(self._bands) == MAX_BANDS:
                raise self._wrong(f"at most {MAX_BANDS} bands")
            self._bands.append(band)
        self._step(self._bands.index(band))

    def _step(self, step: Step) -> None:
        if isinstance(step, float) and not np.isfinite(step):
            raise self._wrong("finite numbers")
        if len(self._steps) == MAX_STEPS:
            raise self._wrong(f"at most {MAX_STEPS} numbers, bands and operations")
        self._steps.append(step)

    def _wrong(self, wanted: str) -> UsageError:
        return UsageError(f"drawing: got expression {shown(self._text)}, want {wanted}")
