"""Code some tiles of an image, to tell about how large its store will be and how long it takes."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import numpy as np

from tilepress.codecs.tile import encode_chunk
from tilepress.pipeline.archive.coding import ImageCoding
from tilepress.pipeline.archive.plan import ImagePlan, ShardRef
from tilepress.pipeline.image.source import TileSource

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

    Raises SourceError where they cannot be read.
    """
    found = Sample(images=1)
    coding = ImageCoding(plan)
    for box in plan.grid.sample_chunks(chunks):
        index = tuple(a // s for a, s in zip(box.start, plan.grid.shard, strict=True))
        codec = coding.codec(ShardRef("image", index), "cpu")
        started = time.perf_counter()
        samples = np.ascontiguousarray(source.read(box))
        record = encode_chunk(codec, samples)
        codec.decode(record)
        found.seconds += time.perf_counter() - started
        found.raw_bytes += math.prod(samples.shape) * samples.itemsize
        found.coded_bytes += len(record)
    return found
