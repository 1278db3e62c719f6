"""A quick look at a store: a PNG, or lines of a terminal."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import imagecodecs
import numpy as np

from tilepress.errors import UsageError
from tilepress.pipeline.catalogue.stores import is_store
from tilepress.pipeline.image.band_choice import bands_called, names_of_bands
from tilepress.pipeline.read.channels import band_count, told_channels
from tilepress.pipeline.read.look import Channel, Look, Pixels, look_of
from tilepress.pipeline.read.picture import Picture
from tilepress.pipeline.storage.path import storage_path
from tilepress.pipeline.store.reader import StoreReader
from tilepress.workflows.serve.asked import look_asked

__all__ = ["Shown", "as_png", "as_text"]

_COLORS = ((255, 0, 0), (0, 255, 0), (0, 0, 255))


Opener = Callable[[str], StoreReader]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What of a store is shown, as people write it; what is empty is as the store asks."""

    at: str = ""
    """Places along axes: ``z:12,t:0``."""
    bands: str = ""
    """One band or three, by name or by number from 1."""
    expression: str = ""
    """An index by its name, or a formula over bands."""
    rescale: str = ""
    """The values of the index that are brown and green: ``low,high``."""


def as_png(store: str, size: int, shown: Shown, opened: Opener = StoreReader.open) -> bytes:
    """Return a picture of a store, its longer side ``size`` pixels at most, as PNG."""
    return bytes(imagecodecs.png_encode(_drawn(_opened(store, opened), size, shown)))


def as_text(store: str, shown: Shown, opened: Opener = StoreReader.open) -> Iterator[str]:
    """Yield the lines of a picture that fits the terminal: two rows of pixels in each.

    A half block has the colour of the upper pixel, its background that of the lower one.
    """
    columns, lines = shutil.get_terminal_size((80, 24))
    picture = _drawn(_opened(store, opened), max(16, min(columns, 2 * (lines - 2))), shown)
    if len(picture) % 2:
        picture = np.concatenate([picture, np.zeros_like(picture[:1])])
    solid = (picture[..., :3] * (picture[..., 3:] / 255)).astype(int)
    for upper, lower in zip(solid[::2], solid[1::2], strict=True):
        cells = (
            f"\x1b[38;2;{a[0]};{a[1]};{a[2]}m\x1b[48;2;{b[0]};{b[1]};{b[2]}m▀"
            for a, b in zip(upper.tolist(), lower.tolist(), strict=True)
        )
        yield "".join(cells) + "\x1b[0m"


def _opened(store: str, opened: Opener) -> StoreReader:
    where = storage_path(store)
    if not where.exists():
        raise UsageError(f"showing {store}: no such file or folder")
    if where.is_folder() and not is_store(where):
        raise UsageError(f"showing {store}: it is no store; tilepress ls lists those of an archive")
    return opened(store)


def _drawn(reader: StoreReader, size: int, shown: Shown) -> Pixels:
    usual = _in_bands(reader, look_of(reader), shown.bands)
    query = {"at": shown.at, "expression": shown.expression, "rescale": shown.rescale}
    look = look_asked(query, reader, usual)
    return Picture(reader).overview(size, look)


def _in_bands(reader: StoreReader, usual: Look, bands: str) -> Look:
    if not bands:
        return usual
    asked = bands.split(",")
    if len(asked) not in (1, 3):
        raise UsageError(
            f"showing: got --bands {bands!r}, want one band or three, by name or from 1"
        )
    count, names = band_count(reader), names_of_bands(reader)
    found = [bands_called(one.strip(), names, count) for one in asked]
    if not all(len(numbers) == 1 for numbers in found):
        known = f", called {', '.join(names)}" if any(names) else ""
        raise UsageError(f"showing: got --bands {bands!r}, want bands of 1 … {count}{known}")
    places = [numbers[0] - 1 for numbers in found]
    ranges = {c.band: c for c in usual.channels}
    for band, one in enumerate(told_channels(reader)):
        if one.window is not None:
            ranges[band] = Channel(band, *one.window)
    first = usual.channels[0]
    colors = _COLORS if len(places) == 3 else ((255, 255, 255),)
    channels = tuple(
        Channel(band, ranges.get(band, first).low, ranges.get(band, first).high, color)
        for band, color in zip(places, colors, strict=True)
    )
    return replace(usual, channels=channels)
