"""A tile that an established codec makes smaller at the same error is stored by it."""

from __future__ import annotations

import numpy as np
import pytest

from tilepress.codecs.classical.payload import encode_payload
from tilepress.codecs.coder import RivalledCoder
from tilepress.codecs.difference import Difference
from tilepress.codecs.levels import nominal_step
from tilepress.codecs.ntc.rivals import Beaten, encode_rival, looks_drawn, rivals_of
from tilepress.codecs.record import is_irreversible, unpack_record
from tilepress.codecs.tile import TileCodec

from .pictures import image


def drawing(side: int = 160) -> np.ndarray:
    """Return colours with sharp borders at many angles, which waves code poorly, and some noise,
    which the lossless codec has to keep."""
    y, x = np.mgrid[:side, :side]
    out = np.random.default_rng(2).integers(0, 4, (3, side, side)).astype(np.uint8)
    for number in range(9):
        angle = number * 0.7
        inside = np.cos(angle) * (x - side / 2) + np.sin(angle) * (y - side / 2) > 4 * number - 20
        for plane in range(3):
            out[plane][inside] += np.uint8((37 * number * (plane + 1)) % 60)
    return out


def lettered() -> np.ndarray:
    """Return 12 bits of texture under signs of a few shapes that come again, as letters do."""
    rng = np.random.default_rng(5)
    y, x = np.mgrid[:256, :256]
    out = 1000 + 400 * np.sin(x / 90) + 300 * np.cos(y / 70) + rng.normal(0, 15, x.shape)
    signs = np.zeros((6, 11, 7), bool)
    for number, sign in enumerate(signs):
        sign[:, number % 5] = sign[number, :] = sign[(3 * number) % 11, : number + 1] = True
    for top in range(4, 240, 40):
        for number, left in enumerate(range(10, 240, 9)):
            out[top : top + 11, left : left + 7][signs[(number * top) % 6]] = 4000
    return out.astype(np.uint16)[None]


def coded(samples: np.ndarray, bands: int = 1, tier: str = "standard") -> tuple[bytes, Difference]:
    return made(tier).encode_at(samples, 36, bands=bands, peak=4000)


def squared(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.square(a.astype(float) - b).sum())


def made(tier: str = "standard") -> TileCodec:
    return TileCodec("ntc", psnr=42, tier=tier)


class TestATileOfAnotherCodec:
    @pytest.mark.parametrize("psnr", [30, 34, 42])
    def test_is_about_the_smallest_that_holds_the_error(self, psnr: int) -> None:
        samples = drawing()
        most = 255**2 / 10 ** (psnr / 10) * samples.size
        streams = (encode_payload("avif", samples, None, 3, at, 255) for at in range(20, 60))
        held = [s for s in streams if s is not None and squared(s.decoded, samples) <= most]
        found = encode_rival(samples, None, 3, 255, Beaten(10**6, most, 1.0))
        assert found is not None
        assert squared(found.decoded, samples) <= most
        assert len(found.payload) <= 1.02 * min(len(s.payload) for s in held)

    def test_takes_fewer_bytes_at_no_more_error(self) -> None:
        samples = drawing()
        record, difference = made().encode_at(samples, 42, bands=3, peak=255)
        assert unpack_record(record)[0].coder == 6
        found = made().smaller(samples, record, 42, bands=3, peak=255, squared=difference.squared)
        assert found is not None
        header = unpack_record(found[0])[0]
        assert header.coder == 5
        assert is_irreversible(found[0])
        assert len(found[0]) < len(record)
        decoded = TileCodec.from_config(made().to_config()).decode(found[0])
        assert squared(decoded, samples) == found[1].squared <= difference.squared

    def test_is_chosen_where_a_tile_is_coded_for_a_target(self) -> None:
        samples = drawing()
        record, fast = (made(tier).encode(samples, bands=3) for tier in ("standard", "fast"))
        assert [unpack_record(one)[0].coder for one in (record, fast)] == [5, 6]
        assert len(record) < len(fast)
        decoded = made().decode(record)
        assert 10 * np.log10(255**2 * samples.size / squared(decoded, samples)) >= 42
        assert np.array_equal(made().decode(record, planes=[2, 0]), decoded[[2, 0]])

    def test_absent_samples_stay(self) -> None:
        samples = drawing()
        samples[:, 20:60, 30:90] = 7
        codec = TileCodec("ntc", psnr=42, nodata=7)
        record = codec.encode(samples, bands=3)
        assert unpack_record(record)[0].coder == 5
        assert np.array_equal(codec.decode(record) == 7, samples == 7)

    def test_never_where_a_bound_is_guaranteed(self) -> None:
        """Decoders of lossy streams differ: what one of them gives is no promise."""
        record = TileCodec("ntc", psnr=42, max_error=90).encode(drawing(), bands=3)
        assert unpack_record(record)[0].coder != 5


