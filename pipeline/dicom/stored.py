"""What a store keeps of DICOM instances: the bytes beside their pixels, and their planes."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import PurePosixPath
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from tilepress.errors import DamagedStore, UsageError
from tilepress.pipeline.dicom.bytes import EXPLICIT_BIG
from tilepress.pipeline.dicom.pixels import PixelFormat
from tilepress.pipeline.dicom.slide_recipe import SLIDE_KIND
from tilepress.pipeline.dicom.slide_stored import SlidePlanes, stored_tiles
from tilepress.pipeline.image.grid import Box
from tilepress.pipeline.image.names import path_to_write, stays_below
from tilepress.pipeline.image.source import ExportReader
from tilepress.pipeline.image.streams import KeptStreams

__all__ = [
    "Planes",
    "StoredFrames",
    "StoredInstance",
    "leading_shape",
    "planes_of",
    "stored_instances",
]

MAX_CACHED_BYTES = 512 * 2**20
"""Decoded records that are kept at most, beside the one that is read from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredInstance:
    """One instance, without its pixels."""

    name: str
    """Of its file, below the folder that the files shared."""
    before: bytes
    """All before the pixel value, or before its element where that was compressed."""
    after: bytes
    frames: tuple[int, ...]
    """Number of the plane of every frame."""
    patches: Mapping[int, bytes]
    pixels: PixelFormat
    syntax: str
    implicit: bool
    preamble: bool
    dataset_offset: int
    element_offset: int
    encapsulated: bool
    swapped: bool
    deflate: Mapping[str, Any] | None
    encapsulation: bytes
    """The pixel element without its streams, where these are kept; else empty."""
    stored: int
    """BitsStored of the header; ``pixels`` may say more of a compressed file."""
    photometric: str
    """Photometric interpretation of the samples."""

    @property
    def value_at(self) -> int:
        """Bytes of the pixel element before its value, in Implicit VR none has a VR."""
        return 8 if self.implicit else 12

    @property
    def little(self) -> bool:
        return self.syntax != EXPLICIT_BIG

    @property
    def order(self) -> str:
        return "<" if self.little else ">"


def stored_instances(reader: ExportReader) -> list[StoredInstance]:
    """Return every instance that ``source/`` describes; raises as ``export_dicom`` does."""
    origin = reader.origin
    if origin.get("kind") not in ("dicom", SLIDE_KIND):
        raise UsageError(f"exporting DICOM: the store was made from {origin.get('kind')}")
    names = set(reader.source_names())
    if not {"dicom-headers", "dicom-trailers", "dicom-patches"} <= names:
        raise UsageError(
            "exporting DICOM: the store keeps no headers (it was made with --deidentify); "
            "export to another format"
        )
    if origin.get("version") != 1:
        raise DamagedStore(f"exporting DICOM: origin has version {origin.get('version')}, want 1")
    try:
        return list(_parsed(origin, reader))
    except (KeyError, TypeError, ValueError, IndexError) as exc:
        raise DamagedStore(
            f"exporting DICOM: source/ contradicts itself ({type(exc).__name__})"
        ) from None


def _parsed(origin: Mapping[str, Any], reader: ExportReader) -> Iterator[StoredInstance]:
    entries = origin["instances"]
    before = _cut(reader.source_bytes("dicom-headers"), [e["header_bytes"] for e in entries])
    after = _cut(reader.source_bytes("dicom-trailers"), [e["trailer_bytes"] for e in entries])
    lengths = [n for e in entries for _, n in e["patches"]]
    patches = iter(_cut(reader.source_bytes("dicom-patches"), lengths))
    lengths = [int(e.get("encapsulation_bytes", 0)) for e in entries]
    kept = reader.source_bytes("dicom-encapsulations") if any(lengths) else b""
    encapsulations = iter(_cut(kept, lengths))
    total = _total_planes(reader)
    for entry, head, tail in zip(entries, before, after, strict=True):
        frames = entry["frames"]
        if isinstance(frames, Mapping):
            frames = range(frames["start"], frames["start"] + frames["count"])
        frames = tuple(int(f) for f in frames)
        if not frames or min(frames) < 0 or max(frames) >= total:
            raise ValueError("a frame that the image does not have")
        yield StoredInstance(
            name=_name_below(entry["name"]),
            before=head,
            after=tail,
            frames=frames,
            patches={int(frame): next(patches) for frame, _ in entry["patches"]},
            encapsulation=next(encapsulations),
            pixels=PixelFormat.from_config(entry["pixels"]),
            photometric=str(origin["photometric"]),
            **{
                k: entry[k]
                for k in (
                    "syntax",
                    "implicit",
                    "preamble",
                    "dataset_offset",
                    "element_offset",
                    "encapsulated",
                    "swapped",
                    "deflate",
                    "stored",
                )
            },
        )


def _total_planes(reader: ExportReader) -> int:
    """Return how many planes the image has, or how many places of tiles the levels of a slide."""
    if reader.origin["kind"] == SLIDE_KIND:
        return stored_tiles(reader)[-1].end
    return math.prod(leading_shape(reader))


def planes_of(
    reader: ExportReader, *, cached_bytes: int = MAX_CACHED_BYTES, alone: bool = False
) -> StoredFrames:
    """Return what gives the frames of a store's instances. Raises DamagedStore for nonsense.

    ``cached_bytes`` of decoded records are kept beside the one that is read from. ``alone`` is for
    a few frames of many: only what they need is read.
    """
    try:
        if reader.origin["kind"] == SLIDE_KIND:
            return SlidePlanes(reader, alone=alone)
        return Planes(reader, cached_bytes=cached_bytes, alone=alone)
    except (KeyError, TypeError, ValueError) as exc:
        raise DamagedStore(
            f"exporting DICOM: source/ contradicts itself ({type(exc).__name__})"
        ) from None


