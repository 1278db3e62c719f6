"""Check PNG files before their samples are trusted."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import rasterio

import tilepress
from tilepress.errors import DamagedSource
from tilepress.pipeline.geotiff.png import png_damage
from tilepress.pipeline.geotiff.source import GeoTiffSource

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")

SAMPLES = np.random.default_rng(0).integers(0, 256, (40, 64, 4), dtype=np.uint8)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(path: Path, kind: int, rows: list[bytes], extra: bytes = b"", bits: int = 8) -> Path:
    """Write 64 columns of samples of colour type ``kind``, not interlaced."""
    header = struct.pack(">IIBBBBB", 64, 40, bits, kind, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row for row in rows))
    parts = (chunk(b"IHDR", header), extra, chunk(b"IDAT", data), chunk(b"IEND", b""))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    return path


class TestSoundFiles:
    @pytest.mark.parametrize(
        ("kind", "bits", "bytes_per_row"), [(0, 1, 8), (0, 16, 128), (2, 8, 192), (6, 8, 256)]
    )
    def test_of_every_depth_pass(
        self, tmp_path: Path, kind: int, bits: int, bytes_per_row: int
    ) -> None:
        rows = [row.tobytes()[:bytes_per_row] for row in SAMPLES]
        assert png_damage(png(tmp_path / "a.png", kind, rows, bits=bits)) is None

    def test_interlaced_ones_pass(self, tmp_path: Path) -> None:
        import imagecodecs

        path = tmp_path / "a.png"
        for shape in ((1, 1), (3, 5), (40, 64)):
            plain = imagecodecs.png_encode(SAMPLES[: shape[0], : shape[1], 0].copy())
            path.write_bytes(plain)
            assert png_damage(path) is None
        # seven passes of an 8 × 8 image: 1 + 1 + 2 + 2 + 4 + 4 + 4 (rows) filter bytes, 64 samples
        header = struct.pack(">IIBBBBB", 8, 8, 8, 0, 0, 0, 1)
        for length, sound in ((64 + 15, True), (64 + 14, False)):
            parts = (b"IHDR", header), (b"IDAT", zlib.compress(bytes(length))), (b"IEND", b"")
            data = b"".join(chunk(kind, body) for kind, body in parts)
            path.write_bytes(b"\x89PNG\r\n\x1a\n" + data)
            assert (png_damage(path) is None) is sound


class TestDamage:
    """GDAL would give what its memory held before for samples that are not there."""

    def test_any_cut_is_found(self, tmp_path: Path) -> None:
        path = png(tmp_path / "a.png", 6, [row.tobytes() for row in SAMPLES])
        data = path.read_bytes()
        for length in (4, 8, 20, 40, len(data) // 2, len(data) - 20, len(data) - 1):
            path.write_bytes(data[:length])
            assert png_damage(path) is not None, length
        path.write_bytes(data[: len(data) // 2])
        with pytest.raises(DamagedSource, match="truncated or damaged"):
            GeoTiffSource.open(path)

    def test_any_flipped_bit_is_found(self, tmp_path: Path) -> None:
        path = png(tmp_path / "a.png", 6, [row.tobytes() for row in SAMPLES])
        data = path.read_bytes()
        for at in np.linspace(0, len(data) - 1, 60).astype(int):
            torn = bytearray(data)
            torn[at] ^= 16
            path.write_bytes(torn)
            assert png_damage(path) is not None, at

    def test_missing_rows_are_found(self, tmp_path: Path) -> None:
        path = png(tmp_path / "a.png", 6, [row.tobytes() for row in SAMPLES[:-1]])
        assert "want" in str(png_damage(path))


class TestRoundTrip:
    def back(self, source: Path) -> tuple[rasterio.DatasetReader, rasterio.DatasetReader]:
        store = source.with_suffix(".zarr")
        assert tilepress.compress(source, store, workers=0).ok
        assert tilepress.verify(store, source) == []
        (out, *_) = tilepress.export(store, source.with_suffix(".tif"))
        return rasterio.open(source), rasterio.open(out)

    def test_a_palette_comes_back(self, tmp_path: Path) -> None:
        rows = [(row[:, 0] % 4).tobytes() for row in SAMPLES]
        source = png(tmp_path / "a.png", 3, rows, chunk(b"PLTE", bytes(range(12))))
        before, after = self.back(source)
        with before, after:
            assert np.array_equal(before.read(), after.read())
            for index, color in before.colormap(1).items():
                assert after.colormap(1)[index] == color

    def test_a_transparent_colour_comes_back(self, tmp_path: Path) -> None:
        image = SAMPLES[:, :, :3].copy()
        image[::3] = (1, 2, 3)
        rows = [row.tobytes() for row in image]
        source = png(tmp_path / "a.png", 2, rows, chunk(b"tRNS", bytes([0, 1, 0, 2, 0, 3])))
        before, after = self.back(source)
        with before, after:
            assert np.array_equal(before.read(), after.read())
            assert np.array_equal(before.dataset_mask(), after.dataset_mask())
