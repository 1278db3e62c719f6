"""Pieces of images of any kind that tilepress reads, which networks of lossy codecs learn from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from tilepress.codecs.ntc.examples import Crop, cut_crops
from tilepress.codecs.ntc.payload import MOST_BANDS
from tilepress.errors import UsageError
from tilepress.workflows.learn.train import images, read_manifest

__all__ = ["crops_of"]


def crops_of(
    sources: Sequence[Path], manifest: Path | None, seed: int, progress: Callable[[str], None]
) -> list[Crop]:
    """Return pieces of all images; raises UsageError where there are none.

    manifest : a table with columns ``file``, ``kind`` and ``class``: pieces are grouped by class,
    and planes of kind ``sat`` are bands. Without it folders are groups.
    """
    known = {} if manifest is None else read_manifest(manifest)
    crops: list[Crop] = []
    for number, (path, planes, bands) in enumerate(images(sources, progress)):
        if planes.dtype.kind not in "iu":
            continue
        kind, group = known.get(path.resolve(), ("", str(path.parent)))
        if kind == "sat" and len(planes) <= MOST_BANDS:
            bands = len(planes)
        crops += cut_crops(planes, bands, group, seed + number)
    if not crops:
        raise UsageError("training: no image of at least 64 × 64 integer samples was found")
    progress(f"{len(crops)} crops, {sum(c.planes.size for c in crops)} samples")
    return crops
