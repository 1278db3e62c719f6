"""Bytes are for ever: stores of an NDPI file, with its streams and from before they were kept.

The second one was written by the version that kept samples alone (``regenerate_ndpi.py``).
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

import tilepress
from tilepress.pipeline.archive.repair import repair_stores
from tilepress.pipeline.export import export
from tilepress.pipeline.geotiff.slide_source import SlideSource
from tilepress.pipeline.image.grid import Box
from tilepress.pipeline.image.source import SourceSpec
from tilepress.pipeline.verify import verify
from tilepress.workflows.run.compress import compress

from ..golden.stores.regenerate import FOLDER, unpack
from ..golden.stores.regenerate_ndpi import TILE
from ..helpers.ndpi_files import pages_of

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    unpack(FOLDER / "ndpi.tar.xz", tmp_path)
    unpack(FOLDER / "ndpi-before.tar.xz", tmp_path)
    return tmp_path / "source/a.ndpi"


@pytest.fixture(params=["kept", "before"])
def store(source: Path, request: pytest.FixtureRequest) -> Path:
    return source.parent.parent / request.param / "a.zarr"


class TestGoldenStores:
    def test_have_the_samples_of_their_source(self, store: Path, source: Path):
        assert verify(store, source) == []
        spec = SourceSpec(kind="slide", paths=(str(source),), options={"pages": []})
        with SlideSource(spec) as slide:
            for level in (0, 1):
                box = Box((0, 0, 0), slide.info.at_level(level).shape)
                with tilepress.open(store, level=level) as found:
                    np.testing.assert_array_equal(found.image.values, slide.read_level(level, box))

    def test_are_unchanged_for_the_same_line(self, store: Path, source: Path):
        root = (store / "zarr.json").read_bytes()
        (image,) = compress(source, store, workers=0, tile=TILE).images
        assert image.status == "unchanged"
        assert (store / "zarr.json").read_bytes() == root

    def test_come_back(self, store: Path, source: Path):
        (out,) = export(store, store.parent / "back")
        if store.parent.name == "kept":
            assert out.name == "a.ndpi"
            assert pages_of(out) == pages_of(source)
        else:
            assert out.name == "a.tif"

    def test_are_mended(self, store: Path, source: Path):
        shutil.rmtree(store / "1/image/c")
        (done,) = repair_stores(store, [source])
        assert done.state == "repaired"
        assert verify(store, source) == []
