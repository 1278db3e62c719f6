"""What decoding takes is what is said before it: on the worst shapes, measured by the machine.

Records are made here and decoded in forks of a process of its own, this module as a program::

    python test_memory.py FOLDER    decode every record in FOLDER, report bytes and seconds as JSON
"""

from __future__ import annotations

import json
import os
import re
import resource
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest

from tilepress.codecs.record import RecordHeader, crc32c, pack_record, samples_crc
from tilepress.codecs.tile import TileCodec
from tilepress.codecs.wave import chunk
from tilepress.codecs.wave.bitmap import encode_bitmap
from tilepress.codecs.wave.plane_format import CONSTANT, PACKED, RAW, REPLICATED, SPLIT
from tilepress.codecs.wave.wire import signed_varint, varint
from tilepress.errors import TooMuchMemory

SLACK_BYTES = 24 << 20
"""Of address space: pages of the heap, stacks, what the interpreter allocates."""
RSS_UNIT = 1 if sys.platform == "darwin" else 1024


def wanted(codec: TileCodec, record: bytes) -> int:
    """Return what a record wants, as its refusal says."""
    with pytest.raises(TooMuchMemory) as caught:
        codec.decode(record, max_memory=1)
    found = re.search(r"max_memory=(\d+)", str(caught.value))
    assert found, caught.value
    return int(found[1])


# Records -----------------------------------------------------------------------------------------


def forged(shape: tuple[int, int, int], dtype: str, bodies: list[bytes], samples: Any) -> bytes:
    """Return a record of coder 1 of these bodies, none of which refers to another."""
    kind = np.dtype(dtype).newbyteorder("<")
    whole = np.broadcast_to(np.asarray(samples, kind), shape)
    index = b"".join(
        b"\0" + samples_crc(plane).to_bytes(4, "little") + varint(len(body))
        for plane, body in zip(whole, bodies, strict=True)
    )
    header = RecordHeader(
        coder=1, dtype=kind, shape=shape, coded=shape, fill=bytes(kind.itemsize), two_d=False,
        max_error=0.0, model_id=bytes.fromhex(TileCodec(tier="fast").model.sha256)[:8],
        symbols_crc=samples_crc(np.ascontiguousarray(whole)),
    )  # fmt: skip
    return pack_record(header, bytes(10) + b"\0\0\0" + index + b"".join(bodies))


def nested(depth: int, leaf: bytes) -> bytes:
    """Return a body of splits within one another, the low bits of each split anew."""
    constant = bytes([CONSTANT]) + signed_varint(0)
    if depth == 0:
        return leaf
    inner = nested(depth - 1, leaf)
    return bytes([SPLIT, 0, 16]) + varint(len(constant)) + constant + inner


