"""Build the nodes of a store in memory: chunks are handed on as they are made, documents last."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import zarr
from zarr.codecs import BloscCodec, Crc32cCodec, ZstdCodec
from zarr.storage import MemoryStore

from tilepress.codecs.zarr_codec import TilepressTileV3
from tilepress.pipeline.image.grid import ShardGrid
from tilepress.pipeline.store.conventions import AuxiliaryArray
from tilepress.pipeline.store.keys import (
    MANIFEST,
    ROOT_DOCUMENT,
    ROOT_MANIFEST,
    Separator,
    document_key,
    is_document,
)
from tilepress.pipeline.store.lean import LISTED, lean_source_key, packed_source, with_listed
from tilepress.pipeline.store.manifest import FileEntry, Manifest, ShardTable, sha256_hex
from tilepress.pipeline.store.seal import APART_VERSION, NO_SEAL, STORE_VERSION, with_seal

if TYPE_CHECKING:
    from zarr.abc.store import Store
    from zarr.core.buffer import Buffer
    from zarr.core.chunk_key_encodings import ChunkKeyEncodingParams

__all__ = ["WHERE_THE_IMAGE_IS", "Builder", "bytes_array", "consolidate"]

WHERE_THE_IMAGE_IS = "the image is in group 0: xr.open_zarr(path, group='0')"
"""CF's ``comment`` of the root: what readers that open it show first, in place of an image."""

AUXILIARY_CHUNK_BYTES = 2**20
"""Chunk of ``source/`` items and the manifest: what a flipped bit makes unreadable at most."""

LONG_COORDINATE = 256
"""Values of a coordinate from which on their bits are sorted before they are compressed."""


def consolidate(store: Store, path: str | None = None) -> None:
    """Gather the documents below a group into its own, so that one request opens it."""
    with warnings.catch_warnings():
        # Zarr warns that the v3 text does not have it yet; its readers and xarray's all do
        warnings.filterwarnings("ignore", message="Consolidated metadata is currently not part")
        zarr.consolidate_metadata(store, path=path)


def bytes_array(data: bytes, dim: str) -> AuxiliaryArray:
    """Return bytes as an array of one axis."""
    return AuxiliaryArray((dim,), np.frombuffer(data, np.uint8))