class TestWhereItIsTried:
    @pytest.mark.parametrize(
        ("planes", "bands", "dtype"), [(1, 1, "uint16"), (3, 3, "uint16"), (4, 4, "uint8")]
    )
    def test_not_where_none_wins(self, planes: int, bands: int, dtype: str) -> None:
        samples = image(40, 40, planes, dtype)
        assert rivals_of(samples, bands) == ()
        assert encode_rival(samples, None, bands, 255.0, Beaten(10**6, 1e9, 1.0)) is None

    def test_letters_and_lines_on_more_bits_are_what_jpeg_xl_is_for(self) -> None:
        samples = lettered()
        assert looks_drawn(samples)
        assert rivals_of(samples, 1) == ("jpegxl",)
        record, difference = coded(samples)
        found = made().smaller(samples, record, 36, peak=4000, squared=difference.squared)
        assert found is not None
        assert unpack_record(found[0])[0].coder == 5
        assert len(found[0]) < 0.9 * len(record)
        assert found[1].squared <= difference.squared
        assert made("fast").smaller(samples, record, 36, peak=4000, squared=1e9) is None

    @pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "uint32"])
    def test_textures_and_flat_areas_do_not_look_drawn(self, dtype: str) -> None:
        assert not looks_drawn(image(120, 130, 2, dtype))
        assert not looks_drawn(np.full((1, 40, 50), 9, dtype))
        assert not looks_drawn(np.zeros((2, 1, 1), dtype))

    def test_what_is_larger_is_not_returned(self) -> None:
        samples = drawing()
        step = nominal_step(44, 255)
        assert encode_rival(samples, None, 3, 255.0, Beaten(20, 1000.0, step)) is None
        assert encode_rival(samples, None, 3, 255.0, Beaten(10**6, 0.0, step)) is None

    def test_a_codec_without_rivals_has_none(self) -> None:
        codec = TileCodec("jpegxl", psnr=40)
        assert not isinstance(codec._coder, RivalledCoder)
        record, difference = codec.encode_at(drawing(), 40, bands=3, peak=255)
        again = codec.smaller(drawing(), record, 40, bands=3, peak=255, squared=difference.squared)
        assert again is None


class TestAllOfThemOnEveryTile:
    """Tier "max": no tile is larger than JPEG 2000, on a transform of its bands, or JPEG XL make it
    at no more error."""

    def test_all_that_take_such_samples(self) -> None:
        three, four = image(40, 40, 3, "uint8"), image(40, 40, 4, "uint16")
        assert rivals_of(three, 3, every=True) == ("jpeg2000", "jpegxl", "avif")
        assert rivals_of(four, 4, every=True) == ("jpeg2000", "jpegxl")

    def test_a_plain_gradient_is_stored_as_jpeg_2000(self) -> None:
        """Nothing public looks like this: bands without any noise, at a high PSNR."""
        y, x = np.mgrid[:512, :512]
        plane = 1000 + 400 * np.sin(x / 90) + 300 * np.cos(y / 70)
        samples = np.stack([plane * share for share in (1, 0.9, 0.8, 0.7)]).astype(np.uint16)
        codec = made("max")
        record, difference = codec.encode_at(samples, 64, bands=4, peak=1300)
        assert codec.tries_smaller()
        found = codec.smaller(samples, record, 64, bands=4, peak=1300, squared=difference.squared)
        assert found is not None
        assert len(found[0]) < len(record)
        assert squared(codec.decode(found[0]), samples) <= difference.squared
        assert made().smaller(samples, record, 64, bands=4, peak=1300, squared=1e12) is None
        assert codec.to_config()["tier"] == "max"
        assert TileCodec.from_config(codec.to_config()).tries_smaller()

    def test_never_where_a_bound_is_guaranteed(self) -> None:
        codec = TileCodec("ntc", psnr=42, max_error=900, tier="max")
        record = codec.encode(lettered())
        assert unpack_record(record)[0].coder != 5
        assert not codec.tries_smaller(lettered())
        assert not codec.tries_smaller()
