"""Say what a sealed store consists of: every shard, file and metadata document, with digests.

    first line   JSON: {"version": 1, "documents": …, "files": …, "arrays": [{"name", "counts"}, …]}
    then         one row of 80 bytes per shard, arrays in the header's order, shards in C order:
                 length u64 LE, decoded bytes u64 LE, sha256 of the object, sha256 of the samples

It lies in the store as the uint8 array ``source/manifest``; its own digest is in the root document.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from tilepress.codecs.difference import Difference
from tilepress.codecs.measured import Measured
from tilepress.errors import DamagedStore
from tilepress.pipeline.store.keys import (
    MANIFEST,
    ROOT_DOCUMENT,
    ROOT_MANIFEST,
    Separator,
    document_key,
    is_manifest_chunk,
    shard_of,
)

__all__ = [
    "FileEntry",
    "Manifest",
    "ShardEntry",
    "ShardTable",
    "samples_digest",
    "sha256_hex",
]

MANIFEST_VERSION = 1

_ROW = np.dtype([("length", "<u8"), ("raw_bytes", "<u8"), ("sha256", "V32"), ("samples", "V32")])


def sha256_hex(data: bytes | memoryview) -> str:
    return hashlib.sha256(data).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardEntry:
    """One shard that is written. Two are the same where their objects and samples are."""

    array: str
    """"image", "1/image" … of levels, or "mask"."""
    index: tuple[int, ...]
    length: int
    """Bytes of the shard object."""
    sha256: str
    """Of the shard object; hexadecimal."""
    samples_sha256: str
    """Of the decoded samples, clipped to the image, C order, little-endian; hexadecimal."""
    raw_bytes: int
    """Size of those samples in bytes."""
    max_error: float | None = field(default=None, compare=False)
    """Largest |decoded − given| that a check found; None where nobody looked: a manifest does not
    tell."""
    squared_error: float | None = field(default=None, compare=False)
    """Sum of the squares of those differences."""
    measured: Measured | None = field(default=None, compare=False)
    """What a check of lossy coding found beyond that; a manifest does not tell."""
    irreversible: bool = field(default=False, compare=False)
    """Whether another decoder may give other samples; a manifest does not tell."""
    recoded: bool = field(default=False, compare=False)
    """Whether chunks came in streams that are not kept; a manifest does not tell."""

    @property
    def difference(self) -> Difference | None:
        """What a check found; None where nobody looked."""
        if self.max_error is None or self.squared_error is None:
            return None
        return Difference(self.max_error, self.squared_error)


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One object that is neither a shard nor a metadata document."""

    length: int
    sha256: str


class ShardTable:
    """The shards of one array, 80 bytes each: a million of them take 80 MB."""

    def __init__(self, counts: tuple[int, ...], rows: npt.NDArray[Any] | None = None) -> None:
        self.counts = counts
        self._rows = np.zeros(math.prod(counts), _ROW) if rows is None else rows

    def __len__(self) -> int:
        return len(self._rows)

    def set(self, entry: ShardEntry) -> None:
        row = np.ravel_multi_index(entry.index, self.counts)
        self._rows[row] = (
            entry.length,
            entry.raw_bytes,
            bytes.fromhex(entry.sha256),
            bytes.fromhex(entry.samples_sha256),
        )

    def get(self, array: str, index: tuple[int, ...]) -> ShardEntry:
        row = self._rows[np.ravel_multi_index(index, self.counts)]
        return ShardEntry(
            array=array,
            index=index,
            length=int(row["length"]),
            sha256=row["sha256"].tobytes().hex(),
            samples_sha256=row["samples"].tobytes().hex(),
            raw_bytes=int(row["raw_bytes"]),
        )

    def missing(self) -> list[tuple[int, ...]]:
        """Return the indices that nothing was set for: no shard has length 0."""
        rows = np.flatnonzero(self._rows["length"] == 0)
        return [tuple(int(i) for i in np.unravel_index(row, self.counts)) for row in rows]

    @property
    def stored_bytes(self) -> int:
        return int(self._rows["length"].sum())

    @property
    def raw_bytes(self) -> int:
        return int(self._rows["raw_bytes"].sum())

    @property
    def samples(self) -> bytes:
        """The sample digests of all shards in C order, joined."""
        return self._rows["samples"].tobytes()

    def to_bytes(self) -> bytes:
        return self._rows.tobytes()


