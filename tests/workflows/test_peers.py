"""Sizes of other codecs are only worth telling if the codecs keep every bit."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tilepress.workflows import peers
from tilepress.workflows.peers import PEERS, SizeCache, peer_size


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
    @pytest.mark.parametrize("peer", ["zstd", "jpegls", "jpeg2000", "jpegxl"])
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
