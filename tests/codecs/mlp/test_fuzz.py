"""Hostile payloads of ``mlp`` end in one of our errors or in what was coded.

More of it:

    TILEPRESS_FUZZ=100000 python -m pytest -m long tests/codecs/mlp/test_fuzz.py
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest

from tilepress.codecs.budget import Budget
from tilepress.codecs.mlp.chunk import Asked, decode_chunk, encode_chunk
from tilepress.codecs.mlp.codec import parse_model
from tilepress.codecs.mlp.model import MlpModel
from tilepress.codecs.mlp.payload import pack, unpack
from tilepress.codecs.mlp.plane import Stream, decode_units, map_cells
from tilepress.codecs.weights import load_named
from tilepress.errors import CodecError, InvalidRecord, TooMuchMemory

from ...helpers.native import checked
from ..ntc.pictures import image
from ..ntc.test_fuzz import mutated

ROUNDS = int(os.environ.get("TILEPRESS_FUZZ", "2000"))
ROOT = Path(__file__).parents[3]

Case = tuple[bytes, np.ndarray, MlpModel]


@lru_cache(maxsize=1)
def seeds() -> list[Case]:
    """Return payloads of every kind, with what they decode to."""
    cases = []
    mark = np.array(300, np.uint16)
    holed = image(30, 41, 2)
    holed[:, 5:12, 7:30] = 300
    floats = image(20, 30).astype(np.float32)
    floats[0, 3, 4:9] = np.nan
    for samples, absent, bands, step, name, asked in (
        (image(24, 40), None, 1, 9.0, "mlp-1", Asked(256, 22)),
        (image(61, 19, 3), None, 3, 40.0, "mlp-1-4", Asked(256, 22)),
        (holed, mark, 1, 5.0, "mlp-1", Asked(9, 4)),
        (image(40, 33, 2, "int16"), None, 2, 3.0, "mlp-1-16", Asked(40, 22)),
        (floats, None, 1, 2.0, "mlp-1", Asked(256, 22)),
        (image(64, 64, 3), None, 1, 900.0, "mlp-1", Asked(256, 22)),
    ):
        model = parse_model(load_named(name).data)
        coded = encode_chunk(samples, absent, bands, step, model, asked)
        assert coded is not None
        cases.append((coded[0], coded[1], model))
    return cases


def fuzz_payloads(rounds: int, seed: int) -> int:
    """Decode mutated payloads; returns how many were refused."""
    rng = np.random.default_rng(seed)
    refused = 0
    for number in range(rounds):
        data, samples, model = seeds()[number % len(seeds())]
        try:
            budget = Budget("decoding a record", 2**27)
            hostile = memoryview(mutated(data, rng))
            out = decode_chunk(hostile, samples.shape, samples.dtype, model, budget)
        except CodecError:
            refused += 1
            continue
        assert np.array_equal(out, samples, equal_nan=samples.dtype.kind == "f")
    return refused


def fuzz_streams(rounds: int, seed: int) -> int:
    """Decode planes of random words and bits, which reach every table, escape and magnitude."""
    rng = np.random.default_rng(seed)
    refused = 0
    model = parse_model(load_named("mlp-1").data)
    for _ in range(rounds):
        rows, columns = int(rng.integers(1, 9)), int(rng.integers(1, 9))
        shape = (model.units, rows, columns)
        maps = rng.integers(0, 32768, map_cells(*shape)).astype(np.uint16)
        stream = Stream(
            int(rng.integers(1, model.units + 1)),
            rng.integers(2**16, 2**32, int(rng.choice([1, 4, 8, 32])), dtype=np.uint32),
            rng.integers(0, 2**16, int(rng.integers(0, 3000)), dtype=np.uint16),
            rng.integers(0, 256, int(rng.integers(0, 3000)), dtype=np.uint8),
        )
        try:
            decode_units(stream, shape, maps if rng.random() < 0.5 else None, model)
        except InvalidRecord:
            refused += 1
    return refused


def everything(rounds: int, seed: int) -> None:
    """What a library that checks memory is asked."""
    assert fuzz_payloads(rounds, seed) > rounds // 3
    assert fuzz_streams(rounds, seed + 1) > rounds // 2


class TestHostileBytes:
    def test_payloads_end_in_our_errors(self) -> None:
        assert fuzz_payloads(600, 1) > 300

    def test_streams_end_in_our_errors(self) -> None:
        assert fuzz_streams(600, 1) > 300

    def test_what_it_takes_is_known_before(self) -> None:
        data, samples, model = seeds()[0]
        with pytest.raises(TooMuchMemory):
            decode_chunk(memoryview(data), (1, 8000, 8000), samples.dtype, model, Budget("", 2**24))

    @pytest.mark.filterwarnings("error")
    @pytest.mark.parametrize("step", [1e-300, 1e300, 1.7e308])
    def test_a_forged_step_says_nothing_else(self, step: float) -> None:
        for data, samples, model in seeds():
            blocks = [-(-n // model.block) for n in samples.shape[1:]]
            asked = (samples.shape, samples.dtype, model.units, blocks[0] * blocks[1])
            forged = pack(replace(unpack(memoryview(data), *asked), step=step))
            with pytest.raises(CodecError):
                decode_chunk(memoryview(forged), *asked[:2], model, Budget("", 2**27))

    @pytest.mark.long
    @pytest.mark.timeout(3600)
    def test_many(self) -> None:
        everything(ROUNDS, 3)

    @pytest.mark.slow
    @pytest.mark.timeout(3600)
    @pytest.mark.skipif(platform.system() != "Linux", reason="preloads a library")
    def test_no_access_leaves_its_array(self, tmp_path: Path) -> None:
        """Compiled with checks of memory and undefined behaviour."""
        line = f"from tests.codecs.mlp.test_fuzz import everything; everything({ROUNDS // 8}, 7)"
        done = subprocess.run(
            [sys.executable, "-c", line],
            env={**os.environ, **checked(tmp_path / "checked.so")},
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=1800,
        )
        assert done.returncode == 0, done.stderr[-3000:]
