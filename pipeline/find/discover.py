"""Find images in files and folders, by what files contain and never by what they are called."""

from __future__ import annotations

import contextlib
import hashlib
import os
import posixpath
from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import chain, count
from pathlib import Path, PurePosixPath
from typing import Any

from tilepress.errors import DamagedSource, UnsupportedSource, failure_of
from tilepress.pipeline import formats
from tilepress.pipeline.find.inputs import expand
from tilepress.pipeline.find.stacks import (
    STACKED,
    Scene,
    StackPattern,
    Stacks,
    by_grid,
    stack_patterns,
)
from tilepress.pipeline.find.walk import (
    Batch,
    End,
    Failure,
    InputFile,
    Item,
    PassedOver,
    ZarrNode,
    each_or_failure,
    printable_name,
    unsupported,
)
from tilepress.pipeline.guests.look import Looks
from tilepress.pipeline.image.format import (
    HEAD_BYTES,
    Candidate,
    Certainty,
    FileImages,
    Format,
    Groups,
)
from tilepress.pipeline.image.names import stays_below
from tilepress.pipeline.image.objects import pinned
from tilepress.pipeline.image.private_names import PRIVATE, may_name_patient
from tilepress.pipeline.image.pseudonyms import UNKEYED, PseudonymsOf
from tilepress.pipeline.image.source import SourceSpec
from tilepress.pipeline.storage.path import is_url
from tilepress.pipeline.storage.ranges import look_up, reader
from tilepress.pipeline.storage.regular import RefusedFile, open_regular

__all__ = ["Failure", "discover", "store_path"]

REMOTE_LOOKS = 16
"""Objects of a bucket that are looked at at the same time: each waits for answers mostly."""

KNOWN_FOLDERS = 1000
"""Folders with DICOM in them that are remembered: files of one folder come close together."""

NAMED_FIRST = (".tif", ".tiff")
"""Endings of files that keep the short name where several of a folder differ in them only."""


def discover(
    paths: Sequence[str | Path],
    stack: Stacks = None,
    passed_over: Counter[str] | None = None,
    pseudonyms: PseudonymsOf = lambda: UNKEYED,
) -> Iterator[SourceSpec | Failure]:
    """Yield a recipe for every image in ``paths``, and a failure for every file that is none.

    ``paths`` are files, folders, patterns, lists ("-", "@file") and ``s3://`` URLs; ``inputs`` says
    what each means. Folders are searched through, one at a time. DICOM files are grouped into
    series once per argument (files named one after another count as one), as a series may be spread
    over folders: they come at the argument's end, all else as it is found.
    With ``stack``, a pattern or several, rasters of a folder whose name matches make one image;
    ``stacks`` says which and what it is called. Bands are sorted as people count, B2 before B10. A
    pattern that no raster matches is a failure, too, at the end.
    Hidden files and well-known companions (texts, ``.aux.xml``, ``.ovr``…) are passed over unless
    named. The companions are counted in ``passed_over``, by ending, "" for unusual ones; so are
    DICOM objects that never have pixels (reports, plans, documents), as "DICOM without pixels".

    Every recipe carries options["name"], the name of its store, and options["relative"], the path
    below the argument that it was found in: where an archive keeps it (``store_path``). That of a
    DICOM series is its name alone, for folders may be called after patients. Of files in a folder
    that differ in their ending only, all but the first are named with it: ``a`` and ``a-jp2``.
    A recipe of objects in a bucket carries options["objects"], [version, bytes] of each, and
    options["companions"]: what was found is what will be read, or else an error.

    ``pseudonyms`` is asked once there are DICOM files: it names their series. A failure is private
    where its path may name a patient and is not what the user wrote.

    A TIFF file of several full images (pages; neither overviews nor masks) gives a recipe for each,
    ``a-page1``, ``a-page2``…, with options["page"], counted from 1.
    """
    named = _as_named(paths)
    counted: Counter[str] = Counter() if passed_over is None else passed_over
    with contextlib.closing(_Discovery(stack, pseudonyms, counted)) as discovery:
        found = _found(discovery, expand(paths, whole_folders=stack is not None), counted)
        for one in found:
            if isinstance(one, Failure):
                private = one.private or may_name_patient(one.path)
                yield replace(one, private=private and one.path not in named)
            else:
                yield one
    for pattern in discovery.unmatched if paths else ():
        yield Failure(str(paths[0]), UnsupportedSource(pattern.nothing_found))


