"""Choose the weights that an image is coded with in a run that tuned some: those that pay."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from tilepress.codecs.registry import coder_class
from tilepress.codecs.threads import map_chunks
from tilepress.codecs.tile import TileCodec, encode_chunk
from tilepress.errors import TilepressError
from tilepress.pipeline.archive.coding import ImageCoding
from tilepress.pipeline.archive.ledger import Ledger
from tilepress.pipeline.archive.options import TuneOptions
from tilepress.pipeline.archive.plan import ImagePlan, ShardRef, Tuning, with_codec
from tilepress.pipeline.image.grid import Box, ShardGrid
from tilepress.pipeline.image.source import TileSource
from tilepress.pipeline.store.reader import StoreReader
from tilepress.pipeline.store.seal import is_sealed

__all__ = ["choose_weights", "tuned_names"]

Samples = npt.NDArray[Any]

TRIAL_CHUNKS = 8
"""Chunks that are coded with every model to choose between them."""

LARGEST_GAINS = (0.25, 0.02)
"""Share of an image that a tuned network, and tuned tables on top of it, can be hoped to save:
where weights weigh more, they are not tried."""

STANDARD_ERRORS = 2.5
"""How sure a saving must be that follows from a sample of the chunks: 95 % of eight chunks."""

SPARE_BYTES = 1024
"""What a store's documents may differ by beside the weights: names and digits."""

DOCUMENTS = 3
"""Documents that repeat an array's codec configuration: its own, its group's and the root's.

Small stores have two of them (STORE.md §5a): of those a saving is foretold too low.
"""


def tuned_names(base: str) -> tuple[str, str]:
    """Return what a model is called with a tuned network, and with tuned tables besides."""
    return f"{base}-tuned", f"{base}-tuned-tables"


def choose_weights(plan: ImagePlan, source: TileSource, tune: TuneOptions) -> ImagePlan:
    """Return the plan with the weights that make the store smallest; ``plan`` has the base's.

    A sealed store keeps its weights and a begun one goes on with those that it was begun with.
    """
    base = replace(plan, tuning=Tuning(used=False))
    if not tune.force and is_sealed(plan.store):
        return _as_sealed(base, source)
    if Ledger(base).exists:
        return base
    config = plan.codec_config
    tuned = []
    for path in tune.weights:
        model = TileCodec(tier=config["tier"], model=path).to_config()["model"]
        tuned.append(with_codec(plan, source, {**config, "model": model}, Tuning(used=True)))
    begun = [one for one in tuned if Ledger(one).exists]
    return begun[0] if begun else _smallest(base, tuned, source)


def _as_sealed(plan: ImagePlan, source: TileSource) -> ImagePlan:
    """Return the plan with the weights of its sealed store where those were tuned from its own."""
    config = plan.codec_config
    with contextlib.suppress(TilepressError, OSError, ValueError, KeyError):
        sealed = json.loads(StoreReader.open(plan.store).codec("image").configuration)
        same = {**sealed, "model": config["model"]} == config
        if same and sealed["model"]["name"] in _tuned_from(config):
            return with_codec(plan, source, sealed, Tuning(used=True))
    return plan


def _tuned_from(config: Mapping[str, Any]) -> set[str]:
    """Return what models are called that were tuned from a configuration's, or from one that an
    earlier version had for its tier."""
    former = coder_class(config["codec"]).former_models.get(config["tier"], ())
    return {name for base in (config["model"]["name"], *former) for name in tuned_names(base)}


@dataclass(frozen=True, slots=True)
class _Sample:
    """Some chunks of one array of an image, all of them where they are few."""

    chunks: list[Samples]
    total_samples: int
    whole: bool
    array: str

    @classmethod
    def take(cls, grid: ShardGrid, read: Callable[[Box], Samples], array: str) -> _Sample:
        chunks = [np.ascontiguousarray(read(box)) for box in grid.sample_chunks(TRIAL_CHUNKS)]
        return cls(chunks, math.prod(grid.shape), len(chunks) == grid.total_chunks, array)

    def sizes(self, plan: ImagePlan) -> npt.NDArray[np.float64]:
        """Return the bytes of every chunk's record."""
        index = (0,) * len(plan.grids[self.array].shape)
        codec = ImageCoding(plan).codec(ShardRef(self.array, index))
        records = map_chunks(lambda chunk: len(encode_chunk(codec, chunk)), self.chunks)
        return np.array(list(records), np.float64)

    def scaled(self, sizes: npt.NDArray[np.float64]) -> tuple[float, float]:
        """Return the sum over the whole array, and what it is at least but for a small chance."""
        samples = np.array([chunk.size for chunk in self.chunks], np.float64)
        factor = self.total_samples / float(samples.sum())
        total = factor * float(sizes.sum())
        if self.whole:
            return total, total
        rest = sizes - samples * sizes.sum() / samples.sum()
        n = len(rest)
        spread = math.sqrt(float(np.square(rest).sum()) / (n - 1) * n)
        return total, total - STANDARD_ERRORS * factor * spread


def _smallest(base: ImagePlan, tuned: Sequence[ImagePlan], source: TileSource) -> ImagePlan:
    """Return the plan that gives the smallest store, by coding a sample of the chunks with each.

    What weights save must surely exceed what they add to the store's documents.
    """
    best = replace(base, tuning=Tuning(used=False, saved_bytes=0))
    if not tuned:
        return best
    readers = {"image": source.read, "mask": source.read_mask}
    grids = {name: grid for name, grid in base.grids.items() if name in readers}
    samples = [_Sample.take(grid, readers[name], name) for name, grid in grids.items()]
    plain = [sample.sizes(base) for sample in samples]
    coded = samples[0].scaled(plain[0])[0]
    most = 0.0
    for plan, gain in zip(tuned, LARGEST_GAINS, strict=False):
        weight = SPARE_BYTES + _weight_bytes(base, plan)
        if weight > gain * coded:
            break
        saved = [
            sample.scaled(before - sample.sizes(plan))
            for sample, before in zip(samples, plain, strict=True)
        ]
        surely = sum(lowest for _, lowest in saved) - weight
        if surely > most:
            most = surely
            estimate = int(sum(total for total, _ in saved)) - weight
            best = replace(plan, tuning=Tuning(used=True, saved_bytes=estimate))
    return best


def _weight_bytes(base: ImagePlan, tuned: ImagePlan) -> int:
    """Return the bytes by which the documents of a store grow with tuned weights."""
    sizes = [
        len(json.dumps(plan.codec_config["model"], separators=(",", ":"))) for plan in (base, tuned)
    ]
    return DOCUMENTS * len(base.grids) * (sizes[1] - sizes[0])
