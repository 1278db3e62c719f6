"""Pin an image in a bucket, or in packed files, to the versions of its files that were found.

A recipe of such has options["objects"], [version, bytes] of every path, and
options["companions"], [name, version, bytes] of the files that have to lie beside them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from tilepress.pipeline.image.names import below_common_folder
from tilepress.pipeline.image.source import SourceSpec
from tilepress.pipeline.packed.unpack import as_copied
from tilepress.pipeline.storage.ranges import RemoteFile

__all__ = ["file_names_of", "is_pinned", "objects_of", "pinned", "root_of", "without_pins"]

OBJECTS, COMPANIONS = "objects", "companions"


def is_pinned(spec: SourceSpec) -> bool:
    """Whether a recipe is of objects in a bucket, or of files in packed ones."""
    return OBJECTS in spec.options


def pinned(files: Sequence[RemoteFile], companions: Iterable[RemoteFile]) -> dict[str, Any]:
    """Return the options of a recipe of ``files``; those among the companions are left out."""
    urls = [file.url for file in files]
    beside = {one.url: one for one in companions if one.url not in urls}
    names = below_common_folder([*urls, *beside])[len(urls) :]
    return {
        OBJECTS: [[file.version, file.size] for file in files],
        COMPANIONS: [
            [name, one.version, one.size] for name, one in zip(names, beside.values(), strict=True)
        ],
    }


def objects_of(spec: SourceSpec) -> list[tuple[str, RemoteFile]]:
    """Return every file of a recipe with its name below their common folder, images first.

    What was packed loses the ending of that, unless another file has the name already.
    """
    names, taken = below_common_folder(spec.paths), set(spec.paths)
    root = spec.paths[0].removesuffix(names[0])
    files: list[tuple[str, RemoteFile]] = []
    for name, path, (version, size) in zip(names, spec.paths, spec.options[OBJECTS], strict=True):
        unpacked = as_copied(name, str(version))
        known = name if f"{root}{unpacked}" in taken else unpacked
        files.append((known, RemoteFile(path, int(size), str(version))))
    for name, version, size in spec.options.get(COMPANIONS, ()):
        files.append((str(name), RemoteFile(f"{root}{name}", int(size), str(version))))
    return files


def root_of(spec: SourceSpec) -> str:
    """Return what the files of an image have in common: the folder, with a slash at its end."""
    return spec.paths[0].removesuffix(below_common_folder(spec.paths)[0])


def file_names_of(spec: SourceSpec) -> list[str]:
    """Return what the files of an image are called below their common folder, once unpacked."""
    if is_pinned(spec):
        return [name for name, _ in objects_of(spec)][: len(spec.paths)]
    return below_common_folder(spec.paths)


def without_pins(spec: SourceSpec) -> dict[str, Any]:
    """Return a recipe's other options."""
    return {k: v for k, v in spec.options.items() if k not in (OBJECTS, COMPANIONS)}
