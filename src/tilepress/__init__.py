"""Learned tile codecs for archives of large images, stored as Zarr.

    import tilepress

    tilepress.compress("scene.tif", "scene.zarr")      # lossless unless max_error says otherwise
    dataset = tilepress.open("scene.zarr")             # an xarray.Dataset, read lazily
    tilepress.verify("scene.zarr", source="scene.tif") # [] where everything is sound
    tilepress.repair("archive", source="scenes")       # writes again what is not
    tilepress.levels("scene.zarr")                     # adds levels of lower resolution
    tilepress.ls("archive"), tilepress.info("scene.zarr")
    tilepress.export("scene.zarr", "back.tif")         # the same pixels, tags and georeferencing

Nothing is imported before it is used: a Zarr reader that only needs the codec pays for no more.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tilepress.codecs.tile import TileCodec
    from tilepress.pipeline.catalogue.search import catalogue, find
    from tilepress.pipeline.catalogue.told import info, ls
    from tilepress.pipeline.levels import levels
    from tilepress.pipeline.read.open import open_dataset as open  # noqa: A004  # as in xarray, rasterio
    from tilepress.pipeline.repair import repair
    from tilepress.pipeline.verify import verify
    from tilepress.workflows.run.python import compress
    from tilepress.workflows.run.python_export import export

    __version__: str

__all__ = [
    "TileCodec",
    "__version__",
    "catalogue",
    "compress",
    "export",
    "find",
    "info",
    "levels",
    "ls",
    "open",
    "repair",
    "verify",
]

_HOMES = {
    "TileCodec": ("tilepress.codecs.tile", "TileCodec"),
    "catalogue": ("tilepress.pipeline.catalogue.search", "catalogue"),
    "compress": ("tilepress.workflows.run.python", "compress"),
    "export": ("tilepress.workflows.run.python_export", "export"),
    "find": ("tilepress.pipeline.catalogue.search", "find"),
    "info": ("tilepress.pipeline.catalogue.told", "info"),
    "levels": ("tilepress.pipeline.levels", "levels"),
    "ls": ("tilepress.pipeline.catalogue.told", "ls"),
    "open": ("tilepress.pipeline.read.open", "open_dataset"),
    "repair": ("tilepress.pipeline.repair", "repair"),
    "verify": ("tilepress.pipeline.verify", "verify"),
}


def __getattr__(name: str) -> Any:  # noqa: ANN401  # whatever the name stands for
    if name == "__version__":
        from importlib.metadata import version

        value: Any = version("tilepress")
    elif name == "torch":  # tilepress.torch, which needs the extra of that name
        value = import_module("tilepress.torch")
    elif name in _HOMES:
        module, attribute = _HOMES[name]
        value = getattr(import_module(module), attribute)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
