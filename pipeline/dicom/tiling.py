"""Read where the frames of one instance lie on the matrix of a slide (PS3.3 C.8.12.6, C.7.6.17)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from tilepress.pipeline.dicom.values import (
    code,
    first_item,
    hashed,
    integer_or,
    is_present,
    number,
    text_of,
    words,
)

__all__ = ["TILING_TAGS", "Tiling", "is_sound_tiling", "tiling_of"]

TILING_TAGS = [
    Tag(keyword)
    for keyword in words("""
    ConcatenationFrameOffsetNumber NumberOfOpticalPaths OpticalPathSequence
    TotalPixelMatrixFocalPlanes
""")
]

MAX_SIDE = 2**31 - 1
MAX_PATHS = 4096
MAX_PLANES = 2**20
MAX_FRAMES = 2**40
"""That a matrix has room for."""

Places = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tiling:
    """Where the frames of an instance lie on its matrix."""

    rows: int
    """Of the whole matrix."""
    columns: int
    paths: tuple[str, ...]
    """Hashes of the identifiers of optical paths, in their order."""
    places: Places = field(repr=False)
    """For each frame: its first row and column, from 0; number of its path in ``paths``; number of
    its focal plane."""
    depths: tuple[float, ...] = ()
    """Where focal planes lie, in µm, in order of their numbers; () where nothing says."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Tiling) and (
            (self.rows, self.columns, self.paths, self.depths)
            == (other.rows, other.columns, other.paths, other.depths)
            and np.array_equal(self.places, other.places)
        )

    def __hash__(self) -> int:
        return hash((self.rows, self.columns, self.paths, self.depths, self.places.tobytes()))


def is_sound_tiling(tiling: object, frames: int) -> bool:
    """Whether a tiling has the types and sizes that ``tiling_of`` gives it."""
    return (
        isinstance(tiling, Tiling)
        and type(tiling.rows) is int
        and type(tiling.columns) is int
        and 0 < tiling.rows <= MAX_SIDE
        and 0 < tiling.columns <= MAX_SIDE
        and isinstance(tiling.places, np.ndarray)
        and tiling.places.dtype == np.int64
        and tiling.places.shape == (frames, 4)
        and all(isinstance(path, str) for path in tiling.paths)
        and all(isinstance(depth, float) for depth in tiling.depths)
        and int(tiling.places.min(initial=0)) >= 0
        and int(tiling.places[:, 2].max(initial=0)) < max(1, len(tiling.paths))
        and int(tiling.places[:, 3].max(initial=0)) < (len(tiling.depths) or MAX_PLANES)
    )


def tiling_of(dataset: Dataset, frames: int, rows: int, columns: int) -> Tiling | None:
    """Return the tiling of an instance; None where it is no slide's, or does not say where.

    rows, columns : of a frame.
    """
    height = integer_or(dataset, "TotalPixelMatrixRows", 0)
    width = integer_or(dataset, "TotalPixelMatrixColumns", 0)
    if not (0 < height <= MAX_SIDE and 0 < width <= MAX_SIDE and rows > 0 and columns > 0):
        return None
    listed = dataset.get("OpticalPathSequence") or ()
    identifiers = [text_of(item, "OpticalPathIdentifier") for item in listed]
    groups = list(dataset.get("PerFrameFunctionalGroupsSequence") or ())
    is_full = code(dataset, "DimensionOrganizationType") == "TILED_FULL"
    if is_full or not groups:
        size = (height, width, rows, columns)
        return _full(dataset, identifiers, frames, size)
    if len(groups) != frames:
        return None
    return _sparse(dataset, identifiers, groups, (height, width))


def _full(
    dataset: Dataset, identifiers: Sequence[str], frames: int, size: tuple[int, int, int, int]
) -> Tiling | None:
    """Return the tiling of frames that follow by column, row, focal plane, path (C.7.6.17.3)."""
    height, width, rows, columns = size
    planes = max(1, integer_or(dataset, "TotalPixelMatrixFocalPlanes", 1))
    count = max(1, integer_or(dataset, "NumberOfOpticalPaths", len(identifiers) or 1))
    if count > MAX_PATHS or planes > frames:
        return None
    known = [*identifiers, *(str(number) for number in range(len(identifiers), count))][:count]
    shape = (count, planes, -(-height // rows), -(-width // columns))
    first = max(0, integer_or(dataset, "ConcatenationFrameOffsetNumber", 0))
    total = int(np.prod(shape, dtype=object))
    is_part = is_present(dataset, "ConcatenationFrameOffsetNumber")
    if total > MAX_FRAMES or first + frames > total or (first + frames < total and not is_part):
        return None
    numbers = np.arange(first, first + frames, dtype=np.int64)
    path, plane, down, across = np.unravel_index(numbers, shape)
    places = np.stack([down * rows, across * columns, path, plane], axis=1).astype(np.int64)
    spacing = number(_measures(dataset), "SpacingBetweenSlices") if planes > 1 else None
    depths = tuple(1000.0 * spacing * n for n in range(planes)) if spacing else ()
    paths = tuple(map(hashed, known))
    return Tiling(rows=height, columns=width, paths=paths, places=places, depths=depths)


def _sparse(
    dataset: Dataset, identifiers: Sequence[str], groups: Sequence[Dataset], size: tuple[int, int]
) -> Tiling | None:
    """Return the tiling of frames that each say where they lie (C.8.12.6.1)."""
    shared = first_item(dataset, "SharedFunctionalGroupsSequence")
    common = _path_of(shared)
    known = {name: at for at, name in enumerate(identifiers)}
    rows: list[tuple[int, int, int]] = []
    depths: list[float] = []
    for group in groups:
        place = first_item(group, "PlanePositionSlideSequence")
        down = integer_or(place, "RowPositionInTotalImagePixelMatrix", 0)
        across = integer_or(place, "ColumnPositionInTotalImagePixelMatrix", 0)
        if not (0 < down <= MAX_SIDE and 0 < across <= MAX_SIDE):
            return None
        name = _path_of(group) or common
        rows.append((down - 1, across - 1, known.setdefault(name, len(known))))
        depths.append(number(place, "ZOffsetInSlideCoordinateSystem") or 0.0)
    if len(known) > MAX_PATHS:
        return None
    levels = sorted(set(depths))
    at = {depth: n for n, depth in enumerate(levels)}
    both = zip(rows, depths, strict=True)
    places = np.array([(*row, at[depth]) for row, depth in both], np.int64)
    return Tiling(
        rows=size[0],
        columns=size[1],
        paths=tuple(map(hashed, known)),
        places=places,
        depths=tuple(levels),
    )


def _path_of(group: Dataset) -> str:
    return text_of(first_item(group, "OpticalPathIdentificationSequence"), "OpticalPathIdentifier")


def _measures(dataset: Dataset) -> Dataset:
    shared = first_item(dataset, "SharedFunctionalGroupsSequence")
    return first_item(shared, "PixelMeasuresSequence")
