"""Find images in files and folders, by what files contain and never by what they are called."""

from __future__ import annotations

import os
import posixpath
import re
import stat
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import chain, count
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from tilepress.errors import DamagedSource, SourceError, UnsupportedSource
from tilepress.pipeline.arrays.source import NPY_MAGIC, ArraySource
from tilepress.pipeline.find.inputs import expand, is_virtual
from tilepress.pipeline.find.walk import (
    Batch,
    End,
    Failure,
    InputFile,
    PassedOver,
    ZarrNode,
    printable_name,
)
from tilepress.pipeline.geotiff.header import Pages, find_pages
from tilepress.pipeline.image.source import SourceSpec, TileSource
from tilepress.pipeline.storage.path import is_url
from tilepress.pipeline.storage.ranges import (
    RemoteFile,
    below_common_folder,
    companions,
    look_up,
    reader,
)

if TYPE_CHECKING:
    from tilepress.pipeline.dicom.groups import SeriesGroups
    from tilepress.pipeline.dicom.header import Instance

__all__ = ["TIFF_MAGICS", "Failure", "discover", "open_source", "stacked_versions", "store_path"]

TIFF_MAGICS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""TIFF and BigTIFF, little and big endian."""

DICOM_PREFIX = b"DICM"
"""Behind a preamble of 128 bytes that may hold anything (PS3.10 §7.1)."""

IMAGE_SUFFIXES = frozenset(
    {
        *(".tif", ".tiff", ".gtiff", ".jp2", ".j2k", ".j2c", ".jpx", ".hgt", ".png"),
        *(".npy", ".zarr", ".dat", ".img", ".bin"),
    }
)
"""Endings of images, which the names of their stores lose."""

REMOTE_LOOKS = 16
"""Objects of a bucket that are looked at at the same time: each waits for answers mostly."""


def discover(
    paths: Sequence[str | Path],
    stack: str | None = None,
    passed_over: Counter[str] | None = None,
) -> Iterator[SourceSpec | Failure]:
    """Yield a recipe for every image in ``paths``, and a failure for every file that is none.

    ``paths`` are files, folders, patterns, lists ("-", "@file") and ``s3://`` URLs; ``inputs`` says
    what each means. Folders are searched through, one at a time. DICOM files are grouped into
    series once per argument (files named one after another count as one), as a series may be spread
    over folders: they come at the argument's end, all else as it is found.
    With ``stack``, rasters of a folder whose name matches the pattern make one image; where the
    pattern has several ``*``, all but the last say which image (``*_B*.TIF``: scene, then band);
    bands are sorted as people count, B2 before B10. A pattern that no raster matches is a failure,
    too, the last one.
    Hidden files and well-known companions (texts, ``.aux.xml``, ``.ovr``…) are passed over unless
    named. The companions are counted in ``passed_over``, by ending, "" for unusual ones.

    Every recipe carries options["name"], the name of its store, and options["relative"], the path
    below the argument that it was found in: where an archive keeps it (``store_path``). That of a
    DICOM series is its name alone, for folders may be called after patients. Of files in a folder
    that differ in their ending only, all but the first are named with it: ``a`` and ``a-jp2``.
    A recipe of objects in a bucket carries options["objects"], [version, bytes] of each, and
    options["companions"]: what was found is what will be read, or else an error.

    A TIFF file of several full images (pages; neither overviews nor masks) gives a recipe for each,
    ``a-page1``, ``a-page2``…, with options["page"], counted from 1.
    """
    stacked = stack is None
    with _Series() as series:
        for item in expand(paths, whole_folders=stack is not None):
            if isinstance(item, Batch):
                for found in _discover_files(item, stack, series):
                    stacked |= isinstance(found, SourceSpec) and found.kind == "stack"
                    yield found
            elif isinstance(item, ZarrNode):
                yield _zarr_node(item)
            elif isinstance(item, End):
                yield from series.images()
            elif isinstance(item, PassedOver):
                if passed_over is not None:
                    passed_over.update(item.suffixes)
            else:
                yield item
    if not stacked and paths:
        text = f"stacking: no raster is named like {stack!r}; each is an image of its own"
        yield Failure(str(paths[0]), UnsupportedSource(text))


def store_path(spec: SourceSpec) -> PurePosixPath:
    """Return where an archive keeps the store of a discovered image, without ``.zarr``."""
    relative = PurePosixPath(str(spec.options["relative"]))
    folder = [part for part in relative.parent.parts if part not in ("/", "..")]
    return PurePosixPath(*folder, str(spec.options["name"]))


def open_source(spec: SourceSpec) -> TileSource:
    """Open what ``discover`` found; raises SourceError.

    Objects of a bucket are fetched into a folder of this machine first, once for all its processes
    (see ``staging``); messages and ``source.spec`` name the objects.
    """
    if any(map(is_virtual, spec.paths)):
        raise UnsupportedSource(f"opening {spec.paths[0]}: GDAL's virtual files are not opened")
    if "objects" in spec.options:
        from tilepress.pipeline.storage.copies import StagedSource

        return StagedSource(spec, _open_local)
    return _open_local(spec)


def _open_local(spec: SourceSpec) -> TileSource:
    if spec.kind == "geotiff":
        from tilepress.pipeline.geotiff.source import GeoTiffSource

        return GeoTiffSource(spec)
    if spec.kind == "stack":
        from tilepress.pipeline.geotiff.source import StackSource

        return StackSource(spec)
    if spec.kind == "dicom":
        from tilepress.pipeline.dicom.source import DicomSource

        return DicomSource(spec)
    if spec.kind == "array":
        return ArraySource(spec)
    raise UnsupportedSource(f"opening a source: kind {spec.kind!r} is unknown")


class _Series:
    """DICOM files of one argument, until it ends."""

    def __init__(self) -> None:
        self._groups: SeriesGroups | None = None

    def __enter__(self) -> _Series:
        return self

    def __exit__(self, *_: object) -> None:
        if self._groups is not None:
            self._groups.close()
            self._groups = None

    def add(self, looked: _Looked) -> Iterator[Failure]:
        """Keep a file's header; yield a failure where there is no room for it."""
        from tilepress.pipeline.dicom.groups import SeriesGroups

        assert looked.instance is not None
        try:
            if self._groups is None:
                self._groups = SeriesGroups()
            remote = looked.file.remote
            self._groups.add(looked.instance, "" if remote is None else remote.version)
        except SourceError as error:
            yield Failure(printable_name(looked.file.path), error)

    def images(self) -> Iterator[SourceSpec | Failure]:
        """Yield the images, and forget them."""
        try:
            for found in self._groups.images() if self._groups is not None else ():
                if isinstance(found, SourceSpec):
                    options = {**found.options, "relative": found.options["name"]}
                    yield replace(found, options=options)
                else:
                    yield Failure(printable_name(found[0]), found[1])
        except SourceError as error:
            yield Failure("DICOM files", error)
        self.__exit__()


