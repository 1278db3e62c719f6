"""Write a sealed store back as what it was made of, or as a format that needs no tilepress."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tilepress.errors import DestinationConflict, UsageError
from tilepress.pipeline.find.discover import TIFF_MAGICS
from tilepress.pipeline.image.grid import Box, ShardGrid
from tilepress.pipeline.storage.atomic import PARTIAL_SUFFIX, make_directory
from tilepress.pipeline.storage.path import Where, is_url
from tilepress.pipeline.store.documents import consolidate
from tilepress.pipeline.store.reader import StoreReader

__all__ = ["FORMATS", "export"]

_DEFAULTS = {"geotiff": "geotiff", "stack": "geotiff", "dicom": "dicom", "array": "zarr"}
"""Format by kind of origin."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """What part of an image is wanted; None is all."""

    bands: Sequence[int] | None = None
    bbox: tuple[float, float, float, float] | None = None
    slices: Sequence[int] | slice | None = None


def export(
    store: Where,
    out: Path | str,
    format: str | None = None,  # noqa: A002  # the word users type
    *,
    bands: Sequence[int] | None = None,
    bbox: tuple[float, float, float, float] | None = None,
    slices: Sequence[int] | slice | None = None,
) -> list[Path]:
    """Export a store; return the files or folders written.

    Parameters
    ----------
    out :
        GeoTIFF: the file where it ends in ``.tif`` or ``.tiff``, else a folder. DICOM: a folder, or
        ``*.dcm`` for a single file. Zarr and NumPy: the store or file itself.
    format :
        "geotiff" and "dicom" give back what the store was made of; "cog" is a cloud-optimised
        GeoTIFF; "zarr" a plain Zarr store with zstd, for readers without our codec; "npy" a NumPy
        file. None is what the source was; for an array "zarr", or "npy" where ``out`` ends so.
    bands, bbox :
        Part of a GeoTIFF: band numbers from 1; (left, bottom, right, top) in units of the CRS.
    slices :
        Part of a DICOM series: numbers of slices from 0.

    Raises UsageError where the store has nothing to make the format of, StoreError where it is not
    sealed or damaged.
    """
    if is_url(out):
        raise UsageError(f"exporting to {out}: want a path of this machine")
    reader, out = StoreReader.open(store), Path(out)
    kind = str(reader.origin["kind"])
    if format is None:
        format = "npy" if kind == "array" and out.suffix == ".npy" else _DEFAULTS.get(kind)  # noqa: A001
    if format not in FORMATS:
        raise UsageError(
            f"exporting {reader.path.name}: format {format!r} is unknown, "
            f"want one of {', '.join(FORMATS)}"
        )
    write, takes = FORMATS[format]
    part = _Part(bands=bands, bbox=bbox, slices=slices)
    for name in ("bands", "bbox", "slices"):
        if getattr(part, name) is not None and name not in takes:
            raise UsageError(f"exporting {reader.path.name}: {format} cannot be cut by {name}")
    if format not in _ENDINGS.get(out.suffix.lower(), (format,)) and not out.is_dir():
        wanted = _WANTED[format]
        raise UsageError(f"exporting {reader.path.name}: got {out.name}, want {wanted}")
    return write(reader, out, part)


def _to_geotiff(reader: StoreReader, out: Path, part: _Part) -> list[Path]:
    from tilepress.pipeline.geotiff.export import export_geotiff

    _want_origin(reader, "geotiff", ("geotiff", "stack"))
    return list(export_geotiff(reader, out, bands=part.bands, bbox=part.bbox))


def _to_cog(reader: StoreReader, out: Path, part: _Part) -> list[Path]:
    """Write the GeoTIFF beside the destination, then let GDAL's COG driver copy it."""
    import rasterio.shutil

    from tilepress.pipeline.geotiff.export import is_folder

    _want_origin(reader, "cog", ("geotiff", "stack"))
    make_directory(out.parent)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".tilepress-cog-") as folder:
        plain = Path(folder) / "plain"
        files = [file for file in _to_geotiff(reader, plain, part) if _is_tiff(file)]
        into_folder = reader.origin["kind"] == "stack" or is_folder(out)
        targets = [out / file.name for file in files] if into_folder else [out]
        for target in targets:
            _refuse_existing(target)
        for file, target in zip(files, targets, strict=True):
            make_directory(target.parent)
            made = Path(folder) / f"cog-{file.name}"
            rasterio.shutil.copy(
                str(file), str(made), driver="COG", compress="DEFLATE", predictor="YES",
                bigtiff="IF_SAFER",
            )  # fmt: skip
            made.replace(target)
    return targets


