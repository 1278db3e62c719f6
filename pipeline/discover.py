"""Find images in files and folders, by what files contain and never by what they are called."""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, count
from pathlib import Path, PurePosixPath

from tilepress.codecs.errors import DamagedSource, SourceError, UnsupportedSource
from tilepress.pipeline.arrays import NPY_MAGIC, ArraySource, is_zarr_array, is_zarr_node
from tilepress.pipeline.source import SourceSpec, TileSource
from tilepress.pipeline.tiff_header import Pages, read_pages

__all__ = ["TIFF_MAGICS", "Failure", "discover", "open_source", "store_path"]

TIFF_MAGICS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""TIFF and BigTIFF, little and big endian."""

DICOM_PREFIX = b"DICM"
"""Behind a preamble of 128 bytes that may hold anything (PS3.10 §7.1)."""

SIDECAR_SUFFIXES = frozenset(
    {
        *(".aux", ".gml", ".imd", ".kml", ".msk", ".ovr", ".prj", ".rpb", ".tab", ".tfw", ".wld"),
        *(".csv", ".doc", ".docx", ".htm", ".html", ".json", ".geojson", ".md", ".pdf", ".rst"),
        *(".cfg", ".ini", ".lock", ".log", ".md5", ".py", ".sh", ".sha256", ".toml", ".tsv"),
        *(".css", ".txt", ".url", ".xml", ".xsd", ".xsl", ".yaml", ".yml"),
    }
)
"""Endings of what accompanies images; in folders such files are passed over."""

IMAGE_SUFFIXES = frozenset(
    {
        *(".tif", ".tiff", ".gtiff", ".jp2", ".j2k", ".j2c", ".jpx", ".hgt", ".png"),
        *(".npy", ".zarr", ".dat", ".img", ".bin"),
    }
)
"""Endings of images, which the names of their stores lose."""

SIDECAR_NAMES = (
    "licen[cs]e*",
    "readme*",
    "copying*",
    "dicomdir",
    "thumbs.db",
    "md5sum*",
    "makefile",
)


@dataclass(frozen=True, slots=True)
class Failure:
    """An input that is no image for us, and why."""

    path: str
    error: SourceError


@dataclass(frozen=True, slots=True)
class _Folder:
    """Files of one folder that are looked at together."""

    root: Path
    """The source argument's folder: what relative names count from."""
    files: tuple[Path, ...]
    named: bool
    """Whether the user named these very files, so that none is passed over."""


def discover(
    paths: Sequence[str | Path], stack: str | None = None
) -> Iterator[SourceSpec | Failure]:
    """Yield a recipe for every image in ``paths``, and a failure for every file that is none.

    Folders are searched through, one at a time. DICOM files are grouped into series once per
    argument (files named one after another count as one), as a series may be spread over folders.
    With ``stack``, rasters of a folder whose name matches the pattern make one image; where the
    pattern has several ``*``, all but the last say which image (``*_B*.TIF``: scene, then band);
    bands are sorted as people count, B2 before B10. A pattern that no raster matches is a failure,
    too, the last one.
    Hidden files and well-known companions (texts, ``.aux.xml``, ``.ovr``…) are passed over unless
    named.

    Every recipe carries options["name"], the name of its store, and options["relative"], the path
    below the argument that it was found in: where an archive keeps it (``store_path``). That of a
    DICOM series is its name alone, for folders may be called after patients. Of files in a folder
    that differ in their ending only, all but the first are named with it: ``a`` and ``a-jp2``.

    A TIFF file of several full images (pages; neither overviews nor masks) gives a recipe for each,
    ``a-page1``, ``a-page2``…, with options["page"], counted from 1.
    """
    stacked = stack is None
    for items in _walk([Path(path) for path in paths]):
        dicom: list[Path] = []
        for item in items:
            if isinstance(item, _Folder):
                for found in _discover_files(item, stack, dicom):
                    stacked |= isinstance(found, SourceSpec) and found.kind == "stack"
                    yield found
            else:
                yield item
        if dicom:
            yield from _dicom_series(dicom)
    if not stacked and paths:
        text = f"stacking: no raster is named like {stack!r}; each is an image of its own"
        yield Failure(str(paths[0]), UnsupportedSource(text))


def store_path(spec: SourceSpec) -> PurePosixPath:
    """Return where an archive keeps the store of a discovered image, without ``.zarr``."""
    relative = PurePosixPath(str(spec.options["relative"]))
    folder = [part for part in relative.parent.parts if part not in ("/", "..")]
    return PurePosixPath(*folder, str(spec.options["name"]))