@dataclass(frozen=True, slots=True)
class _Looked:
    """What one file is."""

    file: InputFile
    kind: str | None
    """None where it is no image."""
    size: int | None
    """In bytes; None where nobody has counted: a Zarr array of many files."""
    pages: Pages | None = None
    """The images of a TIFF file that holds several."""
    instance: Instance | None = None
    """The header of a DICOM file."""
    companions: tuple[RemoteFile, ...] = ()


def _zarr_node(node: ZarrNode) -> SourceSpec | Failure:
    if node.is_array:
        return _spec("array", (_Looked(node.file, "array", None),))
    path = printable_name(node.file.path)
    text = f"opening {path}: a Zarr group is no single image; name one of its arrays"
    return Failure(path, UnsupportedSource(text))


def _discover_files(
    batch: Batch, stack: str | None, series: _Series
) -> Iterator[SourceSpec | Failure]:
    """Yield the images of one batch, save DICOM files: they are put into ``series``."""
    specs: list[SourceSpec] = []
    stacks: dict[tuple[str, ...], list[_Looked]] = {}
    for looked in _look_at_all(batch):
        if isinstance(looked, Failure):
            yield looked
            continue
        path = printable_name(looked.file.path)
        scene = _scene(looked.file, stack) if looked.kind == "geotiff" else None
        if looked.kind is None:
            text = (
                "it is not an image that tilepress takes "
                "(TIFF, JPEG 2000, PNG, SRTM height file, DICOM, .npy, Zarr array)"
            )
            yield Failure(path, UnsupportedSource(f"opening {path}: {text}"))
        elif looked.instance is not None:
            yield from series.add(looked)
        elif scene is not None:
            stacks.setdefault(scene, []).append(looked)
        elif looked.pages is not None:
            specs += _page_specs(looked, len(looked.pages.found))
            if looked.pages.cut is not None:
                text = f"its pages end with page {len(looked.pages.found)}: {looked.pages.cut}"
                yield Failure(path, DamagedSource(f"opening {path}: {text}"))
        else:
            specs.append(_spec(looked.kind, (looked,)))
    specs += [_stack(files) for files in stacks.values()]
    yield from _named_apart(specs, batch.taken)


