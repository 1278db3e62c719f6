"""JPEG streams ↔ a record: coded better, decoded to samples, or given back byte by byte.

``encode`` takes the streams of one chunk (the tiles of a TIFF's chunk, a frame of DICOM, the tiles
of a slide) with the samples that the source's own reader gave for it; ``streams`` gives the same
streams back; ``decode_payload`` gives the samples to whoever reads the record, which no
configuration needs to foresee.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from tilepress.codecs.budget import Budget, allowed_memory
from tilepress.codecs.grid import MAX_STREAMS, Grid
from tilepress.codecs.jpeg import render as rendering
from tilepress.codecs.jpeg.correction import Correction, decode_correction, encode_correction
from tilepress.codecs.jpeg.layout import Layout, lay_out
from tilepress.codecs.jpeg.markers import Refused, damaged
from tilepress.codecs.jpeg.meaning import Chunk, find_meaning
from tilepress.codecs.jpeg.payload import Head, Payload, pack, unpack
from tilepress.codecs.jpeg.planes import ALIKE, LUMINANCE, decode_blocks, encode_blocks
from tilepress.codecs.jpeg.planes import memory_of as memory_of_blocks
from tilepress.codecs.jpeg.priors import default_priors, priors_of
from tilepress.codecs.jpeg.stream import (
    Blocks,
    Stream,
    read_stream,
    read_tables,
    write_stream,
)
from tilepress.codecs.limits import MAX_RECORD_SAMPLES, MAX_SIDE
from tilepress.codecs.numbers import shown
from tilepress.codecs.record import (
    RecordHeader,
    crc32c,
    pack_record,
    samples_crc,
    unpack_record,
)
from tilepress.codecs.registry import KEPT
from tilepress.errors import ChecksumMismatch, InvalidRecord, UnsupportedArray

__all__ = ["COLOURS", "Colour", "Grid", "Refused", "decode_payload", "encode", "streams"]

Array = npt.NDArray[Any]
Colour = Literal["as coded", "rgb", "cmyk"]

COLOURS: dict[str, int] = {
    "as coded": rendering.NO_TRANSFORM,
    "rgb": rendering.YCC,
    "cmyk": rendering.YCCK,
}
"""What samples are of components: these as they are; RGB of YCbCr; CMYK of YCCK."""

_DTYPES = {8: ("uint8", "uint16", "int16"), 12: ("uint16", "int16")}


def encode(
    streams: Sequence[bytes | None],
    samples: Array,
    *,
    grid: Grid | None = None,
    tables: bytes = b"",
    colour: Colour | None = None,
    inverted: bool | None = None,
    shape: tuple[int, ...] | None = None,
    fill: float | int = 0,
) -> bytes:
    """Code the streams of a chunk to one record, which decodes to ``samples``.

    Parameters
    ----------
    streams : in the order of the grid: frames, rows, columns. None where a sparse file has none;
        the samples there must be 0.
    samples : (y, x) or (planes, y, x), the components of each frame fastest: what the source's own
        reader gave. uint8, or uint16 or int16 for 12 bits.
    grid : how the streams cover the samples; None: each is a frame of its own.
    tables : the abbreviated stream of tables that all streams share (TIFF's JPEGTables).
    colour : what the samples are of the streams' components. None: what fits the samples.
    inverted : samples are what is left to the largest value. None: what fits the samples.
    shape : of the whole chunk, where ``samples`` end with an image before it does; what is beyond
        them decodes to ``fill``.

    Raises Refused where the streams are not what is coded here, or where they do not decode to
    ``samples``, nor nearly: then another coder must take the samples.
    """
    planes = _planes_of(samples)
    if grid is None:
        grid = Grid(len(streams), 1, 1, *planes.shape[1:])
    if grid.count != len(streams) or not 1 <= grid.count <= MAX_STREAMS:
        raise UnsupportedArray(f"coding JPEG streams: got {len(streams)}, want {grid.count}")
    shared = read_tables(tables)
    read = [None if data is None else read_stream(data, shared) for data in streams]
    found = tuple(None if one is None else one[0] for one in read)
    layout = lay_out(grid, found)
    _check_fits(planes.shape, planes.dtype, grid, found)
    wanted = None if colour is None else _number_of(colour)
    if wanted is not None:
        _check_colour(wanted, found)
    blocks: Blocks = np.zeros((layout.blocks, 64), np.int16)
    for one, places in zip(read, layout.places, strict=True):
        if one is not None:
            _gather(one[0], one[1], blocks, places)
    del read
    whole = samples.shape if shape is None else shape
    meaning = find_meaning(Chunk(grid, found, blocks, layout, planes), wanted, inverted)
    head = Head(
        grid, tables, found, meaning.colour, meaning.inverted, meaning.manner,
        _family(blocks, layout, meaning.colour),
        crc32c(b"".join(data for data in streams if data is not None)),
    )  # fmt: skip
    size = sum(len(data) for data in streams if data is not None)
    priors = default_priors()
    code = encode_blocks(blocks, layout, head.family, priors, size + (1 << 16))
    correction = _correct(head, blocks, layout, planes)
    payload = pack(head, code, correction)
    header = RecordHeader(
        coder=KEPT["jpeg"].number,
        dtype=planes.dtype.newbyteorder("<"),
        shape=whole if len(whole) == 3 else (1, *whole),
        coded=planes.shape,
        fill=np.asarray(fill, planes.dtype.newbyteorder("<")).tobytes(),
        two_d=samples.ndim == 2,
        max_error=0.0,
        model_id=priors.model_id,
        symbols_crc=samples_crc(planes),
    )
    record = pack_record(header, payload)
    _verify(record, streams, planes)
    return record


def _planes_of(samples: Array) -> Array:
    """Return samples as (planes, y, x); raises UnsupportedArray for what no record can hold."""
    planes = samples if samples.ndim == 3 else samples[None]
    if planes.ndim != 3 or not planes.size:
        raise UnsupportedArray(f"coding JPEG streams: got samples of shape {samples.shape}")
    if max(planes.shape) > MAX_SIDE or planes.size > MAX_RECORD_SAMPLES:
        raise UnsupportedArray(f"coding JPEG streams: shape {samples.shape} is beyond the limits")
    return planes


def _number_of(colour: str) -> int:
    if colour not in COLOURS:
        raise UnsupportedArray(
            f"coding JPEG streams: got colour {shown(colour)}, want one of {tuple(COLOURS)}"
        )
    return COLOURS[colour]


def streams(
    record: bytes | memoryview, *, max_memory: int | str | None = None
) -> list[bytes | None]:
    """Return the streams of a record as they came, in the order of its grid.

    Raises InvalidRecord, ChecksumMismatch, UnsupportedFormat or TooMuchMemory; never returns bytes
    that are not those coded.
    """
    header, payload = unpack_record(record)
    if header.coder != KEPT["jpeg"].number:
        raise InvalidRecord("taking streams out of a record: it keeps none")
    budget = Budget(
        f"taking streams out of a record, crc32c {header.symbols_crc:08x}",
        allowed_memory(max_memory),
    )
    try:
        return _streams(header, payload, budget)
    except MemoryError as error:
        raise budget.exhausted() from error


def decode_payload(payload: memoryview, header: RecordHeader, budget: Budget) -> Array:
    """Return the samples of a payload, not trusted, of the header's shape and dtype.

    Raises InvalidRecord, UnsupportedFormat or TooMuchMemory; the samples' checksum is the caller's
    business.
    """
    parts, layout = _take_apart(payload, header, budget)
    size = header.dtype.itemsize * math.prod(header.coded)
    work = max(rendering.memory_of(one) for one in parts.head.streams if one is not None)
    extra = 0 if parts.correction is None else 12 * math.prod(header.coded)
    budget.check(size + memory_of_blocks(layout) + work + extra)
    priors = priors_of(header.model_id)
    blocks = decode_blocks(parts.code, layout, parts.head.family, priors)
    return _samples(parts, blocks, layout, header)


def _streams(header: RecordHeader, payload: memoryview, budget: Budget) -> list[bytes | None]:
    parts, layout = _take_apart(payload, header, budget)
    budget = budget.less(memory_of_blocks(layout))
    budget.check()
    blocks = decode_blocks(parts.code, layout, parts.head.family, priors_of(header.model_id))
    try:
        return _rebuilt(parts.head, blocks, layout, budget)
    except Refused as error:
        raise damaged(f"a skeleton is damaged ({error})") from error


def _rebuilt(head: Head, blocks: Blocks, layout: Layout, budget: Budget) -> list[bytes | None]:
    """Return the streams of decoded blocks, checked."""
    found: list[bytes | None] = []
    for stream, places in zip(head.streams, layout.places, strict=True):
        found.append(None if stream is None else write_stream(stream, blocks, places))
        budget = budget.less(len(found[-1] or b""))
        budget.check()
    if crc32c(b"".join(data for data in found if data is not None)) != head.crc:
        raise ChecksumMismatch("taking streams out of a record: they do not match their crc32c")
    return found


def _take_apart(
    payload: memoryview, header: RecordHeader, budget: Budget
) -> tuple[Payload, Layout]:
    parts = unpack(payload, budget)
    try:
        layout = lay_out(parts.head.grid, parts.head.streams)
        _check_fits(header.coded, header.dtype, parts.head.grid, parts.head.streams)
        _check_colour(parts.head.colour, parts.head.streams)
        _check_manner(parts.head)
    except UnsupportedArray as error:
        raise damaged(f"its streams do not fit together ({error})") from error
    return parts, layout


def _check_fits(
    shape: tuple[int, ...], dtype: np.dtype[Any], grid: Grid, found: Sequence[Stream | None]
) -> None:
    """Raise Refused unless streams can be of samples of this shape and dtype."""
    frames = [stream.frame for stream in found if stream is not None]
    for index in range(len(frames[0].components)):
        for frame in frames:
            rendering.sampling(frame, index)
    if dtype.name not in _DTYPES[frames[0].precision]:
        raise Refused(f"coding JPEG streams: {frames[0].precision} bits do not make {dtype.name}")
    if shape[0] != grid.frames * len(frames[0].components):
        raise Refused(
            f"coding JPEG streams: {grid.frames} frames of {len(frames[0].components)} components "
            f"do not make {shape[0]} planes"
        )


def _check_colour(colour: int, found: Sequence[Stream | None]) -> None:
    """Raise Refused unless components are as many as a colour is made of."""
    count = next(len(stream.frame.components) for stream in found if stream is not None)
    want = {rendering.YCC: 3, rendering.YCCK: 4}.get(colour, count)
    if count != want:
        raise Refused(f"coding JPEG streams: got {count} components for a colour made of {want}")


def _check_manner(head: Head) -> None:
    """Raise Refused for samples that nobody makes so."""
    if head.manner == rendering.FINE:
        for stream in head.streams:
            if stream is not None and not rendering.can_be_fine(stream.frame, head.colour):
                raise Refused("coding JPEG streams: manner 3 is not for their colour or sampling")


def _gather(stream: Stream, own: Blocks, blocks: Blocks, places: list[tuple[int, int]]) -> None:
    """Copy a stream's blocks to their places in the chunk."""
    for index, (first, stride) in enumerate(stream.own_places()[0]):
        rows, columns = stream.coded[index]
        at, wide = places[index]
        for row in range(rows):
            source = own[first + row * stride : first + row * stride + columns]
            blocks[at + row * wide : at + row * wide + columns] = source


def _family(blocks: Blocks, layout: Layout, colour: int) -> int:
    """Tell whether components are alike, as R, G and B are: then those before foretell much."""
    planes = layout.planes
    if colour != rendering.NO_TRANSFORM or len(planes) < 3:
        return LUMINANCE
    if any((plane.h, plane.v) != (planes[0].h, planes[0].v) for plane in planes[1:3]):
        return LUMINANCE
    size = planes[0].owners.size
    first, second = (
        blocks[plane.first : plane.first + size, [1, 8]].astype(np.int64) for plane in planes[:2]
    )
    return ALIKE if np.abs(second - first).sum() < np.abs(second).sum() else LUMINANCE


def _rendered(
    head: Head, blocks: Blocks, layout: Layout, shape: tuple[int, ...], dtype: np.dtype[Any]
) -> Array:
    out = np.zeros(shape, dtype)
    for number, stream in enumerate(head.streams):
        if stream is not None:
            rendering.render(
                head.grid, number, stream, blocks, layout.places[number], head.colour,
                head.inverted, head.manner, out,
            )  # fmt: skip
    return out


def _samples(parts: Payload, blocks: Blocks, layout: Layout, header: RecordHeader) -> Array:
    samples = _rendered(parts.head, blocks, layout, header.coded, header.dtype)
    if parts.correction is not None:
        samples += decode_correction(parts.correction, header.coded).astype(samples.dtype)
    return samples


def _correct(head: Head, blocks: Blocks, layout: Layout, planes: Array) -> Correction | None:
    """Return the code of what samples are more than libjpeg's; None where they are the same."""
    ours = _rendered(head, blocks, layout, planes.shape, planes.dtype)
    if np.array_equal(ours, planes):
        return None
    difference = np.subtract(planes, ours, dtype=np.int32)
    correction = encode_correction(difference)
    if correction is None:
        share = np.count_nonzero(difference) / difference.size
        raise Refused(
            f"coding JPEG streams: {100 * share:.1f} % of the samples are not those of the streams,"
            f" by up to {np.abs(difference).max()}"
        )
    return correction


def _verify(record: bytes, given: Sequence[bytes | None], planes: Array) -> None:
    """Raise Refused unless a record gives streams and samples back."""
    header, payload = unpack_record(record)
    budget = Budget("checking a record of JPEG streams", 2**40)
    try:
        parts, layout = _take_apart(payload, header, budget)
        blocks = decode_blocks(
            parts.code, layout, parts.head.family, priors_of(header.model_id)
        )  # fmt: skip
        same = _rebuilt(parts.head, blocks, layout, budget) == list(given)
    except ChecksumMismatch:
        same = False
    except InvalidRecord as error:
        raise Refused(f"coding JPEG streams: {error}") from error
    if not same or not np.array_equal(_samples(parts, blocks, layout, header), planes):
        raise Refused("coding JPEG streams: they were not written as their tables let one write")
