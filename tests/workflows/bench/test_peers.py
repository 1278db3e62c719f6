"""Sizes of other codecs are only worth telling if the codecs keep every bit."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tilepress.workflows.bench import peers
from tilepress.workflows.bench.peers import BEST, PEERS, SizeCache, peer_size, peer_sizes, quantise


def smooth(dtype: str, planes: int = 1, seed: int = 3) -> np.ndarray:
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:40, :56]
    values = 60 + x + y / 2 + rng.integers(0, 5, (planes, 40, 56))
    if dtype == "bool":
        return values > 100
    kind = np.dtype(dtype)
    return (values * (1.37 if kind.kind == "f" else 1) - (90 if kind.kind != "u" else 0)).astype(
        kind
    )


class TestEveryDtypeGetsAHonestSize:
    """imagecodecs takes some dtypes and drops their low bits: such a size must never be told."""

    @pytest.mark.parametrize(
        "dtype",
        ["bool", "u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8"],
    )
    @pytest.mark.parametrize("peer", [name for name in PEERS if name != "webp"])
    def test_some_size_is_found(self, peer: str, dtype: str):
        planes = smooth(dtype, 2)
        assert 0 < peer_size(peer, planes).bytes < planes.nbytes + 2000

    @pytest.mark.parametrize("peer", ["jpegls", "jpeg2000", "jpegxl"])
    def test_integers_of_full_32_bits_are_split(self, peer: str):
        """JPEG 2000 of imagecodecs keeps 26 of them at most."""
        planes = np.random.default_rng(5).integers(0, 2**32, (1, 32, 32), dtype=np.uint32)
        assert peer_size(peer, planes).bytes > planes.nbytes

    def test_a_codec_that_loses_bits_has_no_size(self):
        measure = peers._verified(lambda samples: b"x", lambda data: np.zeros((4, 4), np.uint8))
        assert measure(np.ones((4, 4), np.uint8)) is None
        assert measure(np.zeros((4, 4), np.uint8)) == 1

    def test_parts_of_floats_keep_their_order(self):
        values = np.array([-np.inf, -2.5, -0.0, 0.0, 1e-30, 7.0, np.inf], np.float32)[None]
        bits = peers._ordered_bits(values)
        assert (np.diff(bits.astype(np.int64)) > 0).all()


class TestPeersGetWhatSuitsThem:
    """A comparison that ties the other's hands says nothing."""

    def test_rgb_is_tried_as_one_image(self):
        grey = smooth("u1")
        rgb = np.concatenate([grey, grey + 1, grey + 2])
        assert peer_size("jpegxl", rgb, bands=3).bytes < peer_size("jpegxl", rgb, bands=1).bytes

    def test_a_fourth_band_stands_alone(self):
        planes = smooth("u1", 4)
        together = peer_size("jpeg2000", planes, bands=4).bytes
        three = peer_size("jpeg2000", planes[:3], bands=3).bytes
        assert together == three + peer_size("jpeg2000", planes[3:]).bytes

    def test_webp_takes_rgb_of_8_bits_only(self):
        assert peer_size("webp", smooth("u1", 3), bands=3).bytes > 0
        with pytest.raises(ValueError, match="does not take"):
            peer_size("webp", smooth("u2", 3), bands=3)


class TestBestIsTheSmallestPlaneByPlane:
    """What a person with every codec at hand would reach."""

    def test_planes_choose_apart(self):
        text = np.zeros((40, 56), np.uint8)
        text[:, ::7] = 255
        planes = np.stack([smooth("u1")[0], text])
        names = ("jpegls", "zstd")
        together = peer_sizes(names, planes)
        apart = [peer_sizes(names, plane[None]) for plane in planes]
        assert together[BEST].bytes == sum(sizes[BEST].bytes for sizes in apart)
        assert together[BEST].bytes < min(together[name].bytes for name in names)

    def test_an_rgb_image_counts_as_one(self):
        grey = smooth("u1")
        rgb = np.concatenate([grey, grey + 1, grey + 2])
        sizes = peer_sizes(("jpegxl", "webp", "jpegls"), rgb, bands=3)
        assert sizes[BEST].bytes == min(sizes[name].bytes for name in ("jpegxl", "webp", "jpegls"))

    def test_who_does_not_take_the_samples_does_not_count(self):
        sizes = peer_sizes(("webp", "jpegls"), smooth("u2", 2))
        assert "webp" not in sizes
        assert sizes[BEST] == sizes["jpegls"]


