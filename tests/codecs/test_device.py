"""``TileCodec(device="cuda")``: the CPU's bytes, planes of many chunks in batches, clear errors.

With the device's own code in a process of its own, because numba's simulator must be switched on
before numba is imported; and here with the CPU in the device's place.
"""

from __future__ import annotations

import os
import pickle
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tilepress.codecs import owner
from tilepress.codecs.tile import TileCodec
from tilepress.codecs.wave.backend import PlaneToDecode
from tilepress.codecs.wave.cpu import CPU
from tilepress.codecs.wave.cuda import backend, launch
from tilepress.errors import CodecError, UnsupportedFormat

_CHECKS = Path(__file__).with_name("device_checks.py")
_Y, _X = np.mgrid[:12, :16]
RECORDS = [
    TileCodec(tier="fast").encode((k + 4 * _Y + _X * _X // 9).astype(np.uint16)) for k in range(3)
]


def run_checks(**variables: str) -> int:
    """Run the checks in a child; returns how many passed."""
    not_theirs = ("NUMBA_ENABLE_CUDASIM", "TILEPRESS_NO_SKIPS")  # some of them need a device
    environment = {k: v for k, v in os.environ.items() if k not in not_theirs}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(_CHECKS)]
    child = subprocess.run(
        command, env=environment | variables, capture_output=True, text=True, timeout=290
    )
    assert child.returncode == 0, child.stdout[-4000:] + child.stderr[-2000:]
    passed = re.search(r"(\d+) passed", child.stdout)
    assert passed, child.stdout
    return int(passed[1])


class TestDeviceAndCpuGiveTheSameRecords:
    @pytest.mark.slow
    def test_in_the_simulator(self) -> None:
        assert run_checks(NUMBA_ENABLE_CUDASIM="1") >= 16

    @pytest.mark.gpu
    def test_on_a_device(self) -> None:
        if not backend.cuda_available():
            pytest.skip("no CUDA device: the device code ran in numba's simulator only")
        assert run_checks() >= 16


class TestWithoutADeviceCudaIsRefused:
    @pytest.fixture(autouse=True)
    def _no_device(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(backend, "cuda_available", lambda: False)
        monkeypatch.setattr(backend.OPEN, "device", None)

    def test_in_one_line(self) -> None:
        with pytest.raises(UnsupportedFormat, match="no CUDA device was found") as error:
            TileCodec(device="cuda")
        assert "\n" not in str(error.value)

    def test_by_a_configuration_too(self) -> None:
        with pytest.raises(UnsupportedFormat, match="no CUDA device was found"):
            TileCodec.from_config(TileCodec().to_config(), device="cuda")

    def test_auto_is_the_cpu(self) -> None:
        assert TileCodec(tier="fast", device="auto").decode(RECORDS[0])[0, 0] == 0


class TestManyOnTheCpuAreAsOneByOne:
    def test_records_and_samples(self) -> None:
        codec = TileCodec(tier="fast")
        arrays = codec.decode_many(RECORDS, expect=((12, 16), np.dtype(np.uint16)))
        assert codec.encode_many(arrays) == RECORDS

    def test_none(self) -> None:
        assert TileCodec().encode_many([]) == []


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[int], None]], TileCodec]:
    """Put the CPU in the device's place; returns a codec, given what to do before each batch."""

    def make(before: Callable[[int], None]) -> TileCodec:
        def decode_planes(planes: Sequence[PlaneToDecode]) -> list[Any]:
            before(len(planes))
            return [CPU.decode_stream(plane) for plane in planes]

        monkeypatch.setattr(backend, "cuda_available", lambda: True)
        monkeypatch.setattr(launch, "decode_planes", decode_planes)
        monkeypatch.setattr(backend.OPEN, "device", None)
        monkeypatch.setattr(owner, "PATIENCE_S", 20.0)
        return TileCodec(tier="fast", device="cuda")

    return make


class TestTheOwnerAnswersEveryPlane:
    def test_a_batch_beyond_the_memory_runs_in_halves(self, stand_in: Any) -> None:
        sizes: list[int] = []

        def before(planes: int) -> None:
            sizes.append(planes)
            if planes > 1:
                raise MemoryError

        arrays = stand_in(before).decode_many(RECORDS)
        assert sizes == [3, 1, 2, 1, 1]
        assert TileCodec(tier="fast").encode_many(arrays) == RECORDS

    def test_what_the_device_says_is_a_codec_error(self, stand_in: Any) -> None:
        broken = [True]

        def before(_: int) -> None:
            if broken[0]:
                raise RuntimeError("the device is lost")

        codec = stand_in(before)
        with pytest.raises(CodecError, match=r"on the device.*the device is lost"):
            codec.decode_many(RECORDS)
        broken[0] = False
        assert len(codec.decode_many(RECORDS)) == 3

    def test_more_chunks_than_threads(self, stand_in: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        """Every batch is full but the last: nobody waits for threads that have ended."""
        sizes: list[int] = []
        codec = stand_in(sizes.append)
        monkeypatch.setattr(owner, "MAX_CHUNKS", 2)
        arrays = codec.decode_many([*RECORDS, RECORDS[0], RECORDS[1]])
        assert sizes == [2, 2, 1]
        assert [int(a[0, 0]) for a in arrays[:2]] == [int(a[0, 0]) for a in arrays[3:]]

    def test_threads_of_the_caller_share_batches(self, stand_in: Any) -> None:
        """A first plane may start alone; those that come while it runs go together."""
        sizes: list[int] = []
        entered, go_on = threading.Event(), threading.Event()

        def before(planes: int) -> None:
            sizes.append(planes)
            entered.set()
            assert go_on.wait(20)

        codec = stand_in(before)
        threads = [threading.Thread(target=codec.decode, args=(RECORDS[0],))]
        threads[0].start()
        assert entered.wait(20)
        threads += [threading.Thread(target=codec.decode, args=(r,)) for r in RECORDS]
        for thread in threads[1:]:
            thread.start()
        waits_in = backend.open_device()._owner
        with waits_in._changed:
            assert waits_in._changed.wait_for(lambda: len(waits_in._pending) == 3, 20)
        go_on.set()
        for thread in threads:
            thread.join(20)
        assert sizes == [1, 3]

    def test_a_codec_travels_to_another_process(self, stand_in: Any) -> None:
        codec = pickle.loads(pickle.dumps(stand_in(lambda _: None)))
        np.testing.assert_array_equal(
            codec.decode(RECORDS[0]), TileCodec(tier="fast").decode(RECORDS[0])
        )
