"""Pack and unpack the fixed header and the checksums of one record (FORMAT.md §2)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import google_crc32c
import numpy as np
import numpy.typing as npt

from tilepress.codecs.limits import MAX_RECORD_SAMPLES, MAX_SIDE
from tilepress.codecs.registry import KEPT, known_coders, may_be_irreversible
from tilepress.errors import ChecksumMismatch, InvalidRecord, UnsupportedFormat

__all__ = [
    "CODER_STORED",
    "DTYPES",
    "HEADER_BYTES",
    "NO_MODEL",
    "OVERHEAD_BYTES",
    "RecordHeader",
    "crc32c",
    "is_irreversible",
    "keeps_streams",
    "pack_record",
    "samples_crc",
    "unpack_record",
]

MAGIC = b"\x89TP\r\n\x1a"
VERSION_MAJOR = 2
VERSION_MINOR = 0
FLAG_TWO_D = 1
FLAG_IRREVERSIBLE = 2
KNOWN_FLAGS = FLAG_TWO_D | FLAG_IRREVERSIBLE

NO_MODEL = b"\0" * 8
"""What stands for the weights of a record that needs none."""

CODER_STORED = 0
"""Samples as they are; the numbers of codecs are in registry.py."""

DTYPES: tuple[str, ...] = (
    "bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64",
    "float16", "float32", "float64",
)  # fmt: skip
"""dtype by its code in the header; append only."""

KEPT_NUMBERS = frozenset(one.number for one in KEPT.values())

_COPIED = 1 << 22
_HEADER = struct.Struct("<6sBBHBB6I8sd8sII")
HEADER_BYTES = _HEADER.size
OVERHEAD_BYTES = HEADER_BYTES + 4
"""Header and the record checksum: a record never exceeds raw samples plus this."""


def crc32c(data: bytes | memoryview) -> int:
    """CRC-32C (Castagnoli, RFC 3720 §B.4) of ``data``."""
    if isinstance(data, bytes):
        return int(google_crc32c.value(data))
    crc = 0
    for at in range(0, len(data), _COPIED):  # the library takes bytes only: few are copied at once
        crc = int(google_crc32c.extend(crc, bytes(data[at : at + _COPIED])))
    return crc


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordHeader:
    """What the fixed header says; sizes in samples."""

    coder: int
    dtype: np.dtype[Any]
    shape: tuple[int, int, int]
    """Planes, rows, columns of the decoded array."""
    coded: tuple[int, int, int]
    """Planes, rows, columns that the payload holds; the rest is ``fill``."""
    fill: bytes
    """One sample, little-endian, ``dtype.itemsize`` bytes."""
    two_d: bool
    max_error: float
    model_id: bytes
    """First eight bytes of the SHA-256 of the weights; zeros where none are needed."""
    symbols_crc: int
    """CRC-32C of the decoded samples of the coded box: little-endian, C order. With
    ``irreversible``, of the streams that the record keeps, or else of its payload."""
    irreversible: bool = False
    """Whether the record has streams whose samples may differ from decoder to decoder, within what
    their standard allows."""


def pack_record(header: RecordHeader, payload: bytes) -> bytes:
    """Join header, payload and the checksum of both."""
    head = _HEADER.pack(
        MAGIC,
        VERSION_MAJOR,
        VERSION_MINOR,
        (FLAG_TWO_D if header.two_d else 0) | (FLAG_IRREVERSIBLE if header.irreversible else 0),
        header.coder,
        DTYPES.index(header.dtype.name),
        *header.shape,
        *header.coded,
        header.fill.ljust(8, b"\0"),
        header.max_error,
        header.model_id,
        header.symbols_crc,
        len(payload),
    )
    body = head + payload
    return body + struct.pack("<I", crc32c(body))


def unpack_record(data: bytes | memoryview) -> tuple[RecordHeader, memoryview]:
    """Check a record and split it into header and payload.

    Raises InvalidRecord (not a record, cut, impossible sizes), ChecksumMismatch (bytes changed),
    UnsupportedFormat (newer version, unknown flag, coder or dtype).
    """
    view = memoryview(data).cast("B")
    if len(view) < OVERHEAD_BYTES:
        raise InvalidRecord(f"reading a record: got {len(view)} bytes, want ≥ {OVERHEAD_BYTES}")
    fields = _HEADER.unpack_from(view)
    magic, major, minor, flags, coder, dtype_code = fields[:6]
    if magic != MAGIC:
        raise InvalidRecord(f"reading a record: got magic {magic!r}, want {MAGIC!r}")
    if major != VERSION_MAJOR:
        raise UnsupportedFormat(
            f"reading a record: got format version {major}.{minor}, this tilepress reads "
            f"{VERSION_MAJOR}.x"
        )
    payload_bytes = fields[-1]
    if len(view) != OVERHEAD_BYTES + payload_bytes:
        raise InvalidRecord(
            f"reading a record: got {len(view)} bytes, want {OVERHEAD_BYTES + payload_bytes}"
        )
    (stored_crc,) = struct.unpack_from("<I", view, len(view) - 4)
    if crc32c(view[:-4]) != stored_crc:
        raise ChecksumMismatch("reading a record: its bytes do not match their crc32c")
    if flags & ~KNOWN_FLAGS:
        raise UnsupportedFormat(f"reading a record: must-understand flags {flags:#06x} unknown")
    if coder != CODER_STORED and coder not in known_coders():
        raise UnsupportedFormat(f"reading a record: coder {coder} unknown")
    if flags & FLAG_IRREVERSIBLE and not may_be_irreversible(coder):
        raise InvalidRecord("reading a record: it says to keep streams, and keeps none")
    if dtype_code >= len(DTYPES):
        raise UnsupportedFormat(f"reading a record: dtype code {dtype_code} unknown")
    shape, coded = fields[6:9], fields[9:12]
    if max(shape) > MAX_SIDE or shape[0] * shape[1] * shape[2] > MAX_RECORD_SAMPLES:
        raise InvalidRecord(f"reading a record: shape {shape} is beyond the limits")
    if flags & FLAG_TWO_D and shape[0] != 1:
        raise InvalidRecord(f"reading a record: two axes, but {shape[0]} planes")
    if any(c > n for c, n in zip(coded, shape, strict=True)):
        raise InvalidRecord(f"reading a record: coded box {coded} exceeds shape {shape}")
    dtype = np.dtype(DTYPES[dtype_code]).newbyteorder("<")
    if dtype.kind == "b" and fields[12][0] > 1:
        raise InvalidRecord(f"reading a record: got fill {fields[12][0]} of bool, want 0 or 1")
    header = RecordHeader(
        coder=coder,
        dtype=dtype,
        shape=shape,
        coded=coded,
        fill=fields[12][: dtype.itemsize],
        two_d=bool(flags & FLAG_TWO_D),
        max_error=fields[13],
        model_id=fields[14],
        symbols_crc=fields[15],
        irreversible=bool(flags & FLAG_IRREVERSIBLE),
    )
    return header, view[HEADER_BYTES:-4]


def samples_crc(samples: npt.NDArray[Any]) -> int:
    """CRC-32C of samples in C order, little-endian."""
    little = np.ascontiguousarray(samples, dtype=samples.dtype.newbyteorder("<"))
    return crc32c(little.view(np.uint8).data) if little.size else 0


def keeps_streams(data: bytes | memoryview) -> bool:
    """Whether a record keeps the compressed streams that its samples came in.

    Raises as ``unpack_record``.
    """
    return unpack_record(data)[0].coder in KEPT_NUMBERS


def is_irreversible(data: bytes | memoryview) -> bool:
    """Whether another decoder may give other samples of a record, as ``RecordHeader`` says.

    Raises as ``unpack_record``.
    """
    return unpack_record(data)[0].irreversible
