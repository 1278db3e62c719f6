"""Find the bands of a scene that are on another grid: in stores beside that of an image.

Files of one scene that differ in resolution make a store each, called ``SCENE-10m`` and
``SCENE-20m``; a file that is alone keeps its own name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from tilepress.errors import TilepressError, UsageError
from tilepress.pipeline.image.band_choice import band_numbers, names_of_bands
from tilepress.pipeline.store.reader import StoreReader

__all__ = ["OtherBand", "bands_with_others"]

OtherBand = tuple[StoreReader, int, str]
"""A store, the number of a band there from 1, and what the band was called."""

_RESOLUTION = re.compile(r"-[0-9]+(\.[0-9]+)?m$")


def bands_with_others(
    reader: StoreReader, asked: Sequence[int | str], *, resample: bool
) -> tuple[list[int], list[OtherBand]]:
    """Return the numbers of bands from 1, and the bands of stores beside that are numbered on.

    Raises UsageError for what is no band; where a store beside has it and ``resample`` is not
    asked for, with the store's name and what to do.
    """
    name = reader.path.name
    own = reader.shape[reader.axes.index("band")] if "band" in reader.axes else 1
    others: list[OtherBand] = []
    numbers: list[int] = []
    for one in asked:
        try:
            numbers += band_numbers(reader, [one], name)
            continue
        except UsageError as error:
            found = next(_beside(reader, one), None) if isinstance(one, str) else None
            if found is None:
                raise
            if not resample:
                what = f"{one} is in {found[0].path.name}"
                raise UsageError(
                    f"{error}; {what}: export that, or add --resample nearest"
                ) from None
        others.append(found)
        numbers.append(own + len(others))
    if not others:
        return band_numbers(reader, asked, name), []
    if len(set(numbers)) != len(numbers):
        raise UsageError(f"exporting {name}: a band is named twice")
    return numbers, others


def _beside(reader: StoreReader, asked: str) -> Iterator[OtherBand]:
    """Yield the bands of this name in other stores of the scene."""
    scene = _RESOLUTION.sub("", reader.path.stem)
    folder = reader.path.parent
    for name in sorted(folder.folders()):
        if name == reader.path.name or not _is_of(name, scene):
            continue
        try:
            other = StoreReader.open(folder / name, decoder=reader.decoder)
            if "grid_mapping" not in other.attrs:
                continue
            yield other, band_numbers(other, [_known_as(other, asked)], name)[0], asked
        except (TilepressError, OSError):
            continue


def _is_of(name: str, scene: str) -> bool:
    is_named = re.match(rf"{re.escape(scene)}(?![A-Za-z0-9])", name) is not None
    return is_named and name.endswith(".zarr")


def _known_as(other: StoreReader, asked: str) -> int | str:
    """Return what a band is asked for by: of a file that is alone, its name tells its band."""
    if names_of_bands(other):
        if asked.isdecimal():
            raise UsageError("a number is none of another store")
        return asked
    words = re.split(r"[-_. ]", _plain(other.path.stem))
    if "band" not in other.axes and _plain(asked) in words and not asked.isdecimal():
        return 1
    raise UsageError("no band of that name")


def _plain(name: str) -> str:
    return re.sub(r"(?<![0-9])0+(?=[0-9])", "", name.casefold())
