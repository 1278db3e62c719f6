"""Established codecs code tiles: lossless, within a bound, or for a target, and what must be exact
is."""

from __future__ import annotations

import re
from typing import Any

import imagecodecs
import numpy as np
import pytest

from tilepress.codecs.classical import STREAMS
from tilepress.codecs.coder import LevelCoder
from tilepress.codecs.loss import Lossless, Lossy, Within
from tilepress.codecs.record import unpack_record
from tilepress.codecs.registry import CODECS, coder_class
from tilepress.codecs.tile import TileCodec
from tilepress.errors import CodecError, UnsupportedArray, UnsupportedFormat

Array = np.ndarray[Any, Any]

NAMES = sorted(STREAMS)
OF_8_BITS = {"avif", "webp"}
BOUNDED = {"jpegls", "lerc", "zstd"}


def _scene(planes: int, seed: int = 0) -> Array:
    """Return bands that have much in common, (planes, y, x), values 0 … 4000."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:96, :110]
    base = 2000 + 900 * np.sin(x / 17) + 700 * np.cos(y / 11 + x / 31)
    bands = [base * (1 - 0.1 * n) + rng.normal(0, 20, base.shape) for n in range(planes)]
    return np.stack(bands).clip(0, 4000)


def _holes(image: Array, mark: float) -> Array:
    image = image.copy()
    image[..., 20:40, 30:70] = mark
    return image


REAL = _holes(_scene(1).astype(np.float32) / 1000, -9999)
REAL[0, 0, :3] = np.nan, np.inf, -np.inf

CASES: dict[str, tuple[Array, float | None, int]] = {
    "uint8": (_scene(1).astype(np.uint16)[0].astype(np.uint16) // 16, None, 1),
    "rgb": ((_scene(3) / 16).astype(np.uint8), None, 3),
    "uint16, bands, nodata": (_holes(_scene(4).astype(np.uint16), 0), 0, 4),
    "int16": (_scene(2).astype(np.int16) - 2000, None, 1),
    "int32": ((_scene(1) * 1e5).astype(np.int32), None, 1),
    "uint64": (_scene(1).astype(np.uint64) + np.uint64(2**63 - 5000), None, 1),
    "float32, nodata, NaN": (REAL, -9999, 1),
    "float64": (_scene(1) * np.pi, None, 1),
    "nothing present": (np.zeros((2, 9, 9), np.uint16), 0, 2),
    "a constant": (np.full((9, 30), 77, np.uint16), None, 1),
    "a row": (_scene(1)[0, :1].astype(np.uint16), None, 1),
    "a sample": (np.array([[513]], np.uint16), None, 1),
}  # fmt: skip
FAR = _holes(np.uint64(2**64 - 5000) + _scene(3).astype(np.uint64), 2**64 - 1)
SPREAD = (np.linspace(-1, 1, 3 * 30 * 20) * (2**63 - 1024)).astype(np.int64).reshape(3, 30, 20)
CASES["uint64, far, nodata"] = (FAR, 2**64 - 1, 3)
CASES["int64, of all of it"] = (SPREAD, None, 3)
CASES["uint8"] = (CASES["uint8"][0].astype(np.uint8), None, 1)

PAIRS = [
    (name, case)
    for name in NAMES
    for case, (image, _, _) in CASES.items()
    if name not in OF_8_BITS or image.dtype == np.uint8
]


def _back(codec: TileCodec, record: bytes) -> Array:
    return TileCodec.from_config(codec.to_config()).decode(record)


@pytest.mark.parametrize(("name", "case"), PAIRS)
class TestWhatComesBack:
    def test_everything_without_a_loss(self, name: str, case: str) -> None:
        image, nodata, bands = CASES[case]
        codec = TileCodec(name, nodata=nodata)
        record = codec.encode(image, bands=bands)
        assert codec.loss == Lossless()
        assert _back(codec, record).tobytes() == image.tobytes()
        assert not unpack_record(record)[0].irreversible

    @pytest.mark.parametrize("wanted", [30.0, 52.0])
    def test_a_psnr_is_held_and_what_is_absent_stays(
        self, name: str, case: str, wanted: float
    ) -> None:
        image, nodata, bands = CASES[case]
        codec = TileCodec(name, nodata=nodata, psnr=wanted)
        back = _back(codec, codec.encode(image, bands=bands))
        difference = codec.loss.check(image, back, nodata)  # raises where nodata was made
        there = codec.present(image)
        found = difference.psnr_db(max(1, np.count_nonzero(there)), codec.peak_of(image))
        assert found is None or found >= wanted
        assert back[~there].tobytes() == image[~there].tobytes()

    def test_values_stay_within_those_of_the_source(self, name: str, case: str) -> None:
        image, nodata, bands = CASES[case]
        codec = TileCodec(name, nodata=nodata, quality=20)
        back = _back(codec, codec.encode(image, bands=bands))
        there = codec.present(image) & np.isfinite(image.astype(np.float64))
        if there.any():
            assert image[there].min() <= back[there].min()
            assert back[there].max() <= image[there].max()


@pytest.mark.parametrize("case", ["uint64, far, nodata", "int64, of all of it"])
@pytest.mark.parametrize("name", sorted(set(NAMES) - OF_8_BITS))
def test_what_no_real_is_near_to_is_exact(name: str, case: str) -> None:
    """Decoders make integers of reals within 2^62 alone."""
    image, nodata, bands = CASES[case]
    codec = TileCodec(name, nodata=nodata, quality=10)
    assert np.array_equal(_back(codec, codec.encode(image, bands=bands)), image)


@pytest.mark.parametrize("name", NAMES)
class TestARate:
    def test_is_never_above(self, name: str) -> None:
        image = CASES["rgb"][0]
        for wanted in (0.8, 2.0):
            record = TileCodec(name, bits_per_sample=wanted).encode(image, bands=3)
            assert 8 * len(record) <= wanted * image.size

    def test_that_cannot_be_is_refused(self, name: str) -> None:
        with pytest.raises(
            UnsupportedArray, match=r"at most 0\.002 bits per sample: at its coarsest"
        ):
            TileCodec(name, bits_per_sample=0.002).encode(CASES["rgb"][0])


@pytest.mark.parametrize("case", [case for case in CASES if "64" not in case or "float" in case])
@pytest.mark.parametrize("name", sorted(BOUNDED))
class TestABound:
    def test_is_held(self, name: str, case: str) -> None:
        image, nodata, bands = CASES[case]
        k = 0.01 if image.dtype.kind == "f" else 3
        codec = TileCodec(name, max_error=k, nodata=nodata)
        back = _back(codec, codec.encode(image, bands=bands))
        assert codec.loss == Within(k)
        assert codec.loss.check(image, back, nodata).worst <= k


class TestFinerIsLarger:
    @pytest.mark.parametrize("name", NAMES)
    def test_in_bytes_and_in_psnr(self, name: str) -> None:
        image, _, bands = CASES["rgb"]
        sizes, squares = [], []
        for quality in (15, 50, 85):
            codec = TileCodec(name, quality=quality)
            record = codec.encode(image, bands=bands)
            sizes.append(len(record))
            squares.append(codec.loss.check(image, codec.decode(record)).squared)
        assert name == "lerc" or sizes == sorted(sizes)  # LERC's are larger where it blocks worse
        assert squares == sorted(squares, reverse=True)


class TestTheWholeRange:
    """Decoders that overshoot must not come out at the other end of 16 bits."""

    @pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16"])
    @pytest.mark.parametrize("name", NAMES)
    def test_of_steep_edges(self, name: str, dtype: str) -> None:
        limits = np.iinfo(dtype)
        squares = np.indices((64, 64)).sum(axis=0) // 8 % 2
        image = np.where(squares == 1, limits.max, limits.min).astype(dtype)
        if name in OF_8_BITS and dtype != "uint8":
            return
        codec = TileCodec(name, psnr=40, peak=float(limits.max) - limits.min)
        _, difference = codec.encode_at(image, 60, peak=codec.loss.peak)
        assert difference.worst < 0.25 * (float(limits.max) - limits.min)


class TestBandsThatHaveMuchInCommon:
    @pytest.mark.parametrize("name", ["jpeg2000", "htj2k"])
    def test_are_coded_once(self, name: str) -> None:
        """Mixed they take much less than each by itself."""
        image = _scene(6).astype(np.uint16)
        codec = TileCodec(name, psnr=40, peak=4000)
        together = len(codec.encode(image, bands=6))
        alone = sum(len(codec.encode(band)) for band in image)
        assert together < 0.8 * alone


class TestRecordsSayWhatDecodersMayChange:
    @pytest.mark.parametrize("name", NAMES)
    def test_by_a_flag(self, name: str) -> None:
        image = CASES["rgb"][0]
        header, _ = unpack_record(TileCodec(name, quality=30).encode(image, bands=3))
        assert header.irreversible == (name not in BOUNDED)
        assert header.coder == CODECS[name].number
        assert header.max_error > 0  # what was measured

    def test_bytes_that_changed_are_refused(self) -> None:
        record = bytearray(TileCodec("jpegxl", quality=30).encode(CASES["rgb"][0], bands=3))
        record[200] ^= 1
        with pytest.raises(CodecError):
            TileCodec("jpegxl").decode(bytes(record))


class TestWhatIsRefused:
    def test_other_dtypes_by_codecs_of_8_bits(self) -> None:
        for name in OF_8_BITS:
            with pytest.raises(UnsupportedArray, match=f"codec '{name}' takes uint8, the samples"):
                TileCodec(name, quality=50).encode(np.zeros((4, 4), np.uint16))

    def test_bool(self) -> None:
        with pytest.raises(UnsupportedArray, match="lossy coding of bool makes no sense"):
            TileCodec("jpegxl", quality=50).encode(np.zeros((4, 4), bool))

    @pytest.mark.parametrize(
        ("options", "text"),
        [
            ({"quality": 0.5}, "got quality 0.5, want 1 to 100"),
            ({"quality": 101}, "got quality 101, want 1 to 100"),
            ({"psnr": -1}, "got psnr -1, want a number of dB"),
            ({"psnr": float("nan")}, "got psnr nan"),
            ({"bits_per_sample": 0}, "got bits_per_sample 0, want a number above 0"),
            ({"quality": True}, "got quality True, want a number"),
            ({"psnr": 40, "quality": 40}, "got psnr and quality, want one of them"),
            ({"psnr": 40, "max_error": 1}, "has no max_error beside psnr"),
            ({"max_error": 1}, "codec 'jpegxl' is never near-lossless, it is lossless or lossy"),
        ],
    )
    def test_targets_that_make_no_sense(self, options: dict[str, Any], text: str) -> None:
        with pytest.raises(UnsupportedFormat, match=re.escape(text)):
            TileCodec("jpegxl", **options)

    def test_the_lossless_codec_has_no_targets(self) -> None:
        with pytest.raises(UnsupportedFormat, match="codec 'wave' is never lossy"):
            TileCodec("wave", psnr=40)

    @pytest.mark.parametrize("target", [{"psnr": 40}, {"quality": 50}, {"bits_per_sample": 1}])
    def test_a_target_alone_means_the_lossy_codec(self, target: dict[str, float]) -> None:
        """As on the command line; without one, and with a bound alone, it is the default one."""
        assert TileCodec(**target).to_config() == TileCodec("ntc", **target).to_config()
        assert TileCodec().to_config() == TileCodec("wave").to_config()
        assert TileCodec(max_error=2).to_config()["codec"] == "wave"


class TestConfigurations:
    def test_with_a_target_are_of_version_2(self) -> None:
        config = TileCodec("jpeg2000", psnr=45, peak=4095, nodata=7).to_config()
        assert config["version"] == 2
        assert config["max_error"] is None
        assert config["target"] == {"psnr": 45.0, "peak": 4095.0}
        assert TileCodec.from_config(config).to_config() == config

    @pytest.mark.parametrize(
        "change",
        [
            {"target": {"psnr": 45.0}}, {"target": {"psnr": -45.0, "peak": None}},
            {"target": {"speed": 4.0, "peak": None}}, {"target": None}, {"max_error": 0},
            {"target": {"psnr": True, "peak": None}}, {"target": {"psnr": 45.0, "peak": 0}},
            {"version": 1}, {"codec": "wave"}, {"target": {"psnr": 1.0, "peak": 1.0, "x": 1}},
        ],
    )  # fmt: skip
    def test_that_make_no_sense_are_refused(self, change: dict[str, Any]) -> None:
        config = TileCodec("jpeg2000", psnr=45).to_config()
        with pytest.raises(UnsupportedFormat):
            TileCodec.from_config({**config, **change})

    def test_every_lossy_codec_has_levels(self) -> None:
        for name in CODECS:
            lossy = any(issubclass(loss, Lossy) for loss in coder_class(name).losses)
            assert lossy == (LevelCoder in coder_class(name).__mro__)


class TestHostilePayloads:
    """Whatever stands there, an error of ours or the samples come back, and nothing else."""

    @pytest.mark.parametrize("name", NAMES)
    def test_bytes_that_are_not_theirs(self, name: str) -> None:
        image, _, bands = CASES["rgb"]
        codec = TileCodec(name, quality=40)
        _, payload = unpack_record(codec.encode(image, bands=bands))
        coder = codec._coder
        rng = np.random.default_rng(1)
        budget = _budget()
        for _ in range(120):
            broken = bytearray(payload)
            for _ in range(int(rng.integers(1, 4))):
                broken[int(rng.integers(0, min(len(broken), 120)))] = int(rng.integers(0, 256))
            cut = memoryview(bytes(broken))[: len(broken) - int(rng.integers(0, 2))]
            try:
                found = coder.decode(cut, image.shape, image.dtype, None, budget, 5)
            except CodecError:
                continue
            assert (found.shape, found.dtype) == (image.shape, image.dtype)


def _budget() -> Any:
    from tilepress.codecs.budget import Budget

    return Budget("decoding a test", 2**31)


class TestHighThroughput:
    def test_openjph_never_sees_a_foreign_stream(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """It crashes the process for some that are forged; OpenJPEG refuses them."""
        image = (np.indices((40, 50)).sum(0) * 3).astype(np.uint16)
        codec = TileCodec("htj2k", psnr=45)
        record = codec.encode(image)
        monkeypatch.setattr(imagecodecs, "htj2k_decode", None)
        assert np.abs(codec.decode(record).astype(int) - image).max() < 20
