"""Tell which of the planes at one position belong to one volume, by what their headers say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from tilepress.pipeline.dicom.planes import Plane

__all__ = ["label", "volumes"]

IDENTITY = (
    *("segment", "echo_time", "echo_number", "inversion_time", "flip_angle", "kvp"),
    *("frame_type", "b_value", "gradient"),
)
"""What a volume is: its planes agree in all of these that are told alike at every position."""
COUNTED = ("temporal_position", "frame_acquisition_number", "acquisition_number")
"""Numbers of volumes; asked in turn where the identity leaves planes at one position alike."""
RANKED = ("trigger_time", "reference_time", "acquisition_time")
"""Times, which may differ from slice to slice of one volume: what counts is their order."""

_DECIMALS = 4
_Key = Callable[[Plane], Any]


def volumes(
    places: Sequence[Sequence[Plane]], numbers: Sequence[tuple[int, str]]
) -> list[list[Plane]] | None:
    """Return the volumes, in order, each with one plane per place; None where nothing tells.

    ``places`` hold equally many planes each. ``numbers`` are InstanceNumber and path of every
    instance: the number tells volumes apart where no label does, the path never does.
    """
    marks = _Marks(places)
    index = _dimensions(places)
    for name in IDENTITY:
        marks.refine(label(name))
    for key in (*map(label, COUNTED), index):
        marks.refine(key, needed=True)

    def number(plane: Plane) -> int:
        return numbers[plane.instance][0]

    times = [*map(label, RANKED), number, label("content_time")]
    used = [key for key in times if marks.rank(key)]
    found = marks.volumes()
    if found is None:
        return None
    alike = [key for key in map(label, _SORTED) if _is_constant(found, key)]
    keys = (*alike, *used, index, number, label("gradient"))

    def order(volume: list[Plane]) -> tuple[Any, ...]:
        first = volume[0]
        return *(_comparable(key(first)) for key in keys), first.frame, numbers[first.instance][1]

    return sorted(found, key=order)


_SORTED = (
    *("temporal_position", "acquisition_number", "b_value", "echo_number", "trigger_time"),
    *("segment", "echo_time", "inversion_time", "flip_angle", "kvp", "frame_type"),
    "frame_acquisition_number",
)
"""By what volumes are sorted, as far as all planes of each agree."""


class _Marks:
    """What is known of each plane so far; planes of one volume have the same marks."""

    def __init__(self, places: Sequence[Sequence[Plane]]) -> None:
        self._places = places
        self._marks: list[list[tuple[Any, ...]]] = [[()] * len(place) for place in places]

    @property
    def is_decided(self) -> bool:
        return all(len(set(marks)) == len(marks) for marks in self._marks)

    def refine(self, key: _Key, *, needed: bool = False) -> None:
        """Add a label, if every place then has the same marks equally often."""
        if needed and self.is_decided:
            return
        finer = [
            [(*mark, key(plane)) for mark, plane in zip(marks, place, strict=True)]
            for marks, place in zip(self._marks, self._places, strict=True)
        ]
        counted = Counter(finer[0])
        if all(Counter(marks) == counted for marks in finer[1:]):
            self._marks = finer

    def rank(self, key: _Key) -> bool:
        """Number the planes of equal marks at a place by a time, if that tells all of them apart.

        Returns whether it was needed and does.
        """
        if self.is_decided:
            return False
        finer = []
        for marks, place in zip(self._marks, self._places, strict=True):
            groups: dict[tuple[Any, ...], list[Any]] = {}
            for mark, plane in zip(marks, place, strict=True):
                groups.setdefault(mark, []).append(key(plane))
            several = [group for group in groups.values() if len(group) > 1]
            if any(None in group or len(set(group)) < len(group) for group in several):
                return False
            numbered = {mark: sorted(g) if len(g) > 1 else g for mark, g in groups.items()}
            pairs = zip(marks, place, strict=True)
            finer.append([(*mark, numbered[mark].index(key(plane))) for mark, plane in pairs])
        self._marks = finer
        return True

    def volumes(self) -> list[list[Plane]] | None:
        """Return the planes of every volume, in no order; None where marks are alike."""
        if not self.is_decided:
            return None
        pairs = zip(self._marks, self._places, strict=True)
        rows = [dict(zip(marks, place, strict=True)) for marks, place in pairs]
        return [[row[mark] for row in rows] for mark in self._marks[0]]


def label(name: str) -> _Key:
    """Return a function that gives a plane's label, floats rounded; None where it has none."""

    def value(plane: Plane) -> Any:  # noqa: ANN401  # what labels are
        found = plane.labels.get(name)
        if isinstance(found, float):
            return round(found, _DECIMALS)
        if isinstance(found, tuple):
            return tuple(round(one, _DECIMALS) for one in found)
        return found

    return value


def _dimensions(places: Sequence[Sequence[Plane]]) -> _Key:
    """Return a function that gives DimensionIndexValues without what says where a frame lies.

    That are the dimensions which no two planes at one position differ in.
    """
    every = [[plane.labels.get("dimension_index", ()) for plane in place] for place in places]
    sizes = {len(index) for place in every for index in place}
    size = sizes.pop() if len(sizes) == 1 else 0
    kept = [at for at in range(size) if any(len({i[at] for i in p}) > 1 for p in every)]
    return lambda plane: tuple(plane.labels["dimension_index"][at] for at in kept)


def _is_constant(found: Sequence[Sequence[Plane]], key: _Key) -> bool:
    return all(len({key(plane) for plane in planes}) == 1 for planes in found)


def _comparable(value: Any) -> tuple[Any, ...]:  # noqa: ANN401  # as above
    """Return what sorts before all else where a label is missing."""
    if value is None:
        return ()
    return value if isinstance(value, tuple) else (value,)
