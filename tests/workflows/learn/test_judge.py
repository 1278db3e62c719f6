"""A trained model is judged by images that it did not see."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from tilepress.codecs.wave.codec import load_model
from tilepress.codecs.wave.train import TrainingImage
from tilepress.workflows.learn.judge import Verdict, compared, held_out

from ...helpers.samples import smooth


def image(number: int, rows: int = 80) -> TrainingImage:
    return TrainingImage(str(number), "all", smooth((2, rows, 90), seed=number), 1)


class TestHeldOut:
    @pytest.mark.parametrize("count", [4, 9, 40, 200])
    def test_some_of_many_images(self, count: int) -> None:
        pool = [image(k) for k in range(count)]
        kept, judged = held_out(pool)
        assert 1 <= len(judged) <= 12
        assert not {i.name for i in kept} & {i.name for i in judged}
        assert len(kept) >= 0.75 * count

    @pytest.mark.parametrize("count", [1, 3])
    def test_the_last_rows_of_few(self, count: int) -> None:
        pool = [image(k) for k in range(count)]
        for whole, first, last in zip(pool, *held_out(pool), strict=True):
            assert last.planes.shape == (2, 20, 90)
            assert np.array_equal(np.concatenate([first.planes, last.planes], 1), whole.planes)

    def test_nothing_of_small_ones(self) -> None:
        pool = [image(0, 60)]
        assert held_out(pool) == (pool, [])


class TestCompared:
    def test_a_model_that_is_worse(self) -> None:
        good = load_model("auto")
        tables = np.roll(good.frequencies, 40, axis=0)
        bad = replace(good, frequencies=tables)
        judged = [image(k) for k in range(3)]
        verdict = compared(judged, good, bad)
        assert verdict.images == 3
        assert verdict.is_worse
        assert verdict.told("wave-3").endswith("%): worse, keep wave-3")
        better = compared(judged, bad, good)
        assert (better.before, better.after) == (verdict.after, verdict.before)
        assert "worse" not in better.told("mine")

    def test_is_told_in_bits_a_sample(self) -> None:
        text = Verdict(5, 2.21, 2.16).told("wave-3")
        assert "5 images" in text
        assert "wave-3 2.210 → 2.160 bits a sample (-2.3 %)" in text

    def test_large_images_by_their_middle(self) -> None:
        large = TrainingImage("l", "all", smooth((4, 600, 700)), 1)
        same = load_model("auto")
        verdict = compared([large], same, same)
        assert verdict.before == verdict.after


def test_training_ends_with_it(tmp_path: Path) -> None:
    from tilepress.workflows.learn.train import train

    np.save(tmp_path / "scene.npy", smooth((300, 400)))
    told: list[str] = []
    out = tmp_path / "mine.safetensors"
    train([tmp_path / "scene.npy"], out, 0.004, Path("wave-3"), told.append, samples=50_000)
    assert out.is_file()
    assert "that it did not see: wave-3" in told[-1]
