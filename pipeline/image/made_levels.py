"""Say which levels of lower resolution are made of an image that has none itself, and how."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tilepress.codecs.reduce import METHODS, Method
from tilepress.errors import DamagedStore, UsageError
from tilepress.pipeline.image.info import ImageInfo

__all__ = [
    "AUTO",
    "LEVELS",
    "MADE_LEVELS",
    "NO_LEVELS",
    "MadeLevels",
    "gets_levels",
    "parse_asked",
]

LEVELS = "levels"
"""Option of a recipe: which levels are made, and how."""

MADE_LEVELS = "made_levels"
"""Attribute of an image: which levels were made, and how."""

AUTO, NO_LEVELS = "auto", "none"

_LARGE = 4096 * 4096
"""Samples of a plane above which an image gets levels by itself."""

_FIRST, _FIRST_OF_STREAMS = 4, 16
"""Factor of the first of them. An image that came in streams, mostly lossy ones, is few bytes, of
which lossless levels would be more."""

_SMALL = 512
"""Rows and columns of the last level at most: one chunk."""

_MOST = 12
"""Levels at most."""


def parse_asked(text: str) -> str | int:
    """Return what was asked for: "auto", "none" or how many. Raises UsageError."""
    if text in (AUTO, NO_LEVELS):
        return text
    if not text.isdecimal() or not 1 <= int(text) <= _MOST:
        raise UsageError(f"making levels: got {text!r}, want auto, none or 1 to {_MOST}")
    return int(text)


@dataclass(frozen=True, slots=True)
class MadeLevels:
    """Levels that are made of the full resolution."""

    factors: tuple[int, ...]
    """How many rows and columns one of a level stands for, level by level: powers of two."""
    methods: tuple[Method, ...]
    """One for the image, or one per band."""

    @classmethod
    def of(cls, info: ImageInfo, asked: str | int) -> MadeLevels | None:
        """Return the levels of an image; None where it gets none, or has its own."""
        factors = () if info.levels else _factors(info, asked)
        return cls(factors, _methods(info)) if factors else None

    @classmethod
    def from_json(cls, told: object) -> MadeLevels:
        """Return what ``to_json`` told; raises DamagedStore for what is no such thing."""
        if isinstance(told, Mapping):
            factors, methods = told.get("factors"), told.get("methods")
            if isinstance(factors, (list, tuple)) and isinstance(methods, (list, tuple)):
                known = all(isinstance(f, int) and f > 1 and not f & (f - 1) for f in factors)
                rising = list(factors) == sorted(set(factors)) if known else False
                if rising and 0 < len(factors) <= _MOST and methods and set(methods) <= {*METHODS}:
                    return cls(tuple(factors), tuple(methods))
        raise DamagedStore(f"reading which levels were made: got {str(told)[:80]!r}")

    def to_json(self) -> dict[str, Any]:
        return {"factors": list(self.factors), "methods": list(self.methods)}

    def shapes(self, shape: tuple[int, ...]) -> list[tuple[int, ...]]:
        """Return the shape of each level."""
        return [(*shape[:-2], *(-(-n // factor) for n in shape[-2:])) for factor in self.factors]


def gets_levels(shape: tuple[int, ...], asked: str | int) -> bool:
    """Whether an image of a shape (…, y, x) that has no levels gets some."""
    height, width = shape[-2:]
    if isinstance(asked, int):
        return asked > 0 and max(height, width) > 1
    return asked == AUTO and height * width > _LARGE


def _factors(info: ImageInfo, asked: str | int) -> tuple[int, ...]:
    if not gets_levels(info.shape, asked):
        return ()
    height, width = info.shape[-2:]
    if isinstance(asked, int):
        largest = max(height, width)
        return tuple(2**n for n in range(1, asked + 1) if 2 ** (n - 1) < largest)
    found = [_FIRST if info.stream_block is None else _FIRST_OF_STREAMS]
    while max(height, width) > _SMALL * found[-1] and len(found) < _MOST:
        found.append(2 * found[-1])
    return tuple(found)


def _methods(info: ImageInfo) -> tuple[Method, ...]:
    """Return how samples of each band are reduced: quantities, classes, what else is exact."""
    flags = info.attributes.get("band_flags")
    by_band = flags if isinstance(flags, list) and len(flags) == info.band_count else None
    found = tuple(
        _method(info, band, info.attributes if by_band is None else by_band[band] or {})
        for band in range(info.band_count)
    )
    return found[:1] if len(set(found)) == 1 else found


def _method(info: ImageInfo, band: int, told: Mapping[str, Any]) -> Method:
    classes = {"flag_values", "category_names", "color_table"} & set(told)
    if info.lossy_refusal is not None or classes:
        return "mode" if info.dtype.itemsize == 1 else "nearest"
    if info.bands and info.bands[band].exact is not None:
        return "nearest"
    is_wide = info.dtype.kind in "iu" and info.dtype.itemsize > 4
    return "nearest" if is_wide or info.dtype.kind not in "iuf" else "average"
