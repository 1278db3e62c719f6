"""Comparing samples: what a source has become shows, whatever its times and headers say."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import rasterio

from tilepress.errors import DamagedStore
from tilepress.pipeline.archive.compare import find_difference
from tilepress.pipeline.archive.options import EncodeOptions
from tilepress.pipeline.archive.plan import ImagePlan, make_plan
from tilepress.pipeline.find.discover import discover
from tilepress.pipeline.image.grid import Box
from tilepress.pipeline.image.source import SourceSpec, TileSource
from tilepress.pipeline.sources.open import open_source
from tilepress.pipeline.storage.path import storage_path
from tilepress.pipeline.store.reader import StoreReader
from tilepress.workflows.run.compress import compress

from ...helpers.samples import smooth

BOUND = 3


class Changed:
    """A source of which one sample is another."""

    def __init__(self, source: TileSource, array: str, by: int) -> None:
        self._source, self._array, self._by = source, array, by

    def read(self, box: Box) -> npt.NDArray[Any]:
        return self._with("image", self._source.read(box))

    def read_mask(self, box: Box) -> npt.NDArray[Any]:
        return self._with("mask", self._source.read_mask(box))

    def _with(self, array: str, samples: npt.NDArray[Any]) -> npt.NDArray[Any]:
        if array == self._array:
            samples = samples.copy()
            samples[-1, -1] += np.array(self._by).astype(samples.dtype)
        return samples


@pytest.fixture(params=[0, BOUND], ids=["lossless", "lossy"])
def sealed(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[tuple[ImagePlan, TileSource]]:
    """Return the plan of a sealed store with a mask, and its open source."""
    path, store = tmp_path / "scene.tif", tmp_path / "scene.zarr"
    mask = np.zeros((70, 90), np.uint8)
    mask[10:60, 20:] = 255
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(
            path, "w", driver="GTiff", width=90, height=70, count=1, dtype="uint16",
            crs="EPSG:32631", transform=rasterio.Affine(10, 0, 5e5, 0, -10, 4e6),
        ) as file,
    ):  # fmt: skip
        file.write(smooth((70, 90)) + 100, 1)
        file.write_mask(mask)
    assert compress(path, store, workers=0, tile=64, max_error=request.param).ok
    (spec,) = discover([path])
    assert isinstance(spec, SourceSpec)
    with contextlib.closing(open_source(spec)) as source:
        yield (
            make_plan(source, storage_path(store), EncodeOptions(tile=64, max_error=request.param)),
            source,
        )


class TestOnlyTheSourceOfAStoreFits:
    """Within the bound that the store was coded with, and bit for bit where that is none."""

    def test_the_source_of_a_store_fits(self, sealed: tuple[ImagePlan, TileSource]):
        assert find_difference(*sealed) is None

    @pytest.mark.parametrize("array", ["image", "mask"])
    def test_a_single_sample_is_found(self, sealed: tuple[ImagePlan, TileSource], array: str):
        plan, source = sealed
        by = 2 * BOUND + 1 if array == "image" else 1
        assert find_difference(plan, Changed(source, array, by)) == f"they differ in {array}-0.0"

    def test_what_the_bound_allows_is_no_difference(self, sealed: tuple[ImagePlan, TileSource]):
        """A lossy store cannot be told from that of a source which is as near to it."""
        plan, source = sealed
        reader = StoreReader.open(plan.store)
        whole = Box((0, 0), source.info.shape)
        off = int(reader.read(whole)[-1, -1]) - int(source.read(whole)[-1, -1])
        lossy = bool(plan.codec_config["max_error"])
        nearer = Changed(source, "image", off or BOUND)
        assert find_difference(plan, nearer) == (None if lossy else "they differ in image-0.0")

    def test_a_store_that_is_damaged_is_not_told_to_differ(
        self, sealed: tuple[ImagePlan, TileSource]
    ):
        plan, source = sealed
        shard = Path(plan.store) / "0/image/c/0/0"
        shard.write_bytes(shard.read_bytes()[:-9])
        if plan.codec_config["max_error"]:
            with pytest.raises(DamagedStore, match="run tilepress repair"):
                find_difference(plan, source)
        else:
            assert find_difference(plan, source) is None, "the manifest is asked, not the shard"
