"""Check a sealed store against its manifest, and its samples against their source."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from tilepress.errors import (
    DamagedStore,
    ModelError,
    UnsupportedFormat,
)
from tilepress.pipeline.find.discover import open_source
from tilepress.pipeline.find.match import Sources
from tilepress.pipeline.image.source import TileSource
from tilepress.pipeline.storage.path import Place, Where, place
from tilepress.pipeline.store.keys import (
    IMAGE,
    MANIFEST,
    ROOT_DOCUMENT,
    array_key,
    is_manifest_chunk,
    shard_key,
    shard_of,
)
from tilepress.pipeline.store.manifest import Manifest, ShardEntry, sha256_hex
from tilepress.pipeline.store.reader import StoreReader
from tilepress.pipeline.store.shard import decode_shard, samples_sha256

__all__ = ["Damage", "check_against_source", "check_store", "verify"]

IGNORED_NAMES = frozenset({".DS_Store", "Thumbs.db", "desktop.ini"})
"""Files that file managers leave behind; Zarr never looks at them."""


@dataclass(frozen=True, slots=True)
class Damage:
    """One thing that is wrong with a store."""

    kind: str
    """"missing", "unexpected", "changed" (bytes), "undecodable" (a record), "samples" (decoded
    samples are not those sealed) or "source" (they differ from the source). Append only."""
    key: str
    """The object below the store's root."""
    detail: str
    """What was found; for records the chunk within the shard, for samples the box."""

    def __str__(self) -> str:
        return f"{self.key}: {self.kind}: {self.detail}"

    def to_json(self) -> dict[str, str]:
        return asdict(self)


def verify(
    path: Where,
    source: TileSource | Sources | Path | str | Sequence[Path | str] | None = None,
) -> list[Damage]:
    """Check every object of a sealed store, every record by decoding, and optionally the source.

    ``source`` is what the store was made of: a file, a folder that holds it, a list of such, or an
    open source.

    Returns what is wrong, an empty list for a sound store. Raises UnsealedStore or StoreError where
    there is no finished store to check, ModelError or UnsupportedFormat where this installation
    cannot decode it, SourceError where the source cannot be read: then nothing can be told.
    UsageError says that no telling is possible which image the store was made of.
    """
    path = place(path)
    found = list(check_store(path))
    if source is None or any(damage.key in (ROOT_DOCUMENT, MANIFEST) for damage in found):
        return found
    if isinstance(source, (str, Path)):
        source = Sources([source])
    elif isinstance(source, Sequence):
        source = Sources(source)
    if not isinstance(source, Sources):
        return [*found, *check_against_source(path, source)]
    try:
        spec = source.find(path)
    except DamagedStore:
        if not found:
            raise
        return found
    with contextlib.closing(open_source(spec)) as opened:
        return [*found, *check_against_source(path, opened)]


def check_store(path: Where) -> Iterator[Damage]:
    """Yield what is wrong with a store as it is found."""
    path = place(path)
    try:
        reader = StoreReader.open(path)
    except DamagedStore as error:
        yield Damage("changed", ROOT_DOCUMENT, str(error))
        return
    try:
        manifest = reader.manifest
    except DamagedStore as error:
        yield Damage("changed", MANIFEST, str(error))
        return
    yield from _check_objects(path, manifest)
    for name in manifest.arrays:
        yield from _check_shards(reader, name)


