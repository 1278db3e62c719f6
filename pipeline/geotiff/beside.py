"""Find the files beside a raster that GDAL would open with it, and look at them first.

GDAL opens what it finds beside a raster with whichever driver takes it, and what that file names,
anywhere. So each of these files is looked at before, and only what is sound is shown to it:

    NAME.msk                        the mask: a TIFF, or the image is refused
    NAME.aux.xml, .aux, .tfw, .tab  nodata, georeference: sound, or the image is refused
    NAME.ovr                        overviews: a TIFF, or left out, for samples need none
    NAME.imd, NAME_MTL.txt, …       notes on the scene: sound, or left out, which is remarked

All are regular files of the image's own folder; a link may lead to another file of that folder, or
of the folder that the image is linked from.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto
from functools import lru_cache
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from tilepress.errors import UnsupportedSource
from tilepress.pipeline.geotiff.drivers import TIFF_MAGICS
from tilepress.pipeline.geotiff.header import read_open_header
from tilepress.pipeline.geotiff.references import names_others, tiff_names_others
from tilepress.pipeline.image.names import scene_of
from tilepress.pipeline.storage.regular import open_regular

__all__ = ["Beside", "OpenCompanion", "Role", "files_beside", "role_of"]

SETTLED_NS = 2 * 10**9
"""Age at which a folder's time tells whether it has changed: clocks of file systems are coarse."""

MAX_TEXT_BYTES = 64 * 2**20
"""Size at most of a file that GDAL reads as a whole; attribute tables are the largest."""

ERDAS_MAGIC = b"EHFA_HEADER_TAG"

_NOTES = re.compile(r".*\.(att|dim|eph|imd|pass|prj|pvl|rpb|rpc|txt|xml)", re.IGNORECASE)

_OF_SCENE = re.compile(
    r".*(_mtl\.(txt|xml)|_rpc\.txt|_metadata\.(txt|xml)|\.(dim|eph|imd|pass|pvl|rpb|rpc))", re.I
)
_OF_PRODUCT = re.compile(r"(dim_|rpc_|hdr-|rpc-).*", re.IGNORECASE)
"""What Pléiades and ALOS put before the name of a product, whose images have another prefix."""

_OF_FOLDER = ("metadata.dim", "summary.txt")


class Role(Enum):
    """What a file beside a raster says of it."""

    MASK = auto()
    OVERVIEWS = auto()
    NEEDED = auto()
    """What samples mean, or where they lie."""
    NOTES = auto()


@dataclass(frozen=True, slots=True)
class OpenCompanion:
    """A file beside a raster, open: its name cannot be given to another file any more."""

    name: str
    role: Role
    file: BinaryIO


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """What GDAL may see beside a raster."""

    companions: tuple[OpenCompanion, ...]
    names_others: bool
    """Whether one of them may name files of overviews, which GDAL would go and open."""
    remarks: tuple[str, ...]

    @property
    def has_mask(self) -> bool:
        return any(one.role is Role.MASK for one in self.companions)


@contextlib.contextmanager
def files_beside(path: Path) -> Iterator[Beside]:
    """Open what accompanies a raster; raise UnsupportedSource for what is not to be trusted."""
    with contextlib.ExitStack() as opened:
        companions: list[OpenCompanion] = []
        remarks: list[str] = []
        others = False
        for name, role in _companion_names(path):
            try:
                file = opened.enter_context(_open(path, name))
                what = _wrong(role, name, file)
            except IsADirectoryError:
                continue
            except OSError as error:
                what = error.strerror or type(error).__name__
            if what is None:
                companions.append(OpenCompanion(name, role, file))
                others |= _names_others(role, file)
            elif role in (Role.OVERVIEWS, Role.NOTES):
                remarks.append(f"{name} beside it is not opened: {what}")
            elif what != _NO_COMPANION:
                text = f"{name} beside it is not opened: {what}; put it right or take it away"
                raise UnsupportedSource(f"open {path}: {text}")
        yield Beside(companions=tuple(companions), names_others=others, remarks=tuple(remarks))


def _names_others(role: Role, file: BinaryIO) -> bool:
    if role in (Role.MASK, Role.OVERVIEWS):
        return tiff_names_others(read_open_header(file))
    return names_others(file)


_NO_COMPANION = "it is none"