def raw_zeros(samples: int) -> bytes:
    return bytes([RAW, 0, 1]) + bytes((samples + 7) // 8)


def field(shape: tuple[int, ...], most: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (np.cumsum(rng.integers(-3, 4, shape), -1) + rng.integers(0, 3, shape)) % most


def cases() -> dict[str, tuple[TileCodec, Callable[[], bytes]]]:
    """Return records by name: shapes, kinds of bodies, dtypes, tiers, losses."""
    fast = TileCodec(tier="fast")

    def coded(codec: TileCodec, samples: np.ndarray, bands: int = 1) -> Callable[[], bytes]:
        return lambda: codec.encode(samples, bands=bands)

    side = 700
    plane = field((side, side), 4000).astype(np.uint16)
    bands = plane[None] // np.arange(2, 6)[:, None, None].astype(np.uint16)
    holes = plane.copy()
    holes[::3, ::2] = 0
    rgb = np.stack([plane % 251, (plane + 3) % 251, (plane + 9) % 251]).astype(np.uint8)
    masked, near = TileCodec(tier="fast", nodata=0), TileCodec(tier="fast", max_error=2)
    bounded = TileCodec(tier="fast", max_error=0.01)
    n = side * side
    blocks_of_one = bytes([REPLICATED | RAW, 1, 0, 1, 0])
    made = {tier: TileCodec(tier=tier) for tier in ("standard", "max")}
    return {
        "tall": (fast, coded(fast, field((1 << 16, 1), 900).astype(np.uint16))),
        "tall, three columns": (fast, coded(fast, field((1 << 16, 3), 900).astype(np.uint16))),
        "wide": (fast, coded(fast, field((1, 1 << 19), 900).astype(np.uint16))),
        "wide, three rows": (fast, coded(fast, field((3, 1 << 17), 900).astype(np.uint16))),
        "square": (fast, coded(fast, plane)),
        "standard": (made["standard"], coded(made["standard"], plane[:512, :512])),
        "max": (made["max"], coded(made["max"], plane[:512, :512])),
        "two references": (fast, coded(fast, bands, 4)),
        "mask": (masked, coded(masked, holes)),
        "colour": (fast, coded(fast, rgb, 3)),
        "near lossless": (near, coded(near, plane)),
        "bounded floats": (bounded, coded(bounded, plane.astype(np.float32) * 0.3)),
        "ordered floats": (fast, coded(fast, (plane * np.pi).astype(np.float32))),
        "split thrice": (fast, coded(fast, (plane.astype(np.int64) << 33) + holes)),
        "packed": (fast, coded(fast, plane // 16 * 16)),
        "replicated": (fast, coded(fast, plane[:350, :350].repeat(2, 0).repeat(2, 1))),
        "constant": (fast, lambda: forged((1, 4096, 1024), "uint64", [b"\x08\0"], 0)),
        "raw": (fast, lambda: forged((1, side, side), "uint8", [raw_zeros(n)], 0)),
        "nested splits": (
            fast, lambda: forged((1, side, side), "uint64", [nested(4, raw_zeros(n))], 0)
        ),
        "many planes": (fast, lambda: forged((20_000, 1, 1), "uint8", [b"\x08\0"] * 20_000, 0)),
        "blocks of one": (
            fast, lambda: forged((1, side, side), "uint8", [blocks_of_one + raw_zeros(n)[1:]], 0)
        ),
    }  # fmt: skip


# The child ---------------------------------------------------------------------------------------


def _status(name: str) -> int:
    """Return a size of this process in bytes, of /proc."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1024
    raise LookupError(name)


def decode_apart(codec: TileCodec, record: bytes, want: int) -> dict[str, Any]:
    """Decode in a fork whose address space has room for ``want`` bytes more, and little else."""
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        os.close(reading)
        limit = _status("VmSize") + want + SLACK_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        before = _status("VmRSS")
        try:
            said = f"{codec.decode(record).dtype}"
        except Exception as error:  # told to the parent
            said = f"{type(error).__name__}: {error}"
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * RSS_UNIT
        answer = {"said": said, "took": peak - before}
        with os.fdopen(writing, "w") as pipe:
            json.dump(answer, pipe)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        text = pipe.read()
    _, status = os.waitpid(child, 0)
    return json.loads(text) if text else {"said": f"ended with {status}", "took": 0}


def main(folder: Path) -> None:
    small = np.arange(1200, dtype=np.uint16).reshape(30, 40) % 77
    for tier in ("fast", "standard", "max"):  # compile, so that it is no part of what is measured
        for samples in (small, np.stack([small, small + 1, small // 2])):
            codec = TileCodec(tier=tier, nodata=0)
            codec.decode(codec.encode(samples))
    report = {}
    for number, (name, (codec, _)) in enumerate(cases().items()):
        record, want = (
            (folder / f"{number}.tp").read_bytes(),
            int((folder / f"{number}").read_text()),
        )
        report[name] = decode_apart(codec, record, want)
        report[name]["scarce"] = decode_apart(codec, record, want // 8 - SLACK_BYTES)["said"]
    print(json.dumps(report))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
class TestDecodingTakesNoMoreThanItSays:
    def test_on_the_worst_shapes(self, tmp_path: Path) -> None:
        """Resident memory stays below what was announced, in an address space of that size."""
        wants = {}
        for number, (name, (codec, make)) in enumerate(cases().items()):
            record = make()
            wants[name] = wanted(codec, record)
            (tmp_path / f"{number}.tp").write_bytes(record)
            (tmp_path / f"{number}").write_text(str(wants[name]))
        done = subprocess.run(
            [sys.executable, __file__, str(tmp_path)], capture_output=True, text=True, timeout=240
        )
        assert done.returncode == 0, done.stderr[-3000:]
        report = json.loads(done.stdout)
        dtypes = {"uint8", "uint16", "uint64", "int64", "float32"}
        assert {name: r["said"] for name, r in report.items() if r["said"] not in dtypes} == {}
        over = {n: (r["took"], wants[n]) for n, r in report.items() if r["took"] > wants[n]}
        assert not over
        # a bound that is far too high would be none: where planes are large it is near
        for name in ("square", "two references", "split thrice", "nested splits"):
            assert report[name]["took"] > wants[name] / 4, (name, report[name], wants[name])
        # and where the machine has less, that is an error of ours
        scarce = {n: r["scarce"] for n, r in report.items() if r["scarce"].startswith("Memory")}
        assert not scarce
        assert sum(r["scarce"].startswith("TooMuchMemory") for r in report.values()) > 5, report


class TestWhatIsWantedGrowsWithTheSamples:
    @pytest.mark.parametrize(
        "shape", [(1 << 20, 1), (1, 1 << 20), (1 << 17, 8), (1 << 10, 1 << 10)]
    )
    def test_of_every_shape(self, shape: tuple[int, int]) -> None:
        """The square of the rows would be terabytes."""
        codec = TileCodec(tier="fast")
        body = bytes([0, 0, 1, 0, 0, 0, 0, 0, 1]) + (1 << 16).to_bytes(4, "little")
        record = forged((1, *shape), "uint8", [body], 0)
        assert wanted(codec, record) < (1 << 25) + 176 * (1 << 20)

    @pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "float64", "int64"])
    def test_our_largest_record_is_allowed(self, dtype: str) -> None:
        """2^26 samples of one plane, of splits in the way that the encoder makes them."""
        codec = TileCodec(tier="fast")
        leaf = bytes([0, 0, 1, 0, 0, 0, 0, 0, 1]) + (1 << 16).to_bytes(4, "little")
        body = leaf
        for _ in range({"float32": 1, "float64": 2, "int64": 2}.get(dtype, 0)):
            body = bytes([SPLIT, 0, 14]) + varint(len(body)) + body + leaf
        record = forged((1, 1, 1), dtype, [body], 0)
        grown = bytearray(record)
        grown[12:36] = np.array([1, 8192, 8192] * 2, "<u4").tobytes()
        if dtype.startswith("float"):
            grown[68] = 4 if dtype == "float64" else 3
            grown[70:78] = np.array(1.0).tobytes()
        grown[-4:] = crc32c(bytes(grown[:-4])).to_bytes(4, "little")
        assert wanted(codec, bytes(grown)) < 4 << 30


def steps_of(call: Callable[[], Any]) -> int:
    """Return how many instructions of Python a call takes: its time, however busy we are."""
    count = 0

    def look(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal count
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        count += event == "opcode"
        return look

    before = sys.gettrace()
    sys.settrace(look)
    try:
        call()
    finally:
        sys.settrace(before)
    return count


class TestManyPlanesTakeTimeByTheirNumber:
    def test_of_eight_times_as_many(self) -> None:
        """A scan of all planes for each would make it sixty-four times the time."""
        codec = TileCodec(tier="fast")
        steps = []
        for count in (250, 250, 2000):  # the first time is that of imports and caches, too
            record = forged((count, 1, 1), "uint8", [b"\x08\0"] * count, 0)
            steps.append(steps_of(lambda record=record: codec.decode(record)))
        assert steps[1] > 250
        assert steps[2] < 10 * steps[1]


class TestListsOfLevelsAreBounded:
    def test_levels_without_samples_are_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Each body of one sample may list 2^17 levels in a few bytes: hours, for a megabyte."""
        bits = np.zeros((1, 1 << 17), bool)
        bits[0, :2] = True
        coded = encode_bitmap(bits)
        leaf = bytes([PACKED, 0]) + varint((1 << 17) - 1) + varint(len(coded)) + coded + b"\0"
        body = leaf + bytes([0, 0, 0, 0, 0, 1]) + (1 << 16).to_bytes(4, "little")
        codec = TileCodec(tier="fast")
        few = forged((2, 1, 2), "uint8", [body] * 2, 0)
        with pytest.raises(Exception, match=r"damaged|crc32c"):
            codec.decode(few)
        many = forged((4000, 1, 2), "uint8", [body] * 4000, 0)
        monkeypatch.setattr(chunk, "decode_body", lambda *_: pytest.fail("a body was begun"))
        with pytest.raises(Exception, match="more work"):
            codec.decode(many)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
