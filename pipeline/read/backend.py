"""What xarray calls for ``engine="tilepress"``, and finds by itself for a store's root."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar, cast

import xarray as xr
import zarr
from xarray.backends import BackendEntrypoint
from xarray.core import indexing
from zarr.storage import ObjectStore

from tilepress.codecs.coder import BASE
from tilepress.errors import UsageError
from tilepress.pipeline.read.arrays import StoredArray
from tilepress.pipeline.read.decoders import open_by
from tilepress.pipeline.read.device import moved_to, on_device
from tilepress.pipeline.read.fetched import FetchedObjects
from tilepress.pipeline.read.scaled import scaled_dataset
from tilepress.pipeline.storage.http import HttpPath, is_http
from tilepress.pipeline.storage.path import AnyPath, StoragePath
from tilepress.pipeline.store.keys import ROOT_DOCUMENT, array_key, level_image, shard_key
from tilepress.pipeline.store.reader import SealedStore, StoreReader, documents_of

__all__ = ["TilepressBackend"]

_OURS = (b'"tilepress"', b'"seal"')
"""What the root document of each store has, and no other: its statement, and the seal in it."""

MAX_GUESSED = 2**26
"""Bytes of a document that is looked into for that."""


class TilepressBackend(BackendEntrypoint):
    """Opens a level of a sealed store: ``xr.open_dataset("scene.zarr", engine="tilepress")``."""

    description: ClassVar[str] = "Open stores of tilepress by their root"
    url: ClassVar[str] = "https://pypi.org/project/tilepress"
    open_dataset_parameters: ClassVar[tuple[str, ...]] = (
        "filename_or_obj", "drop_variables", "level", "scale", "device", "decoder",
        "force_generative",
    )  # fmt: skip

    def open_dataset(  # type: ignore[override]  # xarray's is as wide as all backends
        self,
        filename_or_obj: AnyPath,
        *,
        drop_variables: str | Iterable[str] | None = None,
        level: int = 0,
        scale: int = 1,
        device: str = "cpu",
        decoder: str = BASE,
        force_generative: bool = False,
    ) -> xr.Dataset:
        """Open a level of the store, 0 being the full resolution, or 1 / ``scale`` of it.

        ``decoder`` is one of its codec's; only the base decodes at a scale. ``device`` is where
        samples of the image and its mask are wanted.
        """
        where: Any = filename_or_obj
        if isinstance(where, os.PathLike):
            where = Path(where)
        path: Any = HttpPath.parse(where) if is_http(where) else where
        reader = open_by(cast("StoragePath", path), decoder, force_generative=force_generative)
        if not isinstance(level, int) or not 0 <= level < reader.level_count:
            raise UsageError(
                f"opening {where}: it has levels 0 … {reader.level_count - 1}, got {level}"
            )
        if scale != 1 and reader.decoder != BASE:
            raise UsageError(
                f"opening {where}: got scale {scale} with decoder {decoder!r}; only the decoder "
                f"{BASE!r} decodes at a scale"
            )
        moved = moved_to(device, reader.path.name)
        dataset = _dataset(reader, level, drop_variables)
        if scale != 1:
            dataset = scaled_dataset(dataset, reader.at_level(level), scale)
        return dataset if moved is None else on_device(dataset, ("image", "mask"), moved)

    def guess_can_open(self, filename_or_obj: Any) -> bool:  # noqa: ANN401  # whatever there is
        """Whether a path on this machine is the root of a store of ours."""
        if not isinstance(filename_or_obj, str | os.PathLike) or "://" in str(filename_or_obj):
            return False
        document = Path(filename_or_obj) / ROOT_DOCUMENT
        try:
            if document.stat().st_size > MAX_GUESSED:
                return False
            data = document.read_bytes()
        except OSError:
            return False
        return all(word in data for word in _OURS)


def _dataset(reader: StoreReader, level: int, drop: str | Iterable[str] | None) -> xr.Dataset:
    objects = reader.path.zarr_store()
    fetched = FetchedObjects(objects) if isinstance(objects, ObjectStore) else None
    known = {ROOT_DOCUMENT: reader.root_document}
    store = SealedStore(fetched or objects, known=known, decoder=reader.decoder)
    with documents_of(reader.path.name):
        dataset: xr.Dataset = xr.open_zarr(
            store,
            group=str(level),
            consolidated=True,
            zarr_format=3,
            chunks=None,
            drop_variables=drop,
        )
    dataset.attrs["tilepress"] = dict(reader.statement)
    if reader.decoder_note is not None:
        dataset.attrs["tilepress_decoder"] = reader.decoder_note
    root = zarr.open_consolidated(store, mode="r", zarr_format=3)
    for name in (level_image(level), *(["mask"] if level == 0 and reader.has_mask else [])):
        variable = name.rpartition("/")[2]
        if variable in dataset.variables:  # else it was dropped
            key_of = functools.partial(shard_key, name, separator=reader.separator)
            array: Any = root[array_key(name)]
            stored = StoredArray(array, reader.grid(name), key_of, fetched, reader.path.name)
            dataset[variable] = _read_by(stored, dataset.variables[variable])
    return dataset


def _read_by(array: StoredArray, variable: xr.Variable) -> xr.Variable:
    """Return a variable of other samples, which are read as they are indexed."""
    lazy = indexing.LazilyIndexedArray(array)
    return xr.Variable(variable.dims, lazy, variable.attrs, variable.encoding, fastpath=True)
