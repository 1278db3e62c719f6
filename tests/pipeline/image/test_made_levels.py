"""Which levels are made of an image, and how."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tilepress.errors import DamagedStore, UsageError
from tilepress.pipeline.image.info import BandInfo, ImageInfo, Level
from tilepress.pipeline.image.made_levels import MadeLevels, parse_asked


def info(*shape: int, dtype: str = "uint16", **fields: Any) -> ImageInfo:
    axes = ("z", "band", "y", "x")[-len(shape) :]
    given = {"name": "a", "axes": axes, "shape": shape, "dtype": np.dtype(dtype)}
    return ImageInfo(**{**given, **fields})


def made(image: ImageInfo, asked: str | int = 2) -> MadeLevels:
    found = MadeLevels.of(image, asked)
    assert found is not None
    return found


class TestWhich:
    def test_large_images_get_them_by_themselves(self):
        assert MadeLevels.of(info(4096, 4096), "auto") is None
        assert made(info(4097, 4096), "auto").factors == (4, 8, 16)
        assert made(info(3, 100_000, 8192), "auto").factors == (4, 8, 16, 32, 64, 128, 256)
        assert MadeLevels.of(info(9000, 9000), "none") is None

    def test_of_streams_from_a_sixteenth_on(self):
        found = made(info(16384, 8192, stream_block=(256, 256)), "auto")
        assert found.factors == (16, 32)

    def test_as_many_as_are_asked_for_and_make_sense(self):
        assert made(info(9, 700), 3).factors == (2, 4, 8)
        assert made(info(1, 5), 9).factors == (2, 4, 8)
        assert MadeLevels.of(info(1, 1), 3) is None

    def test_an_image_keeps_its_own(self):
        own = info(9000, 9000, levels=(Level(shape=(9, 9)),))
        assert MadeLevels.of(own, "auto") is None
        assert MadeLevels.of(own, 2) is None

    def test_what_is_asked_for(self):
        assert [parse_asked(text) for text in ("auto", "none", "3")] == ["auto", "none", 3]
        for text in ("0", "-1", "many", "99", "1.5", ""):
            with pytest.raises(UsageError, match="auto, none or 1 to"):
                parse_asked(text)

    def test_are_told_and_found_again(self):
        found = made(info(3, 90, 90), 3)
        assert MadeLevels.from_json(found.to_json()) == found

    @pytest.mark.parametrize(
        "told",
        [
            None, [], {}, {"factors": [2], "methods": []}, {"factors": [3], "methods": ["mode"]},
            {"factors": [4, 2], "methods": ["mode"]}, {"factors": [2], "methods": ["magic"]},
            {"factors": ["2"], "methods": ["mode"]}, {"factors": [0], "methods": ["mode"]},
            {"factors": [2**n for n in range(1, 40)], "methods": ["mode"]},
        ],
    )  # fmt: skip
    def test_nonsense_is_refused(self, told: object):
        with pytest.raises(DamagedStore):
            MadeLevels.from_json(told)


class TestHow:
    @pytest.mark.parametrize(
        ("image", "methods"),
        [
            (info(9, 9), ("average",)),
            (info(9, 9, dtype="float64"), ("average",)),
            (info(9, 9, dtype="int64"), ("nearest",)),
            (info(9, 9, dtype="bool", lossy_refusal="true or false"), ("mode",)),
            (info(9, 9, dtype="uint8", attributes={"flag_values": [1]}), ("mode",)),
            (info(9, 9, attributes={"color_table": ["#000000ff"]}), ("nearest",)),
            (
                info(2, 9, 9, axes=("band", "y", "x"), bands=(BandInfo(), BandInfo(exact="alpha"))),
                ("average", "nearest"),
            ),
            (
                info(
                    2, 9, 9, axes=("band", "y", "x"), dtype="uint8",
                    attributes={"band_flags": [None, {"flag_values": [1]}]},
                ),
                ("average", "mode"),
            ),
        ],
    )  # fmt: skip
    def test_goes_by_what_samples_are(self, image: ImageInfo, methods: tuple[str, ...]):
        assert made(image).methods == methods
