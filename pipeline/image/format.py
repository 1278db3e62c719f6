"""What a format of images is: how its files are known, read, given back and found again.

A format is one object, in a module ``format`` of a room of its own, listed in
``tilepress.pipeline.formats``. Everybody else asks the list. Such a module imports no library that
reads images before it is asked to: every run of the program imports it.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from tilepress.errors import SourceError
from tilepress.pipeline.image.info import Acquired, ImageInfo
from tilepress.pipeline.image.pseudonyms import PseudonymsOf
from tilepress.pipeline.image.slide import SlideToWrite
from tilepress.pipeline.image.source import ExportReader, SourceSpec, TileSource
from tilepress.pipeline.storage.ranges import RemoteFile

__all__ = [
    "HEAD_BYTES",
    "Candidate",
    "Certainty",
    "Export",
    "ExportPart",
    "FileImage",
    "FileImages",
    "Format",
    "FoundImages",
    "Groups",
    "Stacking",
]

HEAD_BYTES = 132
"""What is read of every file to tell its format: the mark of DICOM lies behind 128 bytes."""


class Certainty(IntEnum):
    """How sure a format is that a file is its own, by the file's first bytes, name and size."""

    NONE = 0
    POSSIBLE = 1
    """Nothing marks the file, and only a closer look tells (``Format.looks_like``)."""
    MARKED = 2
    """The file begins with the format's mark."""
    UNMISTAKABLE = 3
    """The mark lies where other formats have none: a file may begin with another's mark, too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A file, or an object of a bucket, that may hold images: open while it is looked at."""

    path: str
    """Absolute path, or URL."""
    size: int
    head: bytes
    """The first ``HEAD_BYTES``, or fewer of a short file."""
    stream: BinaryIO
    """All bytes, to be read from any offset."""
    remote: RemoteFile | None = None
    """What storage says of an object, or a packed file of what is in it."""
    neighbours: Sequence[RemoteFile] | None = None
    """Objects of its folder that may say more of it; None where nobody has looked."""
    drivers: tuple[str, ...] = ()
    """Further readers of rasters that the user has asked for."""
    by_name: bool = False
    """Whether it may be opened by its path here, too, as libraries do."""

    @property
    def name(self) -> str:
        """What it is called, once it is unpacked."""
        return posixpath.basename(self.path if self.remote is None else self.remote.url)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileImage:
    """One image that a file holds."""

    kind: str
    ending: str = ""
    """What the name of its store ends with, where the file holds several."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """What the recipe says beside name and path: which of the file's images is meant…"""
    is_slide: bool = False
    """Whether it is taken with the levels that the file has."""
    files: tuple[str, ...] = ()
    """Further files that it is made of, below the file's folder; where the name of one begins with
    "*" those of its folder that end so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileImages:
    """What a file holds, as its format tells."""

    images: tuple[FileImage, ...] = ()
    member: object | None = None
    """Of a file that is one of several of an image: what ``Groups.add`` wants to know of it."""
    companions: tuple[RemoteFile, ...] = ()
    """Objects of a bucket that have to be at hand when it is read."""
    grid: tuple[str, ...] = ()
    """Of a file that may be stacked: its resolution, its type, and all else that places it. Files
    that differ in it are no bands of one image; where it is empty, nobody has looked."""
    problem: str | None = None
    """Why there may be more images than these, which cannot be taken."""
    is_companion: bool = False
    """Whether it belongs to images and is none itself, as a report is: it is passed over."""
    references: tuple[str, ...] = ()
    """Of a companion that lists images: their paths below its folder, as they are written there."""
    others: int = 0
    """What it holds beside images."""
    former: tuple[FileImage, ...] = ()
    """What a file is taken for where the format that has taken it over is not at hand."""
    advice: str | None = None
    """Why another format has not taken it over, one of ``Format.advices``."""


class Groups(Protocol):
    """Images that are made of several files each, which come in any order and may be many."""

    def add(self, member: object, version: str, packed_bytes: int | None = None) -> None:
        """Keep what ``FileImages.member`` says of a file; ``version`` is that of an object.

        ``packed_bytes`` is what it takes in a packed file. Raises SourceError where there is no
        room for it.
        """
        ...

    def images(self, pseudonyms: PseudonymsOf) -> Iterator[SourceSpec | tuple[str, SourceError]]:
        """Yield every image, and (path, error) of every file that cannot be taken.

        ``pseudonyms`` gives what stands for identifiers that are no secret elsewhere.
        """
        ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Stacking:
    """How files become one image, one band after another, where the user asks for it."""

    kind: str
    order: Callable[[str], list[tuple[int, int, str]]]
    """What their paths are sorted by, as people count: B2 before B10."""
    name: Callable[[Sequence[str]], str]
    """Names their image, where the pattern that they fit does not."""
    former_names: Callable[[Sequence[str]], Iterator[str]] = lambda _: iter(())
    """The names that earlier versions may have given it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportPart:
    """What part of an image is wanted, None being all, and how it is written."""

    bands: Sequence[int] | None = None
    """Numbers from 1, in the order to write."""
    bbox: tuple[float, float, float, float] | None = None
    """(left, bottom, right, top) in ``bbox_crs``."""
    bbox_crs: str | None = None
    """What PROJ knows the box's CRS by; None is that of the image."""
    slices: Sequence[int] | slice | None = None
    """Numbers from 0."""
    others: Sequence[tuple[ExportReader, int, str]] | None = None
    """Bands of other images, (image, number there from 1, name), that ``bands`` numbers on…"""
    resample: str | None = None
    """…and how they are taken to the image's grid."""
    transfer_syntax: str | None = None
    """What the frames of DICOM files are coded as; None as they came."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """One way to write a store."""

    name: str
    """What users call it: "cog"."""
    write: Callable[[ExportReader, Path, ExportPart], list[Path]]
    """Returns the files or folders written."""
    suffixes: tuple[str, ...]
    """Endings of names that promise it."""
    wanted: str
    """What a destination may be called, for people who gave another name."""
    implied: tuple[str, ...] | None = None
    """Those of the endings that mean it where nobody names a format; None is all."""
    cuts: tuple[str, ...] = ()
    """The fields of ``ExportPart`` that it knows."""
    any_store: bool = False
    """Whether it takes a store of any origin."""
    is_file: bool = False
    """Whether it writes one file or store, called as the store is where a folder is given."""
    keeps_levels: bool = False
    """Whether it writes levels that were made of the image, too."""
    tells_decoder: bool = False
    """Whether what it writes says by which decoder samples were made, slides left out."""
    write_slide: Callable[[SlideToWrite, Path], list[Path]] | None = None
    """Writes a slide that came in another format, below a folder; None where it cannot."""


class FoundImages:
    """Images that were found, by kind and by file."""

    def __init__(self, specs: Iterable[SourceSpec]) -> None:
        self._by_kind: dict[str, list[SourceSpec]] = {}
        self._by_path: dict[str, dict[str, SourceSpec]] = {}
        self._by_name: dict[str, dict[str, list[SourceSpec]]] = {}
        for spec in specs:
            self._by_kind.setdefault(spec.kind, []).append(spec)

    def of_kind(self, kind: str) -> Sequence[SourceSpec]:
        return self._by_kind.get(kind, ())

    def at(self, kind: str, path: str) -> SourceSpec | None:
        """Return the image whose first file this is."""
        return self._paths(kind).get(path)

    def named(self, kind: str, name: str) -> Sequence[SourceSpec]:
        """Return the images whose first files have this name, in whatever folder."""
        if kind not in self._by_name:
            names = self._by_name.setdefault(kind, {})
            for path, spec in self._paths(kind).items():
                names.setdefault(posixpath.basename(path), []).append(spec)
        return self._by_name[kind].get(name, ())

    def _paths(self, kind: str) -> dict[str, SourceSpec]:
        if kind not in self._by_path:
            self._by_path[kind] = {spec.paths[0]: spec for spec in self.of_kind(kind)}
        return self._by_path[kind]


class Format(Protocol):
    """One format of images. Formats derive from it for what most of them have in common."""

    @property
    def kinds(self) -> tuple[str, ...]:
        """What its recipes (``SourceSpec.kind``) and the origins of its stores are called."""
        ...

    @property
    def names(self) -> tuple[str, ...]:
        """What people are told that tilepress takes."""
        ...

    @property
    def suffixes(self) -> tuple[str, ...]:
        """Endings of its files, which the names of stores lose."""
        return ()

    @property
    def private_names(self) -> bool:
        """Whether its files may be called after patients, so that nobody is told their names."""
        return False

    @property
    def stacking(self) -> Stacking | None:
        """How its files are stacked; None where they are not."""
        return None

    @property
    def exports(self) -> tuple[Export, ...]:
        """How its stores can be written, the usual way first."""
        return ()

    @property
    def reads_beside(self) -> bool:
        """Whether files beside an image say more of it, and are looked for."""
        return False

    @property
    def look_modules(self) -> tuple[str, ...]:
        """The modules that tell what a file holds, beside that of the format itself."""
        return ()

    def reader_modules(self, paths: Sequence[str]) -> tuple[str, ...]:
        """Return the modules that read such files: who is to read many imports them once.

        One that has a function ``prepare`` has it called then, once: it does what the library
        would do for the first file, and leaves no thread and no file of anybody open.
        """
        return ()

    @property
    def deidentifying_modules(self) -> tuple[str, ...] | None:
        """The modules that are needed beside those where an image is de-identified.

        None: its sources do not leave out what identifies where their recipe asks for that, and no
        such image is opened.
        """
        return None

    def sniff(self, file: Candidate) -> Certainty:
        """Say whether a file is of this format, by what was read of it already."""
        ...

    def looks_like(self, file: Candidate) -> bool:
        """Say so of a file that is ``Certainty.POSSIBLE``, by reading more of it."""
        return False

    def is_opened_by_name(self, file: Candidate) -> bool:
        """Whether its readers have to open a file by its path to say what it holds.

        Such a file is looked at, and read, by a guest that may open no other one.
        """
        return False

    def takes_over(self, file: Candidate, content: FileImages) -> bool:
        """Whether a file that another format takes, for this content, is one of its own.

        By reading more of it; a file that may be opened ``by_name`` also by doing so.
        """
        return False

    @property
    def advices(self) -> tuple[str, ...]:
        """All that ``advice`` may say."""
        return ()

    def advice(self, file: Candidate, content: FileImages) -> str | None:
        """Return why a file is not taken over that has the format's mark; None for others."""
        return None

    def opens_other_files(self, spec: SourceSpec) -> bool:
        """Whether a library opens files of an image that it was not given, by what others name."""
        return False

    def images(self, file: Candidate) -> FileImages:
        """Say what a file of this format holds. Raises SourceError or OSError.

        May run in several threads at a time, for different files.
        """
        return FileImages(images=(FileImage(kind=self.kinds[0]),))

    def is_sound_member(self, member: object, file: Candidate) -> bool:
        """Whether ``FileImages.member`` may be what this file is a member by.

        What reads files may have been taken over by one: nothing in it may name another file.
        """
        return member is None

    def groups(self) -> Groups | None:
        """Return an empty collection for files of which several make an image.

        None where every file is an image of its own.
        """
        return None

    def former(self, spec: SourceSpec) -> tuple[SourceSpec, ...]:
        """Return the images that earlier versions took an image's files for, where it was others.

        An archive that has their stores keeps them.
        """
        return ()

    def open(self, spec: SourceSpec) -> TileSource:
        """Open an image whose files lie on this machine. Raises SourceError."""
        ...

    def find_again(
        self, origin: Mapping[str, Any], near: Sequence[SourceSpec], found: FoundImages
    ) -> list[SourceSpec]:
        """Return the images that a store of this origin may have been made of.

        Parameters
        ----------
        origin :
            what the store says of its source, of one of the format's kinds
        near :
            the images of that kind that may be meant; in an archive those that would be stored
            where the store is
        found :
            all images, to put one together that was not found as such
        """
        return list(near)

    def slide_to_write(self, reader: ExportReader) -> SlideToWrite | None:
        """Return a slide for another format to write; None for a store of anything else."""
        return None

    def colors(self, reader: ExportReader) -> Sequence[Sequence[int]] | None:
        """Return red, green, blue and opacity by stored value, as the source has them.

        None where samples are no numbers of colours. Raises as reading ``source/`` does.
        """
        return None

    def as_told(self, info: ImageInfo, reader: ExportReader) -> ImageInfo | None:
        """Return what is told of a store's image, and what no attribute tells: which samples stand
        for something, and are never averaged. None where the source alone says so.
        """
        return None

    def acquired(self, reader: ExportReader) -> Acquired | None:
        """Return when a store's image was taken; None where its source does not say."""
        return None
