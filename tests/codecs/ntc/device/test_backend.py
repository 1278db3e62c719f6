"""``ntc`` by torch: the CPU's bytes and samples, to the bit, in batches.

Everything runs with torch on the CPU, through the code that a GPU runs; where there is a GPU, there
too (``make gpu-check``).
"""

from __future__ import annotations

import hashlib
import pickle
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tilepress.codecs import owner
from tilepress.codecs.budget import Budget
from tilepress.codecs.ntc import plane as native
from tilepress.codecs.ntc.backend import CPU, Backend
from tilepress.codecs.ntc.chunk import Analysis, decode_chunk
from tilepress.codecs.ntc.codec import parse_model
from tilepress.codecs.ntc.decoders.networks import Networks
from tilepress.codecs.ntc.device import backend, planes, transform
from tilepress.codecs.ntc.device.backend import DeviceBackend
from tilepress.codecs.ntc.device.places import layout
from tilepress.codecs.ntc.layout import LAPPED, TABLES, WAVELET
from tilepress.codecs.ntc.model import NtcModel
from tilepress.codecs.record import unpack_record
from tilepress.codecs.tile import TileCodec
from tilepress.codecs.weights import load_named
from tilepress.errors import CodecError, InvalidRecord, UnsupportedFormat

from ..decoders.test_networks import weights
from ..pictures import image as planes_of
from ..test_golden import GOLDEN, INDEX, regenerate, sha256

MODEL = parse_model(load_named("ntc-1").data)


