"""Show GDAL a raster and its sound companions, and nothing else of their folder.

Where a raster has companions, it is opened in a folder of links made for it: one to the raster, one
to each companion as it was opened and looked at. GDAL searches that folder alone. Where it has
none, it is opened where it lies and GDAL is told not to search.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tilepress.errors import SourceError
from tilepress.pipeline.geotiff.beside import Beside, files_beside
from tilepress.pipeline.storage.text import printable

__all__ = ["FOLDER_PREFIX", "RasterView", "raster_view"]

FOLDER_PREFIX = "tilepress-view-"

_ALONE = {"GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR"}
_WITH_OTHERS = {"GDAL_DISABLE_READDIR_ON_OPEN": "FALSE"}


@dataclass(frozen=True, slots=True, kw_only=True)
class RasterView:
    """A raster as GDAL may see it."""

    path: Path
    """What to open."""
    options: dict[str, str]
    """Options of GDAL to open it with."""
    beside: Beside
    folder: _Folder | None = field(repr=False)

    @property
    def companions(self) -> list[str]:
        return [one.name for one in self.beside.companions]

    def keep(self) -> object:
        """Return what keeps the view while it lives: for drivers that open the raster again."""
        return self.folder


@contextmanager
def raster_view(path: Path) -> Iterator[RasterView]:
    """Show a raster for as long as GDAL opens it and reads its metadata.

    Raises UnsupportedSource where a companion is not to be trusted without which the image would be
    another, and SourceError where there is no room for links.
    """
    with files_beside(path) as beside:
        if not beside.companions:
            yield RasterView(path=path, options=_ALONE, beside=beside, folder=None)
            return
        folder = _Folder(path)
        try:
            for one in beside.companions:
                folder.link(one.name, path.parent / one.name, one.file.fileno())
            yield RasterView(path=folder.raster, options=_WITH_OTHERS, beside=beside, folder=folder)
        finally:
            folder.forget_companions()


class _Folder:
    """A folder of links, removed when nobody needs it any more."""

    def __init__(self, raster: Path) -> None:
        try:
            outer = tempfile.mkdtemp(prefix=FOLDER_PREFIX)
        except OSError as error:
            text = f"its companions need a temporary folder: {error.strerror}"
            raise SourceError(f"open {printable(str(raster))}: {text}") from error
        self._remove = weakref.finalize(self, shutil.rmtree, outer, ignore_errors=True)
        self._inner = Path(outer, "1")  # some readers of GDAL look into the folder above, too
        self._inner.mkdir()
        self.raster = self._inner / raster.name
        self.raster.symlink_to(os.path.realpath(raster))
        self._links: list[Path] = []

    def link(self, name: str, path: Path, handle: int) -> None:
        opened = f"/proc/self/fd/{handle}"
        link = self._inner / name
        link.symlink_to(opened if os.path.exists(opened) else os.path.realpath(path))
        self._links.append(link)

    def forget_companions(self) -> None:
        """Remove links to files that are being closed: their numbers will be those of others."""
        for link in self._links:
            link.unlink(missing_ok=True)
        self._links.clear()
