"""The ways to write a store as a volume: NIfTI and NRRD. No store is made of such files."""

from __future__ import annotations

from pathlib import Path

from tilepress.pipeline.image.format import Export, ExportPart
from tilepress.pipeline.image.source import ExportReader

__all__ = ["VOLUMES"]


def _write_nifti(reader: ExportReader, out: Path, part: ExportPart) -> list[Path]:
    from tilepress.pipeline.volumes.nifti import export_nifti

    return [export_nifti(reader, out, part.slices)]


def _write_nrrd(reader: ExportReader, out: Path, part: ExportPart) -> list[Path]:
    from tilepress.pipeline.volumes.nrrd import export_nrrd

    return [export_nrrd(reader, out, part.slices)]


VOLUMES = (
    Export(
        name="nifti",
        write=_write_nifti,
        suffixes=(".nii.gz", ".nii"),
        wanted="NAME.nii.gz, NAME.nii or a folder",
        cuts=("slices",),
        any_store=True,
        is_file=True,
    ),
    Export(
        name="nrrd",
        write=_write_nrrd,
        suffixes=(".nrrd",),
        wanted="NAME.nrrd or a folder",
        cuts=("slices",),
        any_store=True,
        is_file=True,
    ),
)
