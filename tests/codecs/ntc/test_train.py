"""Training makes a model that codes what it was trained on better than it did before."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from tilepress.codecs.ntc.chunk import Analysis, price_of  # noqa: E402
from tilepress.codecs.ntc.examples import cut_crops  # noqa: E402
from tilepress.codecs.ntc.layout import (  # noqa: E402
    FEATURES,
    OFFSETS,
    QUANTISERS,
    TABLE_BITS,
    TABLES,
    TOKENS,
)
from tilepress.codecs.ntc.model import NtcModel  # noqa: E402
from tilepress.codecs.ntc.plane import CodedPlane  # noqa: E402
from tilepress.codecs.ntc.train import (  # noqa: E402
    _BANDS,
    _count,
    _FloatNet,
    _frequencies,
    _laplace_bits,
    _prior,
    train_ntc,
)

from .pictures import bundled, dependent, image  # noqa: E402

ROWS = QUANTISERS * TABLES


class TestTables:
    def test_sum_up_and_have_an_escape(self) -> None:
        frequencies = _frequencies(np.zeros((ROWS, TOKENS)))
        assert frequencies.shape == (ROWS, TOKENS + 1)
        assert (frequencies.astype(int).sum(axis=1) == 1 << TABLE_BITS).all()
        assert (np.count_nonzero(frequencies, axis=1) >= 2).all()

    def test_counts_move_them(self) -> None:
        counts = np.zeros((ROWS, TOKENS))
        counts[30, 2] = 1e6
        plain, moved = _frequencies(counts * 0), _frequencies(counts)
        assert moved[30, 2] > 30_000 > plain[30, 2]
        assert np.array_equal(np.delete(moved, 30, 0), np.delete(plain, 30, 0))

    @pytest.mark.parametrize("quantiser", range(QUANTISERS))
    def test_the_prior_is_the_density_that_the_net_is_trained_on(self, quantiser: int) -> None:
        table, scale = 35, 2.0 ** ((35 - 25) / 5)
        sizes = torch.arange(16.0)
        bits = _laplace_bits(
            sizes, torch.full((16,), float(quantiser)), torch.full((16,), float(np.log2(scale)))
        )
        wanted = np.exp2(-bits.numpy()) * np.where(np.arange(16) > 0, 2, 1)
        assert _prior()[TABLES * quantiser + table, :16] == pytest.approx(wanted, rel=1e-3)

    @pytest.mark.parametrize("quantiser", range(QUANTISERS))
    def test_the_density_sums_up(self, quantiser: int) -> None:
        for log2_scale in (-1.0, 0.0, 3.0):
            sizes = torch.arange(400.0)
            bits = _laplace_bits(
                sizes, torch.full((400,), float(quantiser)), torch.full((400,), log2_scale)
            )
            share = np.exp2(-bits.numpy().astype(float)) * np.where(np.arange(400) > 0, 2, 1)
            assert share.sum() == pytest.approx(1, abs=1e-4)

    def test_offsets_are_of_what_each_quantiser_stands_for(self) -> None:
        values = np.array([9, 2, -2, 0, 1], np.int32)
        tables = np.array([7, 30, TABLES + 30, 30, TABLES + 30], np.uint8)
        given = np.array([np.nan, 1.9, 1.7, 0.2, 0.6], np.float32)
        counts = np.zeros((ROWS, TOKENS))
        off, seen = np.zeros((ROWS, OFFSETS)), np.zeros((ROWS, OFFSETS))
        _count(CodedPlane(values, tables, 1, 7, 1.0, None), given, 2.0, counts, off, seen)
        assert off[30].tolist() == pytest.approx([0, 0.1, 0, 0], abs=1e-6)
        assert off[TABLES + 30].tolist() == pytest.approx([-0.1, -0.2, 0, 0], abs=1e-6)
        assert seen[TABLES + 30].tolist() == [1, 1, 0, 0]
        assert counts[30, :3].tolist() == [2, 0, 2]
        assert counts[TABLES + 30, :3].tolist() == [0, 2, 2]
        assert counts.sum() == 8


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
        analysis = Analysis.of(image(256, 256, 2, seed=9), None, 1)
        assert analysis is not None
        costs = []
        for model in made:
            again = NtcModel.from_bytes(model.to_bytes())
            assert again.is_dependent
            found = analysis.probe(80.0, again)  # a bit a sample: among the rates of examples
            costs.append(found.bits + price_of(again) * found.squared / 80.0**2)
        assert costs[1] < 0.85 * costs[0]


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

    @pytest.mark.parametrize("start", [bundled, dependent])
    def test_is_one_round_less(self, start: Callable[[], NtcModel]) -> None:
        """Whatever it goes on from, what it gives has both quantisers."""
        crops = [c for seed in range(4) for c in cut_crops(image(200, 200, 3), 3, "rgb", seed)]
        told: list[str] = []
        made = train_ntc(
            crops, steps=5, examples=20_000, seed=0, progress=told.append, start=start()
        )
        assert made.is_dependent
        assert ("one quantiser" in told[0]) == (start is bundled)
        assert [line.split(":")[0] for line in told if line.startswith("round")] == [
            f"round {turn}, {name}" for turn in (1, 2) for name in ("lapped", "wavelet")
        ]
