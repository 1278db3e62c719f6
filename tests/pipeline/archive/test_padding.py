"""Padding is exact under every bound: a value beside what was imaged means nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from tilepress.codecs.loss import bounded
from tilepress.codecs.tile import TileCodec
from tilepress.pipeline.archive.padding import kept_padding
from tilepress.pipeline.image.info import ImageInfo


def info(**fields: object) -> ImageInfo:
    given = {"name": "i", "axes": ("y", "x"), "shape": (4, 6), "dtype": np.dtype("int16")}
    return ImageInfo(**{**given, **fields})  # type: ignore[arg-type]


class TestUnderABound:
    def test_one_value_is_the_codecs_nodata(self):
        """The codec keeps that one, and no sample becomes it; the store says no other nodata."""
        told, nodata, lossless = kept_padding(info(padding=(-1500, -1500)), bounded(4))
        assert (nodata, lossless) == (-1500, False)
        assert told.nodata is None

    @pytest.mark.parametrize(
        "fields", [{"padding": (-2000, -1500)}, {"padding": (-2000, -2000), "nodata": 0}]
    )
    def test_what_no_bound_keeps_is_lossless(self, fields: dict[str, object]):
        told, nodata, lossless = kept_padding(info(**fields), bounded(4))
        assert lossless
        assert nodata == fields.get("nodata")
        assert "lossless whatever the bound" in told.remarks[0]

    def test_nothing_changes_where_all_is_exact_anyway(self):
        """Plans of lossless stores are what they were."""
        given = info(padding=(-2000, -1500))
        assert kept_padding(given, bounded(0)) == (given, None, False)
        assert kept_padding(info(nodata=3), bounded(4)) == (info(nodata=3), 3, False)

    def test_the_codec_keeps_it(self):
        """As a plan configures it: padding beside air that differs by less than the bound."""
        image = np.random.default_rng(3).integers(-1503, 1000, (1, 64, 64)).astype(np.int16)
        image[:, :20] = -1500
        codec = TileCodec(max_error=4, nodata=-1500)
        decoded = codec.decode(codec.encode(image))
        assert np.array_equal(decoded == -1500, image == -1500)
        assert np.abs(decoded.astype(int) - image).max() <= 4
