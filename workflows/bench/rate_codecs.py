"""Codecs at several levels on one image: those of tiles, and what only a comparison has.

Names are those of ``--codec``, parameters and all; ``:apart`` after one codes each band by itself.
``jpeg`` is baseline JPEG of 8 bits, quality by quality: what the oldest figures are told against.
``compressai:ARCH@FILE+FILE…`` is a model with several checkpoints, a rate each; ``ntc@gan`` is what
another decoder (``net``, ``view``, ``gan``) makes of the same records, ``ntc@max`` another tier.
Tiles of ``ntc`` are stored by other codecs where ``compress`` would do so.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import imagecodecs
import numpy as np
import numpy.typing as npt

from tilepress.codecs.coder import BASE
from tilepress.codecs.difference import present_samples
from tilepress.codecs.levels import FINEST
from tilepress.codecs.loss import AtLeast, Lossy
from tilepress.codecs.metrics import psnr_db
from tilepress.codecs.ntc.decoders.choose import BUNDLED, is_generative
from tilepress.codecs.numbers import shown
from tilepress.codecs.registry import CODECS, coder_class
from tilepress.codecs.threads import map_chunks
from tilepress.codecs.tile import Levelled, TileCodec, decode_chunk, encode_chunk_at
from tilepress.errors import CodecError, UnsupportedArray, UsageError
from tilepress.pipeline.archive.exact import exact_bands
from tilepress.pipeline.archive.hidden import has_hidden, hidden_of
from tilepress.pipeline.archive.options import EncodeOptions
from tilepress.pipeline.archive.padding import kept_padding
from tilepress.pipeline.archive.peak import planned_peak
from tilepress.pipeline.image.grid import Box, choose_grid
from tilepress.pipeline.image.info import ImageInfo
from tilepress.pipeline.image.source import TileSource
from tilepress.pipeline.store.target import smallest_records
from tilepress.workflows.bench.images import Counted, FoundImage, read_images

__all__ = [
    "APART",
    "DECODERS",
    "PEAK",
    "PRESETS",
    "RD_CODECS",
    "TILE",
    "Given",
    "Ladder",
    "Rung",
    "check_name",
    "given_of",
    "left_out",
    "makes_up",
    "read_given",
    "refusal_of",
    "rungs",
    "tile_codec",
    "tiles_of",
]

Samples = npt.NDArray[Any]
Marks = npt.NDArray[np.bool_]
Code = Callable[[Samples, float], tuple[int, Samples]]
"""Codes a chunk at a level; returns its bytes, and what they decode to."""

RD_CODECS = ("jpeg2000", "htj2k", "jpegxl", "avif", "webp", "ntc", "mlp")
"""Those that are compared where nobody says; the first is what the others are measured against."""

PRESETS = {
    "survey": (
        *("jpeg", "jpeg2000", "avif", "mlp:block=4", "mlp"),
        *("ntc", "ntc@net", "ntc@view", "ntc@gan"),
    )
}
"""Names that stand for several: ``survey`` for the learned techniques (multilayer perceptrons, a
learned context model, a convolutional net, made-up detail) beside what they are told against."""

APART = ":apart"
"""After the name of a codec: each band is coded by itself."""

DECODERS = (*BUNDLED, "view")
TIERS = ("fast", "max")
"""What may be asked for after ``ntc@``."""

PEAK = "255 for 8 bits, else the range of the image's values, as compress --psnr has it"
"""What a PSNR is over, in words."""

TILE = 512
"""Rows and columns of a tile."""

_JPEG = "jpeg"
_NTC = "ntc"
_LOW = 8.0
"""The coarsest level that is tried."""
_CLOSE_DB = 0.5
_OPTIONS = EncodeOptions(psnr=40)
"""Of what would be compressed: any PSNR is of the same samples."""
_TRIES = 6


def check_name(name: str) -> None:
    """Raise UsageError for what is no lossy codec."""
    plain = _plain(name)
    if plain == _JPEG:
        return
    known = [one for one in CODECS if any(issubclass(x, Lossy) for x in coder_class(one).losses)]
    if plain.partition(":")[0] not in known:
        raise UsageError(
            f"comparing rates: got codec {plain!r}, want some of {', '.join(sorted(known))}, jpeg, "
            f"or {', '.join(PRESETS)}"
        )
    try:
        coder_class(plain)
    except CodecError as error:
        raise UsageError(f"comparing rates: {error}") from error
    after = _after(name)
    if plain == _NTC and after and after not in (*DECODERS, *TIERS):
        raise UsageError(
            f"comparing rates: got {shown(after)} after ntc@, want a decoder: "
            f"{', '.join(DECODERS)}, or a tier: {', '.join(TIERS)}"
        )


def _plain(name: str) -> str:
    return name.removesuffix(APART).partition("@")[0]


def _after(name: str) -> str:
    return name.removesuffix(APART).partition("@")[2]


def makes_up(name: str) -> bool:
    """Whether what is decoded shows texture that was never in the original."""
    return _plain(name) == _NTC and _after(name) in DECODERS and is_generative(_after(name))


def rungs(name: str, given: Given, targets_db: Sequence[float]) -> list[Rung]:
    """Return different codings of an image by rising rate, near each PSNR where a codec has levels.

    Raises UnsupportedArray where the codec does not take it, UnsupportedFormat where a decoder
    cannot run here.
    """
    after = _after(name)
    if after and _plain(name) != _NTC:  # a rate to each file
        found = [
            Ladder(name, given, tiles_of(TileCodec(_plain(name), quality=50, model=file), given))
            for file in after.split("+")
        ]
        return sorted((one.at(_LOW) for one in found), key=lambda rung: rung.size)
    if _plain(name) == _JPEG:
        if given.samples.dtype != np.uint8:
            raise UnsupportedArray(
                f"codec 'jpeg' takes uint8, the samples are {given.samples.dtype}"
            )
        return Ladder(name, given, _jpeg).near(targets_db)
    codec = tile_codec(name, given)
    ladder = Ladder(name, given, tiles_of(codec, given))
    near = ladder.near(targets_db)
    return [ladder.stored(rung, codec) for rung in near] if _plain(name) == _NTC else near


def tile_codec(name: str, given: Given) -> TileCodec:
    """Return the codec of tiles that a name means, for an image."""
    after = _after(name)
    return TileCodec(
        _plain(name),
        quality=50,
        peak=given.peak,
        nodata=given.info.nodata,
        tier=after if after in TIERS else "standard",
        decoder=after if after and after not in TIERS else BASE,
    )


def tiles_of(codec: TileCodec, given: Given) -> Code:
    """Return what codes tiles at a level; raises UnsupportedArray where they cannot be."""
    codec.check(given.samples.dtype)

    def code(chunk: Samples, level: float) -> tuple[int, Samples]:
        record, _ = encode_chunk_at(codec, chunk, level, given.peak)
        return len(record), decode_chunk(codec, record, chunk.shape, chunk.dtype)

    return code


def _jpeg(chunk: Samples, level: float) -> tuple[int, Samples]:
    """Code a chunk as JPEG streams of optimised tables, three bands as one without subsampling."""
    planes = chunk.reshape(-1, *chunk.shape[-2:])
    colours = chunk.ndim > 2 and chunk.shape[-3] == 3
    size, out = 0, np.empty_like(planes)
    for first in range(0, len(planes), 3 if colours else 1):
        picture = planes[first]
        if colours:
            picture = np.ascontiguousarray(np.moveaxis(planes[first : first + 3], 0, -1))
        quality = max(1, min(100, round(level)))
        data = imagecodecs.jpeg8_encode(picture, level=quality, optimize=True, subsampling="444")
        back = np.asarray(imagecodecs.jpeg8_decode(data))
        size += len(data)
        out[first : first + (3 if colours else 1)] = np.moveaxis(back, -1, 0) if colours else back
    return size, out.reshape(chunk.shape)


class Given(NamedTuple):
    """An image that codecs are tried on."""

    info: ImageInfo
    samples: Samples
    present: Marks
    """Marks the samples that a PSNR is of: neither absent nor hidden."""
    peak: float
    """Of its PSNR, as ``PEAK`` says."""
    tile: int


def read_given(sources: Sequence[str | Path]) -> Iterator[FoundImage]:
    """Read whole images, one at a time, with the peaks that ``compress --psnr`` has for them."""
    return read_images(sources, counted_of=_counted)


def _counted(source: TileSource) -> Counted:
    info = source.info
    loss = replace(AtLeast(_CLOSE_DB), visible=has_hidden(info))
    hidden = hidden_of(source, loss)
    whole = Box((0,) * len(info.shape), info.shape)
    return Counted(
        peak=planned_peak(source, _OPTIONS),
        exact=exact_bands(source, _OPTIONS),
        hidden=None if hidden is None else hidden(whole),
    )


def refusal_of(found: FoundImage) -> str | None:
    """Tell why nothing of an image that was read may be lost; None where something may."""
    assert found.info is not None, "it was read"
    assert found.samples is not None, "it was read"
    is_logical = found.samples.dtype.kind == "b"
    return found.info.lossy_refusal or ("samples are true or false" if is_logical else None)


def given_of(found: FoundImage, tile: int) -> Given | None:
    """Return an image that was read, with the samples that count; None where none does.

    Padding of one value is its nodata, as stores keep it: exact, and of no weight in a PSNR; nor
    has what a mask or alpha hides. Bands that no store loses anything of are left out. Where that
    is all of the image, which so has no peak, it is that of all present samples.
    """
    info, samples, counted = found.info, found.samples, found.counted
    assert info is not None, "it was read"
    assert samples is not None, "it was read"
    assert counted is not None, "it was asked for"
    info = replace(info, nodata=kept_padding(info, AtLeast(_CLOSE_DB))[1])
    present = present_samples(samples, info.nodata)
    if counted.hidden is not None:
        present &= ~counted.hidden
    if left := left_out(found):
        info, samples, present = _without(info, samples, present, left)
    if not present.any():
        return None
    peak = counted.peak
    if peak is None:
        peak = AtLeast(_CLOSE_DB).peak_of(samples[present])
    return Given(info, samples, present, peak, tile)


def left_out(found: FoundImage) -> Mapping[int, str]:
    """Return the bands, from 0, that are not compared because no store loses anything of them, and
    why; none where that is so of all bands."""
    assert found.info is not None, "it was read"
    assert found.counted is not None, "it was asked for"
    exact = found.counted.exact
    return exact if len(exact) < found.info.band_count else {}


def _without(
    info: ImageInfo, samples: Samples, present: Marks, bands: Collection[int]
) -> tuple[ImageInfo, Samples, Marks]:
    """Return an image without some of its bands."""
    axis = info.axes.index("band")
    rest = [n for n in range(info.band_count) if n not in bands]
    samples, present = np.take(samples, rest, axis), np.take(present, rest, axis)
    told = dict(info.attributes)
    if told.get("color_interpretation"):
        told["color_interpretation"] = [told["color_interpretation"][n] for n in rest]
    kept = tuple(info.bands[n] for n in rest) if info.bands else ()
    return replace(info, shape=samples.shape, bands=kept, attributes=told), samples, present


class Rung(NamedTuple):
    """An image, coded at a level."""

    level: float
    decoded: Samples
    size: int
    """Bytes of all records."""
    psnr_db: float


class Ladder:
    """A codec at the levels that were tried on an image."""

    def __init__(self, name: str, given: Given, code: Code) -> None:
        self._given, samples, self._code = given, given.samples, code
        grid = choose_grid(
            samples.shape, samples.dtype.itemsize, tile=given.tile, max_shard_bytes=2**62
        )
        if name.endswith(APART) and "band" in given.info.axes:
            grid = grid.apart(given.info.axes.index("band"))
        self.boxes: list[Box] = []
        """Of the tiles, clipped to the image."""
        for index in grid.indices():
            for box in grid.chunk_boxes(index):
                ends = zip(box.stop, samples.shape, strict=True)
                stop = tuple(min(a, n) for a, n in ends)
                if all(a < b for a, b in zip(box.start, stop, strict=True)):
                    self.boxes.append(Box(box.start, stop))
        self._known: dict[float, Rung] = {}

    def near(self, targets_db: Sequence[float]) -> list[Rung]:
        """Return different rungs, one near each PSNR as far as the levels go, by rising level."""
        found = {rung.level: rung for rung in map(self._near, targets_db)}
        return [found[level] for level in sorted(found)]

    def _near(self, target_db: float) -> Rung:
        ends = [self.at(level) for level in (_LOW, FINEST)]
        for _ in range(_TRIES):
            below = [one for one in self._known.values() if one.psnr_db <= target_db]
            above = [one for one in self._known.values() if one.psnr_db > target_db]
            if not below or not above:
                break
            low, high = max(below, key=_place), min(above, key=_place)
            if min(target_db - low.psnr_db, high.psnr_db - target_db) <= _CLOSE_DB:
                break
            span = high.psnr_db - low.psnr_db
            share = (target_db - low.psnr_db) / span if math.isfinite(span) else 0.5
            level = low.level + min(0.9, max(0.1, share)) * (high.level - low.level)
            if (level := round(level * 4) / 4) in self._known:
                break
            self.at(level)
        known = (one for one in self._known.values() if math.isfinite(one.psnr_db))
        return min(known, key=lambda one: abs(one.psnr_db - target_db), default=ends[0])

    def at(self, level: float) -> Rung:
        """Return the image coded at a level."""
        if level not in self._known:
            given = self._given
            decoded = np.empty_like(given.samples)

            def code(box: Box) -> int:
                chunk = np.ascontiguousarray(given.samples[box.slices])
                size, decoded[box.slices] = self._code(chunk, level)
                return size

            size = sum(map_chunks(code, self.boxes))
            psnr = psnr_db(given.samples, decoded, given.present, given.peak)
            self._known[level] = Rung(level, decoded, size, psnr)
        return self._known[level]

    def stored(self, rung: Rung, codec: TileCodec) -> Rung:
        """Return a rung as a store has it, with tiles of other codecs where they are smaller."""
        given = self._given
        chunks = [np.ascontiguousarray(given.samples[box.slices]) for box in self.boxes]
        level, peak = rung.level, given.peak

        def coded(chunk: Samples) -> Levelled:
            record, difference = encode_chunk_at(codec, chunk, level, peak)
            return Levelled(record, level, difference)

        records = smallest_records(codec, chunks, map_chunks(coded, chunks))
        decoded = np.empty_like(given.samples)

        def decode(pair: tuple[Box, bytes]) -> None:
            box, record = pair
            part = decoded[box.slices]
            part[...] = decode_chunk(codec, record, part.shape, part.dtype)

        map_chunks(decode, zip(self.boxes, records, strict=True))
        psnr = psnr_db(given.samples, decoded, given.present, given.peak)
        return Rung(level, decoded, sum(map(len, records)), psnr)


def _place(rung: Rung) -> tuple[float, float]:
    """Return what rungs are ordered by: several levels may mean the same to a codec."""
    return rung.psnr_db, rung.level
