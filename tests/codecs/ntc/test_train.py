"""Training makes a model that codes what it was trained on better than it did before."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from tilepress.codecs.ntc.chunk import encode_chunk  # noqa: E402
from tilepress.codecs.ntc.examples import cut_crops  # noqa: E402
from tilepress.codecs.ntc.layout import FEATURES, TABLE_BITS, TABLES, TOKENS  # noqa: E402
from tilepress.codecs.ntc.model import NtcModel  # noqa: E402
from tilepress.codecs.ntc.train import (  # noqa: E402
    _BANDS,
    _FloatNet,
    _frequencies,
    _laplace_bits,
    _prior,
    train_ntc,
)

from .pictures import bundled, image  # noqa: E402


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


class TestTables:
    def test_sum_up_and_have_an_escape(self) -> None:
        frequencies = _frequencies(np.zeros((TABLES, TOKENS)))
        assert (frequencies.astype(int).sum(axis=1) == 1 << TABLE_BITS).all()
        assert (np.count_nonzero(frequencies, axis=1) >= 2).all()

    def test_counts_move_them(self) -> None:
        counts = np.zeros((TABLES, TOKENS))
        counts[30, 2] = 1e6
        plain, moved = _frequencies(counts * 0), _frequencies(counts)
        assert moved[30, 2] > 30_000 > plain[30, 2]
        assert np.array_equal(moved[31], plain[31])

    def test_the_prior_is_the_density_that_the_net_is_trained_on(self) -> None:
        table, scale = 35, 2.0 ** ((35 - 25) / 5)
        bits = _laplace_bits(torch.arange(16.0), torch.full((16,), float(np.log2(scale))))
        wanted = np.exp2(-bits.numpy()) * np.where(np.arange(16) > 0, 2, 1)
        assert _prior()[table, :16] == pytest.approx(wanted, rel=1e-3)


@pytest.mark.slow
class TestTraining:
    def test_learns(self) -> None:
        crops = [c for s in range(4) for c in cut_crops(image(300, 300, 2, seed=s), 1, "a", s)]
        lines: list[str] = []
        made = [
            train_ntc(crops, steps=steps, examples=40_000, seed=0, progress=lines.append)
            for steps in (1, 400)
        ]
        assert any("by integers" in line for line in lines)
        samples = image(256, 256, 2, seed=9)
        sizes = []
        for model in made:
            again = NtcModel.from_bytes(model.to_bytes())
            coded = encode_chunk(samples, None, 1, 12.0, again)
            assert coded is not None
            sizes.append(len(coded[0]))
        assert sizes[1] < 0.97 * sizes[0]


class TestGoingOn:
    def test_begins_with_the_model_itself(self) -> None:
        """Its integers as floats choose the same tables, but for roundings and what is cut."""
        rng = np.random.default_rng(0)
        for name, whole in bundled().nets.items():
            net = _FloatNet(_BANDS[name], 5)
            net.take(whole)
            rows = rng.integers(0, 2 * _BANDS[name], 20_000)
            features = rng.integers(0, 80, (20_000, FEATURES)).astype(np.int16)
            scale = net(torch.from_numpy(features).float() / 16, torch.from_numpy(rows))
            found = np.clip(np.floor(scale.detach().numpy() * 5 + 25.5), 0, TABLES - 1)
            off = np.abs(found - whole.tables(features, rows))
            assert np.mean(off <= 1) > 0.99
            assert np.mean(off == 0) > 0.9

    def test_is_one_round_less(self) -> None:
        crops = [c for seed in range(4) for c in cut_crops(image(200, 200, 3), 3, "rgb", seed)]
        told: list[str] = []
        train_ntc(crops, steps=5, examples=20_000, seed=0, progress=told.append, start=bundled())
        assert [line.split(":")[0] for line in told if line.startswith("round")] == [
            f"round {turn}, {name}" for turn in (1, 2) for name in ("lapped", "wavelet")
        ]
