"""Write the samples of a store as an array that needs no tilepress to be read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tilepress.errors import DestinationConflict
from tilepress.pipeline.image.grid import Box
from tilepress.pipeline.image.source import ExportReader
from tilepress.pipeline.storage.atomic import make_directory
from tilepress.pipeline.storage.unfinished import unfinished
from tilepress.pipeline.store.builder import WHERE_THE_IMAGE_IS, consolidate
from tilepress.pipeline.store.keys import level_image
from tilepress.pipeline.store.reader import StoreReader

if TYPE_CHECKING:
    import zarr

__all__ = ["export_npy", "export_zarr"]


def export_npy(reader: ExportReader, out: Path) -> Path:
    """Write a NumPy file."""
    store = _store(reader)

    def write(target: Path) -> None:
        array = np.lib.format.open_memmap(target, "w+", store.dtype, store.shape)
        for box in _boxes(store, "image"):
            array[box.slices] = store.read(box)
        array.flush()

    return _write_aside(out, write)


def export_zarr(reader: ExportReader, out: Path) -> Path:
    """Copy the tree as it is, images and masks with zstd, without ``source/`` and the manifest."""
    store = _store(reader)

    def write(target: Path) -> None:
        import zarr

        root = zarr.create_group(target, attributes=_root_attributes(store))
        for number in range(store.level_count):
            _copy_level(store.at_level(number), number, root)
        consolidate(root.store)

    return _write_aside(out, write)


def _copy_level(store: StoreReader, number: int, root: zarr.Group) -> None:
    """Copy the arrays of a level, which ``store`` reads as if it were the image."""
    from zarr.codecs import Crc32cCodec, ZstdCodec

    level = root.create_group(str(number), attributes=store.level.attrs.asdict())
    for name, node in sorted(store.level.arrays()):
        coded = name == "image" or (name == "mask" and store.has_mask)
        attributes = node.attrs.asdict()
        attributes.pop("tilepress", None)
        copy = level.create_array(
            name,
            shape=node.shape,
            chunks=node.chunks,
            shards=node.shards,
            dtype=node.dtype,
            fill_value=node.fill_value,
            filters=None,
            compressors=[ZstdCodec(level=3), Crc32cCodec()],
            dimension_names=getattr(node.metadata, "dimension_names", None),
            attributes=attributes,
            config={"write_empty_chunks": True},
        )
        if not coded:
            copy[...] = node[...]
            continue
        read: Callable[[Box], Any] = store.read if name == "image" else store.read_mask
        for box in _boxes(store, level_image(number) if name == "image" else name):
            copy[box.slices] = read(box)


def _store(reader: ExportReader) -> StoreReader:
    assert isinstance(reader, StoreReader), "a tree to copy, and shards to read one by one"
    return reader


def _boxes(store: StoreReader, array: str) -> Iterator[Box]:
    grid = store.grid(array)
    return map(grid.box, grid.indices())


def _write_aside(out: Path, write: Callable[[Path], None]) -> Path:
    """Let ``write`` make a file or folder under another name; rename it when it is whole."""
    if out.exists():
        raise DestinationConflict(f"exporting: {out} exists; remove it or choose another name")
    make_directory(out.parent)
    with unfinished(out, folder=True) as folder:
        write(folder / out.name)
        (folder / out.name).rename(out)
    return out


def _root_attributes(store: StoreReader) -> dict[str, Any]:
    """Keep the statement of loss, and say where the image is; drop what speaks of files that are
    not there. Say by which decoder samples were made, if it is not the one of the statement."""
    attributes = store.root_attributes
    statement = {
        key: attributes["tilepress"][key]
        for key in ("codec", "model", "loss", "source_digest")
        if key in attributes["tilepress"]
    }
    if store.decoder_note is not None:
        statement["decoder"] = store.decoder_note
    return {"comment": WHERE_THE_IMAGE_IS, **attributes, "tilepress": statement}
