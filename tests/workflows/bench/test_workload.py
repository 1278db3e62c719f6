"""What is timed: parts of images of every class, of bounded size, by sample type."""

from __future__ import annotations

import numpy as np
import pytest

from tilepress.workflows.bench.workload import Workload, sample_type


def noisy(shape: tuple[int, ...], dtype: str, seed: int = 1) -> np.ndarray:
    values = 60 + np.random.default_rng(seed).integers(0, 9, shape) + np.arange(shape[-1]) // 8
    return values.astype(dtype)


class TestSampleTypesAreApart:
    @pytest.mark.parametrize(
        ("shape", "dtype", "bands", "kind"),
        [
            ((9, 9), "u2", 1, "16-bit grey"),
            ((4, 9, 9), "i2", 1, "16-bit grey"),
            ((3, 9, 9), "u1", 3, "8-bit RGB"),
            ((6, 9, 9), "u1", 6, "8-bit multi-band"),
            ((3, 9, 9), "u2", 3, "16-bit multi-band"),
            ((9, 9), "f4", 1, "float32 grey"),
        ],
    )
    def test_named_for_what_they_are(self, shape, dtype, bands, kind):
        assert sample_type(np.zeros(shape, dtype), bands) == kind


class TestTheWorkloadIsBounded:
    def test_classes_take_turns(self):
        work = Workload(limit_bytes=4000)
        for seed in range(4):
            work.add(noisy((20, 20), "u2", seed), 1, "ct", None)
        work.add(noisy((20, 20), "u2", 9), 1, "sar", None)
        ((kind, images),) = work.chosen()
        assert kind == "16-bit grey"
        assert len(images) == 5
        assert np.array_equal(images[1].samples, noisy((20, 20), "u2", 9))

    def test_large_images_give_a_part(self):
        work = Workload(limit_bytes=2**20)
        work.add(np.zeros((30, 3000, 700), np.uint8), 1, "ct", None)
        ((_, (image,)),) = work.chosen()
        assert image.samples.nbytes <= 2**20
        assert image.samples.shape[0] == 1
        assert image.samples.shape[-1] == 700

    def test_nothing_is_nothing(self):
        work = Workload()
        work.add(np.zeros((0, 5), np.uint8), 1, "ct", None)
        assert list(work.chosen()) == []