class TestNearLosslessHoldsTheBound:
    """A peer that is allowed a larger error than ours would be no comparison."""

    @pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "i4", "u4", "i8", "u8"])
    @pytest.mark.parametrize("k", [1, 2, 16])
    def test_quantised_integers_come_back_within_it(self, dtype: str, k: int):
        limits = np.iinfo(dtype)
        ends = [limits.min, limits.min + 1, limits.max - 1, limits.max]
        values = [*ends, *range(limits.max // 2, limits.max // 2 + 40)]
        planes = np.array(values, dtype)[None, None]
        levels = quantise(planes, k)
        off = [
            abs(int(q) * (2 * k + 1) - value)
            for q, value in zip(levels.ravel(), values, strict=True)
        ]
        assert levels.dtype == planes.dtype
        assert max(off) <= k

    def test_quantised_floats_come_back_within_it(self):
        planes = smooth("f4")
        planes[0, 0, :3] = np.nan, np.inf, -9999
        levels = quantise(planes, 0.25, nodata=-9999)
        present = np.ones(planes.shape, bool)
        present[0, 0, :3] = False
        assert np.abs(levels * 0.5 - planes)[present].max() <= 0.25
        assert (levels[~present] == levels.min()).all()
        assert (levels[present] > levels.min()).all()

    def test_floats_beyond_exact_steps_stay_as_they_are(self):
        planes = np.array([[[1e30, 1.0]]], np.float32)
        assert quantise(planes, 0.5) is planes

    @pytest.mark.parametrize("peer", ["jpegls", "lerc"])
    def test_a_codec_that_goes_further_has_no_size(self, peer: str, monkeypatch):
        """Handed a decoder that is off by more, the codec's own near mode must not count."""
        plane = smooth("u2")[0]
        settings = PEERS[peer].bounded(2)
        assert all(measure(plane) for measure in settings.values())
        real = getattr(peers.imagecodecs, f"{peer}_decode")
        monkeypatch.setattr(peers.imagecodecs, f"{peer}_decode", lambda data: real(data) + 3)
        settings = PEERS[peer].bounded(2)
        assert [measure(plane) for measure in settings.values()] == [None] * len(settings)

    def test_nan_may_not_appear_or_vanish(self):
        plane = np.array([[1.0, np.nan]], np.float32)

        def size(back: np.ndarray, max_error: float) -> int | None:
            return peers._verified(lambda samples: b"x", lambda data: back, max_error)(plane)

        assert size(plane + np.float32(0.5), 0.5) == 1
        assert size(np.array([[1.0, 2.0]], np.float32), 9) is None
        assert size(np.array([[np.nan, np.nan]], np.float32), 9) is None

    @pytest.mark.parametrize("dtype", ["u1", "i2", "u2", "i4", "f4", "f8"])
    def test_every_peer_gets_smaller(self, dtype: str):
        planes = smooth(dtype)
        names = ("jpegls", "jpeg2000", "jpegxl", "lerc")
        exact, near = peer_sizes(names, planes), peer_sizes(names, planes, max_error=2)
        assert set(exact) == set(near) == {*names, BEST}
        assert all(near[name].bytes < exact[name].bytes for name in names)


class TestTheCacheIsNeverStale:
    """Its key is the content and the setting, so nothing needs to be thrown away by hand."""

    def test_a_second_run_measures_nothing(self, tmp_path: Path, monkeypatch):
        path = tmp_path / "sizes.json"
        cache = SizeCache.load(path)
        first = {
            peer: peer_size(peer, smooth("u2"), cache=cache) for peer in PEERS if peer != "webp"
        }
        cache.save()
        assert json.loads(path.read_text())
        monkeypatch.setattr(peers.imagecodecs, "jpegxl_encode", None)
        again = SizeCache.load(path)
        assert {peer: peer_size(peer, smooth("u2"), cache=again) for peer in first} == first

    def test_other_samples_are_measured(self):
        cache = SizeCache()
        sizes = {
            peer_size("zstd", smooth("u2", seed=seed), cache=cache).bytes for seed in (1, 2, 3)
        }
        assert len(cache.sizes) == 3
        assert sizes
