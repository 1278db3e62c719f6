"""Find the objects beside a raster in a bucket that say what it leaves unsaid."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tilepress.pipeline.geotiff.beside import Role, role_of
from tilepress.pipeline.image.names import scene_of
from tilepress.pipeline.storage.ranges import RemoteFile, beginning_with

__all__ = ["companions"]


def companions(file: RemoteFile, known: Sequence[RemoteFile] | None = None) -> Iterator[RemoteFile]:
    """Yield the objects beside a raster in which GDAL looks for what the raster leaves unsaid.

    They are those of ``beside``, which looks at the copies of them: whatever is wrong with one, as
    that it is too large, is told there. ``known`` are candidates of the same folder; where it is
    None, the bucket is asked for names that begin as the raster's do. Overviews are none: the image
    has the same samples without them.
    """
    folder, _, name = file.url.rpartition("/")
    for other in beginning_with(f"{folder}/{scene_of(name)}") if known is None else known:
        other_folder, _, beside = other.url.rpartition("/")
        if other_folder == folder and role_of(name, beside) not in (None, Role.OVERVIEWS):
            yield other
