"""TIFF files of JPEG streams, and the streams that lie in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import rasterio

from tilepress.pipeline.geotiff.header import read_header
from tilepress.pipeline.geotiff.stream_blocks import StreamBlocks

from .samples import smooth

PICTURE = np.stack([smooth((150, 170), seed=seed) >> 4 for seed in (1, 2, 3)]).astype(np.uint8)


def jpeg_tiff(path: Path, bands: int = 3, **options: Any) -> Path:
    samples = PICTURE[:bands]
    if options.get("tiled"):
        options = {"blockxsize": 64, "blockysize": 64, **options}
    profile = {"driver": "GTiff", "count": bands, "height": 150, "width": 170, "dtype": "uint8"}
    place = {"crs": "EPSG:32631", "transform": rasterio.Affine(10, 0, 5e5, 0, -10, 4e6)}
    with rasterio.open(path, "w", **profile, **place, compress="jpeg", **options) as file:
        file.write(samples)
    return path


def blocks(path: Path) -> tuple[bytes, tuple[bytes | None, ...]]:
    found = StreamBlocks.of(path, read_header(path))
    assert found is not None
    grid = found.grid
    frames = range(grid.offsets.size // (grid.down * grid.across))
    streams = found.streams(frames, range(grid.down), range(grid.across))
    return streams.tables, streams.streams