def _as_named(paths: Sequence[str | Path]) -> frozenset[str]:
    """Return what the user wrote, as failures tell it: that may be repeated."""
    texts = [str(path) for path in paths]
    full = [text if is_url(text) else os.path.abspath(text) for text in texts if "\0" not in text]
    return frozenset(map(printable_name, (*texts, *full)))


def _found(
    discovery: _Discovery, items: Iterable[Item], passed_over: Counter[str]
) -> Iterator[SourceSpec | Failure]:
    with contextlib.closing(Looks()) as looks:
        for item in items:
            if isinstance(item, Batch):
                folder = posixpath.dirname(item.files[0].path)
                yield from each_or_failure(discovery.batch(item, looks), folder)
                looks.end_folder()
            elif isinstance(item, ZarrNode):
                yield _zarr_node(item)
            elif isinstance(item, End):
                yield from discovery.grouped()
            elif isinstance(item, PassedOver):
                passed_over.update(item.suffixes)
            else:
                yield item


def store_path(spec: SourceSpec) -> PurePosixPath:
    """Return where an archive keeps the store of a discovered image, without ``.zarr``."""
    relative = PurePosixPath(str(spec.options["relative"]))
    folder = [part for part in relative.parent.parts if part not in ("/", "..")]
    name = str(spec.options["name"])
    if "/" in name or not stays_below(name):  # of a plan that somebody else has made
        raise UnsupportedSource(f"planning an image: its store cannot be called {name[:80]!r}")
    return PurePosixPath(*folder, name)


@dataclass(frozen=True, slots=True)
class _Looked:
    """What one file is."""

    file: InputFile
    size: int | None
    """In bytes; None where nobody has counted: a Zarr array of many files."""
    format: Format | None
    """None where it is no image."""
    content: FileImages = field(default_factory=FileImages)
    head: bytes = b""
    """Its first bytes, where they were read."""


@dataclass(frozen=True, slots=True)
class _Image:
    """An image that was found, until its name is its own."""

    spec: SourceSpec
    is_stack: bool = False


class _Discovery:
    """One search: what it has found of images that are not whole yet."""

    def __init__(self, stack: Stacks, pseudonyms: PseudonymsOf, passed_over: Counter[str]) -> None:
        self._passed_over = passed_over
        self._patterns = stack_patterns(stack)
        self._matched: set[StackPattern] = set()
        self._pseudonyms = pseudonyms
        self._private_folders: OrderedDict[str, None] = OrderedDict()
        """Folders in which a file was found that may be called after a patient, of late."""
        self._groups: dict[Format, Groups] = {}

    @property
    def unmatched(self) -> list[StackPattern]:
        """The patterns that no raster fitted."""
        return [pattern for pattern in self._patterns if pattern not in self._matched]

    def close(self) -> None:
        for groups in self._groups.values():
            groups.close()
        self._groups.clear()

    def batch(self, batch: Batch, looks: Looks) -> Iterator[SourceSpec | Failure]:
        """Yield the images of one batch, save those of several files that may be elsewhere."""
        images: list[_Image] = []
        stacks: dict[Scene, list[_Looked]] = {}
        failures: list[Failure] = []
        for looked in _look_at_all(batch, looks):
            if isinstance(looked, Failure):
                failures.append(looked)
                if looked.private:
                    self._note_private(looked.path)
                continue
            path = printable_name(looked.file.path)
            scene = self._scene(looked)
            if looked.content.is_companion and looked.format is not None:
                self._passed_over[f"{looked.format.names[0]} without pixels"] += 1
            elif looked.format is None:
                text = _no_image(looked)
                failures.append(Failure(path, UnsupportedSource(f"opening {path}: {text}")))
            elif looked.content.member is not None:
                if looked.format.private_names:
                    self._note_private(path)
                failures += self._add_to_groups(looked, looked.format)
            elif scene is not None:
                stacks.setdefault(scene, []).append(looked)
            else:
                images += _images_of(looked)
                if looked.content.problem is not None:
                    text = f"opening {path}: {looked.content.problem}"
                    failures.append(Failure(path, DamagedSource(text)))
        for failure in failures:  # known now: whether DICOM lies beside it
            yield replace(failure, private=self._is_private(failure))
        for scene, files in stacks.items():
            images += _stacked(scene, files)
        for spec in _named_apart(images, batch.names_in_use):
            yield self._beside_private(spec)

    def grouped(self) -> Iterator[SourceSpec | Failure]:
        """Yield the images that the files of one argument make together, and forget them."""
        for format_, groups in self._groups.items():
            found = _images_of_groups(groups, self._pseudonyms, private=format_.private_names)
            yield from each_or_failure(found, f"{format_.names[0]} files")
        self.close()

    def _add_to_groups(self, looked: _Looked, format_: Format) -> Iterator[Failure]:
        """Keep what is known of a file; yield a failure where there is no room for it."""
        remote = looked.file.remote
        version = "" if remote is None else remote.version
        try:
            groups = self._groups.get(format_) or format_.groups()
            assert groups is not None, "a member of nothing"
            self._groups[format_] = groups
            groups.add(looked.content.member, version)
        except Exception as error:  # the edge of an item: one file is no reason to end a run
            shown = printable_name(looked.file.path)
            yield Failure(shown, failure_of(f"opening {shown}", error))

    def _note_private(self, path: str) -> None:
        folder = posixpath.dirname(path)
        self._private_folders[folder] = None
        self._private_folders.move_to_end(folder)
        if len(self._private_folders) > KNOWN_FOLDERS:
            self._private_folders.popitem(last=False)

    def _beside_private(self, spec: SourceSpec) -> SourceSpec:
        """Mark an image that lies beside DICOM: its folder may be called after a patient."""
        if posixpath.dirname(spec.paths[0]) not in self._private_folders:
            return spec
        return replace(spec, options={**spec.options, PRIVATE: True})

    def _is_private(self, failure: Failure) -> bool:
        return posixpath.dirname(failure.path) in self._private_folders

    def _scene(self, looked: _Looked) -> Scene | None:
        """Return the image that a file is a band of; None where it is no band."""
        if looked.format is None or looked.format.stacking is None:
            return None
        if len(looked.content.images) != 1:
            return None  # a file of several images is no band of another one
        for pattern in self._patterns:
            scene = pattern.scene(looked.file.relative if "/" in pattern.text else looked.file.name)
            if scene is not None:
                self._matched.add(pattern)
                return scene
        return None


