"""The format of plain arrays: ``.npy`` files, and Zarr arrays, which are folders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tilepress.pipeline.arrays.zarr_nodes import names_own_codec
from tilepress.pipeline.image.format import Candidate, Certainty, Export, ExportPart, Format
from tilepress.pipeline.image.info import ImageInfo
from tilepress.pipeline.image.source import ExportReader, SourceSpec, TileSource
from tilepress.pipeline.storage.path import is_url

__all__ = ["ARRAY", "ARRAY_KIND"]

ARRAY_KIND = "array"

NPY_MAGIC = b"\x93NUMPY"


def _write_zarr(reader: ExportReader, out: Path, _: ExportPart) -> list[Path]:
    from tilepress.pipeline.arrays.export import export_zarr

    return [export_zarr(reader, out)]


def _write_npy(reader: ExportReader, out: Path, _: ExportPart) -> list[Path]:
    from tilepress.pipeline.arrays.export import export_npy

    return [export_npy(reader, out)]


_OWN_CODEC = ("tilepress.codecs.wave.codec", "tilepress.codecs.zarr_codec")


class _Array(Format):
    deidentifying_modules = ()
    kinds = (ARRAY_KIND,)
    names = (".npy", "Zarr array")
    suffixes = (".npy", ".zarr", ".dat", ".img", ".bin")
    exports = (
        Export(
            name="zarr",
            write=_write_zarr,
            suffixes=(".zarr",),
            wanted="NAME.zarr or a folder",
            any_store=True,
            is_file=True,
            keeps_levels=True,
            tells_decoder=True,
        ),
        Export(
            name="npy",
            write=_write_npy,
            suffixes=(".npy",),
            wanted="NAME.npy or a folder",
            any_store=True,
            is_file=True,
        ),
    )

    def reader_modules(self, paths: Sequence[str]) -> tuple[str, ...]:
        """Return also what decodes Zarr arrays, those of this very codec included."""
        modules = ["tilepress.pipeline.arrays.source"]
        if is_url(paths[0]) or Path(paths[0]).is_dir():
            modules.append("zarr")
            modules += _OWN_CODEC if names_own_codec(paths[0]) else []
        return tuple(modules)

    def sniff(self, file: Candidate) -> Certainty:
        return Certainty.MARKED if file.head.startswith(NPY_MAGIC) else Certainty.NONE

    def as_told(self, info: ImageInfo, reader: ExportReader) -> ImageInfo | None:
        from tilepress.pipeline.arrays.source import refusal_of

        return replace(info, lossy_refusal=refusal_of(info.dtype))

    def open(self, spec: SourceSpec) -> TileSource:
        from tilepress.pipeline.arrays.source import ArraySource

        return ArraySource(spec)


ARRAY: Format = _Array()
