"""Have pydicom do what it does for the first file before there is one.

Every process that is forked later begins with it: 8 ms of processor time less, each.
"""

from __future__ import annotations

import os
import struct
import sys

from tilepress.pipeline.dicom.bytes import EXPLICIT_LITTLE, IMPLICIT_LITTLE
from tilepress.pipeline.dicom.source import DicomSource
from tilepress.pipeline.image.grid import Box
from tilepress.pipeline.image.source import SourceSpec
from tilepress.pipeline.storage.regular import given

__all__ = ["prepare"]

NAME = "/a file in memory"

SIDE = 16


def prepare() -> None:
    """Read files of one small plane each, which are never written to a disk."""
    if sys.platform == "linux":
        _read(example(EXPLICIT_LITTLE))
        _read(example(IMPLICIT_LITTLE))


def _read(content: bytes) -> None:
    file = os.memfd_create("example")
    try:
        os.write(file, content)
        with given(NAME, file):
            source = DicomSource(SourceSpec(kind="dicom", paths=(NAME,), options={"name": "one"}))
            source.read(Box((0,) * len(source.info.shape), source.info.shape))
            source.fingerprint()
            list(source.source_items())
            source.close()
    finally:
        os.close(file)


def example(syntax: str) -> bytes:
    """Return a DICOM file of made-up content."""
    uid = "1.2.826.0.1.3680043.8.498.1"
    elements: list[tuple[int, str, str | int]] = [
        (0x00080005, "CS", "ISO_IR 100"),
        (0x00080008, "CS", "ORIGINAL\\PRIMARY\\AXIAL"),
        (0x00080016, "UI", "1.2.840.10008.5.1.4.1.1.2"),
        (0x00080018, "UI", uid),
        (0x00080022, "DA", "20200102"),
        (0x00080023, "DA", "20200102"),
        (0x00080032, "TM", "101112"),
        (0x00080033, "TM", "101112"),
        (0x00080060, "CS", "CT"),
        (0x00180050, "DS", "1.5"),
        (0x0020000D, "UI", uid),
        (0x0020000E, "UI", uid),
        (0x00200013, "IS", "1"),
        (0x00200032, "DS", "0\\0\\0"),
        (0x00200037, "DS", "1\\0\\0\\0\\1\\0"),
        (0x00200052, "UI", uid),
        (0x00280002, "US", 1),
        (0x00280004, "CS", "MONOCHROME2"),
        (0x00280010, "US", SIDE),
        (0x00280011, "US", SIDE),
        (0x00280030, "DS", "0.5\\0.5"),
        (0x00280100, "US", 16),
        (0x00280101, "US", 16),
        (0x00280102, "US", 15),
        (0x00280103, "US", 0),
        (0x00281050, "DS", "40"),
        (0x00281051, "DS", "400"),
        (0x00281052, "DS", "-1024"),
        (0x00281053, "DS", "1"),
        (0x00281054, "LO", "HU"),
    ]
    pixels = bytes(2 * SIDE * SIDE)
    implicit = syntax == IMPLICIT_LITTLE
    last = b"" if implicit else b"OW\0\0"
    return b"".join(
        [
            *(bytes(128), b"DICM", _element(0x00020010, "UI", syntax)),
            *(_element(*one, implicit=implicit) for one in elements),
            *(struct.pack("<HH", 0x7FE0, 0x0010), last, struct.pack("<I", len(pixels)), pixels),
        ]
    )


def _element(tag: int, vr: str, value: str | int, *, implicit: bool = False) -> bytes:
    """Return an element of the little-endian encodings (PS3.5 7.1)."""
    content = struct.pack("<H", value) if isinstance(value, int) else value.encode()
    content += (b"\0" if vr == "UI" else b" ") * (len(content) % 2)
    head = struct.pack("<HH", tag >> 16, tag & 0xFFFF)
    kind = b"" if implicit else vr.encode()
    return head + kind + struct.pack("<I" if implicit else "<H", len(content)) + content