def _look_at_all(batch: Batch) -> Iterator[_Looked | Failure]:
    """Look at every file in order; at those of a bucket several at a time."""
    if not any(is_url(file.path) for file in batch.files):
        yield from (_look(file) for file in batch.files)
        return
    pool = ThreadPoolExecutor(REMOTE_LOOKS, thread_name_prefix="look")
    try:
        yield from pool.map(lambda file: _look(file, batch), batch.files)
    finally:
        pool.shutdown(cancel_futures=True)


def _look(file: InputFile, batch: Batch | None = None) -> _Looked | Failure:
    """Tell what a file is, by its content."""
    path = printable_name(file.path)
    try:
        return _look_at_object(file, batch) if is_url(file.path) else _look_at_file(file)
    except OSError as error:
        text = f"opening {path}: {error.strerror or type(error).__name__}"
        return Failure(path, SourceError(text))
    except SourceError as error:
        return Failure(path, error)


def _look_at_file(file: InputFile) -> _Looked:
    from tilepress.pipeline.dicom.header import read_instance

    path = Path(file.path)
    if not stat.S_ISREG(path.stat().st_mode):  # to open a pipe would wait for a writer
        raise UnsupportedSource(f"opening {printable_name(file.path)}: it is no regular file")
    with path.open("rb") as opened:
        size = os.fstat(opened.fileno()).st_size
        kind = _kind(file, opened.read(132), size)
        pages = find_pages(opened, size) if kind == "geotiff" else None
    instance = read_instance(file.path) if kind == "dicom" else None
    return _Looked(file, kind, size, _several(pages), instance)


def _look_at_object(file: InputFile, batch: Batch | None) -> _Looked:
    """Look at an object by ranged reads."""
    from tilepress.pipeline.dicom.header import read_instance

    source = reader(file.remote or look_up(file.path))
    kind = _kind(file, source.read(0, 132), source.size)
    pages = find_pages(source.stream(), source.size) if kind == "geotiff" else None
    instance = read_instance(file.path) if kind == "dicom" else None
    beside: tuple[RemoteFile, ...] = ()
    if kind == "geotiff":
        known = batch.companions if batch is not None else None
        beside = tuple(companions(source.file, known))
    found = replace(file, remote=source.file)
    return _Looked(found, kind, source.size, _several(pages), instance, beside)


def _several(pages: Pages | None) -> Pages | None:
    return pages if pages is not None and len(pages.found) > 1 else None


def _kind(file: InputFile, head: bytes, size: int) -> str | None:
    """Return what kind of source a file is, by its content; None where it is none."""
    from tilepress.pipeline.dicom.source import is_dicom
    from tilepress.pipeline.geotiff.source import raster_driver

    if head[128:132] == DICOM_PREFIX:  # first: the preamble before it may be a TIFF header
        return "dicom"
    if raster_driver(PurePosixPath(file.name), head, size) is not None:
        return "geotiff"
    if head.startswith(NPY_MAGIC):
        return "array"
    return "dicom" if is_dicom(file.path) else None


def _page_specs(looked: _Looked, pages: int) -> Iterator[SourceSpec]:
    """Yield a recipe for every page, named by its number; pages are opened each on its own."""
    for page in range(1, pages + 1):
        spec = _spec("geotiff", (looked,), f"{looked.file.stem}-page{page}")
        yield replace(spec, options={**spec.options, "page": page})


