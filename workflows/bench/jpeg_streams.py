"""JPEG streams of TIFF and DICOM files, chunk by chunk, with the samples that readers give.

For measuring only: it reads the first image of a file that has no surprises, and nothing else.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt
import pydicom
import rasterio
from pydicom.encaps import generate_frames
from rasterio.windows import Window

from tilepress.codecs.grid import Grid
from tilepress.pipeline.geotiff.header import read_header
from tilepress.pipeline.geotiff.stream_blocks import StreamBlocks

__all__ = ["JpegChunk", "jpeg_chunks"]

Array = npt.NDArray[Any]

_JPEG = "1.2.840.10008.1.2.4."


@dataclass(frozen=True)
class JpegChunk:
    """What ``tilepress.codecs.jpeg.codec.encode`` is given."""

    streams: list[bytes | None]
    tables: bytes
    grid: Grid
    samples: Array
    """(planes, y, x)."""


def jpeg_chunks(path: Path, side: int = 1024) -> Iterator[JpegChunk]:
    """Yield the chunks of a file, of about ``side`` rows and columns; none if it has no JPEG."""
    with path.open("rb") as file:
        magic = file.read(4)
    if magic[:2] in (b"II", b"MM"):
        yield from _tiff_chunks(path, side)
    else:
        yield from _dicom_chunks(path)


def _dicom_chunks(path: Path) -> Iterator[JpegChunk]:
    dataset = pydicom.dcmread(path)
    if str(dataset.file_meta.TransferSyntaxUID) not in (_JPEG + "50", _JPEG + "51"):
        return
    count = int(dataset.get("NumberOfFrames") or 1)
    for frame in generate_frames(dataset.PixelData, number_of_frames=count):
        samples = imagecodecs.jpeg_decode(frame)
        planes = samples[None] if samples.ndim == 2 else samples.transpose(2, 0, 1)
        grid = Grid(1, 1, 1, *planes.shape[1:])
        yield JpegChunk([frame], b"", grid, np.ascontiguousarray(planes))


def _tiff_chunks(path: Path, side: int) -> Iterator[JpegChunk]:
    blocks = StreamBlocks.of(path, read_header(path))
    if blocks is None or blocks.grid.planes > 1:
        return
    whole = blocks.grid
    wide, high = max(side // whole.columns, 1), max(side // whole.rows, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of files without a place on Earth
        source = rasterio.open(path)
    with source:
        for top in range(0, whole.down, high):
            for left in range(0, whole.across, wide):
                rows = range(top, min(top + high, whole.down))
                columns = range(left, min(left + wide, whole.across))
                found = blocks.streams(range(1), rows, columns)
                box = Window(
                    left * whole.columns, top * whole.rows,
                    min(wide * whole.columns, whole.width - left * whole.columns),
                    min(high * whole.rows, whole.height - top * whole.rows),
                )  # fmt: skip
                grid = Grid(1, found.rows, found.columns, found.height, found.width)
                samples = source.read(window=box)
                yield JpegChunk(list(found.streams), found.tables, grid, samples)
