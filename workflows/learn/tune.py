"""Tune a model's weights on a sample of a run's images, and choose per image whether they pay.

    before the run   sample windows ──► fine_tune ──► .tilepress/tuned-<line>/NAME-tuned.safetensors
    per image        code a sample of its chunks with each model ──► the one that makes it smallest
    after the run    no store is left unfinished ──► the folder is removed

Training gives other weights each time, and a begun store must go on with those that it was begun
with. So they lie beside the ledger under a digest of all that was asked for, and the same line run
again takes them from there. A sealed store carries its weights with it.
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
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from tilepress.codecs.tile import TileCodec
from tilepress.codecs.wave.codec import parse_model
from tilepress.codecs.wave.model import WaveModel
from tilepress.codecs.weights import INLINE_LIMIT_BYTES, Weights
from tilepress.errors import UsageError
from tilepress.pipeline.archive.destination import Destination
from tilepress.pipeline.archive.options import EncodeOptions, TuneOptions
from tilepress.pipeline.archive.weights import tuned_names
from tilepress.pipeline.find.discover import store_path
from tilepress.pipeline.find.inputs import absolute
from tilepress.pipeline.find.stacks import Stacks
from tilepress.pipeline.image.source import SourceSpec
from tilepress.pipeline.storage.atomic import write_atomic
from tilepress.pipeline.storage.local import FolderPath
from tilepress.pipeline.store.seal import is_sealed
from tilepress.workflows.learn.windows import MAX_WINDOWS, sample_windows
from tilepress.workflows.report.telling import Note, Progress

__all__ = ["Tuner", "check_tune"]

_READY = "ready"
"""Name of the file that says that all weights of a folder are there."""

SAMPLES_PER_SECOND = 300_000
"""Samples that a second of tuning has time for: they are modelled three times before it ends."""


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
        stack: Stacks,
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
        if not isinstance(destination.folder, FolderPath):
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
            progress.tell(Note("tuning: going on with the weights of the run before"))
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
        pool = list(sample_windows(chosen, self._options, int(self._seconds * SAMPLES_PER_SECOND)))
        if not pool:
            progress.tell(Note("tuning: found nothing to learn from"))
            return
        images = {image.name for image in pool}
        text = (
            f"tuning {self._base.name} for about {self._seconds:g} s (windows: {len(pool)}, "
            f"images: {len(images)})"
        )
        progress.tell(Note(text))
        from tilepress.codecs.wave.train import fine_tune

        started = time.monotonic()
        base = parse_model(self._base.data)
        model = fine_tune(base, pool, seconds=self._seconds, progress=lambda text: None)
        self._keep(WaveModel(model.layers, base.frequencies, base.linear), model)
        text = (
            f"tuned in {time.monotonic() - started:.0f} s; every image gets the weights that make "
            "its store smaller"
        )
        progress.tell(Note(text))

    def _keep(self, *models: WaveModel) -> None:
        """Write the models, the lightest first, and last the mark that they are complete."""
        for name, model in zip(self._names, models, strict=True):
            data = model.to_bytes()
            if data != self._base.data and len(data) <= INLINE_LIMIT_BYTES:
                write_atomic(self._folder / f"{name}.safetensors", data)
        write_atomic(self._folder / _READY, b"")


def _line_digest(
    seconds: float,
    sources: Sequence[str | Path],
    stack: Stacks,
    options: EncodeOptions,
    base: Weights,
) -> str:
    """Hash what was asked for: the same line gives the same digest, whatever became of the files.

    So a file that was added to the archive meanwhile does not orphan the stores that were begun.
    """
    material = {
        "sources": [absolute(source) for source in sources],
        "stack": stack,
        **options.to_json(),
        "seconds": seconds,
        "base": base.sha256,
    }
    del material["model"]  # a name, or a file that may change: the weights count, not the name
    text = json.dumps(material, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _draw(spec: SourceSpec) -> str:
    """Return a key that puts images in an order like chance, the same each time."""
    text = f"{store_path(spec)}/{spec.options.get('page', '')}"
    return hashlib.sha256(text.encode()).hexdigest()
