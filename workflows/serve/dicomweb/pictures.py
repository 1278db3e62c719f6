"""Rendered frames and thumbnails (PS3.18 10.4.1.1.5, 8.3.5) as PNG or JPEG."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt
from starlette.datastructures import QueryParams
from starlette.requests import Request

from tilepress.errors import TooMuchMemory, UsageError
from tilepress.pipeline.dicom.shown import Function, Window, drawn
from tilepress.pipeline.read.look import reduced
from tilepress.workflows.serve.dicomweb.accept import not_acceptable, taken
from tilepress.workflows.serve.dicomweb.holdings import Instance

__all__ = ["picture", "picture_type"]

THUMBNAIL = 128

MAX_SIDE = 4096
"""Rows or columns of a picture."""

MAX_SAMPLES = 2**26
"""Samples of a frame that is drawn."""

_TYPES = ("image/jpeg", "image/png")
_RESERVED = frozenset(("window", "viewport", "quality", "accept"))
_FUNCTIONS: dict[str, Function] = {
    "linear": "LINEAR",
    "linear-exact": "LINEAR_EXACT",
    "sigmoid": "SIGMOID",
}


@dataclass(frozen=True, slots=True)
class _Asked:
    window: Window | None
    size: tuple[int, int] | None
    """Columns and rows that the picture fits into."""
    region: tuple[float, float, float, float] | None
    """Left, top, width and height of what is shown, in pixels of the frame."""
    quality: int


def picture_type(request: Request) -> str:
    """Return the media type of a picture that a request takes; raises HTTPException 406."""
    for one in taken(request):
        for media in _TYPES:
            if not one.multipart and one.means(media):
                return media
    raise not_acceptable(*_TYPES)


def picture(
    instance: Instance, frame: int, media: str, query: QueryParams, *, thumbnail: bool
) -> bytes:
    """Return a frame, from 0, as the parameters of an address ask for it; raises UsageError."""
    asked = _asked(query, thumbnail=thumbnail)
    stored = instance.stored
    if stored.pixels.array_bytes // stored.pixels.itemsize > MAX_SAMPLES:
        raise TooMuchMemory("drawing a DICOM frame: it has too many samples")
    samples = instance.held.frames(alone=True).read(stored.frames[frame])
    pixels = drawn(samples, instance.data_set(), stored.photometric, asked.window)
    bands = np.moveaxis(pixels, -1, 0) if pixels.ndim == 3 else pixels[np.newaxis]
    shaped = _shaped(bands, asked)
    image = np.ascontiguousarray(np.moveaxis(shaped, 0, -1) if len(shaped) == 3 else shaped[0])
    if media == "image/png":
        return bytes(imagecodecs.png_encode(image, level=1))
    return bytes(imagecodecs.jpeg8_encode(image, level=asked.quality))


def _asked(query: QueryParams, *, thumbnail: bool) -> _Asked:
    for name in query:
        if name not in _RESERVED:
            raise UsageError(f"drawing: want no parameters but {', '.join(sorted(_RESERVED))}")
    size, region = _viewport(query["viewport"]) if query.get("viewport") else (None, None)
    quality = query.get("quality") or "90"
    if not re.fullmatch(r"[0-9]{1,3}", quality) or not 1 <= int(quality) <= 100:
        raise UsageError("drawing: quality is no number from 1 to 100")
    return _Asked(
        window=_window(query["window"]) if query.get("window") else None,
        size=size or ((THUMBNAIL, THUMBNAIL) if thumbnail else None),
        region=region,
        quality=int(quality),
    )


def _window(text: str) -> Window:
    parts = text.split(",")
    function = _FUNCTIONS.get(parts[2].strip()) if len(parts) == 3 else "LINEAR"
    if len(parts) not in (2, 3) or function is None:
        raise UsageError(
            f"drawing: want window=center,width or with one of {', '.join(_FUNCTIONS)} behind"
        )
    center, width = _number(parts[0]), _number(parts[1])
    if width <= 0 or (function == "LINEAR" and width < 1):
        raise UsageError("drawing: a window has a width of 1 or more, of 0 or more if exact")
    return Window(center, width, function)


def _viewport(text: str) -> tuple[tuple[int, int], tuple[float, float, float, float] | None]:
    parts = text.split(",")
    if len(parts) not in (2, 6):
        raise UsageError("drawing: want viewport=columns,rows or with left,top,width,height behind")
    wide, high = (_number(part) for part in parts[:2])
    if not (1 <= wide <= MAX_SIDE and 1 <= high <= MAX_SIDE):
        raise UsageError(f"drawing: a viewport has 1 to {MAX_SIDE} columns and rows")
    if len(parts) == 2:
        return (int(wide), int(high)), None
    left, top, width, height = (_number(part) if part.strip() else math.nan for part in parts[2:])
    return (int(wide), int(high)), (left, top, width, height)


def _number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number) or abs(number) > 1e12:
        raise UsageError("drawing: a parameter is no number")
    return number


def _shaped(bands: npt.NDArray[np.uint8], asked: _Asked) -> npt.NDArray[np.uint8]:
    """Return the part that is asked for, (bands, y, x), of a size that fits the viewport."""
    height, width = bands.shape[-2:]
    flipped: list[int] = []
    if asked.region is not None:
        left, top, wide, high = asked.region
        left, top = (0.0 if math.isnan(n) else n for n in (left, top))
        wide = width - left if math.isnan(wide) else wide
        high = height - top if math.isnan(high) else high
        flipped = [axis for axis, length in ((1, high), (2, wide)) if length < 0]
        wide, high = abs(wide), abs(high)
        x0, y0, x1, y1 = round(left), round(top), round(left + wide), round(top + high)
        if not (0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height):
            raise UsageError("drawing: the part that is asked for does not lie in the frame")
        bands = bands[:, y0:y1, x0:x1]
    height, width = bands.shape[-2:]
    size = asked.size or (MAX_SIDE, MAX_SIDE)
    factor = min(size[0] / width, size[1] / height)
    factor = factor if asked.size else min(1.0, factor)
    rows, columns = max(1, round(height * factor)), max(1, round(width * factor))
    if (rows, columns) != (height, width):
        present: npt.NDArray[Any] = np.ones(bands.shape, bool)
        bands = np.rint(reduced(bands, present, (rows, columns), False)[0]).astype(np.uint8)
    return np.flip(bands, tuple(flipped))
