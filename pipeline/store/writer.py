"""Write and read the Zarr store of one image.

    NAME.zarr/zarr.json         root group: statement of loss, OME-Zarr, seal; written last of all
    NAME.zarr/0/image/c/…       the samples: one object per shard, one record per chunk
    NAME.zarr/0/mask/c/…        validity, where the source has a mask of its own
    NAME.zarr/0/{x,y,…,spatial_ref}  coordinates and CRS
    NAME.zarr/source/…          what a faithful export needs
    NAME.zarr/manifest          every object with its digest

No ``zarr.json`` exists before every other object does, so that no reader can open an unfinished
store. Every array but ``image`` and ``mask``, whose records carry their own checksums, ends its
codec chain with crc32c.
"""

from __future__ import annotations

import json
import math
import platform
import re
import warnings
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
import zarr
import zarr.abc.store
from zarr.codecs import Crc32cCodec, ShardingCodec, ZstdCodec
from zarr.core.buffer import default_buffer_prototype
from zarr.storage import MemoryStore, WrapperStore

from tilepress.codecs.loss import Loss, Lossless, Within, bounded, stated_loss
from tilepress.codecs.zarr_codec import TilepressTileV3
from tilepress.errors import (
    DamagedStore,
    DestinationConflict,
    InvalidRecord,
    StoreError,
    UnsealedStore,
    UnsupportedFormat,
)
from tilepress.pipeline.image.grid import Box, ShardGrid, choose_grid
from tilepress.pipeline.image.source import ImageInfo
from tilepress.pipeline.storage.path import Place, Where, place
from tilepress.pipeline.store.conventions import (
    AuxiliaryArray,
    auxiliary_arrays,
    group_attributes,
    image_attributes,
    ome_attributes,
)
from tilepress.pipeline.store.keys import (
    FULL_RESOLUTION,
    IMAGE,
    MANIFEST,
    MASK,
    ROOT_DOCUMENT,
    SOURCE,
    array_key,
    document_key,
    is_chunk,
    is_document,
    shard_key,
    source_key,
)
from tilepress.pipeline.store.manifest import (
    FileEntry,
    Manifest,
    ShardRecord,
    ShardTable,
    sha256_hex,
)

if TYPE_CHECKING:
    import xarray as xr
    from zarr.abc.store import ByteRequest, Store
    from zarr.core.buffer import Buffer, BufferPrototype

__all__ = [
    "SealedStore",
    "StoreReader",
    "StoreWriter",
    "check_seal",
    "consolidate",
    "is_sealed",
    "open_dataset",
    "remove_store",
    "store_bytes",
]

STORE_VERSION = 1
AUXILIARY_CHUNK_BYTES = 2**20
"""Chunk of ``source/`` items and the manifest: what a flipped bit makes unreadable at most."""

_NO_SEAL = "0" * 64
_INSTALL = "pip install tilepress"


