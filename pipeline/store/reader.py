"""Read a sealed store: what it cannot vouch for, it refuses."""

from __future__ import annotations

import itertools
import math
import re
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import zarr
import zarr.abc.store
from zarr.codecs import ShardingCodec
from zarr.core.buffer import default_buffer_prototype
from zarr.storage import WrapperStore

from tilepress.codecs.config import loss_of
from tilepress.codecs.loss import Loss, Lossy, stated_loss
from tilepress.codecs.numbers import number_of
from tilepress.codecs.record import is_irreversible, keeps_streams
from tilepress.codecs.registry import BASE
from tilepress.codecs.zarr_codec import TilepressTileV3, read_by
from tilepress.errors import DamagedStore, InvalidRecord
from tilepress.pipeline.image.grid import Box, ShardGrid
from tilepress.pipeline.image.made_levels import MADE_LEVELS
from tilepress.pipeline.storage.path import AnyPath, StoragePath, storage_path
from tilepress.pipeline.store.bands import band_apart, band_config, exact_beside, exact_of
from tilepress.pipeline.store.kept import IRREVERSIBLE, kept_streams
from tilepress.pipeline.store.keys import (
    MANIFEST,
    MASK,
    ORIGIN,
    ROOT_DOCUMENT,
    SEPARATOR,
    SOURCE,
    Separator,
    array_key,
    is_chunk,
    is_image,
    level_image,
    shard_key,
    source_key,
)
from tilepress.pipeline.store.lean import (
    LISTED,
    copied_documents,
    lean_source_key,
    listed_in,
    unpacked_source,
)
from tilepress.pipeline.store.manifest import Manifest, sha256_hex
from tilepress.pipeline.store.packed import item_of, names_of, origin_of
from tilepress.pipeline.store.seal import APART_VERSION, RootDocument, read_root
from tilepress.pipeline.store.shard import split_shard

if TYPE_CHECKING:
    from zarr.abc.store import ByteRequest, Store
    from zarr.core.buffer import Buffer, BufferPrototype

__all__ = ["SealedStore", "StoreReader"]


_Index = tuple[int, ...]

MAX_SHARD_BYTES_HELD = 256 * 2**20
"""Bytes of shards that are held while streams are asked for: a row of chunks crosses several."""


class SealedStore(WrapperStore["Store"]):
    """A Zarr store in which every chunk exists: absence is damage, never fill value."""

    def __init__(
        self,
        store: Store | AnyPath,
        *,
        read_only: bool = True,
        known: Mapping[str, bytes] | None = None,
        decoder: str = BASE,
    ) -> None:
        """Take a Zarr store, or where one lies; ``known`` are objects that were read already.

        ``decoder`` is what arrays are decoded by that have several.
        """
        if isinstance(store, zarr.abc.store.Store):
            super().__init__(store)
        else:
            super().__init__(storage_path(store).zarr_store(read_only=read_only))
        self._known = dict(known or {})
        self._decoder = decoder

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_known": {}}  # every task of a graph would carry them

    async def get(
        self,
        key: str,
        prototype: BufferPrototype | None = None,
        byte_range: ByteRequest | None = None,
    ) -> Buffer | None:
        prototype = prototype or default_buffer_prototype()
        if byte_range is None and key in self._known:
            return prototype.buffer.from_bytes(self._chosen(self._known[key]))
        value = await self._store.get(key, prototype, byte_range)
        return self._answer(key, prototype, value, whole=byte_range is None)

    def _answer(
        self, key: str, prototype: BufferPrototype, value: Buffer | None, *, whole: bool
    ) -> Buffer | None:
        if value and self._decoder != BASE and whole and key.endswith(_DOCUMENT):
            return prototype.buffer.from_bytes(self._chosen(value.to_bytes()))
        return self._present(key, value)

    def _chosen(self, document: bytes) -> bytes:
        return document if self._decoder == BASE else read_by(document, self._decoder)

    async def get_partial_values(
        self,
        prototype: BufferPrototype,
        key_ranges: Iterable[tuple[str, ByteRequest | None]],
    ) -> list[Buffer | None]:
        ranges = list(key_ranges)
        values = await self._store.get_partial_values(prototype, ranges)
        return [self._present(key, value) for (key, _), value in zip(ranges, values, strict=True)]

    async def get_ranges(
        self,
        key: str,
        byte_ranges: Sequence[ByteRequest | None],
        *,
        prototype: BufferPrototype,
        **options: int,
    ) -> AsyncIterator[Sequence[tuple[int, Buffer | None]]]:
        """Yield ranges of one object with their places, as Zarr from 3.3 on asks for chunks."""
        store: Any = self._store
        try:
            async for group in store.get_ranges(key, byte_ranges, prototype=prototype, **options):
                yield [(place, self._present(key, value)) for place, value in group]
        except BaseExceptionGroup as errors:
            if errors.subgroup(FileNotFoundError):  # which Zarr takes for absence
                self._present(key, None)
            raise

    def get_sync(
        self,
        key: str,
        *,
        prototype: BufferPrototype | None = None,
        byte_range: ByteRequest | None = None,
    ) -> Buffer | None:
        """Return what ``get`` does, for pipelines of Zarr from 3.3 on that read without a loop."""
        prototype = prototype or default_buffer_prototype()
        if byte_range is None and key in self._known:
            return prototype.buffer.from_bytes(self._chosen(self._known[key]))
        store: Any = self._store
        value = store.get_sync(key, prototype=prototype, byte_range=byte_range)
        return self._answer(key, prototype, value, whole=byte_range is None)

    def _present(self, key: str, value: Buffer | None) -> Buffer | None:
        if (
            not value and is_chunk(key) and not _WITHOUT_CHUNK.search(key)
        ):  # Zarr takes an empty object for a missing one
            found = "missing" if value is None else "cut"
            raise DamagedStore(f"reading {_store_name(self._store)}: {key} is {found}")
        return value


