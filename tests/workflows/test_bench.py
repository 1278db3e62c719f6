"""The comparison counts every byte of ours and names what it could not read."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rich.console import Console

from tilepress.codecs.errors import UsageError
from tilepress.pipeline.store import StoreReader
from tilepress.workflows.bench import BenchResult, class_table, file_table, run_bench


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two small GeoTIFF files of one class, one of another, and a file that is no image."""
    rng = np.random.default_rng(2)
    place = tmp_path / "images"
    place.mkdir()
    for name in ("a1", "a2", "b1"):
        samples = (rng.integers(0, 9, (1, 48, 64)).cumsum(-1) + 100).astype(np.uint16)
        with rasterio.open(
            place / f"{name}.tif",
            "w",
            driver="GTiff",
            dtype="uint16",
            width=64,
            height=48,
            count=1,
            crs="EPSG:32621",
            transform=rasterio.Affine(30, 0, 0, 0, -30, 0),
        ) as image:
            image.write(samples)
    (place / "notes.bin").write_bytes(b"no image at all")
    return place


@pytest.fixture
def result(folder: Path) -> BenchResult:
    table = folder.parent / "MANIFEST.tsv"
    table.write_text(
        "file\tclass\nimages/a1.tif\ta\nimages/a2.tif\ta\nimages/b1.tif\tb\n", encoding="utf-8"
    )
    return run_bench([folder], ("tilepress", "zstd", "jpegxl"), folder.parent / "out.json", table)


class TestTheComparisonIsComplete:
    """A figure stands for all images of its class, or it is not shown."""

    def test_classes_come_from_the_manifest(self, result: BenchResult):
        assert {kind: len(images) for kind, images in result.by_class().items()} == {"a": 2, "b": 1}

    def test_every_codec_has_a_size(self, result: BenchResult):
        assert all(set(image.sizes) == {"tilepress", "zstd", "jpegxl"} for image in result.images)

    def test_what_is_no_image_is_listed(self, result: BenchResult):
        assert any("notes.bin" in failure for failure in result.failures)

    def test_json_holds_the_same_figures(self, result: BenchResult, folder: Path):
        written = json.loads((folder.parent / "out.json").read_text())
        image = result.by_class()["b"][0]
        assert written["classes"]["b"]["jpegxl"] == pytest.approx(image.bits("jpegxl"))

    def test_the_tables_show_every_class(self, result: BenchResult):
        console = Console(record=True, width=140, file=io.StringIO())
        console.print(class_table(result))
        console.print(file_table(result))
        text = console.export_text()
        assert "mean over classes" in text
        assert "b1.tif" in text


class TestTilepressIsCountedAsStored:
    """Ours is the size of the shard objects that ``compress`` writes, to the byte."""

    def test_equals_the_shards_of_a_store(self, folder: Path, tmp_path: Path):
        import tilepress

        assert tilepress.compress(folder / "a1.tif", tmp_path / "a1.zarr", workers=0).ok
        statement = StoreReader.open(tmp_path / "a1.zarr").statement
        result = run_bench([folder / "a1.tif"], ("tilepress",))
        assert result.images[0].sizes["tilepress"] == statement["stored_bytes"]


class TestUnknownCodecsAreRefused:
    def test_the_known_ones_are_named(self, folder: Path):
        with pytest.raises(UsageError, match="got png, want tilepress, zstd"):
            run_bench([folder], ("png",))
