"""The head of a JPEG 2000 or High-Throughput JPEG 2000 codestream (ITU-T T.800, T.814).

All markers up to the last tile-part are walked, so that what a decoder will allocate is known: it
depends on tiles, precincts and code-blocks, of which a stream of few bytes can claim many.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from tilepress.codecs.passed.head import MAX_BITS, Head, Refused, ceil_div

__all__ = ["read_head"]

SIZ, COD, COC, SOT, SOD, EOC = 0xFF51, 0xFF52, 0xFF53, 0xFF90, 0xFF93, 0xFFD9
_MAIN = frozenset({0xFF50, 0xFF55, 0xFF57, 0xFF59, 0xFF5C, 0xFF5D, 0xFF5E, 0xFF63, 0xFF64})
"""CAP, TLM, PLM, CPF, QCD, QCC, RGN, CRG, COM: they change nothing that is asked here."""
_TILE = frozenset({0xFF58, 0xFF5C, 0xFF5D, 0xFF5E, 0xFF64})
"""PLT, QCD, QCC, RGN, COM: of a tile-part. One that orders packets otherwise is refused."""

_LESS_COLOUR = tuple([b"\7\1\1", less, less] for less in (b"\7\2\1", b"\7\2\2"))
"""Components of 8 bits whose second and third have half of the columns, or of both: as scanners
write Y, Cb, Cr."""
_MAX_COMPONENTS = 16
_MAX_TILES = 2**14
_MAX_LEVELS = 32
_MAX_PACKETS = 2**24
"""Each takes a decoder some time, also where it is empty."""
_BYTES_OF_PIECE = 1024
"""What a decoder keeps of a code-block, a precinct or a resolution of a tile, generously."""
_BYTES_OF_TILE, _BYTES_OF_COMPONENT = 2**14, 2**11
_BYTES_OF_SAMPLE = 24
"""The image and a tile as 32-bit numbers, each with a copy, and what is given back."""

_JP2 = b"\0\0\0\x0cjP  \r\n\x87\n"
_PLAIN_BOXES = frozenset({b"ihdr", b"bpcc", b"colr", b"res "})
"""What an image header may say without that decoders give other components for it."""


@dataclass(frozen=True, slots=True)
class _Size:
    rows: int
    columns: int
    tiles: int
    tile: tuple[int, int]
    components: int
    bits: int
    signed: bool
    subsampled: bool


@dataclass(frozen=True, slots=True)
class _Style:
    """How components are coded."""

    layers: int
    levels: int
    block: int
    """Samples of a code-block."""
    precinct: int
    """Samples of the smallest precinct."""
    reversible: bool


def read_head(data: bytes) -> Head:
    """Return what a whole codestream, bare or in a JP2 file, says of itself; raises Refused."""
    try:
        return _read(_codestream(memoryview(data)))
    except (struct.error, IndexError) as error:
        raise _refused("it is cut") from error


def _read(data: memoryview) -> Head:
    if bytes(data[:4]) != b"\xff\x4f\xff\x51":
        raise _refused("got no start of a codestream")
    size, styles, at = None, [], 2
    for marker, place, segment in _segments(data, 2):
        at = place
        if marker == SIZ:
            size = _size(segment)
        elif marker in (COD, COC):
            styles.append(_style(marker, segment))
        elif marker == SOT:
            break
        elif marker not in _MAIN:
            raise _refused(f"it has a marker {marker:#06x}")
    if size is None or not styles:
        raise _refused("it does not say how it is coded")
    styles += _tile_parts(data, at, size.tiles)
    return Head(
        rows=size.rows,
        columns=size.columns,
        components=(size.components,),
        bits=size.bits,
        signed=size.signed,
        exact=all(style.reversible for style in styles),
        memory=_memory(size, styles),
        subsampled=size.subsampled,
    )


def _codestream(data: memoryview) -> memoryview:
    """Return the codestream of a JP2 file; what begins otherwise as it is."""
    if bytes(data[:12]) != _JP2:
        return data
    for kind, content in _boxes(data):
        if kind == b"jp2c":
            return content
        if kind == b"jp2h" and any(inner not in _PLAIN_BOXES for inner, _ in _boxes(content)):
            raise _refused("its file makes other components of it")
    raise _refused("its file has no codestream")


def _boxes(data: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    at = 0
    while at + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        if length == 0:
            length = len(data) - at
        if length < 8 or at + length > len(data):
            raise _refused("its file has a box of an impossible length")
        yield kind, data[at + 8 : at + length]
        at += length


def _segments(data: memoryview, at: int) -> Iterator[tuple[int, int, memoryview]]:
    """Yield markers with their places and segments, up to one that has data behind it."""
    while True:
        (marker,) = struct.unpack_from(">H", data, at)
        if marker in (SOD, EOC):
            yield marker, at, data[at:at]
            return
        (length,) = struct.unpack_from(">H", data, at + 2)
        if marker < 0xFF4F or length < 2 or at + 2 + length > len(data):
            raise _refused(f"its marker at byte {at} is none, or is cut")
        yield marker, at, data[at + 4 : at + 2 + length]
        at += 2 + length


def _size(segment: memoryview) -> _Size:
    _, x1, y1, x0, y0, wide, high, left, top, count = struct.unpack_from(">H8IH", segment)
    rows, columns = y1 - y0, x1 - x0
    if rows <= 0 or columns <= 0 or not wide or not high or left > x0 or top > y0:
        raise _refused("its size is impossible")
    if not 1 <= count <= _MAX_COMPONENTS or len(segment) != 36 + 3 * count:
        raise _refused(f"it has {count} components")
    kinds = [bytes(segment[36 + 3 * n : 39 + 3 * n]) for n in range(count)]
    subsampled = kinds in _LESS_COLOUR
    if not subsampled and (set(kinds) != {kinds[0]} or not kinds[0].endswith(b"\1\1")):
        raise _refused("its components differ, or are sampled less than others")
    if subsampled and (x0 or y0 or left or top):
        raise _refused("its colours do not begin where its luminance does")
    depth = segment[36]
    bits = (depth & 127) + 1
    if bits > MAX_BITS:
        raise _refused(f"its samples have {bits} bits")
    tiles = ceil_div(x1 - left, wide) * ceil_div(y1 - top, high)
    if tiles > _MAX_TILES:
        raise _refused(f"it has {tiles} tiles")
    tile = min(high, rows), min(wide, columns)
    return _Size(rows, columns, tiles, tile, count, bits, bool(depth & 128), subsampled)


def _style(marker: int, segment: memoryview) -> _Style:
    """Return what a segment of COD or COC says."""
    at, layers = 2, 1
    if marker == COD:
        at, (layers,) = 5, struct.unpack_from(">H", segment, 2)
    has_precincts = segment[at - 5 if marker == COD else at - 1] & 1
    levels, wide, high, _, transform = struct.unpack_from(">5B", segment, at)
    if levels > _MAX_LEVELS or wide > 8 or high > 8 or wide + high > 8 or transform > 1:
        raise _refused("its coding style is impossible")
    precinct = 1 << 30
    if has_precincts:
        sizes = bytes(segment[at + 5 : at + 6 + levels])
        if len(sizes) != levels + 1:
            raise _refused("its precincts are cut")
        precinct = min(1 << (size & 15) + (size >> 4) for size in sizes)
    return _Style(layers, levels, 1 << wide + high + 4, precinct, transform == 1)


def _tile_parts(data: memoryview, at: int, tiles: int) -> list[_Style]:
    """Return what tiles say of their own; raises Refused unless tile-parts of every tile follow
    each other up to the end marker."""
    found, styles = set(), []
    while True:
        (marker,) = struct.unpack_from(">H", data, at)
        if marker == EOC:
            break
        if marker != SOT:
            raise _refused(f"its tile-part at byte {at} is none")
        tile, length = struct.unpack_from(">HI", data, at + 4)
        if tile >= tiles:
            raise _refused(f"it has a tile {tile} of {tiles}")
        found.add(tile)
        end = at + 12
        for kind, place, segment in _segments(data, at + 12):
            end = place + 2
            if kind in (COD, COC):
                styles.append(_style(kind, segment))
            elif kind not in _TILE and kind != SOD:
                raise _refused(f"a tile has a marker {kind:#06x}")
        if length == 0:  # up to the end marker, behind which a byte may fill up an even length
            if bytes(data[-3:]).rstrip(b"\0")[-2:] != b"\xff\xd9":
                raise _refused("it is cut")
            break
        if length < end - at or at + length > len(data):
            raise _refused("it is cut")
        at += length
    if len(found) != tiles:
        raise _refused(f"it has {len(found)} of {tiles} tiles")
    return styles


def _memory(size: _Size, styles: list[_Style]) -> int:
    """Return what decoding takes, as a decoder needs it that keeps all tiles."""
    area = size.rows * size.columns
    samples = _BYTES_OF_SAMPLE * area * size.components
    tiles = size.tiles * (_BYTES_OF_TILE + _BYTES_OF_COMPONENT * size.components)
    pieces = max(_pieces(size, style) for style in styles) * size.components
    layers = max(style.layers for style in styles)
    packets = max(_in_tile(size, style) for style in styles) * size.components * (layers + 1)
    if packets * size.tiles > _MAX_PACKETS:
        raise _refused("it has too many packets")
    return samples + tiles + _BYTES_OF_PIECE * pieces + 2 * packets


def _pieces(size: _Size, style: _Style) -> int:
    """Return about how many resolutions, precincts and code-blocks all tiles have at most."""
    area = size.rows * size.columns
    side = max(1, math.isqrt(min(style.block, style.precinct)))
    borders = 2 * (style.levels + 1) * (size.tile[0] + size.tile[1]) * size.tiles
    whole = sum(2 * ceil_div(area, min(one, area)) for one in (style.precinct, style.block))
    return 3 * size.tiles * (style.levels + 1) + whole + ceil_div(borders, side)


def _in_tile(size: _Size, style: _Style) -> int:
    """Return how many packets a tile has in a layer at most."""
    tile = size.tile[0] * size.tile[1]
    return (style.levels + 1) * (1 + 2 * ceil_div(tile, min(style.precinct, tile)))


def _refused(found: str) -> Refused:
    return Refused(f"keeping a JPEG 2000 stream: {found}")
