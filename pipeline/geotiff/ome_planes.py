"""Write a store of planes (a volume, times, channels) as OME-TIFF: a page for each plane.

The file and its XML are tifffile's. Slides have levels, and streams to pass on: those are written
by ``slide_export``.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tilepress.errors import FileInTheWay, UsageError
from tilepress.pipeline.image.grid import Box
from tilepress.pipeline.image.source import ExportReader
from tilepress.pipeline.storage.atomic import make_directory, sync_directory
from tilepress.pipeline.storage.placed import place_new
from tilepress.pipeline.storage.unfinished import unfinished

__all__ = ["export_ome_planes"]

_LETTERS = {"t": "T", "z": "Z", "band": "C", "y": "Y", "x": "X"}
_ORDER = ("t", "z", "band")
"""How planes follow each other, where an image has these axes."""

_TYPES = frozenset(
    {f"{kind}int{bits}" for kind in ("", "u") for bits in (8, 16, 32)} | {"float32", "float64"}
)
"""Samples that OME-XML knows."""

_CLASSIC_BYTES = 3 * 2**30
"""Decoded bytes up to which offsets of 32 bits are enough."""


def export_ome_planes(
    reader: ExportReader, out: Path, slices: Sequence[int] | slice | None = None
) -> Path:
    """Write a store as one OME-TIFF file, packed by Deflate; return it.

    Three bands of bytes are colours, others channels. ``slices`` are numbers along z, or t where
    there is no z. Raises UsageError for axes and samples that OME-TIFF has not, for images of the
    ground, and where tifffile is not installed; FileInTheWay.
    """
    planes = _Planes(reader, slices)
    try:
        import tifffile
    except ModuleNotFoundError:
        raise UsageError(
            "exporting OME-TIFF: tifffile is not installed: pip install 'tilepress[formats]'"
        ) from None
    if out.exists() or out.is_symlink():
        text = f"exporting: {out} exists; remove it or choose another name"
        raise FileInTheWay(text, str(out))
    make_directory(out.parent)
    with unfinished(out) as partial:
        with tifffile.TiffWriter(partial, bigtiff=planes.nbytes > _CLASSIC_BYTES, ome=True) as file:
            file.write(
                iter(planes),
                shape=planes.shape,
                dtype=planes.dtype,
                photometric="rgb" if planes.is_colour else "minisblack",
                planarconfig="contig" if planes.is_colour else None,
                compression="zlib",
                predictor=planes.dtype.itemsize <= 4,
                rowsperstrip=max(1, min(planes.shape[planes.rows_at], 256)),
                metadata=planes.metadata(),
            )
        place_new(partial, out)
    sync_directory(out.parent)
    return out


class _Planes:
    """The planes of a store in order, and what is told of them."""

    def __init__(self, reader: ExportReader, slices: Sequence[int] | slice | None) -> None:
        self._reader = reader
        told, axes = reader.attrs, reader.axes
        if "grid_mapping" in told:
            text = "an image of the ground has no place in OME-TIFF; ask for geotiff or cog"
            raise UsageError(f"exporting OME-TIFF: {text}")
        if not set(axes) <= set(_LETTERS):
            text = f"axes {', '.join(axes)} are others than t, z, band, y, x"
            raise UsageError(f"exporting OME-TIFF: {text}")
        self.dtype = np.dtype(np.uint8) if reader.dtype == np.bool_ else reader.dtype
        if self.dtype.name not in _TYPES:
            raise UsageError(f"exporting OME-TIFF: it has no samples of {reader.dtype}")
        colour = str(told.get("photometric_interpretation", "RGB"))
        sizes = dict(zip(axes, reader.shape, strict=True))
        self.is_colour = sizes.get("band") == 3 and self.dtype == np.uint8
        if self.is_colour and colour.startswith("YBR") and "modality" in told:
            raise UsageError(f"exporting OME-TIFF: its samples are {colour}; ask for dicom")
        self._leading = [axis for axis in _ORDER if axis in sizes]
        self._numbers = {axis: list(range(sizes[axis])) for axis in self._leading}
        self._choose(slices)
        if self.is_colour:
            self._leading.remove("band")
        counts = [len(self._numbers[axis]) for axis in self._leading]
        rest = [sizes["y"], sizes["x"], *([3] if self.is_colour else [])]
        self.shape = (*counts, *rest)
        self.rows_at = len(counts)
        self.nbytes = int(np.prod(self.shape)) * self.dtype.itemsize

    def metadata(self) -> dict[str, Any]:
        """Return what tifffile makes the XML of."""
        told = self._reader.attrs
        letters = [_LETTERS[axis] for axis in (*self._leading, "y", "x")]
        found: dict[str, Any] = {"axes": "".join(letters) + ("S" if self.is_colour else "")}
        found |= _sizes(told)
        names = told.get("band_names")
        if "band" in self._leading and isinstance(names, list | tuple):
            found["Channel"] = {"Name": [str(names[n]) for n in self._numbers["band"]]}
        loss = self._reader.loss
        if not loss.is_lossless:
            found["Description"] = f"tilepress {loss.kind}: {loss.promise}"
        return found

    def __iter__(self) -> Iterator[npt.NDArray[Any]]:
        """Yield (y, x) or (y, x, colour); each chunk is read once where planes follow it."""
        axes, chunk = self._reader.axes, self._reader.chunk
        key: tuple[int, ...] | None = None
        block: npt.NDArray[Any] = np.empty(0, self.dtype)
        for index in itertools.product(*(self._numbers[axis] for axis in self._leading)):
            at = dict(zip(self._leading, index, strict=True))
            steps = {axis: chunk[axes.index(axis)] for axis in at}
            wanted = tuple(at[axis] // steps[axis] for axis in at)
            if wanted != key:
                key, block = wanted, self._block(dict(zip(at, wanted, strict=True)), steps)
            plane = block[tuple(at[a] % steps[a] if a in at else slice(None) for a in axes)]
            if self.is_colour:
                plane = plane.transpose(1, 2, 0)
            yield np.ascontiguousarray(plane, self.dtype)

    def _block(self, number: Mapping[str, int], steps: Mapping[str, int]) -> npt.NDArray[Any]:
        start, stop = [], []
        for axis, size in zip(self._reader.axes, self._reader.shape, strict=True):
            first = number[axis] * steps[axis] if axis in number else 0
            start.append(first)
            stop.append(min(first + steps[axis], size) if axis in number else size)
        return self._reader.read(Box(tuple(start), tuple(stop)))

    def _choose(self, slices: Sequence[int] | slice | None) -> None:
        if slices is None:
            return
        axis = next((axis for axis in ("z", "t") if axis in self._numbers), None)
        every = [0] if axis is None else self._numbers[axis]
        numbers = every[slices] if isinstance(slices, slice) else list(slices)
        if not numbers or not set(numbers) <= set(every):
            text = f"got slices {numbers}, want some of 0 to {len(every) - 1}"
            raise UsageError(f"exporting OME-TIFF: {text}")
        if axis is not None:
            self._numbers[axis] = sorted(set(numbers))


def _sizes(told: Mapping[str, Any]) -> dict[str, Any]:
    """Return how far apart samples lie, with units."""
    found: dict[str, Any] = {}
    for keys, unit in (
        (("pixel_spacing_mm", "slice_spacing_mm"), "mm"),
        (("pixel_size_um", "plane_spacing_um"), "µm"),
    ):
        across, apart = (told.get(key) for key in keys)
        if isinstance(across, list | tuple) and len(across) == 2:
            pairs = (("Y", across[0]), ("X", across[1]))
            found |= {f"PhysicalSize{axis}": float(size) for axis, size in pairs}
            found |= {f"PhysicalSize{axis}Unit": unit for axis, _ in pairs}
        if isinstance(apart, int | float):
            found |= {"PhysicalSizeZ": float(apart), "PhysicalSizeZUnit": unit}
    return found
