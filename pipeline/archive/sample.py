"""Code some tiles of an image, to tell about how large its store will be and how long it takes."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tilepress.codecs.tile import TileCodec, encode_chunk
from tilepress.pipeline.archive.coding import ImageCoding
from tilepress.pipeline.archive.plan import ImagePlan, ShardRef
from tilepress.pipeline.image.source import TileSource
from tilepress.pipeline.image.streams import Streams
from tilepress.pipeline.store.kept import are_recoded, keep_streams

__all__ = ["Sample", "sample_image"]


@dataclass(slots=True)
class Sample:
    """What the coding of some tiles gave; samples of several images add up."""

    raw_bytes: int = 0
    coded_bytes: int = 0
    seconds: float = 0.0
    """Of one thread: reading, coding and decoding for the check."""
    images: int = 0

    def add(self, other: Sample) -> None:
        self.raw_bytes += other.raw_bytes
        self.coded_bytes += other.coded_bytes
        self.seconds += other.seconds
        self.images += other.images


def sample_image(plan: ImagePlan, source: TileSource, chunks: int) -> Sample:
    """Code some tiles, drawn all over an image, the same ones each time; nothing is written.

    Streams that a store would keep are kept here, too.

    Raises SourceError where they cannot be read.
    """
    found = Sample(images=1)
    coding = ImageCoding(plan)
    for box in plan.grid.sample_chunks(chunks):
        index = tuple(a // s for a, s in zip(box.start, plan.grid.shard, strict=True))
        ref = ShardRef("image", index)
        codec, streams = coding.codec(ref, "cpu"), coding.streams(source, ref)
        started = time.perf_counter()
        samples = np.ascontiguousarray(source.read(box))
        kept = None if streams is None else streams(box)
        record = _record(codec, samples, kept, coding.writer.fill(ref.array))
        codec.decode(record)
        found.seconds += time.perf_counter() - started
        found.raw_bytes += math.prod(samples.shape) * samples.itemsize
        found.coded_bytes += len(record)
    return found


def _record(
    codec: TileCodec, samples: npt.NDArray[Any], kept: Streams | None, fill: float | int
) -> bytes:
    """Return the record that a chunk would have, as far as it alone can tell."""
    record = None if kept is None else keep_streams(kept, samples, samples.shape, fill)
    if record is not None and kept is not None and codec.loss.is_lossless and are_recoded(kept):
        return record
    plain = encode_chunk(codec, samples)
    return plain if record is None else min(record, plain, key=len)
