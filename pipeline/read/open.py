"""Open a sealed store with xarray, lazily."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from tilepress.errors import UsageError
from tilepress.pipeline.storage.path import AnyPath
from tilepress.pipeline.store.reader import SealedStore, StoreReader

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["open_dataset"]


def open_dataset(
    path: AnyPath,
    *,
    level: int = 0,
    hu: bool = False,
    masked: bool = False,
    chunks: dict[str, int] | Literal["auto"] | None = None,
) -> xr.Dataset:
    """Open a level of a sealed store with xarray, lazily: the full resolution, or one of a slide.

    What ``xr.open_zarr(path, group="0")`` gives, and besides a refusal of unsealed or tampered
    metadata, and an error for a missing shard where Zarr would read fill value. ``chunks`` is
    xarray's: None reads lazily without Dask. With ``hu`` the image has physical values (Hounsfield
    units of a CT), with ``masked`` NaN where a sample is absent: floats, as lazy as the rest.
    """
    import xarray as xr

    from tilepress.pipeline.read.physical import physical

    reader = StoreReader.open(path)
    if not 0 <= level < reader.level_count:
        raise UsageError(f"opening {path}: it has levels 0 … {reader.level_count - 1}, got {level}")
    dataset: xr.Dataset = xr.open_zarr(
        SealedStore(reader.path), group=str(level), consolidated=True, chunks=chunks
    )
    dataset.attrs["tilepress"] = dict(reader.statement)
    return physical(dataset, hu=hu, masked=masked, name=reader.path.name)
