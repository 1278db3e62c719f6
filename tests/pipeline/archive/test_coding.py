"""Coding: whoever codes a shard of a plan does it in the same way."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tilepress.errors import CodecError
from tilepress.pipeline.archive.coding import ImageCoding
from tilepress.pipeline.archive.options import EncodeOptions
from tilepress.pipeline.archive.plan import ShardRef, make_plan
from tilepress.pipeline.find.discover import discover
from tilepress.pipeline.image.grid import ShardGrid
from tilepress.pipeline.image.source import SourceSpec, TileSource
from tilepress.pipeline.sources.open import open_source
from tilepress.pipeline.storage.path import storage_path
from tilepress.workflows.run.compress import compress

from ..images import tiff

IMAGE, MASK = ShardRef("image", (0, 0)), ShardRef("mask", (0, 0))


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[TileSource]:
    """An image with a mask of its own."""
    import rasterio

    path = tiff(tmp_path / "scene.tif")
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as file:
        file.write_mask(np.eye(20, 30, dtype=np.uint8) * 255)
    (spec,) = discover([path])
    assert isinstance(spec, SourceSpec)
    with contextlib.closing(open_source(spec)) as source:
        yield source


class TestWhoeverCodesAShard:
    @pytest.mark.parametrize("max_error", [0, 3])
    def test_gets_what_compress_wrote(self, opened: TileSource, tmp_path: Path, max_error: int):
        store = tmp_path / "scene.zarr"
        assert compress(opened.spec.paths[0], store, workers=0, tile=16, max_error=max_error).ok
        plan = make_plan(opened, storage_path(store), EncodeOptions(tile=16, max_error=max_error))
        coding = ImageCoding(plan)
        for ref in plan.shards():
            stored = Path(str(coding.writer.shard_path(ref.array, ref.index))).read_bytes()
            assert coding.encode(opened, ref).data == stored, ref.name
            found = coding.compare(ref, stored, coding.read(opened, ref))
            assert found.entry(ref.array, ref.index) == coding.encode(opened, ref).entry(
                ref.array, ref.index
            )

    def test_codes_a_mask_without_loss(self, opened: TileSource, tmp_path: Path):
        plan = make_plan(
            opened, storage_path(tmp_path / "a.zarr"), EncodeOptions(tile=16, max_error=3)
        )
        coding = ImageCoding(plan)
        assert (coding.is_lossy(IMAGE), coding.is_lossy(MASK)) == (True, False)
        coded = coding.encode(opened, MASK)
        assert coded.difference.worst == 0
        other = coding.read(opened, MASK)
        other[0, 0] ^= 1
        with pytest.raises(CodecError, match="did not give back the same samples"):
            coding.compare(MASK, coded.data, other)

    def test_shares_the_codec_of_a_process(self, opened: TileSource, tmp_path: Path):
        """It holds the weights of a network: one for all shards of all images."""
        plan = make_plan(opened, storage_path(tmp_path / "a.zarr"), EncodeOptions(tile=16))
        assert ImageCoding(plan).codec(IMAGE) is ImageCoding(plan).codec(IMAGE)

    def test_reads_slices_one_after_another_and_bands_together(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        seen = []

        def read(self: object, box: object) -> np.ndarray:
            seen.append(box.shape)  # type: ignore[attr-defined]
            return np.zeros(box.shape, np.uint16)  # type: ignore[attr-defined]

        for axes, want in [(("z", "y", "x"), (2, 32, 20)), (("band", "y", "x"), (4, 16, 20))]:
            seen.clear()
            np.save(tmp_path / "a.npy", np.zeros((4, 32, 20), np.uint16))
            (spec,) = discover([tmp_path / "a.npy"])
            with contextlib.closing(open_source(spec)) as source:  # type: ignore[arg-type]
                plan = make_plan(source, storage_path(tmp_path / "a.zarr"), EncodeOptions(tile=16))
            grid = ShardGrid((4, 32, 20), want, (4, 32, 20))
            plan = replace(plan, info=replace(plan.info, axes=axes), grid=grid)
            opened = type("Zeros", (), {"read": read})()
            ImageCoding(plan).encode(opened, ShardRef("image", (0, 0, 0)))
            assert seen == [want, want]
