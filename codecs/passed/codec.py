"""Streams of JPEG 2000, JPEG XL or WebP ↔ a record that keeps them as they came.

``encode`` takes the streams of one chunk with the samples that the source's own reader gave for it;
``streams`` gives the same streams back; ``decode_payload`` gives the samples to whoever reads the
record. Where a stream's standard lets decoders differ, the record has no checksum of samples, but
one of its streams.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tilepress.codecs.budget import Budget, allowed_memory
from tilepress.codecs.grid import MAX_STREAMS, Grid
from tilepress.codecs.limits import MAX_RECORD_SAMPLES, MAX_SIDE
from tilepress.codecs.passed.colours import rgb_of_ycbcr
from tilepress.codecs.passed.families import FAMILIES, decode
from tilepress.codecs.passed.head import Head, Refused
from tilepress.codecs.passed.payload import (
    AS_DECODED,
    SIGNED,
    UNSIGNED,
    YCBCR,
    Payload,
    damaged,
    pack,
    unpack,
)
from tilepress.codecs.record import (
    NO_MODEL,
    RecordHeader,
    crc32c,
    pack_record,
    samples_crc,
    unpack_record,
)
from tilepress.codecs.registry import KEPT
from tilepress.errors import ChecksumMismatch, InvalidRecord, UnsupportedArray

__all__ = ["Refused", "decode_payload", "encode", "streams"]

Array = npt.NDArray[Any]


def encode(
    streams: Sequence[bytes | None],
    samples: Array,
    *,
    family: str,
    grid: Grid | None = None,
    shape: tuple[int, ...] | None = None,
    fill: float | int = 0,
    lossless: bool = False,
) -> bytes:
    """Put the streams of a chunk into one record, which decodes to ``samples``.

    Parameters
    ----------
    streams : in the order of the grid: frames, rows, columns. None where a sparse file has none;
        the samples there must be 0.
    samples : (y, x) or (planes, y, x), the components of each frame fastest: what the source's own
        reader gave. Integers.
    family : one of ``FAMILIES``.
    grid : how the streams cover the samples; None: each is a frame of its own.
    shape : of the whole chunk, where ``samples`` end with an image before it does; what is beyond
        them decodes to ``fill``.
    lossless : whether the source declares that its streams lose nothing. JPEG 2000 is exact only
        then: a reversible stream may leave passes out, and does not say so in its head.

    Raises Refused where the streams are not what is kept, or do not decode to ``samples``;
    TooMuchMemory where decoding them would take more than is allowed.
    """
    planes = samples if samples.ndim == 3 else samples[None]
    if planes.ndim != 3 or not planes.size or planes.dtype.kind not in "ui":
        raise Refused(f"keeping streams: got {samples.dtype} samples of shape {samples.shape}")
    if max(planes.shape) > MAX_SIDE or planes.size > MAX_RECORD_SAMPLES:
        raise Refused(f"keeping streams: shape {samples.shape} is beyond the limits")
    grid = grid or Grid(len(streams), 1, 1, *planes.shape[1:])
    if grid.count != len(streams) or not 1 <= grid.count <= MAX_STREAMS:
        raise UnsupportedArray(f"keeping streams: got {len(streams)}, want {grid.count}")
    kept = Payload(FAMILIES[family], AS_DECODED, grid, tuple(streams))
    budget = Budget("checking streams that are kept", allowed_memory(None))
    decoded, heads = _decoded(kept, planes.shape, budget)
    if not heads:
        raise Refused("keeping streams: there is none")
    exact = all(head.exact for head in heads)
    irreversible = not exact or (kept.family.may_leave_out and not lossless)
    meaning = _meaning(decoded, kept, heads, planes, irreversible=irreversible)
    whole = samples.shape if shape is None else shape
    little = planes.dtype.newbyteorder("<")
    header = RecordHeader(
        coder=KEPT["passed"].number,
        dtype=little,
        shape=whole if len(whole) == 3 else (1, *whole),
        coded=planes.shape,
        fill=np.asarray(fill, little).tobytes(),
        two_d=samples.ndim == 2,
        max_error=0.0,
        model_id=NO_MODEL,
        symbols_crc=_streams_crc(streams) if irreversible else samples_crc(planes),
        irreversible=irreversible,
    )
    return pack_record(header, pack(kept.family, meaning, grid, streams))


def streams(
    record: bytes | memoryview, *, max_memory: int | str | None = None
) -> list[bytes | None]:
    """Return the streams of a record as they came, in the order of its grid.

    Raises InvalidRecord, ChecksumMismatch, UnsupportedFormat or TooMuchMemory.
    """
    header, payload = unpack_record(record)
    if header.coder != KEPT["passed"].number:
        raise InvalidRecord("taking streams out of a record: it keeps none")
    doing = f"taking streams out of a record, crc32c {header.symbols_crc:08x}"
    Budget(doing, allowed_memory(max_memory)).check(len(payload))
    return list(unpack(payload).streams)


def decode_payload(payload: memoryview, header: RecordHeader, budget: Budget) -> Array:
    """Return the samples of a payload, not trusted, of the header's shape and dtype.

    Raises InvalidRecord, UnsupportedFormat or TooMuchMemory. The samples' checksum is the caller's
    business; that of streams, where the header has it, is looked at here.
    """
    if header.dtype.kind not in "ui" or 0 in header.coded:
        raise damaged(f"they make no {header.coded} samples of {header.dtype.name}")
    kept = unpack(payload)
    if header.irreversible and _streams_crc(kept.streams) != header.symbols_crc:
        raise ChecksumMismatch("decoding a record: its streams do not match their crc32c")
    budget = budget.less(len(payload) + 5 * math.prod(header.coded))
    try:
        decoded, heads = _decoded(kept, header.coded, budget)
    except Refused as error:
        raise damaged(str(error)) from error
    if not heads:
        raise damaged("there is none")
    if not _may_mean(kept.meaning, heads, irreversible=header.irreversible):
        raise damaged("its streams are not of the colours that it says")
    return _meant(decoded, kept, heads[0], kept.meaning, header.dtype)


def _decoded(
    kept: Payload, shape: tuple[int, ...], budget: Budget
) -> tuple[npt.NDArray[np.int32], list[Head]]:
    """Return the decoded numbers of all streams at their places, and the streams' heads.

    Raises Refused where they are not of this shape or not alike.
    """
    grid = kept.grid
    components, left = divmod(shape[0], grid.frames)
    if left or not _covers(grid, shape):
        raise Refused(f"keeping streams: {grid} does not cover samples of shape {shape}")
    heads = {}
    for number, data in enumerate(kept.streams):
        if data is not None:
            heads[number] = _checked_head(kept, number, data, components, shape)
    if len({(head.bits, head.signed, head.subsampled) for head in heads.values()}) > 1:
        raise Refused("keeping streams: their samples differ in bits or in kind")
    budget.check(max((head.memory for head in heads.values()), default=0))
    out = np.zeros(shape, np.int32)
    for number, head in heads.items():
        data = kept.streams[number]
        assert data is not None, "it has a head"
        top, left, high, wide = _place(grid, number, shape)
        plane = number // (grid.rows * grid.columns) * components
        samples = decode(kept.family, data, head, components)
        target = out[plane : plane + components, top : top + high, left : left + wide]
        target[...] = samples[:, :high, :wide]
    return out, list(heads.values())


def _checked_head(
    kept: Payload, number: int, data: bytes, components: int, shape: tuple[int, ...]
) -> Head:
    """Return the head of a stream that is of its place; raises Refused for another."""
    head, (*_, high, wide) = kept.family.read_head(data), _place(kept.grid, number, shape)
    grid = kept.grid
    fits = high <= head.rows <= grid.height and wide <= head.columns <= grid.width
    if not fits or components not in head.components:
        raise Refused(
            f"keeping streams: stream {number} has {head.rows} × {head.columns} samples of "
            f"{head.components} components, its place {high} × {wide} of {components}"
        )
    return head


def _covers(grid: Grid, shape: tuple[int, ...]) -> bool:
    """Whether a grid has no block outside the samples, and leaves none of these out."""
    sides = ((grid.rows, grid.height, shape[1]), (grid.columns, grid.width, shape[2]))
    return all((count - 1) * size < whole <= count * size for count, size, whole in sides)


def _place(grid: Grid, number: int, shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    """Return top, left, rows and columns of a stream's block, cut off at the samples' end."""
    row, column = divmod(number % (grid.rows * grid.columns), grid.columns)
    top, left = row * grid.height, column * grid.width
    return top, left, min(grid.height, shape[1] - top), min(grid.width, shape[2] - left)


def _meaning(
    decoded: npt.NDArray[np.int32],
    kept: Payload,
    heads: Sequence[Head],
    planes: Array,
    *,
    irreversible: bool,
) -> int:
    """Return what makes samples of decoded numbers; raises Refused where nothing does."""
    for meaning in (AS_DECODED, SIGNED, UNSIGNED, YCBCR):
        if not _may_mean(meaning, heads, irreversible=irreversible):
            continue
        if np.array_equal(_meant(decoded, kept, heads[0], meaning, planes.dtype), planes):
            return meaning
    raise Refused("keeping streams: their samples are not those that were read")


def _may_mean(meaning: int, heads: Sequence[Head], *, irreversible: bool) -> bool:
    """Whether streams may have a meaning: how colours are rounded is never exact."""
    if meaning != YCBCR:
        return not heads[0].subsampled
    is_colour = heads[0].components == (3,) and heads[0].bits == 8 and not heads[0].signed
    return irreversible and is_colour


def _meant(
    decoded: npt.NDArray[np.int32], kept: Payload, head: Head, meaning: int, dtype: np.dtype[Any]
) -> Array:
    if meaning == YCBCR and not head.subsampled:  # of those its decoder has made R, G, B
        return _colours(decoded, kept).astype(dtype)
    if meaning in (AS_DECODED, YCBCR):
        return decoded.astype(dtype)
    lowest = decoded & ((1 << head.bits) - 1)
    if meaning == SIGNED:
        lowest -= lowest >> (head.bits - 1) << head.bits
    return lowest.astype(dtype)


def _colours(decoded: npt.NDArray[np.int32], kept: Payload) -> npt.NDArray[np.int32]:
    """Return R, G, B of the blocks that have a stream, and 0 elsewhere."""
    out, grid = np.zeros_like(decoded), kept.grid
    for number, data in enumerate(kept.streams):
        if data is not None:
            top, left, high, wide = _place(grid, number, decoded.shape)
            first = 3 * (number // (grid.rows * grid.columns))
            block = (
                slice(first, first + 3), slice(top, top + high), slice(left, left + wide),
            )  # fmt: skip
            out[block] = rgb_of_ycbcr(decoded[block])
    return out


def _streams_crc(streams: Sequence[bytes | None]) -> int:
    return crc32c(b"".join(one for one in streams if one is not None))
