"""``tilepress train``: images of any kind that tilepress reads, to a model file.

Training sees the middle of each image, of many planes where there are, as plain integers: a model
is for all images like these. Tuning sees windows from all over an image as the encoder will code
them (``windows``), for it is for these images alone.
"""

from __future__ import annotations

import csv
import json
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt

from tilepress.codecs.wave.codec import WaveCoder, load_model
from tilepress.codecs.wave.layout import MAX_HIDDEN
from tilepress.codecs.wave.model import WaveModel
from tilepress.codecs.wave.train import STANDARD_HIDDEN, TrainingImage, linear_baseline, train_wave
from tilepress.errors import DamagedSource, ModelError, SourceError, UsageError
from tilepress.pipeline.find.discover import discover
from tilepress.pipeline.find.told import told_error, told_failure
from tilepress.pipeline.find.walk import Failure
from tilepress.pipeline.image.grid import Box
from tilepress.pipeline.image.pseudonyms import UNNAMED
from tilepress.pipeline.image.source import SourceSpec
from tilepress.pipeline.sources.open import open_source
from tilepress.pipeline.storage.atomic import write_atomic
from tilepress.workflows.learn.judge import compared, held_out
from tilepress.workflows.learn.windows import MIN_SIDE, as_planes, colours

__all__ = ["images", "read_manifest", "train"]

Samples = npt.NDArray[Any]

MAX_SAMPLES_PER_IMAGE = 3_000_000
"""What one image contributes at most: a scene must not outweigh an archive."""


def train(
    sources: Sequence[Path],
    out: Path,
    minutes: float,
    base: Path | None,
    progress: Callable[[str], None],
    *,
    linear_only: bool = False,
    manifest: Path | None = None,
    samples: int = 6_000_000,
    hidden: int | None = None,
) -> None:
    """Train a ``wave`` model on ``sources`` and write it to ``out``.

    ``sources`` are files and folders of images, or training archives (zip files of losslessly coded
    planes with a ``meta.json``). ``manifest`` is a table with columns ``file`` and ``class`` that
    groups images, so that no kind of image outweighs the others; without it a folder is a group.
    ``base`` is a model, by name or path, to go on from; else ``hidden`` units start from nothing.
    Some images, or parts of them where they are few, are held out: ``progress`` is told last what
    they cost with the model, and with ``base`` or the bundled one.
    Raises UsageError when nothing can be learned from.
    """
    if not out.parent.is_dir():
        raise UsageError(f"training: the folder of {out} does not exist")
    start = None if base is None else _start(str(base))
    _check_network(start, hidden, linear_only=linear_only)
    known = {} if manifest is None else read_manifest(manifest)
    groups = {path: group for path, (_, group) in known.items()}
    pool = []
    for path, image, bands in images(sources, progress):
        ready = _as_integers(_middle(image))
        if ready is not None and min(ready.shape[-2:]) >= MIN_SIDE:
            group = groups.get(path.resolve(), str(path.parent))
            pool.append(TrainingImage(path.stem, group, ready, bands))
    if not pool:
        side = f"{MIN_SIDE} × {MIN_SIDE}"
        raise UsageError(f"training: no image of at least {side} integer samples was found")
    kept, judged = held_out(pool)
    if linear_only:
        model = linear_baseline(kept, progress=progress)
    else:
        model = train_wave(
            kept,
            minutes=minutes,
            samples=samples,
            hidden=hidden or STANDARD_HIDDEN,
            base=start,
            progress=progress,
        )
    write_atomic(out, model.to_bytes())
    if not judged:
        progress("nothing was held out to judge it by: the images are too small")
        return
    name = str(base or WaveCoder.models["standard"])
    progress(compared(judged, start or load_model(name), model).told(name))


def _start(base: str) -> WaveModel:
    try:
        return load_model(base)
    except ModelError as error:
        raise UsageError(f"training: {error}") from error


def _check_network(start: WaveModel | None, hidden: int | None, *, linear_only: bool) -> None:
    """Raise UsageError where the options do not say one network."""
    if linear_only and (start is not None or hidden is not None):
        raise UsageError("training: --linear-only excludes --from and --hidden")
    if start is not None and hidden is not None:
        raise UsageError("training: --from says the hidden units already; leave --hidden out")
    if start is not None and not start.hidden:
        raise UsageError("training: the model of --from has no network to go on from")
    if hidden is not None and not (0 < hidden <= MAX_HIDDEN and hidden % 8 == 0):
        raise UsageError(f"training: got --hidden {hidden}, want 8, 16, … {MAX_HIDDEN}")


