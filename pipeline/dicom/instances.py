"""Give the bytes of DICOM instances, from the samples of a store and the bytes in ``source/``.

From a lossless store, files that were native come back byte for byte, preamble included; deflated
ones too where zlib has the settings that made them, else as an equal data set, deflated. So do
files of which the store keeps the streams. Others that were compressed come back as Explicit VR
Little Endian with the decoded pixels and all other elements. From a near-lossless store every file
is a derived image (PS3.3 C.7.6.1.1.5, C.12.4), unless its streams are kept: new SOPInstanceUID,
Lossy Image Compression "01", and a reference to what it was made from.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tilepress.errors import DamagedStore, UsageError
from tilepress.pipeline.dicom.encapsulated import with_streams
from tilepress.pipeline.dicom.kept import deflated
from tilepress.pipeline.dicom.pixels import PixelFormat, pair_swapped
from tilepress.pipeline.dicom.rewrite import rewritten_header
from tilepress.pipeline.dicom.stored import StoredFrames, StoredInstance
from tilepress.pipeline.image.source import ExportReader

__all__ = [
    "Surroundings",
    "instance_bytes",
    "made_length",
    "native_frame",
    "pixel_value",
    "surroundings",
]

MAX_PIXEL_BYTES = 2**32 - 2
"""Longest native pixel element (PS3.5 A.1: its length has 32 bits and is not undefined)."""


def instance_bytes(
    instance: StoredInstance,
    planes: StoredFrames,
    reader: ExportReader,
    *,
    decoded: bool = False,
) -> Iterator[bytes]:
    """Yield the bytes of one instance in order.

    ``planes`` may serve all instances of the store: they share the records that are decoded.
    ``decoded`` asks for native pixels where the streams that it came in are kept, too.
    """
    if not decoded and instance.encapsulation and planes.keep_streams(instance.frames):
        yield instance.before
        streams = (planes.stream(frame) for frame in instance.frames)
        yield from with_streams(instance.encapsulation, instance.value_at, streams)
        yield instance.after
        return
    around = surroundings(instance, planes, reader)
    body = pixel_value(instance, planes)
    yield around.meta
    if instance.deflate is None:
        yield around.dataset + around.pixel_header
        yield from body
        yield around.after
        return
    content = b"".join((around.dataset, around.pixel_header, *body, around.after))
    yield deflated(content, instance.deflate["settings"])
    yield bytes.fromhex(instance.deflate["tail"])


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What an instance is beside its pixels, as it is written where no streams are kept."""

    meta: bytes
    """Preamble and file meta information."""
    dataset: bytes
    """The elements before the pixel element."""
    pixel_header: bytes
    """Tag, VR and length of the pixel element."""
    after: bytes
    """The rest of the pixel value that is no sample, and the elements behind it."""


def surroundings(
    instance: StoredInstance, planes: StoredFrames, reader: ExportReader
) -> Surroundings:
    """Return all of an instance but its samples."""
    at, end = instance.dataset_offset, instance.element_offset
    header = _plain_header(instance) if instance.encapsulated else instance.before[end:]
    if instance.encapsulated or not reader.loss.is_lossless:
        meta, dataset, after = rewritten_header(instance, planes, reader)
    else:
        meta, dataset, after = instance.before[:at], instance.before[at:end], instance.after
    return Surroundings(meta, dataset, header, after)


def pixel_value(instance: StoredInstance, planes: StoredFrames) -> Iterator[bytes]:
    """Yield the value of the pixel element, without what ``Surroundings.after`` has of it."""
    if instance.encapsulated:
        return _plain_content(instance, planes)
    return _native_content(instance, planes)


def native_frame(instance: StoredInstance, planes: StoredFrames, frame: int) -> bytes:
    """Return one frame as Explicit VR Little Endian has it; of 1 bit, whole bytes of its own."""
    words = _frame_words(instance, planes, frame)
    if instance.pixels.allocated == 1:
        return np.packbits(words.reshape(-1), bitorder="little").tobytes()
    pixels = _plain_format(instance) if instance.encapsulated else instance.pixels
    return pixels.native_bytes(words, order="<")


