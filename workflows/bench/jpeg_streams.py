"""JPEG streams of TIFF and DICOM files, chunk by chunk, with the samples that readers give.

For measuring only: it reads the first image of a file that has no surprises, and nothing else.
"""

from __future__ import annotations

import struct
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

from tilepress.codecs.jpeg.layout import Grid

__all__ = ["JpegChunk", "jpeg_chunks"]

Array = npt.NDArray[Any]

_JPEG = "1.2.840.10008.1.2.4."
_TYPES = {1: "B", 2: "c", 3: "H", 4: "I", 7: "B", 13: "I", 16: "Q", 18: "Q"}


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
    data = path.read_bytes()
    tags = _first_directory(data)
    if tags.get(259, [0])[0] != 7 or tags.get(284, [1])[0] != 1:
        return
    columns, rows = tags[256][0], tags[257][0]
    tiled = 322 in tags
    width = tags[322][0] if tiled else columns
    height = tags[323][0] if tiled else min(tags.get(278, [rows])[0], rows)
    offsets, sizes = (tags[324], tags[325]) if tiled else (tags[273], tags[279])
    across, down = -(-columns // width), -(-rows // height)
    wide, high = max(side // width, 1), max(side // height, 1)
    tables = bytes(tags.get(347, []))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of files without a place on Earth
        source = rasterio.open(path)
    with source:
        for top in range(0, down, high):
            for left in range(0, across, wide):
                grid = Grid(1, min(high, down - top), min(wide, across - left), height, width)
                numbers = [
                    (top + y) * across + left + x
                    for y in range(grid.rows)
                    for x in range(grid.columns)
                ]
                streams = [data[offsets[n] : offsets[n] + sizes[n]] or None for n in numbers]
                box = Window(
                    left * width, top * height,
                    min(wide * width, columns - left * width),
                    min(high * height, rows - top * height),
                )  # fmt: skip
                yield JpegChunk(streams, tables, grid, source.read(window=box))


def _first_directory(data: bytes) -> dict[int, list[Any]]:
    """Return the numbers of the first directory of a TIFF or BigTIFF file, by tag."""
    order = "<" if data[:2] == b"II" else ">"
    big = struct.unpack_from(order + "H", data, 2)[0] == 43
    (at,) = struct.unpack_from(order + ("Q" if big else "I"), data, 8 if big else 4)
    (count,) = struct.unpack_from(order + ("Q" if big else "H"), data, at)
    at += 8 if big else 2
    tags: dict[int, list[Any]] = {}
    for entry in range(at, at + count * (20 if big else 12), 20 if big else 12):
        tag, kind, number = struct.unpack_from(order + ("HHQ" if big else "HHI"), data, entry)
        if kind not in _TYPES:
            continue
        code = f"{order}{number}{_TYPES[kind]}"
        place = entry + (12 if big else 8)
        if struct.calcsize(code) > (8 if big else 4):
            (place,) = struct.unpack_from(order + ("Q" if big else "I"), data, place)
        if place + struct.calcsize(code) <= len(data):
            tags[tag] = list(struct.unpack_from(code, data, place))
    return tags
