"""What a request asks for, checked: every number within bounds before anything is read."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import replace

from tilepress.errors import UsageError
from tilepress.pipeline.read.channels import band_count
from tilepress.pipeline.read.indices import index_of, normalized
from tilepress.pipeline.read.look import Channel, Look
from tilepress.pipeline.store.reader import StoreReader

__all__ = ["look_asked", "number"]

MAX_CHANNELS = 8

_COLOR = re.compile(r"[0-9a-fA-F]{6}")


def look_asked(query: Mapping[str, str], reader: StoreReader, usual: Look) -> Look:
    """Return the look that the parameters of an address ask for.

    ``c`` : channels, parted by ";", each ``band:low:high`` or ``band:low:high:rrggbb``
    ``nd`` : two bands ``a,b``, from 0, for (a − b) / (a + b)
    ``expression`` : an index by its name, or a formula over bands (``index_of``)
    ``rescale`` : ``low,high``, the values of the index that are brown and green
    ``at`` : places along axes, e.g. ``z:5,t:0``

    Raises UsageError.
    """
    look = usual
    bands = band_count(reader)
    if query.get("c"):
        look = replace(look, channels=_channels(query["c"], bands))
    if query.get("nd"):
        parts = query["nd"].split(",")
        if len(parts) != 2:
            raise UsageError(f"drawing: got nd={query['nd'][:40]}, want two bands")
        a, b = (number(part, "band", bands) for part in parts)
        look = replace(look, index=normalized(a, b))
    if query.get("index"):
        raise UsageError(f"drawing: got index={query['index'][:40]}, want it as expression=")
    if query.get("rescale") and not query.get("expression"):
        raise UsageError("drawing: rescale is of an index; give expression, too")
    if query.get("expression"):
        low, high = _range(query.get("rescale", ""))
        look = replace(look, index=index_of(reader, query["expression"], low=low, high=high))
    if query.get("at"):
        look = replace(look, place={**look.place, **_place(query["at"], reader)})
    return look


def number(text: str, what: str, count: int) -> int:
    """Return a number of 0 … count − 1; raises UsageError."""
    if not re.fullmatch(r"[0-9]{1,9}", text) or int(text) >= count:
        raise UsageError(f"drawing: got {what} {text[:40]!r}, want 0 … {count - 1}")
    return int(text)


def _channels(text: str, bands: int) -> tuple[Channel, ...]:
    found: list[Channel] = []
    for part in text.split(";")[: MAX_CHANNELS + 1]:
        fields = part.split(":")
        if len(fields) not in (3, 4) or len(found) == MAX_CHANNELS:
            raise UsageError(
                f"drawing: got channel {part[:40]!r}, want at most {MAX_CHANNELS} of band:low:high"
            )
        band = number(fields[0], "band", bands)
        low, high = (_finite(field) for field in fields[1:3])
        color = fields[3] if len(fields) == 4 else "ffffff"
        if not _COLOR.fullmatch(color):
            raise UsageError(f"drawing: got colour {color[:40]!r}, want rrggbb")
        red, green, blue = bytes.fromhex(color)
        found.append(Channel(band, low, high, (red, green, blue)))
    return tuple(found)


def _range(text: str) -> tuple[float | None, float | None]:
    if not text:
        return None, None
    parts = text.split(",")
    if len(parts) != 2:
        raise UsageError(f"drawing: got rescale={text[:40]!r}, want low,high")
    low, high = (_finite(part) for part in parts)
    return low, high


def _finite(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or abs(value) > 1e30:
        raise UsageError(f"drawing: got {text[:40]!r}, want a number")
    return value


def _place(text: str, reader: StoreReader) -> dict[str, int]:
    counts = dict(zip(reader.axes[:-2], reader.shape[:-2], strict=True))
    counts.pop("band", None)
    found = {}
    for part in text.split(","):
        axis, _, at = part.partition(":")
        if axis not in counts:
            known = f"want one of {', '.join(sorted(counts))}" if counts else "and there are none"
            raise UsageError(f"drawing: got axis {axis[:40]!r}, {known}")
        found[axis] = number(at, axis, counts[axis])
    return found
