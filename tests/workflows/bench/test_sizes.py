"""Sizes of other codecs are only worth telling if the codecs keep every bit."""

from __future__ import annotations

import json
from pathlib import Path

import imagecodecs
import numpy as np
import pytest

from tilepress.codecs.classical import ANCHORS
from tilepress.workflows.bench.sizes import BEST, SizeCache, anchor_size, anchor_sizes

from ...helpers.samples import smooth_planes as smooth


class TestEveryDtypeGetsAHonestSize:
    """imagecodecs takes some dtypes and drops their low bits: such a size must never be told."""

    @pytest.mark.parametrize(
        "dtype",
        ["bool", "u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8"],
    )
    @pytest.mark.parametrize("codec", [name for name in ANCHORS if name != "webp"])
    def test_some_size_is_found(self, codec: str, dtype: str):
        planes = smooth(dtype, 2)
        assert 0 < anchor_size(codec, planes).bytes < planes.nbytes + 2000

    @pytest.mark.parametrize("codec", ["jpegls", "jpeg2000", "jpegxl"])
    def test_integers_of_full_32_bits_are_split(self, codec: str):
        """JPEG 2000 of imagecodecs keeps 26 of them at most."""
        planes = np.random.default_rng(5).integers(0, 2**32, (1, 32, 32), dtype=np.uint32)
        assert anchor_size(codec, planes).bytes > planes.nbytes


class TestCodecsGetWhatSuitsThem:
    """A comparison that ties the other's hands says nothing."""

    def test_rgb_is_tried_as_one_image(self):
        grey = smooth("u1")
        rgb = np.concatenate([grey, grey + 1, grey + 2])
        assert anchor_size("jpegxl", rgb, bands=3).bytes < anchor_size("jpegxl", rgb, bands=1).bytes

    def test_a_fourth_band_stands_alone(self):
        planes = smooth("u1", 4)
        together = anchor_size("jpeg2000", planes, bands=4).bytes
        three = anchor_size("jpeg2000", planes[:3], bands=3).bytes
        assert together == three + anchor_size("jpeg2000", planes[3:]).bytes

    def test_webp_takes_rgb_of_8_bits_only(self):
        assert anchor_size("webp", smooth("u1", 3), bands=3).bytes > 0
        with pytest.raises(ValueError, match="does not take"):
            anchor_size("webp", smooth("u2", 3), bands=3)


class TestBestIsTheSmallestPlaneByPlane:
    """What a person with every codec at hand would reach."""

    def test_planes_choose_apart(self):
        text = np.zeros((40, 56), np.uint8)
        text[:, ::7] = 255
        planes = np.stack([smooth("u1")[0], text])
        names = ("jpegls", "zstd")
        together = anchor_sizes(names, planes)
        apart = [anchor_sizes(names, plane[None]) for plane in planes]
        assert together[BEST].bytes == sum(sizes[BEST].bytes for sizes in apart)
        assert together[BEST].bytes < min(together[name].bytes for name in names)

    def test_an_rgb_image_counts_as_one(self):
        grey = smooth("u1")
        rgb = np.concatenate([grey, grey + 1, grey + 2])
        sizes = anchor_sizes(("jpegxl", "webp", "jpegls"), rgb, bands=3)
        assert sizes[BEST].bytes == min(sizes[name].bytes for name in ("jpegxl", "webp", "jpegls"))

    def test_who_does_not_take_the_samples_does_not_count(self):
        sizes = anchor_sizes(("webp", "jpegls"), smooth("u2", 2))
        assert "webp" not in sizes
        assert sizes[BEST] == sizes["jpegls"]


class TestNearLosslessHoldsTheBound:
    """A codec that is allowed a larger error than ours would be no comparison."""

    @pytest.mark.parametrize("dtype", ["u1", "i2", "u2", "i4", "f4", "f8"])
    def test_every_codec_gets_smaller(self, dtype: str):
        planes = smooth(dtype)
        names = ("jpegls", "jpeg2000", "jpegxl", "lerc")
        exact, near = anchor_sizes(names, planes), anchor_sizes(names, planes, max_error=2)
        assert set(exact) == set(near) == {*names, BEST}
        assert all(near[name].bytes < exact[name].bytes for name in names)


class TestTheCacheIsNeverStale:
    """Its key is the content and the setting, so nothing needs to be thrown away by hand."""

    def test_a_second_run_measures_nothing(self, tmp_path: Path, monkeypatch):
        path = tmp_path / "sizes.json"
        cache = SizeCache.load(path)
        first = {
            codec: anchor_size(codec, smooth("u2"), cache=cache)
            for codec in ANCHORS
            if codec != "webp"
        }
        cache.save()
        assert json.loads(path.read_text())
        monkeypatch.setattr(imagecodecs, "jpegxl_encode", None)
        again = SizeCache.load(path)
        assert {codec: anchor_size(codec, smooth("u2"), cache=again) for codec in first} == first

    def test_other_samples_are_measured(self):
        cache = SizeCache()
        sizes = {
            anchor_size("zstd", smooth("u2", seed=seed), cache=cache).bytes for seed in (1, 2, 3)
        }
        assert len(cache.sizes) == 3
        assert sizes
