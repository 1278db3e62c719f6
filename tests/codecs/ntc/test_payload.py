"""A payload taken apart is the one that was packed; what no encoder writes is refused."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from tilepress.codecs.ntc.layout import LAPPED, WAVELET
from tilepress.codecs.ntc.payload import Payload, PlaneHead, pack, unpack
from tilepress.codecs.ntc.plane import Stream
from tilepress.errors import InvalidRecord, UnsupportedFormat

SHAPE = (4, 16, 24)
U16 = np.dtype("<u2")


def payload(**changed: object) -> Payload:
    stream = Stream(
        3, 20, np.array([70_000] * 4, np.uint32), np.arange(5, dtype=np.uint16),
        np.arange(9, dtype=np.uint8),
    )  # fmt: skip
    heads = [PlaneHead(5 * k, 100, 40, k, b"mask" if k in (1, 2) else None) for k in range(4)]
    fields = {
        "kind": LAPPED, "step": 3.5, "bands": 2, "matrix": np.array([[9, -3], [3, 9]], np.int16),
        "absent": np.array(7, U16), "heads": heads, "streams": [stream, None, stream, stream],
    }  # fmt: skip
    return Payload(**(fields | changed))  # type: ignore[arg-type]


def same(a: Payload, b: Payload) -> bool:
    assert (a.kind, a.step, a.bands, list(a.heads)) == (b.kind, b.step, b.bands, list(b.heads))
    assert (a.matrix is None) == (b.matrix is None)
    assert a.matrix is None or np.array_equal(a.matrix, b.matrix)
    assert a.absent == b.absent
    for one, other in zip(a.streams, b.streams, strict=True):
        assert (one is None) == (other is None)
        for name in Stream.__slots__ if one is not None else ():
            assert np.array_equal(getattr(one, name), getattr(other, name)), name
    return True


class TestPacking:
    @pytest.mark.parametrize(
        "changed",
        [
            {}, {"kind": WAVELET}, {"matrix": None}, {"bands": 4, "matrix": None},
            {"absent": None, "heads": [PlaneHead(-0, 9, 3, 1, None)] * 4},
        ],
    )  # fmt: skip
    def test_comes_back(self, changed: dict[str, object]) -> None:
        given = payload(**changed)
        assert same(unpack(memoryview(pack(given)), SHAPE, U16), given)

    def test_a_mask_of_several_planes_is_written_once(self) -> None:
        heads = [PlaneHead(0, 9, 3, 1, b"m" * 200)] * 4
        assert pack(payload(heads=heads)).count(b"m" * 200) == 1

    def test_every_cut_is_refused(self) -> None:
        data = pack(payload())
        for end in range(len(data)):
            with pytest.raises(InvalidRecord):
                unpack(memoryview(data[:end]), SHAPE, U16)
        with pytest.raises(InvalidRecord, match="left over"):
            unpack(memoryview(data + b"\0"), SHAPE, U16)


class TestWhatNoEncoderWrites:
    @pytest.mark.parametrize("step", [0.0, -1.0, np.inf, np.nan, 1e-9, 1e9])
    def test_steps(self, step: float) -> None:
        data = bytearray(pack(payload()))
        data[2:6] = struct.pack("<f", step)
        with pytest.raises(InvalidRecord, match="step"):
            unpack(memoryview(data), SHAPE, U16)

    @pytest.mark.parametrize("at", [(0, 2), (0, 0), (1, 16), (1, 128)])
    def test_later_versions(self, at: tuple[int, int]) -> None:
        data = bytearray(pack(payload()))
        data[at[0]] = at[1]
        with pytest.raises(UnsupportedFormat, match="version"):
            unpack(memoryview(data), SHAPE, U16)

    def test_dependent_quantisation_is_a_flag(self) -> None:
        plain, other = pack(payload()), pack(payload(dependent=True))
        assert [a ^ b for a, b in zip(plain, other, strict=True) if a != b] == [8]
        assert plain[1] ^ other[1] == 8
        assert unpack(memoryview(other), SHAPE, U16).dependent
        assert not unpack(memoryview(plain), SHAPE, U16).dependent

    @pytest.mark.parametrize("bands", [0, 3, 5, 200])
    def test_bands_that_do_not_divide(self, bands: int) -> None:
        data = bytearray(pack(payload()))
        data[6] = bands & 127
        with pytest.raises(InvalidRecord):
            unpack(memoryview(data), SHAPE, U16)

    @pytest.mark.parametrize(
        "head",
        [
            PlaneHead(-1, 9, 3, 0, None), PlaneHead(65_000, 600, 3, 0, None),
            PlaneHead(0, 65_536, 3, 0, None), PlaneHead(0, 9, 10, 0, None),
        ],
    )  # fmt: skip
    def test_ranges(self, head: PlaneHead) -> None:
        with pytest.raises(InvalidRecord):
            unpack(memoryview(pack(payload(heads=[head] * 4))), SHAPE, U16)

    def test_streams(self) -> None:
        for name, value in (
            ("bands", 73), ("low_table", 80), ("states", np.array([65_535], np.uint32)),
            ("words", np.zeros(16 * 24 + 1, np.uint16)), ("raw", np.zeros(4 * 385, np.uint8)),
        ):  # fmt: skip
            given = payload()
            stream = given.streams[0]
            assert stream is not None
            fields = {key: getattr(stream, key) for key in Stream.__slots__} | {name: value}
            data = pack(payload(streams=[Stream(**fields)] * 4))
            with pytest.raises(InvalidRecord):
                unpack(memoryview(data), SHAPE, U16)

    @pytest.mark.parametrize("dtype", ["f4", "?", "<u8", "<i8"])
    def test_samples_of_other_types(self, dtype: str) -> None:
        with pytest.raises(InvalidRecord, match="samples of"):
            unpack(memoryview(pack(payload())), SHAPE, np.dtype(dtype))