def samples_digest(tables: Iterable[ShardTable]) -> str:
    """Return sha256 over the sample digests of all shards of some arrays; hexadecimal."""
    return sha256_hex(b"".join(table.samples for table in tables))


@dataclass(frozen=True, slots=True)
class Manifest:
    """Everything that a sealed store consists of, save the root document."""

    documents: Mapping[str, str]
    """sha256 of every ``zarr.json`` by key, without the root's."""
    files: Mapping[str, FileEntry]
    """Chunk objects of the auxiliary arrays by key."""
    arrays: Mapping[str, ShardTable]
    """Shards by array name: "image", "1/image" … of levels, "mask" where there is one."""

    def lists(self, key: str, separator: Separator) -> bool:
        """Whether an object is a part of the store: listed here, or the list, or the root's."""
        if key in self.documents or key in self.files or key == ROOT_DOCUMENT:
            return True
        if is_manifest_chunk(key, separator):
            node = MANIFEST if key.startswith(f"{MANIFEST}/") else ROOT_MANIFEST
            return document_key(node) in self.documents
        return self._has_shard(key, separator)

    def _has_shard(self, key: str, separator: Separator) -> bool:
        found = shard_of(key, separator)
        if found is None or found[0] not in self.arrays:
            return False
        array, index = found
        counts = self.arrays[array].counts
        return len(index) == len(counts) and all(i < n for i, n in zip(index, counts, strict=True))

    def to_bytes(self) -> bytes:
        header = {
            "version": MANIFEST_VERSION,
            "documents": dict(self.documents),
            "files": {key: [f.length, f.sha256] for key, f in self.files.items()},
            "arrays": [{"name": n, "counts": list(t.counts)} for n, t in self.arrays.items()],
        }
        line = json.dumps(header, separators=(",", ":")).encode() + b"\n"
        return b"".join([line, *(table.to_bytes() for table in self.arrays.values())])

    @classmethod
    def parse(cls, data: bytes) -> Manifest:
        """Parse what ``to_bytes`` gave; raise DamagedStore for anything else."""
        line, _, rows = data.partition(b"\n")
        try:
            header = json.loads(line)
            version = header["version"]
            if version != MANIFEST_VERSION:
                raise DamagedStore(
                    f"reading the manifest: got version {version!r}, "
                    f"this tilepress reads {MANIFEST_VERSION}"
                )
            arrays = _parse_tables(header["arrays"], rows)
            files = {str(k): FileEntry(int(n), str(d)) for k, (n, d) in header["files"].items()}
            documents = {str(k): str(d) for k, d in header["documents"].items()}
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise DamagedStore(f"reading the manifest: it is malformed ({error!r})") from error
        return cls(documents, files, arrays)


def _parse_tables(listed: Iterable[Mapping[str, Any]], rows: bytes) -> dict[str, ShardTable]:
    tables: dict[str, ShardTable] = {}
    offset = 0
    for item in listed:
        counts = tuple(int(n) for n in item["counts"])
        if min(counts, default=1) < 1:
            raise ValueError(f"shard counts {counts}")
        size = math.prod(counts) * _ROW.itemsize
        if offset + size > len(rows):
            raise ValueError("fewer rows than the header says")
        table = np.frombuffer(rows, _ROW, count=math.prod(counts), offset=offset)
        tables[str(item["name"])] = ShardTable(counts, table)
        offset += size
    if offset != len(rows):
        raise ValueError(f"{len(rows) - offset} bytes too many")
    return tables
