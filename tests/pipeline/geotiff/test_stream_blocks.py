"""Where the JPEG streams of a TIFF file lie."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from rasterio.windows import Window

from tilepress.errors import DamagedSource
from tilepress.pipeline.geotiff.header import Entry, append_entries, read_header
from tilepress.pipeline.geotiff.source import GeoTiffSource
from tilepress.pipeline.geotiff.stream_blocks import StreamBlocks
from tilepress.pipeline.image.grid import Box

from ...helpers.jpeg_files import jpeg_tiff
from ..images import tiff


def of(path: Path) -> StreamBlocks | None:
    return StreamBlocks.of(path, read_header(path))


def test_a_block_is_a_stream(tmp_path: Path):
    path = jpeg_tiff(tmp_path / "a.tif", photometric="ycbcr", tiled=True)
    blocks = of(path)
    assert blocks is not None
    grid = blocks.grid
    assert (grid.rows, grid.columns, grid.down, grid.across) == (64, 64, 3, 3)
    assert blocks.bands == 3
    found = blocks.streams(range(1), range(1, 3), range(3))
    assert len(found.streams) == 6
    data = path.read_bytes()
    for stream in found.streams:
        assert stream is not None
        assert stream.startswith(b"\xff\xd8")
        assert stream in data
    assert found.tables.startswith(b"\xff\xd8\xff\xdb")


def test_files_of_other_compressions_have_none(tmp_path: Path):
    assert of(tiff(tmp_path / "a.tif")) is None
    assert of(tiff(tmp_path / "b.tif", compress="deflate")) is None
    assert StreamBlocks.of(tmp_path / "c.jp2", None) is None


@pytest.mark.parametrize(
    "entry",
    [
        (322, Entry(3, 1, b"\0\0")),
        (266, Entry(3, 1, b"\2\0")),
        (324, Entry(4, 1, b"\1\0\0\0")),
        (257, Entry(3, 1, b"\0\0")),
    ],
)
def test_what_contradicts_itself_has_none(tmp_path: Path, entry: tuple[int, Entry]):
    path = jpeg_tiff(tmp_path / "a.tif", tiled=True)
    append_entries(path, dict([entry]), "<")
    assert of(path) is None


def test_a_file_that_ends_before_is_damaged(tmp_path: Path):
    path = jpeg_tiff(tmp_path / "a.tif", tiled=True)
    blocks = of(path)
    assert blocks is not None
    os.truncate(path, int(blocks.grid.offsets[-1]) + 3)
    with pytest.raises(DamagedSource, match="block 9 is not whole"):
        blocks.streams(range(1), range(3), range(3))


@pytest.mark.parametrize(
    ("side", "at", "is_read"), [(48, 0, False), (48, 8, True), (22, 8, True), (21, 8, False)]
)
def test_a_stream_of_fewer_samples_than_its_block_is_damaged(
    tmp_path: Path, side: int, at: int, is_read: bool
):
    """The last block needs 22 rows and 42 columns, the first one all 64."""
    path = jpeg_tiff(tmp_path / "a.tif", tiled=True)
    blocks = of(path)
    assert blocks is not None
    data = bytearray(path.read_bytes())
    frame = data.index(b"\xff\xc0\x00\x11\x08", int(blocks.grid.offsets[at]))
    data[frame + 5 : frame + 7] = side.to_bytes(2, "big")
    path.write_bytes(data)
    row, column = divmod(at, 3)
    start, stop = (
        (0, 64 * row, 64 * column),
        (3, min(64 * row + 64, 150), min(64 * column + 64, 170)),
    )
    with GeoTiffSource.open(path) as source:
        if is_read:
            source._files[0].stream_blocks.check([1, 2, 3], Window(128, 128, 42, 22))
        else:
            with pytest.raises(DamagedSource, match="its block"):
                source.read(Box(start, stop))