def _to_dicom(reader: StoreReader, out: Path, part: _Part) -> list[Path]:
    from tilepress.pipeline.dicom.export import export_dicom

    _want_origin(reader, "dicom", ("dicom",))
    return list(export_dicom(reader, out, slices=part.slices))


def _to_npy(reader: StoreReader, out: Path, _: _Part) -> list[Path]:
    def write(target: Path) -> None:
        array = np.lib.format.open_memmap(target, "w+", reader.dtype, reader.shape)
        for box in _boxes(reader, "image"):
            array[box.slices] = reader.read(box)
        array.flush()

    return [_write_aside(out, write)]


def _to_zarr(reader: StoreReader, out: Path, _: _Part) -> list[Path]:
    """Copy the tree as it is, image and mask with zstd, without ``source/`` and the manifest."""

    def write(target: Path) -> None:
        import zarr
        from zarr.codecs import Crc32cCodec, ZstdCodec

        root = zarr.create_group(target, attributes=_without_seal(reader.root_attributes))
        level = root.create_group("0", attributes=reader.level.attrs.asdict())
        for name, node in sorted(reader.level.arrays()):
            coded = name in reader.arrays
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
            read: Callable[[Box], Any] = reader.read if name == "image" else reader.read_mask
            for box in _boxes(reader, name):
                copy[box.slices] = read(box)
        consolidate(root.store)

    return [_write_aside(out, write)]


_Writer = Callable[[StoreReader, Path, _Part], list[Path]]

FORMATS: dict[str, tuple[_Writer, tuple[str, ...]]] = {
    "geotiff": (_to_geotiff, ("bands", "bbox")),
    "cog": (_to_cog, ("bands", "bbox")),
    "dicom": (_to_dicom, ("slices",)),
    "zarr": (_to_zarr, ()),
    "npy": (_to_npy, ()),
}
"""Writer by name of format, and by what it can be cut."""

_ENDINGS = {
    ".tif": ("geotiff", "cog"),
    ".tiff": ("geotiff", "cog"),
    ".dcm": ("dicom",),
    ".zarr": ("zarr",),
    ".npy": ("npy",),
    ".png": (),
    ".jp2": (),
    ".json": (),
}
"""Formats by what a name that ends so promises; other names promise nothing."""

_WANTED = {
    "geotiff": "NAME.tif or a folder",
    "cog": "NAME.tif or a folder",
    "dicom": "a folder for its DICOM files (or NAME.dcm where it is one)",
    "zarr": "NAME.zarr (--format says what else)",
    "npy": "NAME.npy",
}


def _want_origin(reader: StoreReader, wanted: str, kinds: tuple[str, ...]) -> None:
    kind = reader.origin["kind"]
    if kind not in kinds:
        raise UsageError(
            f"exporting {reader.path.name}: it was made of {kind}, which gives no {wanted}; "
            "--format zarr takes any store"
        )


def _is_tiff(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) in TIFF_MAGICS


def _refuse_existing(target: Path) -> None:
    if target.exists():
        raise DestinationConflict(f"exporting: {target} exists; remove it or choose another name")


def _write_aside(out: Path, write: Callable[[Path], None]) -> Path:
    """Let ``write`` make a file or folder under another name; rename it when it is whole."""
    _refuse_existing(out)
    make_directory(out.parent)
    partial = out.with_name(f".{out.name}{PARTIAL_SUFFIX}")
    _remove(partial)
    try:
        write(partial)
        partial.rename(out)
    except BaseException:
        _remove(partial)
        raise
    return out


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _boxes(reader: StoreReader, array: str) -> list[Box]:
    grid: ShardGrid = reader.grid(array)
    return [grid.box(index) for index in grid.indices()]


def _without_seal(attributes: dict[str, Any]) -> dict[str, Any]:
    """Keep the statement of loss; drop what speaks of files that are not there."""
    statement = {
        key: attributes["tilepress"][key]
        for key in ("codec", "model", "loss", "source_digest")
        if key in attributes["tilepress"]
    }
    return {**attributes, "tilepress": statement}
