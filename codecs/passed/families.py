"""The families of streams that are kept as they came: how a head is read, what decodes them.

imagecodecs decodes them, which has OpenJPEG, libjxl and libwebp. It is loaded when the first such
record is decoded, and sees a stream only after its head was read here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tilepress.codecs.passed import jpeg2000, jpegxl, webp
from tilepress.codecs.passed.head import Head, Refused
from tilepress.errors import UnsupportedFormat

__all__ = ["FAMILIES", "Family", "decode", "family_of"]


@dataclass(frozen=True, slots=True)
class Family:
    """One kind of stream."""

    number: int
    """What payloads call it (FORMAT.md §13.1). Append only."""
    title: str
    codec: str
    """The class of imagecodecs that says whether it can be decoded."""
    read_head: Callable[[bytes], Head]
    may_leave_out: bool = False
    """Whether a stream whose head says that it is exact may leave bits out, which each decoder
    makes up in its way: then only its source can say that it loses nothing."""


FAMILIES = {
    "jpeg2000": Family(1, "JPEG 2000", "JPEG2K", jpeg2000.read_head, may_leave_out=True),
    "jpegxl": Family(2, "JPEG XL", "JPEGXL", jpegxl.read_head),
    "webp": Family(3, "WebP", "WEBP", webp.read_head),
}


def family_of(number: int) -> Family | None:
    """Return the family that payloads call so."""
    return next((one for one in FAMILIES.values() if one.number == number), None)


def decode(family: Family, data: bytes, head: Head, components: int) -> npt.NDArray[Any]:
    """Return the samples of a stream, (components, rows, columns), as its decoder gives them.

    Raises Refused where it does not decode to what its head says, UnsupportedFormat where there is
    no decoder.
    """
    library = _library(family)
    try:
        if family.codec == "JPEG2K":
            found = library.jpeg2k_decode(data, numthreads=1)
        elif family.codec == "JPEGXL":
            found = library.jpegxl_decode(data, numthreads=1)
        else:
            found = library.webp_decode(data, hasalpha=components == 4)
    except (RuntimeError, ValueError, TypeError, OverflowError) as error:
        raise Refused(f"decoding a {family.title} stream: its decoder refuses it") from error
    array = np.asarray(found)
    planes = array[np.newaxis] if array.ndim == 2 else np.moveaxis(array, -1, 0)
    if planes.shape != (components, head.rows, head.columns) or planes.dtype.kind not in "ui":
        raise Refused(
            f"decoding a {family.title} stream: it gives {planes.shape} samples of {planes.dtype}"
        )
    return planes


def _library(family: Family) -> Any:  # noqa: ANN401  # a module without types
    try:
        import imagecodecs  # here: most records need none of it

        if getattr(imagecodecs, family.codec).available:
            return imagecodecs
    except (ImportError, AttributeError) as error:
        raise _no_decoder(family) from error
    raise _no_decoder(family)


def _no_decoder(family: Family) -> UnsupportedFormat:
    return UnsupportedFormat(
        f"decoding a record: it keeps {family.title} streams, which the package imagecodecs "
        "decodes, and that is not installed or is without them; pip install imagecodecs"
    )
