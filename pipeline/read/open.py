"""Open a sealed store with xarray, lazily."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from tilepress.pipeline.storage.path import AnyPath
from tilepress.pipeline.store.keys import FULL_RESOLUTION
from tilepress.pipeline.store.reader import SealedStore, StoreReader

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["open_dataset"]


def open_dataset(
    path: AnyPath, *, chunks: dict[str, int] | Literal["auto"] | None = None
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
