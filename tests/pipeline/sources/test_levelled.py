"""Levels that are made of an image: of which samples, and what is told of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tilepress.codecs.reduce import reduced
from tilepress.pipeline.image.grid import Box
from tilepress.pipeline.image.info import BandInfo, GeoReference, MedicalGeometry
from tilepress.pipeline.image.made_levels import LEVELS
from tilepress.pipeline.image.source import LevelSource, read_level
from tilepress.pipeline.sources import levelled as module
from tilepress.pipeline.sources.levelled import LevelledSource, levelled, with_made_levels

from ..image.test_display import Samples


class TestSamples:
    @pytest.mark.parametrize("piece", [1, 700, 2**20])
    def test_are_those_of_the_whole_whatever_is_read_at_a_time(
        self, piece: int, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr(module, "PIECE_BYTES", piece)
        image = np.random.default_rng(8).integers(0, 999, (2, 45, 61), dtype=np.uint16)
        source = levelled(Samples(image, axes=("band", "y", "x")), 3)
        assert isinstance(source, LevelSource)
        for level, factor in ((1, 2), (3, 8)):
            want = reduced(image, factor, "average")
            box = Box((1, 1, 2), (2, *want.shape[1:]))
            np.testing.assert_array_equal(read_level(source, level, box), want[box.slices])
        np.testing.assert_array_equal(read_level(source, 0, Box((0, 0, 0), (2, 3, 4))),
                                      image[:, :3, :4])  # fmt: skip

    def test_absent_ones_do_not_count(self):
        image = np.array([[7, 10, 7, 7], [7, 20, 7, 7]], np.uint16)
        mask = np.array([[255, 255, 0, 0], [255, 0, 0, 0]], np.uint8)
        box = Box((0, 0), (1, 2))
        by_value = levelled(Samples(image, nodata=7), 1)
        assert read_level(by_value, 1, box).tolist() == [[15, 7]]
        masked = levelled(Samples(image, mask, nodata=7), 1)
        assert read_level(masked, 1, box).tolist() == [[10, 7]]
        padded = levelled(Samples(image.astype(np.int16), padding=(7, 10)), 1)
        assert read_level(padded, 1, box).tolist() == [[20, 7]]

    def test_each_band_has_its_own(self):
        image = np.array([[[7, 9], [9, 9]], [[7, 9], [9, 9]]], np.int32)
        bands = (BandInfo(nodata=7), BandInfo(nodata=9))
        source = levelled(Samples(image, axes=("band", "y", "x"), bands=bands), 1)
        assert read_level(source, 1, Box((0, 0, 0), (2, 1, 1))).tolist() == [[[9]], [[7]]]
        assert read_level(source, 1, Box((1, 0, 0), (2, 1, 1))).tolist() == [[[7]]]

    def test_memory_does_not_grow_with_the_image(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(module, "PIECE_BYTES", 4096)
        source = Samples(np.zeros((512, 512), np.uint8))
        read_level(levelled(source, 4), 4, Box((0, 0), (32, 32)))
        assert max(np.prod(box.shape) for box in source.taken) <= 4096
        assert sum(np.prod(box.shape) for box in source.taken) == 512 * 512, "each once"


class TestWhatIsTold:
    def test_of_their_place(self):
        geo = GeoReference(
            transform=(10.0, 1.0, 500.0, 2.0, -10.0, 900.0),
            gcps=({"row": 8, "col": 4, "x": 1.0, "y": 2.0},),
        )
        source = levelled(Samples(np.zeros((9, 9), np.uint8), geo=geo), 2)
        at = source.info.at_level(2)
        assert at.shape == (3, 3)
        assert at.geo is not None
        assert at.geo.transform == (40.0, 4.0, 500.0, 8.0, -40.0, 900.0)
        assert (at.geo.gcps[0]["row"], at.geo.gcps[0]["col"]) == (2, 1)
        assert source.info.factors(2) == (4.0, 4.0)

    def test_of_a_patient(self):
        medical = MedicalGeometry(
            pixel_spacing_mm=(2.0, 1.0), origin_mm=(10.0, 20.0, 30.0),
            orientation=(1.0, 0.0, 0.0, 0.0, 1.0, 0.0),
        )  # fmt: skip
        at = levelled(Samples(np.zeros((9, 9), np.uint8), medical=medical), 2).info.at_level(2)
        assert at.medical is not None
        assert at.medical.pixel_spacing_mm == (8.0, 4.0)
        assert at.medical.offset_mm == (3.0, 1.5)
        assert at.medical.origin_mm == (11.5, 23.0, 30.0)

    def test_of_coordinates(self):
        given = {"x": np.arange(5.0), "y": np.array(["a", "b", "c"])}
        at = levelled(Samples(np.zeros((3, 5), np.uint8), coordinates=given), 1).info.at_level(1)
        assert at.coordinates["x"].tolist() == [0.5, 2.5, 4.0]
        assert at.coordinates["y"].tolist() == ["a", "c"]

    def test_in_the_recipe_and_the_attributes(self):
        source = levelled(Samples(np.zeros((9, 9), np.uint8)), 1)
        assert isinstance(source, LevelledSource)
        told = {"factors": [2], "methods": ["average"]}
        assert source.spec.options == {LEVELS: told}
        assert source.info.attributes["made_levels"] == told
        assert with_made_levels(source.spec, None).options == {}
        again = with_made_levels(replace(source.spec, options={}), told)
        assert again == source.spec