def _images_of_groups(
    groups: Groups, pseudonyms: PseudonymsOf, *, private: bool
) -> Iterator[SourceSpec | Failure]:
    for found in groups.images(pseudonyms):
        if isinstance(found, SourceSpec):
            options = {**found.options, "relative": found.options["name"]}
            yield replace(found, options=options)
        else:
            yield Failure(printable_name(found[0]), found[1], private=private)


def _zarr_node(node: ZarrNode) -> SourceSpec | Failure:
    if node.is_array:
        return _spec(formats.ARRAY.kinds[0], (_Looked(node.file, None, formats.ARRAY),))
    path = printable_name(node.file.path)
    text = f"opening {path}: a Zarr group is no single image; name one of its arrays"
    return Failure(path, UnsupportedSource(text))


def _look_at_all(batch: Batch, looks: Looks) -> Iterator[_Looked | Failure]:
    """Look at every file in order; at those of a bucket several at a time."""
    if not any(is_url(file.path) for file in batch.files):
        yield from (_look(file, looks) for file in batch.files)
        return
    pool = ThreadPoolExecutor(REMOTE_LOOKS, thread_name_prefix="look")
    try:
        yield from pool.map(lambda file: _look(file, looks, batch), batch.files)
    finally:
        pool.shutdown(cancel_futures=True)


def _look(file: InputFile, looks: Looks, batch: Batch | None = None) -> _Looked | Failure:
    """Tell what a file is, by its content."""
    path = printable_name(file.path)
    try:
        if is_url(file.path):
            return _look_at_object(file, looks, batch)
        return _look_at_file(file, looks)
    except RefusedFile as error:
        return unsupported(path, error.strerror or "it is refused")
    except Exception as error:  # the edge of an item, as above
        return Failure(path, failure_of(f"opening {path}", error))


def _look_at_file(file: InputFile, looks: Looks) -> _Looked | Failure:
    path = Path(file.path)
    with open_regular(path) as opened:  # to open a pipe would wait for a writer
        size = os.fstat(opened.fileno()).st_size
        head = opened.read(HEAD_BYTES)
        found = Candidate(path=file.path, size=size, head=head, stream=opened)
        return _looked(file, found, looks)


def _look_at_object(file: InputFile, looks: Looks, batch: Batch | None) -> _Looked | Failure:
    """Look at an object by ranged reads."""
    source = reader(file.remote or look_up(file.path))
    candidate = Candidate(
        path=file.path,
        size=source.size,
        head=source.read(0, HEAD_BYTES),
        stream=source.stream(),
        remote=source.file,
        neighbours=None if batch is None else batch.companions,
    )
    return _looked(replace(file, remote=source.file), candidate, looks)


