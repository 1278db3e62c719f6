"""Every error that tilepress raises, as one tree.

    TilepressError
    ├── UsageError               the request itself is wrong (exit code 2)
    ├── SourceError              an input cannot be read
    │   ├── UnsupportedSource    it is an image of a kind that we do not take, or not an image
    │   └── DamagedSource        it is truncated or contradicts itself
    ├── CodecError               arrays <-> bytes
    │   ├── InvalidRecord        the bytes are not a record
    │   │   └── ChecksumMismatch the bytes or the decoded samples fail their checksum
    │   ├── UnsupportedFormat    a record or configuration of a newer or unknown format
    │   ├── UnsupportedArray     this codec cannot take this dtype, shape or option
    │   └── ModelError           weights are missing, damaged or not those that the data name
    └── StoreError               a Zarr store on disk
        ├── UnsealedStore        writing has not finished; run the same command again
        ├── DamagedStore         something is missing or fails its checksum
        └── DestinationConflict  the destination holds something else

A message has three parts: what was being done, what was found, where. Never pixels or patient text.
``kind`` is stable: user code may match on it. New kinds are appended; old ones never change.
"""

from __future__ import annotations

from typing import ClassVar

__all__ = [
    "ChecksumMismatch",
    "CodecError",
    "DamagedSource",
    "DamagedStore",
    "DestinationConflict",
    "InvalidRecord",
    "ModelError",
    "SourceError",
    "StoreError",
    "TilepressError",
    "UnsealedStore",
    "UnsupportedArray",
    "UnsupportedFormat",
    "UnsupportedSource",
    "UsageError",
]


class TilepressError(Exception):
    """Base of every error that tilepress raises on purpose."""

    kind: ClassVar[str] = "error"


class UsageError(TilepressError):
    """The request cannot be carried out as it was given; nothing was done."""

    kind = "usage"


class SourceError(TilepressError):
    """An input image cannot be read."""

    kind = "source"


class UnsupportedSource(SourceError):
    """An input is not an image, or an image of a kind that tilepress does not take."""

    kind = "unsupported-source"


class DamagedSource(SourceError):
    """An input image is truncated or contradicts itself."""

    kind = "damaged-source"


class CodecError(TilepressError):
    """Arrays could not be turned into bytes, or bytes into arrays."""

    kind = "codec"


class InvalidRecord(CodecError):
    """The bytes are not a tilepress record."""

    kind = "invalid-record"


class ChecksumMismatch(InvalidRecord):
    """The bytes, or the samples decoded from them, do not match their checksum."""

    kind = "checksum"


class UnsupportedFormat(CodecError):
    """A record or codec configuration needs a newer tilepress, or one that never was."""

    kind = "unsupported-format"


class UnsupportedArray(CodecError):
    """The codec does not take this dtype, shape or combination of options."""

    kind = "unsupported-array"


class ModelError(CodecError):
    """Weights are missing, damaged, or not the ones that the data name."""

    kind = "model"


class StoreError(TilepressError):
    """A store cannot be read or written."""

    kind = "store"


class UnsealedStore(StoreError):
    """The store is still being written, or its writer was stopped: run the same command again."""

    kind = "unsealed-store"


class DamagedStore(StoreError):
    """A part of a sealed store is missing or fails its checksum."""

    kind = "damaged-store"


class DestinationConflict(StoreError):
    """The destination exists and holds something else than what this run would write."""

    kind = "destination-conflict"
