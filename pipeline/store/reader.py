"""Read a sealed store: what it cannot vouch for, it refuses."""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr
from zarr.codecs import ShardingCodec

from tilepress.codecs.coder import BASE
from tilepress.codecs.config import loss_of
from tilepress.codecs.loss import Loss, Lossy, stated_loss
from tilepress.codecs.numbers import number_of
from tilepress.codecs.record import is_irreversible, keeps_streams
from tilepress.codecs.zarr_codec import TilepressTileV3
from tilepress.errors import DamagedStore, InvalidRecord
from tilepress.pipeline.image.grid import Box, ShardGrid
from tilepress.pipeline.image.made_levels import MADE_LEVELS
from tilepress.pipeline.storage.path import AnyPath, StoragePath, storage_path
from tilepress.pipeline.store.bands import band_apart, band_config, exact_beside, exact_of
from tilepress.pipeline.store.boxes import array_of, read_box, separator_of
from tilepress.pipeline.store.held_shards import HeldShards
from tilepress.pipeline.store.items import KeptItems
from tilepress.pipeline.store.kept import IRREVERSIBLE, kept_streams
from tilepress.pipeline.store.keys import (
    MASK,
    ROOT_DOCUMENT,
    Separator,
    array_key,
    is_image,
    level_image,
    shard_key,
)
from tilepress.pipeline.store.lean import LISTED
from tilepress.pipeline.store.manifest import Manifest
from tilepress.pipeline.store.seal import RootDocument, read_root
from tilepress.pipeline.store.sealed import SealedStore
from tilepress.pipeline.store.shard import split_shard
from tilepress.pipeline.store.told_kinds import refuse_other_kinds

__all__ = ["SealedStore", "StoreReader", "documents_of"]

_DECODERS_DIFFER = 0.05
"""What another decoder of lossy streams may add to the largest error that was measured, or 1."""

_NONE_OF_ZARRS = (TypeError, ValueError, LookupError, AttributeError, ArithmeticError)
"""What Zarr raises for documents that are none of its own, beside what storage does."""


@contextlib.contextmanager
def documents_of(store: str) -> Iterator[None]:
    """Have documents that Zarr or xarray cannot read be damage of a store of this name."""
    try:
        yield
    except _NONE_OF_ZARRS as error:  # sealed so, by whom it may
        text = f"its documents are none that Zarr reads ({type(error).__name__})"
        raise DamagedStore(f"opening {store}: {text}") from error


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
        self._shards = HeldShards(self._shard_records)

    @classmethod
    def open(cls, path: AnyPath, *, decoder: str = BASE) -> StoreReader:
        """Open a sealed store, to be read by a decoder of its codec's (``TileCodec``).

        Raises UnsealedStore where the root document is missing, DamagedStore where it fails the
        seal, UnsupportedFormat where another tilepress is needed, or the decoder cannot be had,
        StoreError where there is no store at all.
        """
        path = storage_path(path)
        document = read_root(path)
        refuse_other_kinds(document)
        store = SealedStore(path, known={ROOT_DOCUMENT: document.data}, decoder=decoder)
        with documents_of(path.name):
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
        return separator_of(self.image)

    def codec(self, array: str) -> TilepressTileV3:
        """Return the Zarr codec of a coded array."""
        key = array_key(array)
        sharding = self._array(key).serializer
        inner = sharding.codecs if isinstance(sharding, ShardingCodec) else (sharding,)
        if len(inner) != 1 or not isinstance(inner[0], TilepressTileV3):
            raise DamagedStore(f"reading {self.path.name}: {key} has other codecs than ours")
        return inner[0]

    @cached_property
    def _kept(self) -> KeptItems:
        return KeptItems(self.path, self._document, self._root)

    @property
    def manifest(self) -> Manifest:
        return self._kept.manifest

    @property
    def ratio(self) -> float:
        """Decoded size of the full resolution over what it takes; levels and masks beside it do not
        count."""
        image = self.manifest.arrays[level_image(0)]
        return image.raw_bytes / max(1, image.stored_bytes)

    @property
    def manifest_key(self) -> str:
        """What a check calls the manifest: its array, or the root document that has it."""
        return ROOT_DOCUMENT if self._document.is_lean else self._document.manifest

    @property
    def origin(self) -> Mapping[str, Any]:
        return self._kept.origin

    def source_names(self) -> tuple[str, ...]:
        return self._kept.names()

    @property
    def items_apart(self) -> tuple[str, ...]:
        """The items of ``source/`` that are not in one object with "origin"."""
        return self._kept.apart()

    def source_bytes(self, name: str) -> bytes:
        """Return one item of ``source/``; KeyError where there is none of that name."""
        return self._kept.item(name)

    def source_start(self, name: str, length: int) -> bytes:
        """Return the first bytes of an item of ``source/``, and read no more than its chunks."""
        return self._kept.start(name, length)

    def read(self, box: Box) -> npt.NDArray[Any]:
        """Return the samples of ``box``, C-contiguous, native byte order."""
        return read_box(self.image, box, self.path.name)

    def read_mask(self, box: Box) -> npt.NDArray[np.uint8]:
        """Return the validity mask of a (y, x) box; all 255 where the store has none."""
        if self._mask is None:
            return np.full(box.shape, 255, np.uint8)
        return read_box(self._mask, box, self.path.name)

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
        shard, inside = self.grid(self._name).place_of(index)
        key = shard_key(self._name, shard, self.separator)
        try:
            return self._shards.of(shard)[inside]
        except (OSError, KeyError, DamagedStore) as error:
            raise DamagedStore(f"reading {self.path.name}: {key}: {error}") from error

    def _shard_records(self, shard: tuple[int, ...]) -> Mapping[tuple[int, ...], memoryview]:
        key = shard_key(self._name, shard, self.separator)
        return split_shard((self.path / key).read(), self.grid(self._name).chunks_per_shard)

    def _array(self, key: str) -> zarr.Array[Any]:
        return array_of(self._root, key, self.path.name)