_DOCUMENT = "zarr.json"
_WITHOUT_CHUNK = re.compile(r"(^|/)spatial_ref/c$")
"""The scalar that is its fill value: a lean store has no object for it."""


def _store_name(store: Store) -> str:
    """Return e.g. "scene.zarr" for a store of that folder or prefix."""
    return re.split(r"[/\"]", str(store).rstrip('/)">'))[-1]


_DECODERS_DIFFER = 0.05
"""What another decoder of lossy streams may add to the largest error that was measured, or 1."""


class StoreReader:
    """A sealed store, for exporters and ``verify``: what it cannot vouch for, it refuses."""

    def __init__(
        self,
        path: StoragePath,
        document: RootDocument,
        root: zarr.Group,
        level: int = 0,
        *,
        with_made: bool = True,
        decoder: str = BASE,
    ) -> None:
        self.path = path
        self.decoder = decoder
        """By what samples are decoded that can be by several."""
        self._with_made = with_made
        """Whether levels count that were made, not kept."""
        self._document = document
        self._name = level_image(level)
        """Name of the array that is read as the image."""
        self.statement = document.statement
        """``attrs["tilepress"]`` of the root: codec, model, loss, sizes, digests, versions."""
        self._root = root
        self._shards: OrderedDict[tuple[int, ...], dict[tuple[int, ...], memoryview]] = (
            OrderedDict()
        )
        """Records of the shards that streams were asked of last, by the number of the shard."""

    @classmethod
    def open(cls, path: AnyPath, *, decoder: str = BASE) -> StoreReader:
        """Open a sealed store, to be read by a decoder of its codec's (``TileCodec``).

        Raises UnsealedStore where the root document is missing, DamagedStore where it fails the
        seal, UnsupportedFormat where another tilepress is needed, or the decoder cannot be had,
        StoreError where there is no store at all.
        """
        path = storage_path(path)
        document = read_root(path)
        _ = document.statement  # first: it refuses what a newer tilepress wrote
        store = SealedStore(path, known={ROOT_DOCUMENT: document.data}, decoder=decoder)
        root = zarr.open_consolidated(store, mode="r", zarr_format=3)
        return cls(path, document, root, decoder=decoder)

    @property
    def decoder_note(self) -> str | None:
        """What to say of samples that another decoder made than the one that the store's promises
        are of; None where it is that one."""
        return self.codec(self._name).codec.decoder_note

    @property
    def makes_up(self) -> bool:
        """Whether the decoder shows detail that nothing in the store tells of."""
        return self.codec(self._name).codec.makes_up

    @cached_property
    def level_count(self) -> int:
        """How many levels there are, the full resolution among them."""
        if not self._with_made and MADE_LEVELS in self.image.attrs:
            return 1
        return next(n for n in itertools.count(1) if array_key(level_image(n)) not in self._root)

    def at_level(self, number: int) -> StoreReader:
        """Return what reads a level, 0 being the full resolution, as if it were the image."""
        return StoreReader(self.path, self._document, self._root, number, decoder=self.decoder)

    def as_it_came(self) -> StoreReader:
        """Return what reads the store without the levels that were made of it."""
        return StoreReader(
            self.path, self._document, self._root, with_made=False, decoder=self.decoder
        )

    @cached_property
    def image(self) -> zarr.Array[Any]:
        return self._array(array_key(self._name))

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
    def root_document(self) -> bytes:
        """The root document, as it was sealed."""
        return self._document.data

    @property
    def root_attributes(self) -> dict[str, Any]:
        """Without the manifest that they may have."""
        return {k: v for k, v in self._root.attrs.asdict().items() if k != LISTED}

    @property
    def level(self) -> zarr.Group:
        """The group of the level that is read."""
        level = self._root[array_key(self._name).rpartition("/")[0]]
        assert isinstance(level, zarr.Group)
        return level

    @property
    def loss(self) -> Loss:
        """What coding may have changed of the image's samples."""
        return stated_loss(self.statement["loss"])

    @cached_property
    def worst(self) -> float:
        """What no present sample is off by more than, as far as the store tells.

        Another decoder of lossy streams may be off by a little more than the one that measured.
        """
        told = self.statement.get("max_error_measured")
        if not isinstance(told, int | float):
            return math.inf
        return told + (max(1.0, _DECODERS_DIFFER * told) if IRREVERSIBLE in self.statement else 0)

    @cached_property
    def exact(self) -> Mapping[int, str]:
        """Bands, from 0, that are lossless though a bound was allowed, and why."""
        return exact_of(self.statement["loss"])

    def loss_of(self, array: str, index: tuple[int, ...]) -> tuple[Loss, float | int | None]:
        """Return what coding may have changed of a shard's samples, and its nodata."""
        codec = self.codec(array).codec
        band = band_apart(self.axes, self.grid(array)) if is_image(array) else None
        if band is None:
            return self._known(codec.loss), codec.nodata
        given: Any = self.image.attrs.asdict().get("band_nodata")
        nodata = given and [None if value is None else number_of(value) for value in given]
        config = band_config(codec.to_config(), index[band], self.exact, nodata)
        loss = self._known(loss_of(config))
        return loss, config["nodata"] and number_of(config["nodata"])

    def exact_beside(self, array: str) -> frozenset[int]:
        """Return the bands, from 0, that are exact within the chunks of an array."""
        if not is_image(array):
            return frozenset()
        config = self.codec(array).codec.to_config()
        return exact_beside(config, self.axes, self.grid(array), self.exact)

    def _known(self, loss: Loss) -> Loss:
        """Return a loss with what was measured of it: samples that are off by more are others."""
        return replace(loss, worst=self.worst) if isinstance(loss, Lossy) else loss

    @property
    def has_mask(self) -> bool:
        return self._mask is not None

    @property
    def arrays(self) -> tuple[str, ...]:
        """Names of the coded arrays: "image", those of levels, "mask" where there is one."""
        images = tuple(map(level_image, range(self.level_count)))
        return (*images, "mask") if self.has_mask else images

    def grid(self, array: str) -> ShardGrid:
        node = self._array(array_key(array))
        return ShardGrid(node.shape, node.chunks, node.shards or node.chunks)

    @cached_property
    def separator(self) -> Separator:
        """What stands between the numbers in the keys of chunks."""
        encoding: object = getattr(self.image.metadata, "chunk_key_encoding", None)
        return "." if getattr(encoding, "separator", SEPARATOR) == "." else SEPARATOR

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
        if self._document.is_lean:
            return self._lean_manifest()
        data = self._read_bytes(self._document.manifest)
        if sha256_hex(data) != self.statement.get("manifest_sha256"):
            raise DamagedStore(f"reading {self.path.name}: the manifest is not the one sealed")
        return Manifest.parse(data)

    @property
    def manifest_key(self) -> str:
        """What a check calls the manifest: its array, or the root document that has it."""
        return ROOT_DOCUMENT if self._document.is_lean else self._document.manifest

    @cached_property
    def origin(self) -> Mapping[str, Any]:
        origin = origin_of(self._origin_bytes)
        if not isinstance(origin, dict) or "kind" not in origin:
            raise DamagedStore(f"reading {self.path.name}: source/origin says no kind")
        return origin

    def source_names(self) -> tuple[str, ...]:
        if self._document.is_lean:
            return tuple(sorted(("origin", *names_of(self._origin_bytes))))
        group = self._root[SOURCE]
        assert isinstance(group, zarr.Group)
        packed = () if self._is_first_format else names_of(self._origin_bytes)
        names = (name for name in group.array_keys() if source_key(name) != MANIFEST)
        return tuple(sorted((*names, *packed)))

    @property
    def items_apart(self) -> tuple[str, ...]:
        """The items of ``source/`` that are not in one object with "origin"."""
        if self._document.is_lean:
            return ()
        packed = () if self._is_first_format else names_of(self._origin_bytes)
        return tuple(name for name in self.source_names() if name not in {"origin", *packed})

    def source_bytes(self, name: str) -> bytes:
        """Return one item of ``source/``; KeyError where there is none of that name."""
        if source_key(name) in self._root:
            return self._read_bytes(source_key(name))
        if name == "origin":
            return self._origin_bytes
        if self._is_first_format:
            raise KeyError(name)
        try:
            return item_of(self._origin_bytes, name)
        except ValueError as error:
            text = f"reading {self.path.name}: source/origin contradicts itself ({error})"
            raise DamagedStore(text) from error

    def source_start(self, name: str, length: int) -> bytes:
        """Return the first bytes of an item of ``source/``, and read no more than its chunks."""
        if source_key(name) not in self._root:
            return self.source_bytes(name)[:length]
        node = self._array(source_key(name))
        return self._read(node, Box((0,), (min(length, node.shape[0]),))).tobytes()

    @property
    def _is_first_format(self) -> bool:
        return bool(self.statement["format_version"] == APART_VERSION)

    def _lean_manifest(self) -> Manifest:
        document = self._document
        try:
            listed = Manifest.parse(listed_in(document.data))
            return replace(listed, documents=copied_documents(document.content))
        except DamagedStore as error:
            raise DamagedStore(f"reading {self.path.name}: {error}") from error
        except (KeyError, TypeError, AttributeError) as error:
            raise document.lacks(error) from error

    def _lean_source(self) -> bytes:
        key = lean_source_key(self.separator)
        try:
            return unpacked_source((self.path / key).read())
        except (OSError, DamagedStore) as error:
            raise DamagedStore(f"reading {self.path.name}: {key}: {error}") from error

    @cached_property
    def _origin_bytes(self) -> bytes:
        if self._document.is_lean:
            return self._lean_source()
        if ORIGIN not in self._root:
            raise KeyError("origin")
        return self._read_bytes(ORIGIN)

    def read(self, box: Box) -> npt.NDArray[Any]:
        """Return the samples of ``box``, C-contiguous, native byte order."""
        return self._read(self.image, box)

    def read_mask(self, box: Box) -> npt.NDArray[np.uint8]:
        """Return the validity mask of a (y, x) box; all 255 where the store has none."""
        if self._mask is None:
            return np.full(box.shape, 255, np.uint8)
        return self._read(self._mask, box)

    def keeps_streams(self, index: tuple[int, ...]) -> bool:
        """Whether the record of a chunk of the image keeps the streams that it came in."""
        return keeps_streams(self.record(index))

    def is_irreversible(self, index: tuple[int, ...]) -> bool:
        """Whether a chunk of the image keeps streams that another decoder may make other samples
        of."""
        record = self.record(index)
        return keeps_streams(record) and is_irreversible(record)

    def streams(self, index: tuple[int, ...]) -> list[bytes | None]:
        """Return the streams that the record of a chunk of the image keeps, as they came."""
        try:
            return kept_streams(self.record(index))
        except InvalidRecord as error:
            raise self.damaged(index, error) from error

    @property
    def image_name(self) -> str:
        """What the array of the level that is read is called."""
        return self._name

    def damaged(self, index: tuple[int, ...], error: Exception) -> DamagedStore:
        """Return the error of a chunk of the image that does not decode."""
        return DamagedStore(f"reading {self.path.name}: chunk {index}: {error}")

    def record(self, index: tuple[int, ...]) -> memoryview:
        """Return the record of a chunk of the image; raises DamagedStore."""
        grid = self.grid(self._name)
        shard, inside = grid.place_of(index)
        key = shard_key(self._name, shard, self.separator)
        try:
            if shard not in self._shards:
                self._shards[shard] = split_shard((self.path / key).read(), grid.chunks_per_shard)
                while len(self._shards) > 1 and _bytes_of(self._shards) > MAX_SHARD_BYTES_HELD:
                    self._shards.popitem(last=False)
            return self._shards[shard][inside]
        except (OSError, KeyError, DamagedStore) as error:
            raise DamagedStore(f"reading {self.path.name}: {key}: {error}") from error

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


def _bytes_of(shards: Mapping[Any, Mapping[Any, memoryview]]) -> int:
    return sum(record.nbytes for records in shards.values() for record in records.values())
