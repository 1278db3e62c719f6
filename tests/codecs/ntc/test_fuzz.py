"""Hostile payloads end in one of our errors or in what was coded, and touch no memory of others.

More of it:

    TILEPRESS_FUZZ=100000 python -m pytest -m long tests/codecs/ntc/test_fuzz.py
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest

from tilepress.codecs.budget import Budget
from tilepress.codecs.ntc.chunk import decode_chunk, encode_chunk
from tilepress.codecs.ntc.layout import LAPPED, WAVELET
from tilepress.codecs.ntc.model import NtcModel
from tilepress.codecs.ntc.plane import (
    Stream,
    band_count,
    decode_plane,
    encode_plane,
    examine_plane,
    maps_size,
    padded_sides,
)
from tilepress.errors import CodecError, InvalidRecord

from ...helpers.native import checked
from .pictures import bundled, dependent, image

ROUNDS = int(os.environ.get("TILEPRESS_FUZZ", "2000"))
ROOT = Path(__file__).parents[3]

Case = tuple[bytes, tuple[int, int, int], np.dtype, np.ndarray, NtcModel]


@lru_cache(maxsize=1)
def seeds() -> list[Case]:
    """Return payloads of every kind, with what they decode to."""
    cases = []
    mark = np.array(300, np.uint16)
    holed = image(30, 41, 2)
    holed[:, 5:12, 7:30] = 300
    pictures = (
        (image(24, 40), None, 1, 9.0), (image(61, 19, 3), None, 3, 40.0), (holed, mark, 1, 5.0),
        (image(9, 9, 2, "int16"), None, 2, 0.5), (image(1, 70, 2, "uint8"), None, 1, 2.0),
        (image(64, 64, 3), None, 1, 900.0),
    )  # fmt: skip
    for model in (bundled(), dependent()):
        for samples, absent, bands, step in pictures:
            coded = encode_chunk(samples, absent, bands, step, model)
            assert coded is not None
            cases.append((coded[0], samples.shape, samples.dtype, coded[1], model))
    return cases


def mutated(data: bytes, rng: np.random.Generator) -> bytes:
    """Return bytes with some of them changed, cut, doubled or moved."""
    out = bytearray(data)
    for _ in range(int(rng.choice([1, 1, 1, 2, 4]))):
        if not out:
            break
        at = int(rng.integers(0, len(out)))
        if rng.random() < 0.5:
            at = min(at, int(rng.exponential(20)))
        way = int(rng.integers(0, 7))
        if way <= 2:
            out[at] = int(rng.choice([0, 1, 2, 7, 79, 80, 127, 128, 254, 255]))
        elif way == 3:
            out[at] ^= 1 << int(rng.integers(0, 8))
        elif way == 4:
            del out[at : at + int(rng.integers(1, 9))]
        elif way == 5:
            out[at:at] = rng.bytes(int(rng.integers(1, 5)))
        else:
            out[at:] = rng.bytes(len(out) - at)
    return bytes(out)


def fuzz_payloads(rounds: int, seed: int) -> tuple[int, int]:
    """Decode mutated payloads; returns how many were refused, and how many gave what was coded."""
    rng = np.random.default_rng(seed)
    refused = 0
    for number in range(rounds):
        data, shape, dtype, samples, model = seeds()[number % len(seeds())]
        if rng.random() < 0.05:
            shape = (shape[0], shape[1] + int(rng.integers(-3, 4)), shape[2])
            samples = None
        try:
            budget = Budget("decoding a record", 2**27)
            out = decode_chunk(memoryview(mutated(data, rng)), shape, dtype, model, budget)
        except CodecError:
            refused += 1
            continue
        assert samples is None or np.array_equal(out, samples)
    return refused, rounds - refused


def fuzz_streams(rounds: int, seed: int) -> tuple[int, int]:
    """Decode planes of random words and bits, which reach every table, escape and magnitude."""
    rng = np.random.default_rng(seed)
    refused = 0
    for _ in range(rounds):
        kind = int(rng.integers(0, 2))
        sides = padded_sides(kind, int(rng.integers(1, 70)), int(rng.integers(1, 70)))
        maps = rng.integers(0, 352, maps_size(kind, *sides)).astype(np.uint16)
        lanes = int(rng.choice([1, 4, 8, 32]))
        stream = Stream(
            int(rng.integers(0, band_count(kind, *sides) + 1)),
            int(rng.integers(0, 80)),
            rng.integers(2**16, 2**32, lanes, dtype=np.uint32),
            rng.integers(0, 2**16, int(rng.integers(0, 3000)), dtype=np.uint16),
            rng.integers(0, 256, int(rng.integers(0, 3000)), dtype=np.uint8),
        )
        before = maps if rng.random() < 0.5 else None
        model = bundled() if rng.random() < 0.5 else dependent()
        try:
            decode_plane(kind, np.empty(sides, np.float32), before, model, stream)
        except InvalidRecord:
            refused += 1
    return refused, rounds


def fuzz_coefficients(rounds: int, seed: int) -> None:
    """Encode planes of any finite numbers at any price; what was chosen makes the same maps."""
    rng = np.random.default_rng(seed)
    for _ in range(rounds):
        kind = int(rng.integers(0, 2))
        sides = padded_sides(kind, int(rng.integers(1, 70)), int(rng.integers(1, 70)))
        made = rng.laplace(0, 10.0 ** rng.uniform(-3, 9), sides).astype(np.float32)
        if rng.random() < 0.3:
            made[rng.random(sides) < 0.2] = rng.choice([1e30, -1e30, 0, 1e-45])
        coded = encode_plane(kind, made, None, dependent(), float(rng.choice([0.1, 10, 1e6])))
        known = examine_plane(kind, made, None, 0.5, coded.values)
        assert np.array_equal(known[3], coded.maps)


def everything(rounds: int, seed: int) -> None:
    """What a library that checks memory is asked."""
    for kind in (LAPPED, WAVELET):
        assert band_count(kind, 64, 64) > 0
    refused, read = fuzz_payloads(rounds, seed)
    assert refused > rounds // 3
    assert fuzz_streams(rounds, seed + 1)[0] > rounds // 2
    fuzz_coefficients(rounds // 4, seed + 2)
    sys.stdout.write(f"{refused} {read}\n")


class TestHostileBytes:
    @pytest.mark.parametrize("fuzz", [fuzz_payloads, fuzz_streams])
    def test_end_in_our_errors(self, fuzz: Callable[[int, int], tuple[int, int]]) -> None:
        refused, _ = fuzz(600, 1)
        assert refused > 300

    def test_any_coefficients_are_coded(self) -> None:
        fuzz_coefficients(60, 1)

    @pytest.mark.long
    @pytest.mark.timeout(3600)
    def test_many(self) -> None:
        everything(ROUNDS, 3)

    @pytest.mark.slow
    @pytest.mark.timeout(3600)
    @pytest.mark.skipif(platform.system() != "Linux", reason="preloads a library")
    def test_no_access_leaves_its_array(self, tmp_path: Path) -> None:
        """Compiled with checks of memory and undefined behaviour, every instruction set."""
        environment = checked(tmp_path / "checked.so")
        line = f"from tests.codecs.ntc.test_fuzz import everything; everything({ROUNDS // 8}, 7)"
        for instructions in ({"TILEPRESS_INSTRUCTIONS": "sse2"}, {}):
            if instructions and platform.machine() != "x86_64":
                continue
            done = subprocess.run(
                [sys.executable, "-c", line],
                env={**os.environ, **environment, **instructions},
                cwd=ROOT,
                capture_output=True,
                text=True,
                timeout=1800,
            )
            assert done.returncode == 0, done.stderr[-3000:]
            assert "_kernel" not in done.stderr
