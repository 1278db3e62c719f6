"""Turn sources into sealed stores: discover, plan, run, seal, report."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tilepress.codecs.errors import CodecError, UsageError
from tilepress.codecs.tile import TileCodec
from tilepress.pipeline.discover import Failure, discover
from tilepress.pipeline.source import SourceSpec
from tilepress.workflows.destination import Destination
from tilepress.workflows.executor import DaskExecutor, Executor, InProcessExecutor, cpu_count
from tilepress.workflows.lease import LeaseKeeper
from tilepress.workflows.plan import EncodeOptions
from tilepress.workflows.progress import Progress, SilentProgress
from tilepress.workflows.report import Report
from tilepress.workflows.run import Run
from tilepress.workflows.tune import Tuner, check_tune

__all__ = ["compress"]

MIN_TILE, MAX_TILE = 16, 2048
"""Rows and columns of one record."""

LISTED_IMAGES = 10
"""Images that a message names at most."""

PathLike = str | Path


def compress(
    sources: PathLike | Sequence[PathLike],
    destination: PathLike,
    *,
    max_error: float = 0,
    codec: str | None = None,
    tier: str = "standard",
    model: str = "auto",
    tune: float | None = None,
    tile: int = 512,
    stack: str | None = None,
    workers: int | None = None,
    force: bool = False,
    report: PathLike | None = None,
    progress: Progress | None = None,
) -> Report:
    """Compress images into Zarr stores.

    Run the same call again after anything stopped it: finished images are left alone and finished
    shards are not done again.

    Parameters
    ----------
    sources :
        Files and folders. Folders are searched; what is an image is decided by content.
    destination :
        A path that ends in ``.zarr`` takes exactly one image; any other is a folder that mirrors
        the sources.
    max_error :
        Largest difference of any sample that coding may make; 0 is lossless. In stored units for
        integers, physical ones for floats.
    codec, tier, model :
        How tiles are coded. None is the learned lossless codec. Tiers: "fast" (the fitted linear
        path alone), "standard", "max" (a larger network).
    tune :
        Seconds for which the model's weights are tuned on a sample of the images first. An image
        gets the tuned ones, in its store's metadata, where that makes its store smaller. Needs the
        extra torch. Sealed stores stay as they are.
    tile :
        Rows and columns of one record, 16 to 2048.
    stack :
        Pattern of single-band files that make one image together, e.g. ``"*_B*.TIF"``.
    workers :
        Worker processes; None is one per processor, 0 codes in this process without Dask. A script
        that starts workers needs ``if __name__ == "__main__":`` around the call.
    force :
        Replace what the destination holds.
    report :
        File to write the report to, as JSON.
    progress :
        What to tell while the run goes on; nothing by default.

    Returns
    -------
    Report
        Every image that is sealed now, and every input that failed with the reason. Failures of
        single inputs are not raised.

    Raises
    ------
    UsageError
        Where the request as a whole makes no sense; nothing was written.
    """
    started = time.monotonic()
    options = EncodeOptions(
        codec=codec or "wave", max_error=max_error, tier=tier, model=model, tile=tile
    )
    _check(options, workers, tune)
    target = Destination(Path(destination))
    found = _found(sources, stack, target)
    target.check_writable()
    tuner = None
    if tune is not None:
        tuner = Tuner(
            tune,
            sources=_paths(sources),
            stack=stack,
            destination=target,
            options=options,
            force=force,
        )
    with contextlib.ExitStack() as resources:
        progress = resources.enter_context(progress or SilentProgress())
        if tuner is not None:
            options = tuner.options(_found(sources, stack, target), progress)
        keeper = resources.enter_context(LeaseKeeper())
        executor = resources.enter_context(_executor(workers))
        run = Run(
            executor=executor,
            keeper=keeper,
            destination=target,
            options=options,
            progress=progress,
            force=force,
        )
        result = run.run(_specs(found, run))
    if tuner is not None and not run.unfinished:
        tuner.forget()
    if not result.images and not result.failures:
        raise UsageError(f"compressing: found no image in {', '.join(map(str, _paths(sources)))}")
    result.seconds = time.monotonic() - started
    if report is not None:
        result.write(Path(report))
    return result


def _paths(sources: PathLike | Sequence[PathLike]) -> list[PathLike]:
    paths = [sources] if isinstance(sources, (str, Path)) else list(sources)
    if not paths:
        raise UsageError("compressing: no sources were given")
    return paths


def _check(options: EncodeOptions, workers: int | None, tune: float | None) -> None:
    """Raise UsageError for options that no image could be coded with."""
    if not 0 <= options.max_error < float("inf"):
        raise UsageError(f"compressing: got max error {options.max_error}, want 0 or more")
    if not MIN_TILE <= options.tile <= MAX_TILE:
        raise UsageError(f"compressing: got tile {options.tile}, want {MIN_TILE} to {MAX_TILE}")
    if workers is not None and workers < 0:
        raise UsageError(f"compressing: got {workers} workers, want 0 or more")
    try:
        codec = TileCodec(
            codec=options.codec,
            max_error=options.max_error,
            tier=options.tier,
            model=options.model,
        )
    except CodecError as error:
        raise UsageError(f"compressing: {error}") from error
    if tune is not None:
        check_tune(tune, codec.model)


def _executor(workers: int | None) -> Executor:
    if workers == 0:
        return InProcessExecutor()
    return DaskExecutor(cpu_count() if workers is None else workers)


def _found(
    sources: PathLike | Sequence[PathLike], stack: str | None, destination: Destination
) -> Iterator[SourceSpec | Failure]:
    """Yield what there is to compress; raise UsageError where the destination cannot take it."""
    found = _own_output_left_out(discover(_paths(sources), stack), destination)
    return _one_image(found, destination) if destination.is_store else found


def _own_output_left_out(
    found: Iterator[SourceSpec | Failure], destination: Destination
) -> Iterator[SourceSpec | Failure]:
    """Pass over what lies in the destination, which may be inside a source folder."""
    for item in found:
        path = item.path if isinstance(item, Failure) else item.paths[0]
        if not destination.holds_part(Path(path)):
            yield item


def _one_image(
    found: Iterator[SourceSpec | Failure], destination: Destination
) -> Iterator[SourceSpec | Failure]:
    """Return what was found, or raise UsageError where it is more than one image."""
    items: list[SourceSpec | Failure] = []
    images: list[str] = []
    for item in found:
        items.append(item)
        if isinstance(item, SourceSpec):
            page = f" (page {item.options['page']})" if "page" in item.options else ""
            images.append(item.paths[0] + page)
        if len(images) > LISTED_IMAGES:
            break
    if len(images) > 1:
        more = ", …" if len(images) > LISTED_IMAGES else ""
        listed = ", ".join(images[:LISTED_IMAGES])
        raise UsageError(
            f"compressing into {destination.path}: a .zarr destination takes one image, got "
            f"{listed}{more}; give a folder"
        )
    return itertools.chain(items, found)


def _specs(found: Iterator[SourceSpec | Failure], run: Run) -> Iterator[SourceSpec]:
    """Yield the images; list what is none."""
    for item in found:
        if isinstance(item, Failure):
            run.fail(str(item.path), item.error)
        else:
            yield item
