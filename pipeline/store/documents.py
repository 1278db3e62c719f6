"""Compose what a store has beside its shards: auxiliary arrays, manifest, metadata documents.

Everything is handed on as it is made, in the order of sealing: chunks of coordinates and of
``source/``, the manifest, the documents of the leaves, and the root's, which seals the store.
"""

from __future__ import annotations

import json
import math
import platform
import warnings
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt
import zarr
from zarr.codecs import BloscCodec, Crc32cCodec, ZstdCodec
from zarr.storage import MemoryStore

from tilepress.codecs.loss import Loss
from tilepress.codecs.zarr_codec import TilepressTileV3
from tilepress.pipeline.image.grid import ShardGrid
from tilepress.pipeline.image.info import ImageInfo
from tilepress.pipeline.store.bands import told_exact
from tilepress.pipeline.store.conventions import (
    AuxiliaryArray,
    auxiliary_arrays,
    group_attributes,
    image_attributes,
    ome_attributes,
)
from tilepress.pipeline.store.kept import IRREVERSIBLE
from tilepress.pipeline.store.keys import (
    MANIFEST,
    ROOT_DOCUMENT,
    SOURCE,
    Separator,
    array_key,
    document_key,
    is_document,
    is_image,
    level_image,
    level_of,
    source_key,
)
from tilepress.pipeline.store.manifest import (
    FileEntry,
    Manifest,
    ShardTable,
    samples_digest,
    sha256_hex,
)
from tilepress.pipeline.store.packed import pack_items
from tilepress.pipeline.store.seal import APART_VERSION, NO_SEAL, STORE_VERSION, with_seal

if TYPE_CHECKING:
    from zarr.abc.store import Store
    from zarr.core.buffer import Buffer
    from zarr.core.chunk_key_encodings import ChunkKeyEncodingParams

__all__ = ["COMPOSED", "StoredImage", "compose", "consolidate"]

AUXILIARY_CHUNK_BYTES = 2**20
"""Chunk of ``source/`` items and the manifest: what a flipped bit makes unreadable at most."""

LONG_COORDINATE = 256
"""Values of a coordinate from which on their bits are sorted before they are compressed."""

COMPOSED = frozenset(
    {
        *("format_version", "pip", "codec", "tier", "model", "loss", "raw_bytes", "stored_bytes"),
        *("source_digest", "tools", "manifest_sha256", "seal"),
    }
)
"""What every statement has; the rest is what whoever sealed the store added to it."""

_INSTALL = "pip install tilepress"


class StoredImage(Protocol):
    """An image, how its arrays are cut, and how they are coded."""

    @property
    def info(self) -> ImageInfo: ...

    @property
    def grids(self) -> Mapping[str, ShardGrid]:
        """Grid by array name: "image", "1/image" … of levels, "mask" where the source has one."""
        ...

    @property
    def separator(self) -> Separator:
        """What stands between the numbers in the key of a chunk."""
        ...

    @property
    def wordy(self) -> bool:
        """Whether documents are as earlier versions wrote them: the text of a CRS eleven times."""
        ...

    @property
    def apart(self) -> bool:
        """Whether the store is of format 1, as all of earlier versions are: each item of
        ``source/`` is an array, however small, and all coordinates are coded alike."""
        ...

    def codec_config(self, array: str) -> dict[str, Any]: ...

    def loss(self, array: str) -> Loss: ...

    def fill(self, array: str) -> float | int: ...


def compose(
    image: StoredImage,
    source_items: Iterable[tuple[str, bytes]],
    tables: Mapping[str, ShardTable],
    write: Callable[[str, bytes], None],
    attributes: Mapping[str, Any] | None = None,
    tools: Mapping[str, str] | None = None,
) -> None:
    """Hand every object but the shards to ``write``, by key, in the order of sealing.

    ``attributes`` are added to the statement in the root document. ``tools`` are the versions that
    the store names: those at work, unless a store that another installation sealed is composed
    again.
    """
    builder = _Builder(write, image.separator, wordy=image.wordy, apart=image.apart)
    items = source_items if image.apart else pack_items(source_items)
    statement = _statement(image, tables, tools or _tools())
    levels = range(1 + len(image.info.levels))
    for level in levels:
        _add_level(builder, image, level, statement, attributes or {})
    builder.group(SOURCE, {})
    for name, data in items:
        builder.array(source_key(name), _bytes_array(data, f"{name}-byte"))
    for level in levels:
        builder.consolidate(str(level))
    digest = builder.add_manifest(tables)
    added = {**(attributes or {}), "manifest_sha256": digest}
    paths = [array_key(level_image(level)) for level in levels]
    builder.seal(statement | added, ome_attributes(image.info, paths))


def consolidate(store: Store, path: str | None = None) -> None:
    """Gather the documents below a group into its own, so that one request opens it."""
    with warnings.catch_warnings():
        # Zarr warns that the v3 text does not have it yet; its readers and xarray's all do
        warnings.filterwarnings("ignore", message="Consolidated metadata is currently not part")
        zarr.consolidate_metadata(store, path=path)


