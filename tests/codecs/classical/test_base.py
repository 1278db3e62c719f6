"""Established codecs: a size is told of samples that came back only."""

from __future__ import annotations

import imagecodecs
import numpy as np
import pytest

from tilepress.codecs.classical import ANCHORS, anchor
from tilepress.codecs.classical.base import verified

from ...helpers.samples import smooth_planes as smooth


class TestWhatIsNotTheSameHasNoSize:
    """imagecodecs takes some dtypes and drops their low bits."""

    def test_a_codec_that_loses_bits_has_no_size(self):
        measure = verified(lambda samples: b"x", lambda data: np.zeros((4, 4), np.uint8))
        assert measure(np.ones((4, 4), np.uint8)) is None
        assert measure(np.zeros((4, 4), np.uint8)) == 1

    @pytest.mark.parametrize("codec", ["jpegls", "lerc"])
    def test_a_codec_that_goes_further_has_no_size(self, codec: str, monkeypatch):
        """Handed a decoder that is off by more, the codec's own near mode must not count."""
        plane = smooth("u2")[0]
        settings = anchor(codec).bounded(2)
        assert all(measure(plane) for measure in settings.values())
        real = getattr(imagecodecs, f"{codec}_decode")
        monkeypatch.setattr(imagecodecs, f"{codec}_decode", lambda data: real(data) + 3)
        settings = anchor(codec).bounded(2)
        assert [measure(plane) for measure in settings.values()] == [None] * len(settings)

    def test_nan_may_not_appear_or_vanish(self):
        plane = np.array([[1.0, np.nan]], np.float32)

        def size(back: np.ndarray, max_error: float) -> int | None:
            return verified(lambda samples: b"x", lambda data: back, max_error)(plane)

        assert size(plane + np.float32(0.5), 0.5) == 1
        assert size(np.array([[1.0, 2.0]], np.float32), 9) is None
        assert size(np.array([[np.nan, np.nan]], np.float32), 9) is None


class TestRegistry:
    """Every name leads to a codec; its settings for speeds begin with that name."""

    @pytest.mark.parametrize("name", ANCHORS)
    def test_each_has_settings(self, name: str):
        found = anchor(name)
        assert found.plane or found.rgb
        assert {setting.split()[0] for setting in found.speeds} <= {name}
