"""Open a sealed store with xarray, lazily."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from tilepress.pipeline.storage.path import AnyPath

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["open_dataset"]


def open_dataset(
    path: AnyPath, *, level: int = 0, chunks: dict[str, int] | Literal["auto"] | None = None
) -> xr.Dataset:
    """Open a level of a sealed store with xarray, lazily: the full resolution, or one of a slide.

    ``path`` is a path, ``s3://bucket/key`` or ``https://host/path``. This gives what
    ``xr.open_zarr(path, group="0")`` gives, and besides a refusal of unsealed or tampered metadata,
    an error for a missing shard where Zarr would read fill value, and few requests: those for the
    chunks of a window are merged. ``chunks`` is xarray's: None reads lazily without Dask.
    """
    import xarray as xr

    from tilepress.pipeline.read.backend import TilepressBackend

    return xr.open_dataset(path, engine=TilepressBackend, chunks=chunks, level=level)  # type: ignore[arg-type]  # a StoragePath, too
