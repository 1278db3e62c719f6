"""The bench of JPEG streams takes them out of files as they are, and tells sizes and speeds."""

from __future__ import annotations

from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import rasterio
from rasterio.errors import NotGeoreferencedWarning

from tilepress.codecs.jpeg.codec import encode, streams
from tilepress.codecs.record import HEADER_BYTES
from tilepress.workflows.bench import jpeg
from tilepress.workflows.bench.jpeg_streams import jpeg_chunks


@pytest.fixture
def tiff(tmp_path: Path) -> Path:
    """A tiled TIFF of JPEG, 150 × 170, tables apart."""
    y, x = np.mgrid[:150, :170]
    image = np.stack([x + y, 2 * x, 255 - y]).astype(np.uint8)
    path = tmp_path / "a.tif"
    with pytest.warns(NotGeoreferencedWarning), rasterio.open(
        path, "w", driver="GTiff", width=170, height=150, count=3, dtype="uint8", tiled=True,
        blockxsize=64, blockysize=64, compress="jpeg", photometric="ycbcr",
    ) as file:  # fmt: skip
        file.write(image)
    return path


class TestChunks:
    def test_of_a_tiled_tiff(self, tiff: Path) -> None:
        chunks = list(jpeg_chunks(tiff, side=128))
        assert [(c.grid.rows, c.grid.columns) for c in chunks] == [(2, 2), (2, 1), (1, 2), (1, 1)]
        assert [c.samples.shape for c in chunks] == [
            (3, 128, 128), (3, 128, 42), (3, 22, 128), (3, 22, 42)
        ]  # fmt: skip
        first = chunks[0]
        assert first.streams[0] is not None
        whole = imagecodecs.jpeg_decode(first.tables[:-2] + first.streams[0][2:])
        assert np.abs(whole.transpose(2, 0, 1).astype(int) - first.samples[:, :64, :64]).mean() < 3

    def test_of_other_files(self, tmp_path: Path) -> None:
        path = tmp_path / "b.tif"
        imagecodecs.imwrite(str(path.with_suffix(".png")), np.zeros((8, 8), np.uint8))
        with (
            pytest.warns(NotGeoreferencedWarning),
            rasterio.open(
                path, "w", driver="GTiff", width=8, height=8, count=1, dtype="uint8"
            ) as file,
        ):
            file.write(np.zeros((1, 8, 8), np.uint8))
        assert list(jpeg_chunks(path)) == []


class TestWhatGdalReads:
    """Its JPEG library is found out by the samples: none needs a correction."""

    @pytest.mark.parametrize("kind", ["ycbcr", "rgb", "grey"])
    @pytest.mark.parametrize("quality", [30, 90])
    def test_is_what_records_decode_to(self, kind: str, quality: int, tmp_path: Path) -> None:
        rng = np.random.default_rng(quality)
        y, x = np.mgrid[:77, :133]
        image = np.stack(
            [x * 2 + y, (x * y) // 40 % 256, 255 - 2 * y + rng.integers(0, 9, x.shape)]
        )
        count = 1 if kind == "grey" else 3
        options = {} if kind == "grey" else {"photometric": kind}
        path = tmp_path / "a.tif"
        with pytest.warns(NotGeoreferencedWarning), rasterio.open(
            path, "w", driver="GTiff", width=133, height=77, count=count, dtype="uint8",
            compress="jpeg", jpeg_quality=quality, tiled=True, blockxsize=16, blockysize=16,
            **options,
        ) as file:  # fmt: skip
            file.write(image[:count].clip(0, 255).astype(np.uint8))
        for chunk in jpeg_chunks(path, side=64):
            record = encode(chunk.streams, chunk.samples, grid=chunk.grid, tables=chunk.tables)
            assert not record[HEADER_BYTES] & 64
            assert streams(record) == chunk.streams


class TestTable:
    def test_tells_sizes_and_what_was_refused(self, tiff: Path, capsys) -> None:
        assert jpeg.main([str(tiff), "--side", "128", "--chunks", "2"]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert lines[0].split()[:4] == ["file", "bytes", "streams", "ours"]
        assert lines[1].startswith("a.tif")
        assert lines[1].split()[3].startswith("-")
        assert lines[-1].startswith("all of them")
        refused = jpeg.JpegSizes("c.tif", 10, refused=["reading: it is cut"])
        assert any("refused 1 chunks: reading: it is cut" in line for line in jpeg.table([refused]))
