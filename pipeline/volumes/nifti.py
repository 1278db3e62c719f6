"""Write a store as a NIfTI file: stored values with slope and intercept, and an affine in RAS.

The header is nibabel's, the samples are streamed behind it: NIfTI has x fastest, as stores do.
"""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from tilepress.errors import UsageError
from tilepress.pipeline.image.source import ExportReader
from tilepress.pipeline.volumes.volume import Volume, volume_of
from tilepress.pipeline.volumes.writing import loss_text, write_aside

if TYPE_CHECKING:
    from nibabel.nifti1 import Nifti1Header

__all__ = ["export_nifti"]

_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
"""From DICOM's axes (left, back, head) to those of NIfTI (right, front, head)."""

_GZIP_LEVEL = 4
_MAX_SIZE_1 = 2**15 - 1
"""Longest axis of NIfTI-1; NIfTI-2 has no such bound."""
_SCANNER = 1
"""Code of coordinates of the scanner, which those of DICOM are."""


def export_nifti(
    reader: ExportReader, out: Path, slices: Sequence[int] | slice | None = None
) -> Path:
    """Write a volume as ``.nii``, or ``.nii.gz``; return the file.

    Integers stay as they are stored, with slope and intercept in the header; where planes differ in
    these, or float32 does not have them, values are float64. Colours are RGB24. Raises UsageError
    for what is no volume, and where nibabel is not installed.
    """
    volume = volume_of(reader, slices, "exporting NIfTI")
    try:
        import nibabel  # noqa: F401
    except ModuleNotFoundError:
        raise UsageError(
            "exporting NIfTI: nibabel is not installed: pip install 'tilepress[formats]'"
        ) from None
    dtype = _dtype(volume)
    header = _header(volume, dtype)

    def write(file: BinaryIO) -> None:
        if not out.name.lower().endswith(".gz"):
            _write(file, volume, header, dtype)
            return
        # without a name and a time: the same store gives the same bytes
        with gzip.GzipFile("", "wb", _GZIP_LEVEL, file, mtime=0) as packed:
            _write(packed, volume, header, dtype)

    return write_aside(out, write)


def _is_told(volume: Volume) -> bool:
    """Whether samples stay as they are stored, with slope and intercept in the header.

    It has float32, where a number may be 0 that is not, and a slope of 0 means that there is none.
    """
    rescale = volume.rescale
    if volume.colours > 1 or not rescale.is_one:
        return volume.colours > 1
    slope, intercept = abs(float(rescale.slope)), abs(float(rescale.intercept))
    limits = np.finfo(np.float32)
    smallest, largest = float(limits.tiny), float(limits.max)
    return smallest <= slope <= largest and (not intercept or smallest <= intercept <= largest)


def _dtype(volume: Volume) -> np.dtype[Any]:
    """Return the type of the samples in the file, without colours."""
    if not _is_told(volume):
        return np.dtype("<f8")
    stored = volume.reader.dtype
    if stored == np.bool_:
        return np.dtype(np.uint8)
    return np.dtype("<f4") if stored == np.float16 else stored.newbyteorder("<")


def _header(volume: Volume, dtype: np.dtype[Any]) -> Nifti1Header:
    from nibabel.nifti1 import Nifti1Header
    from nibabel.nifti2 import Nifti2Header

    times, *space = volume.shape
    shape = (*reversed(space), times) if volume.has_times else tuple(reversed(space))
    kind: Any = Nifti1Header if max(shape) <= _MAX_SIZE_1 else Nifti2Header
    header: Nifti1Header = kind(endianness="<")
    colour = np.dtype([(name, np.uint8) for name in "RGB"])
    header.set_data_dtype(colour if volume.colours > 1 else dtype)
    header.set_data_shape(shape)
    zooms = (*volume.spacing, volume.time_step_ms) if volume.has_times else volume.spacing
    header.set_zooms(zooms)
    header.set_xyzt_units("mm", "msec" if volume.has_times else None)
    if volume.affine is not None:
        affine = _TO_RAS @ volume.affine
        header.set_sform(affine, code=_SCANNER)
        header.set_qform(affine, code=_SCANNER, strip_shears=True)
    rescale = volume.rescale
    if _is_told(volume) and volume.colours == 1:
        header.set_slope_inter(float(rescale.slope), float(rescale.intercept))
    header["descrip"] = loss_text(volume.reader).encode("ascii", "replace")[:79]
    header.set_data_offset(header.single_vox_offset)
    return header


def _write(
    file: BinaryIO | gzip.GzipFile, volume: Volume, header: Nifti1Header, dtype: np.dtype[Any]
) -> None:
    file.write(header.binaryblock)
    file.write(b"\0\0\0\0")  # no extensions
    for time, planes, samples in volume.slabs():
        if not _is_told(volume):
            slope, intercept = volume.rescale.at(time, planes)
            samples = samples * slope + intercept
        file.write(np.ascontiguousarray(samples, dtype).data)