def _open(path: Path, name: str) -> BinaryIO:
    folders = (path.parent, os.path.dirname(os.path.realpath(path)))
    return open_regular(path.parent / name, folders)


def _wrong(role: Role, name: str, file: BinaryIO) -> str | None:
    """Say why a file is not shown to GDAL; None where it is."""
    head = file.read(len(ERDAS_MAGIC))
    if role in (Role.MASK, Role.OVERVIEWS):
        return None if head.startswith(TIFF_MAGICS) else "it is no TIFF file"
    if name.lower().endswith(".aux") and head != ERDAS_MAGIC:
        return _NO_COMPANION
    if os.fstat(file.fileno()).st_size > MAX_TEXT_BYTES:
        return f"it has more than {MAX_TEXT_BYTES} bytes"
    return None


def _companion_names(path: Path) -> Iterator[tuple[str, Role]]:
    """Yield the files of a raster's folder in which GDAL may look for more of it."""
    folder = _Folder.at(path.parent)
    stem, scene = path.stem.lower(), scene_of(path.name).lower()
    candidates = (folder.beginning_with(stem), folder.beginning_with(scene), folder.odd)
    for name in dict.fromkeys(chain(*candidates)):
        role = role_of(path.name, name)
        if role is not None:
            yield name, role


def role_of(raster: str, beside: str) -> Role | None:
    """Tell what a file says of a raster of its folder, as GDAL goes by their names; None where
    nothing."""
    image, stem, scene, kind = _parts(raster)
    low = beside.lower()
    if low == image or not (low.startswith(scene) or low in _OF_FOLDER or _OF_PRODUCT.match(low)):
        return None
    if low.startswith(image) and low[len(image) :] in (".msk", ".ovr"):
        return Role.MASK if low.endswith(".msk") else Role.OVERVIEWS
    world = (f"{kind[:1]}{kind[-1:]}w", f"{kind}w", "tfw", "wld", "tab")
    if low in {f"{base}.{end}" for base in (image, stem) for end in (*world, "aux", "aux.xml")}:
        return Role.NEEDED
    own = low.startswith((f"{stem}.", f"{stem}_", f"{stem}-")) and _NOTES.fullmatch(low)
    of_scene = low.startswith(scene) and _OF_SCENE.fullmatch(low)
    of_product = _OF_PRODUCT.fullmatch(low) and low[4:16] in (image[4:16], image[7:19])
    if own or of_scene or of_product or low in _OF_FOLDER:
        return None if low.endswith(".aux.xml") else Role.NOTES
    return None


@lru_cache(maxsize=8)
def _parts(raster: str) -> tuple[str, str, str, str]:
    """Return name, stem, scene and ending, all in lower case: thousands of names are compared."""
    path = PurePosixPath(raster.lower())
    return path.name, path.stem, scene_of(path.name), path.suffix[1:]


@dataclass(frozen=True, slots=True)
class _Folder:
    """Names of one folder that may accompany images, in an order in which beginnings are found."""

    low: tuple[str, ...]
    names: tuple[str, ...]
    odd: tuple[str, ...]
    """Those that do not begin as their image does."""

    @classmethod
    def at(cls, folder: Path) -> _Folder:
        """List a folder, or remember what was listed, for the images of a folder in turn."""
        changed = folder.stat().st_mtime_ns
        if time.time_ns() - changed < SETTLED_NS:
            return cls.listed(str(folder))
        return _remembered(str(folder.absolute()), changed)

    @classmethod
    def listed(cls, folder: str) -> _Folder:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries if _may_accompany(entry.name.lower())]
        names.sort(key=lambda name: (name.lower(), name))
        return cls(
            low=tuple(name.lower() for name in names),
            names=tuple(names),
            odd=tuple(n for n in names if n.lower() in _OF_FOLDER or _OF_PRODUCT.fullmatch(n)),
        )

    def beginning_with(self, prefix: str) -> Iterator[str]:
        for at in range(bisect_left(self.low, prefix), len(self.low)):
            if not self.low[at].startswith(prefix):
                return
            yield self.names[at]


@lru_cache(maxsize=8)
def _remembered(folder: str, _: int) -> _Folder:
    return _Folder.listed(folder)


def _may_accompany(low: str) -> bool:
    return low.endswith((".msk", ".ovr", ".aux", ".tab", ".wld", "w")) or bool(
        _NOTES.fullmatch(low)
    )
