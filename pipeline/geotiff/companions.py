"""Find the objects beside a raster in a bucket that say what it leaves unsaid."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from tilepress.pipeline.image.names import scene_of
from tilepress.pipeline.storage.ranges import RemoteFile, beginning_with

__all__ = ["companions"]

MAX_COMPANION_BYTES = 16 * 2**20
"""Size of a companion at most, masks excepted."""

_COMPANION = re.compile(
    r".*\.(aux|aux\.xml|imd|prj|rpb|tab|tfw|tifw|wld|j2w|pgw|msk|txt|xml)", re.IGNORECASE
)
_OF_SCENE = re.compile(r".*(_mtl\.(txt|xml)|_rpc\.txt|_metadata\.(txt|xml)|\.imd|\.rpb)", re.I)


def companions(file: RemoteFile, known: Sequence[RemoteFile] | None = None) -> Iterator[RemoteFile]:
    """Yield the objects beside a raster in which GDAL looks for what the raster leaves unsaid.

    ``known`` are candidates of the same folder; where it is None, the bucket is asked. Overviews
    are none: the image has the same samples without them.
    """
    folder, _, name = file.url.rpartition("/")
    stem, scene = name.rpartition(".")[0] or name, scene_of(name)
    for other in beginning_with(f"{folder}/{scene}") if known is None else known:
        other_folder, _, beside = other.url.rpartition("/")
        if other_folder != folder or not _COMPANION.fullmatch(beside) or other.url == file.url:
            continue
        if other.size > MAX_COMPANION_BYTES and not beside.lower().endswith(".msk"):
            continue
        if beside.startswith(stem) or (beside.startswith(scene) and _OF_SCENE.fullmatch(beside)):
            yield other