def open_source(spec: SourceSpec) -> TileSource:
    """Open what ``discover`` found; raises SourceError."""
    if spec.kind == "geotiff":
        from tilepress.pipeline.geotiff import GeoTiffSource

        return GeoTiffSource(spec)
    if spec.kind == "stack":
        from tilepress.pipeline.geotiff import StackSource

        return StackSource(spec)
    if spec.kind == "dicom":
        from tilepress.pipeline.dicom import DicomSource

        return DicomSource(spec)
    if spec.kind == "array":
        return ArraySource(spec)
    raise UnsupportedSource(f"opening a source: kind {spec.kind!r} is unknown")


_Items = Iterable["_Folder | SourceSpec | Failure"]


def _walk(paths: Iterable[Path]) -> Iterator[_Items]:
    """Yield what every argument holds; named files that follow each other are one argument."""
    named: dict[Path, list[Path]] = {}
    for path in paths:
        if path.is_dir():
            yield _named_files(named)
            named = {}
            yield _walk_folder(path)
        elif path.exists():
            named.setdefault(path.parent, []).append(path)
        else:
            yield [Failure(str(path), SourceError(f"opening {path}: there is no such file"))]
    yield _named_files(named)


def _named_files(named: dict[Path, list[Path]]) -> list[_Folder]:
    return [
        _Folder(folder, tuple(dict.fromkeys(files)), named=True) for folder, files in named.items()
    ]


def _walk_folder(root: Path) -> Iterator[_Folder | SourceSpec | Failure]:
    if is_zarr_node(root):
        yield _zarr_node(root, root.parent)
        return
    errors: list[OSError] = []
    for name, folders, files in os.walk(root, onerror=errors.append):
        folder = Path(name)
        for error in errors:
            text = f"reading folder {error.filename}: {error.strerror}"
            yield Failure(str(error.filename), SourceError(text))
        errors.clear()
        searched = []
        for child in sorted(folders):
            if child.startswith("."):
                continue
            if _is_unfinished(folder / child):
                continue
            if not is_zarr_node(folder / child):
                searched.append(child)
            elif not _is_ours(folder / child):
                yield _zarr_node(folder / child, root)
        folders[:] = searched
        if files:
            yield _Folder(root, tuple(folder / file for file in sorted(files)), named=False)


def _is_ours(path: Path) -> bool:
    """Whether a Zarr folder is what an earlier run wrote."""
    try:
        return b'"tilepress"' in (path / "zarr.json").read_bytes()
    except OSError:
        return False


def _is_unfinished(path: Path) -> bool:
    """Whether a folder is a store that a stopped run left without its documents."""
    return path.suffix == ".zarr" and not is_zarr_node(path) and (path / "0" / "image").is_dir()


def _zarr_node(path: Path, root: Path) -> SourceSpec | Failure:
    if is_zarr_array(path):
        return _spec("array", (path,), root)
    text = f"opening {path}: a Zarr group is no single image; name one of its arrays"
    return Failure(str(path), UnsupportedSource(text))


def _discover_files(
    folder: _Folder, stack: str | None, dicom: list[Path]
) -> Iterator[SourceSpec | Failure]:
    """Yield the images of one folder, save DICOM files: they are put into ``dicom``."""
    specs: list[SourceSpec] = []
    stacks: dict[tuple[str, ...], list[Path]] = {}
    for path in folder.files:
        if not folder.named and _is_passed_over(path):
            continue
        try:
            kind = _kind(path)
            pages = _pages(path) if kind == "geotiff" else None
        except OSError as error:
            text = f"opening {path}: {error.strerror or type(error).__name__}"
            yield Failure(str(path), SourceError(text))
            continue
        scene = _scene(path, folder.root, stack) if kind == "geotiff" else None
        if kind is None:
            text = (
                "it is not an image that tilepress takes "
                "(TIFF, JPEG 2000, PNG, SRTM height file, DICOM, .npy, Zarr array)"
            )
            yield Failure(str(path), UnsupportedSource(f"opening {path}: {text}"))
        elif kind == "dicom":
            dicom.append(path)
        elif scene is not None:
            stacks.setdefault(scene, []).append(path)
        elif pages is not None:
            specs += _page_specs(path, len(pages.found), folder.root)
            if pages.cut is not None:
                text = f"its pages end with page {len(pages.found)}: {pages.cut}"
                yield Failure(str(path), DamagedSource(f"opening {path}: {text}"))
        else:
            specs.append(_spec(kind, (path,), folder.root))
    specs += [_stack(files, folder.root) for files in stacks.values()]
    yield from _named_apart(specs)


