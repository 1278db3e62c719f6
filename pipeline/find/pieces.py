"""Find the further files that an image is made of, below the folder of the file that was found.

Libraries open them by their names; so each has to be a regular file of that folder, and nothing
else of it may be read.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from tilepress.errors import UnsupportedSource
from tilepress.pipeline.image.source import SourceSpec
from tilepress.pipeline.storage.regular import open_regular

__all__ = ["PIECES", "with_pieces", "without_pieces"]

PIECES = "files of slides"
"""What files are counted as that belong to an image which another file stands for."""

MAX_PIECES = 4000
"""Files of one image: a guest is allowed as many by name."""

_USUAL = re.compile(r"(?:[0-9(),._/ ]|map|macro|Slidedat|Index|Data|jpe?g|ini|dat|ngr)*")
"""What follows the name of a slide in those of its files."""

MIRAX_INDEX, MIRAX_ENDINGS = "Slidedat.ini", (".dat", ".ini")
"""What lists the files in the folder of a MIRAX slide, and how they end."""


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
    sizes = [
        _size(path, piece, f"file {number} of {len(pieces)}")
        for number, piece in enumerate(pieces, 1)
    ]
    whole = None if spec.source_bytes is None else spec.source_bytes + sum(sizes)
    return replace(spec, paths=(*spec.paths, *pieces), source_bytes=whole)


def _listed(path: Path, names: Sequence[str]) -> Iterator[str]:
    for name in names:
        folder, _, last = name.rpartition("/")
        if not last.startswith("*"):
            yield str(path.parent / name)
            continue
        try:
            with os.scandir(path.parent / folder) as entries:
                found = [entry.name for entry in entries if not entry.is_dir()]
        except OSError as error:
            raise _not_opened(path, f"{folder}/", "its folder", error) from None
        ending = last[1:].lower()
        yield from (
            str(path.parent / folder / one) for one in found if one.lower().endswith(ending)
        )


def _size(path: Path, piece: str, which: str) -> int:
    folders = (path.parent, os.path.dirname(os.path.realpath(path)))
    try:
        with open_regular(piece, folders) as file:
            return os.fstat(file.fileno()).st_size
    except OSError as error:
        raise _not_opened(path, os.path.relpath(piece, path.parent), which, error) from None


def _not_opened(path: Path, name: str, which: str, error: OSError) -> UnsupportedSource:
    """Return what to say of a file; its name alone where it is made of the slide's, as is usual.

    Others stand in the slide or in its folder, and may name a patient.
    """
    is_usual = name.startswith(path.stem) and _USUAL.fullmatch(name, len(path.stem))
    text = f"{name if is_usual else which}, which belongs to it, is not opened: {error.strerror}"
    return UnsupportedSource(f"opening {path}: {text}")


def without_pieces(paths: Sequence[str]) -> list[str]:
    """Return the files of a folder that belong to no MIRAX slide, which stands for the others."""
    folder = os.path.dirname(paths[0])
    beside = any(os.path.isfile(folder + ending) for ending in (".mrxs", ".MRXS"))
    if not beside or not os.path.isfile(os.path.join(folder, MIRAX_INDEX)):
        return list(paths)
    return [path for path in paths if not path.lower().endswith(MIRAX_ENDINGS)]
