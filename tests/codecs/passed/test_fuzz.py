"""Hostile streams end in one of our errors, or in samples of the size that was asked for.

More of it: TILEPRESS_FUZZ=100000 python -m pytest -m long tests/codecs/passed/test_fuzz.py
"""

from __future__ import annotations

import os
import resource
from dataclasses import replace

import numpy as np
import pytest

from tilepress.codecs.passed.codec import encode
from tilepress.codecs.passed.payload import pack, unpack
from tilepress.codecs.record import crc32c, pack_record, unpack_record
from tilepress.codecs.tile import TileCodec
from tilepress.errors import CodecError

from .pictures import LOSSLESS, LOSSY, family, picture, samples_of, stream

ROUNDS = int(os.environ.get("TILEPRESS_FUZZ", "400"))
GROWTH = 256 * 2**10
"""KiB that the process may grow by: what was allowed for a record, and some."""


def mutated(data: bytes, rng: np.random.Generator) -> bytes:
    """Return bytes with some of them changed, cut or put in, most of them in the head."""
    out = bytearray(data)
    for _ in range(int(rng.choice([1, 1, 2, 4, 8]))):
        at = int(rng.integers(0, max(1, len(out) if rng.random() < 0.5 else min(len(out), 120))))
        what = rng.random()
        if what < 0.7 and out:
            out[at] = int(rng.integers(0, 256)) if what < 0.5 else int(rng.choice([0, 1, 127, 255]))
        elif what < 0.8:
            del out[at : at + int(rng.integers(1, 9))]
        elif what < 0.95:
            out[at:at] = rng.bytes(int(rng.integers(1, 5)))
        else:
            del out[at:]
    return bytes(out)


@pytest.mark.parametrize("kind", LOSSLESS)
@pytest.mark.parametrize("rounds", [ROUNDS, pytest.param(50 * ROUNDS, marks=pytest.mark.long)])
def test_no_stream_does_anything_else(kind: str, rounds: int):
    rng = np.random.default_rng(rounds)
    images = [picture(40, 55), picture(33, 20, 1, "uint16"), picture(40, 55, 1)]
    seeds = [stream(kind, one) for one in images[: 1 if kind == "webp" else 3]]
    seeds += [stream(kind, images[0], lossy=True)] if kind in LOSSY else []
    records = [encode([one], samples_of(kind, one), family=family(kind)) for one in seeds]
    codec = TileCodec(max_memory="128MiB")
    before, decoded = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, 0
    for _ in range(rounds):
        header, payload = unpack_record(records[int(rng.integers(0, len(records)))])
        kept = unpack(payload)
        (data,) = kept.streams
        assert data is not None
        data = mutated(data, rng)
        packed = pack(kept.family, kept.meaning, kept.grid, [data])
        if rng.random() < 0.1:
            packed = mutated(packed, rng)
        claim = replace(header, irreversible=True, symbols_crc=crc32c(data))  # it tells nothing
        try:
            found = codec.decode(pack_record(claim, packed))
            assert found.shape == header.shape
            decoded += 1
        except CodecError:
            pass
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < GROWTH
    assert decoded
