"""Find images in files and folders, by what files contain and never by what they are called."""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tilepress.codecs.errors import SourceError, UnsupportedSource
from tilepress.pipeline.arrays import NPY_MAGIC, ArraySource, is_zarr_array, is_zarr_node
from tilepress.pipeline.source import SourceSpec, TileSource

__all__ = ["TIFF_MAGICS", "Failure", "discover", "open_source"]

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

    Folders are searched through, one at a time. DICOM files of a folder are grouped into series.
    With ``stack``, TIFF files of a folder whose name matches the pattern make one image; where the
    pattern has several ``*``, all but the last say which image (``*_B*.TIF``: scene, then band);
    bands are sorted as people count, B2 before B10.
    Hidden files and well-known companions (texts, ``.aux.xml``, ``.ovr``…) are passed over unless
    named. Every recipe carries options["relative"], the path below the argument it was found in.
    """
    for item in _walk([Path(path) for path in paths]):
        if isinstance(item, _Folder):
            yield from _discover_files(item, stack)
        else:
            yield item


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


def _walk(paths: Iterable[Path]) -> Iterator[_Folder | SourceSpec | Failure]:
    """Yield named files by their folder, then folders from the top down."""
    named: dict[Path, list[Path]] = {}
    for path in paths:
        if path.is_dir():
            yield from _named_files(named)
            yield from _walk_folder(path)
        elif path.exists():
            named.setdefault(path.parent, []).append(path)
        else:
            yield Failure(str(path), SourceError(f"opening {path}: there is no such file"))
    yield from _named_files(named)


def _named_files(named: dict[Path, list[Path]]) -> Iterator[_Folder]:
    for folder, files in named.items():
        yield _Folder(folder, tuple(dict.fromkeys(files)), named=True)
    named.clear()


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


def _discover_files(folder: _Folder, stack: str | None) -> Iterator[SourceSpec | Failure]:
    from tilepress.pipeline.dicom import is_dicom

    dicom: list[Path] = []
    stacks: dict[tuple[str, ...], list[Path]] = {}
    for path in folder.files:
        if not folder.named and _is_passed_over(path):
            continue
        try:
            with path.open("rb") as file:
                head = file.read(132)
        except OSError as error:
            text = f"opening {path}: {error.strerror or type(error).__name__}"
            yield Failure(str(path), SourceError(text))
            continue
        if head[128:132] == DICOM_PREFIX:  # first: the preamble before it may be a TIFF header
            dicom.append(path)
        elif head[:4] in TIFF_MAGICS:
            scene = _scene(path, folder.root, stack)
            if scene is None:
                yield _spec("geotiff", (path,), folder.root)
            else:
                stacks.setdefault(scene, []).append(path)
        elif head.startswith(NPY_MAGIC):
            yield _spec("array", (path,), folder.root)
        elif is_dicom(path):
            dicom.append(path)
        else:
            text = "it is not an image that tilepress takes (TIFF, DICOM, .npy, Zarr array)"
            yield Failure(str(path), UnsupportedSource(f"opening {path}: {text}"))
    for files in stacks.values():
        yield _spec("stack", sorted(files, key=_natural), folder.root)
    if dicom:
        yield from _dicom_series(dicom, folder.root)


def _dicom_series(files: Sequence[Path], root: Path) -> Iterator[SourceSpec | Failure]:
    from tilepress.pipeline.dicom import group_series

    specs, failures = group_series(files)
    for path, error in failures:
        yield Failure(path, error)
    parent = files[0].parent.relative_to(root)
    for spec in specs:
        relative = (parent / str(spec.options["name"])).as_posix()
        yield replace(spec, options={**spec.options, "relative": relative})


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


def _spec(kind: str, paths: Sequence[Path], root: Path) -> SourceSpec:
    """Make a recipe with absolute paths: a worker may run in another folder."""
    relative = paths[0].relative_to(root).as_posix()
    absolute = tuple(str(path.absolute()) for path in paths)
    return SourceSpec(kind=kind, paths=absolute, options={"relative": relative})


def _natural(path: Path) -> list[tuple[int, str]]:
    """Sort key by which B2 comes before B10."""
    parts = re.split(r"(\d+)", path.name)
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]