class Builder:
    """Lets Zarr create the nodes in memory; writes chunks at once and the documents at the end."""

    def __init__(
        self,
        write: Callable[[str, bytes], None],
        separator: Separator,
        version: int,
        *,
        wordy: bool,
        lean: bool,
    ) -> None:
        self._write, self._wordy, self.version = write, wordy, version
        self._separator: Separator = separator
        self._chunk_keys: ChunkKeyEncodingParams = {"name": "default", "separator": separator}
        self.is_lean = lean
        """Whether the store is that of a small image (STORE.md §5a)."""
        self._objects: dict[str, Buffer] = {}
        self._memory = MemoryStore(self._objects)
        self._root = zarr.create_group(self._memory)
        self._files: dict[str, FileEntry] = {}

    def group(self, name: str, attributes: Mapping[str, Any]) -> None:
        self._root.create_group(name, attributes=dict(attributes))

    def tell(self, name: str, attributes: Mapping[str, Any]) -> None:
        """Give a group attributes."""
        self._root.require_group(name).update_attributes(dict(attributes))

    def document(self, name: str) -> bytes:
        """Return the document of a node as it will be written."""
        return self._documents()[document_key(name)]

    def coded_array(
        self,
        name: str,
        *,
        grid: ShardGrid,
        dtype: np.dtype[Any],
        dims: tuple[str, ...],
        fill: float | int,
        config: Mapping[str, Any],
        attributes: Mapping[str, Any],
    ) -> None:
        """Create an array whose shards are written elsewhere."""
        self._root.create_array(
            name,
            shape=grid.shape,
            chunks=grid.chunk,
            shards=grid.shard,
            dtype=dtype,
            fill_value=fill,
            serializer=TilepressTileV3(config),
            filters=None,
            compressors=None,
            dimension_names=dims,
            attributes=dict(attributes),
            chunk_key_encoding=self._chunk_keys,
        )

    def array(self, name: str, array: AuxiliaryArray) -> None:
        """Create an auxiliary array and write its chunks."""
        node = self._create(name, array.data.shape, array.data.dtype, array.dims, array.attributes)
        if self.is_lean and array.data.ndim == 0 and not array.data:
            return  # the fill value says it
        self._fill(node, array.data)

    def consolidate(self, path: str | None) -> None:
        consolidate(self._memory, path)

    def add_manifest(self, tables: Mapping[str, ShardTable]) -> str:
        """Add the array that has the manifest, and return its digest.

        It lists its own document, which holds its length: every digest is equally long, so the
        length is known before the digest is.
        """
        documents = {key: sha256_hex(data) for key, data in self._documents().items()}
        del documents[ROOT_DOCUMENT]
        name = ROOT_MANIFEST if self.version < STORE_VERSION else MANIFEST
        own = document_key(name)
        documents[own] = NO_SEAL
        files = dict(self._files)
        size = len(Manifest(documents, files, tables).to_bytes())
        node = self._create(name, (size,), np.dtype(np.uint8), ("manifest-byte",), {})
        documents[own] = sha256_hex(self._documents()[own])
        data = Manifest(documents, files, tables).to_bytes()
        self._fill(node, np.frombuffer(data, np.uint8))
        return sha256_hex(data)

    def seal(self, statement: Mapping[str, Any], attributes: Mapping[str, Any]) -> None:
        """Write every document, those of the leaves first and the root's with the seal last."""
        self._seal(statement, attributes, lambda root: root)

    def seal_lean(
        self,
        statement: Mapping[str, Any],
        attributes: Mapping[str, Any],
        tables: Mapping[str, ShardTable],
        origin: bytes,
    ) -> None:
        """As ``seal``, with the manifest in the root document, and the source as one object.

        The root's copies of the documents are what lists them.
        """
        self._chunk(lean_source_key(self._separator), packed_source(origin))
        manifest = Manifest({}, dict(self._files), tables).to_bytes()
        self._seal(statement, {**attributes, LISTED: ""}, lambda root: with_listed(root, manifest))

    def _seal(
        self,
        statement: Mapping[str, Any],
        attributes: Mapping[str, Any],
        finish: Callable[[bytes], bytes],
    ) -> None:
        told: dict[str, Any] = {"comment": WHERE_THE_IMAGE_IS}
        if self.version < STORE_VERSION:
            told = {}
        told |= {"tilepress": {**statement, "seal": NO_SEAL}}
        self._root.update_attributes({**told, **attributes})
        self.consolidate(None)
        documents = self._documents()
        root = documents.pop(ROOT_DOCUMENT)
        for key in sorted(documents, key=lambda key: (-key.count("/"), key)):
            self._write(key, documents[key])
        self._write(ROOT_DOCUMENT, with_seal(finish(root)))

    def _create(
        self,
        name: str,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        dims: tuple[str, ...],
        attributes: Mapping[str, Any],
    ) -> zarr.Array[Any]:
        chunk = AUXILIARY_CHUNK_BYTES // dtype.itemsize
        return self._root.create_array(
            name,
            shape=shape,
            chunks=tuple(min(max(1, n), chunk) for n in shape),
            dtype=dtype,
            fill_value=0,
            filters=None,
            compressors=[self._compressor(shape, dtype), Crc32cCodec()],
            dimension_names=dims,
            attributes=dict(attributes),
            chunk_key_encoding=self._chunk_keys,
            config={"write_empty_chunks": True},
        )

    def _compressor(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> ZstdCodec | BloscCodec:
        """Return what compresses an auxiliary array: of evenly spaced floats, long rows of their
        bits alike take a third of the bytes, and pay for a longer document."""
        if (
            self.version == APART_VERSION
            or dtype != np.float64
            or len(shape) != 1
            or shape[0] < LONG_COORDINATE
        ):
            return ZstdCodec(level=9)
        return BloscCodec(typesize=8, cname="zstd", clevel=9, shuffle="bitshuffle", blocksize=0)

    def _fill(self, node: zarr.Array[Any], data: npt.NDArray[Any]) -> None:
        """Write an array's chunks to disk, a few MiB at a time."""
        step = 16 * AUXILIARY_CHUNK_BYTES // data.itemsize
        if data.ndim == 0:
            node[...] = data
            self._flush_chunks()
        for start in range(0, len(data) if data.ndim else 0, step):
            node[start : start + step] = data[start : start + step]
            self._flush_chunks()

    def _flush_chunks(self) -> None:
        for key in [key for key in self._objects if not is_document(key)]:
            self._chunk(key, self._objects.pop(key).to_bytes())

    def _chunk(self, key: str, data: bytes) -> None:
        self._write(key, data)
        self._files[key] = FileEntry(len(data), sha256_hex(data))

    def _documents(self) -> dict[str, bytes]:
        hook = None if self._wordy else _lean
        found = {k: v.to_bytes() for k, v in self._objects.items() if is_document(k)}
        return {k: _compact(json.loads(v, object_hook=hook)) for k, v in found.items()}


def _compact(document: object) -> bytes:
    """Write a JSON document without white space: Zarr's indents weigh kilobytes."""
    return json.dumps(document, separators=(",", ":")).encode()


def _lean(fields: dict[str, Any]) -> dict[str, Any]:
    """Leave out what an array's document need not say: that there are no storage transformers."""
    if fields.get("node_type") == "array" and fields.get("storage_transformers") == []:
        del fields["storage_transformers"]
    return fields
