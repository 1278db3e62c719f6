"""Chunks: one plane decodes without the others; colour and references are undone."""

from __future__ import annotations

import numpy as np
import pytest

from tilepress.codecs.wave import chunk
from tilepress.codecs.wave.chunk import decode_chunk, encode_chunk
from tilepress.codecs.wave.codec import load_model
from tilepress.codecs.wave.index import Entry, scheduled
from tilepress.codecs.wave.plane_encode import Coder
from tilepress.errors import ChecksumMismatch, CodecError

MODEL = load_model("auto")
CODER = Coder(MODEL)


def rgb(frames: int = 1) -> np.ndarray:
    rng = np.random.default_rng(0)
    luma = np.cumsum(rng.normal(size=(frames, 1, 60, 70)), -1) * 4 + 120
    tint = rng.normal(size=(frames, 3, 1, 1)) * 20
    noise = rng.normal(size=(frames, 3, 60, 70))
    return np.clip(luma + tint + noise, 0, 255).astype(np.uint8).reshape(-1, 60, 70)


class TestOnePlaneAlone:
    def test_equals_its_part_of_the_whole(self) -> None:
        samples = rgb(3)
        coded = encode_chunk(samples, None, 0, CODER, 3)
        assert coded is not None
        whole = decode_chunk(memoryview(coded[0]), samples.shape, samples.dtype, MODEL)
        assert np.array_equal(whole, samples)
        for index in range(len(samples)):
            only = frozenset([index])
            part = decode_chunk(memoryview(coded[0]), samples.shape, samples.dtype, MODEL, only)
            assert np.array_equal(part[index], samples[index])


class TestQuickIsOnlyQuicker:
    """What the fast tier leaves out is looked for, not understood: any reader reads it."""

    def test_comes_back(self) -> None:
        samples = rgb(2)
        sizes = []
        for quick in (False, True):
            coded = encode_chunk(samples, None, 0, Coder(MODEL, quick=quick), 3)
            assert coded is not None
            back = decode_chunk(memoryview(coded[0]), samples.shape, samples.dtype, MODEL)
            assert np.array_equal(back, samples)
            sizes.append(len(coded[0]))
        assert sizes[1] < 1.05 * sizes[0]


class TestCircles:
    def test_planes_that_refer_to_each_other_are_an_error(self) -> None:
        entry = Entry((1,), False, None, b"", 0, b"")
        other = Entry((0,), False, None, b"", 0, b"")
        with pytest.raises(CodecError, match="circle"):
            scheduled([0], [entry, other], {})


class TestWrongPlaneIsNoticed:
    def test_checksum_of_one_plane(self) -> None:
        samples = rgb()
        coded = encode_chunk(samples, None, 0, CODER, 1)
        assert coded is not None
        other = np.ascontiguousarray(samples[:, ::-1])
        forged = encode_chunk(other, None, 0, CODER, 1)
        assert forged is not None
        crc = chunk.samples_crc(samples[0]).to_bytes(4, "little")
        wrong = forged[0].replace(chunk.samples_crc(other[0]).to_bytes(4, "little"), crc)
        with pytest.raises(ChecksumMismatch):
            decode_chunk(memoryview(wrong), samples.shape, samples.dtype, MODEL)
