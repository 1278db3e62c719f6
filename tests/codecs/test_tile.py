"""TileCodec: what goes in comes out, or an error does."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tilepress.codecs.record import OVERHEAD_BYTES
from tilepress.codecs.tile import TileCodec
from tilepress.codecs.wave import chunk
from tilepress.codecs.wave.codec import WaveCoder, load_model
from tilepress.errors import (
    CodecError,
    InvalidRecord,
    ModelError,
    UnsupportedArray,
    UnsupportedFormat,
)

INTEGERS = ["uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64"]
FLOATS = ["float16", "float32", "float64"]


def content(kind: str, shape: tuple[int, ...], dtype: str, seed: int) -> np.ndarray:
    """Arrays as images are, and as they should never be."""
    rng = np.random.default_rng(seed)
    if dtype == "bool":
        return rng.random(shape) < 0.2
    low, high = (0, 1000)
    if dtype in INTEGERS:
        low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    if kind == "noise":
        bits = rng.integers(0, 256, (*shape, np.dtype(dtype).itemsize), np.uint8)
        return bits.view(dtype)[..., 0]
    if kind == "extremes":
        return np.where(rng.random(shape) < 0.5, low, high).astype(dtype)
    smooth = np.cumsum(np.cumsum(rng.normal(size=shape), -1), -2)
    if kind == "smooth":
        out = np.clip(smooth * 3 + 90, max(low, -(2**31)), min(high, 2**31))
    elif kind == "blocks":
        out = np.repeat(np.repeat(np.rint(np.abs(smooth[..., ::2, ::3])) % 100, 2, -2), 3, -1)
        out = out[..., : shape[-2], : shape[-1]]
    elif kind == "clusters":
        late = np.cumsum(rng.normal(size=shape), -2) > 0
        out = np.rint((np.rint(np.abs(smooth)) % 40 + 20) * 27.4) + late
    elif kind == "flat":
        out = np.where(np.abs(smooth) > 9, np.rint(smooth * 2) + 90, 77)
    else:
        out = np.rint(np.abs(smooth)) % 20 * 5
    return out.astype(dtype)


arrays = st.builds(
    content,
    st.sampled_from(["noise", "extremes", "smooth", "blocks", "clusters", "flat", "holes"]),
    st.one_of(
        st.tuples(st.integers(1, 40), st.integers(1, 40)),
        st.tuples(st.integers(1, 5), st.integers(1, 30), st.integers(1, 30)),
    ),
    st.sampled_from(["bool", *INTEGERS, *FLOATS]),
    st.integers(0, 2**32 - 1),
)


class TestAnyArrayComesBack:
    """An archive holds whatever its owners have: any dtype, shape and content must survive."""

    @given(arrays, st.booleans(), st.sampled_from([1, 3]), st.sampled_from(["standard", "fast"]))
    @settings(deadline=None, max_examples=120)
    def test_lossless(self, array: np.ndarray, with_nodata: bool, bands: int, tier: str) -> None:
        nodata = array.ravel()[0].item() if with_nodata and array.dtype.kind != "b" else None
        codec = TileCodec(nodata=nodata, tier=tier)
        record = codec.encode(array, bands=bands)
        back = codec.decode(record)
        assert back.dtype == array.dtype
        assert back.shape == array.shape
        assert back.tobytes() == array.tobytes()
        assert len(record) <= array.nbytes + OVERHEAD_BYTES

    def test_bits_of_floats_are_kept(self) -> None:
        odd = np.array([[0.0, -0.0, np.inf, -np.inf, np.nan, 1e-45]], np.float32)
        payload = np.array([[0x7FC00001, 0xFFC00000, 0x7F800001]], np.uint32).view(np.float32)
        for array in (odd, payload, np.concatenate([odd, payload], 1)):
            assert TileCodec().decode(TileCodec().encode(array)).tobytes() == array.tobytes()

    @pytest.mark.parametrize("shape", [(0, 5), (3, 0, 4), (2, 5, 0)])
    def test_empty(self, shape: tuple[int, ...]) -> None:
        array = np.zeros(shape, np.uint16)
        assert TileCodec().decode(TileCodec().encode(array)).shape == shape


class TestErrorIsBounded:
    """Near-lossless means: no present sample further off than promised, ever."""

    @given(arrays, st.sampled_from([1, 2, 5, 16]), st.booleans())
    @settings(deadline=None, max_examples=80)
    def test_integers(self, array: np.ndarray, k: int, with_nodata: bool) -> None:
        if array.dtype.kind not in "ui":
            return
        nodata = array.ravel()[-1].item() if with_nodata else None
        codec = TileCodec(max_error=k, nodata=nodata)
        back = codec.decode(codec.encode(array))
        wide = [a.astype(object) for a in (back, array)]
        assert max(abs(wide[0] - wide[1]).ravel()) <= k
        if nodata is not None:
            assert np.array_equal(back == nodata, array == nodata)
        assert codec.decode(codec.encode(back)).tobytes() == back.tobytes()

    @pytest.mark.parametrize("dtype", FLOATS)
    def test_floats(self, dtype: str) -> None:
        rng = np.random.default_rng(3)
        array = (np.cumsum(rng.normal(size=(2, 40, 50)), 1) * np.pi).astype(dtype)
        array[0, :9] = np.nan
        codec = TileCodec(max_error=0.05, nodata=float("nan"))
        back = codec.decode(codec.encode(array))
        assert np.array_equal(np.isnan(back), np.isnan(array))
        error = np.abs(back.astype(np.float64) - array.astype(np.float64))
        assert np.nanmax(error) <= 0.05

    def test_outside_its_meaning_it_is_refused(self) -> None:
        with pytest.raises(UnsupportedArray, match="bool"):
            TileCodec(max_error=1).encode(np.zeros((4, 4), bool))
        with pytest.raises(UnsupportedArray, match="no integer"):
            TileCodec(max_error=0.5).encode(np.zeros((4, 4), np.uint8))
        with pytest.raises(UnsupportedArray, match="no value of float32"):
            TileCodec(nodata=10**400).encode(np.ones((2, 2), np.float32))
        with pytest.raises(UnsupportedArray, match="no value of"):
            TileCodec(nodata=-1).encode(np.zeros((4, 4), np.uint8))


class TestStructureCostsNothing:
    """Constant, absent and replicated content costs bytes, not kilobytes."""

    def test_constant(self) -> None:
        assert len(TileCodec().encode(np.full((16, 512, 512), 7, np.uint16))) < 400

    def test_fill(self) -> None:
        assert len(TileCodec(nodata=9).encode(np.full((16, 512, 512), 9, np.uint16))) < 100

    def test_replicated(self) -> None:
        rng = np.random.default_rng(0)
        small = rng.integers(0, 4000, (64, 64)).astype(np.uint16)
        large = np.repeat(np.repeat(small, 4, 0), 4, 1)
        assert len(TileCodec().encode(large)) < len(TileCodec().encode(small)) + 40

    def test_copied_planes(self) -> None:
        plane = content("smooth", (64, 64), "uint16", 1)
        one, five = (len(TileCodec().encode(np.stack([plane] * n))) for n in (1, 5))
        assert five < one + 100

    def test_trailing_fill_is_cut(self) -> None:
        """Zarr hands edge chunks at full size; the padding must cost nothing."""
        array = np.zeros((2, 200, 200), np.uint16)
        array[:, :90, :70] = content("smooth", (2, 90, 70), "uint16", 5) + 1
        small = len(TileCodec().encode(np.ascontiguousarray(array[:, :90, :70])))
        assert len(TileCodec().encode(array)) == small


def field(seed: int, shape: tuple[int, ...], top: int, noise: int) -> np.ndarray:
    """Return a smooth field of 0 … about ``top`` with noise."""
    rng = np.random.default_rng(seed)
    smooth = rng.integers(-8, 9, shape).cumsum(-1).cumsum(-2)
    smooth -= smooth.min()
    return smooth * top // max(1, int(smooth.max())) + rng.integers(0, noise + 1, shape)


class TestOnePlaneDecodesAlone:
    """Without the others but those that it refers to, and with its own checksum."""

    @pytest.mark.parametrize("bands", [1, 3])
    def test_of_many(self, bands: int) -> None:
        planes = field(3, (6, 40, 40), 200, 4).astype(np.uint8)
        codec = TileCodec()
        record = codec.encode(planes, bands=bands)
        for wanted in ([0], [5], [4, 1], [2, 2], []):
            np.testing.assert_array_equal(codec.decode(record, planes=wanted), planes[wanted])

    def test_of_stored_and_cropped_ones(self) -> None:
        noise = np.random.default_rng(0).integers(0, 256, (4, 20, 20)).astype(np.uint8)
        codec = TileCodec(nodata=0)
        np.testing.assert_array_equal(
            codec.decode(codec.encode(noise), planes=[3, 0]), noise[[3, 0]]
        )
        noise[2:] = 0
        record = codec.encode(noise)
        np.testing.assert_array_equal(codec.decode(record, planes=[3, 1]), noise[[3, 1]])

    def test_beyond_the_last_is_an_error(self) -> None:
        codec = TileCodec()
        record = codec.encode(np.zeros((2, 5, 5), np.uint8))
        with pytest.raises(IndexError, match="plane 2 of 2"):
            codec.decode(record, planes=[2])

    def test_planes_are_let_go_once_nothing_needs_them(self, monkeypatch) -> None:
        planes = np.repeat(field(1, (1, 30, 30), 90, 4), 12, axis=0).astype(np.uint16)
        planes += np.arange(12, dtype=np.uint16)[:, None, None] * 7
        noise = np.random.default_rng(1).integers(0, 9, (12, 10, 30))
        planes[:, ::3] += noise.astype(np.uint16)
        held: list[int] = []
        decode = chunk._Held.decode

        def counting(planes: chunk._Held, index: int) -> None:
            held.append(len(planes))
            decode(planes, index)

        monkeypatch.setattr(chunk._Held, "decode", counting)
        codec = TileCodec()
        np.testing.assert_array_equal(codec.decode(codec.encode(planes)), planes)
        assert len(held) == 12
        assert max(held) <= 6


class TestDamageIsAnError:
    """A flipped bit, a cut, a foreign model: an error with a name, never samples."""

    codec = TileCodec(nodata=0)
    record = codec.encode(content("smooth", (3, 30, 31), "uint16", 2))

    @given(st.integers(0, len(record) * 8 - 1))
    @settings(deadline=None, max_examples=200)
    def test_flipped_bit(self, bit: int) -> None:
        damaged = bytearray(self.record)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(CodecError):
            self.codec.decode(bytes(damaged))

    def test_every_cut(self) -> None:
        for length in range(0, len(self.record), 7):
            with pytest.raises(InvalidRecord):
                self.codec.decode(self.record[:length])

    def test_another_model_is_refused(self) -> None:
        from tilepress.codecs.record import RecordHeader, pack_record, unpack_record

        header, payload = unpack_record(self.record)
        fields = {name: getattr(header, name) for name in RecordHeader.__slots__}
        foreign = pack_record(RecordHeader(**{**fields, "model_id": b"x" * 8}), bytes(payload))
        with pytest.raises(UnsupportedFormat, match="needs model"):
            self.codec.decode(foreign)

    @given(st.data())
    @settings(deadline=None, max_examples=150)
    def test_forged_payload(self, data: st.DataObject) -> None:
        """With both checksums of the bytes right, nonsense inside still is an error."""
        from tilepress.codecs.record import pack_record, unpack_record

        header, payload = unpack_record(self.record)
        forged = bytearray(payload)
        for _ in range(data.draw(st.integers(1, 3))):
            forged[data.draw(st.integers(0, len(forged) - 1))] = data.draw(st.integers(0, 255))
        if forged == payload:
            return
        try:
            back = self.codec.decode(pack_record(header, bytes(forged)))
        except CodecError:
            return
        assert back.tobytes() == self.codec.decode(self.record).tobytes()


class TestHostileRecordsAreBounded:
    """A hundred bytes must not make a reader allocate gigabytes or recurse without end."""

    def test_unexpected_shape_is_refused_unread(self) -> None:
        record = TileCodec().encode(np.zeros((1, 8192, 8192), np.uint8))
        assert len(record) < 100
        with pytest.raises(InvalidRecord, match="it holds"):
            TileCodec().decode(record, expect=((1, 512, 512), np.dtype(np.uint8)))
        with pytest.raises(InvalidRecord, match="it holds"):
            TileCodec().decode(record, expect=((1, 8192, 8192), np.dtype(np.uint16)))

    def test_impossible_sizes(self) -> None:
        from tilepress.codecs.record import RecordHeader, pack_record, unpack_record

        header, payload = unpack_record(TileCodec().encode(np.ones((2, 8, 8), np.uint8)))
        fields = {name: getattr(header, name) for name in RecordHeader.__slots__}
        for shape in ((2**26 + 1, 1, 1), (2, 2**25, 2), (1, 2**21, 1)):
            forged = RecordHeader(**{**fields, "shape": shape, "coded": (1, 1, 1)})
            with pytest.raises(InvalidRecord, match="beyond the limits"):
                TileCodec().decode(pack_record(forged, bytes(payload)))

    def test_splits_within_splits(self) -> None:
        from tilepress.codecs.wave.plane_decode import decode_body
        from tilepress.codecs.wave.wire import Reader, varint

        body = b"\x08\x00"
        for _ in range(3000):
            body = b"\x10\x00\x01" + varint(len(body)) + body + b"\x08\x00"
        with pytest.raises(InvalidRecord, match="splits"):
            decode_body(Reader(memoryview(body)), (4, 4), [], load_model("auto"))


class TestArgumentsAreChecked:
    def test_numbers_of_numpy_are_numbers(self) -> None:
        assert TileCodec("wave", np.int64(2)).max_error == 2
        assert TileCodec(nodata=np.uint16(7)).nodata == 7

    @pytest.mark.parametrize("wrong", [True, "2", None, -1, float("nan"), 2**31])
    def test_max_error(self, wrong: object) -> None:
        with pytest.raises(UnsupportedFormat):
            TileCodec(max_error=wrong)

    @pytest.mark.parametrize("wrong", [float("inf"), float("nan"), 0.5, 10**30])
    def test_nodata_of_integers(self, wrong: float) -> None:
        with pytest.raises(UnsupportedArray, match="no value of"):
            TileCodec(nodata=wrong).encode(np.zeros((4, 4), np.int16))


class TestTiers:
    """A tier is how much is spent on a tile; every reader reads every tier."""

    @pytest.mark.parametrize("tier", sorted(WaveCoder.models))
    def test_comes_back_by_its_configuration(self, tier: str) -> None:
        codec = TileCodec(tier=tier)
        array = content("smooth", (3, 40, 41), "int16", 4)
        config = codec.to_config()
        assert config["tier"] == tier
        assert np.array_equal(TileCodec.from_config(config).decode(codec.encode(array)), array)

    def test_another_tiers_record_is_not_misread(self) -> None:
        record = TileCodec(tier="fast").encode(content("smooth", (40, 41), "int16", 4))
        with pytest.raises(UnsupportedFormat, match="needs model"):
            TileCodec().decode(record)

    def test_an_unknown_one_is_refused(self) -> None:
        with pytest.raises(UnsupportedFormat, match="got tier 'best'"):
            TileCodec(tier="best")


class TestConfigurationIsClosed:
    def test_round_trip(self) -> None:
        for codec in (
            TileCodec(),
            TileCodec(max_error=3, nodata=5),
            TileCodec(nodata=float("nan")),
        ):
            assert TileCodec.from_config(codec.to_config()).to_config() == codec.to_config()

    @pytest.mark.parametrize(
        "change",
        [{"version": 2}, {"codec": "x"}, {"tier": "x"}, {"max_error": -1}, {"max_error": True},
         {"nodata": "x"}, {"nodata": [1]}, {"model": None}, {"extra": 1}],
    )  # fmt: skip
    def test_anything_else_is_refused(self, change: dict[str, object]) -> None:
        with pytest.raises(UnsupportedFormat):
            TileCodec.from_config({**TileCodec().to_config(), **change})

    def test_unknown_weights_name_the_command(self) -> None:
        config = TileCodec().to_config()
        config["model"] = {**config["model"], "sha256": "0" * 64}
        with pytest.raises(ModelError, match="tilepress models add"):
            TileCodec.from_config(config)


class TestAtAPrompt:
    def test_it_says_codec_and_loss(self) -> None:
        assert repr(TileCodec()) == "<TileCodec wave: lossless>"
        assert repr(TileCodec(max_error=2)) == "<TileCodec wave: max error 2>"
