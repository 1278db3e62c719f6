"""Pin an image in a bucket to the versions of its objects that were found.

A recipe of objects has options["objects"], [version, bytes] of every path, and
options["companions"], [name, version, bytes] of the objects that have to lie beside them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from tilepress.pipeline.image.names import below_common_folder
from tilepress.pipeline.image.source import SourceSpec
from tilepress.pipeline.storage.ranges import RemoteFile

__all__ = ["is_pinned", "objects_of", "pinned", "without_pins"]

OBJECTS, COMPANIONS = "objects", "companions"


def is_pinned(spec: SourceSpec) -> bool:
    """Whether a recipe is of objects in a bucket."""
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
    """Return every object of a recipe with its name below their common folder, images first."""
    names = below_common_folder(spec.paths)
    files = [
        (name, RemoteFile(path, int(size), str(version)))
        for name, path, (version, size) in zip(
            names, spec.paths, spec.options[OBJECTS], strict=True
        )
    ]
    root = spec.paths[0].removesuffix(names[0])
    for name, version, size in spec.options.get(COMPANIONS, ()):
        files.append((str(name), RemoteFile(f"{root}{name}", int(size), str(version))))
    return files


def without_pins(spec: SourceSpec) -> dict[str, Any]:
    """Return a recipe's other options."""
    return {k: v for k, v in spec.options.items() if k not in (OBJECTS, COMPANIONS)}