def _scene(file: InputFile, stack: str | None) -> tuple[str, ...] | None:
    """Return what names the image that a file is a band of; None where it is no band."""
    if stack is None:
        return None
    text = file.relative if "/" in stack else file.name
    pattern = "".join(
        "(.*)" if part == "*" else "." if part == "?" else re.escape(part)
        for part in re.split(r"([*?])", stack)
    )
    match = re.fullmatch(pattern, text, re.DOTALL)
    return None if match is None else match.groups()[:-1]


def _spec(kind: str, looked: Sequence[_Looked], name: str | None = None) -> SourceSpec:
    """Make a recipe with absolute paths: a worker may run in another folder."""
    first = looked[0].file
    if name is None:
        name = first.stem if first.suffix.lower() in IMAGE_SUFFIXES else first.name
    options: dict[str, Any] = {"name": name, "relative": first.relative}
    if first.remote is not None:
        options |= _versions(looked)
    sizes = [one.size for one in looked if one.size is not None]
    return SourceSpec(
        kind=kind,
        paths=tuple(one.file.path for one in looked),
        options=options,
        source_bytes=sum(sizes) if len(sizes) == len(looked) else None,
    )


def _versions(looked: Sequence[_Looked]) -> dict[str, Any]:
    """Return what pins the objects of an image, and those beside them, to what was found."""
    urls = [one.file.path for one in looked]
    beside = {one.url: one for each in looked for one in each.companions if one.url not in urls}
    names = below_common_folder([*urls, *beside])[len(urls) :]
    found = zip(names, beside.values(), strict=True)
    return {
        "objects": [[r.version, r.size] for one in looked if (r := one.file.remote) is not None],
        "companions": [[name, remote.version, remote.size] for name, remote in found],
    }


def stacked_versions(specs: Sequence[SourceSpec]) -> dict[str, Any]:
    """Return what pins the objects of a stack, from the recipes of its files in a bucket."""
    looked = [
        _Looked(
            InputFile(spec.paths[0], "", RemoteFile(spec.paths[0], int(size), str(version))),
            spec.kind,
            int(size),
            companions=tuple(
                RemoteFile(f"{posixpath.dirname(spec.paths[0])}/{name}", int(bytes_), str(tag))
                for name, tag, bytes_ in spec.options["companions"]
            ),
        )
        for spec in specs
        for version, size in spec.options["objects"]
    ]
    return _versions(looked)


def _stack(files: Sequence[_Looked]) -> SourceSpec:
    from tilepress.pipeline.geotiff.source import stack_name, stack_order

    by_path = {PurePosixPath(one.file.path): one for one in files}
    ordered = [by_path[PurePosixPath(path)] for path in stack_order(list(by_path))]
    names = [one.file.path for one in ordered]
    return _spec("stack", ordered, stack_name(names))


def _named_apart(specs: Sequence[SourceSpec], taken: dict[str, set[str]]) -> Sequence[SourceSpec]:
    """Return the images of one folder with names that differ, on any file system.

    Who keeps the short name does not depend on the order: TIFF files first, then stacks. ``taken``
    are the names that earlier files of the folder have.
    """

    def rank(at: int) -> tuple[int, str]:
        path = PurePosixPath(specs[at].paths[0])
        is_tiff = path.suffix.lower() in (".tif", ".tiff")
        return (1 if specs[at].kind == "stack" else 0 if is_tiff else 2), path.name

    named = list(specs)
    for at in sorted(range(len(specs)), key=rank):
        spec = specs[at]
        name = str(spec.options["name"])
        in_folder = taken.setdefault(str(store_path(spec).parent), set())
        ending = (
            "stack" if spec.kind == "stack" else PurePosixPath(spec.paths[0]).suffix[1:] or "image"
        )
        numbered = (f"{name}-{ending}-{n}" for n in count(2))
        tries = chain((name, f"{name}-{ending}"), numbered)
        chosen = next(one for one in tries if one.lower() not in in_folder)
        in_folder.add(chosen.lower())
        named[at] = replace(spec, options={**spec.options, "name": chosen})
    return named