def _looked(file: InputFile, candidate: Candidate, looks: Looks) -> _Looked | Failure:
    """Look at a file. One that cannot be read may still be known to be called after a patient."""
    try:
        return _Looked(file, candidate.size, *looks.look(candidate), candidate.head[:16])
    except Exception as error:  # the edge of an item, as above
        path = printable_name(file.path)
        private = any(
            format_.private_names and format_.sniff(candidate) >= Certainty.MARKED
            for format_ in formats.FORMATS
        )
        return Failure(path, failure_of(f"opening {path}", error), private=private)


def _no_image(looked: _Looked) -> str:
    """Say what a file is that is of no format."""
    for beginning, packed in _PACKED:
        if looked.head.startswith(beginning):
            return f"it is packed ({packed}): unpack it first"
    return f"it is not an image that tilepress takes ({formats.names()})"


_PACKED = (
    (b"\x1f\x8b", "gzip"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\0", "xz"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
)
"""What packed files begin with."""


def _images_of(looked: _Looked) -> Iterator[_Image]:
    """Yield every image of a file; where they are several, each is opened on its own."""
    for image in looked.content.images:
        name = looked.file.stem + image.ending if image.ending else None
        spec = _spec(image.kind, (looked,), name)
        options = {**spec.options, **image.options}
        images = len(looked.content.images)
        yield _Image(replace(spec, options=options, images_in_files=images))


def _stacked(scene: Scene, files: Sequence[_Looked]) -> Iterator[_Image]:
    """Yield the images whose bands are these files of one scene: one for each of its grids."""
    for which, group in by_grid((looked, looked.content.grid) for looked in files):
        if len(group) == 1:
            for image in _images_of(group[0]):
                options = {**image.spec.options, STACKED: True}
                yield _Image(replace(image.spec, options=options))
            continue
        stacking = group[0].format.stacking if group[0].format is not None else None
        assert stacking is not None, "only files that can be stacked come here"
        ordered = sorted(group, key=lambda looked: stacking.order(looked.file.path))
        name = scene.name or stacking.name([looked.file.path for looked in ordered])
        spec = _spec(stacking.kind, ordered, f"{name}-{which}" if which else name)
        yield _Image(replace(spec, options={**spec.options, STACKED: True}), is_stack=True)


def _spec(kind: str, looked: Sequence[_Looked], name: str | None = None) -> SourceSpec:
    """Make a recipe with absolute paths: a worker may run in another folder."""
    first = looked[0].file
    if name is None:
        name = first.stem if first.suffix.lower() in formats.suffixes() else first.name
    options: dict[str, Any] = {"name": name, "relative": first.relative}
    if first.remote is not None:
        files = [one.file.remote for one in looked if one.file.remote is not None]
        options |= pinned(files, chain.from_iterable(one.content.companions for one in looked))
    sizes = [one.size for one in looked if one.size is not None]
    return SourceSpec(
        kind=kind,
        paths=tuple(one.file.path for one in looked),
        options=options,
        source_bytes=sum(sizes) if len(sizes) == len(looked) else None,
    )


def _hash_of(spec: SourceSpec) -> str:
    """Return eight digits that tell the files of an image from those of others."""
    text = "\0".join(sorted(PurePosixPath(path).name for path in spec.paths))
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:8]


def _named_apart(
    images: Sequence[_Image], names_in_use: dict[str, set[str]]
) -> Iterator[SourceSpec]:
    """Yield the images of one folder with names that differ, on any file system.

    Who keeps the short name does not depend on the order: TIFF files first, then stacks.
    ``names_in_use`` are those that earlier files of the folder have.
    """

    def rank(at: int) -> tuple[int, str]:
        path = PurePosixPath(images[at].spec.paths[0])
        first = path.suffix.lower() in NAMED_FIRST
        return (1 if images[at].is_stack else 0 if first else 2), path.name

    named = [image.spec for image in images]
    for at in sorted(range(len(images)), key=rank):
        spec = named[at]
        name = str(spec.options["name"])
        in_folder = names_in_use.setdefault(str(store_path(spec).parent), set())
        suffix = PurePosixPath(spec.paths[0]).suffix[1:]
        ending = "stack" if images[at].is_stack else suffix or "image"
        numbered = (f"{name}-{ending}-{n}" for n in count(2))
        tries = chain((name, f"{name}-{ending}"), numbered)
        if images[at].is_stack:  # as what comes before it may come later
            tries = chain((name, f"{name}-stack", f"{name}-stack-{_hash_of(spec)}"), numbered)
        chosen = next(one for one in tries if one.lower() not in in_folder)
        in_folder.add(chosen.lower())
        named[at] = replace(spec, options={**spec.options, "name": chosen})
    yield from named
