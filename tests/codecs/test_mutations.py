"""Damaged and forged records: a named error or the very same array, within bounds of memory.

Every case is decoded in a child process, so that a crash or a hang there is a failure here. Run as
a program, this module is that child::

    python test_mutations.py START STOP PROGRESS    decode mutations START … STOP, report as JSON
    python test_mutations.py lies PROGRESS          lie about the numbers in valid records
    python test_mutations.py trees PROGRESS         lie about the context trees in valid records
    python test_mutations.py claims PROGRESS        decode small records that claim to be large
    python test_mutations.py INDEX                  decode one mutation in the open

A mutation depends on its index and on the golden records alone. Two of three have their checksum
repaired afterwards, as someone who means harm would do, so that what was changed reaches the parser
and the decoder.
"""

from __future__ import annotations

import collections
import dataclasses
import faulthandler
import functools
import itertools
import json
import os
import resource
import struct
import subprocess
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from tilepress.codecs.record import (
    DTYPES,
    HEADER_BYTES,
    OVERHEAD_BYTES,
    RecordHeader,
    crc32c,
    pack_record,
    samples_crc,
    unpack_record,
)
from tilepress.codecs.tile import TileCodec
from tilepress.codecs.wave import plane_format, wire
from tilepress.codecs.wave.tree import ContextTree
from tilepress.errors import CodecError, TilepressError

from ..helpers.native import checked

GOLDEN = sorted(Path(__file__).parent.glob("golden/v*"))
ROOT = Path(__file__).parents[2]
EVERYDAY = 10_000
LONG = 200_000
TREES = 60
"""Trees that are read in place of those of each record that has some."""
MARGIN_BYTES = 64 << 20
MAX_CLAIM = 1 << 18
"""Samples that a record mutated at random may claim; larger claims have a test of their own."""
SMALL_BYTES = 1400
LARGEST_BYTES = 9000
RSS_UNIT = 1 if sys.platform == "darwin" else 1024
CASE_SECONDS = 60
"""A case that takes longer is a hang: the slowest takes some milliseconds."""
EXTREMES = [
    0, 1, 2, 3, 4, 7, 8, 255, 256, 2**15, 2**16 - 1, 2**16, 2**17, 2**20 - 1, 2**20, 2**20 + 1,
    2**26, 2**26 + 1, 2**31 - 1, 2**31, 2**32 - 2, 2**32 - 1,
]  # fmt: skip


@dataclass(frozen=True)
class Valid:
    """A golden record with what is needed to judge its mutations."""

    name: str
    record: bytes
    codec: TileCodec
    header: RecordHeader
    array: npt.NDArray[Any]


@functools.lru_cache(maxsize=1)
def valid_records() -> list[Valid]:
    """Return the golden records that are small enough to be decoded thousands of times."""
    found = []
    for folder in GOLDEN:
        index = json.loads((folder / "index.json").read_text())
        for name, entry in sorted(index.items()):
            record = (folder / f"{name}.tp").read_bytes()
            if len(record) <= LARGEST_BYTES:
                codec = TileCodec.from_config(entry["configuration"])
                header, samples = unpack_record(record)[0], codec.decode(record)
                found.append(Valid(f"{folder.name}/{name}", record, codec, header, samples))
    return found


def repair(data: bytearray) -> bytes:
    """Make the length and the checksum of a record right again."""
    if len(data) < OVERHEAD_BYTES:
        data = data.ljust(OVERHEAD_BYTES, b"\0")
    struct.pack_into("<I", data, HEADER_BYTES - 4, len(data) - OVERHEAD_BYTES)
    struct.pack_into("<I", data, len(data) - 4, crc32c(bytes(data[:-4])))
    return bytes(data)


def place(rng: np.random.Generator, length: int, size: int = 1) -> int:
    """Return an offset: half of them anywhere, the others where the numbers are that steer."""
    last = max(0, length - size)
    if rng.random() < 0.5:
        return int(rng.integers(0, last + 1))
    start = 0 if rng.random() < 0.3 else HEADER_BYTES
    return min(last, start + int(rng.exponential(24)))


