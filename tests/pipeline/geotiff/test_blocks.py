"""A Deflate block that fails its checksum is damage, also where GDAL gives samples for it."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.windows import Window

from tilepress.errors import DamagedSource
from tilepress.pipeline.geotiff.blocks import DeflateBlocks
from tilepress.pipeline.geotiff.header import read_header, read_mask_header
from tilepress.pipeline.geotiff.source import GeoTiffSource
from tilepress.pipeline.image.grid import Box

SAMPLES = np.random.default_rng(5).integers(0, 900, (3, 100, 130), np.uint16)

GEO: dict[str, Any] = {"crs": "EPSG:32631", "transform": Affine(10, 0, 5e5, 0, -10, 4e6)}

LAYOUTS: dict[str, dict[str, Any]] = {
    "strips": {"blockysize": 8},
    "strips-of-bands": {"blockysize": 8, "interleave": "band"},
    "tiles": {"tiled": True, "blockxsize": 48, "blockysize": 32},
    "tiles-of-bands": {"tiled": True, "blockxsize": 48, "blockysize": 32, "interleave": "band"},
    "predictor": {"tiled": True, "blockxsize": 64, "blockysize": 64, "predictor": 2},
    "one-strip": {"blockysize": 100},
}


@pytest.fixture(params=list(LAYOUTS))
def file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / "scene.tif"
    layout = {"interleave": "pixel"} | LAYOUTS[request.param]
    with rasterio.open(
        path, "w", driver="GTiff", **GEO, width=130, height=100, count=3, dtype="uint16",
        compress="deflate", **layout,
    ) as made:  # fmt: skip
        made.write(SAMPLES)
    return path


def blocks_of(file: Path) -> DeflateBlocks:
    found = DeflateBlocks.of(file, read_header(file))
    assert found is not None
    return found


def damage(file: Path, number: int) -> None:
    """Change the checksum that ends a block: every sample is there."""
    blocks = blocks_of(file)
    at = int(blocks.grid.offsets[number] + blocks.grid.lengths[number]) - 1
    data = bytearray(file.read_bytes())
    data[at] ^= 1
    file.write_bytes(data)


def replace_block(file: Path, blocks: DeflateBlocks, number: int, size: int = 2**20) -> None:
    """Put a stream where a block is that gives too much, and fails its checksum."""
    too_much = zlib.compress(bytes(size))
    data = bytearray(file.read_bytes())
    at = int(blocks.grid.offsets[number])
    assert len(too_much) < blocks.grid.lengths[number]
    data[at : at + len(too_much)] = too_much[:-1] + bytes([too_much[-1] ^ 1])
    file.write_bytes(data)


def place_of(file: Path, number: int) -> Box:
    """Return the samples that a block holds."""
    b = blocks_of(file).grid
    plane, block = divmod(number, b.down * b.across)
    top, left = block // b.across * b.rows, block % b.across * b.columns
    bands = (plane, plane + 1) if b.planes > 1 else (0, 3)
    stop = (bands[1], min(100, top + b.rows), min(130, left + b.columns))
    return Box((bands[0], top, left), stop)


class TestDamageIsFoundWhereItIs:
    """Whatever the layout: the block that is damaged, and no other."""

    def test_every_block(self, file: Path):
        sound, count = file.read_bytes(), len(blocks_of(file).grid.offsets)
        for number in {0, count // 2, count - 1}:
            damage(file, number)
            box = place_of(file, number)
            with GeoTiffSource.open(file) as source:
                for asked in (box, Box((0, 0, 0), (3, 100, 130))):
                    with pytest.raises(DamagedSource, match=rf" {number + 1} of {count} fails"):
                        source.read(asked)
                for other in {0, count // 2, count - 1} - {number}:
                    box = place_of(file, other)
                    assert np.array_equal(source.read(box), SAMPLES[box.slices])
            file.write_bytes(sound)

    def test_gdal_says_nothing(self, file: Path):
        """Where a damaged stream gives too much: if GDAL told of it, all this could go."""
        replace_block(file, blocks_of(file), 0)
        box = place_of(file, 0)
        with rasterio.open(file) as opened:
            assert not np.array_equal(opened.read()[box.slices], SAMPLES[box.slices])
        with GeoTiffSource.open(file) as source, pytest.raises(DamagedSource):
            source.read(box)

    def test_a_sound_file_is_read(self, file: Path):
        with GeoTiffSource.open(file) as source:
            box = Box((0, 0, 0), (3, 100, 130))
            assert np.array_equal(source.read(box), SAMPLES)
            assert np.array_equal(source.read(box), SAMPLES)

    def test_damage_in_the_middle(self, file: Path):
        blocks = blocks_of(file)
        data = bytearray(file.read_bytes())
        at = int(blocks.grid.offsets[0] + blocks.grid.lengths[0] // 2)
        data[at] ^= 0x10
        file.write_bytes(data)
        with GeoTiffSource.open(file) as source, pytest.raises(DamagedSource):
            source.read(place_of(file, 0))


class TestMasks:
    """They say which samples are there: a wrong one is as bad as wrong samples."""

    @pytest.mark.parametrize("internal", [True, False])
    def test_damage(self, tmp_path: Path, internal: bool):
        path = tmp_path / "masked.tif"
        mask = np.random.default_rng(1).integers(0, 2, (100, 130), np.uint8) * 255
        with (
            rasterio.Env(GDAL_TIFF_INTERNAL_MASK=internal),
            rasterio.open(
                path, "w", driver="GTiff", **GEO, width=130, height=100, count=3, dtype="uint16"
            ) as made,
        ):
            made.write(SAMPLES)
            made.write_mask(mask)
        box = Box((0, 0), (100, 130))
        with GeoTiffSource.open(path) as source:
            assert np.array_equal(source.read_mask(box), mask)
        beside = tmp_path / "masked.tif.msk"
        assert beside.exists() != internal
        file = path if internal else beside
        blocks = DeflateBlocks.of(file, read_mask_header(path) if internal else read_header(file))
        assert blocks is not None
        replace_block(file, blocks, 0, 2**15)
        with rasterio.open(path) as opened:
            assert not np.array_equal(opened.read_masks(1), mask)  # and not a word
        with GeoTiffSource.open(path) as source:
            assert np.array_equal(source.read(Box((0, 0, 0), (3, 100, 130))), SAMPLES)
            with pytest.raises(DamagedSource, match=f"{file.name}: damaged: strip 1 of"):
                source.read_mask(box)


class TestOthersAreLeftToGdal:
    """Sparse files, other compressions, and bytes that follow a stream."""

    def test_bytes_that_follow_a_stream(self, file: Path):
        blocks = blocks_of(file)
        data = bytearray(file.read_bytes())
        at, length = int(blocks.grid.offsets[0]), int(blocks.grid.lengths[0])
        shorter = zlib.compress(zlib.decompress(data[at : at + length]), 9)
        if len(shorter) >= length:  # the same bytes, with the next block's behind them
            blocks.grid.lengths[0] = length + 7
        else:
            data[at : at + len(shorter)] = shorter
            file.write_bytes(data)
        blocks.check([1, 2, 3], Window(0, 0, 130, 100))

    def test_a_place_that_no_file_has(self, file: Path):
        """Of 64 bits, the highest of them set."""
        blocks = blocks_of(file)
        blocks.grid.offsets[0] = -1
        with pytest.raises(DamagedSource, match=r"1 of \d+ fails"):
            blocks.check([1, 2, 3], Window(0, 0, 130, 100))

    @pytest.mark.parametrize("compress", ["lzw", "zstd", "none"])
    def test_other_compressions(self, tmp_path: Path, compress: str):
        path = tmp_path / "x.tif"
        with rasterio.open(
            path,
            "w",
            driver="GTiff",
            **GEO,
            width=9,
            height=9,
            count=1,
            dtype="uint8",
            compress=compress,
        ) as made:
            made.write(np.ones((1, 9, 9), np.uint8))
        assert DeflateBlocks.of(path, read_header(path)) is None

    def test_blocks_that_are_left_out(self, tmp_path: Path):
        path = tmp_path / "sparse.tif"
        with rasterio.open(
            path, "w", driver="GTiff", **GEO, width=96, height=96, count=1, dtype="uint16",
            compress="deflate", tiled=True, blockxsize=32, blockysize=32, sparse_ok=True,
        ) as made:  # fmt: skip
            made.write(SAMPLES[:1, :32, :32], window=((0, 32), (0, 32)))
        with GeoTiffSource.open(path) as source:
            found = source.read(Box((0, 0), (96, 96)))
        assert np.array_equal(found[:32, :32], SAMPLES[0, :32, :32])
        assert not found[32:].any()
