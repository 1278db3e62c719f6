"""``ntc`` as a codec: it is never taken for lossless, and its records say what they need."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from tilepress.codecs.budget import Budget
from tilepress.codecs.loss import Lossless, Quality, Within
from tilepress.codecs.ntc.codec import NtcCoder
from tilepress.codecs.tile import TileCodec
from tilepress.codecs.weights import load_named
from tilepress.errors import ModelError, UnsupportedFormat

from .pictures import image

WEIGHTS = load_named("ntc-1").data


class TestItsPromise:
    def test_is_lossy_and_nothing_else(self) -> None:
        assert NtcCoder.losses == {Quality}
        for loss in (Lossless(), Within(2)):
            with pytest.raises(UnsupportedFormat, match="codec 'ntc' is never"):
                TileCodec("ntc", max_error=loss.max_error)

    def test_a_higher_level_is_finer(self) -> None:
        samples = image(96, 96)
        off = []
        for level in (10.0, 40.0, 70.0, 100.0):
            coder = NtcCoder(Quality(level), "standard", WEIGHTS, "cpu")
            coded = coder.encode(samples, None, 1)
            assert coded is not None
            off.append(float(np.square(coded[1].astype(float) - samples).mean()))
        assert off == sorted(off, reverse=True)
        peak = float(samples.max()) - float(samples.min())
        wanted = peak**2 * 10 ** -((20 + 40 / 2) / 10)
        assert wanted / 3 < off[1] < 1.5 * wanted

    def test_absent_samples_are_no_part_of_the_range(self) -> None:
        samples = image(64, 64)
        holed = samples.copy()
        holed[0, :8, :8] = 65535
        coder = NtcCoder(Quality(50), "standard", WEIGHTS, "cpu")
        coded = coder.encode(holed, np.array(65535, np.uint16), 1)
        assert coded is not None
        away = np.square(coded[1][0, 20:].astype(float) - samples[0, 20:]).mean()
        assert away < 200

    def test_what_it_cannot_code(self) -> None:
        coder = NtcCoder(Quality(50), "standard", WEIGHTS, "cpu")
        assert coder.encode(np.ones((1, 4, 4), np.float32), None, 1) is None
        assert coder.encode(np.ones((1, 4, 4), np.uint8), np.array(1, np.uint8), 1) is None


class TestMaking:
    def test_other_weights_and_devices_are_refused(self) -> None:
        with pytest.raises(ModelError):
            NtcCoder(Quality(50), "standard", load_named("wave-3").data, "cpu")
        with pytest.raises(UnsupportedFormat, match="CPU only"):
            NtcCoder(Quality(50), "standard", WEIGHTS, "cuda")

    def test_travels_to_other_processes(self) -> None:
        coder = NtcCoder(Quality(50), "standard", WEIGHTS, "cpu")
        again = pickle.loads(pickle.dumps(coder))
        samples = image(40, 40, 2)
        coded, other = coder.encode(samples, None, 1), again.encode(samples, None, 1)
        assert coded is not None
        assert other is not None
        assert coded[0] == other[0]

    def test_chunks_in_threads_give_the_same(self) -> None:
        coder = NtcCoder(Quality(50), "standard", WEIGHTS, "cpu")
        chunks = [image(64, 64, 2, seed=seed) for seed in range(8)]
        found = coder.map(lambda chunk: coder.encode(chunk, None, 1), chunks)
        for chunk, coded in zip(chunks, found, strict=True):
            alone = coder.encode(chunk, None, 1)
            assert coded is not None
            assert alone is not None
            assert coded[0] == alone[0]
            budget = Budget("decoding", 2**30)
            out = coder.decode(memoryview(coded[0]), chunk.shape, chunk.dtype, None, budget, 6)
            assert np.array_equal(out, alone[1])
