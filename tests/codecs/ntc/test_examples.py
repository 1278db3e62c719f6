"""Pieces of images, and what is learned from them: the values that the encoder would choose."""

from __future__ import annotations

import numpy as np
import pytest

from tilepress.codecs.ntc.chunk import price_of
from tilepress.codecs.ntc.examples import cut_crops, draw_examples, values_of
from tilepress.codecs.ntc.layout import (
    LAPPED,
    LAPPED_BANDS,
    NETS,
    QUANTISERS,
    TABLES,
    WAVELET,
    WAVELET_BANDS,
)
from tilepress.codecs.ntc.plane import encode_plane, forward

from .pictures import dependent, image

BANDS = {"lapped": LAPPED_BANDS, "wavelet": WAVELET_BANDS}


class TestCrops:
    def test_single_planes_and_several(self) -> None:
        crops = [c for seed in range(6) for c in cut_crops(image(300, 300, 3), 3, "rgb", seed)]
        assert {len(crop.planes) for crop in crops} == {1, 3}
        assert all(abs(crop.planes.mean()) < 0.5 for crop in crops)
        assert all(crop.planes.shape[1:] == (256, 256) for crop in crops)

    def test_components_come_largest_first(self) -> None:
        crops = [c for seed in range(6) for c in cut_crops(image(300, 300, 3), 3, "rgb", seed)]
        several = [crop.planes for crop in crops if len(crop.planes) == 3]
        assert several
        assert all(planes[0].std() > 2 * planes[1].std() for planes in several)

    def test_small_and_flat_images_give_none(self) -> None:
        assert cut_crops(image(40, 300), 1, "", 0) == []
        assert cut_crops(np.full((1, 100, 100), 3, np.uint8), 1, "", 0) == []


class TestExamples:
    def test_without_a_model_all_are_of_the_first_quantiser(self) -> None:
        found = draw_examples(cut_crops(image(200, 200, 3), 3, "rgb", 0), 5000, 0, None)
        for name in NETS:
            mine = found[name]
            assert len(mine.magnitudes) == len(mine.quantisers) == len(mine.features) >= 5000
            assert mine.magnitudes.any()
            assert not mine.quantisers.any()

    def test_with_one_both_are_seen(self) -> None:
        found = draw_examples(cut_crops(image(200, 200, 3), 3, "rgb", 0), 5000, 0, dependent())
        for name in NETS:
            mine = found[name]
            for quantiser in range(QUANTISERS):
                assert mine.magnitudes[mine.quantisers == quantiser].any()

    @pytest.mark.parametrize("kind", [LAPPED, WAVELET])
    def test_quantisers_are_those_of_the_parities_before(self, kind: int) -> None:
        """Those of eight states (FORMAT.md §15.3), from the first on in every band."""
        after = [(0, 2), (5, 7), (1, 3), (6, 4), (2, 0), (4, 6), (3, 1), (7, 5)]
        plane = image(64, 64)[0].astype(np.float32) - 2000
        forward(kind, plane)
        plane /= 60
        rng = np.random.default_rng(0)
        _, bands, values, quantisers, _ = values_of(kind, plane, None, dependent(), rng)
        state, wanted = 0, []
        for k, value in enumerate(values):
            state = 0 if k and bands[k] != bands[k - 1] else state
            wanted.append(state & 1)
            state = after[state][abs(int(value)) & 1]
        assert quantisers.tolist() == wanted
        assert 0 < np.mean(quantisers) < 1

    @pytest.mark.parametrize("kind", [LAPPED, WAVELET])
    def test_features_are_those_that_the_encoder_saw(self, kind: int) -> None:
        """The net says of them what the encoder wrote down."""
        model = dependent()
        plane = image(64, 64)[0].astype(np.float32) - 2000
        forward(kind, plane)
        plane /= 60
        coded = encode_plane(kind, plane.copy(), None, model, price_of(model))
        rng = np.random.default_rng(0)
        features, bands, values, quantisers, _ = values_of(kind, plane, None, model, rng)
        low = 64 * 64 - len(values)
        count = len(coded.values) - low
        assert np.array_equal(values[:count], coded.values[low:])
        first, name = (0, "lapped") if kind == LAPPED else (BANDS["lapped"], "wavelet")
        mine = np.flatnonzero((bands >= first) & (bands < first + BANDS[name]))
        mine = mine[mine < count]
        tables = model.nets[name].tables(features[mine], bands[mine].astype(np.int64) - first)
        assert np.array_equal(tables + TABLES * quantisers[mine], coded.tables[low:][mine])
