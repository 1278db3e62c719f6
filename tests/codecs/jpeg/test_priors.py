"""Priors are read back as they were written, and damaged files are refused."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
import safetensors.numpy

from tilepress.codecs.jpeg.contexts import SLOTS, WEIGHT_SETS
from tilepress.codecs.jpeg.mixing import FRESH_SLOT, INPUTS
from tilepress.codecs.jpeg.planes import ALIKE, LUMINANCE, encode_blocks
from tilepress.codecs.jpeg.priors import (
    KINDS,
    MOST_SEEN,
    Priors,
    bundled,
    default_priors,
    fresh,
    priors_of,
    read_priors,
    write_priors,
)
from tilepress.codecs.jpeg.train import train_priors, training_chunk
from tilepress.errors import ModelError, UnsupportedFormat

from .pictures import jpeg, picture


class TestFiles:
    def test_there_and_back(self) -> None:
        rng = np.random.default_rng(0)
        slots = fresh().slots.copy()
        slots[:, ::3] = rng.integers(0, 2**22, slots[:, ::3].shape) << 10 | 5
        weights = rng.integers(-60000, 60000, (KINDS, WEIGHT_SETS, INPUTS)).astype(np.int32)
        once = read_priors(write_priors(Priors(slots, weights)))
        assert np.abs(once.weights - weights).max() <= 8
        probability = [p.slots[:, ::3] >> 10 for p in (once, Priors(slots, weights))]
        assert np.abs(probability[0].astype(int) - probability[1]).max() < 2**22 / 20
        assert np.all(once.slots[:, 1::3] == FRESH_SLOT)
        twice = read_priors(write_priors(once))
        assert np.array_equal(twice.slots, once.slots)
        assert np.array_equal(twice.weights, once.weights)

    def test_the_bundled_one(self) -> None:
        priors = default_priors()
        assert priors.slots.shape == (KINDS, SLOTS)
        assert (priors.slots & 1023).max() <= MOST_SEEN
        assert priors.model_id in bundled()
        assert priors_of(priors.model_id) is priors
        with pytest.raises(UnsupportedFormat, match="does not have"):
            priors_of(b"12345678")

    def test_damaged_files(self) -> None:
        good = safetensors.numpy.load(write_priors(fresh()))
        size = KINDS * SLOTS

        def packed(data: bytes) -> np.ndarray:
            return np.frombuffer(zlib.compress(data), np.uint8)

        for changed in (
            {"slots.seen": None},
            {"slots.seen": packed(bytes(size - 1))},
            {"slots.seen": packed(bytes(size + 1))},
            {"slots.seen": packed(b"\x08" * size)},
            {"slots.probability": packed(b"\x40" * size)},
            {"weights": good["weights"][:-3]},
            {"weights": good["weights"].astype(np.int16)},
            {"more": good["weights"]},
        ):
            tensors = {k: v for k, v in {**good, **changed}.items() if v is not None}
            with pytest.raises(ModelError, match="priors of JPEG"):
                read_priors(safetensors.numpy.save(tensors))
        with pytest.raises(ModelError):
            read_priors(b"nothing")


class TestTraining:
    def test_makes_images_alike_smaller(self) -> None:
        streams = [jpeg(picture(64, 64, seed), 80) for seed in range(5)]
        chunks = [training_chunk(data, LUMINANCE) for data in streams]
        priors = train_priors(chunks[:4])
        last = chunks[4]

        def size(known: Priors) -> int:
            return len(encode_blocks(last.blocks, last.layout, last.family, known, 1 << 16))

        assert size(priors) < 0.9 * size(fresh())
        read = read_priors(write_priors(priors))
        assert size(read) < 0.95 * size(fresh())

    def test_the_bundled_one_helps_with_all_kinds(self) -> None:
        for family, options in ((LUMINANCE, {}), (ALIKE, {"colorspace": "RGB"})):
            data = jpeg(picture(64, 64, 3), 80, "444", outcolorspace="RGB", **options) if options \
                else jpeg(picture(64, 64, 3), 80)  # fmt: skip
            one = training_chunk(data, family)
            sizes = [
                len(encode_blocks(one.blocks, one.layout, one.family, known, 1 << 16))
                for known in (default_priors(), fresh())
            ]
            assert sizes[0] < 0.95 * sizes[1]
