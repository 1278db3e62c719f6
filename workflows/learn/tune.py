"""Tune a model's weights on a sample of a run's images, and choose per image whether they pay.

    before the run   sample windows ──► fine_tune ──► .tilepress/tuned-<line>/NAME-tuned.safetensors
    per image        code a sample of its chunks with each model ──► the one that makes it smallest
    after the run    no store is left unfinished ──► the folder is removed

Training gives other weights each time, and a begun store must go on with those that it was begun
with. So they lie beside the ledger under a digest of the whole request, and the same line run again
takes them from there. A sealed store carries its weights with it.
"""

from __future__ import annotations

import contextlib
import hashlib
import heapq
import importlib.util
import json
import math
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tilepress.codecs.threads import map_chunks
from tilepress.codecs.tile import TileCodec
from tilepress.codecs.wave.model import WaveModel
from tilepress.codecs.wave.values import choose_map
from tilepress.codecs.weights import INLINE_LIMIT_BYTES, Weights
from tilepress.codecs.zarr_codec import encode_chunk
from tilepress.errors import SourceError, TilepressError, UsageError
from tilepress.pipeline.find.discover import open_source, store_path
from tilepress.pipeline.find.inputs import absolute
from tilepress.pipeline.image.grid import Box, ShardGrid, choose_grid
from tilepress.pipeline.image.source import SourceSpec, TileSource
from tilepress.pipeline.storage.atomic import write_atomic
from tilepress.pipeline.storage.path import FolderPlace
from tilepress.pipeline.store.writer import StoreReader, is_sealed
from tilepress.workflows.destination import Destination
from tilepress.workflows.ledger import Ledger
from tilepress.workflows.plan import EncodeOptions, ImagePlan, TuneOptions, Tuning, with_codec
from tilepress.workflows.report.progress import Progress

if TYPE_CHECKING:
    from tilepress.codecs.wave.train import TrainingImage

__all__ = ["Tuner", "check_tune", "choose_weights", "tuned_names"]

Samples = npt.NDArray[Any]

_READY = "ready"
"""Name of the file that says that all weights of a folder are there."""

MAX_WINDOWS = 32
"""Windows that weights are tuned on at most, over all images."""

MAX_WINDOW = 512
"""Rows and columns of a window at most."""

MIN_TILE = 64
"""Rows and columns of a window at least, of larger images: less shows too little."""

MAX_PLANES = 4
"""Planes of a window at most."""

SAMPLES_PER_SECOND = 300_000
"""Samples that a second of tuning has time for: they are modelled three times before it ends."""

MIN_SIDE = 16
"""Rows and columns that are worth learning from."""

MIN_PRESENT = 0.5
"""Share of a window's samples that must not be nodata."""

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
"""Documents that repeat an array's codec configuration: its own, its group's and the root's."""


def check_tune(seconds: float, base: Weights) -> None:
    """Raise UsageError where nothing can be tuned, before any work is done."""
    if not 0 < seconds < math.inf:
        raise UsageError(f"tuning: got {seconds:g} seconds, want more than 0")
    if importlib.util.find_spec("torch") is None:
        raise UsageError("tuning: torch is not installed; pip install 'tilepress[torch]'")
    if len(base.data) > INLINE_LIMIT_BYTES:
        raise UsageError(
            f"tuning: model {base.name!r} has {len(base.data)} bytes; weights that travel in a "
            f"store have {INLINE_LIMIT_BYTES} at most"
        )


