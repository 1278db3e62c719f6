"""A weights file of ``mlp`` is checked before it is used, and its encoder undoes its decoder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest

from tilepress.codecs.mlp.codec import parse_model
from tilepress.codecs.mlp.layout import MATRIX_UNIT
from tilepress.codecs.mlp.model import ANALYSIS_BITS, MlpModel
from tilepress.codecs.mlp.network import analysis, blocks_of, padded, plane_of, synthesis
from tilepress.codecs.weights import INLINE_LIMIT_BYTES, load_named
from tilepress.errors import ModelError

NAMES = ("mlp-1-4", "mlp-1", "mlp-1-16", "mlp-2-16")


@pytest.fixture(params=NAMES)
def model(request) -> MlpModel:
    return parse_model(load_named(request.param).data)


class TestTheBundledNetworks:
    def test_come_back_from_their_bytes(self, model: MlpModel) -> None:
        again = MlpModel.from_bytes(model.to_bytes())
        for field in fields(model):
            assert np.array_equal(getattr(again, field.name), getattr(model, field.name))

    def test_the_usual_one_could_travel_inline(self) -> None:
        assert len(load_named("mlp-1").data) <= INLINE_LIMIT_BYTES

    def test_sums_are_exact(self, model: MlpModel) -> None:
        """The largest values that records have stay below 2^53 on the way."""
        values = np.full((model.units, 1), 2.0**22)
        signs = np.sign(model.dense.astype(np.float64))
        for row in signs:
            assert np.abs(synthesis(values * row[:, None], model)).max() < 2.0**53
        assert np.abs(model.analysis).sum(axis=1).max() * 2**20 < 2.0**53

    def test_the_encoder_undoes_the_decoder(self, model: MlpModel) -> None:
        product = model.analysis @ model.dense.astype(np.float64) / MATRIX_UNIT
        off = np.abs(product / 2**ANALYSIS_BITS - np.eye(model.units))
        assert off.max() < 1e-4

    def test_fine_steps_lose_little(self, model: MlpModel) -> None:
        """Where all units are coded, what is left is the rounding of samples."""
        rng = np.random.default_rng(0)
        plane = np.cumsum(rng.normal(0, 30, (32, 48)), axis=1)
        blocks = blocks_of(plane, model.block)
        values = np.rint(analysis(blocks, model, model.units) / 0.01)
        back = synthesis(values, model) * (0.01 / MATRIX_UNIT)
        if model.units == model.block**2:
            assert np.abs(back - blocks).max() < 0.1


class TestBlocks:
    @pytest.mark.parametrize("block", [4, 8, 16])
    def test_come_back(self, block: int) -> None:
        plane = np.arange(35 * 50.0).reshape(35, 50)
        whole = padded(plane, block)
        assert all(side % block == 0 for side in whole.shape)
        again = plane_of(blocks_of(whole, block), block, whole.shape[1] // block)
        assert np.array_equal(again[:35, :50], plane)


class TestWeightsThatAreRefused:
    @pytest.mark.parametrize(
        ("change", "words"),
        [
            (lambda m: {"dense": m.dense[:5]}, "rows of a block"),
            (lambda m: {"dense": m.dense.astype(np.int32)}, "dense is int32"),
            (lambda m: {"dense": np.repeat(m.dense[:, :1], m.units, 1)}, "sum"),
            (lambda m: {"dense": m.dense * 0}, "sum"),
            (lambda m: {"first": m.first[:, :3]}, "first is"),
            (lambda m: {"weights": m.weights - 1}, "below 0"),
            (lambda m: {"parents": m.parents + 1}, "does not come before"),
            (lambda m: {"parents": m.parents - 2}, "does not come before"),
            (lambda m: {"classes": m.classes + np.uint8(80)}, "has no table"),
            (lambda m: {"frequencies": m.frequencies + np.uint16(1)}, "sum"),
        ],
    )
    def test_by_name(self, change: Callable[[MlpModel], dict[str, Any]], words: str) -> None:
        model = parse_model(load_named("mlp-1").data)
        with pytest.raises(ModelError, match=words):
            replace(model, **change(model))

    def test_files_of_others(self) -> None:
        for data in (load_named("ntc-1").data, load_named("wave-3").data, b"", b"nothing"):
            with pytest.raises(ModelError, match="loading a model"):
                MlpModel.from_bytes(data)
