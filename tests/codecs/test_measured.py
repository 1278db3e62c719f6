"""What lossy coding did is measured once, and adds up in any order."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tilepress.codecs.measured import Measured, Tiles

RNG = np.random.default_rng(4)
GIVEN = RNG.integers(0, 4000, (3, 40, 50)).astype(np.uint16)
DECODED = (GIVEN + RNG.integers(-9, 12, GIVEN.shape)).clip(0, 4000).astype(np.uint16)
PRESENT = RNG.random(GIVEN.shape) > 0.2


class TestWhatIsMeasured:
    found = Measured.of(GIVEN, DECODED, PRESENT, 0)
    error = DECODED.astype(float) - GIVEN

    def test_bias_of_each_band(self) -> None:
        for band in range(3):
            mean = self.error[band][PRESENT[band]].mean()
            assert self.found.bias[band] == pytest.approx(mean)
        assert self.found.present == np.count_nonzero(PRESENT)

    @pytest.mark.parametrize("share", [0.5, 0.9, 0.999])
    def test_what_most_errors_are_below(self, share: float) -> None:
        sizes = np.abs(self.error[PRESENT])
        bound = self.found.below(share)
        assert np.mean(sizes <= bound) >= share
        assert bound <= np.quantile(sizes, share, method="inverted_cdf") * 2 ** (1 / 16) + 1e-9

    def test_without_bands_it_is_one(self) -> None:
        whole = Measured.of(GIVEN, DECODED, PRESENT, None)
        assert whole.bias == [pytest.approx(self.error[PRESENT].mean())]

    def test_nothing_differs(self) -> None:
        same = Measured.of(GIVEN, GIVEN, PRESENT, 0)
        assert (same.bias, same.below(0.999), same.classes) == ([0.0] * 3, 0.0, {})

    def test_nan_and_infinity_do_not_count(self) -> None:
        given = np.array([[1.0, np.nan, np.inf]], np.float32)
        there = ~np.isnan(given)
        found = Measured.of(given, np.array([[1.5, np.nan, np.inf]], np.float32), there, None)
        assert (found.sums, found.counts) == ((0.5,), (2,))


class TestPartsAddUp:
    def test_to_the_whole(self) -> None:
        whole = Measured.of(GIVEN, DECODED, PRESENT, 0)
        parts = [
            (band, Measured.of(GIVEN[band : band + 1], DECODED[band : band + 1],
                               PRESENT[band : band + 1], 0))
            for band in range(3)
        ]  # fmt: skip
        assert Measured.total(parts, 3) == whole
        assert Measured.total(parts[::-1], 3) == whole

    def test_as_json(self) -> None:
        whole = Measured.of(GIVEN, DECODED, PRESENT, 0)
        assert Measured.from_json(json.loads(json.dumps(whole.to_json()))) == whole

    def test_tiles_are_counted_by_their_error(self) -> None:
        marks = np.ones((4, 4), bool)
        given = np.zeros((4, 4))
        tiles = [
            Measured.of(given, given + error, marks, None).as_tile(16.0 * error**2)
            for error in (0.0, 1.0, 1.0, 4.0)
        ]
        nothing = Measured.of(given, given, ~marks, None).as_tile(0.0)
        total = Measured.total([(0, one) for one in [*tiles, nothing]], 1)
        assert total.tiles == Tiles(1, {0: 2, 32: 1})
        assert total.tiles.count == 4
        told = total.tiles.by_psnr_db(255.0)
        assert list(told.values()) == [1, 2]
        for least, error in zip(told, (4.0, 1.0), strict=True):
            assert least <= 20 * np.log10(255 / error) < least + 0.5
        assert Measured.from_json(json.loads(json.dumps(total.to_json()))) == total

    def test_tiles_of_some_parts_alone_are_none(self) -> None:
        """Shards of an earlier version, whose run was stopped, tell nothing of them."""
        one = Measured((4,), (0.0,), {})
        assert Measured.total([(0, one), (0, one.as_tile(1.0))], 1).tiles is None
