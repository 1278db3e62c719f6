"""Learn priors of the coefficient coder from JPEG streams, read top to bottom.

1. The coder runs over all chunks, one after another, and keeps what it learns: probabilities of
   slots, each the mean over all that it saw.
2. It runs over each chunk by itself. How much a slot's probability differs from chunk to chunk
   beyond chance says how often the mean counts as seen (DerSimonian and Laird, "Meta-analysis in
   clinical trials", 1986): much where all are alike.
3. With these slots, anew for each chunk, it runs over all chunks again and keeps the weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tilepress.codecs.grid import Grid
from tilepress.codecs.jpeg.layout import Layout, lay_out
from tilepress.codecs.jpeg.markers import JpegTables
from tilepress.codecs.jpeg.mixing import CAP, MOST
from tilepress.codecs.jpeg.planes import learn_blocks
from tilepress.codecs.jpeg.priors import MOST_SEEN, Priors, fresh
from tilepress.codecs.jpeg.stream import Blocks, read_stream

__all__ = ["TrainingChunk", "train_priors", "training_chunk"]

Floats = npt.NDArray[np.float64]

_ALL = MOST + (6 << 10)
"""How slots and weights learn while all is kept: see ``CAP``."""


@dataclass(frozen=True, slots=True)
class TrainingChunk:
    """The coefficients of one chunk."""

    blocks: Blocks
    layout: Layout
    family: int
    """Which slots its components use (planes.py)."""


def training_chunk(data: bytes, family: int) -> TrainingChunk:
    """Return the chunk of one stream; raises Refused."""
    stream, blocks = read_stream(data, JpegTables())
    grid = Grid(1, 1, 1, stream.frame.height, stream.frame.width)
    return TrainingChunk(blocks, lay_out(grid, [stream]), family)


def train_priors(chunks: Sequence[TrainingChunk], *, seed: int = 3) -> Priors:
    """Return priors learned from chunks."""
    order = np.random.default_rng(seed).permutation(len(chunks))
    kept = fresh()
    for i in order:
        learn_blocks(chunks[i].blocks, chunks[i].layout, chunks[i].family, kept, _ALL)
    seen = np.minimum(_how_often_seen(chunks), MOST_SEEN)
    slots = (kept.slots & ~np.uint32(1023)) | np.round(seen).astype(np.uint32)
    weights = kept.weights.copy()
    for i in order:
        priors = Priors(slots.copy(), weights)
        learn_blocks(chunks[i].blocks, chunks[i].layout, chunks[i].family, priors, CAP)
    return Priors(slots, weights)


def _how_often_seen(chunks: Sequence[TrainingChunk]) -> Floats:
    """Return how often each slot's mean should count as seen, (KINDS, SLOTS)."""
    counts, ones = (np.zeros(fresh().slots.shape) for _ in range(2))
    for chunk in chunks:
        n, share = _alone(chunk)
        counts += n
        ones += n * share
    mean = np.clip(ones / np.maximum(counts, 1), 1e-4, 1 - 1e-4)
    chance = mean * (1 - mean)
    sum1, sum2, spread, times = (np.zeros(counts.shape) for _ in range(4))
    for chunk in chunks:
        n, share = _alone(chunk)
        weight = n / chance
        sum1 += weight
        sum2 += weight * weight
        spread += weight * (share - mean) ** 2
        times += n > 0
    between = (spread - (times - 1)) / np.maximum(sum1 - sum2 / np.maximum(sum1, 1e-9), 1e-9)
    found = np.where(times >= 3, chance / np.maximum(between, 1e-9), 2 * times)
    found = np.minimum(np.maximum(found, 1), counts)
    return np.where(times > 0, found, 0)


def _alone(chunk: TrainingChunk) -> tuple[Floats, Floats]:
    """Return how often a chunk uses each slot, and how often of these for a bit that is 1."""
    priors = fresh()
    learn_blocks(chunk.blocks, chunk.layout, chunk.family, priors, _ALL)
    n = (priors.slots & 1023).astype(np.float64)
    found = (priors.slots >> 10) / 2.0**22  # of n bits and half a one of either kind before them
    return n, np.clip((found * (n + 0.5) - 0.25) / np.maximum(n, 1), 0, 1)
