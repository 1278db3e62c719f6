"""The format of rasters: TIFF files of one or more images, JPEG 2000, PNG and SRTM heights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import Any

from tilepress.errors import UnsupportedSource, UsageError
from tilepress.pipeline.geotiff.companions import companions
from tilepress.pipeline.geotiff.drivers import opted_driver, raster_driver
from tilepress.pipeline.geotiff.grids import grid_words
from tilepress.pipeline.geotiff.header import find_pages
from tilepress.pipeline.geotiff.slide_pages import SlidePages, find_slides
from tilepress.pipeline.geotiff.stack_names import band_order, former_names, stack_name
from tilepress.pipeline.image.format import (
    Candidate,
    Certainty,
    Export,
    ExportPart,
    FileImage,
    FileImages,
    Format,
    FoundImages,
    Stacking,
)
from tilepress.pipeline.image.info import Acquired, ImageInfo
from tilepress.pipeline.image.objects import is_pinned, objects_of, pinned
from tilepress.pipeline.image.slide import SlideToWrite
from tilepress.pipeline.image.source import ExportReader, SourceSpec, TileSource

__all__ = ["GEOTIFF", "GEOTIFF_KIND", "SLIDE_KIND", "STACK_KIND"]

GEOTIFF_KIND = "geotiff"
"""One raster file, or one page of it."""

STACK_KIND = "stack"
"""Several raster files whose bands follow one another."""


SLIDE_KIND = "slide"
"""A slide of a TIFF file, with its levels."""


_TIFF_SUFFIXES = (".tif", ".tiff")
_OME_SUFFIXES = (".ome.tif", ".ome.tiff")
_SLIDE_SUFFIXES = (".svs", ".btf", ".tf8", ".ndpi")
"""Endings of TIFF files that are slides."""


def _write_geotiff(reader: ExportReader, out: Path, part: ExportPart) -> list[Path]:
    if reader.origin["kind"] == SLIDE_KIND:
        from tilepress.pipeline.geotiff.slide_export import export_slide

        _refuse_parts(part)
        return export_slide(reader, out)
    if out.suffix.lower() in _SLIDE_SUFFIXES and not out.is_dir():
        raise UsageError(f"export: {out.name} is the name of a slide, and the store has none")
    _refuse_ome_name(out)
    from tilepress.pipeline.geotiff.export import export_geotiff

    with _all_bands(reader, out, part) as reader:
        return export_geotiff(reader, out, bands=part.bands, bbox=part.bbox, bbox_crs=part.bbox_crs)


def _write_ome(reader: ExportReader, out: Path, part: ExportPart) -> list[Path]:
    if reader.origin["kind"] != SLIDE_KIND:
        from tilepress.pipeline.geotiff.ome_planes import export_ome_planes

        return [export_ome_planes(reader, _named(reader, out), part.slices)]
    from tilepress.pipeline.geotiff.slide_export import export_ome_tiff

    _refuse_parts(part)
    return export_ome_tiff(reader, out)


def _named(reader: ExportReader, out: Path) -> Path:
    """Return the file that an image is written to, which in a folder is called as its store."""
    if out.suffix.lower() in _TIFF_SUFFIXES and not out.is_dir():
        return out
    from tilepress.pipeline.store.reader import StoreReader

    assert isinstance(reader, StoreReader), "it has a name"
    return out / f"{reader.path.stem}.ome.tif"


def _write_slide(slide: SlideToWrite, out: Path) -> list[Path]:
    from tilepress.pipeline.geotiff.slide_write import write_slide

    return write_slide(slide, out)


def _refuse_ome_name(out: Path) -> None:
    if out.name.lower().endswith(_OME_SUFFIXES) and not out.is_dir():
        text = "a GeoTIFF is no OME-TIFF: name another, or ask for ome-tiff"
        raise UsageError(f"export: got {out.name}, and {text}")


def _refuse_parts(part: ExportPart) -> None:
    if part.bands is not None or part.bbox is not None or part.slices is not None:
        raise UsageError("export a slide: it comes whole; leave out bands, box and slices")


def _write_cog(reader: ExportReader, out: Path, part: ExportPart) -> list[Path]:
    if reader.origin["kind"] == SLIDE_KIND:
        raise UsageError("export COG: a slide lies nowhere on the ground; ask for ome-tiff")
    _refuse_ome_name(out)
    from tilepress.pipeline.geotiff.cog import export_cog

    with _all_bands(reader, out, part) as reader:
        return export_cog(reader, out, bands=part.bands, bbox=part.bbox, bbox_crs=part.bbox_crs)


def _all_bands(
    reader: ExportReader, out: Path, part: ExportPart
) -> AbstractContextManager[ExportReader]:
    """Return what reads an image, with the bands of others that are wanted."""
    if not part.others:
        return nullcontext(reader)
    from tilepress.pipeline.geotiff.export import writes_into_folder
    from tilepress.pipeline.geotiff.other_grids import with_other_grids

    if writes_into_folder(out):
        raise UsageError("exporting: bands of several grids make one file; name OUT.tif")
    return with_other_grids(reader, part.others, part.resample or "")


class _GeoTiff(Format):
    kinds = (GEOTIFF_KIND, STACK_KIND, SLIDE_KIND)
    names = ("TIFF", "JPEG 2000", "PNG", "SRTM height file")
    suffixes = (".tif", ".tiff", ".gtiff", ".jp2", ".j2k", ".j2c", ".jpx", ".hgt", ".png")
    reads_beside = True
    deidentifying_modules = ("tilepress.pipeline.geotiff.deidentify",)
    stacking = Stacking(
        kind=STACK_KIND, order=band_order, name=stack_name, former_names=former_names
    )
    exports = tuple(
        Export(
            name=name,
            write=write,
            suffixes=(*_TIFF_SUFFIXES, *suffixes),
            wanted="NAME.tif or a folder",
            cuts=("bands", "bbox", "bbox_crs", "others", "resample"),
            tells_decoder=True,
        )
        for name, write, suffixes in (
            (GEOTIFF_KIND, _write_geotiff, _SLIDE_SUFFIXES),
            ("cog", _write_cog, ()),
        )
    )
    exports += (
        Export(
            name="ome-tiff",
            write=_write_ome,
            suffixes=_TIFF_SUFFIXES,
            implied=_OME_SUFFIXES,
            wanted="NAME.ome.tif or a folder",
            cuts=("slices",),
            any_store=True,
            write_slide=_write_slide,
        ),
    )

    def reader_modules(self, paths: Sequence[str]) -> tuple[str, ...]:
        room = "tilepress.pipeline.geotiff"
        return (f"{room}.source", f"{room}.stack", f"{room}.slide_source", f"{room}.ready")

    def sniff(self, file: Candidate) -> Certainty:
        known = _driver(file) is not None or self.is_opened_by_name(file)
        return Certainty.MARKED if known else Certainty.NONE

    def is_opened_by_name(self, file: Candidate) -> bool:
        return _driver(file) is None and opted_driver(file.head, file.drivers) is not None

    def images(self, file: Candidate) -> FileImages:
        """Return the image, or every slide and page of a TIFF file, every variable of others."""
        if self.is_opened_by_name(file):
            from tilepress.pipeline.geotiff.opted import images_by_driver

            driver = opted_driver(file.head, file.drivers)
            assert driver is not None, "it is opened by one that was asked for"
            return images_by_driver(file.path, driver, GEOTIFF_KIND)
        pages = find_pages(file.stream, file.size)
        slides = find_slides(file.stream, file.size, pages.found)
        if slides is not None and slides.slides:
            one = not pages.found[1:]
            grid = grid_words(file.stream, file.size) if one else ()  # it may be a band, if asked
            return FileImages(images=tuple(_of_slides(slides)), grid=grid)
        if slides is not None and not slides.pages:
            shown = ", ".join(slides.beside)
            text = f"nothing is there but pictures that may show names, which are left out: {shown}"
            raise UnsupportedSource(f"opening {file.path}: {text}")
        images: tuple[FileImage, ...] = (FileImage(kind=GEOTIFF_KIND),)
        problem = None
        if len(pages.found) > 1:
            images = tuple(map(_page, range(1, len(pages.found) + 1)))
            if slides is not None:
                images = _without(slides)
            if pages.cut is not None:
                problem = f"its pages end with page {len(pages.found)}: {pages.cut}"
        grid = grid_words(file.stream, file.size) if len(pages.found) < 2 else ()
        beside = () if file.remote is None else companions(file.remote, file.neighbours)
        return FileImages(images=images, companions=tuple(beside), grid=grid, problem=problem)

    def open(self, spec: SourceSpec) -> TileSource:
        from tilepress.pipeline.geotiff.source import GeoTiffSource
        from tilepress.pipeline.geotiff.stack import StackSource

        if spec.kind == SLIDE_KIND:
            from tilepress.pipeline.geotiff.slide_source import SlideSource

            return SlideSource(spec)
        return StackSource(spec) if spec.kind == STACK_KIND else GeoTiffSource(spec)

    def former(self, spec: SourceSpec) -> tuple[SourceSpec, ...]:
        """Return the pages that earlier versions took a file of a slide for."""
        if spec.kind != SLIDE_KIND:
            return ()
        options = {k: v for k, v in spec.options.items() if k not in ("page", "pages")}
        numbers = [int(number) for number in spec.options["pages"]]
        if not numbers:
            return (replace(spec, kind=GEOTIFF_KIND, options=options, images_in_files=1),)
        stem = PurePosixPath(spec.paths[0]).stem
        pages = [_page(number) for number in numbers]
        return tuple(
            replace(
                spec,
                kind=GEOTIFF_KIND,
                options={**options, **page.options, "name": stem + page.ending},
                images_in_files=len(pages),
            )
            for page in pages
        )

    def find_again(
        self, origin: Mapping[str, Any], near: Sequence[SourceSpec], found: FoundImages
    ) -> list[SourceSpec]:
        """Return the same page of a file; of a stack also what its files make if put together."""
        if origin["kind"] == STACK_KIND:
            return [*near, *_stacks([str(file["name"]) for file in origin["files"]], found)]
        first = origin["files"][0]
        which = ("page", "variable")
        again = [one for one in near if all(one.options.get(w) == first.get(w) for w in which)]
        if again or origin["kind"] != GEOTIFF_KIND:
            return again or list(near)
        slides = [self.former(spec) for spec in found.of_kind(SLIDE_KIND)]
        page = first.get("page")
        return [spec for pages in slides for spec in pages if spec.options.get("page") == page]

    def slide_to_write(self, reader: ExportReader) -> SlideToWrite | None:
        if reader.origin["kind"] != SLIDE_KIND:
            return None
        from tilepress.pipeline.geotiff.slide_export import slide_to_write

        return slide_to_write(reader)

    def colors(self, reader: ExportReader) -> Sequence[Sequence[int]] | None:
        from tilepress.pipeline.geotiff.kept_record import parse_record

        files = reader.origin.get("files", ())
        if reader.origin["kind"] != GEOTIFF_KIND or len(files) != 1:
            return None
        found: Sequence[Sequence[int]] | None = None
        tables = parse_record(reader.source_bytes(files[0]["item"]))["colormaps"]
        if len(tables) == 1:
            (found,) = tables.values()
        return found

    def as_told(self, info: ImageInfo, reader: ExportReader) -> ImageInfo | None:
        """Return an image with its bands, which the records of its files tell of."""
        if reader.origin["kind"] == SLIDE_KIND:
            return None
        from tilepress.pipeline.geotiff.bands import bands_of_record, refusal_of
        from tilepress.pipeline.geotiff.kept_record import parse_record

        files = reader.origin["files"]
        records = [parse_record(reader.source_bytes(file["item"])) for file in files]
        bands = tuple(
            band
            for file, record in zip(files, records, strict=True)
            for band in bands_of_record(
                record, PurePosixPath(file["name"]).name, file["bands"], info.dtype
            )
        )
        return replace(info, bands=bands, lossy_refusal=refusal_of(records))

    def acquired(self, reader: ExportReader) -> Acquired | None:
        from tilepress.pipeline.geotiff.acquired import acquired

        return acquired(reader)


def _of_slides(found: SlidePages) -> Iterator[FileImage]:
    """Yield the slides of a file, and the pages that belong to none."""
    alone = len(found.slides) == 1
    for slide in found.slides:
        options: dict[str, Any] = {"pages": list(slide.pages)}
        options |= {} if alone else {"page": slide.page}
        ending = "" if alone else f"-page{slide.page}"
        yield FileImage(kind=SLIDE_KIND, ending=ending, options=options, is_slide=True)
    yield from map(_page, found.pages)


def _without(found: SlidePages) -> tuple[FileImage, ...]:
    """Return the pages of a file of no slides; the first tells how many lay beside them."""
    first, *others = map(_page, found.pages)
    first = replace(first, options={**first.options, "beside": len(found.beside)})
    return (first, *others)


def _driver(file: Candidate) -> str | None:
    return raster_driver(PurePosixPath(file.name), file.head, file.size)


def _page(number: int) -> FileImage:
    return FileImage(kind=GEOTIFF_KIND, ending=f"-page{number}", options={"page": number})


def _stacks(names: Sequence[str], found: FoundImages) -> Iterator[SourceSpec]:
    """Yield stacks of files of these names, which lie below one folder."""
    for first in found.named(GEOTIFF_KIND, names[0].rpartition("/")[2]):
        path = first.paths[0]
        if not path.endswith(f"/{names[0]}"):
            continue
        root = path.removesuffix(names[0])
        files = [found.at(GEOTIFF_KIND, root + name) for name in names]
        rasters = [file for file in files if file is not None]
        if len(rasters) == len(names):
            yield _stack_of(rasters)


def _stack_of(rasters: Sequence[SourceSpec]) -> SourceSpec:
    """Return the recipe of one image whose bands are these rasters."""
    paths = tuple(spec.paths[0] for spec in rasters)
    options = {**rasters[0].options, "name": stack_name(paths)}
    if is_pinned(rasters[0]):
        objects = [[file for _, file in objects_of(spec)] for spec in rasters]
        beside = chain.from_iterable(files[1:] for files in objects)
        options |= pinned([files[0] for files in objects], beside)
    sizes = [spec.source_bytes for spec in rasters if spec.source_bytes is not None]
    return replace(
        rasters[0],
        kind=STACK_KIND,
        paths=paths,
        options=options,
        source_bytes=sum(sizes) if len(sizes) == len(rasters) else None,
    )


GEOTIFF: Format = _GeoTiff()
