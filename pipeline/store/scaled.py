"""Read an image at a half, a quarter or an eighth of its rows and columns, with no such level.

Its codec must decode so by itself, as ``ntc`` does from low frequencies alone: what comes is near
to the means of blocks, for viewers and overviews. Levels that are stored are what is exact.
"""

from __future__ import annotations

import itertools
import math
import threading
from typing import Any

import numpy as np
import numpy.typing as npt

from tilepress.codecs.decoded import decoded_chunks, key_of
from tilepress.codecs.loss import Lossless
from tilepress.codecs.reduce import reduced
from tilepress.codecs.threads import map_chunks
from tilepress.codecs.tile import SCALES, decode_chunk
from tilepress.errors import InvalidRecord
from tilepress.pipeline.image.grid import Box
from tilepress.pipeline.store.reader import StoreReader

__all__ = ["ScaledImage"]

Array = npt.NDArray[Any]
Chunk = tuple[int, ...]


class ScaledImage:
    """An image at a scale. Any thread may read."""

    def __init__(self, reader: StoreReader, scale: int) -> None:
        """``scale`` is one of those of ``scales``."""
        self._reader, self.scale = reader, scale
        self._codec = reader.codec(reader.image_name).codec
        self._grid = reader.grid(reader.image_name)
        self._side = tuple(-(-n // scale) for n in self._grid.chunk[-2:])
        *leading, height, width = self._grid.shape
        self.shape = (*leading, max(1, height // scale), max(1, width // scale))
        """Blocks that the end of the image cuts are left out."""
        self.dtype = reader.dtype
        self._lock = threading.Lock()

    @staticmethod
    def scales(reader: object) -> tuple[int, ...]:
        """Return the scales at which a level's image can be read: none where its codec has none, or
        what reads it is no store."""
        if not isinstance(reader, StoreReader):
            return ()
        grid = reader.grid(reader.image_name)
        if not reader.codec(reader.image_name).codec.has_scales:
            return ()
        sides = list(zip(grid.chunk[-2:], grid.shape[-2:], strict=True))
        return tuple(s for s in SCALES if all(c % s == 0 or c == n for c, n in sides))

    def read(self, box: Box) -> Array:
        """Return the samples of a box in its own coordinates. Raises DamagedStore."""
        if not all(
            0 <= a <= b <= n for a, b, n in zip(box.start, box.stop, self.shape, strict=True)
        ):
            raise ValueError(f"reading at 1/{self.scale}: {box} is not within {self.shape}")
        out = np.empty(box.shape, self.dtype)
        side = (*self._grid.chunk[:-2], *self._side)
        ranges = [
            range(a // c, -(-b // c)) if b > a else range(0)
            for a, b, c in zip(box.start, box.stop, side, strict=True)
        ]
        chunks = list(itertools.product(*ranges))
        for chunk, samples in zip(chunks, map_chunks(self._chunk, chunks), strict=True):
            start = [i * c for i, c in zip(chunk, side, strict=True)]
            cuts = [
                (max(a, s), min(b, s + c))
                for a, b, s, c in zip(box.start, box.stop, start, side, strict=True)
            ]
            there = tuple(slice(lo - s, hi - s) for (lo, hi), s in zip(cuts, start, strict=True))
            here = tuple(slice(lo - a, hi - a) for (lo, hi), a in zip(cuts, box.start, strict=True))
            out[here] = samples[there]
        return out

    def _chunk(self, index: Chunk) -> Array:
        with self._lock:  # the shards that it holds are not made for several threads
            record = self._reader.record(index)
        shape = self._grid.chunk
        codec = self._codec
        chunks, key = decoded_chunks(), key_of(f"1/{self.scale}", record, shape, self.dtype)
        kept = chunks.get(key, record)
        if kept is not None:
            return kept
        loss, _ = self._reader.loss_of(self._reader.image_name, self._grid.place_of(index)[0])
        try:
            if isinstance(loss, Lossless):  # a band that is exact, in chunks of its own
                whole = decode_chunk(codec, record, shape, self.dtype)
                samples = reduced(whole, self.scale, "nearest")
            else:
                wanted = shape if len(shape) == 2 else (math.prod(shape[:-2]), *shape[-2:])
                samples = codec.decode(record, expect=(wanted, self.dtype), scale=self.scale)
                samples = samples.reshape((*shape[:-2], *self._side))
        except InvalidRecord as error:
            raise self._reader.damaged(index, error) from error
        return chunks.put(key, record, samples)
