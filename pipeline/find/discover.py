"""Find images in files and folders, by what files contain and never by what they are called."""

from __future__ import annotations

import contextlib
import hashlib
import os
import posixpath
from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, count
from pathlib import Path, PurePosixPath
from typing import Any

from tilepress.errors import DamagedSource, UnsupportedSource, failure_of
from tilepress.pipeline import formats
from tilepress.pipeline.find.choose import ALL, EXCLUDED, Choice, chosen
from tilepress.pipeline.find.companions import (
    LINKED_FOLDER,
    is_of_product,
    is_passed_over,
    may_be_image,
    told_ending,
    well_known,
)
from tilepress.pipeline.find.directories import referenced
from tilepress.pipeline.find.inputs import BATCH_FILES, expand
from tilepress.pipeline.find.looked import Looked, look_at_all, no_image
from tilepress.pipeline.find.others import OtherFiles
from tilepress.pipeline.find.packed import PackedFiles
from tilepress.pipeline.find.pieces import PIECES, with_pieces, without_pieces
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
)
from tilepress.pipeline.guests.look import Looks
from tilepress.pipeline.image.format import FileImage, Format, Groups
from tilepress.pipeline.image.names import stays_below
from tilepress.pipeline.image.objects import pinned
from tilepress.pipeline.image.private_names import PRIVATE, may_name_patient
from tilepress.pipeline.image.pseudonyms import UNKEYED, PseudonymsOf
from tilepress.pipeline.image.source import ADVICE, FORMER, SourceSpec
from tilepress.pipeline.packed.gzip_file import unpacked_name
from tilepress.pipeline.storage.path import is_url

__all__ = ["Failure", "discover", "store_path"]

KNOWN_FOLDERS = 1000
"""Folders with DICOM in them that are remembered: files of one folder come close together."""

NO_RASTERS = "variables that are no rasters"
"""What those of netCDF and HDF5 files are counted as."""

NAMED_FIRST = (".tif", ".tiff")
"""Endings of files that keep the short name where several of a folder differ in them only."""


