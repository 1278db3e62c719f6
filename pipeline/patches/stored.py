"""One store as patches are taken from it: its bands, its grid, and windows of its samples."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tilepress.errors import UsageError
from tilepress.pipeline.image.band_choice import bands_called
from tilepress.pipeline.patches.chunks import Chunk, CodedArray
from tilepress.pipeline.read.open import open_dataset
from tilepress.pipeline.read.physical import absent_value, padding_range, rescaling
from tilepress.pipeline.storage.http import HttpPath, is_http
from tilepress.pipeline.storage.path import AnyPath
from tilepress.pipeline.store.keys import level_image
from tilepress.pipeline.store.reader import StoreReader

__all__ = ["Needed", "PatchStore", "Values", "Window"]

Array = npt.NDArray[Any]


class Window(NamedTuple):
    """Where a patch lies: of one plane along the axes that are neither bands nor y and x."""

    place: tuple[int, ...]
    y: int
    x: int


class Needed(NamedTuple):
    """A chunk, and which of its planes are wanted: None for all of them."""

    array: CodedArray
    chunk: Chunk
    planes: tuple[int, ...] | None

    @property
    def nbytes(self) -> int:
        """Bytes of its samples."""
        chunk = self.array.grid.chunk
        planes = math.prod(chunk[:-2]) if self.planes is None else len(self.planes)
        return planes * chunk[-2] * chunk[-1] * self.array.dtype.itemsize


Get = Callable[[Needed], Array]


@dataclass(frozen=True, slots=True)
class Values:
    """What makes physical values of stored ones. Arrays have the axes (…, band) of their image,
    each as long as the image's or 1."""

    slope: Array | None = None
    intercept: Array | None = None
    absent: Array | None = None
    """NaN where a band has no such value."""
    padding: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchStore:
    """A level of a sealed store. Picklable, and opened again nowhere."""

    where: str
    image: CodedArray
    mask: CodedArray | None
    axes: tuple[str, ...]
    names: tuple[str, ...]
    """Of the bands: as the source has them, else their numbers from 1."""
    bands: tuple[int, ...]
    """Those that are wanted, from 0, in that order."""
    values: Values
    crs: str | None
    transform: tuple[float, ...] | None

    @classmethod
    def open(
        cls,
        where: AnyPath,
        *,
        bands: Sequence[str | int] | None = None,
        level: int = 0,
        hu: bool = False,
        masked: bool = False,
    ) -> PatchStore:
        """Open a store; ``bands`` by name, or by number from 1. Raises UsageError, StoreError."""
        path: Any = HttpPath.parse(str(where)) if is_http(where) else where
        whole = StoreReader.open(path)
        if not 0 <= level < whole.level_count:
            raise UsageError(
                f"opening {where}: it has levels 0 … {whole.level_count - 1}, got {level}"
            )
        reader = whole.at_level(level)
        names = _names(reader)
        masks = masked and level == 0 and reader.has_mask
        node = reader.level.get("spatial_ref")
        place: dict[str, Any] = {} if node is None else node.attrs.asdict()
        return cls(
            where=str(where),
            image=CodedArray.of(reader, level_image(level)),
            mask=CodedArray.of(reader, "mask") if masks else None,
            axes=reader.axes,
            names=names,
            bands=_chosen(str(where), names, bands),
            values=_values(path, reader, level, hu=hu, masked=masked),
            crs=place.get("crs_wkt"),
            transform=_transform(place),
        )

    @property
    def shape(self) -> tuple[int, ...]:
        return self.image.grid.shape

    @property
    def others(self) -> tuple[int, ...]:
        """Which axes are neither bands nor y and x."""
        return tuple(n for n, name in enumerate(self.axes[:-2]) if name != "band")

    @property
    def band_axis(self) -> int | None:
        return self.axes.index("band") if "band" in self.axes else None

    def needed(self, window: Window, size: int) -> list[Needed]:
        """Return the chunks that a patch of (size, size) is made of."""
        found = [one for one, _, _ in self._pieces(window, size)]
        if self.mask is not None:
            found += [Needed(self.mask, chunk, None) for chunk, _, _ in self._areas(
                self.mask, window, size)]  # fmt: skip
        return found

    def read(self, window: Window, size: int, get: Get) -> Array:
        """Return stored samples, (bands, size, size); ``get`` gives the samples of chunks."""
        out = np.empty((len(self.bands), size, size), self.image.dtype)
        for needed, bands, (into, part) in self._pieces(window, size):
            samples = get(needed)
            chunk = self.image.grid.chunk
            count = chunk[self.band_axis] if self.band_axis is not None else 1
            inner = [window.place[n] % chunk[axis] for n, axis in enumerate(self.others)]
            if needed.planes is None:
                planes = samples.reshape(-1, *chunk[-2:])
                first = _flat(inner, [chunk[axis] for axis in self.others]) * count
                taken = [first + band % count for _, band in bands]
            else:
                planes = samples
                first = _flat(inner, [chunk[axis] for axis in self.others]) * count
                taken = [needed.planes.index(first + band % count) for _, band in bands]
            for (at, _), plane in zip(bands, taken, strict=True):
                out[(at, *into)] = planes[(plane, *part)]
        return out

    def present(self, samples: Array, window: Window, size: int, get: Get) -> Array:
        """Return which of stored samples are there, as they are."""
        found = np.isfinite(samples) if samples.dtype.kind == "f" else np.ones(samples.shape, bool)
        if self.values.absent is not None:
            found &= samples != self._of_plane(self.values.absent, window)
        if self.values.padding is not None:
            low, high = self.values.padding
            found &= (samples < low) | (samples > high)
        if self.mask is not None:
            for chunk, into, part in self._areas(self.mask, window, size):
                found[(slice(None), *into)] &= get(Needed(self.mask, chunk, None))[part] > 0
        return found

    def rescaled(self, samples: Array, window: Window, dtype: np.dtype[Any]) -> Array:
        """Return physical values of stored samples; the same where no rescaling was asked for."""
        if self.values.slope is None or self.values.intercept is None:
            return samples.astype(dtype)
        slope = self._of_plane(self.values.slope, window)
        wide = samples.astype(np.float64) * slope
        return (wide + self._of_plane(self.values.intercept, window)).astype(dtype)

    def _of_plane(self, values: Array, window: Window) -> Array:
        """Return (bands, 1, 1) of what is told along the leading axes."""
        key: list[Any] = [slice(None)] * values.ndim
        for n, axis in enumerate(self.others):
            key[axis] = window.place[n] if values.shape[axis] > 1 else 0
        of_bands = np.atleast_1d(values[tuple(key)]).reshape(-1)
        chosen = of_bands[list(self.bands)] if len(of_bands) > 1 else of_bands
        return chosen.reshape(-1, 1, 1)

    def _pieces(self, window: Window, size: int) -> list[tuple[Needed, list[tuple[int, int]], Any]]:
        """Return for each chunk which bands it has of a patch, (number there, band), and where."""
        chunk = self.image.grid.chunk
        axis = self.band_axis
        count = chunk[axis] if axis is not None else 1
        lead = [0] * (len(chunk) - 2)
        for n, other in enumerate(self.others):
            lead[other] = window.place[n] // chunk[other]
        groups: dict[int, list[tuple[int, int]]] = {}
        for at, band in enumerate(self.bands):
            groups.setdefault(band // count, []).append((at, band))
        found = []
        for group, bands in groups.items():
            if axis is not None:
                lead[axis] = group
            planes = self._planes({band % count for _, band in bands}, count)
            for area, into, part in self._areas(self.image, window, size):
                needed = Needed(self.image, (*lead, *area), planes)
                found.append((needed, bands, (into, part)))
        return found

    def _planes(self, bands: set[int], count: int) -> tuple[int, ...] | None:
        """Return the planes of a chunk with these of its bands; None where that is most of them."""
        if 2 * len(bands) > count:
            return None
        others = math.prod(self.image.grid.chunk[axis] for axis in self.others)
        return tuple(n * count + band for n in range(others) for band in sorted(bands))

    def _areas(
        self, array: CodedArray, window: Window, size: int
    ) -> list[tuple[tuple[int, int], tuple[slice, slice], tuple[slice, slice]]]:
        """Return the (y, x) numbers of the chunks below a patch, and what of each goes where."""
        sides = [
            _overlaps(start, size, side)
            for start, side in zip(window[1:], array.grid.chunk[-2:], strict=True)
        ]
        return [
            ((down[0], across[0]), (down[1], across[1]), (down[2], across[2]))
            for down, across in itertools.product(*sides)
        ]


def _overlaps(start: int, size: int, side: int) -> list[tuple[int, slice, slice]]:
    """Return the chunks along an axis: number, where it lies in the patch, and what of it."""
    found = []
    for number in range(start // side, (start + size - 1) // side + 1):
        low, high = max(start, number * side), min(start + size, (number + 1) * side)
        inside = slice(low - number * side, high - number * side)
        found.append((number, slice(low - start, high - start), inside))
    return found


def _flat(index: Sequence[int], sizes: Sequence[int]) -> int:
    number = 0
    for one, count in zip(index, sizes, strict=True):
        number = number * count + one
    return number


def _names(reader: StoreReader) -> tuple[str, ...]:
    sizes = dict(zip(reader.axes, reader.shape, strict=True))
    count = sizes.get("band", 1)
    node = reader.level.get("band")
    labels: Any = () if node is None else node.attrs.asdict().get("labels", ())
    given = labels or reader.attrs.get("band_names") or ()
    names = [str(name) for name in given] if len(given) == count else [""] * count
    return tuple(name or str(number) for number, name in enumerate(names, 1))


def _chosen(
    where: str, names: tuple[str, ...], bands: Sequence[str | int] | None
) -> tuple[int, ...]:
    if bands is None:
        return tuple(range(len(names)))
    found = []
    for band in [bands] if isinstance(bands, str) else bands:
        numbers = bands_called(band, names, len(names))
        if len(numbers) > 1:
            raise UsageError(
                f"opening {where}: band {band!r} may be any of "
                f"{', '.join(map(str, numbers))}: give its number"
            )
        if not numbers:
            raise UsageError(
                f"opening {where}: it has no band {band!r}; its bands are {', '.join(names)}"
            )
        found.append(numbers[0] - 1)
    if not found:
        raise UsageError(f"opening {where}: bands names none")
    return tuple(found)


def _values(path: Any, reader: StoreReader, level: int, *, hu: bool, masked: bool) -> Values:  # noqa: ANN401
    axes = reader.axes[:-2]

    def aligned(variable: Any) -> Array | None:  # noqa: ANN401  # an xarray.Variable
        if variable is None:
            return None
        values: Array = np.asarray(variable.values, np.float64)
        shape = [values.shape[variable.dims.index(a)] if a in variable.dims else 1 for a in axes]
        return values.reshape(shape or (1,))

    slope = intercept = None
    if hu:
        name = reader.path.name
        slope, intercept = rescaling(open_dataset(_address(path), level=level), name)
    absent = absent_value(reader.attrs, reader.axes) if masked else None
    return Values(
        slope=aligned(slope),
        intercept=aligned(intercept),
        absent=aligned(absent),
        padding=padding_range(reader.attrs) if masked else None,
    )


def _address(path: Any) -> AnyPath:  # noqa: ANN401
    return str(path) if isinstance(path, HttpPath) else path


def _transform(place: Mapping[str, Any]) -> tuple[float, ...] | None:
    told = place.get("GeoTransform")
    if not isinstance(told, str):
        return None
    return tuple(float(number) for number in told.split())
