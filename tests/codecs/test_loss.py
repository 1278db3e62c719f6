"""What coding may change of samples is said and compared in one place."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

from tilepress.codecs.difference import Difference, present_samples, same_bits
from tilepress.codecs.loss import (
    AtLeast,
    AtMost,
    Loss,
    Lossless,
    Quality,
    Within,
    bounded,
    stated_loss,
)
from tilepress.errors import CodecError

LOSSES: list[Loss] = [
    Lossless(), Within(2), Within(0.25), Quality(80), AtLeast(45, 255), AtMost(0.5),
]  # fmt: skip
INTEGERS = ["uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64"]
FLOATS = ["float16", "float32", "float64"]


def allows(
    loss: Loss, given: np.ndarray, decoded: np.ndarray, nodata: float | None = None
) -> Difference | None:
    """Return the difference that a loss allows; both questions must have the same answer."""
    wrong = loss.forbidden(given, decoded, nodata)
    assert wrong.shape == given.shape
    try:
        difference = loss.check(given, decoded, nodata)
    except CodecError:
        assert wrong.any()
        return None
    assert not wrong.any()
    return difference


class TestWordsThatUsersKnow:
    @pytest.mark.parametrize(
        ("loss", "text", "kind", "bound", "promise"),
        [
            (Lossless(), "lossless", "lossless", "0", "each stored value as in the source"),
            (
                Within(2.0), "max error 2", "near-lossless", "2",
                "each stored value within 2 of the source",
            ),
            (
                Within(0.25), "max error 0.25", "near-lossless", "0.25",
                "each stored value within 0.25 of the source",
            ),
            (
                Quality(80), "quality 80", "lossy", "none",
                "no bound on any stored value, quality 80",
            ),
            (
                AtLeast(45), "PSNR at least 45 dB", "lossy", "none",
                "no bound on any stored value, PSNR at least 45 dB",
            ),
            (
                AtMost(0.5), "at most 0.5 bits per sample", "lossy", "none",
                "no bound on any stored value, at most 0.5 bits per sample",
            ),
        ],
    )  # fmt: skip
    def test_texts(self, loss: Loss, text: str, kind: str, bound: str, promise: str) -> None:
        assert (str(loss), loss.kind, loss.bound, loss.promise) == (text, kind, bound, promise)

    @pytest.mark.parametrize(
        ("loss", "dtype", "reason"),
        [
            (Within(1), "bool", "near-lossless coding of bool makes no sense"),
            (Within(0.5), "uint16", "max_error 0.5 is no integer, the samples are"),
            (Within(128), "uint8", "max_error 128 exceeds the range of uint8"),
            (Quality(80), "bool", "lossy coding of bool makes no sense; code it without quality"),
            (Within(127), "uint8", None),
            (Within(0.5), "float32", None),
            (Lossless(), "bool", None),
            (Quality(80), "uint8", None),
        ],
    )
    def test_why_not(self, loss: Loss, dtype: str, reason: str | None) -> None:
        assert loss.refusal(np.dtype(dtype)) == reason


class TestAStatementComesBack:
    @pytest.mark.parametrize("loss", LOSSES)
    def test_as_json(self, loss: Loss) -> None:
        statement = json.loads(json.dumps(loss.statement()))
        assert stated_loss(statement) == loss
        assert statement["lossless"] is loss.is_lossless

    def test_only_what_loses_nothing_is_said_to_be_lossless(self) -> None:
        assert [loss.is_lossless for loss in LOSSES] == [True, *[False] * 5]

    @pytest.mark.parametrize(("zero", "text"), [(0, "0"), (0.0, "0.0")])
    def test_zero_stays_as_it_was_written(self, zero: float, text: str) -> None:
        loss = bounded(zero)
        assert loss == Lossless()
        assert json.dumps(loss.statement()) == f'{{"lossless": true, "max_error": {text}}}'

    def test_numbers_are_read_as_floats(self) -> None:
        """Where one number is told twice, by two programs, it is the same text."""
        assert repr(stated_loss({"max_error": 2}).max_error) == "2.0"

    def test_a_bound_above_zero_is_near_lossless(self) -> None:
        assert bounded(2) == Within(2.0)
        assert bounded(2) != bounded(3)


class TestLosslessIsToTheBit:
    @pytest.mark.parametrize("dtype", ["bool", *INTEGERS, *FLOATS])
    def test_every_dtype(self, dtype: str) -> None:
        given = (np.arange(24).reshape(2, 3, 4) % 2).astype(dtype)
        other = given.copy()
        other[1, 2, 3] = 1 - other[1, 2, 3]
        assert allows(Lossless(), given, given.copy()) == Difference()
        assert allows(Lossless(), given, other) is None
        assert np.argwhere(Lossless().forbidden(given, other)).tolist() == [[1, 2, 3]]

    def test_minus_zero_and_payloads_of_nan(self) -> None:
        given = np.array([0.0, np.nan], np.float32)
        zero, payload = given.copy(), given.copy()
        zero[0] = -0.0
        payload.view(np.uint32)[1] ^= 1
        assert allows(Lossless(), given, zero) is None
        assert allows(Lossless(), given, payload) is None
        assert allows(Within(1.0), given, zero) == Difference()
        assert allows(Within(1.0), given, payload) == Difference()

    def test_in_any_order_of_memory(self) -> None:
        given = np.arange(12, dtype=np.uint16).reshape(3, 4)
        assert same_bits(given, np.asfortranarray(given))
        assert allows(Lossless(), np.asfortranarray(given), given) == Difference()
        with pytest.raises(CodecError, match="did not give back the same samples"):
            Lossless().check(given, given + np.uint16(1))


class TestNearLosslessHoldsItsBound:
    @pytest.mark.parametrize("dtype", INTEGERS)
    def test_integers_without_overflow(self, dtype: str) -> None:
        limits = np.iinfo(dtype)
        given = np.array([limits.min, limits.max, 5, 6], dtype)
        near = np.array([limits.min + 2, limits.max - 2, 4, 6], dtype)
        assert allows(Within(2), given, near) == Difference(2.0, 9.0)
        assert allows(Within(1), given, near) is None
        assert Within(1).forbidden(given, near).tolist() == [True, True, False, False]
        assert allows(Within(100), given, given[[1, 0, 2, 3]]) is None

    @pytest.mark.parametrize("dtype", FLOATS)
    def test_floats(self, dtype: str) -> None:
        given = np.array([1.0, -2.0, np.inf, -np.inf, np.nan], dtype)
        near = np.array([1.5, -2.0, np.inf, -np.inf, np.nan], dtype)
        assert allows(Within(0.5), given, near) == Difference(0.5, 0.25)
        assert allows(Within(0.25), given, near) is None
        for index, sample in ((0, np.inf), (2, 1e4), (2, -np.inf), (3, np.inf)):
            other = near.copy()
            other[index] = sample
            assert allows(Within(9), given, other) is None
            assert allows(Quality(9), given, other) is not None

    def test_the_message_tells_by_how_much(self) -> None:
        given = np.array([10, 20], np.uint8)
        with pytest.raises(CodecError, match=r"off by 3, more than max error 2$"):
            Within(2).check(given, given + np.array([3, 0], np.uint8))


NODATA: list[tuple[str, Any]] = [
    ("uint8", 255), ("int16", -9999), ("int16", -9999.0), ("uint64", 2**64 - 1),
    ("float32", -9999), ("float32", math.nan), ("float32", math.inf), ("float64", -math.inf),
    ("float32", -1.7976931348623157e308), ("float32", 0.1), ("float16", math.inf),
]  # fmt: skip


@pytest.mark.parametrize(("dtype", "nodata"), NODATA)
@pytest.mark.parametrize("loss", [Within(3), Quality(80)])
class TestNodataIsNeitherMadeNorUnmade:
    def _image(self, dtype: str, nodata: Any) -> np.ndarray:
        with np.errstate(over="ignore"):
            return np.array([1, 2, 3, nodata], np.dtype(dtype))

    def test_what_stays_is_allowed(self, loss: Loss, dtype: str, nodata: Any) -> None:
        given = self._image(dtype, nodata)
        near = given.copy()
        near[0] += 2
        assert allows(loss, given, near, nodata) == Difference(2.0, 4.0)

    def test_what_changes_is_not(self, loss: Loss, dtype: str, nodata: Any) -> None:
        given = self._image(dtype, nodata)
        made, unmade = given.copy(), given.copy()
        made[1], unmade[3] = given[3], given[0]
        for other, where in ((made, 1), (unmade, 3)):
            with pytest.raises(CodecError, match="made or unmade nodata"):
                loss.check(given, other, nodata)
            assert np.flatnonzero(loss.forbidden(given, other, nodata)).tolist() == [where]


class TestNanIsNotNodata:
    def test_one_may_not_become_the_other(self) -> None:
        given = np.array([np.nan, -9999.0], np.float32)
        assert allows(Within(3), given, given.copy(), -9999) == Difference()
        assert allows(Within(3), given, given[::-1].copy(), -9999) is None

    def test_nodata_that_no_sample_can_have(self) -> None:
        given = np.array([1, 2], np.uint8)
        for nodata in (-1, 256, 0.5, math.inf, math.nan):
            assert allows(Within(3), given, given + np.uint8(1), nodata) == Difference(1.0, 2.0)


class TestFiguresOfParts:
    def test_total_is_the_same_in_any_order(self) -> None:
        parts = [Difference(1.0, 0.1), Difference(3.0, 1e16), Difference(2.0, 0.2)]
        assert Difference.total(parts) == Difference.total(parts[::-1])
        assert Difference.total(parts).worst == 3.0
        assert Difference.total([]) == Difference()
        assert parts[0] + parts[2] == Difference.total([parts[0], parts[2]])

    def test_quality_is_measured(self) -> None:
        """A lossy codec without a bound is told by its signal-to-noise ratio."""
        rng = np.random.default_rng(0)
        given = rng.integers(0, 256, (64, 64)).astype(np.uint8)
        decoded = (given // 16 * 16 + 8).astype(np.uint8)
        difference = Quality(10).check(given, decoded)
        mean = np.square(given.astype(float) - decoded).mean()
        assert difference.worst == 8
        assert difference.psnr_db(given.size, 255) == pytest.approx(
            10 * math.log10(255**2 / mean), abs=1e-9
        )
        assert Difference().psnr_db(given.size, 255) is None


class TestWhatErrorsAreMeasuredOf:
    def test_neither_nodata_nor_what_is_no_number(self) -> None:
        samples = np.array([1.0, np.nan, np.inf, -np.inf, 7.0, -0.0], np.float32)
        assert present_samples(samples, 7).tolist() == [True, False, False, False, False, True]
        assert present_samples(np.array([0, 7], np.uint8), None).all()
