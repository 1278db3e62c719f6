"""Compressed streams that lie in a source as they are, and may be kept instead of its samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from tilepress.pipeline.image.grid import Box

__all__ = ["KeptStreams", "StreamSource", "Streams", "blocks_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Streams:
    """The streams of a box of samples, in the order frames, rows, columns.

    A frame is what one stream has of planes: all bands of a place where they are coded together,
    else one band, slice or moment.
    """

    streams: tuple[bytes | None, ...]
    """Each as it lies in the file; None for a block that a sparse file has not."""
    rows: int
    columns: int
    height: int
    """Samples from one row of blocks to the next."""
    width: int
    tables: bytes = b""
    """The abbreviated stream of tables that they share (TIFF's JPEGTables); empty for none."""
    family: str = "jpeg"
    """What they are: "jpeg", or as ``tilepress.codecs.passed`` calls them "jpeg2000" …"""
    lossless: bool = False
    """Whether the source declares that they lose nothing."""


@runtime_checkable
class StreamSource(Protocol):
    """A ``TileSource`` whose samples may lie in it as streams (``ImageInfo.stream_block``)."""

    def streams(self, box: Box) -> Streams | None:
        """Return the streams of whole blocks that cover a box; None where they are not to be had.

        The box begins at blocks, and ends at blocks or with the image. Raises SourceError.
        """
        ...


@runtime_checkable
class KeptStreams(Protocol):
    """An ``ExportReader`` of a store whose records may keep streams."""

    @property
    def chunk(self) -> tuple[int, ...]: ...

    def keeps_streams(self, index: tuple[int, ...]) -> bool:
        """Whether the record of a chunk, by its number along each axis, keeps streams."""
        ...

    def streams(self, index: tuple[int, ...]) -> list[bytes | None]:
        """Return the streams of a chunk that keeps them, as they came. Raises DamagedStore."""
        ...


def blocks_of(box: Box, block: tuple[int, ...], shape: tuple[int, ...]) -> tuple[range, ...] | None:
    """Return the numbers of the blocks that make up a box, along each axis; None for parts."""
    found = []
    for start, stop, size, whole in zip(box.start, box.stop, block, shape, strict=True):
        if start % size or (stop % size and stop != whole):
            return None
        found.append(range(start // size, -(-stop // size)))
    return tuple(found)