def read_manifest(path: Path) -> dict[Path, tuple[str, str]]:
    """Return kind, "" where none is told, and class of the images that a table names."""
    with path.open(newline="") as table:
        rows = csv.DictReader(table, delimiter="\t")
        return {(path.parent / r["file"]).resolve(): (r.get("kind", ""), r["class"]) for r in rows}


def images(
    sources: Sequence[Path], progress: Callable[[str], None]
) -> Iterator[tuple[Path, Samples, int]]:
    """Yield (path, (planes, y, x) samples, bands) of every image that can be read."""
    plain: list[Path] = []
    for source in sources:
        archives = sorted(source.rglob("*.zip")) if source.is_dir() else [source]
        archives = [a for a in archives if a.suffix == ".zip"]
        if not archives:
            plain.append(source)
        for archive in archives:
            planes = _read_archive(archive)
            rgb = planes.dtype == np.uint8 and len(planes) in (3, 4)
            yield archive, planes, 3 if rgb else 1
    for found in discover(plain, None, pseudonyms=lambda: UNNAMED) if plain else ():
        if isinstance(found, Failure):
            progress(f"left out: {told_failure(found)[1]}")
            continue
        try:
            yield _read_source(found)
        except SourceError as error:
            progress(f"left out: {told_error(found, str(error))}")


def _read_source(spec: SourceSpec) -> tuple[Path, Samples, int]:
    source = open_source(spec)
    try:
        info = source.info
        start: list[int] = []
        stop: list[int] = []
        room = MAX_SAMPLES_PER_IMAGE
        for axis, size in reversed(list(enumerate(info.shape))):
            keep = min(size, 1024 if axis >= len(info.shape) - 2 else 16, max(1, room))
            room //= keep
            start.insert(0, (size - keep) // 2)
            stop.insert(0, (size - keep) // 2 + keep)
        samples = source.read(Box(tuple(start), tuple(stop)))
        bands = samples.shape[info.axes.index("band")] if "band" in info.axes else 1
        return Path(spec.paths[0]), as_planes(samples), colours(bands)
    finally:
        source.close()


def _read_archive(path: Path) -> Samples:
    """Read a training archive: planes coded by JPEG XL (less an offset) or zstd (bytes split)."""
    try:
        with zipfile.ZipFile(path) as archive:
            meta = json.loads(archive.read("meta.json"))
            planes, height, width = meta["shape"]
            dtype = np.dtype(meta["dtype"])
            out = np.empty((planes, height, width), dtype)
            for index in range(planes):
                if meta["codec"] == "jpegxl":
                    plane = imagecodecs.jpegxl_decode(archive.read(f"{index:04d}.jxl"))
                    out[index] = plane.astype(np.int32) + meta["offset"]
                else:
                    data = imagecodecs.zstd_decode(archive.read(f"{index:04d}.zst"))
                    raw = np.frombuffer(data, np.uint8).reshape(dtype.itemsize, height, width)
                    out[index] = np.ascontiguousarray(raw.transpose(1, 2, 0)).view(dtype)[..., 0]
    except (KeyError, ValueError, OSError, zipfile.BadZipFile) as error:
        raise DamagedSource(f"reading a training archive: {error} in {path}") from error
    return out


def _middle(samples: Samples) -> Samples:
    """Return the middle of an image: at most MAX_SAMPLES_PER_IMAGE, whole planes where they fit."""
    while samples.size > MAX_SAMPLES_PER_IMAGE:
        planes, height, width = samples.shape
        if max(height, width) > 512:
            cut_y, cut_x = min(height, max(512, height // 2)), min(width, max(512, width // 2))
            y, x = (height - cut_y) // 2, (width - cut_x) // 2
            samples = samples[:, y : y + cut_y, x : x + cut_x]
        else:
            samples = samples[: max(3, planes // 2)]
    return samples


def _as_integers(samples: Samples) -> Samples | None:
    """Return integer samples; floats only where they are scaled integers."""
    if samples.dtype.kind in "ui":
        return samples
    if samples.dtype.kind != "f" or not np.all(np.isfinite(samples)):
        return None
    scaled = np.rint(samples.astype(np.float64) * 10_000)
    if np.abs(scaled).max() >= 2**31 or not np.array_equal(
        (scaled / 10_000).astype(samples.dtype), samples
    ):
        return None
    return scaled.astype(np.int32)
