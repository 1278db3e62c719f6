"""Training makes a network that codes what it was trained for, in integers, the same each time."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

from tilepress.codecs.mlp.chunk import Asked, encode_chunk
from tilepress.codecs.mlp.model import MlpModel
from tilepress.codecs.mlp.train import train_mlp
from tilepress.codecs.ntc.examples import cut_crops

from ..ntc.pictures import image


def trained(block: int, units: int, steps: int = 3) -> MlpModel:
    crops = cut_crops(image(120, 120, 3), 1, "a", 0) + cut_crops(image(90, 140, 3), 3, "b", 1)
    said: list[str] = []
    return train_mlp(
        crops, block=block, units=units, steps=steps, draws=6, seed=3, progress=said.append
    )


class TestTraining:
    @pytest.mark.parametrize(("block", "units"), [(4, 16), (8, 20)])
    def test_makes_a_network_that_codes(self, block: int, units: int) -> None:
        model = trained(block, units)
        assert (model.block, model.units) == (block, units)
        assert MlpModel.from_bytes(model.to_bytes()).units == units
        samples = image(64, 64, 1, seed=5)
        coded = encode_chunk(samples, None, 1, 8.0, model, Asked(256, 22))
        assert coded is not None
        assert len(coded[0]) < samples.nbytes / 2

    def test_is_repeatable(self) -> None:
        assert trained(4, 16).to_bytes() == trained(4, 16).to_bytes()

    def test_the_mean_is_no_others_business(self) -> None:
        """The first unit is the mean of a block; no other one has a share of it."""
        sums = np.abs(trained(4, 16).dense.astype(int).sum(axis=0))
        assert sums[0] > 60_000
        assert sums[1:].max() < 20
