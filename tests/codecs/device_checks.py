"""What ``TileCodec(device="cuda")`` must do, on small chunks: run by ``test_device.py``."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest

from tilepress.codecs import owner
from tilepress.codecs.record import pack_record, unpack_record
from tilepress.codecs.tile import TileCodec
from tilepress.codecs.wave import plane_format
from tilepress.codecs.wave.cuda import launch
from tilepress.codecs.wave.tree import read_tree
from tilepress.errors import InvalidRecord

SIMULATED = os.environ.get("NUMBA_ENABLE_CUDASIM") == "1"


@pytest.fixture(autouse=True)
def _prepare(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Spare the simulator: few threads a block, and short turns, for it waits for each."""
    before = sys.getswitchinterval()
    if SIMULATED:
        sys.setswitchinterval(1e-5)
        monkeypatch.setattr(launch, "encode_planes", partial(launch.encode_planes, threads=2))
        monkeypatch.setattr(launch, "decode_planes", partial(launch.decode_planes, threads=2))
        monkeypatch.setattr(owner, "PATIENCE_S", 5.0)  # planes meet, however slow the machine
    yield
    sys.setswitchinterval(before)


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Return what runs on the device from here on: which way and how many planes."""
    seen: list[tuple[str, int]] = []

    def spied(name: str, run: Any, planes: Any, *rest: Any) -> Any:
        assert threading.current_thread().name == "tilepress-device-owner"
        seen.append((name, len(planes)))
        return run(planes, *rest)

    for name in ("encode_planes", "decode_planes"):
        monkeypatch.setattr(launch, name, partial(spied, name[:6], getattr(launch, name)))
    return seen


def grey(
    seed: int, shape: tuple[int, ...] = (9, 14), top: int = 255, noise: float = 4
) -> np.ndarray:
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[-2], : shape[-1]]
    plane = 40 + 3 * x + 2 * y + rng.normal(0, noise, shape)
    return np.clip(plane, 0, top).astype(np.int64)


def colour() -> np.ndarray:
    rng = np.random.default_rng(3)
    green = grey(3, (7, 10))
    return np.stack([green + rng.integers(0, 4, green.shape) for _ in range(3)]).astype(np.uint8)


def clustered() -> np.ndarray:
    rng = np.random.default_rng(5)
    y, x = np.mgrid[:16, :24]
    return ((x // 2 + y // 2) * 40 + rng.integers(0, 3, (16, 24))).astype(np.uint16)


def holed() -> np.ndarray:
    plane = grey(6).astype(np.int16) * 7 - 900
    plane[2:5, 3:9] = -9999
    return plane


def posterised() -> np.ndarray:
    rng = np.random.default_rng(1)
    y, x = np.mgrid[:24, :40]
    grain = np.where((x // 3 + y // 2) % 2 > 0, rng.integers(0, 2, x.shape) * 9, 200)
    plane = np.where(rng.random(x.shape) < 0.4, 60, grain)
    plane[:, 20:] = plane[:, :20] // 200 * 7
    return plane.astype(np.uint8)


CASES: dict[str, tuple[np.ndarray, dict[str, Any], int]] = {
    "uint8": (grey(0, (16, 24)).astype(np.uint8), {}, 1),
    "int16, fast": ((grey(1) * 9 - 700).astype(np.int16), {"tier": "fast"}, 1),
    "int16, max": ((grey(1) * 9 - 700).astype(np.int16), {"tier": "max"}, 1),
    "decimals": ((grey(2) / 10).astype(np.float32), {"tier": "fast"}, 1),
    "colour": (colour(), {"tier": "fast"}, 3),
    "volume": (np.stack([grey(4) + k for k in range(3)]).astype(np.uint16), {}, 1),
    "nodata": (holed(), {"nodata": -9999}, 1),
    "near-lossless": (grey(7).astype(np.uint8), {"max_error": 2, "tier": "fast"}, 1),
    "clusters": (clustered(), {"tier": "fast"}, 1),
    "packed": (np.array([0, 3, 4, 9, 11, 17, 18, 30], np.uint8)[grey(8, top=150) // 20], {}, 1),
    "replicated": (np.kron(grey(9), np.ones((2, 2))).astype(np.uint8), {"tier": "fast"}, 1),
    "context tree": (posterised(), {"tier": "fast"}, 1),
    "range": (grey(10).astype(np.int32) * 9001, {"tier": "fast"}, 1),
}


def damaged(record: bytes) -> bytes:
    """Return the record with its last byte, of a plane's stream, changed, and a checksum for it."""
    header, payload = unpack_record(record)
    return pack_record(header, bytes(payload[:-1]) + bytes([payload[-1] ^ 0x55]))


class TestTheDeviceWritesAndReadsTheRecordsOfTheCpu:
    @pytest.mark.parametrize("name", CASES)
    def test_one_chunk(self, name: str, batches: list[tuple[str, int]]) -> None:
        array, options, bands = CASES[name]
        here, there = TileCodec(**options), TileCodec(**options, device="cuda")
        record = there.encode(array, bands=bands)
        assert record == here.encode(array, bands=bands)
        np.testing.assert_array_equal(there.decode(record), here.decode(record), strict=True)
        assert {way for way, _ in batches} == {"encode", "decode"}

    def test_a_tree_is_among_them(self, monkeypatch: pytest.MonkeyPatch) -> None:
        read: list[object] = []

        def seen(*tree: Any) -> Any:
            read.append(read_tree(*tree))
            return read[-1]

        monkeypatch.setattr(plane_format, "read_tree", seen)
        array, options, _ = CASES["context tree"]
        codec = TileCodec(**options)
        np.testing.assert_array_equal(codec.decode(codec.encode(array)), array)
        assert len(read) == 1


class TestChunksOfACallRunSideBySide:
    def test_their_planes_are_one_batch(self, batches: list[tuple[str, int]]) -> None:
        here = TileCodec(tier="fast")
        there = TileCodec.from_config(here.to_config(), device="cuda")
        arrays = [
            grey(20 + k, (8, 12), noise=0.5).astype(np.uint16) * np.uint16(k > 0) for k in range(4)
        ]
        records = there.encode_many(arrays)  # the first is constant: nothing to do on a device
        assert records == here.encode_many(arrays)
        expect = ((8, 12), np.dtype(np.uint16))
        for array, decoded in zip(arrays, there.decode_many(records, expect=expect), strict=True):
            np.testing.assert_array_equal(decoded, array, strict=True)
        assert batches == [("encode", 3), ("decode", 3)]

    def test_a_damaged_one_has_the_error_alone(self, batches: list[tuple[str, int]]) -> None:
        here, there = TileCodec(tier="fast"), TileCodec(tier="fast", device="cuda")
        good = here.encode(grey(30, (8, 12), noise=0.5).astype(np.uint16))
        bad = damaged(good)
        errors = []
        for codec in (here, there):
            with pytest.raises(InvalidRecord, match="fault") as error:
                codec.decode_many([good, bad, good])
            errors.append(str(error.value))
        assert errors[0] == errors[1]
        assert batches == [("decode", 3)]
        first, second = there.decode_many([good, good])
        np.testing.assert_array_equal(first, here.decode(good))
        np.testing.assert_array_equal(second, first)