def _add_level(
    builder: _Builder,
    image: StoredImage,
    level: int,
    statement: Mapping[str, Any],
    added: Mapping[str, Any],
) -> None:
    info, wordy = image.info.at_level(level), image.wordy
    told = {"tilepress": statement} if level == 0 else {}
    builder.group(str(level), group_attributes(info, wordy=wordy) | told)
    for name, grid in image.grids.items():
        if level_of(name) != level and (is_image(name) or level > 0):
            continue
        config, loss = image.codec_config(name), image.loss(name)
        hint = {"pip": _INSTALL, "lossless": loss.is_lossless, "codec": config["codec"]}
        hint |= loss.statement()
        hint |= told_exact(info.exact) if is_image(name) else {}
        if is_image(name) and IRREVERSIBLE in added:
            hint[IRREVERSIBLE] = added[IRREVERSIBLE]
        attributes = (
            image_attributes(info, wordy=wordy) if is_image(name) else _mask_attributes(info)
        )
        builder.coded_array(
            array_key(name),
            grid=grid,
            dtype=info.dtype if is_image(name) else np.dtype(np.uint8),
            dims=info.axes if is_image(name) else info.axes[-2:],
            fill=image.fill(name),
            config=config,
            attributes=attributes | {"tilepress": hint},
        )
    for name, array in auxiliary_arrays(info, wordy=wordy).items():
        builder.array(f"{level}/{name}", array)


def _mask_attributes(info: ImageInfo) -> dict[str, Any]:
    attributes: dict[str, Any] = {
        "long_name": "validity of the image's pixels",
        "flag_values": [0, 255],
        "flag_meanings": "absent valid",
    }
    if info.geo is not None:
        attributes |= {"grid_mapping": "spatial_ref", "coordinates": "spatial_ref"}
    return attributes


def _statement(
    stored: StoredImage, tables: Mapping[str, ShardTable], tools: Mapping[str, str]
) -> dict[str, Any]:
    """Return ``attrs["tilepress"]``: what was done to the samples, and what reads them."""
    config = stored.codec_config("image")
    info = stored.info
    images = [tables[level_image(level)] for level in range(1 + len(info.levels))]
    samples = sum(math.prod(info.at_level(n).shape) for n in range(len(images)))
    image_bytes = sum(image.stored_bytes for image in images)
    return {
        "format_version": APART_VERSION if stored.apart else STORE_VERSION,
        "pip": _INSTALL,
        "codec": config["codec"],
        "tier": config["tier"],
        "model": {key: config["model"][key] for key in ("name", "sha256")},
        "loss": stored.loss("image").statement()
        | {"bits_per_sample": round(8 * image_bytes / max(1, samples), 4)}
        | told_exact(info.exact),
        "raw_bytes": sum(image.raw_bytes for image in images),
        "stored_bytes": sum(table.stored_bytes for table in tables.values()),
        "source_digest": {"sha256": samples_digest(images), "of": "sha256 of each shard's samples"},
        "tools": dict(tools),
    }


def _tools() -> dict[str, str]:
    tools = {"python": platform.python_version(), "numpy": np.__version__, "zarr": zarr.__version__}
    with suppress(PackageNotFoundError):
        tools["tilepress"] = version("tilepress")
    return tools


def _bytes_array(data: bytes, dim: str) -> AuxiliaryArray:
    return AuxiliaryArray((dim,), np.frombuffer(data, np.uint8))


class _Builder:
    """Lets Zarr create the nodes in memory; writes chunks at once and the documents at the end."""

    def __init__(
        self,
        write: Callable[[str, bytes], None],
        separator: Separator,
        *,
        wordy: bool,
        apart: bool,
    ) -> None:
        self._write, self._wordy, self._apart = write, wordy, apart
        self._chunk_keys: ChunkKeyEncodingParams = {"name": "default", "separator": separator}
        self._objects: dict[str, Buffer] = {}
        self._memory = MemoryStore(self._objects)
        self._root = zarr.create_group(self._memory)
        self._files: dict[str, FileEntry] = {}

    def group(self, name: str, attributes: Mapping[str, Any]) -> None:
        self._root.create_group(name, attributes=dict(attributes))

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
        self._fill(node, array.data)

    def consolidate(self, path: str | None) -> None:
        consolidate(self._memory, path)

    def add_manifest(self, tables: Mapping[str, ShardTable]) -> str:
        """Add the array ``manifest`` and return its digest.

        It lists its own document, which holds its length: every digest is equally long, so the
        length is known before the digest is.
        """
        documents = {key: sha256_hex(data) for key, data in self._documents().items()}
        del documents[ROOT_DOCUMENT]
        own = document_key(MANIFEST)
        documents[own] = NO_SEAL
        files = dict(self._files)
        size = len(Manifest(documents, files, tables).to_bytes())
        node = self._create(MANIFEST, (size,), np.dtype(np.uint8), ("manifest-byte",), {})
        documents[own] = sha256_hex(self._documents()[own])
        data = Manifest(documents, files, tables).to_bytes()
        self._fill(node, np.frombuffer(data, np.uint8))
        return sha256_hex(data)

    def seal(self, statement: Mapping[str, Any], attributes: Mapping[str, Any]) -> None:
        """Write every document, those of the leaves first and the root's with the seal last."""
        self._root.update_attributes({"tilepress": {**statement, "seal": NO_SEAL}, **attributes})
        self.consolidate(None)
        documents = self._documents()
        root = documents.pop(ROOT_DOCUMENT)
        for key in sorted(documents, key=lambda key: (-key.count("/"), key)):
            self._write(key, documents[key])
        self._write(ROOT_DOCUMENT, with_seal(root))

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
        if self._apart or dtype != np.float64 or len(shape) != 1 or shape[0] < LONG_COORDINATE:
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
            data = self._objects.pop(key).to_bytes()
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
