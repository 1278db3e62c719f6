"""A tile that takes fewer bytes with nothing lost is stored so."""

from __future__ import annotations

import numpy as np
import pytest

from tilepress.codecs.ntc.lossless import encode_lossless
from tilepress.codecs.record import is_irreversible, unpack_record
from tilepress.codecs.tile import TileCodec

from .pictures import image


def labels(planes: int = 1, side: int = 160) -> np.ndarray:
    """Return strokes on a flat ground, as of letters that are drawn into a picture."""
    rng = np.random.default_rng(0)
    out = np.full((planes, side, side), 1000, np.uint16)
    for _ in range(40):
        y, x = rng.integers(0, side - 20, 2)
        out[:, y : y + 2, x : x + rng.integers(5, 20)] = 4000
        out[:, y : y + rng.integers(5, 20), x : x + 2] = 4000
    return out


class TestLabels:
    @pytest.mark.parametrize("tier", ["standard", "fast"])
    @pytest.mark.parametrize("target", [{"psnr": 40}, {"quality": 60}])
    @pytest.mark.parametrize("planes", [1, 3])
    def test_are_kept_to_the_bit(self, planes: int, target: dict[str, float], tier: str) -> None:
        samples = labels(planes)
        codec = TileCodec("ntc", tier=tier, **target)
        record = codec.encode(samples, bands=planes)
        assert np.array_equal(codec.decode(record), samples)
        assert not is_irreversible(record)
        assert unpack_record(record)[0].max_error == 0
        assert len(record) < 1.1 * len(TileCodec().encode(samples, bands=planes))

    def test_take_fewer_bytes_than_their_transform(self) -> None:
        samples, codec = labels(), TileCodec("ntc", psnr=40)
        record, difference = codec.encode_at(samples, 40, peak=3000)
        found = codec.smaller(samples, record, 40, peak=3000, squared=difference.squared)
        assert found is not None
        assert 5 * len(found[0]) < len(record)
        assert (found[1].worst, found[1].squared) == (0, 0)

    def test_of_samples_that_lose_their_low_bits_first(self) -> None:
        """They are records of parts: flat areas of 32 bits took seven times as much."""
        values = np.random.default_rng(0).integers(0, 2**16, (12, 12)).astype(np.uint32)
        samples = np.kron(values << 14, np.ones((8, 8), np.uint32))[None]
        codec = TileCodec("ntc", psnr=40)
        record, difference = codec.encode_at(samples, 40, peak=2.0**30)
        assert unpack_record(record)[0].coder == 7
        found = codec.smaller(samples, record, 40, peak=2.0**30, squared=difference.squared)
        assert found is not None
        assert 5 * len(found[0]) < len(record)
        assert np.array_equal(codec.decode(found[0]), samples)

    def test_leave_absent_samples_absent(self) -> None:
        samples = labels()
        samples[:, :50, :70] = 7
        codec = TileCodec("ntc", psnr=40, nodata=7)
        assert np.array_equal(codec.decode(codec.encode(samples)), samples)

    def test_see_bands_that_are_the_same(self) -> None:
        """Ultrasound is grey in three bands: the second and third cost nothing."""
        grey = image(96, 96, 1, "uint16")[0]
        same, one = np.stack([grey] * 3), grey[None]
        size = len(TileCodec().encode(one)) * 11 // 10
        assert encode_lossless(same, None, 3, size) is not None


class TestOthers:
    def test_are_not_tried_where_it_cannot_win(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The lossless codec takes longer than all the rest."""

        def never(*_: object) -> None:
            raise AssertionError("it was tried")

        monkeypatch.setattr("tilepress.codecs.ntc.lossless.bounded_coder", never)
        samples = image(96, 96, 1, "uint16")
        record = TileCodec("ntc", psnr=38).encode(samples)
        assert unpack_record(record)[0].coder == 6

    def test_that_are_larger_are_not_returned(self) -> None:
        samples = labels()
        size = len(TileCodec().encode(samples))
        assert encode_lossless(samples, None, 1, size + 100) is not None
        assert encode_lossless(samples, None, 1, size // 2) is None

    @pytest.mark.parametrize("sides", [(1, 1), (1, 9), (9, 1), (2, 2)])
    def test_of_few_samples(self, sides: tuple[int, int]) -> None:
        samples = np.arange(np.prod(sides), dtype=np.uint16).reshape(1, *sides)
        found = encode_lossless(samples, None, 1, 10**6)
        assert found is not None
        assert np.array_equal(found.decoded, samples)