def dependent() -> NtcModel:
    """Return MODEL's nets with tables for two quantisers, no two of a cell alike."""
    others = np.roll(np.arange(TABLES), 3)
    frequencies = np.concatenate([MODEL.frequencies, MODEL.frequencies[others]])
    offsets = np.concatenate([MODEL.offsets, MODEL.offsets[others] // 2 - 3])
    return NtcModel(MODEL.nets, frequencies, offsets)


DEPENDENT = dependent()
MODELS = pytest.mark.parametrize("model", [MODEL, DEPENDENT], ids=["plain", "dependent"])
SIZES = {
    LAPPED: [(8, 8), (16, 8), (40, 56), (8, 200), (136, 144)],
    WAVELET: [(1, 1), (1, 9), (9, 1), (2, 3), (8, 8), (7, 200), (75, 90), (129, 131)],
}
KINDS_AND_SIZES = [(kind, sides) for kind, some in SIZES.items() for sides in some]


NO_DEVICE = backend.why_no_device()
DEVICES = ["cpu", *([] if NO_DEVICE else [pytest.param("cuda", marks=pytest.mark.gpu)])]


@pytest.fixture(scope="module", params=DEVICES)
def device(request: pytest.FixtureRequest) -> DeviceBackend:
    return DeviceBackend(request.param)


@pytest.mark.gpu
def test_all_of_it_ran_on_a_gpu() -> None:
    if NO_DEVICE:
        pytest.skip(f"no CUDA device: torch's code ran on the CPU only ({NO_DEVICE})")
    assert len(DEVICES) == 2


@pytest.fixture
def here(device: DeviceBackend, monkeypatch: pytest.MonkeyPatch) -> DeviceBackend:
    """Let codecs for "cuda" find it; requests meet, however slow the machine."""
    monkeypatch.setattr(backend.OPEN, "device", device)
    monkeypatch.setattr(owner, "PATIENCE_S", 5.0)
    return device


def picture(height: int, width: int, seed: int) -> np.ndarray:
    """Return (y, x)."""
    return planes_of(height, width, seed=seed)[0]


def coefficients(kind: int, count: int, sides: tuple[int, int], step: float) -> np.ndarray:
    made = np.stack([picture(*sides, seed) for seed in range(count)]).astype(np.float32)
    made -= made.mean()
    for plane in made:
        native.forward(kind, plane)
    return made * np.float32(1 / step)


def bits_of(floats: np.ndarray) -> np.ndarray:
    """Zeros of both signs differ."""
    return floats.view(np.int32)


class TestTransforms:
    @pytest.mark.parametrize(("kind", "sides"), KINDS_AND_SIZES)
    def test_to_the_bit(self, device: DeviceBackend, kind: int, sides: tuple[int, int]) -> None:
        given = np.random.default_rng(1).normal(0, 900, (3, *sides)).astype(np.float32)
        there, expected = torch.from_numpy(given.copy()).to(device.name), given.copy()
        transform.forward(kind, there)
        for plane in expected:
            native.forward(kind, plane)
        assert np.array_equal(bits_of(there.cpu().numpy()), bits_of(expected))
        transform.inverse(kind, there)
        for plane in expected:
            native.inverse(kind, plane)
        assert np.array_equal(bits_of(there.cpu().numpy()), bits_of(expected))


@pytest.mark.parametrize(("kind", "sides"), KINDS_AND_SIZES)
def test_bands_lie_where_native_code_has_them(kind: int, sides: tuple[int, int]) -> None:
    places = layout(kind, *sides)
    assert len(places.bands) == native.band_count(kind, *sides)
    cells = places.low[0] * places.low[1] + sum(b.height * b.width for b in places.bands)
    means = sides[0] // 8 * (sides[1] // 8) if kind == LAPPED else 0
    assert cells == sides[0] * sides[1]
    assert places.cells + 1 + 15 + 63 + 16 == native.maps_size(kind, *sides)
    assert sum(b.height * b.width for b in places.bands if b.of_means) <= means


class TestPlanes:
    """Every value, table and bit of what native code chooses, with and without planes before."""

    @pytest.mark.parametrize("step", [0.3, 9.0, 150.0])
    @pytest.mark.parametrize(("kind", "sides"), KINDS_AND_SIZES)
    def test_chosen_and_decoded(
        self, device: DeviceBackend, kind: int, sides: tuple[int, int], step: float
    ) -> None:
        self.check(device, kind, sides, step, MODEL)

    @pytest.mark.parametrize("step", [0.3, 9.0, 150.0])
    @pytest.mark.parametrize(
        ("kind", "sides"),
        [(LAPPED, (40, 56)), (LAPPED, (136, 144)), (WAVELET, (7, 200)), (WAVELET, (75, 90))],
    )
    def test_of_dependent_values(
        self, device: DeviceBackend, kind: int, sides: tuple[int, int], step: float
    ) -> None:
        self.check(device, kind, sides, step, DEPENDENT)

    def check(
        self,
        device: DeviceBackend,
        kind: int,
        sides: tuple[int, int],
        step: float,
        model: NtcModel,
    ) -> None:
        theirs = ours = None
        for given in coefficients(kind, 2, sides, step):
            here, there = given.copy(), given.copy()
            a = CPU.encode(kind, here, theirs, model, 8.0)
            b = device.encode(kind, there, ours, model, 8.0)
            assert np.array_equal(a.values, b.values)
            assert np.array_equal(a.tables, b.tables)
            assert (a.bands, a.low_table, a.bits) == (b.bands, b.low_table, b.bits)
            assert np.array_equal(bits_of(here), bits_of(there))
            if (stream := native_stream(a, model)) is not None:
                back = np.zeros(sides, np.float32)
                ours = device.decode(kind, back, ours, model, stream)
                assert np.array_equal(bits_of(back), bits_of(here))
            else:
                ours = device.blank(kind, sides)
            theirs = a.maps

    @pytest.mark.parametrize("sides", [(1, 1), (1, 9), (9, 1), (2, 3), (8, 8)])
    def test_of_few_dependent_values(self, device: DeviceBackend, sides: tuple[int, int]) -> None:
        self.check(device, WAVELET, sides, 3.0, DEPENDENT)

    @MODELS
    def test_rows_at_a_time_change_nothing(
        self, device: DeviceBackend, monkeypatch: pytest.MonkeyPatch, model: NtcModel
    ) -> None:
        """Planes too large for the sums of a band to be held at once."""
        for kind, sides in ((LAPPED, (40, 56)), (WAVELET, (75, 90))):
            (given,) = coefficients(kind, 1, sides, 3.0)
            whole, parts = given.copy(), given.copy()
            a = device.encode(kind, whole, None, model, 8.0)
            with monkeypatch.context() as patched:
                patched.setattr(planes, "_SUMS", 3 * 30)
                b = device.encode(kind, parts, None, model, 8.0)
                assert np.array_equal(a.values, b.values)
                back = np.zeros(sides, np.float32)
                device.decode(kind, back, None, model, native_stream(b, model))
            assert a.bits == b.bits
            assert np.array_equal(whole, parts)
            assert np.array_equal(whole, back)

    @MODELS
    def test_largest_values(self, device: DeviceBackend, model: NtcModel) -> None:
        for kind in (LAPPED, WAVELET):
            given = np.full((32, 32), 1e12, np.float32)
            given[::2] = -1e12
            here, there = given.copy(), given.copy()
            a = CPU.encode(kind, here, None, model, 8.0)
            b = device.encode(kind, there, None, model, 8.0)
            assert np.array_equal(a.values, b.values)
            assert a.bits == b.bits
            assert np.array_equal(bits_of(here), bits_of(there))

    @MODELS
    def test_any_price(self, device: DeviceBackend, model: NtcModel) -> None:
        """A GPU would round a product and a sum once, if it was left to."""
        (given,) = coefficients(LAPPED, 1, (64, 64), 2.0)
        for price in (0.3, 7.1, 10.0, 333.3):
            here, there = given.copy(), given.copy()
            a = CPU.encode(LAPPED, here, None, model, price)
            b = device.encode(LAPPED, there, None, model, price)
            assert np.array_equal(a.values, b.values)
            assert a.bits == b.bits


def native_stream(coded: native.CodedPlane, model: NtcModel = MODEL) -> native.Stream | None:
    from tilepress.codecs.ntc.chunk import _stream

    return _stream(coded, model)


@pytest.mark.parametrize("name", sorted(INDEX))
class TestGoldenRecords:
    def test_decodes_as_ever(self, device: DeviceBackend, name: str) -> None:
        data = (GOLDEN / "ntc" / f"{name}.tp").read_bytes()
        header, payload = unpack_record(data)
        model = parse_model(load_named(INDEX[name]["model"]).data)
        samples = decode_chunk(
            payload, header.coded, header.dtype, model, Budget("decoding", 2**30), backend=device
        )
        assert sha256(np.ascontiguousarray(samples).tobytes()) == INDEX[name]["samples_sha256"]

    def test_is_written_again_as_the_cpu_writes_it(self, device: DeviceBackend, name: str) -> None:
        case = next(c[1:] for c in regenerate.cases() if c[0] == name)
        model, samples, absent, bands, step, kind = case
        found = []
        for one in (CPU, device):
            analysis = Analysis.of(samples, absent, bands, one)
            assert analysis is not None
            analysis.kinds = (kind,)
            found.append(analysis.encode(step, parse_model(load_named(model).data))[0])
        assert found[0] == found[1]


class TestCodecs:
    def pictures(self) -> list[np.ndarray]:
        rgb = np.stack([picture(48, 56, k) // 9 for k in range(3)]).astype(np.uint8)
        holed = picture(48, 56, 5)
        holed[10:20, 10:30] = 0
        return [rgb, np.stack([picture(48, 56, k) for k in (4, 5, 6)]), np.stack([holed] * 3)]

    @pytest.mark.parametrize("target", [{"quality": 70.0}, {"psnr": 41.0}, {"bits_per_sample": 2}])
    def test_the_same_records(self, here: DeviceBackend, target: dict[str, float]) -> None:
        on_cpu = TileCodec("ntc", **target, nodata=0, tier="fast")
        on_device = TileCodec("ntc", **target, nodata=0, tier="fast", device="cuda")
        arrays = self.pictures()
        records = on_cpu.encode_many(arrays, bands=3)
        assert on_device.encode_many(arrays, bands=3) == records
        for one, other in zip(
            on_device.decode_many(records), on_cpu.decode_many(records), strict=True
        ):
            assert np.array_equal(one, other)
        assert np.array_equal(
            on_device.decode(records[0], scale=2), on_cpu.decode(records[0], scale=2)
        )
        assert np.array_equal(
            on_device.decode(records[1], planes=[1]), on_cpu.decode(records[1], planes=[1])
        )

    def test_of_dependent_values(self, here: DeviceBackend, tmp_path: Path) -> None:
        weights = tmp_path / "dependent.safetensors"
        weights.write_bytes(DEPENDENT.to_bytes())
        arrays, records = self.pictures()[1:], []
        for where in ("cpu", "cuda"):
            codec = TileCodec("ntc", quality=60.0, nodata=0, model=str(weights), device=where)
            records.append(codec.encode_many(arrays, bands=3))
        assert records[0] == records[1]
        on_cpu = TileCodec("ntc", quality=60.0, model=str(weights)).decode_many(records[0])
        for one, other in zip(codec.decode_many(records[0]), on_cpu, strict=True):
            assert np.array_equal(one, other)

    def test_exact_bands_and_bounds(self, here: DeviceBackend) -> None:
        samples = np.stack([picture(40, 48, k) for k in range(4)])
        for options in ({"psnr": 40.0, "max_error": 30}, {"psnr": 40.0}):
            config = TileCodec("ntc", **options).to_config()
            exact = () if "max_error" in options else (3,)
            made = [
                TileCodec.from_config(config, device=where, exact=exact)
                for where in ("cpu", "cuda")
            ]
            first, second = (one.encode(samples, bands=4) for one in made)
            assert first == second
            assert np.array_equal(made[0].decode(first), made[1].decode(first))

    def test_a_codec_travels_to_another_process(self, here: DeviceBackend) -> None:
        codec = TileCodec("ntc", quality=60.0, device="cuda")
        samples = self.pictures()[1]
        again = pickle.loads(pickle.dumps(codec))
        assert again.encode(samples) == TileCodec("ntc", quality=60.0).encode(samples)


@pytest.fixture
def batches(here: DeviceBackend, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Return what runs on the device from here on: which way and how many planes."""
    seen: list[tuple[str, int]] = []

    def spy(name: str) -> None:
        run = getattr(planes, name)

        def spied(kind: int, *rest: Any) -> Any:
            assert threading.current_thread().name == "tilepress-device-owner"
            seen.append((name, len(rest[0] if name == "encode_planes" else rest[1])))
            return run(kind, *rest)

        monkeypatch.setattr(planes, name, spied)

    spy("encode_planes")
    spy("decode_planes")
    return seen


PLAIN = "ntc-2"
"""Weights with which every chunk asks for the same: both transforms."""


class TestBatches:
    ARRAYS = tuple(picture(40, 48, k) for k in range(4))

    def test_chunks_run_together(self, batches: list[tuple[str, int]]) -> None:
        codec = TileCodec("ntc", quality=60.0, model=PLAIN, device="cuda")
        records = codec.encode_many(self.ARRAYS)
        assert batches == [("encode_planes", 4)] * 2  # both transforms
        batches.clear()
        codec.decode_many(records)
        assert sum(count for _, count in batches) == 4
        assert max(count for _, count in batches) > 1

    def test_as_many_as_the_memory_takes(
        self, batches: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(backend, "DEVICE_BYTES", 3 * 64 * 40 * 48)
        codec = TileCodec("ntc", quality=60.0, model=PLAIN, device="cuda")
        records = codec.encode_many(self.ARRAYS)
        assert [count for _, count in batches] == [3, 1, 3, 1]
        assert records == TileCodec("ntc", quality=60.0, model=PLAIN).encode_many(self.ARRAYS)

    def test_one_that_is_too_large_runs_in_halves(
        self, here: DeviceBackend, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        sizes: list[int] = []
        run = planes.encode_planes

        def encode(kind: int, some: torch.Tensor, *rest: Any) -> Any:
            sizes.append(len(some))
            if len(some) > 2:
                raise torch.OutOfMemoryError("no more")
            return run(kind, some, *rest)

        monkeypatch.setattr(planes, "encode_planes", encode)
        records = TileCodec("ntc", quality=60.0, model=PLAIN, device="cuda").encode_many(
            self.ARRAYS
        )
        assert sizes == [4, 2, 2, 4, 2, 2]
        assert records == TileCodec("ntc", quality=60.0, model=PLAIN).encode_many(self.ARRAYS)

    def test_what_the_device_says_is_a_codec_error(
        self, here: DeviceBackend, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def lost(*_: Any) -> Any:
            raise RuntimeError("the device is lost")

        monkeypatch.setattr(planes, "encode_planes", lost)
        with pytest.raises(CodecError, match=r"on the device.*the device is lost"):
            TileCodec("ntc", quality=60.0, device="cuda").encode(self.ARRAYS[0])


def damaged(stream: native.Stream, rng: np.random.Generator) -> native.Stream:
    """Return a stream with another number in it, and some without its end or other bands."""
    parts = [stream.states.copy(), stream.words.copy(), stream.raw.copy()]
    for part in parts:
        if len(part) and rng.random() < 0.4:
            number = rng.integers(len(part))
            part[number] ^= part.dtype.type(1 << rng.integers(8 * part.dtype.itemsize - 1))
            part[number] |= np.uint32(1 << 16) if part.dtype == np.uint32 else 0
    states, words, raw = parts
    if rng.random() < 0.3:
        words = words[: rng.integers(len(words) + 1)]
    if rng.random() < 0.3:
        raw = raw[: rng.integers(len(raw) + 1)]
    bands = int(rng.integers(stream.bands + 1)) if rng.random() < 0.2 else stream.bands
    return native.Stream(bands, stream.low_table, states, words, raw)


class TestHostileStreams:
    def coded(self, model: NtcModel) -> tuple[native.Stream, tuple[int, int]]:
        sides = (40, 48)
        (given,) = coefficients(WAVELET, 1, sides, 0.4)
        stream = native_stream(CPU.encode(WAVELET, given, None, model, 8.0), model)
        assert stream is not None
        return stream, sides

    def broken(self, model: NtcModel) -> Iterator[tuple[str, native.Stream]]:
        stream, _ = self.coded(model)
        parts = (stream.bands, stream.low_table, stream.states, stream.words, stream.raw)
        bands, low, states, words, raw = parts
        yield "words end", native.Stream(bands, low, states, words[:-40], raw)
        yield "raw ends", native.Stream(bands, low, states, words, raw[: len(raw) // 2])
        yield "words left", native.Stream(bands, low, states, np.append(words, words[:1]), raw)
        yield "raw left", native.Stream(bands, low, states, words, np.append(raw, raw[:1]))
        turned = states.copy()
        turned[0] ^= 5
        yield "another state", native.Stream(bands, low, turned, words, raw)
        yield "fewer bands", native.Stream(bands - 3, low, states, words, raw)
        yield "no words", native.Stream(bands, low, states, words[:0], raw)
        yield "another table", native.Stream(bands, 79 - low, states, words, raw)

    def said(self, where: Backend, model: NtcModel, stream: native.Stream) -> str:
        with pytest.raises(InvalidRecord) as error:
            where.decode(WAVELET, np.zeros((40, 48), np.float32), None, model, stream)
        return str(error.value)

    @MODELS
    def test_are_refused_as_the_cpu_does(self, device: DeviceBackend, model: NtcModel) -> None:
        for name, stream in self.broken(model):
            assert self.said(device, model, stream) == self.said(CPU, model, stream), name

    @MODELS
    @pytest.mark.parametrize("step", [0.02, 2.0, 700.0])
    def test_of_chance_come_to_the_fault_of_the_cpu(
        self, device: DeviceBackend, model: NtcModel, step: float
    ) -> None:
        """Streams with other bytes, cut ones, and a few bands: one batch."""
        sides, rng = (24, 24), np.random.default_rng(7)
        (given,) = coefficients(LAPPED, 1, sides, step)
        stream = native_stream(CPU.encode(LAPPED, given, None, model, 8.0), model)
        assert stream is not None
        streams = [damaged(stream, rng) for _ in range(150)]
        found = planes.decode_planes(
            LAPPED, sides, streams, None, planes.DeviceModel(model, torch.device(device.name))
        )
        seen = set()
        for one, theirs in zip(found, streams, strict=True):
            made, said = np.zeros(sides, np.float32), ""
            try:
                CPU.decode(LAPPED, made, None, model, theirs)
            except InvalidRecord as error:
                said = str(error).rpartition(": ")[2]
            assert said == native.FAULTS.get(one.fault, "")
            if not said:
                assert np.array_equal(bits_of(made), bits_of(one.plane.cpu().numpy()))
            seen.add(said)
        assert len(seen) >= 3

    def test_harm_no_other_plane_of_the_batch(
        self, here: DeviceBackend, batches: list[tuple[str, int]]
    ) -> None:
        stream, sides = self.coded(MODEL)
        bad = native.Stream(
            stream.bands, stream.low_table, stream.states, stream.words[:-40], stream.raw
        )
        expected = np.zeros(sides, np.float32)
        CPU.decode(WAVELET, expected, None, MODEL, stream)

        def decode(one: native.Stream) -> np.ndarray | None:
            made = np.zeros(sides, np.float32)
            try:
                here.decode(WAVELET, made, None, MODEL, one)
            except InvalidRecord:
                return None
            return made

        found = here.map(decode, [stream, bad, stream])
        assert batches == [("decode_planes", 3)]
        assert found[1] is None
        assert np.array_equal(found[0], expected)
        assert np.array_equal(found[2], expected)


class TestNetworks:
    def test_chunks_run_together(
        self, here: DeviceBackend, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        rng = np.random.default_rng(3)
        cells = [rng.normal(0, 2, (n, 64, 5, 6)).astype(np.float32) for n in (1, 2, 1)]
        nets, alone = Networks(weights(), here), Networks(weights())
        sizes: list[int] = []
        run = nets._run

        def spied(asked: Any) -> Any:
            sizes.append(len(asked.cells))
            return run(asked)

        monkeypatch.setattr(nets, "_run", spied)
        found = here.map(lambda some: nets.corrections(LAPPED, some, None), cells)
        assert sizes == [4]
        for some, given in zip(found, cells, strict=True):
            expected = alone.corrections(LAPPED, given, None)
            assert np.abs(some - expected).max() <= 1e-4 * np.abs(expected).max()

    def test_decoders_of_a_codec(self, here: DeviceBackend) -> None:
        record = TileCodec("ntc", psnr=34.0, tier="fast").encode(planes_of(60, 50, 2))
        for decoder in ("net", "gan", "view"):
            one = TileCodec("ntc", psnr=34.0, decoder=decoder).decode(record).astype(int)
            other = TileCodec("ntc", psnr=34.0, decoder=decoder, device="cuda").decode(record)
            assert np.abs(one - other).max() <= 2


class TestWithoutADevice:
    @pytest.mark.parametrize(
        ("missing", "said"),
        [
            ("torch", "torch is not installed"),
            ("numba", "numba is not installed"),
            (None, "torch finds no CUDA device"),
        ],
    )
    def test_refused_in_one_line(
        self, monkeypatch: pytest.MonkeyPatch, missing: str | None, said: str
    ) -> None:
        monkeypatch.setattr(backend.OPEN, "device", None)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        find: Callable[[str], Any] = backend.util.find_spec
        monkeypatch.setattr(
            backend.util, "find_spec", lambda name: None if name == missing else find(name)
        )
        with pytest.raises(UnsupportedFormat, match=f"'cuda' was asked for, and {said}") as error:
            TileCodec("ntc", quality=50.0, device="cuda")
        assert "\n" not in str(error.value)

    def test_auto_is_the_cpu(self) -> None:
        samples = picture(20, 20, 1)
        auto = TileCodec("ntc", quality=50.0, device="auto")
        assert auto.encode(samples) == TileCodec("ntc", quality=50.0, device="cpu").encode(samples)
        assert hashlib.sha256(auto.encode(samples)).digest()
