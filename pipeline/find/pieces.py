"""Find the further files that an image is made of, below the folder of the file that was found.

Libraries open them by their names; so each has to be a regular file of that folder, and nothing
else of it may be read.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from tilepress.errors import UnsupportedSource
from tilepress.pipeline.image.source import SourceSpec
from tilepress.pipeline.storage.regular import open_regular

__all__ = ["PIECES", "is_in_slide", "with_pieces"]

PIECES = "files of slides"
"""What files are counted as that belong to an image which another file stands for."""

MAX_PIECES = 4000
"""Files of one image: a guest is allowed as many by name."""

INDEX = "Slidedat.ini"
"""What the folder beside a MIRAX file lists its contents in."""


def with_pieces(spec: SourceSpec, names: Sequence[str]) -> SourceSpec:
    """Return the recipe of an image with its further files, and all of their bytes.

    ``names`` are those that its format has told, as ``FileImage.files`` says. Raises
    UnsupportedSource where one is not there, leads elsewhere or is no regular file.
    """
    if not names:
        return spec
    path = Path(spec.paths[0])
    pieces = sorted(set(_listed(path, names)))
    if len(pieces) > MAX_PIECES:
        raise UnsupportedSource(f"opening {path}: it has more than {MAX_PIECES} files")
    sizes = [_size(path, piece) for piece in pieces]
    whole = None if spec.source_bytes is None else spec.source_bytes + sum(sizes)
    return replace(spec, paths=(*spec.paths, *pieces), source_bytes=whole)


def _listed(path: Path, names: Sequence[str]) -> Iterator[str]:
    for name in names:
        if not name.endswith("/"):
            yield str(path.parent / name)
            continue
        folder = path.parent / name
        if folder.is_symlink() or not (folder / INDEX).is_file():
            text = f"there is no {name}{INDEX} beside it, which lists the files of the slide"
            raise UnsupportedSource(f"opening {path}: {text}")
        with os.scandir(folder) as entries:
            yield from (str(folder / one.name) for one in entries if not one.is_dir())


def _size(path: Path, piece: str) -> int:
    try:
        with open_regular(
            piece, (os.path.dirname(piece), os.path.dirname(os.path.realpath(path)))
        ) as file:
            return os.fstat(file.fileno()).st_size
    except OSError as error:
        name = os.path.relpath(piece, path.parent)
        raise UnsupportedSource(
            f"opening {path}: {name}, which belongs to it, is not opened: {error.strerror}"
        ) from None


def is_in_slide(path: str) -> bool:
    """Whether a file lies in the folder of a MIRAX slide, which stands for it."""
    folder = os.path.dirname(path)
    return any(os.path.isfile(folder + ending) for ending in (".mrxs", ".MRXS")) and os.path.isfile(
        os.path.join(folder, INDEX)
    )