class StoreWriter:
    """Writes one store: shards in any order and by any process, then the seal."""

    def __init__(
        self,
        where: Place,
        info: ImageInfo,
        grids: Mapping[str, ShardGrid],
        codec_config: Mapping[str, Any],
    ) -> None:
        self.place = where
        self.info = info
        self.grids = grids
        """Grid by array name: "image", and "mask" where the source has one."""
        self._codec_config = codec_config

    @classmethod
    def create(
        cls,
        path: Where,
        info: ImageInfo,
        grid: ShardGrid,
        codec_config: Mapping[str, Any],
        *,
        mask_grid: ShardGrid | None = None,
    ) -> StoreWriter:
        """Prepare to write; calling it again, in another process too, changes nothing.

        Raises DestinationConflict where ``path`` holds a sealed store or something else.
        """
        where = place(path)
        if where.size() is not None and not where.is_folder():
            raise DestinationConflict(f"creating a store: a file is in the way at {path}")
        if is_sealed(where):
            raise DestinationConflict(f"creating a store: there is a sealed one at {path}")
        if grid.shape != info.shape:
            raise ValueError(f"creating a store: grid of {grid.shape} for {info.shape}")
        grids = {"image": grid}
        if info.has_mask:
            tile = max(grid.chunk[-2:])
            grids["mask"] = mask_grid or choose_grid(info.shape[-2:], 1, tile=tile)
        where.make_folder()
        return cls(where, info, grids, codec_config)

    def codec_config(self, array: str) -> dict[str, Any]:
        """Return the codec configuration of an array; a mask is always coded losslessly."""
        if array == "image":
            return dict(self._codec_config)
        return {**self._codec_config, "max_error": 0, "nodata": None}

    def loss(self, array: str) -> Lossless | Within:
        """Return what coding may change of an array's samples."""
        return bounded(self.codec_config(array)["max_error"])

    def fill(self, array: str) -> float | int:
        """Return the fill value of an array: what edge chunks are filled up with."""
        if array != "image":
            return 0
        fill: float | int = self.info.dtype.type(self.info.nodata or 0).item()
        return fill

    def shard_path(self, array: str, index: tuple[int, ...]) -> Place:
        return self.place / shard_key(array, index)

    def write_shard(
        self,
        array: str,
        index: tuple[int, ...],
        data: bytes,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        """Write one shard object; on return it survives a power cut.

        In a bucket nothing is overwritten that was not seen: an object that is there already is
        replaced only after ``check`` (which raises where another writer took the store over) and
        only if it is still the one that was there before.
        """
        self._write(shard_key(array, index), data, check)

    def _write(self, key: str, data: bytes, check: Callable[[], None]) -> None:
        target = self.place / key
        if not target.conditional:
            target.write(data)
            return
        if target.create(data):
            return
        found = target.read_tagged()
        if found is not None and found[0] == data:
            return
        check()
        if not (target.create(data) if found is None else target.swap(data, found[1])):
            raise DestinationConflict(f"writing {self.place}: another process writes {key}")

    def _write_root(self, data: bytes) -> None:
        """Make a store of what was written, unless another writer did so."""
        root = self.place / ROOT_DOCUMENT
        if root.conditional:
            if not root.create(data):
                raise self._sealed_by_another()
            return
        with self.place.guard():
            if root.size() is not None and root.read() != data:
                raise self._sealed_by_another()
            root.write(data)  # again where it is there: an earlier try may have failed to sync it

    def _sealed_by_another(self) -> DestinationConflict:
        return DestinationConflict(f"sealing {self.place}: another process has sealed it")

    def seal(
        self,
        source_items: Iterable[tuple[str, bytes]],
        shard_entries: Iterable[ShardRecord],
        attrs: Mapping[str, Any] | None = None,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        """Write everything but the shards, the metadata documents last and the root's very last.

        ``attrs`` is added to ``attrs["tilepress"]`` of the root. Only one process may be at work
        in the store by now: ``check`` raises where that is another one. Raises DamagedStore where a
        shard is not there as its entry says, DestinationConflict where another process sealed.
        """
        tables = self._collect(shard_entries)
        check()
        self.place.sweep()

        def write(key: str, data: bytes) -> None:
            if key == ROOT_DOCUMENT or not self.place.conditional:
                check()
            if key == ROOT_DOCUMENT:
                self._write_root(data)
            else:
                self._write(key, data, check)

        self.compose(source_items, tables, write, attrs)

    def compose(
        self,
        source_items: Iterable[tuple[str, bytes]],
        tables: Mapping[str, ShardTable],
        write: Callable[[str, bytes], None],
        attrs: Mapping[str, Any] | None = None,
        tools: Mapping[str, str] | None = None,
    ) -> None:
        """Hand every object but the shards to ``write``, by key, in the order of sealing.

        ``tools`` are the versions that the store names: those at work, unless a store that another
        installation sealed is composed again.
        """
        builder = _Builder(write)
        self._add_level(builder, tables, tools or _tools())
        builder.group(SOURCE, {})
        for name, data in source_items:
            builder.array(source_key(name), _bytes_array(data, f"{name}-byte"))
        builder.consolidate(FULL_RESOLUTION)
        digest = builder.add_manifest(tables)
        statement = _statement(self, tables, tools or _tools()) | dict(attrs or {})
        builder.seal(statement | {"manifest_sha256": digest}, ome_attributes(self.info, IMAGE))

    def _collect(self, entries: Iterable[ShardRecord]) -> dict[str, ShardTable]:
        """Gather the entries; check that each shard of the grid has one and is on disk."""
        tables = {name: ShardTable(grid.counts) for name, grid in self.grids.items()}
        sizes = dict(self.place.walk())
        for entry in entries:
            size = sizes.get(shard_key(entry.array, entry.index))
            if size != entry.length:
                raise DamagedStore(
                    f"sealing {self.place.name}: shard {entry.index} of {entry.array} has "
                    f"{'no object' if size is None else f'{size} bytes'}, want {entry.length} bytes"
                )
            tables[entry.array].set(entry)
        for name, table in tables.items():
            if missing := table.missing():
                raise DamagedStore(
                    f"sealing {self.place.name}: {len(missing)} shards of {name} are not "
                    f"accounted for, the first is {missing[0]}"
                )
        return tables

    def _add_level(
        self, builder: _Builder, tables: Mapping[str, ShardTable], tools: Mapping[str, str]
    ) -> None:
        info = self.info
        statement = _statement(self, tables, tools)
        builder.group(FULL_RESOLUTION, group_attributes(info) | {"tilepress": statement})
        for name in self.grids:
            config, loss = self.codec_config(name), self.loss(name)
            hint = {"pip": _INSTALL, "lossless": loss.is_lossless, "codec": config["codec"]}
            hint |= loss.statement()
            attributes = (
                image_attributes(info)
                if name == "image"
                else {
                    "long_name": "validity of the image's pixels",
                    "flag_values": [0, 255],
                    "flag_meanings": "absent valid",
                }
            )
            if name == "mask" and info.geo is not None:
                attributes |= {"grid_mapping": "spatial_ref", "coordinates": "spatial_ref"}
            builder.coded_array(
                array_key(name),
                grid=self.grids[name],
                dtype=info.dtype if name == "image" else np.dtype(np.uint8),
                dims=info.axes if name == "image" else info.axes[-2:],
                fill=self.fill(name),
                config=config,
                attributes=attributes | {"tilepress": hint},
            )
        for name, array in auxiliary_arrays(info).items():
            builder.array(array_key(name), array)


class _Builder:
    """Lets Zarr create the nodes in memory; writes chunks at once and the documents at the end."""

    def __init__(self, write: Callable[[str, bytes], None]) -> None:
        self._write = write
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
        documents[own] = _NO_SEAL
        files = dict(self._files)
        size = len(Manifest(documents, files, tables).to_bytes())
        node = self._create(MANIFEST, (size,), np.dtype(np.uint8), ("manifest-byte",), {})
        documents[own] = sha256_hex(self._documents()[own])
        data = Manifest(documents, files, tables).to_bytes()
        self._fill(node, np.frombuffer(data, np.uint8))
        return sha256_hex(data)

    def seal(self, statement: Mapping[str, Any], attributes: Mapping[str, Any]) -> None:
        """Write every document, those of the leaves first and the root's with the seal last."""
        self._root.update_attributes({"tilepress": {**statement, "seal": _NO_SEAL}, **attributes})
        self.consolidate(None)
        documents = self._documents()
        root = documents.pop(ROOT_DOCUMENT)
        for key in sorted(documents, key=lambda key: (-key.count("/"), key)):
            self._write(key, documents[key])
        self._write(ROOT_DOCUMENT, _with_seal(root))

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
            compressors=[ZstdCodec(level=9), Crc32cCodec()],
            dimension_names=dims,
            attributes=dict(attributes),
            config={"write_empty_chunks": True},
        )

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
        return {k: _compact(v.to_bytes()) for k, v in self._objects.items() if is_document(k)}


def _compact(document: bytes) -> bytes:
    """Write a JSON document without white space: Zarr's indents weigh kilobytes."""
    return json.dumps(json.loads(document), separators=(",", ":")).encode()


class SealedStore(WrapperStore["Store"]):
    """A Zarr store in which every chunk exists: absence is damage, never fill value."""

    def __init__(self, store: Store | Where, *, read_only: bool = True) -> None:
        if isinstance(store, zarr.abc.store.Store):
            super().__init__(store)
        else:
            super().__init__(place(store).zarr_store(read_only=read_only))

    async def get(
        self,
        key: str,
        prototype: BufferPrototype | None = None,
        byte_range: ByteRequest | None = None,
    ) -> Buffer | None:
        value = await self._store.get(key, prototype or default_buffer_prototype(), byte_range)
        return self._present(key, value)

    async def get_partial_values(
        self,
        prototype: BufferPrototype,
        key_ranges: Iterable[tuple[str, ByteRequest | None]],
    ) -> list[Buffer | None]:
        ranges = list(key_ranges)
        values = await self._store.get_partial_values(prototype, ranges)
        return [self._present(key, value) for (key, _), value in zip(ranges, values, strict=True)]

    def _present(self, key: str, value: Buffer | None) -> Buffer | None:
        if not value and is_chunk(key):  # Zarr takes an empty object for a missing one
            found = "missing" if value is None else "cut"
            raise DamagedStore(f"reading {_store_name(self._store)}: {key} is {found}")
        return value


def _store_name(store: Store) -> str:
    """Return e.g. "scene.zarr" for a store of that folder or prefix."""
    return re.split(r"[/\"]", str(store).rstrip('/)">'))[-1]


class StoreReader:
    """A sealed store, for exporters and ``verify``: what it cannot vouch for, it refuses."""

    def __init__(self, path: Place, root: zarr.Group) -> None:
        self.path = path
        self._root = root

    @classmethod
    def open(cls, path: Where) -> StoreReader:
        """Open a sealed store.

        Raises UnsealedStore where the root document is missing, DamagedStore where it fails the
        seal, UnsupportedFormat where another tilepress is needed, StoreError where there is no
        store at all.
        """
        path = place(path)
        found = check_seal(path)["attributes"]["tilepress"]["format_version"]
        if found != STORE_VERSION:
            raise UnsupportedFormat(
                f"opening {path.name}: got store format {found}, this tilepress reads "
                f"{STORE_VERSION}; a newer one may read it"
            )
        store = SealedStore(path)
        return cls(path, zarr.open_consolidated(store, mode="r", zarr_format=3))

    @cached_property
    def image(self) -> zarr.Array[Any]:
        return self._array(IMAGE)

    @cached_property
    def _mask(self) -> zarr.Array[Any] | None:
        return self._array(MASK) if MASK in self._root else None

    @property
    def axes(self) -> tuple[str, ...]:
        names = getattr(self.image.metadata, "dimension_names", None) or ()
        return tuple(str(name) for name in names)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.image.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(self.image.dtype)

    @property
    def chunk(self) -> tuple[int, ...]:
        return self.image.chunks

    @property
    def attrs(self) -> Mapping[str, Any]:
        """Attributes of the image; ``attrs["tilepress"]`` is the root's statement."""
        return {**self.image.attrs.asdict(), "tilepress": self.statement}

    @property
    def root_attributes(self) -> dict[str, Any]:
        return dict(self._root.attrs.asdict())

    @property
    def level(self) -> zarr.Group:
        """The group of the full resolution."""
        level = self._root[FULL_RESOLUTION]
        assert isinstance(level, zarr.Group)
        return level

    @property
    def statement(self) -> Mapping[str, Any]:
        """``attrs["tilepress"]`` of the root: codec, model, loss, sizes, digests, versions."""
        statement = self._root.attrs["tilepress"]
        assert isinstance(statement, dict), statement
        return statement

    @property
    def loss(self) -> Loss:
        """What coding may have changed of the image's samples."""
        return stated_loss(self.statement["loss"])

    @property
    def has_mask(self) -> bool:
        return self._mask is not None

    @property
    def arrays(self) -> tuple[str, ...]:
        """Names of the coded arrays: "image", and "mask" where there is one."""
        return ("image", "mask") if self.has_mask else ("image",)

    def grid(self, array: str) -> ShardGrid:
        node = self._array(array_key(array))
        return ShardGrid(node.shape, node.chunks, node.shards or node.chunks)

    def codec(self, array: str) -> TilepressTileV3:
        """Return the Zarr codec of a coded array."""
        key = array_key(array)
        sharding = self._array(key).serializer
        inner = sharding.codecs if isinstance(sharding, ShardingCodec) else (sharding,)
        if len(inner) != 1 or not isinstance(inner[0], TilepressTileV3):
            raise DamagedStore(f"reading {self.path.name}: {key} has other codecs than ours")
        return inner[0]

    @cached_property
    def manifest(self) -> Manifest:
        data = self._read_bytes(MANIFEST)
        if sha256_hex(data) != self.statement.get("manifest_sha256"):
            raise DamagedStore(f"reading {self.path.name}: the manifest is not the one sealed")
        return Manifest.parse(data)

    @cached_property
    def origin(self) -> Mapping[str, Any]:
        origin = json.loads(self.source_bytes("origin"))
        if not isinstance(origin, dict) or "kind" not in origin:
            raise DamagedStore(f"reading {self.path.name}: source/origin says no kind")
        return origin

    def source_names(self) -> tuple[str, ...]:
        group = self._root[SOURCE]
        assert isinstance(group, zarr.Group)
        return tuple(sorted(group.array_keys()))

    def source_bytes(self, name: str) -> bytes:
        """Return one item of ``source/``; KeyError where there is none of that name."""
        if source_key(name) not in self._root:
            raise KeyError(name)
        return self._read_bytes(source_key(name))

    def read(self, box: Box) -> npt.NDArray[Any]:
        """Return the samples of ``box``, C-contiguous, native byte order."""
        return self._read(self.image, box)

    def read_mask(self, box: Box) -> npt.NDArray[np.uint8]:
        """Return the validity mask of a (y, x) box; all 255 where the store has none."""
        if self._mask is None:
            return np.full(box.shape, 255, np.uint8)
        return self._read(self._mask, box)

    def _array(self, name: str) -> zarr.Array[Any]:
        node = self._root.get(name)
        if not isinstance(node, zarr.Array):
            raise DamagedStore(f"reading {self.path.name}: there is no array {name}")
        return node

    def _read_bytes(self, name: str) -> bytes:
        node = self._array(name)
        return self._read(node, Box((0,), node.shape)).tobytes()

    def _read(self, node: zarr.Array[Any], box: Box) -> npt.NDArray[Any]:
        if not all(
            0 <= a <= b <= n for a, b, n in zip(box.start, box.stop, node.shape, strict=True)
        ):
            raise ValueError(f"reading {node.path}: {box} is not within {node.shape}")
        try:
            return np.ascontiguousarray(node[box.slices])
        except (InvalidRecord, ValueError) as error:  # ValueError: Zarr's own crc32c
            raise DamagedStore(
                f"reading {self.path.name}/{node.path} {box.start}…{box.stop}: {error}"
            ) from error


def open_dataset(
    path: Where, *, chunks: dict[str, int] | Literal["auto"] | None = None
) -> xr.Dataset:
    """Open the full resolution of a sealed store with xarray, lazily.

    What ``xr.open_zarr(path, group="0")`` gives, and besides a refusal of unsealed or tampered
    metadata, and an error for a missing shard where Zarr would read fill value. ``chunks`` is
    xarray's: None reads lazily without Dask.
    """
    import xarray as xr

    reader = StoreReader.open(path)
    dataset: xr.Dataset = xr.open_zarr(
        SealedStore(reader.path), group=FULL_RESOLUTION, consolidated=True, chunks=chunks
    )
    dataset.attrs["tilepress"] = dict(reader.statement)
    return dataset


def consolidate(store: Store, path: str | None = None) -> None:
    """Gather the documents below a group into its own, so that one request opens it."""
    with warnings.catch_warnings():
        # Zarr warns that the v3 text does not have it yet; its readers and xarray's all do
        warnings.filterwarnings("ignore", message="Consolidated metadata is currently not part")
        zarr.consolidate_metadata(store, path=path)


def is_sealed(path: Where) -> bool:
    """Whether a store at ``path`` was finished."""
    return (place(path) / ROOT_DOCUMENT).size() is not None


def check_seal(path: Place) -> dict[str, Any]:
    """Return the root document if it is the one that was sealed, byte for byte."""
    try:
        data = (path / ROOT_DOCUMENT).read()
    except (FileNotFoundError, NotADirectoryError) as error:
        if (path / FULL_RESOLUTION).is_folder():
            raise UnsealedStore(
                f"opening {path.name}: it is not sealed; run the same compress line again"
            ) from error
        if any(".zarr/" in key for key, _ in path.walk()):
            raise StoreError(f"opening {path}: it is an archive; name one of its stores") from error
        raise StoreError(f"opening {path}: there is no store") from error
    match = _SEAL.search(data)
    if match is None:
        raise StoreError(f"opening {path}: it is no store of tilepress, or its seal is damaged")
    blank = data[: match.start(1)] + _NO_SEAL.encode() + data[match.end(1) :]
    if sha256_hex(blank).encode() != match[1]:
        raise DamagedStore(f"opening {path.name}: zarr.json is not the one that was sealed")
    document: dict[str, Any] = json.loads(data)
    return document


def store_bytes(path: Where) -> int:
    """Return the bytes of all objects of a store: what it takes in storage, headers included."""
    return sum(size for _, size in place(path).walk())


def remove_store(path: Where) -> None:
    """Remove a store: its root document first, so that what is left can never be opened."""
    store = place(path)
    for node in ("", FULL_RESOLUTION, IMAGE):
        (store / document_key(node)).remove()
    store.remove_tree()


_SEAL = re.compile(rb'"seal":"([0-9a-f]{64})"')


def _with_seal(document: bytes) -> bytes:
    """Put into the root document the digest of itself with the seal's digits all zero."""
    blank = f'"seal":"{_NO_SEAL}"'.encode()
    assert document.count(blank) == 1, "the root document has one seal"
    return document.replace(blank, f'"seal":"{sha256_hex(document)}"'.encode())


def _statement(
    writer: StoreWriter, tables: Mapping[str, ShardTable], tools: Mapping[str, str]
) -> dict[str, Any]:
    """Return ``attrs["tilepress"]``: what was done to the samples, and what reads them."""
    config = writer.codec_config("image")
    image = tables["image"]
    samples = max(1, math.prod(writer.info.shape))
    return {
        "format_version": STORE_VERSION,
        "pip": _INSTALL,
        "codec": config["codec"],
        "tier": config["tier"],
        "model": {key: config["model"][key] for key in ("name", "sha256")},
        "loss": writer.loss("image").statement()
        | {"bits_per_sample": round(8 * image.stored_bytes / samples, 4)},
        "raw_bytes": image.raw_bytes,
        "stored_bytes": sum(table.stored_bytes for table in tables.values()),
        "source_digest": {"sha256": image.samples_digest, "of": "sha256 of each shard's samples"},
        "tools": dict(tools),
    }


def _tools() -> dict[str, str]:
    tools = {"python": platform.python_version(), "numpy": np.__version__, "zarr": zarr.__version__}
    with suppress(PackageNotFoundError):
        tools["tilepress"] = version("tilepress")
    return tools


def _bytes_array(data: bytes, dim: str) -> AuxiliaryArray:
    return AuxiliaryArray((dim,), np.frombuffer(data, np.uint8))
