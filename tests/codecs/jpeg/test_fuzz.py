"""Hostile streams and payloads end in one of our errors, or in what was coded; never in another.

More of it:

    TILEPRESS_FUZZ=100000 python -m pytest -m long tests/codecs/jpeg/test_fuzz.py
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zlib
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest

from tilepress.codecs.jpeg.codec import Grid, encode, streams
from tilepress.codecs.jpeg.markers import JpegTables, Refused
from tilepress.codecs.jpeg.stream import read_stream, write_stream
from tilepress.codecs.jpeg.usual import usual_tables
from tilepress.codecs.record import pack_record, unpack_record
from tilepress.codecs.tile import TileCodec
from tilepress.codecs.wave.wire import Reader, varint
from tilepress.errors import CodecError

from . import sanitized
from .pictures import abbreviated, jpeg, picture, progressive, samples_of

ROUNDS = int(os.environ.get("TILEPRESS_FUZZ", "2000"))


@lru_cache(maxsize=1)
def seeds() -> list[bytes]:
    """Return small streams of every kind that is coded."""
    found = [jpeg(picture(20, 27, 1), 80, sampling) for sampling in ("444", "422", "420", "411")]
    found.append(jpeg(picture(20, 27, 2, 1), 60))
    found.append(jpeg(picture(9, 30, 3), 95, "420", optimize=True))
    found += [progressive(picture(20, 27, 4)), progressive(picture(20, 27, 5, 1), 95)]
    stream, blocks = read_stream(found[2], JpegTables())
    at = stream.skeleton.index(b"\xff\xda")
    stream.skeleton = stream.skeleton[:at] + b"\xff\xdd\x00\x04\x00\x01" + stream.skeleton[at:]
    scan, place = stream.scans[0]
    restarting = type(scan)(*(getattr(scan, name) for name in scan.__slots__[:-1]), restart=1)
    stream.scans[0] = (restarting, place + 6)
    stream.pads = [np.full(stream.intervals(restarting), 127, np.int16)]
    found.append(write_stream(stream, blocks, stream.own_places()[0]))
    return found


def mutated(data: bytes, rng: np.random.Generator, headers: bool) -> bytes:
    """Return bytes with some of them changed, cut, doubled or moved."""
    out = bytearray(data)
    for _ in range(int(rng.choice([1, 1, 1, 2, 4]))):
        if not out:
            break
        at = int(rng.integers(0, len(out)))
        if headers and rng.random() < 0.5:  # where tables are, one change means most
            starts = [i for i in range(len(out) - 1) if out[i] == 255 and out[i + 1] > 0xBF]
            if starts:
                at = min(starts[int(rng.integers(0, len(starts)))] + int(rng.integers(0, 30)),
                         len(out) - 1)  # fmt: skip
        way = int(rng.integers(0, 7))
        if way <= 2:
            out[at] = int(rng.choice([0, 1, 2, 0x11, 0x22, 0x44, 127, 128, 254, 255]))
        elif way == 3:
            out[at] ^= 1 << int(rng.integers(0, 8))
        elif way == 4:
            del out[at : at + int(rng.integers(1, 9))]
        elif way == 5:
            out[at:at] = rng.bytes(int(rng.integers(1, 5)))
        else:
            start = int(rng.integers(0, len(out)))
            out[at:at] = out[start : start + int(rng.integers(1, 60))]
    return bytes(out)


def fuzz_streams(rounds: int, seed: int) -> tuple[int, int]:
    """Read mutated streams; returns how many were refused, and how many were read."""
    rng = np.random.default_rng(seed)
    refused = 0
    for number in range(rounds):
        data = mutated(seeds()[number % len(seeds())], rng, headers=True)
        try:
            stream, blocks = read_stream(data, JpegTables())
        except Refused:
            refused += 1
            continue
        try:
            write_stream(stream, blocks, stream.own_places()[0])
        except CodecError:
            continue
    return refused, rounds - refused


def mutated_whole(payload: bytes, rng: np.random.Generator) -> bytes:
    """Return a payload with bytes anywhere changed."""
    return mutated(payload, rng, headers=False)


def with_another_head(payload: bytes, rng: np.random.Generator) -> bytes:
    """Return a payload whose head, a deflate stream, was changed before it was squeezed."""
    reader = Reader(memoryview(payload))
    flags = reader.byte()
    reader.varint(2**24)
    squeezed = bytes(reader.take(reader.varint(2**26)))
    plain = zlib.decompressobj(-15, zdict=usual_tables()).decompress(squeezed)
    plain = mutated(plain, rng, headers=bool(rng.integers(0, 2)))
    squeezer = zlib.compressobj(9, zlib.DEFLATED, -15, 9, zdict=usual_tables())
    again = squeezer.compress(plain) + squeezer.flush()
    rest = bytes(reader.take(reader.left))
    return bytes([flags]) + varint(len(plain)) + varint(len(again)) + again + rest


def fuzz_payloads(rounds: int, seed: int) -> tuple[int, int]:
    """Read mutated payloads; returns how many were refused, and how many gave what was coded."""
    rng = np.random.default_rng(seed)
    codec = TileCodec()
    tables, tile = abbreviated(seeds()[2])
    samples = samples_of(seeds()[2])
    samples[0, 3, 4] ^= 1
    both = np.concatenate([samples, samples], axis=2)
    record = encode([tile, tile], both, grid=Grid(1, 1, 2, 20, 27), tables=tables)
    header, payload = unpack_record(record)
    refused = 0
    for _ in range(rounds):
        change = with_another_head if rng.random() < 0.7 else mutated_whole
        forged = pack_record(header, change(bytes(payload), rng))
        try:
            assert np.array_equal(codec.decode(forged, max_memory="64MiB"), both)
        except CodecError:
            refused += 1
        try:
            assert streams(forged, max_memory="64MiB") == [tile, tile]
        except CodecError:
            refused += 1
    return refused, 2 * rounds - refused


class TestHostileBytes:
    def test_streams(self) -> None:
        refused, read = fuzz_streams(300, 1)
        assert refused > 30
        assert read > 10

    def test_payloads(self) -> None:
        assert fuzz_payloads(60, 2)[0] > 60

    @pytest.mark.long
    @pytest.mark.timeout(3600)
    def test_many(self) -> None:
        refused, read = fuzz_streams(ROUNDS, 3)
        assert min(refused, read) > ROUNDS // 50
        assert fuzz_payloads(ROUNDS // 20, 4)[0] > ROUNDS // 20

    @pytest.mark.slow
    @pytest.mark.timeout(3600)
    def test_no_access_leaves_its_array(self, tmp_path: Path) -> None:
        """Compiled with checks of memory and undefined behaviour, the native code finds none."""
        if shutil.which("cc") is None or not Path(sanitized.preload()).is_absolute():
            pytest.skip("no compiler with a sanitizer on this machine")
        rounds = int(os.environ.get("TILEPRESS_FUZZ", "300"))
        counts = map(str, (rounds, max(rounds // 5, 1), 5))
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "tests.codecs.jpeg.sanitized",
                sanitized.build(tmp_path),
                *counts,
            ],
            env={**os.environ, "LD_PRELOAD": sanitized.preload(), "ASAN_OPTIONS": "detect_leaks=0"},
            cwd=sanitized.ROOT,
            capture_output=True,
            text=True,
            timeout=3500,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        assert all(int(count) for count in done.stdout.split()[:3])