def _kind(path: Path) -> str | None:
    """Return what kind of source a file is, by its content; None where it is none."""
    from tilepress.pipeline.dicom import is_dicom
    from tilepress.pipeline.geotiff import raster_driver

    with path.open("rb") as file:
        head = file.read(132)
    if head[128:132] == DICOM_PREFIX:  # first: the preamble before it may be a TIFF header
        return "dicom"
    if raster_driver(path, head) is not None:
        return "geotiff"
    if head.startswith(NPY_MAGIC):
        return "array"
    return "dicom" if is_dicom(path) else None


def _pages(path: Path) -> Pages | None:
    """Return the images of a TIFF file that holds several; None for any other file."""
    pages = read_pages(path)
    return pages if len(pages.found) > 1 else None


def _page_specs(path: Path, pages: int, root: Path) -> Iterator[SourceSpec]:
    """Yield a recipe for every page, named by its number; pages are opened each on its own."""
    for page in range(1, pages + 1):
        spec = _spec("geotiff", (path,), root, f"{path.stem}-page{page}")
        yield replace(spec, options={**spec.options, "page": page})


def _dicom_series(files: Sequence[Path]) -> Iterator[SourceSpec | Failure]:
    from tilepress.pipeline.dicom import group_series

    specs, failures = group_series(files)
    for path, error in failures:
        yield Failure(path, error)
    for spec in specs:
        yield replace(spec, options={**spec.options, "relative": spec.options["name"]})


def _is_passed_over(path: Path) -> bool:
    name = path.name.lower()
    return (
        name.startswith(".")
        or path.suffix.lower() in SIDECAR_SUFFIXES
        or any(fnmatch.fnmatchcase(name, pattern) for pattern in SIDECAR_NAMES)
    )


def _scene(path: Path, root: Path, stack: str | None) -> tuple[str, ...] | None:
    """Return what names the image that a file is a band of; None where it is no band."""
    if stack is None:
        return None
    text = path.relative_to(root).as_posix() if "/" in stack else path.name
    pattern = "".join(
        "(.*)" if part == "*" else "." if part == "?" else re.escape(part)
        for part in re.split(r"([*?])", stack)
    )
    match = re.fullmatch(pattern, text)
    return None if match is None else match.groups()[:-1]


def _spec(kind: str, paths: Sequence[Path], root: Path, name: str | None = None) -> SourceSpec:
    """Make a recipe with absolute paths: a worker may run in another folder."""
    first = paths[0]
    if name is None:
        name = first.stem if first.suffix.lower() in IMAGE_SUFFIXES else first.name
    absolute = tuple(str(path.absolute()) for path in paths)
    options = {"name": name, "relative": first.relative_to(root).as_posix()}
    return SourceSpec(kind=kind, paths=absolute, options=options)


def _stack(files: Sequence[Path], root: Path) -> SourceSpec:
    from tilepress.pipeline.geotiff import stack_name, stack_order

    ordered = stack_order(files)
    return _spec("stack", ordered, root, stack_name(ordered))


def _named_apart(specs: Sequence[SourceSpec]) -> Sequence[SourceSpec]:
    """Return the images of one folder with names that differ, on any file system.

    Who keeps the short name does not depend on the order: TIFF files first, then stacks.
    """

    def rank(at: int) -> tuple[int, str]:
        path = Path(specs[at].paths[0])
        is_tiff = path.suffix.lower() in (".tif", ".tiff")
        return (1 if specs[at].kind == "stack" else 0 if is_tiff else 2), path.name

    named = list(specs)
    taken: set[tuple[PurePosixPath, str]] = set()
    for at in sorted(range(len(specs)), key=rank):
        spec = specs[at]
        name, folder = str(spec.options["name"]), store_path(spec).parent
        ending = "stack" if spec.kind == "stack" else Path(spec.paths[0]).suffix[1:] or "image"
        numbered = (f"{name}-{ending}-{n}" for n in count(2))
        tries = chain((name, f"{name}-{ending}"), numbered)
        chosen = next(one for one in tries if (folder, one.lower()) not in taken)
        taken.add((folder, chosen.lower()))
        named[at] = replace(spec, options={**spec.options, "name": chosen})
    return named
