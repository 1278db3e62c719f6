"""Compare the samples of a source with those of the store that was made of it, shard by shard."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from tilepress.codecs.loss import Lossless, Lossy
from tilepress.codecs.measured import Measured
from tilepress.errors import (
    CodecError,
    DamagedStore,
    InvalidRecord,
    ModelError,
    UnsupportedFormat,
)
from tilepress.pipeline.archive.coding import ImageCoding
from tilepress.pipeline.archive.hidden import hidden_of
from tilepress.pipeline.archive.lossy import DECODERS_DIFFER, Tally, first_band
from tilepress.pipeline.archive.plan import ImagePlan, ShardRef
from tilepress.pipeline.image.grid import Box
from tilepress.pipeline.image.source import TileSource, read_level, streams_of
from tilepress.pipeline.storage.retry import retried
from tilepress.pipeline.store.kept import IRREVERSIBLE
from tilepress.pipeline.store.keys import is_image, level_of
from tilepress.pipeline.store.manifest import ShardEntry
from tilepress.pipeline.store.reader import StoreReader
from tilepress.pipeline.store.shard_check import ShardBytes
from tilepress.pipeline.store.shard_decode import samples_sha256
from tilepress.pipeline.store.target import is_held

__all__ = ["Comparison", "SourceSamples", "differs_by_decoder", "find_difference", "may_differ"]


@dataclass(frozen=True)
class SourceSamples:
    """What an open source gives for each shard of a plan."""

    plan: ImagePlan
    source: TileSource
    worst: float = math.inf
    """The largest error that the store says was measured, of lossy coding; inf: it does not say."""

    @cached_property
    def coding(self) -> ImageCoding:
        return ImageCoding(self.plan)

    def read(self, ref: ShardRef) -> npt.NDArray[Any]:
        """Return the samples of a shard. Raises SourceError."""
        return self.coding.read(self.source, ref)

    def encode(self, ref: ShardRef) -> ShardBytes:
        """Code a shard."""
        return self.coding.encode(self.source, ref)

    def are_lossy(self, ref: ShardRef) -> bool:
        """Whether a shard need not have the very samples of the source."""
        return self.coding.is_lossy(ref)

    def are_those_of(self, listed: ShardEntry) -> bool:
        """Whether a lossless shard was made of them, by what the manifest says of it."""
        return samples_sha256(self.read(ShardRef(listed.array, listed.index))) == (
            listed.samples_sha256
        )

    def compare(self, ref: ShardRef, samples: npt.NDArray[Any]) -> ShardBytes:
        """Decode a shard that is stored, and compare it with ``samples``, within its bound.

        Raises as ``compare_shard`` does, and OSError where the shard cannot be read.
        """
        data = retried(self.plan.shard_path(ref).read)
        return self.coding.compare(ref, data, samples, self.source, self.worst)


class Comparison:
    """Compares what a store has, as it is decoded, with what its source gives."""

    def __init__(self, reader: StoreReader, source: TileSource) -> None:
        self._reader, self._source = reader, source
        self._all_compared = True
        self._tally: Tally | None = None

    @cached_property
    def of_shape(self) -> str | None:
        """How the two differ in shape, dtype or axes; then no samples can be compared."""
        reader, info = self._reader, self._source.info
        if (reader.shape, reader.dtype, reader.axes) == (info.shape, info.dtype, info.axes):
            levels = [reader.at_level(n).shape for n in range(1, reader.level_count)]
            found = [level.shape for level in info.levels]
            return None if levels == found else f"its levels are {levels}, the source's {found}"
        return (
            f"it is {reader.shape} of {reader.dtype} along {reader.axes}, "
            f"the source {info.shape} of {info.dtype} along {info.axes}"
        )

    def of_shard(
        self, array: str, index: tuple[int, ...], stored: npt.NDArray[Any] | None
    ) -> str | None:
        """Tell how a shard differs from the source, by more than its loss allows.

        ``stored`` are its decoded samples; None where they are not to be had, and the error that
        reading them gives is told.
        """
        level = level_of(array)
        box = self._reader.grid(array).box(index)
        if stored is None:
            try:
                stored = self._stored(level, box)
            except DamagedStore as error:
                self._all_compared = False
                return f"cannot be compared: {error}"
        source = self._source
        given = source.read_mask(box) if level is None else read_level(source, level, box)
        loss, nodata = self._reader.loss_of(array, index)
        wrong = loss.forbidden(given, stored, nodata)
        exact = self._reader.exact_beside(array)
        for band in exact:
            one, other = given[..., band, :, :], stored[..., band, :, :]
            wrong[..., band, :, :] |= Lossless().forbidden(one, other)
        if level is not None and wrong.any():
            self._excuse_same_streams(array, level, index, wrong)
        if isinstance(loss, Lossy) and level == 0 and not wrong.any():
            untrue = self._count(array, index, given, stored, nodata, exact)
            if untrue is not None:
                self._all_compared = False
                return untrue
        if not wrong.any():
            return None
        self._all_compared = False
        first = [int(i[0]) + a for i, a in zip(np.nonzero(wrong), box.start, strict=True)]
        return f"{int(wrong.sum())} of {wrong.size} samples differ, the first at {first}"

    @property
    def of_image(self) -> str | None:
        """How the source differs from a lossy store in all its samples together, once each shard
        was compared and none differed by itself."""
        if self._tally is None or not self._all_compared:
            return None
        return self._tally.contradiction(self._reader.statement)

    def _count(
        self,
        array: str,
        index: tuple[int, ...],
        given: npt.NDArray[Any],
        stored: npt.NDArray[Any],
        nodata: float | int | None,
        exact: frozenset[int],
    ) -> str | None:
        """Count a shard; tell which of its tiles does not hold the target that each has."""
        axes = self._reader.axes
        axis = axes.index("band") if is_image(array) and "band" in axes else None
        box = self._reader.grid(array).box(index)
        first = 0 if axis is None else box.start[axis]
        if self._tally is None:
            self._tally = Tally(self._source.info.band_count)
        loss = self._reader.loss
        read = hidden_of(self._source, loss)
        hidden = None if read is None else read(box)

        assert isinstance(loss, Lossy), "what is not lossy is not counted"
        slackened = self._slackened(loss)
        for tile in self._reader.grid(array).chunk_boxes(index):
            part = tile.shifted_to(box.start).slices
            marks = None if hidden is None else hidden[part]
            difference, found = Measured.by_blocks(
                given[part], stored[part], nodata, axis, exact, marks
            )
            self._tally.add(first, difference, found.as_tile(difference.squared))
            if loss.per_tile and not is_held(slackened, difference, found.present):
                return f"the tile at {list(tile.start)} does not hold {loss}"
        return None

    def _slackened(self, loss: Lossy) -> Lossy:
        """Return a target as another decoder of lossy streams may hold it."""
        if IRREVERSIBLE not in self._reader.statement:
            return loss
        return replace(loss, value=loss.value - 10 * math.log10(1 + DECODERS_DIFFER))

    def _stored(self, level: int | None, box: Box) -> npt.NDArray[Any]:
        if level is None:
            return self._reader.read_mask(box)
        return self._reader.at_level(level).read(box)

    def _excuse_same_streams(
        self, array: str, level: int, index: tuple[int, ...], wrong: npt.NDArray[np.bool_]
    ) -> None:
        """Take back what is wrong where a chunk keeps the very streams of the source.

        Two decoders gave other samples of a lossy stream then, within what its standard allows.
        """
        streams = streams_of(self._source, level)
        if streams is None:
            return
        grid, reader = self._reader.grid(array), self._reader.at_level(level)
        origin = grid.box(index).start
        for place in grid.chunk_boxes(index):
            if any(a >= n for a, n in zip(place.start, grid.shape, strict=True)):
                continue
            chunk = tuple(a // c for a, c in zip(place.start, grid.chunk, strict=True))
            inside = wrong[place.shifted_to(origin).slices]
            if inside.any() and reader.is_irreversible(chunk):
                given = streams(Box.of_chunk(chunk, grid.chunk, grid.shape))
                if given is not None and list(given.streams) == reader.streams(chunk):
                    inside[...] = False


def may_differ(reader: StoreReader, array: str) -> bool:
    """Whether shards of an array may keep streams that decoders make other samples of."""
    return IRREVERSIBLE in reader.statement and is_image(array)


def differs_by_decoder(reader: StoreReader, source: TileSource, ref: ShardRef) -> bool:
    """Whether a sound shard whose samples are others in the manifest is yet that of the source.

    So it is where it keeps the source's own lossy streams, which were decoded otherwise when it was
    written; what else it has must be the very samples. Raises DamagedStore and SourceError.
    """
    if not may_differ(reader, ref.array):
        return False
    return Comparison(reader, source).of_shard(ref.array, ref.index, None) is None


def find_difference(
    plan: ImagePlan, source: TileSource, reader: StoreReader | None = None
) -> str | None:
    """Tell where the sealed store of a plan has other samples than its source; None: nowhere.

    Reads the whole source, one shard at a time. Lossless shards are compared by the digests in the
    manifest and are not decoded; others are, and may be off by their bound. Where lossy streams are
    kept that now decode to other samples, these are compared instead. ``reader`` is the open store
    where the caller has it. Raises DamagedStore where the store is not sound enough to tell,
    SourceError where the source cannot be read.
    """
    reader = reader or StoreReader.open(plan.store)
    manifest, plan = reader.manifest, replace(plan, separator=reader.separator)
    samples = SourceSamples(plan, source, reader.worst)
    tally = Tally(plan.info.band_count)
    for ref in plan.shards():
        if samples.are_lossy(ref):
            found = _within_bound(samples, ref)
            same = found is not None
            if found is not None and found.measured is not None and level_of(ref.array) == 0:
                tally.add(first_band(plan, ref), found.difference, found.measured)
        else:
            listed = manifest.arrays[ref.array].get(ref.array, ref.index)
            same = samples.are_those_of(listed)
        if not same and not differs_by_decoder(reader, source, ref):
            return f"they differ in {ref.name}"
    return tally.contradiction(reader.statement)


def _within_bound(samples: SourceSamples, ref: ShardRef) -> ShardBytes | None:
    """Return what a comparison of a shard found; None where it is off by more than it may be."""
    try:
        return samples.compare(ref, samples.read(ref))
    except (FileNotFoundError, DamagedStore, InvalidRecord) as error:
        raise DamagedStore(
            f"comparing {samples.plan.store} with its source: {ref.name} is damaged; "
            "run tilepress repair"
        ) from error
    except (ModelError, UnsupportedFormat):
        raise
    except CodecError:
        return None
