"""Write the Zarr store of one image.

    NAME.zarr/zarr.json         root group: statement of loss, OME-Zarr, seal; written last of all
    NAME.zarr/0/image/c/…       the samples: one object per shard, one record per chunk
    NAME.zarr/0/mask/c/…        validity, where the source has a mask of its own
    NAME.zarr/0/{x,y,…,spatial_ref}  coordinates and CRS
    NAME.zarr/1/…               the same at the next level, where the source has levels
    NAME.zarr/source/…          what a faithful export needs
    NAME.zarr/source/manifest   every object with its digest

No ``zarr.json`` exists before every other object does, so that no reader can open an unfinished
store. A store that replaces a sealed one is written beside it in the same folder, under keys that
differ in the separator of chunks. When all of its chunks are there its documents take the place of
the old ones, the root's last: each of them, old or new, opens a whole store. Every array but
``image`` and ``mask``, whose records carry their own checksums, ends its codec chain with crc32c.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from tilepress.codecs.config import loss_of, lossless_config
from tilepress.codecs.loss import Loss
from tilepress.errors import (
    DamagedStore,
    DestinationConflict,
)
from tilepress.pipeline.image.grid import ShardGrid, choose_grid
from tilepress.pipeline.image.info import ImageInfo
from tilepress.pipeline.storage.path import AnyPath, StoragePath, storage_path
from tilepress.pipeline.store.bands import band_apart, band_config, exact_beside
from tilepress.pipeline.store.documents import compose
from tilepress.pipeline.store.keys import (
    ROOT_DOCUMENT,
    SEPARATOR,
    Separator,
    is_image,
    is_shared,
    shard_key,
)
from tilepress.pipeline.store.manifest import ShardEntry, ShardTable, sha256_hex
from tilepress.pipeline.store.seal import NEWEST_VERSION, is_sealed, seal_of

__all__ = ["StoreWriter"]


class StoreWriter:
    """Writes one store: shards in any order and by any process, then the seal."""

    def __init__(
        self,
        where: StoragePath,
        info: ImageInfo,
        grids: Mapping[str, ShardGrid],
        codec_config: Mapping[str, Any],
        separator: Separator = SEPARATOR,
        replaced: str | None = None,
        *,
        wordy: bool = False,
        newest: int = NEWEST_VERSION,
    ) -> None:
        self.place = where
        self.wordy = wordy
        """Whether documents are as earlier versions wrote them, for a store of theirs."""
        self.newest = newest
        """The newest format that the store may have: less for one of an earlier version."""
        self._replaced = replaced
        self.separator = separator
        """What stands between the numbers in the keys of chunks: of a store that replaces another
        one it is the one that the other has not."""
        self.info = info
        self.grids = grids
        """Grid by array name: "image", "1/image" … of levels, "mask" where the source has one."""
        self._codec_config = codec_config

    @classmethod
    def create(
        cls,
        path: AnyPath,
        info: ImageInfo,
        grid: ShardGrid,
        codec_config: Mapping[str, Any],
        *,
        mask_grid: ShardGrid | None = None,
    ) -> StoreWriter:
        """Prepare to write; calling it again, in another process too, changes nothing.

        Raises DestinationConflict where ``path`` holds a sealed store or something else.
        """
        where = storage_path(path)
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
        if is_image(array):
            return dict(self._codec_config)
        return lossless_config(self._codec_config)

    def shard_config(self, array: str, index: tuple[int, ...]) -> dict[str, Any]:
        """Return the codec configuration of a shard: its own where bands are coded apart."""
        config, info = self.codec_config(array), self.info
        band = band_apart(info.axes, self.grids[array]) if is_image(array) else None
        if band is None:
            return config
        return band_config(config, index[band], info.exact, info.band_nodata)

    def exact_beside(self, array: str) -> frozenset[int]:
        """Return the bands, from 0, that are exact within the chunks of an array."""
        if not is_image(array):
            return frozenset()
        info = self.info
        return exact_beside(self.codec_config(array), info.axes, self.grids[array], info.exact)

    def loss(self, array: str) -> Loss:
        """Return what coding may change of an array's samples."""
        return loss_of(self.codec_config(array))

    def fill(self, array: str) -> float | int:
        """Return the fill value of an array: what edge chunks are filled up with."""
        if not is_image(array):
            return 0
        fill: float | int = self.info.dtype.type(self.info.nodata or 0).item()
        return fill

    def shard_path(self, array: str, index: tuple[int, ...]) -> StoragePath:
        return self.place / shard_key(array, index, self.separator)

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
        self._write(shard_key(array, index, self.separator), data, check)

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
        """Make a store of what was written, unless another writer did so.

        The root document of the store that is replaced is there, or none where none is replaced.
        """
        root = self.place / ROOT_DOCUMENT
        if root.conditional and self._replaced is None:
            if not root.create(data):
                raise self._sealed_by_another()
            return
        with self.place.guard():
            found = root.read_tagged()
            if found is not None and found[0] == data:
                if not root.conditional:
                    root.write(data)  # again: an earlier try may have failed to sync it
                return
            if (None if found is None else sha256_hex(found[0])) != self._replaced:
                raise self._sealed_by_another()
            if not root.conditional:
                root.write(data)
            elif found is None or not root.swap(data, found[1]):
                raise self._sealed_by_another()

    def _sealed_by_another(self) -> DestinationConflict:
        return DestinationConflict(f"sealing {self.place}: another process has sealed it")

    def seal(
        self,
        source_items: Iterable[tuple[str, bytes]],
        shard_entries: Iterable[ShardEntry],
        attrs: Mapping[str, Any] | None = None,
        check: Callable[[], None] = lambda: None,
        omero: Mapping[str, Any] | None = None,
    ) -> str:
        """Write everything but the shards, the metadata documents last and the root's very last.

        Returns the seal.

        ``attrs`` is added to ``attrs["tilepress"]`` of the root; ``omero`` says how the image is
        shown. Only one process may be at work
        in the store by now: ``check`` raises where that is another one. May be called again. Raises
        DamagedStore where a shard is not there as its entry says, DestinationConflict where another
        process sealed.
        """
        try:
            tables = self._collect(shard_entries)
        except DamagedStore:
            check()  # another writer may have taken the store over: then that is why
            raise
        check()
        self.place.sweep()

        last: dict[str, bytes] = {}
        seal = ""

        def write(key: str, data: bytes) -> None:
            nonlocal seal
            if key == ROOT_DOCUMENT or not self.place.conditional:
                check()
            if key == ROOT_DOCUMENT:
                self._write_root(data)
                seal = seal_of(data)
            else:
                self._write(key, data, check)

        def write_chunks(key: str, data: bytes) -> None:
            if is_shared(key):
                last[key] = data  # the store that is replaced has one of that key
            else:
                write(key, data)

        compose(self, source_items, tables, write_chunks, attrs, omero=omero)
        for key, data in last.items():
            write(key, data)
        return seal

    def _collect(self, entries: Iterable[ShardEntry]) -> dict[str, ShardTable]:
        """Gather the entries; check that each shard of the grid has one and is on disk."""
        tables = {name: ShardTable(grid.counts) for name, grid in self.grids.items()}
        sizes = dict(self.place.walk())
        for entry in entries:
            size = sizes.get(shard_key(entry.array, entry.index, self.separator))
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
