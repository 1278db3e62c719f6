"""Write a store as an NRRD file: physical values, placed in DICOM's own axes (LPS).

NRRD has no slope and intercept, so that they are applied: exactly, as integers, where both are.
"""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from tilepress.errors import UsageError
from tilepress.pipeline.image.source import ExportReader
from tilepress.pipeline.volumes.volume import Volume, volume_of
from tilepress.pipeline.volumes.writing import loss_text, write_aside

__all__ = ["export_nrrd"]

Array = npt.NDArray[Any]

_GZIP_LEVEL = 4

_TYPES = {
    **{f"int{bits}": f"int{bits}" for bits in (8, 16, 32, 64)},
    **{f"uint{bits}": f"uint{bits}" for bits in (8, 16, 32, 64)},
    "float32": "float",
    "float64": "double",
}
"""Names of types in the file."""


def export_nrrd(
    reader: ExportReader, out: Path, slices: Sequence[int] | slice | None = None
) -> Path:
    """Write a volume as ``.nrrd``, packed by gzip; return the file.

    Raises UsageError for what is no volume.
    """
    volume = volume_of(reader, slices, "exporting NRRD")
    dtype = _dtype(volume)

    def write(file: BinaryIO) -> None:
        file.write(_header(volume, dtype))
        with gzip.GzipFile("", "wb", _GZIP_LEVEL, file, mtime=0) as packed:
            for time, planes, samples in volume.slabs():
                values = _values(volume, time, planes, samples, dtype)
                packed.write(np.ascontiguousarray(values, dtype.newbyteorder("<")).data)

    return write_aside(out, write)


def _dtype(volume: Volume) -> np.dtype[Any]:
    """Return the smallest type that holds every physical value exactly, float64 where none does."""
    stored, rescale = volume.reader.dtype, volume.rescale
    if stored == np.bool_:
        stored = np.dtype(np.uint8)
    if stored == np.float16:
        stored = np.dtype(np.float32)
    if rescale.is_identity or volume.colours > 1:
        return stored
    numbers = np.concatenate([rescale.slope.ravel(), rescale.intercept.ravel()])
    if stored.kind == "f" or not (numbers == np.round(numbers)).all():
        return np.dtype(np.float64)
    ends = _ends(volume)
    for name in ("uint8", "int16", "uint16", "int32", "uint32"):
        limits = np.iinfo(name)
        if limits.min <= min(ends) and max(ends) <= limits.max:
            return np.dtype(name)
    return np.dtype(np.float64)


def _ends(volume: Volume) -> list[float]:
    """Return the smallest and the largest physical value of every slab."""
    found = []
    for time, planes, samples in volume.slabs():
        slope, intercept = volume.rescale.at(time, planes)
        values = samples.astype(np.int64) * slope + intercept
        found += [float(values.min()), float(values.max())]
    return found


def _values(
    volume: Volume, time: int, planes: Sequence[int], samples: Array, dtype: np.dtype[Any]
) -> Array:
    rescale = volume.rescale
    if rescale.is_identity or volume.colours > 1:
        return samples
    slope, intercept = rescale.at(time, planes)
    wide: type[Any] = np.int64 if dtype.kind in "iu" else np.float64
    values: Array = samples.astype(wide) * slope.astype(wide) + intercept.astype(wide)
    return values


def _header(volume: Volume, dtype: np.dtype[Any]) -> bytes:
    """Return the text before the samples (NRRD0005), with an empty line at its end."""
    if dtype.name not in _TYPES:
        raise UsageError(f"exporting NRRD: it has no samples of {dtype}")
    times, *space = volume.shape
    axes: list[tuple[int, str, str]] = []
    """Size, direction and kind of each, the fastest first."""
    if volume.colours > 1:
        axes.append((volume.colours, "none", "RGB-color"))
    directions = np.diag(volume.spacing) if volume.affine is None else volume.affine[:3, :3].T
    for size, direction in zip(reversed(space), directions, strict=True):
        axes.append((size, _vector(direction), "domain"))
    if volume.has_times:
        axes.append((times, "none", "list"))
    fields = {
        "type": _TYPES[dtype.name],
        "dimension": str(len(axes)),
        # without a place, axes are told as far apart as they are, and to lie nowhere
        **({"space dimension": "3"} if volume.affine is None else {"space": _LPS}),
        "sizes": " ".join(str(size) for size, _, _ in axes),
        "space directions": " ".join(direction for _, direction, _ in axes),
        "kinds": " ".join(kind for _, _, kind in axes),
        "endian": "little",
        "encoding": "gzip",
    }
    if volume.affine is not None:
        fields |= {"space units": '"mm" "mm" "mm"', "space origin": _vector(volume.affine[:3, 3])}
    lines = ["NRRD0005", *(f"{name}: {value}" for name, value in fields.items())]
    lines.append(f"tilepress:={loss_text(volume.reader)}")
    return ("\n".join(lines) + "\n\n").encode("ascii", "replace")


_LPS = "left-posterior-superior"


def _vector(numbers: Array) -> str:
    return f"({','.join(repr(float(number) + 0.0) for number in numbers)})"