class Tuner:
    """The tuned weights of one call of ``compress``."""

    def __init__(
        self,
        seconds: float,
        *,
        sources: Sequence[str | Path],
        stack: str | None,
        destination: Destination,
        options: EncodeOptions,
        force: bool,
    ) -> None:
        self._seconds = seconds
        self._destination = destination
        self._options = options
        self._force = force
        self._base = TileCodec(tier=options.tier, model=options.model).model
        digest = _line_digest(seconds, sources, stack, options, self._base)
        if not isinstance(destination.folder, FolderPlace):
            raise UsageError(
                f"tuning for {destination.path}: workers need the weights in a folder; train a "
                "model first and give it with --model"
            )
        self._folder = destination.folder.path / ".tilepress" / f"tuned-{digest}"
        self._names = tuned_names(self._base.name)

    def options(self, found: Iterable[object], progress: Progress) -> EncodeOptions:
        """Return the options of the run; tune first unless an earlier run did or nothing is to do.

        ``found`` is everything that the sources hold.
        """
        tune = TuneOptions(seconds=self._seconds, force=self._force)
        if not (self._folder / _READY).is_file():
            self._tune(found, progress)
        else:
            progress.note("tuning: going on with the weights of the run before")
        paths = (self._folder / f"{name}.safetensors" for name in self._names)
        weights = tuple(str(path) for path in paths if path.is_file())
        return replace(self._options, tune=replace(tune, weights=weights))

    def forget(self) -> None:
        """Remove the weights: every store that was begun is sealed and has its own copy."""
        shutil.rmtree(self._folder, ignore_errors=True)
        with contextlib.suppress(OSError):
            self._folder.parent.rmdir()

    def _tune(self, found: Iterable[object], progress: Progress) -> None:
        """Tune and keep the weights, unless there is nothing to learn from."""
        specs = (item for item in found if isinstance(item, SourceSpec))
        unsealed = (
            spec for spec in specs if self._force or not is_sealed(self._destination.store_of(spec))
        )
        chosen = heapq.nsmallest(MAX_WINDOWS, unsealed, key=_draw)
        if not chosen:
            return
        pool = list(_windows(chosen, self._options, int(self._seconds * SAMPLES_PER_SECOND)))
        if not pool:
            progress.note("tuning: found nothing to learn from")
            return
        images = {image.name for image in pool}
        progress.note(
            f"tuning {self._base.name} for about {self._seconds:g} s (windows: {len(pool)}, "
            f"images: {len(images)})"
        )
        from tilepress.codecs.wave.train import fine_tune

        started = time.monotonic()
        base = self._base.model
        model = fine_tune(base, pool, seconds=self._seconds, progress=lambda text: None)
        self._keep(WaveModel(model.layers, base.frequencies, base.linear), model)
        progress.note(
            f"tuned in {time.monotonic() - started:.0f} s; every image gets the weights that make "
            "its store smaller"
        )

    def _keep(self, *models: WaveModel) -> None:
        """Write the models, the lightest first, and last the mark that they are complete."""
        for name, model in zip(self._names, models, strict=True):
            data = model.to_bytes()
            if data != self._base.data and len(data) <= INLINE_LIMIT_BYTES:
                write_atomic(self._folder / f"{name}.safetensors", data)
        write_atomic(self._folder / _READY, b"")


def tuned_names(base: str) -> tuple[str, str]:
    """Return what a model is called with a tuned network, and with tuned tables besides."""
    return f"{base}-tuned", f"{base}-tuned-tables"


