"""The format of DICOM: files that are images together, by series."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tilepress.errors import SourceError, UnsupportedSource, UsageError
from tilepress.pipeline.dicom.sniff import has_prefix, may_be_data_set
from tilepress.pipeline.image.format import (
    Candidate,
    Certainty,
    Export,
    ExportPart,
    FileImages,
    Format,
    FoundImages,
    Groups,
)
from tilepress.pipeline.image.info import ImageInfo
from tilepress.pipeline.image.objects import file_names_of
from tilepress.pipeline.image.pseudonyms import PseudonymsOf
from tilepress.pipeline.image.slide import SlideToWrite
from tilepress.pipeline.image.source import ExportReader, SourceSpec, TileSource

if TYPE_CHECKING:
    from tilepress.pipeline.dicom.groups import SeriesGroups

__all__ = ["DICOM", "DICOM_KIND", "SLIDE_KIND"]

DICOM_KIND = "dicom"


SLIDE_KIND = "dicom-slide"
"""The instances of a series that are the levels of a slide."""


def _write(reader: ExportReader, out: Path, part: ExportPart) -> list[Path]:
    from tilepress.pipeline.dicom.export import export_dicom

    return export_dicom(reader, out, slices=part.slices, syntax=part.transfer_syntax)


def _write_slide(slide: SlideToWrite, out: Path) -> list[Path]:
    from tilepress.pipeline.dicom.slide_write import write_slide

    if out.suffix.lower() == ".dcm" or out.is_file():
        raise UsageError(f"exporting DICOM: got {out.name}, want a folder for a slide's levels")
    return write_slide(slide, out)


class _Dicom(Format):
    kinds = (DICOM_KIND, SLIDE_KIND)
    names = ("DICOM",)
    private_names = True
    exports = (
        Export(
            name=DICOM_KIND,
            write=_write,
            suffixes=(".dcm",),
            wanted="a folder for its DICOM files (or NAME.dcm where it is one)",
            cuts=("slices", "transfer_syntax"),
            tells_decoder=True,
            write_slide=_write_slide,
        ),
    )

    look_modules = ("tilepress.pipeline.dicom.header", "tilepress.pipeline.dicom.directory")
    deidentifying_modules = ("tilepress.pipeline.dicom.deidentified",)

    def reader_modules(self, paths: Sequence[str]) -> tuple[str, ...]:
        room = "tilepress.pipeline.dicom"
        return (f"{room}.source", f"{room}.slide_source", f"{room}.ready")

    def sniff(self, file: Candidate) -> Certainty:
        if has_prefix(file.head):  # the preamble before it may be a TIFF header
            return Certainty.UNMISTAKABLE
        return Certainty.POSSIBLE if may_be_data_set(file.head) else Certainty.NONE

    def looks_like(self, file: Candidate) -> bool:
        from tilepress.pipeline.dicom.header import looks_like_data_set

        return looks_like_data_set(file.path)

    def images(self, file: Candidate) -> FileImages:
        """Read a file's header; what image it belongs to is known when all files were seen."""
        from tilepress.pipeline.dicom.directory import referenced_files
        from tilepress.pipeline.dicom.header import is_companion, read_instance

        try:
            return FileImages(member=read_instance(file.path))
        except UnsupportedSource:
            if is_companion(file.path):
                return FileImages(is_companion=True)
            with contextlib.suppress(SourceError):
                if (references := referenced_files(file.path)) is not None:
                    return FileImages(is_companion=True, references=references)
            raise

    def is_sound_member(self, member: object, file: Candidate) -> bool:
        from tilepress.pipeline.dicom.header import Instance, is_sound

        return isinstance(member, Instance) and member.path == file.path and is_sound(member)

    def groups(self) -> Groups:
        return _Series()

    def find_again(
        self, origin: Mapping[str, Any], near: Sequence[SourceSpec], found: FoundImages
    ) -> list[SourceSpec]:
        """Return the series that may be a store's; by the names of its files where nothing else is.

        That is so where the store lies outside its archive, or the archive's key cannot be read.
        """
        if len(near) == 1:
            return list(near)
        kind = str(origin.get("kind", DICOM_KIND))
        every = [*found.of_kind(kind)]
        if kind == DICOM_KIND:
            from tilepress.pipeline.dicom.slide_recipe import former_images

            with_former = (*every, *found.of_kind(SLIDE_KIND))
            every += [one for spec in with_former for one in former_images(spec)]
        names = sorted(str(entry.get("name")) for entry in origin.get("instances", ()))
        fitting = [
            spec
            for spec in near or every
            if len(spec.paths) == len(names) and sorted(file_names_of(spec)) == names
        ]
        return fitting or list(near)

    def former(self, spec: SourceSpec) -> tuple[SourceSpec, ...]:
        """Return the images that earlier versions made of a slide: one for each level, or more."""
        if spec.kind != SLIDE_KIND:
            return ()
        from tilepress.pipeline.dicom.slide_recipe import former_images

        return tuple(former_images(spec))

    def slide_to_write(self, reader: ExportReader) -> SlideToWrite | None:
        if reader.origin["kind"] != SLIDE_KIND:
            return None
        from tilepress.pipeline.dicom.slide_out import slide_to_write

        return slide_to_write(reader)

    def as_told(self, info: ImageInfo, reader: ExportReader) -> ImageInfo | None:
        """Return an image with what its headers say of its samples."""
        if reader.origin["kind"] == SLIDE_KIND:
            return None
        from tilepress.pipeline.dicom.as_told import as_told

        return as_told(info, reader)

    def open(self, spec: SourceSpec) -> TileSource:
        if spec.kind == SLIDE_KIND:
            from tilepress.pipeline.dicom.slide_source import DicomSlideSource

            return DicomSlideSource(spec)
        from tilepress.pipeline.dicom.source import DicomSource

        return DicomSource(spec)


class _Series:
    """The series of some files; a temporary database once there are any."""

    def __init__(self) -> None:
        self._groups: SeriesGroups | None = None

    def add(self, member: object, version: str, packed_bytes: int | None = None) -> None:
        from tilepress.pipeline.dicom.groups import SeriesGroups
        from tilepress.pipeline.dicom.header import Instance

        assert isinstance(member, Instance), "the header that ``images`` read"
        if self._groups is None:
            self._groups = SeriesGroups()
        self._groups.add(member, version, packed_bytes)

    def images(self, pseudonyms: PseudonymsOf) -> Iterator[SourceSpec | tuple[str, SourceError]]:
        if self._groups is not None:
            yield from self._groups.images(pseudonyms())

    def close(self) -> None:
        if self._groups is not None:
            self._groups.close()
            self._groups = None


DICOM: Format = _Dicom()
