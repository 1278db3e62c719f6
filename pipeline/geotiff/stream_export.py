"""Give the strips or tiles of a TIFF file back byte by byte, in a file that GDAL has begun.

GDAL makes the file with no block in it, and writes what is said of the image; then the streams are
put behind it, and the directory is pointed to them.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tilepress.codecs.numbers import number_of
from tilepress.errors import DamagedStore, StoreError
from tilepress.pipeline.geotiff.header import (
    COMPRESSION,
    JPEG_TABLES,
    PHOTOMETRIC,
    STRIP_BYTES,
    STRIP_OFFSETS,
    SUBSAMPLING,
    TILE_BYTES,
    TILE_OFFSETS,
    Entry,
    append_entries,
    read_header,
)
from tilepress.pipeline.geotiff.part import FilePart
from tilepress.pipeline.geotiff.stream_blocks import FAMILIES, JPEG, StreamBlocks
from tilepress.pipeline.image.grid import Box
from tilepress.pipeline.image.source import ExportReader
from tilepress.pipeline.image.streams import KeptStreams

__all__ = ["append_streams", "stream_options", "streams_record"]

UNDEFINED, SHORT, LONG, LONG8 = 7, 3, 4, 16
_COMPRESSION = {"jpeg": "JPEG", "jpeg2000": "NONE", "jpegxl": "NONE", "webp": "WEBP"}
"""What GDAL begins a file with: the directory is told the true one where GDAL may not have it."""
_PHOTOMETRIC = {0: "MINISWHITE", 1: "MINISBLACK", 2: "RGB", 5: "CMYK", 6: "YCBCR"}


def streams_record(blocks: StreamBlocks, subsampling: list[int]) -> dict[str, Any]:
    """Return what a record keeps of how streams lie in a file; see ``append_streams``."""
    places = {"tiled": blocks.grid.tiled, "block": [blocks.grid.rows, blocks.grid.columns]}
    if blocks.family != "jpeg":
        return {"streams": {"compression": blocks.compression, **places}}
    tables = base64.b64encode(blocks.tables).decode("ascii")
    return {"jpeg": {"tables": tables, "subsampling": subsampling, **places}}


def stream_options(part: FilePart, reader: ExportReader) -> dict[str, Any] | None:
    """Return what GDAL begins a file with that takes the streams of a store.

    None where it has not the streams of the whole image.
    """
    kept = _kept(part)
    if not kept or not part.is_whole or not isinstance(reader, KeptStreams):
        return None
    photometric = _PHOTOMETRIC.get(part.record["layout"]["photometric"])
    if photometric is None or not all(
        reader.keeps_streams(index) or _is_absent(reader, part, index)
        for index, _ in _chunks(reader, part)
    ):
        return None
    rows, columns = kept["block"]
    sides = {"BLOCKYSIZE": rows} | (
        {"TILED": "YES", "BLOCKXSIZE": columns} if kept["tiled"] else {}
    )
    name = _COMPRESSION[FAMILIES[kept.get("compression", JPEG)]]
    if name == "NONE" and photometric == "YCBCR":
        photometric = "RGB"  # GDAL writes the other one with JPEG alone
    return {"COMPRESS": name, "PHOTOMETRIC": photometric, "SPARSE_OK": "TRUE", **sides}


def _kept(part: FilePart) -> Mapping[str, Any]:
    """Return what a record keeps of streams; empty for nothing."""
    found: Mapping[str, Any] = part.record.get("jpeg") or part.record.get("streams") or {}
    return found


def append_streams(path: Path, reader: ExportReader, part: FilePart) -> None:
    """Put the streams of a store into a file of ``stream_options``, which is the caller's.

    Raises StoreError where the file has other blocks than the store.
    """
    assert isinstance(reader, KeptStreams), "asked before"
    rows, columns = _kept(part)["block"]
    down, across = -(-part.height // rows), -(-part.width // columns)
    bands = 1 if part.is_pixel_interleaved else len(part.bands)
    offsets = np.zeros(bands * down * across, np.uint64)
    lengths = np.zeros_like(offsets)
    with path.open("r+b") as file:
        at = file.seek(0, 2)
        for index, numbers in _chunks(reader, part):
            if not reader.keeps_streams(index):
                continue  # absent, as it is now
            streams = reader.streams(index)
            if len(streams) != len(numbers):
                raise DamagedStore(f"write {part.target}: chunk {index} has other blocks")
            for number, stream in zip(numbers, streams, strict=True):
                if stream is not None:
                    offsets[number], lengths[number] = at, len(stream)
                    at += file.write(stream)
        if at % 2:
            file.write(b"\0")
    header = read_header(path)
    if header is None or (not header.big and at >= 2**32):
        raise StoreError(f"write {part.target}: the streams do not fit its kind of TIFF")
    _point_to(path, part, offsets, lengths, header.order, big=header.big)


def _point_to(
    path: Path,
    part: FilePart,
    offsets: npt.NDArray[np.uint64],
    lengths: npt.NDArray[np.uint64],
    order: str,
    *,
    big: bool,
) -> None:
    kind, code = (LONG8, "u8") if big else (LONG, "u4")
    kept, photometric = _kept(part), part.record["layout"]["photometric"]
    tiled = bool(kept["tiled"])

    def entry(values: Any, kind: int, code: str) -> Entry:  # noqa: ANN401  # numbers
        array = np.asarray(values).astype(order + code)
        return Entry(kind, array.size, array.tobytes())

    tables = base64.b64decode(kept.get("tables", ""))
    entries = {
        TILE_OFFSETS if tiled else STRIP_OFFSETS: entry(offsets, kind, code),
        TILE_BYTES if tiled else STRIP_BYTES: entry(lengths, kind, code),
    }
    if "compression" in kept:
        entries[COMPRESSION] = entry([kept["compression"]], SHORT, "u2")
        entries[PHOTOMETRIC] = entry([photometric], SHORT, "u2")
    if tables:
        entries[JPEG_TABLES] = Entry(UNDEFINED, len(tables), tables)
    if kept.get("subsampling"):
        entries[SUBSAMPLING] = entry(kept["subsampling"], SHORT, "u2")
    append_entries(path, entries, order, removed=() if tables else (JPEG_TABLES,))


def _is_absent(reader: ExportReader, part: FilePart, index: tuple[int, ...]) -> bool:
    """Whether a chunk has the samples of blocks that a sparse file has not: nodata, or 0."""
    samples = reader.read(Box.of_chunk(index, reader.chunk, reader.shape))
    nodata = part.per_band("nodata")[0]
    return bool((samples == (0 if nodata is None else number_of(nodata))).all())


def _chunks(reader: KeptStreams, part: FilePart) -> Iterator[tuple[tuple[int, ...], list[int]]]:
    """Yield the index of every chunk with the numbers of its blocks in the file."""
    rows, columns = _kept(part)["block"]
    down, across = -(-part.height // rows), -(-part.width // columns)
    shape = (len(part.bands), part.height, part.width)
    chunk = (1, *reader.chunk)[-3:]
    sides = (len(part.bands) if part.is_pixel_interleaved else 1, rows, columns)
    for index in np.ndindex(*(-(-n // c) for n, c in zip(shape, chunk, strict=True))):
        planes, tops, lefts = (
            range(i * c // side, -(-min((i + 1) * c, n) // side))
            for i, c, n, side in zip(index, chunk, shape, sides, strict=True)
        )
        numbers = [
            (plane * down + top) * across + left
            for plane in planes
            for top in tops
            for left in lefts
        ]
        yield index[-len(reader.chunk) :], numbers
