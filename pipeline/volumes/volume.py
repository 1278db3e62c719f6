"""See a store as one volume: samples in order, where they lie, what they stand for.

Coordinates are those of DICOM (PS3.3 C.7.6.2.1.1): millimetres, x to the left, y to the back, z to
the head (LPS). A volume is refused where no affine can say where its planes lie.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr

from tilepress.codecs.numbers import number_of
from tilepress.errors import UsageError
from tilepress.pipeline.image.grid import Box
from tilepress.pipeline.image.source import ExportReader
from tilepress.pipeline.store.reader import StoreReader

__all__ = ["Rescale", "Volume", "volume_of"]

_UNEVEN = 0.02
"""Planes that lie off an even grid by more than this share of its step are not even."""

_ORDER = ("t", "z", "y", "x", "band")

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Rescale:
    """What makes physical values of stored ones: value = stored · slope + intercept."""

    slope: Array
    """One number, or one for every plane (t, z)."""
    intercept: Array

    @property
    def is_one(self) -> bool:
        """Whether all planes have the same."""
        return self.slope.size == 1 == self.intercept.size

    @property
    def is_identity(self) -> bool:
        return bool((self.slope == 1).all() and (self.intercept == 0).all())

    def at(self, time: int, planes: Sequence[int]) -> tuple[Array, Array]:
        """Return both for planes of a time, to be broadcast to (z, y, x)."""
        found = []
        for values in (self.slope, self.intercept):
            found.append(values if values.size == 1 else values[time, list(planes), None, None])
        return found[0], found[1]


@dataclass(frozen=True, slots=True)
class Volume:
    """What a store is as a volume of (t, z, y, x), with colours last where it has any."""

    reader: StoreReader
    axes: tuple[str, ...]
    """Of the store, with those of an array called as they are taken."""
    planes: tuple[int, ...]
    """Numbers along z that are written, in order."""
    times: tuple[int, ...]
    affine: Array | None
    """4 × 4, from (column, row, plane) to LPS in mm; None where the store does not say."""
    spacing: tuple[float, float, float]
    """In mm along x, y and z; 1 where nothing is known."""
    time_step_ms: float
    """0 where it is not known."""
    rescale: Rescale

    @property
    def colours(self) -> int:
        """How many samples a place has."""
        return self.reader.shape[self.axes.index("band")] if "band" in self.axes else 1

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(t, z, y, x)."""
        height, width = self.reader.shape[-2:]
        return len(self.times), len(self.planes), height, width

    @property
    def has_times(self) -> bool:
        return "t" in self.axes

    def slabs(self) -> Iterator[tuple[int, Sequence[int], Array]]:
        """Yield (time, planes, stored samples (z, y, x) or (z, y, x, colour)) in file order."""
        step = self.reader.chunk[self.axes.index("z")] if "z" in self.axes else 1
        runs = [list(run) for _, run in itertools.groupby(self.planes, lambda n: n // step)]
        for time in self.times:
            for run in runs:
                yield time, run, self._read(time, run)

    def _read(self, time: int, planes: Sequence[int]) -> Array:
        height, width = self.reader.shape[-2:]
        ranges = {
            "t": (time, time + 1),
            "z": (planes[0], planes[-1] + 1),
            "band": (0, self.colours),
            "y": (0, height),
            "x": (0, width),
        }
        chosen = [ranges[axis] for axis in self.axes]
        samples = self.reader.read(Box(tuple(a for a, _ in chosen), tuple(b for _, b in chosen)))
        order = [
            self.axes.index(axis) for axis in ("t", "z", "y", "x", "band") if axis in self.axes
        ]
        samples = samples.transpose(order)
        depth = planes[-1] + 1 - planes[0]
        colour = (self.colours,) if self.colours > 1 else ()
        samples = samples.reshape(depth, height, width, *colour)
        kept = [number - planes[0] for number in planes]
        return samples if len(kept) == depth else samples[kept]


def volume_of(reader: ExportReader, slices: Sequence[int] | slice | None, doing: str) -> Volume:
    """Return a store as a volume; ``slices`` are numbers along z, or t where there is no z.

    ``doing`` is what an error begins with. Raises UsageError for what is no volume.
    """
    assert isinstance(reader, StoreReader), "coordinates to look at"
    doing = f"{doing} {reader.path.name}"
    told, axes = reader.attrs, _axes(reader, doing)
    if {"pixel_size_um", "objective_power"} & set(told):
        raise UsageError(f"{doing}: a slide is no volume; ask for ome-tiff")
    if "grid_mapping" in told:
        raise UsageError(f"{doing}: an image of the ground is no volume; ask for geotiff or cog")
    _check_values(reader, axes, doing)
    sizes = dict(zip(axes, reader.shape, strict=True))
    chosen = _chosen(slices, sizes, doing)
    planes = chosen if "z" in axes else (0,)
    times = chosen if "z" not in axes and "t" in axes else tuple(range(sizes.get("t", 1)))
    position = _Positions(reader, told, sizes, doing)
    affine = position.affine(planes)
    return Volume(
        reader=reader,
        axes=axes,
        planes=planes,
        times=times,
        affine=affine,
        spacing=position.spacing(affine, planes),
        time_step_ms=_time_step(reader, times),
        rescale=_rescale(reader, axes, sizes),
    )


def _axes(reader: StoreReader, doing: str) -> tuple[str, ...]:
    """Return the axes, those of a plain array taken for t and z from the last on."""
    axes = reader.axes
    if not _is_medical(reader) and not set(axes) <= set(_ORDER):
        axes = ("t", "z", "y", "x")[-len(axes) :]
    if len(axes) != len(reader.shape) or not set(axes) <= set(_ORDER):
        raise UsageError(f"{doing}: axes {', '.join(reader.axes)} are those of no volume")
    return axes


def _check_values(reader: StoreReader, axes: Sequence[str], doing: str) -> None:
    """Refuse samples that a volume cannot say the meaning of."""
    told = reader.attrs
    colour = str(told.get("photometric_interpretation", ""))
    if "modality_lut" in told:
        raise UsageError(f"{doing}: its values are those of a table (Modality LUT); ask for dicom")
    if colour.startswith(("PALETTE", "YBR")):
        raise UsageError(f"{doing}: its samples are {colour}, which no volume tells; ask for dicom")
    bands = reader.shape[axes.index("band")] if "band" in axes else 1
    if "band" in axes and (bands != 3 or reader.dtype != np.uint8):
        text = f"{bands} bands of {reader.dtype} are no colours of a volume"
        raise UsageError(f"{doing}: {text}; ask for npy or zarr")
    if reader.dtype.kind not in "biuf":
        raise UsageError(f"{doing}: samples of {reader.dtype} have no physical values")


def _chosen(
    slices: Sequence[int] | slice | None, sizes: Mapping[str, int], doing: str
) -> tuple[int, ...]:
    size = sizes.get("z", sizes.get("t", 1))
    if slices is None:
        return tuple(range(size))
    numbers = range(size)[slices] if isinstance(slices, slice) else slices
    if outside := [n for n in numbers if not 0 <= n < size]:
        raise UsageError(f"{doing}: got slice {outside[0]}, want 0 to {size - 1}")
    if not numbers:
        raise UsageError(f"{doing}: no slice was chosen")
    return tuple(sorted(set(numbers)))


class _Positions:
    """Where the planes of a store lie."""

    def __init__(
        self, reader: StoreReader, told: Mapping[str, Any], sizes: Mapping[str, int], doing: str
    ) -> None:
        self._reader, self._told, self._sizes, self._doing = reader, told, sizes, doing

    def affine(self, planes: Sequence[int]) -> Array | None:
        """Return what takes (column, row, plane, 1) to (x, y, z, 1); None where it is not known.

        Raises UsageError for planes that no affine places.
        """
        self._check_alike()
        turn = self._told.get("image_orientation_patient")
        origin = self._told.get("image_position_patient_mm")
        pixel = self._told.get("pixel_spacing_mm")
        if turn is None or origin is None or pixel is None:
            self._steps(self._depths(planes))
            return None
        along, down = np.asarray(turn[:3], np.float64), np.asarray(turn[3:], np.float64)
        points = self._points(planes, np.cross(along, down), np.asarray(origin, np.float64))
        step = self._step_between(points)
        if step is None:
            step = np.cross(along, down) * self._thickness()
        columns = (along * pixel[1], down * pixel[0], step, points[0])
        return np.vstack([np.column_stack(columns), [0, 0, 0, 1]])

    def spacing(self, affine: Array | None, planes: Sequence[int]) -> tuple[float, float, float]:
        if affine is not None:
            x, y, z = (float(n) for n in np.linalg.norm(affine[:3, :3], axis=0))
            return x, y, z
        pixel = self._told.get("pixel_spacing_mm") or (1.0, 1.0)
        steps = self._steps(self._depths(planes))
        return float(pixel[1]), float(pixel[0]), steps or self._thickness()

    def _check_alike(self) -> None:
        names = {
            "row_x": "planes differ in orientation",
            "column_x": "planes differ in orientation",
            "pixel_spacing_y": "planes differ in pixel spacing",
        }
        for name, text in names.items():
            if self._label(name) is not None:
                raise UsageError(f"{self._doing}: {text}; ask for dicom")

    def _points(self, planes: Sequence[int], normal: Array, origin: Array) -> Array:
        """Return the position of each plane's first sample."""
        labels = [self._label(f"position_{axis}") for axis in "xyz"]
        if any(label is not None for label in labels):
            # one that is the same for all planes has no label
            given = [
                np.full(self._sizes.get("z", 1), origin[at]) if label is None else label
                for at, label in enumerate(labels)
            ]
            if any(one.shape != (self._sizes.get("z", 1),) for one in given):
                text = "its planes lie elsewhere at other times"
                raise UsageError(f"{self._doing}: {text}; ask for dicom")
            return np.stack(given, axis=1)[list(planes)]
        depths = self._depths(range(self._sizes.get("z", 1)))
        if depths is None:
            return np.repeat(origin[None], len(planes), axis=0)
        moved: Array = origin + (depths - depths[0])[list(planes), None] * normal
        return moved

    def _step_between(self, points: Array) -> Array | None:
        """Return the step from plane to plane, None of a single one."""
        if len(points) == 1:
            return None
        mean: Array = (points[-1] - points[0]) / (len(points) - 1)
        length = float(np.linalg.norm(mean))
        grid = points[0] + np.arange(len(points))[:, None] * mean
        off = np.linalg.norm(points - grid, axis=1).max()
        if not length or off > _UNEVEN * length:
            self._refuse(np.linalg.norm(np.diff(points, axis=0), axis=1))
        return mean

    def _depths(self, planes: Sequence[int]) -> Array | None:
        """Return positions along the normal in mm, of planes that have them."""
        if "z" not in self._sizes or not _is_medical(self._reader):
            return None
        values = _label(self._reader, "z")
        if values is None or values.shape != (self._sizes["z"],) or not np.isfinite(values).all():
            return None
        return values[list(planes)]

    def _steps(self, depths: Array | None) -> float | None:
        if depths is None or len(depths) < 2:
            return None
        steps = np.diff(depths)
        mean = float(steps.mean())
        off = np.abs(depths - depths[0] - mean * np.arange(len(depths))).max()
        if not mean or off > _UNEVEN * abs(mean):
            self._refuse(np.abs(steps))
        return abs(mean)

    def _refuse(self, steps: Array) -> None:
        text = (
            f"planes are {steps.min():.5g} to {steps.max():.5g} mm apart, and a volume has one step"
        )
        raise UsageError(f"{self._doing}: {text}; choose even ones by slices, or ask for dicom")

    def _thickness(self) -> float:
        for key in ("slice_spacing_mm", "slice_thickness_mm", "spacing_between_slices_mm"):
            value = self._told.get(key)
            if isinstance(value, int | float) and math.isfinite(value) and value > 0:
                return float(value)
        return 1.0

    def _label(self, name: str) -> Array | None:
        return _label(self._reader, name)


def _is_medical(reader: StoreReader) -> bool:
    """Whether coordinates are millimetres of a patient, and milliseconds."""
    return "modality" in reader.attrs


def _label(reader: StoreReader, name: str) -> Array | None:
    """Return a coordinate of the store beside those of its axes; None where there is none."""
    node = reader.level.get(name)
    return np.asarray(node[...], np.float64) if isinstance(node, zarr.Array) else None


def _time_step(reader: StoreReader, times: Sequence[int]) -> float:
    """Return the step between times in ms; 0 where they are not even, or not known."""
    given = _label(reader, "t")
    if given is None or len(times) < 2 or not _is_medical(reader):
        return 0.0
    steps = np.diff(given[list(times)])
    mean = float(steps.mean())
    even = math.isfinite(mean) and mean > 0 and np.abs(steps - mean).max() <= _UNEVEN * mean
    return mean if even else 0.0


def _rescale(reader: StoreReader, axes: Sequence[str], sizes: Mapping[str, int]) -> Rescale:
    """Return slope and intercept, of every plane (t, z) where planes differ."""
    found: list[Array] = []
    for key, neutral in (("rescale_slope", 1.0), ("rescale_intercept", 0.0)):
        label = _label(reader, key)
        if label is None:
            found.append(np.asarray(number_of(reader.attrs.get(key, neutral)), np.float64))
            continue
        names = getattr(reader.level[key].metadata, "dimension_names", None) or ()
        shape = tuple(sizes[axis] if axis in names else 1 for axis in ("t", "z"))
        whole = (sizes.get("t", 1), sizes.get("z", 1))
        found.append(np.broadcast_to(np.nan_to_num(label, nan=neutral).reshape(shape), whole))
    return Rescale(*found)