def change(data: bytearray, others: list[Valid], rng: np.random.Generator) -> bytearray:
    """Change a record once, in one of ten ways."""
    length, way = len(data), int(rng.integers(0, 10))
    at = place(rng, length)
    size = min(int(rng.integers(1, 33)), length - at)
    other = others[int(rng.integers(0, len(others)))].record
    if way <= 1:
        data[at] ^= 1 << int(rng.integers(0, 8))
    elif way == 2:
        data[at] = int(rng.choice([0, 1, 2, 3, 0x7F, 0x80, 0xFE, 0xFF]))
    elif way == 3:
        data[at : at + size] = rng.bytes(size)
    elif way == 4:  # one of the fields of four bytes; any offset is one of them somewhere
        at = place(rng, length, 4)
        data[at : at + 4] = struct.pack("<I", int(rng.choice(EXTREMES)))
    elif way == 5:
        data[at:at] = data[at : at + size]
    elif way == 6:
        del data[at : at + size]
    elif way == 7:
        data[at : at + size] = bytes(size)
    elif way == 8:  # the number that a varint holds, at its largest
        data[at : at + 1] = b"\xff" * int(rng.integers(0, 10)) + b"\x7f"
    else:  # the head of this record, the tail of another
        data[at:] = other[min(len(other), place(rng, len(other))) :]
    return data


def mutation(index: int) -> tuple[Valid, bytes]:
    """Return mutation ``index`` and the record that it was made of."""
    records = valid_records()
    rng = np.random.default_rng([2, index])
    valid = records[index % len(records)]
    data = bytearray(valid.record)
    for _ in range(int(rng.choice([1, 1, 1, 2, 3, 8]))):
        data = change(data, records, rng)
        if not data:
            break
    return valid, repair(data) if rng.random() < 2 / 3 else bytes(data)


def same_meaning(header: RecordHeader, valid: RecordHeader) -> bool:
    """Whether a header says of the array what the valid one does (``max_error`` informs only)."""
    names = ("coder", "dtype", "shape", "coded", "fill", "two_d", "symbols_crc")
    return all(getattr(header, name) == getattr(valid, name) for name in names)


def fits(array: npt.NDArray[Any], header: RecordHeader) -> str:
    """Return what an array lacks of what its record's header says; nothing if it is as it says."""
    shape = header.shape[1:] if header.two_d else header.shape
    if header.two_d and header.shape[0] != 1:
        return f"two axes said, {header.shape[0]} planes dropped"
    if array.shape != shape or array.dtype.name != header.dtype.name:
        return f"{array.shape} of {array.dtype.name}, not {shape} of {header.dtype.name}"
    planes = array.reshape(header.shape).astype(header.dtype)
    box = tuple(slice(n) for n in header.coded)
    if samples_crc(np.ascontiguousarray(planes[box])) != header.symbols_crc:
        return "samples that are not those of their checksum"
    rest = np.ones(header.shape, bool)
    rest[box] = False
    raw = np.ascontiguousarray(planes[rest]).view(np.uint8).reshape(-1, len(header.fill))
    if (raw != np.frombuffer(header.fill, np.uint8)).any():
        return "something else than fill outside the coded box"
    return ""


def judge(valid: Valid, data: bytes, expecting: bool) -> tuple[str, str]:
    """Decode; return what came, and what is wrong with that (nothing if all is well)."""
    expect = (valid.array.shape, valid.array.dtype) if expecting else None
    try:
        array = valid.codec.decode(data, expect=expect)
    except CodecError as error:
        return error.kind, "" if len(str(error)) > 10 else f"an error that says {error}"
    except Exception as error:  # whatever it is: the parent tells
        return "wrong", f"{type(error).__name__}: {error}"
    header, _ = unpack_record(data)
    if same_meaning(header, valid.header):
        same = array.tobytes() == valid.array.tobytes() and array.shape == valid.array.shape
        return "same", "" if same else "other samples"
    return "forged", fits(array, header)


def claims(data: bytes) -> int:
    """Samples that a record claims to hold, 0 if it is none."""
    try:
        return int(np.prod(unpack_record(data)[0].shape))
    except TilepressError:
        return 0