def _line_digest(
    seconds: float,
    sources: Sequence[str | Path],
    stack: str | None,
    options: EncodeOptions,
    base: Weights,
) -> str:
    """Hash what was asked for: the same line gives the same digest, whatever became of the files.

    So a file that was added to the archive meanwhile does not orphan the stores that were begun.
    """
    material = {
        "sources": [absolute(source) for source in sources],
        "stack": stack,
        "codec": options.codec,
        "tier": options.tier,
        "max_error": options.max_error,
        "tile": options.tile,
        "seconds": seconds,
        "base": base.sha256,
    }
    text = json.dumps(material, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


# a sample of the images


def _draw(spec: SourceSpec) -> str:
    """Return a key that puts images in an order like chance, the same each time."""
    text = f"{store_path(spec)}/{spec.options.get('page', '')}"
    return hashlib.sha256(text.encode()).hexdigest()


def _windows(
    specs: Sequence[SourceSpec], options: EncodeOptions, room: int
) -> Iterator[TrainingImage]:
    """Yield windows of the images as the encoder sees them: at most MAX_WINDOWS, ``room`` samples.

    Images that cannot be read are passed over here: the run will name them.
    """
    windows = MAX_WINDOWS
    for left, spec in zip(range(len(specs), 0, -1), specs, strict=True):
        share = max(1, -(-windows // left))
        with (
            contextlib.suppress(SourceError, OSError),
            contextlib.closing(open_source(spec)) as source,
        ):
            for image in _windows_of(source, options, share, room // left):
                windows -= 1
                room -= image.planes.size
                yield image
        if windows <= 0 or room <= 0:
            return


def _windows_of(
    source: TileSource, options: EncodeOptions, windows: int, room: int
) -> Iterator[TrainingImage]:
    """Yield at most ``windows`` windows of one image, and one even where there is no room."""
    from tilepress.codecs.wave.train import TrainingImage

    info = source.info
    if options.max_error and info.lossy_refusal is not None:
        return
    grid, bands = _window_grid(info.shape, info.dtype.itemsize, options.tile)
    for box in _spread(grid, windows):
        samples = source.read(box)
        planes = _as_coded(samples.reshape(-1, *samples.shape[-2:]), info.nodata, options.max_error)
        if planes is None:
            continue
        yield TrainingImage(source.spec.paths[0], "", planes, bands)
        room -= planes.size
        if room <= 0:
            return


def _window_grid(shape: tuple[int, ...], itemsize: int, tile: int) -> tuple[ShardGrid, int]:
    """Return a grid whose chunks are windows, and how many planes are colours of one pixel.

    A window is a record's rows and columns and a few of its planes, colours kept together.
    """
    grid = choose_grid(shape, itemsize, tile=min(MAX_WINDOW, max(MIN_TILE, tile)))
    bands = grid.chunk[-3] if len(shape) > 2 else 1
    leading = (*(1 for _ in shape[:-3]), min(bands, MAX_PLANES)) if len(shape) > 2 else ()
    chunk = (*leading, *grid.chunk[-2:])
    return ShardGrid(shape, chunk, chunk), bands if bands in (3, 4) else 1


def _spread(grid: ShardGrid, count: int) -> Iterator[Box]:
    """Yield the boxes of at most ``count`` chunks, clipped to the image, drawn all over it."""
    counts = tuple(-(-n // c) for n, c in zip(grid.shape, grid.chunk, strict=True))
    total = _chunk_count(grid)
    places = np.arange(total)
    if total > count:
        places = np.random.default_rng(total).choice(total, count, replace=False)
    for place in places:
        index = np.unravel_index(int(place), counts)
        start = tuple(int(i) * c for i, c in zip(index, grid.chunk, strict=True))
        yield Box(
            start,
            tuple(min(a + c, n) for a, c, n in zip(start, grid.chunk, grid.shape, strict=True)),
        )


def _as_coded(
    samples: Samples, nodata: float | int | None, max_error: float
) -> npt.NDArray[np.int64] | None:
    """Return (planes, y, x) samples as the integers that the predictor sees.

    Near-lossless samples are on their grid, absent ones have what lies before them in the row. None
    where there is little to learn: small, mostly nodata, or stored as they are.
    """
    if min(samples.shape[-2:]) < MIN_SIDE:
        return None
    absent = np.zeros(samples.shape, bool)
    if nodata is not None and not math.isnan(nodata):
        absent |= samples == nodata
    if samples.dtype.kind == "f":
        absent |= np.isnan(samples)
    if 1 - absent.mean() < MIN_PRESENT:
        return None
    mapped = choose_map(samples, absent if absent.any() else None, max_error)
    if mapped is None:
        return None
    integers = mapped[1]
    if max_error and samples.dtype.kind != "f":
        step = 2 * int(max_error) + 1
        integers = (integers + step // 2) // step
    integers = _carried_over(integers, absent)
    return integers if np.ptp(integers) else None


def _carried_over(
    integers: npt.NDArray[np.int64], absent: npt.NDArray[np.bool_]
) -> npt.NDArray[np.int64]:
    """Give absent samples the last present one in raster order, so that no cliff surrounds them."""
    if not absent.any():
        return integers
    flat, gone = integers.reshape(-1), absent.reshape(-1)
    last = np.maximum.accumulate(np.where(gone, 0, np.arange(flat.size)))
    filled = flat[last]
    filled[: np.argmin(gone)] = flat[np.argmin(gone)]
    return filled.reshape(integers.shape)


# which weights an image gets


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
        if same and sealed["model"]["name"] in tuned_names(config["model"]["name"]):
            return with_codec(plan, source, sealed, Tuning(used=True))
    return plan


@dataclass(frozen=True, slots=True)
class _Sample:
    """Some chunks of one array of an image, all of them where they are few."""

    chunks: list[Samples]
    total_samples: int
    whole: bool
    is_mask: bool

    @classmethod
    def take(cls, grid: ShardGrid, read: Callable[[Box], Samples], *, is_mask: bool) -> _Sample:
        chunks = [np.ascontiguousarray(read(box)) for box in _spread(grid, TRIAL_CHUNKS)]
        return cls(chunks, math.prod(grid.shape), len(chunks) == _chunk_count(grid), is_mask)

    def sizes(self, plan: ImagePlan) -> npt.NDArray[np.float64]:
        """Return the bytes of every chunk's record; a mask is always coded losslessly."""
        changes = {"max_error": 0, "nodata": None} if self.is_mask else {}
        codec = TileCodec.from_config({**plan.codec_config, **changes})
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
    samples = [_Sample.take(base.grid, source.read, is_mask=False)]
    if base.mask_grid is not None:
        samples.append(_Sample.take(base.mask_grid, source.read_mask, is_mask=True))
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
    arrays = 1 if base.mask_grid is None else 2
    return DOCUMENTS * arrays * (sizes[1] - sizes[0])


def _chunk_count(grid: ShardGrid) -> int:
    return math.prod(-(-n // c) for n, c in zip(grid.shape, grid.chunk, strict=True))
