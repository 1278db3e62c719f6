"""Read windows of the frames of one instance, native or compressed."""

from __future__ import annotations

import struct
from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy.typing as npt

from tilepress.errors import DamagedSource, UnsupportedSource
from tilepress.pipeline.dicom.bytes import (
    ByteSource,
    Container,
    Fragment,
    PixelElement,
    foreign_errors,
    fragments,
    open_bytes,
)
from tilepress.pipeline.dicom.decode import decode
from tilepress.pipeline.dicom.pixels import PixelFormat, is_pair_swapped, pair_swapped

__all__ = ["FrameReader", "ends_image"]

CACHE_BYTES = 256 * 2**20
"""Decoded frames of compressed pixel data that one reader keeps."""


class FrameReader:
    """Reads windows of the frames of one instance. Not thread-safe."""

    def __init__(
        self,
        container: Container,
        element: PixelElement,
        pixels: PixelFormat,
        frames: int,
        offsets: bytes = b"",
        photometric: str = "",
    ) -> None:
        """``offsets`` is the value of ExtendedOffsetTable, or empty.

        Where ``photometric`` is given, compressed colour that decodes to another interpretation is
        refused: headers do not say to which one a decoder goes, and one image has but one.
        """
        self._container = container
        self._element = element
        self._pixels = pixels
        self._frames = frames
        with foreign_errors("opening a DICOM file", container.path):
            self._source: ByteSource = open_bytes(container)
        self._order = "<" if container.little else ">"
        self._swapped = is_pair_swapped(container, element, pixels)
        self._cache: OrderedDict[int, npt.NDArray[Any]] = OrderedDict()
        self._index: list[list[Fragment]] = []
        self._photometric = pixels.photometric
        self._offsets = offsets
        self._wanted = photometric

    def close(self) -> None:
        self._source.close()
        self._cache.clear()

    def read(self, frame: int, rows: slice, columns: slice) -> npt.NDArray[Any]:
        """Return samples (B, rows, columns) of one frame."""
        if self._element.encapsulated:
            return self._decoded(frame)[0][:, rows, columns]
        words = self.words(frame, rows.start, rows.stop)
        return self._pixels.samples_of(words[:, :, columns])

    def words(self, frame: int, top: int, bottom: int) -> npt.NDArray[Any]:
        """Return words (B, bottom − top, X) of a native frame."""
        with foreign_errors("reading native pixel data", self._container.path):
            return self._pixels.native_rows(self._value, frame, top, bottom, order=self._order)

    def decoded_photometric(self) -> str:
        """Return the photometric interpretation of what ``read`` gives."""
        if self._element.encapsulated and self._pixels.bands > 1:
            return self._decoded(0)[1]
        return "YBR_FULL" if self._pixels.halved else self._pixels.photometric

    def _value(self, offset: int, length: int) -> bytes:
        """Return bytes of the pixel value, 16-bit words of bytes put in order."""
        start = self._element.value_offset
        if not self._swapped:
            content = self._source.read(start + offset, length)
        else:
            first, last = offset & ~1, (offset + length + 1) & ~1
            content = pair_swapped(self._source.read(start + first, last - first))
            content = content[offset - first :][:length]
        if len(content) != length:
            raise DamagedSource(
                f"reading native pixel data: {length} bytes wanted at {offset}, got "
                f"{len(content)}, in {self._container.path}"
            )
        return content

    def _decoded(self, frame: int) -> tuple[npt.NDArray[Any], str]:
        cached = self._cache.get(frame)
        if cached is None:
            where = f"{self._container.path} (frame {frame})"
            with foreign_errors("decoding a compressed frame", where):
                cached, self._photometric = decode(
                    self.codestream(frame), self._container.syntax, self._pixels, where
                )
            if self._wanted not in ("", self._photometric) and self._pixels.bands > 1:
                raise UnsupportedSource(
                    f"decoding a compressed frame: it is {self._photometric}, frames before it are "
                    f"{self._wanted}, in {where}; put files of one kind into a folder of their own"
                )
            self._cache[frame] = cached
            room = max(1, CACHE_BYTES // max(1, self._pixels.array_bytes))
            while len(self._cache) > room:
                self._cache.popitem(last=False)
        else:
            self._cache.move_to_end(frame)
        return cached, self._photometric

    def codestream(self, frame: int) -> bytes:
        """Return the compressed stream of a frame, all of its fragments."""
        with foreign_errors("reading a compressed frame", self._container.path):
            parts = self.fragments_of(frame)
            return b"".join(self._source.read(p.offset, p.length) for p in parts)

    def fragments_of(self, frame: int) -> list[Fragment]:
        """Return where the stream of a frame lies."""
        if not self._index:
            self._index = self._frame_index()
        return self._index[frame]

    def _frame_index(self) -> list[list[Fragment]]:
        """Return the fragments of every frame: by a table, one each, or by end-of-image marks."""
        table, *items = fragments(self._source, self._element.value_offset, self._container.path)
        for code, content in (
            ("Q", self._offsets),
            ("I", self._source.read(table.offset, table.length)),
        ):
            starts = struct.unpack(f"<{len(content) // struct.calcsize(code)}{code}", content)
            by_table = _grouped(items, starts) if len(starts) == self._frames else None
            if by_table is not None:
                return by_table
        if self._frames == 1 and items:
            return [items]
        if len(items) >= self._frames:
            ends = [i for i, p in enumerate(items) if ends_image(self._source, p)]
            if len(items) > self._frames and len(ends) == self._frames:
                return [items[a + 1 : b + 1] for a, b in pairwise([-1, *ends])]
            if len(items) == self._frames:
                return [[p] for p in items]
        raise DamagedSource(
            f"reading encapsulated pixel data: {len(items)} fragments for {self._frames} frames, "
            f"in {self._container.path}"
        )


def ends_image(source: ByteSource, part: Fragment) -> bool:
    """Whether a JPEG family's end-of-image marker lies in the last bytes of a fragment."""
    start = max(part.offset, part.offset + part.length - 10)
    return b"\xff\xd9" in source.read(start, part.offset + part.length - start)


def _grouped(items: Sequence[Fragment], starts: Sequence[int]) -> list[list[Fragment]] | None:
    """Return the fragments from each start up to the next; None where a start is no item."""
    places = {p.item_offset: i for i, p in enumerate(items)}
    try:
        firsts = [places[s] for s in starts]
    except KeyError:
        return None
    if firsts != sorted(set(firsts)) or not firsts:
        return None
    return [list(items[a:b]) for a, b in pairwise([*firsts, len(items)])]
