"""Open a sealed store with xarray, lazily."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from tilepress.codecs.coder import BASE
from tilepress.errors import UsageError
from tilepress.pipeline.storage.path import AnyPath

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["open_dataset"]


def open_dataset(
    path: AnyPath,
    *,
    level: int = 0,
    scale: int = 1,
    hu: bool = False,
    masked: bool = False,
    chunks: dict[str, int] | Literal["auto"] | None = None,
    device: Literal["cpu", "cuda"] = "cpu",
    decoder: str | None = None,
    force_generative: bool = False,
) -> xr.Dataset:
    """Open a level of a sealed store with xarray, lazily: the full resolution is 0.

    ``path`` is a path, ``s3://bucket/key`` or ``https://host/path``. This gives what
    ``xr.open_zarr(path, group="0")`` gives, and besides a refusal of unsealed or tampered metadata,
    an error for a missing shard where Zarr would read fill value, and few requests: those for the
    chunks of a window are merged. ``chunks`` is xarray's: None reads lazily without Dask. A
    ``scale`` of 2, 4 or 8 reads an image whose codec can (``ntc``) at a fraction of its rows and
    columns, and in a fraction of the time: about the means of blocks, not exactly (a stored level
    has these); blocks that its end cuts, and a mask, are left out. With ``hu`` the image has
    physical values (Hounsfield units of a CT), with ``masked`` NaN where a sample is absent:
    floats, as lazy as the rest.

    With ``device="cuda"`` the image and its mask are read into the memory of the GPU that CuPy
    uses: ``dataset.image[...].data`` is a ``cupy.ndarray``, which ``torch.from_dlpack`` takes. It
    is decoded on the host and moved window by window; ``hu`` and ``masked`` are worked out there.
    Coordinates stay on the host. Without Dask only; raises UsageError where there is no CuPy or no
    device.

    ``decoder`` is how samples of the codec ``ntc`` are made: "base", which None means and which the
    store's checksums and its statement of loss are of, "net", a network that comes closer to the
    original, "view", which fills in noise, "gan", a network that makes up texture, or the weights
    file of a network. What is exact stays so: absent samples, masks, the range. Networks need
    torch, and differ in last bits between machines. "view" and "gan" show texture that was not
    there: of medical images they are refused without ``force_generative``. The attribute
    "tilepress_decoder" tells.

    Raises UsageError for what a store does not have (a level, rescaling, a decoder), StoreError
    where there is no store, UnsealedStore and DamagedStore, both StoreErrors, for one that is not
    whole, UnsupportedFormat where another tilepress is needed; reading may raise them, too.
    """
    import xarray as xr

    from tilepress.pipeline.read.backend import TilepressBackend
    from tilepress.pipeline.read.device import moved_to
    from tilepress.pipeline.read.physical import physical

    name = str(path).rstrip("/").rpartition("/")[2]
    moved = moved_to(device, name)
    if moved is not None and chunks is not None:
        raise UsageError(
            f"opening {name}: device {device!r} is read without Dask; leave chunks out"
        )
    where: Any = path  # a StoragePath, too
    dataset = xr.open_dataset(
        where,
        engine=TilepressBackend,
        chunks=chunks,
        level=level,
        scale=scale,
        device=device,
        decoder=BASE if decoder is None else decoder,
        force_generative=force_generative,
    )
    return physical(dataset, hu=hu, masked=masked, name=name, moved=moved)
