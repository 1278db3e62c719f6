"""What ``source/`` keeps of DICOM files beside their samples, as an exporter wants it.

Items: ``origin`` (JSON: which file, frame and bytes make which plane), ``dicom-headers`` and
``dicom-trailers`` (bytes before and after the pixels of every file, joined), ``dicom-patches``
(zlib streams, one per frame that needs one).
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from itertools import product
from typing import Any

from tilepress.pipeline.dicom.bytes import Container, file_bytes, open_bytes
from tilepress.pipeline.dicom.header import Instance
from tilepress.pipeline.dicom.pixels import is_pair_swapped

__all__ = ["deflated", "made_bytes", "origin_entry", "surroundings"]

MAX_DEFLATE_TRIAL_BYTES = 64 * 2**20
"""Deflated data sets up to this size are deflated again to learn the writer's settings."""
_DEFLATE_SETTINGS = tuple(product((6, 9, 1, 5, 8, 7, 4, 3, 2), (8, 9)))


def origin_entry(instance: Instance, frames: list[int]) -> dict[str, Any]:
    """Return how an exporter puts one file together; see ``instances``."""
    container, element, pixels = instance.container, instance.element, instance.pixels
    run = frames == list(range(frames[0], frames[0] + len(frames)))
    return {
        "syntax": container.syntax,
        "implicit": container.implicit,
        "preamble": container.has_preamble,
        "dataset_offset": container.dataset_offset,
        "element_offset": element.element_offset,
        "encapsulated": element.encapsulated,
        "swapped": is_pair_swapped(container, element, pixels),
        "frames": {"start": frames[0], "count": len(frames)} if run else frames,
        "pixels": pixels.to_config(),
        "stored": instance.stored,
        "deflate": _deflate_settings(container) if container.deflated else None,
    }


def surroundings(instance: Instance) -> tuple[bytes, bytes]:
    """Return the bytes before and after what an exporter makes from samples.

    Native pixels that share their last byte or word with padding leave that one to the bytes
    after; encapsulated ones leave out the pixel element with its header.
    """
    element = instance.element
    source = open_bytes(instance.container)
    try:
        if element.encapsulated:
            end = element.value_offset + element.value_length
            return source.read(0, element.element_offset), source.read(end, source.size)
        end = element.value_offset + made_bytes(instance)
        return source.read(0, element.value_offset), source.read(end, source.size)
    finally:
        source.close()


def made_bytes(instance: Instance) -> int:
    """Return how many whole bytes of the pixel value an exporter makes of native samples."""
    made = instance.pixels.frame_bits * len(instance.planes) // 8
    swapped = is_pair_swapped(instance.container, instance.element, instance.pixels)
    return made & ~1 if swapped else made


def deflated(content: bytes, settings: Sequence[int]) -> bytes:
    """Deflate a data set with (level, memory level)."""
    level, memory = settings
    packer = zlib.compressobj(level, zlib.DEFLATED, -zlib.MAX_WBITS, memory)
    return packer.compress(content) + packer.flush()


def _deflate_settings(container: Container) -> dict[str, Any]:
    """Return settings that deflate the data set to the file's own bytes, if zlib has such."""
    packed = file_bytes(container)
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    content = inflater.decompress(packed, MAX_DEFLATE_TRIAL_BYTES + 1)
    tail = inflater.unused_data
    stream = packed[: len(packed) - len(tail)]
    exact = inflater.eof and len(content) <= MAX_DEFLATE_TRIAL_BYTES and len(tail) <= 64
    for settings in _DEFLATE_SETTINGS if exact else ():
        if deflated(content, settings) == stream:
            return {"settings": list(settings), "tail": tail.hex(), "exact": True}
    return {"settings": [6, 8], "tail": "", "exact": False}
