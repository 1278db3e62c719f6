"""The format of slides that OpenSlide reads, where nothing here takes them as slides already."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import PurePosixPath

from tilepress.errors import UnsupportedSource
from tilepress.pipeline.image.format import Candidate, Certainty, FileImage, FileImages, Format
from tilepress.pipeline.image.slide import SlideToWrite
from tilepress.pipeline.image.source import FORMER, ExportReader, SourceSpec, TileSource
from tilepress.pipeline.openslide.library import check_installed, is_installed, takes
from tilepress.pipeline.openslide.marks import (
    Maker,
    files_of_key_file,
    is_tiff,
    maker_of,
    tiff_maker,
)

__all__ = ["OPENSLIDE", "OPENSLIDE_KIND"]

OPENSLIDE_KIND = "openslide"


class _OpenSlide(Format):
    kinds = (OPENSLIDE_KIND,)
    names = ("slides by OpenSlide",)
    suffixes = (".mrxs", ".vms", ".vmu", ".svslide")

    def reader_modules(self, paths: Sequence[str]) -> tuple[str, ...]:
        return ("tilepress.pipeline.openslide.source",) if is_installed() else ()

    def sniff(self, file: Candidate) -> Certainty:
        if is_tiff(file.head):
            return Certainty.POSSIBLE if is_installed() else Certainty.NONE
        if file.head.startswith(b"SQLite format 3\0"):
            return Certainty.POSSIBLE
        found = maker_of(file.head, file.name, file.stream)
        return Certainty.NONE if found is None else Certainty.MARKED

    def looks_like(self, file: Candidate) -> bool:
        return maker_of(file.head, file.name, file.stream) is not None

    def takes_over(self, file: Candidate, content: FileImages) -> bool:
        """Whether a TIFF file of pages is a slide of a scanner whose mark OpenSlide knows."""
        if not is_tiff(file.head) or not is_installed():
            return False
        if any(image.is_slide for image in content.images) or tiff_maker(file.stream) is None:
            return False
        return takes(file.path) if file.by_name else True

    @property
    def advices(self) -> tuple[str, ...]:
        return tuple(_advice(maker, refused=no) for maker in Maker for no in (False, True))

    def advice(self, file: Candidate, content: FileImages) -> str | None:
        """Say of a slide's pages why they are taken one by one."""
        if not is_tiff(file.head) or any(one.is_slide for one in content.images):
            return None
        maker = tiff_maker(file.stream)
        return None if maker is None else _advice(maker, refused=is_installed())

    def images(self, file: Candidate) -> FileImages:
        """Return the slide of a file, and which files belong to it."""
        if is_tiff(file.head):
            return FileImages(images=(FileImage(kind=OPENSLIDE_KIND),))
        maker = maker_of(file.head, file.name, file.stream)
        assert maker is not None, "asked before"
        files: tuple[str, ...] = ()
        if maker is Maker.VMS:
            files = files_of_key_file(file.stream, file.path)
        elif maker is Maker.MIRAX:
            folder = PurePosixPath(file.name).stem
            files = (f"{folder}/Slidedat.ini", f"{folder}/*.dat")
        if files and file.remote is not None:
            text = "it is a slide of several files: copy (or unpack) them into a folder"
            raise UnsupportedSource(f"opening {file.path}: {text}")
        return FileImages(images=(FileImage(kind=OPENSLIDE_KIND, files=files),))

    def opens_other_files(self, spec: SourceSpec) -> bool:
        return len(spec.paths) > 1

    def former(self, spec: SourceSpec) -> tuple[SourceSpec, ...]:
        """Return the pages that a TIFF file was taken for where there was no OpenSlide."""
        told = spec.options.get(FORMER, ())
        own = {key: value for key, value in spec.options.items() if key != FORMER}
        return tuple(
            replace(
                spec,
                kind=kind,
                options={**own, **options, "name": name},
                images_in_files=len(told),
            )
            for kind, name, options in told
        )

    def slide_to_write(self, reader: ExportReader) -> SlideToWrite | None:
        from tilepress.pipeline.openslide.stored import slide_to_write

        return slide_to_write(reader)

    def open(self, spec: SourceSpec) -> TileSource:
        check_installed(spec.paths[0])
        from tilepress.pipeline.openslide.source import OpenSlideSource

        return OpenSlideSource(spec)


def _advice(maker: Maker, *, refused: bool) -> str:
    if refused:
        return f"it has the mark of {maker.value}, but OpenSlide opens no slide: taken page by page"
    slide = f"it may be a slide of {maker.value}, one image with levels"
    return f"{slide}: pip install 'tilepress[formats]'"


OPENSLIDE: Format = _OpenSlide()