def check_against_source(path: Where, source: TileSource) -> Iterator[Damage]:
    """Yield where the samples differ from the source by more than their loss allows."""
    reader = StoreReader.open(path)
    info = source.info
    if (reader.shape, reader.dtype, reader.axes) != (info.shape, info.dtype, info.axes):
        yield Damage(
            "source",
            IMAGE,
            f"it is {reader.shape} of {reader.dtype} along {reader.axes}, "
            f"the source {info.shape} of {info.dtype} along {info.axes}",
        )
        return
    for name in reader.arrays:
        grid = reader.grid(name)
        read_stored = reader.read if name == "image" else reader.read_mask
        read_source = source.read if name == "image" else source.read_mask
        codec = reader.codec(name).codec
        for index in grid.indices():
            box = grid.box(index)
            try:
                stored = read_stored(box)
            except DamagedStore as error:
                yield Damage("source", shard_key(name, index), f"cannot be compared: {error}")
                continue
            wrong = codec.loss.forbidden(read_source(box), stored, codec.nodata)
            if wrong.any():
                first = [int(i[0]) + a for i, a in zip(np.nonzero(wrong), box.start, strict=True)]
                yield Damage(
                    "source",
                    shard_key(name, index),
                    f"{int(wrong.sum())} of {wrong.size} samples differ, the first at {first}",
                )


def _check_objects(path: Place, manifest: Manifest) -> Iterator[Damage]:
    """Check the documents and auxiliary objects, and that nothing else lies in the store."""
    for key, digest in manifest.documents.items():
        yield from _check_object(path, key, None, digest)
    for key, entry in manifest.files.items():
        yield from _check_object(path, key, entry.length, entry.sha256)
    known = {ROOT_DOCUMENT, *manifest.documents, *manifest.files}
    for key, _ in path.walk():
        expected = key in known or is_manifest_chunk(key) or _is_shard(key, manifest)
        if not expected and key.rpartition("/")[2] not in IGNORED_NAMES:
            yield Damage("unexpected", key, "the manifest does not list it")


def _check_object(path: Place, key: str, length: int | None, digest: str) -> Iterator[Damage]:
    try:
        data = (path / key).read()
    except FileNotFoundError:
        yield Damage("missing", key, "there is no such object")
        return
    except OSError as error:
        yield Damage("missing", key, f"it cannot be read ({error.strerror})")
        return
    if length is not None and len(data) != length:
        yield Damage("changed", key, f"it has {len(data)} bytes, want {length}")
    elif sha256_hex(data) != digest:
        yield Damage("changed", key, "its bytes do not match their sha256")


def _is_shard(key: str, manifest: Manifest) -> bool:
    found = shard_of(key)
    if found is None or found[0] not in manifest.arrays:
        return False
    array, index = found
    counts = manifest.arrays[array].counts
    return len(index) == len(counts) and all(i < n for i, n in zip(index, counts, strict=True))


def _check_shards(reader: StoreReader, name: str) -> Iterator[Damage]:
    table = reader.manifest.arrays[name]
    grid = reader.grid(name)
    if grid.counts != table.counts:
        yield Damage(
            "changed", array_key(name), f"{grid.counts} shards, the manifest {table.counts}"
        )
        return
    for index in grid.indices():
        yield from _check_shard(reader, table.get(name, index))


def _check_shard(reader: StoreReader, entry: ShardEntry) -> Iterator[Damage]:
    """Check one shard's bytes, its index, and every record by decoding it."""
    key = shard_key(entry.array, entry.index)
    try:
        data = (reader.path / key).read()
    except OSError as error:
        yield Damage("missing", key, f"it cannot be read ({error.strerror})")
        return
    if len(data) != entry.length:
        yield Damage("changed", key, f"it has {len(data)} bytes, want {entry.length}")
    elif sha256_hex(data) != entry.sha256:
        yield Damage("changed", key, "its bytes do not match their sha256")
    grid = reader.grid(entry.array)
    dtype = reader.dtype if entry.array == "image" else np.dtype(np.uint8)
    codec = reader.codec(entry.array).codec
    try:
        samples, wrong = decode_shard(codec, data, grid, entry.index, dtype)
    except DamagedStore as error:
        yield Damage("undecodable", key, str(error))
        return
    for chunk, reason in wrong.items():
        if isinstance(reason, (ModelError, UnsupportedFormat)):
            raise reason
        yield Damage("undecodable", key, f"chunk {chunk}: {reason}")
    if not wrong and samples_sha256(samples) != entry.samples_sha256:
        yield Damage("samples", key, "the decoded samples are not those that were sealed")