def peak_bytes() -> int:
    """Most memory that this process ever held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * RSS_UNIT


def run_cases(start: int, stop: int, progress: str) -> dict[str, Any]:
    """Decode mutations ``start`` … ``stop`` − 1; report counts, failures and memory."""
    kinds: collections.Counter[str] = collections.Counter()
    wrong: list[str] = []
    judge(*mutation(0), True)
    before, claimed = peak_bytes(), max(len(v.array.tobytes()) for v in valid_records())
    with Path(progress).open("wb", buffering=0) as note:
        for index in range(start, stop):
            os.pwrite(note.fileno(), b"%12d" % index, 0)
            if index % 64 == 0:
                faulthandler.dump_traceback_later(CASE_SECONDS, exit=True)
            valid, data = mutation(index)
            expecting = index % 2 == 0
            if not expecting and claims(data) > MAX_CLAIM:
                kinds["large"] += 1
                continue
            if not expecting:
                claimed = max(claimed, claims(data) * 8)
            kind, fault = judge(valid, data, expecting)
            kinds[kind] += 1
            if fault:
                wrong.append(f"mutation {index} of {valid.name}: {fault}; {len(data)} bytes")
    faulthandler.cancel_dump_traceback_later()
    return {"kinds": kinds, "wrong": wrong[:20], "all_wrong": len(wrong), "cases": stop - start,
            "grown": peak_bytes() - before, "claimed": claimed}  # fmt: skip


class Liar:
    """Stands in for the methods of ``wire.Reader``: what a record holds is read as something else.

    Mutated bytes seldom reach numbers behind checks and lengths; here the reader itself lies. What
    it returns could stand in a record, so it must be met like any other forgery.
    """

    CHOICES = 12

    def __init__(self) -> None:
        self.at = self.taken = 0
        self.numbers: dict[int, tuple[int, bool]] = {}
        """Which number, in order of reading, is a lie: which one, and whether nothing is read."""
        self.take = -1
        """Which run of bytes is read as 0xFF throughout."""
        self._inside = False
        names = ("byte", "flag", "varint", "signed_varint", "take")
        self._true = {name: getattr(wire.Reader, name) for name in names}

    def __enter__(self) -> Liar:
        for name in self._true:
            setattr(wire.Reader, name, self._take() if name == "take" else self._number(name))
        return self

    def __exit__(self, *_: object) -> None:
        for name, method in self._true.items():
            setattr(wire.Reader, name, method)

    def tell(
        self, valid: Valid, data: bytes, numbers: dict[int, tuple[int, bool]], take: int = -1
    ) -> tuple[str, str]:
        """Judge how a record is met of which these numbers and bytes are read wrongly."""
        self.at = self.taken = 0
        self.numbers, self.take = numbers, take
        return judge(valid, data, expecting=False)

    def _number(self, name: str) -> Any:
        def read(reader: wire.Reader, *limit: int) -> int:
            if self._inside:  # a flag reads a byte, a signed varint an unsigned one
                return int(self._true[name](reader, *limit))
            choice, silent = self.numbers.get(self.at, (-1, False))
            self.at += 1
            value = 0
            if not silent:
                self._inside = True
                try:
                    value = int(self._true[name](reader, *limit))
                finally:
                    self._inside = False
            if choice < 0:
                return value
            most = {"byte": 255, "flag": 1}.get(name, limit[0] if limit else 2**63 - 1)
            least = -(2**63) if name == "signed_varint" else 0
            values = [least, least + 1, most, most - 1, most // 2, 0, 1, 2, 3, 5, 16, 100]
            return min(max(values[choice], least), most)

        return read

    def _take(self) -> Any:
        def take(reader: wire.Reader, count: int) -> memoryview:
            found: memoryview = self._true["take"](reader, count)
            if self._inside:
                return found
            self.taken += 1
            return memoryview(b"\xff" * count) if self.taken - 1 == self.take else found

        return take


def run_lies(every: int, progress: str) -> dict[str, Any]:
    """Lie about every number of every record, about random pairs and triples, and about types.

    Of all these, one of ``every`` many.
    """
    turns = itertools.cycle(range(every))
    kinds: collections.Counter[str] = collections.Counter()
    wrong: list[str] = []
    note = os.open(progress, os.O_WRONLY | os.O_CREAT)

    def case(
        name: str, valid: Valid, data: bytes, lies: dict[int, tuple[int, bool]], take: int
    ) -> None:
        if next(turns):
            return
        os.pwrite(note, f"{name} of {valid.name}".ljust(200).encode(), 0)
        kind, fault = liar.tell(valid, data, lies, take)
        kinds[kind] += 1
        if fault:
            wrong.append(f"{name} of {valid.name}: {fault}")

    with Liar() as liar:
        for number, valid in enumerate(valid_records()):
            faulthandler.dump_traceback_later(2 * CASE_SECONDS, exit=True)
            liar.tell(valid, valid.record, {})
            count = min(liar.at, 40)
            lies = itertools.product(range(count), range(Liar.CHOICES), (False, True))
            for at, choice, silent in lies:
                case(
                    f"number {at}, {choice}, {silent}",
                    valid,
                    valid.record,
                    {at: (choice, silent)},
                    -1,
                )
            rng = np.random.default_rng([3, number])
            for _ in range(300 if count else 0):
                several = {
                    int(rng.integers(0, count)): (
                        int(rng.integers(0, Liar.CHOICES)),
                        bool(rng.random() < 0.4),
                    )
                    for _ in range(int(rng.integers(2, 4)))
                }
                case(f"numbers {several}", valid, valid.record, several, -1)
            for code, kind, take in itertools.product(range(len(DTYPES)), range(6), range(-1, 5)):
                case(
                    f"dtype {code}, map {kind}, bytes {take}",
                    valid,
                    retyped(valid, code, kind),
                    {},
                    take,
                )
    faulthandler.cancel_dump_traceback_later()
    os.close(note)
    return {"kinds": kinds, "wrong": wrong[:20], "all_wrong": len(wrong),
            "cases": kinds.total(), "grown": 0, "claimed": 0}  # fmt: skip


def forged_tree(data: bytes, others: list[bytes], rng: np.random.Generator) -> bytes:
    """Change the bytes of a tree in one of six ways; what comes of it is often a tree again."""
    at, way = int(rng.integers(0, len(data))), int(rng.integers(0, 6))
    if way == 0:
        return data[:at]
    if way == 1:
        return data[:at] + rng.bytes(int(rng.integers(1, 5))) + data[at:]
    if way == 2:
        return others[int(rng.integers(0, len(others)))]
    if way == 3:  # begins with a node
        return bytes([int(rng.integers(0, 256)) | 2]) + rng.bytes(int(rng.integers(0, 300)))
    if way == 4:
        return data[:at] + bytes([data[at] ^ 1 << int(rng.integers(0, 8))]) + data[at + 1 :]
    return data[:at] + rng.bytes(len(data) - at)


def run_trees(progress: str) -> dict[str, Any]:
    """Read other trees than the records hold, bytes that are none among them.

    The coding of a tree leaves few bytes without a meaning, so most of what is read is a tree, of
    thresholds and tables that no encoder would choose.
    """
    kinds: collections.Counter[str] = collections.Counter()
    wrong: list[str] = []
    trees: dict[str, list[bytes]] = collections.defaultdict(list)
    read_tree = plane_format.read_tree

    def note(data: memoryview, n_refs: int) -> ContextTree:
        trees[valid.name].append(bytes(data))
        return read_tree(data, n_refs)

    def lie(data: memoryview, n_refs: int) -> ContextTree:
        nonlocal number
        number -= 1
        if number:
            return read_tree(data, n_refs)
        tree = read_tree(memoryview(forged_tree(bytes(data), others, rng)), n_refs)
        kinds["read"] += 1
        return tree

    plane_format.read_tree = note
    for valid in valid_records():
        valid.codec.decode(valid.record)
    plane_format.read_tree = lie
    others = [tree for of_record in trees.values() for tree in of_record]
    for index, valid in enumerate(v for v in valid_records() if v.name in trees):
        faulthandler.dump_traceback_later(2 * CASE_SECONDS, exit=True)
        for case in range(TREES):
            Path(progress).write_text(f"tree {case} of {valid.name}")
            rng = np.random.default_rng([4, index, case])
            number = 1 + case % len(trees[valid.name])
            kind, fault = judge(valid, valid.record, expecting=False)
            kinds[kind] += 1
            if fault:
                wrong.append(f"tree {case} of {valid.name}: {fault}")
    faulthandler.cancel_dump_traceback_later()
    plane_format.read_tree = read_tree
    return {"kinds": kinds, "wrong": wrong[:20], "all_wrong": len(wrong),
            "cases": (index + 1) * TREES, "grown": 0, "claimed": 0}  # fmt: skip


def run_claims(progress: str) -> dict[str, Any]:
    """Decode records that claim to be far larger than they are; report what each one took."""
    side = 1400
    codec = TileCodec()

    def large() -> str:
        noise = np.random.default_rng(4).integers(0, 40, (side, side))
        return codec.encode(noise.cumsum(-1).astype(np.uint16)).hex()

    record = bytes.fromhex(apart(large)[0])  # apart: what coding it took is no baseline
    kinds: collections.Counter[str] = collections.Counter()
    wrong: list[str] = []
    took: dict[str, int] = {}

    def case(name: str, valid: Valid, data: bytes) -> None:
        Path(progress).write_text(name)
        (kind, fault), took[name] = apart(lambda: judge(valid, data, expecting=False))
        kinds[kind] += 1
        if fault:
            wrong.append(f"{name}: {fault}")

    took["honest"] = apart(lambda: codec.decode(record).size)[1]
    for valid in valid_records():
        header, payload = unpack_record(valid.record)
        planes = max(1, header.coded[0])
        each = (planes, side, side // planes)
        for shape, box in ((each, each), (each, header.coded), ((1, side, side), header.coded)):
            coded = tuple(min(b, n) for b, n in zip(box, shape, strict=True))
            claim = dataclasses.replace(header, shape=shape, coded=coded, two_d=False)
            forged = pack_record(claim, bytes(payload))
            case(f"{valid.name} as {shape}, {coded} coded", valid, forged)
    return {"kinds": kinds, "wrong": wrong[:20], "all_wrong": len(wrong), "took": took,
            "cases": kinds.total(), "grown": 0, "claimed": 0}  # fmt: skip


def apart(action: Callable[[], Any]) -> tuple[Any, int]:
    """Run ``action`` in a fork of this process; return its result and the bytes that took."""
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # forks beside threads: there are none
        child = os.fork()
    if child == 0:
        os.close(reading)
        before = peak_bytes()
        answer = action()
        with os.fdopen(writing, "w") as pipe:
            json.dump([answer, peak_bytes() - before], pipe)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        text = pipe.read()
    _, status = os.waitpid(child, 0)
    if status or not text:
        return ["wrong", f"ended with status {status}"], 0
    answer, took = json.loads(text)
    return answer, took


def retyped(valid: Valid, code: int, first: int) -> bytes:
    """Return a record with another dtype in its header and another first byte of its payload."""
    header, payload = unpack_record(valid.record)
    dtype = np.dtype(DTYPES[code]).newbyteorder("<")
    fill = header.fill.ljust(8, b"\0")[: dtype.itemsize]
    other = dataclasses.replace(header, dtype=dtype, fill=fill)
    return pack_record(other, bytes([first]) + bytes(payload[1:]))


def in_a_child(
    tmp_path: Path, *arguments: object, timeout: float, **variables: str
) -> dict[str, Any]:
    """Run this module as a program; a crash, a hang or bad output fails, naming the case."""
    progress = tmp_path / "progress"
    progress.write_bytes(b"none")
    done = subprocess.run(
        [sys.executable, "-m", "tests.codecs.test_mutations", *map(str, arguments), str(progress)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]), **variables},
        capture_output=True,
        text=True,
        timeout=timeout,
        cwd=tmp_path,
    )
    at = progress.read_bytes().decode().strip()
    assert done.returncode == 0, f"ended with {done.returncode} at case {at}: {done.stderr[-3000:]}"
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def check(report: dict[str, Any]) -> None:
    assert not report["wrong"], f"{report['all_wrong']} wrong:\n" + "\n".join(report["wrong"])
    assert report["grown"] < 2 * (report["claimed"] + MARGIN_BYTES), report


class TestEveryCutIsAnError:
    """A disk runs full, a connection breaks: half a record is not half an image."""

    @pytest.mark.parametrize(
        "valid", [v for v in valid_records() if len(v.record) < SMALL_BYTES], ids=lambda v: v.name
    )
    def test_at_every_byte(self, valid: Valid) -> None:
        for length in range(len(valid.record)):
            with pytest.raises(CodecError) as caught:
                valid.codec.decode(valid.record[:length])
            assert caught.value.kind in ("invalid-record", "checksum")

    @pytest.mark.parametrize(
        "valid", [v for v in valid_records() if len(v.record) < SMALL_BYTES], ids=lambda v: v.name
    )
    def test_also_with_its_checksum_repaired(self, valid: Valid) -> None:
        """The payload itself notices what it lacks, wherever it was cut."""
        for length in range(HEADER_BYTES, len(valid.record) - 4):
            cut = repair(bytearray(valid.record[:length] + b"\0\0\0\0"))
            with pytest.raises(CodecError):
                valid.codec.decode(cut)

    def test_bytes_behind_the_end(self) -> None:
        for valid in valid_records():
            for tail in (b"\0", b"\0" * 4, valid.record):
                with pytest.raises(CodecError):
                    valid.codec.decode(valid.record + tail)


class TestNoMutationDecodesToOtherSamples:
    """Thousands of damaged and forged records: never other samples, never another exception."""

    def test_repairing_what_is_whole_changes_nothing(self) -> None:
        """Else the repaired mutations would all end at the checksum, and test nothing."""
        for valid in valid_records():
            broken = bytearray(valid.record)
            broken[HEADER_BYTES - 4 : HEADER_BYTES] = broken[-4:] = b"\0\0\0\0"
            assert repair(broken) == valid.record

    def test_everyday(self, tmp_path: Path) -> None:
        report = in_a_child(tmp_path, 0, EVERYDAY, timeout=240)
        check(report)
        assert report["cases"] == EVERYDAY
        kinds = report["kinds"]
        assert set(kinds) <= {
            "invalid-record", "checksum", "unsupported-format", "same", "forged", "large",
        }  # fmt: skip
        # mutations that only met the outer checksum would prove little
        assert kinds["invalid-record"] > EVERYDAY / 5
        assert kinds["same"] > 20
        assert kinds["large"] < EVERYDAY / 100

    @pytest.mark.slow
    def test_nor_does_a_lie_about_a_number(self, tmp_path: Path) -> None:
        report = in_a_child(tmp_path, "lies", 23, timeout=240)
        check(report)
        assert report["cases"] > 400
        assert report["kinds"]["invalid-record"] > 100

    @pytest.mark.slow
    def test_nor_does_another_tree(self, tmp_path: Path) -> None:
        report = in_a_child(tmp_path, "trees", timeout=240)
        check(report)
        assert report["cases"] >= 1000
        assert report["kinds"]["read"] > report["cases"] / 8
        assert report["kinds"]["invalid-record"] > report["cases"] / 2

    @pytest.mark.slow
    def test_a_claim_costs_no_more_than_the_real_thing(self, tmp_path: Path) -> None:
        """A hundred bytes may claim millions of samples: at most twice an honest record's cost."""
        report = in_a_child(tmp_path, "claims", timeout=240)
        check(report)
        took = report["took"]
        most = 2 * took["honest"]
        assert took["honest"] > MARGIN_BYTES / 2, "nothing was measured"
        assert len(took) > 50
        assert not {name: size for name, size in took.items() if size > most}, most

    @pytest.mark.long
    @pytest.mark.timeout(1800)
    def test_long(self, tmp_path: Path) -> None:
        check(in_a_child(tmp_path, EVERYDAY, EVERYDAY + LONG, timeout=1700))
        check(in_a_child(tmp_path, "lies", 1, timeout=1700))

    @pytest.mark.long
    @pytest.mark.timeout(1200)
    def test_no_index_leaves_its_array(self, tmp_path: Path) -> None:
        """Run with every access to memory checked: whatever a record says, none is wrong."""
        variables = checked(tmp_path / "_kernel.so")
        for arguments in ((0, EVERYDAY), ("lies", 1), ("trees",)):
            report = in_a_child(tmp_path, *arguments, timeout=1000, **variables)
            assert not report["wrong"], report["wrong"]


def main(arguments: list[str]) -> None:
    faulthandler.enable()
    if len(arguments) == 1:
        valid, data = mutation(int(arguments[0]))
        print(valid.name, data.hex())
        print(valid.codec.decode(data))
        return
    warnings.simplefilter("error")  # a reader that makes errors of warnings is a reader too
    runs = {"trees": run_trees, "claims": run_claims}
    if arguments[0] == "lies":
        report = run_lies(int(arguments[1]), arguments[2])
    elif arguments[0] in runs:
        report = runs[arguments[0]](arguments[1])
    else:
        report = run_cases(int(arguments[0]), int(arguments[1]), arguments[2])
    print(json.dumps(report))


if __name__ == "__main__":
    main(sys.argv[1:])