def _native_content(instance: StoredInstance, planes: StoredFrames) -> Iterator[bytes]:
    """Yield the pixel value in the encoding of the original, without what ``after`` holds."""
    pixels = instance.pixels
    frames = (_frame_words(instance, planes, i) for i in range(len(instance.frames)))
    stream = (
        _packed_bits(frames)
        if pixels.allocated == 1
        else (pixels.native_bytes(words, order=instance.order) for words in frames)
    )
    whole = made_length(instance)
    yield from _trimmed(_swapped(stream) if instance.swapped else stream, whole)


def made_length(instance: StoredInstance) -> int:
    """Return how many bytes of a native pixel value are made of samples; ``after`` has the rest."""
    whole = instance.pixels.frame_bits * len(instance.frames) // 8
    return whole & ~1 if instance.swapped else whole


def _plain_format(instance: StoredInstance) -> PixelFormat:
    """Return how the samples of a compressed file lie natively: band-interleaved."""
    pixels = instance.pixels
    if not pixels.halved and not pixels.planar:
        return pixels
    config = pixels.to_config() | {"planar": False, "photometric": instance.photometric}
    return PixelFormat.from_config(config)


def _plain_content(instance: StoredInstance, planes: StoredFrames) -> Iterator[bytes]:
    """Yield the pixel value as Explicit VR Little Endian, band-interleaved."""
    pixels, count = _plain_format(instance), len(instance.frames)
    frames = (_frame_words(instance, planes, i) for i in range(count))
    if pixels.allocated == 1:
        yield from _packed_bits(frames, flush=True)
    else:
        yield from (pixels.native_bytes(words, order="<") for words in frames)
    yield b"\0" * (pixels.pixel_bytes(count) % 2)


def _plain_header(instance: StoredInstance) -> bytes:
    """Return the header of the pixel element of samples that were compressed."""
    length = _plain_format(instance).pixel_bytes(len(instance.frames))
    length += length % 2
    if length > MAX_PIXEL_BYTES:
        raise UsageError(
            f"exporting DICOM: {length} bytes of pixels do not fit a native pixel element "
            f"(at most {MAX_PIXEL_BYTES}); export to another format"
        )
    vr = b"OB" if instance.pixels.allocated <= 8 else b"OW"
    return struct.pack("<HH2sHI", 0x7FE0, 0x0010, vr, 0, length)


def _frame_words(instance: StoredInstance, planes: StoredFrames, frame: int) -> npt.NDArray[Any]:
    """Return words (B, Y, X) of one frame: its samples and what its patch adds."""
    pixels = instance.pixels
    samples = planes.read(instance.frames[frame])
    want = (pixels.bands, pixels.rows, pixels.columns)
    if samples.shape != want or samples.dtype != pixels.dtype:
        raise DamagedStore(
            f"exporting DICOM: a plane of {samples.shape} {samples.dtype}, want {want} "
            f"{pixels.dtype}"
        )
    words = pixels.words_of(samples)
    if frame in instance.patches:
        content = zlib.decompressobj().decompress(instance.patches[frame], words.nbytes + 1)
        if len(content) != words.nbytes:
            raise DamagedStore("exporting DICOM: a patch of another size than its frame")
        patch = np.frombuffer(content, words.dtype.newbyteorder("<")).reshape(words.shape)
        words = words ^ patch.astype(words.dtype)
    return words


def _packed_bits(frames: Iterator[npt.NDArray[Any]], *, flush: bool = False) -> Iterator[bytes]:
    """Yield bits packed from the lowest bit on, frames joined without gaps."""
    rest = np.empty(0, np.uint8)
    for words in frames:
        bits = np.concatenate([rest, words.reshape(-1)])
        whole = bits.size // 8 * 8
        yield np.packbits(bits[:whole], bitorder="little").tobytes()
        rest = bits[whole:]
    if flush and rest.size:
        yield np.packbits(rest, bitorder="little").tobytes()


def _swapped(stream: Iterator[bytes]) -> Iterator[bytes]:
    """Swap the bytes of each 16-bit word of a stream; an odd last byte is dropped."""
    rest = b""
    for content in stream:
        content = rest + content
        whole = len(content) & ~1
        yield pair_swapped(content[:whole])
        rest = content[whole:]


def _trimmed(stream: Iterator[bytes], length: int) -> Iterator[bytes]:
    for content in stream:
        yield content[:length]
        length -= min(length, len(content))