def discover(
    paths: Sequence[str | Path],
    stack: Stacks = None,
    passed_over: Counter[str] | None = None,
    pseudonyms: PseudonymsOf = lambda: UNKEYED,
    *,
    others: OtherFiles | None = None,
    choice: Choice = ALL,
    max_expansion: float = 0,
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
    With ``others``, they are gathered there to be kept, as far as ``others`` wants; whatever else
    of a searched folder cannot be an image is gathered or counted, too, and no failure. ``choice``
    says which files are looked at, and the others are counted.

    A zip or a tar is searched as a folder of its name would be, and a gzip file stands for what it
    holds; a packed byte may stand for ``max_expansion`` bytes of a file, 0 for any number. Packed
    files in packed files are not opened. A DICOMDIR that was named stands for the files that it
    refers to, below its folder.

    Every recipe carries options["name"], the name of its store, and options["relative"], the path
    below the argument that it was found in: where an archive keeps it (``store_path``). That of a
    DICOM series is its name alone, for folders may be called after patients. Of files in a folder
    that differ in their ending only, all but the first are named with it: ``a`` and ``a-jp2``.
    A recipe of objects in a bucket, or of packed files, carries options["objects"], [version,
    bytes] of each, and options["companions"]: what was found is what will be read, or an error.

    ``pseudonyms`` is asked once there are DICOM files: it names their series. A failure is private
    where its path may name a patient and is not what the user wrote.

    A TIFF file of several full images (pages; neither overviews nor masks) gives a recipe for each,
    ``a-page1``, ``a-page2``…, with options["page"], counted from 1.
    """
    named = _as_named(paths)
    counted: Counter[str] = Counter() if passed_over is None else passed_over
    discovery = _Discovery(stack, pseudonyms, counted, others, choice, max_expansion)
    with contextlib.closing(discovery), contextlib.closing(Looks()) as looks:
        items = chosen(expand(paths, whole_folders=stack is not None), choice, counted)
        for one in _found(discovery, items, looks):
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
    discovery: _Discovery, items: Iterable[Item], looks: Looks
) -> Iterator[SourceSpec | Failure]:
    for item in items:
        if isinstance(item, Batch):
            folder = posixpath.dirname(item.files[0].path)
            yield from each_or_failure(discovery.batch(item, looks), folder)
            looks.end_folder()
            yield from _found(discovery, discovery.packed.items(), looks)
            yield from _found(discovery, discovery.referenced(), looks)
        elif isinstance(item, ZarrNode):
            yield _zarr_node(item)
        elif isinstance(item, End):
            yield from discovery.grouped()
        elif isinstance(item, PassedOver):
            discovery.pass_over(item)
        else:
            yield discovery.told(item)


def store_path(spec: SourceSpec) -> PurePosixPath:
    """Return where an archive keeps the store of a discovered image, without ``.zarr``.

    No store lies in a folder that is called as a store: nobody would look for it there, and what
    replaces that store would remove it.
    """
    relative = PurePosixPath(str(spec.options["relative"]))
    folder = [
        f"{part}-folder" if part.endswith(".zarr") else part
        for part in relative.parent.parts
        if part not in ("/", "..")
    ]
    name = str(spec.options["name"])
    if "/" in name or not stays_below(name):  # of a plan that somebody else has made
        raise UnsupportedSource(f"planning an image: its store cannot be called {name[:80]!r}")
    return PurePosixPath(*folder, name)


@dataclass(frozen=True, slots=True)
class _Image:
    """An image that was found, until its name is its own."""

    spec: SourceSpec
    is_stack: bool = False


class _Discovery:
    """One search: what it has found of images that are not whole yet."""

    def __init__(
        self,
        stack: Stacks,
        pseudonyms: PseudonymsOf,
        passed_over: Counter[str],
        others: OtherFiles | None,
        choice: Choice,
        max_expansion: float,
    ) -> None:
        self._passed_over, self._others = passed_over, others
        self._choice, self._max_expansion = choice, max_expansion
        self._limit = None if stack is not None else BATCH_FILES
        self._directories: list[Looked] = []
        """Files that refer to others, which are looked at next."""
        self.packed = PackedFiles(
            choice, passed_over, limit=self._limit, max_expansion=max_expansion
        )
        self._any_private = False
        """Whether a file of this argument may be called after a patient."""
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
        batch = self._without_pieces(batch)
        images: list[_Image] = []
        stacks: dict[Scene, list[Looked]] = {}
        failures: list[Failure] = []
        unknown: list[Looked] = []
        named_alone = batch.named
        for looked in look_at_all(batch, looks, self._max_expansion, self._choice.drivers):
            if isinstance(looked, Looked) and self._is_set_aside(looked, batch):
                continue
            named_alone &= isinstance(looked, Failure) or looked.format is None
            if isinstance(looked, Failure):
                failures.append(looked)
                if looked.private:
                    self._note_private(looked.path, batch.container)
                continue
            path = printable_name(looked.file.path)
            scene = self._scene(looked)
            if looked.content.is_companion and looked.format is not None:
                if looked.format.private_names:
                    self._note_private(path, batch.container)
                self._leave(looked.file, f"{looked.format.names[0]} without pixels")
                if batch.named and looked.content.references:
                    self._directories.append(looked)
            elif looked.format is None:
                unknown.append(looked)
            elif looked.content.member is not None:
                if looked.format.private_names:
                    self._note_private(path, batch.container)
                failures += self._add_to_groups(looked, looked.format)
            elif scene is not None:
                stacks.setdefault(scene, []).append(looked)
            else:
                images += self._whole(looked, failures)
                if looked.content.others:
                    self._passed_over[NO_RASTERS] += looked.content.others
                if looked.content.problem is not None:
                    text = f"opening {path}: {looked.content.problem}"
                    failures.append(Failure(path, DamagedSource(text)))
        pieces = {path for image in images for path in image.spec.paths[1:]}
        if count := sum(looked.file.path in pieces for looked in unknown):
            self._passed_over[PIECES] += count
            unknown = [looked for looked in unknown if looked.file.path not in pieces]
        failures += self._unknown(unknown, named=batch.named, alone=named_alone)
        yield from map(self.told, failures)  # known now: whether DICOM lies beside it
        for scene, files in stacks.items():
            images += _stacked(scene, files)
        for spec in _named_apart(images, batch.names_in_use):
            yield self._beside_private(spec)

    def _without_pieces(self, batch: Batch) -> Batch:
        """Count what another file stands for, also where the user named both in a list."""
        paths = [file.path for file in batch.files]
        if batch.container is not None or is_url(paths[0]):
            return batch
        left = set(paths) if batch.named and len(paths) == 1 else set(without_pieces(paths))
        if len(left) == len(paths):
            return batch
        self._passed_over[PIECES] += len(paths) - len(left)
        return replace(batch, files=tuple(file for file in batch.files if file.path in left))

    def _whole(self, looked: Looked, failures: list[Failure]) -> Iterator[_Image]:
        """Yield the images of a file with all that they are made of; note what is not there."""
        try:
            yield from _images_of(looked)
        except Exception as error:  # the edge of an item: one file is no reason to end a run
            path = printable_name(looked.file.path)
            failures.append(Failure(path, failure_of(f"opening {path}", error)))

    def _is_set_aside(self, looked: Looked, batch: Batch) -> bool:
        """Keep a packed file for later; count what is not meant."""
        if self.packed.takes(looked, batch):
            return True
        if batch.container is not None or self._choice.takes_packed(looked.file):
            return False
        self._passed_over[EXCLUDED] += 1
        return True

    def referenced(self) -> Iterator[Item]:
        """Yield the files that those of the last batch refer to."""
        directories, self._directories = self._directories, []
        for looked in directories:
            items = referenced(looked.file, looked.content.references, self._limit)
            yield from chosen(items, self._choice, self._passed_over)

    def grouped(self) -> Iterator[SourceSpec | Failure]:
        """Yield the images that the files of one argument make together, and forget them."""
        if self._others is not None:
            self._others.end_argument(private=self._any_private)
        self._any_private = False
        for format_, groups in self._groups.items():
            found = _images_of_groups(groups, self._pseudonyms, private=format_.private_names)
            yield from each_or_failure(found, f"{format_.names[0]} files")
        self.close()

    def pass_over(self, item: PassedOver) -> None:
        """Leave what a folder holds beside images."""
        if item.links:
            self._passed_over[LINKED_FOLDER] += item.links
        for file in item.files:
            self._leave(file, well_known(file.name))

    def _leave(self, file: InputFile, kind: str, *, known: bool = True) -> None:
        """Have a file that is no image kept, or count it."""
        if self._others is not None and self._others.wants(known=known):
            self._others.add(file, kind)
        else:
            self._passed_over[kind] += 1

    def _unknown(self, files: Iterable[Looked], *, named: bool, alone: bool) -> Iterator[Failure]:
        """Leave files of no format; yield a failure for each that may be an image all the same.

        What the user named is a failure, too, unless it is called as what comes with images, and
        was named together with some of its folder.
        """
        for looked in files:
            path, name = printable_name(looked.file.path), looked.file.name
            by_name = not alone and is_passed_over(_once_unpacked(looked))
            known = by_name or is_of_product(looked.file.path)
            named_else = named and not (
                self._others is not None and self._others.wants(known=known)
            )
            if self._others is None or named_else or (not by_name and self._may_be_image(looked)):
                text = f"opening {path}: {no_image(looked)}"
                yield Failure(path, UnsupportedSource(text))
            else:
                kind = well_known(name) if by_name else told_ending(name)
                self._leave(looked.file, kind, known=known)

    def _may_be_image(self, looked: Looked) -> bool:
        """Whether to leave out a file of no format may be to lose an image.

        Beside DICOM that is any without an ending, for files of series have none.
        """
        if self._others is not None and self._others.keep == "all":
            return False
        ending = looked.file.suffix[1:]
        beside = posixpath.dirname(looked.file.path) in self._private_folders
        return (
            may_be_image(looked.file.name)
            or looked.packed is not None
            or (beside and (not ending or ending.isdecimal()))
        )

    def _add_to_groups(self, looked: Looked, format_: Format) -> Iterator[Failure]:
        """Keep what is known of a file; yield a failure where there is no room for it."""
        remote = looked.file.remote
        version = "" if remote is None else remote.version
        try:
            groups = self._groups.get(format_) or format_.groups()
            assert groups is not None, "a member of nothing"
            self._groups[format_] = groups
            groups.add(looked.content.member, version, looked.file.packed_bytes)
        except Exception as error:  # the edge of an item: one file is no reason to end a run
            shown = printable_name(looked.file.path)
            yield Failure(shown, failure_of(f"opening {shown}", error))

    def _note_private(self, path: str, container: str | None) -> None:
        self._any_private = True
        for folder in (posixpath.dirname(one) for one in (path, container) if one is not None):
            self._private_folders[folder] = None
            self._private_folders.move_to_end(folder)
        if len(self._private_folders) > KNOWN_FOLDERS:
            self._private_folders.popitem(last=False)

    def _beside_private(self, spec: SourceSpec) -> SourceSpec:
        """Mark an image that lies beside DICOM: its folder may be called after a patient."""
        if posixpath.dirname(spec.paths[0]) not in self._private_folders:
            return spec
        return replace(spec, options={**spec.options, PRIVATE: True})

    def told(self, failure: Failure) -> Failure:
        """Mark a failure that lies beside DICOM, or is of what DICOM is packed in."""
        private = posixpath.dirname(failure.path) in self._private_folders
        return replace(failure, private=failure.private or private)

    def _scene(self, looked: Looked) -> Scene | None:
        """Return the image that a file is a band of; None where it is no band."""
        if looked.format is None or looked.format.stacking is None:
            return None
        images = looked.content.images
        if len(images) != 1 or images[0].options.get("pages") or "page" in images[0].options:
            return None  # a file of several images is no band of another one
        for pattern in self._patterns:
            scene = pattern.scene(looked.file.relative if "/" in pattern.text else looked.file.name)
            if scene is not None:
                self._matched.add(pattern)
                return scene
        return None


def _once_unpacked(looked: Looked) -> str:
    """Return what a file is called, without the ending of gzip where it is packed so."""
    return unpacked_name(looked.file.name) if looked.packing == "gzip" else looked.file.name


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
        return _spec(formats.ARRAY.kinds[0], (Looked(node.file, None, formats.ARRAY),))
    path = printable_name(node.file.path)
    text = f"opening {path}: a Zarr group is no single image; name one of its arrays"
    return Failure(path, UnsupportedSource(text))


def _images_of(looked: Looked) -> Iterator[_Image]:
    """Yield every image of a file; where they are several, each is opened on its own."""
    for image in looked.content.images:
        spec = _spec(image.kind, (looked,), _name(looked, image))
        options = {**spec.options, **image.options}
        if looked.content.former:
            options[FORMER] = [
                [one.kind, _name(looked, one), dict(one.options)] for one in looked.content.former
            ]
        if looked.content.advice is not None and image is looked.content.images[0]:
            options[ADVICE] = looked.content.advice
        images = len(looked.content.images)
        spec = replace(spec, options=options, images_in_files=images)
        yield _Image(with_pieces(spec, image.files))


def _name(looked: Looked, image: FileImage) -> str:
    """Return what the store of one image of a file is called: the file's ending may say more."""
    is_plain = not image.ending and "driver" not in image.options
    if is_plain and looked.file.suffix.lower() not in formats.suffixes():
        is_slide = looked.content.former and image in looked.content.images
        return looked.file.stem if is_slide else looked.file.name
    return looked.file.stem + image.ending


def _stacked(scene: Scene, files: Sequence[Looked]) -> Iterator[_Image]:
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


def _spec(kind: str, looked: Sequence[Looked], name: str | None = None) -> SourceSpec:
    """Make a recipe with absolute paths: a worker may run in another folder."""
    first = looked[0].file
    if name is None:
        name = first.stem if first.suffix.lower() in formats.suffixes() else first.name
    options: dict[str, Any] = {"name": name, "relative": first.relative}
    if first.remote is not None:
        files = [one.file.remote for one in looked if one.file.remote is not None]
        options |= pinned(files, chain.from_iterable(one.content.companions for one in looked))
    sizes = [n for one in looked if (n := _size_of(one)) is not None]
    return SourceSpec(
        kind=kind,
        paths=tuple(one.file.path for one in looked),
        options=options,
        source_bytes=sum(sizes) if len(sizes) == len(looked) else None,
    )


def _size_of(looked: Looked) -> int | None:
    """Return the bytes that a file takes where it was found."""
    return looked.size if looked.file.packed_bytes is None else looked.file.packed_bytes


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