def _cut(content: bytes, lengths: Sequence[int]) -> list[bytes]:
    """Cut joined bytes into pieces of the given lengths."""
    ends = list(accumulate(lengths, initial=0))
    if ends[-1] != len(content) or min(lengths, default=0) < 0:
        raise ValueError("joined bytes of another length than their index says")
    return [content[a:b] for a, b in pairwise(ends)]


class StoredFrames(Protocol):
    """What gives the frames of a store's instances, by their numbers."""

    def read(self, number: int) -> npt.NDArray[Any]:
        """Return samples (B, Y, X) of one frame."""
        ...

    def keep_streams(self, numbers: Sequence[int]) -> bool:
        """Whether the streams of all of these frames are kept."""
        ...

    def stream(self, number: int) -> bytes:
        """Return the stream of one frame. Raises DamagedStore where there is none."""
        ...


class Planes:
    """Gives planes of an image; reads them by whole records, each once where memory allows.

    With ``alone`` it reads single planes, and keeps none.
    """

    def __init__(
        self,
        reader: ExportReader,
        *,
        cached_bytes: int = MAX_CACHED_BYTES,
        alone: bool = False,
    ) -> None:
        self._reader = reader
        self._cached_bytes, self._is_alone = cached_bytes, alone
        self._leading = leading_shape(reader)
        self._chunk = reader.chunk[: len(self._leading)]
        self._blocks: OrderedDict[tuple[int, ...], npt.NDArray[Any]] = OrderedDict()
        self._streams: tuple[tuple[int, ...] | None, list[bytes | None]] = None, []
        """A chunk and its streams: those asked of last."""

    def read(self, number: int) -> npt.NDArray[Any]:
        """Return samples (B, Y, X) of one plane."""
        if self._is_alone:
            index = np.unravel_index(number, self._leading) if self._leading else ()
            start = [int(i) for i in index]
            block, within = self._read_rest(start, [i + 1 for i in start]), (0,) * len(start)
        else:
            block, within = self._block(number)
        plane: npt.NDArray[Any] = block[within]
        return plane if plane.ndim == 3 else plane[np.newaxis]

    def _block(self, number: int) -> tuple[npt.NDArray[Any], tuple[int, ...]]:
        """Return the samples of the records that a plane lies in, and its place there."""
        key, within = self._places(number)
        block = self._blocks.get(key)
        if block is None:
            block = self._read_block(key)
            self._blocks[key] = block
            limit = self._cached_bytes + block.nbytes
            while sum(b.nbytes for b in self._blocks.values()) > limit:
                self._blocks.popitem(last=False)
        return block, within

    def keep_streams(self, numbers: Sequence[int]) -> bool:
        """Whether the streams of all of these planes are kept."""
        reader = self._reader
        chunks = {self._places(number)[0] for number in numbers}
        return isinstance(reader, KeptStreams) and all(
            reader.keeps_streams(self._chunk_index(key)) for key in chunks
        )

    def stream(self, number: int) -> bytes:
        """Return the stream of one plane. Raises DamagedStore where there is none."""
        assert isinstance(self._reader, KeptStreams), "asked before"
        key, within = self._places(number)
        if key != self._streams[0]:
            self._streams = key, self._reader.streams(self._chunk_index(key))
        ends = zip(key, self._chunk, self._leading, strict=True)
        shape = [min(c, n - k * c) for k, c, n in ends]
        at = int(np.ravel_multi_index(within, shape)) if shape else 0
        found = self._streams[1][at] if at < len(self._streams[1]) else None
        if found is None:
            raise DamagedStore("exporting DICOM: a frame has no stream")
        return found

    def _places(self, number: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return the chunk that a plane lies in, along leading axes, and its place there."""
        index = np.unravel_index(number, self._leading) if self._leading else ()
        pairs = [(int(i), c) for i, c in zip(index, self._chunk, strict=True)]
        return tuple(i // c for i, c in pairs), tuple(i % c for i, c in pairs)

    def _chunk_index(self, key: tuple[int, ...]) -> tuple[int, ...]:
        """Return the number of a chunk that consists of whole frames along every axis."""
        return (*key, *[0] * (len(self._reader.shape) - len(key)))

    def _read_block(self, key: tuple[int, ...]) -> npt.NDArray[Any]:
        start = [k * c for k, c in zip(key, self._chunk, strict=True)]
        stop = [min(a + c, n) for a, c, n in zip(start, self._chunk, self._leading, strict=True)]
        return self._read_rest(start, stop)

    def _read_rest(self, start: Sequence[int], stop: Sequence[int]) -> npt.NDArray[Any]:
        """Return a range of places along the leading axes, with all bands, rows and columns."""
        shape = self._reader.shape
        rest = len(shape) - len(start)
        return self._reader.read(Box((*start, *[0] * rest), (*stop, *shape[len(start) :])))


def leading_shape(reader: ExportReader) -> tuple[int, ...]:
    """Return the shape of the axes that count planes: all but band, y and x."""
    sizes = zip(reader.axes, reader.shape, strict=True)
    return tuple(n for axis, n in sizes if axis not in ("band", "y", "x"))


def _name_below(name: object) -> str:
    """Return the name that a file is exported by, which stays below the folder.

    Stores that an earlier tilepress made of files that were named through ".." have names that
    leave it: their parts are joined then.
    """
    if isinstance(name, str) and not stays_below(name):
        parts = [part for part in PurePosixPath(name).parts if part not in ("/", "..")]
        name = "-".join(parts).replace("\0", "_") or "instance"
    if not isinstance(name, str) or not stays_below(name):
        raise ValueError("a name of no file")
    return str(path_to_write(name, "exporting DICOM"))
