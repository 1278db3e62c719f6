"""Tell which directories of a TIFF file are the levels of a slide, and which are pictures beside.

Four conventions are known: Aperio's (SVS), where tiled pages of one shape are levels; Hamamatsu's
(NDPI), whose pages are single JPEG streams with a magnification; OME-TIFF, where each page has its
levels in SubIFDs and bands may be pages of their own; and pyramids of tiled pages that say that
they are reduced ones, or SubIFDs, that lie nowhere on the ground. What is on
the ground has overviews, which are derived and not kept, and so has what GDAL wrote.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import BinaryIO

import numpy as np

from tilepress.pipeline.geotiff.halved import NDPI
from tilepress.pipeline.geotiff.header import (
    BITS,
    COMPRESSION,
    LENGTH,
    MASK,
    NEW_SUBFILE_TYPE,
    PHOTOMETRIC,
    PLANAR,
    SAMPLE_FORMAT,
    SAMPLES,
    STRIP_OFFSETS,
    SUB_IFDS,
    TILE_LENGTH,
    TILE_WIDTH,
    WIDTH,
    Directory,
    Page,
    directory_at,
    walk_directories,
)
from tilepress.pipeline.geotiff.ome_images import OmeImage, is_ome, ome_images
from tilepress.pipeline.geotiff.scanner_pages import is_scn, is_ventana, pictures_of_scn

__all__ = ["Slide", "SlidePages", "find_slides", "may_show_names"]

DESCRIPTION, COLOR_MAP, XMP = 270, 320, 700
OF_THE_GROUND = (33550, 33922, 34264, 34735)
"""ModelPixelScale, ModelTiepoint, ModelTransformation, GeoKeyDirectory (OGC 19-008r4)."""
OF_GDAL = (42112, 42113)
"""Its metadata and nodata."""
LENS, DEPTH = 65421, 65424
"""Of Hamamatsu's pages: magnification, −1 for a macro image and −2 for a map; distance from the
focal plane."""
JPEG, FLOAT = 7, 11

_LOOKED_AT = (
    *(NEW_SUBFILE_TYPE, WIDTH, LENGTH, BITS, COMPRESSION, PHOTOMETRIC, DESCRIPTION, SAMPLES),
    *(
        PLANAR,
        COLOR_MAP,
        TILE_WIDTH,
        TILE_LENGTH,
        SUB_IFDS,
        SAMPLE_FORMAT,
        *(NDPI, LENS, DEPTH, STRIP_OFFSETS),
        *OF_THE_GROUND,
        *OF_GDAL,
    ),
)

APERIO = b"Aperio"

_GHOST = b"GDAL_STRUCTURAL_METADATA"
"""What GDAL writes at the head of a cloud-optimised file."""

REDUCED_PAGE = "reduced page"
"""What a page of lower resolution is called that is no level and does not say what it shows."""

MAX_LEVELS = 32
MAX_BANDS = 1024
MAX_OME_BYTES = 64 * 2**20
"""Of OME-XML: a plate of many planes takes megabytes before it names the label."""

_NAMED = re.compile(
    r"^\s*(label|macro|overview|thumbnail)(?![^\W_])"
    r"|(?:\b|_)(label|macro|overview|thumbnail)(?:[ _]image)?\W*$",
    re.IGNORECASE,
)
"""Names of images in OME-XML that say what they show beside a slide."""

_BESIDE = re.compile(rb"\s*(label|macro|overview|thumbnail)(?:image)?(?![^\W_])", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Slide:
    """One slide of a file."""

    page: int
    """Number of its first page among the file's full images, from 1."""
    levels: tuple[tuple[int, ...], ...]
    """Of each level, from the full resolution on, where the directories of its bands start."""
    below: bool
    """Whether further levels hang below the pages of the first, in SubIFDs."""
    pages: tuple[int, ...]
    """Numbers of the full images that it takes, those of pictures beside it among them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SlidePages:
    """What a file of slides holds."""

    slides: tuple[Slide, ...]
    pages: tuple[int, ...] = ()
    """Numbers of the full images that belong to none, from 1."""
    beside: tuple[str, ...] = ()
    """What pictures beside the slides show: "thumbnail", "label", "macro", "overview"…"""


@dataclass(frozen=True, slots=True)
class _Found:
    """A directory of the file's chain."""

    start: int
    number: int
    """Among the full images; 0 for what is none."""
    own: Directory = field(repr=False)
    image: OmeImage | None = None
    """The image that OME-XML says it is a plane of."""
    scanner_says: str | None = None
    """What its scanner's own text says that it shows beside a slide."""

    @property
    def size(self) -> tuple[int, int]:
        return self.own.integer(LENGTH), self.own.integer(WIDTH)

    @property
    def kind(self) -> tuple[object, ...]:
        """What all levels of a slide have alike."""
        bits = tuple(set(self.own.integers(BITS).tolist()))
        formats = tuple(set(self.own.integers(SAMPLE_FORMAT).tolist())) or (1,)
        return self.own.integer(SAMPLES, 1), bits, formats, self.own.integer(PLANAR, 1)

    @property
    def is_tiled(self) -> bool:
        return TILE_WIDTH in self.own.entries

    @property
    def tile(self) -> tuple[int, int]:
        return self.own.integer(TILE_LENGTH), self.own.integer(TILE_WIDTH)

    @property
    def description(self) -> bytes:
        entry = self.own.entries.get(DESCRIPTION)
        return b"" if entry is None else entry.data

    @property
    def shows(self) -> str | None:
        """What of a slide it shows beside it, by its description: "label", "macro"…; else None."""
        if self.scanner_says is not None:
            return self.scanner_says
        if (lens := self.number_of(LENS)) < 0 and NDPI in self.own.entries:
            return "macro" if lens == -1 else "map"
        words = self.description
        if words.startswith(APERIO):
            _, _, words = words.partition(b"\n")
        said = _BESIDE.match(words)
        if said is not None:
            return said[1].decode().lower()
        named = None if self.image is None else _NAMED.search(self.image.name)
        return None if named is None else (named[1] or named[2]).lower()

    def number_of(self, tag: int) -> float:
        """Return a number of any kind; 0 where there is none."""
        entry = self.own.entries.get(tag)
        if entry is not None and entry.kind == FLOAT and len(entry.data) >= 4:
            return float(np.frombuffer(entry.data[:4], f"{self.own.order}f4")[0])
        value = self.own.integer(tag)
        return value - 2**32 if value >= 2**31 else value

    @property
    def area(self) -> int:
        height, width = self.size
        return height * width


def find_slides(file: BinaryIO, size: int, pages: Sequence[Page]) -> SlidePages | None:
    """Return the slides of an open TIFF file; None where it is a file of other images.

    Of a file that is no slide, and has labels or the like beside its pages, those are told.
    ``pages`` are its full images as ``find_pages`` gives them.
    """
    if not pages:
        return None
    may_be = _may_be(file, size, pages[0].offset)
    if not may_be and len(pages) == 1 and not _is_ventana(file, size, pages[0].offset):
        return None
    chain, is_whole = _chain(file, size, pages)
    slides = None
    if may_be and is_whole:
        with contextlib.suppress(ValueError):  # levels that cannot be read: page by page
            slides = _slides_of(file, size, chain, len(pages))
    return _pages_without(chain, len(pages)) if slides is None else slides


def may_show_names(file: BinaryIO, size: int, pages: Sequence[Page], number: int) -> str | None:
    """Return what a page shows that is not to be de-identified as an image; None for others.

    That is a label, macro or overview by its own words or OME-XML's; and, in a file of slides,
    "unnamed": a page that is no level of one, does not say what it shows, and has no such tiles.
    Of a damaged file, whose slides nobody knows, its first page stands for them.
    """
    chain, is_whole = _chain(file, size, pages)
    page = next((found for found in chain if found.number == number), None)
    if page is None:
        return None
    if page.shows not in (None, "thumbnail"):
        return page.shows
    if not is_whole and _may_be(file, size, pages[0].offset):
        return None if page.tile == chain[0].tile else "unnamed"
    slides = find_slides(file, size, pages)
    if slides is None or not slides.slides or number not in slides.pages:
        return None
    starts = {start for slide in slides.slides for start in slide.levels[0]}
    tiles = {found.tile for found in chain if found.start in starts}
    return None if page.tile in tiles else "unnamed"


def _chain(file: BinaryIO, size: int, pages: Sequence[Page]) -> tuple[list[_Found], bool]:
    """Return the directories of a file as far as they can be read, and whether these are all."""
    numbers = {page.offset: number for number, page in enumerate(pages, 1)}
    chain: list[_Found] = []
    is_whole = True
    try:
        for start, own in walk_directories(file, size, _LOOKED_AT):
            chain.append(_Found(start, numbers.get(start, 0), own))
    except ValueError:
        is_whole = False  # it is told where the file is taken page by page
    if not chain:
        return chain, is_whole
    text = _whole_description(file, size, chain[0])
    images = ome_images(text, len(chain))
    pictures = pictures_of_scn(text)
    if _is_ventana(file, size, chain[0].start) and (shown := chain[0].shows) is not None:
        pictures = {0: shown}
    return [
        replace(found, image=images.get(at), scanner_says=pictures.get(at))
        for at, found in enumerate(chain)
    ], is_whole


def _whole_description(file: BinaryIO, size: int, found: _Found) -> bytes:
    """Return the description of a directory, all of it where it is OME-XML or Leica's."""
    entry = found.own.entries.get(DESCRIPTION)
    if entry is None or len(entry.data) == entry.count:
        return found.description
    if not is_ome(entry.data) and not is_scn(entry.data):
        return found.description
    whole = directory_at(file, size, found.start, (DESCRIPTION,), most=MAX_OME_BYTES)
    return whole.entries[DESCRIPTION].data


def _may_be(file: BinaryIO, size: int, at: int) -> bool:
    """Whether the first directory may be that of a slide: most files are none."""
    try:
        first = _Found(at, 1, directory_at(file, size, at, _LOOKED_AT))
    except ValueError:
        return False
    if NDPI in first.own.entries:
        return _is_ndpi(first)
    file.seek(0)
    ghost = _GHOST in file.read(64)
    odd = first.own.entries.keys() & {COLOR_MAP, *OF_THE_GROUND, *OF_GDAL}
    return first.is_tiled and not ghost and not odd and _has_whole_samples(first)


def _is_ventana(file: BinaryIO, size: int, at: int) -> bool:
    """Whether the first directory is of a file of Ventana's: there it shows the label."""
    try:
        xmp = directory_at(file, size, at, (XMP,)).entries.get(XMP)
    except ValueError:
        return False
    return xmp is not None and is_ventana(xmp.data)


def _is_ndpi(found: _Found) -> bool:
    """Whether a page is one JPEG stream of Hamamatsu's, as its levels are."""
    one_strip = found.own.integers(STRIP_OFFSETS).size == 1
    return found.own.integer(COMPRESSION) == JPEG and one_strip and found.kind[1] == (8,)


def _has_whole_samples(found: _Found) -> bool:
    _, bits, formats, _ = found.kind
    if formats == (3,):
        return bits in ((32,), (64,))  # half floats are read as others
    return bits in ((8,), (16,), (32,), (64,)) and formats in ((1,), (2,))


def _slides_of(file: BinaryIO, size: int, chain: Sequence[_Found], count: int) -> SlidePages | None:
    if any(one.scanner_says is not None for one in chain):
        return None
    beside = [one for one in _pictures_beside(chain) if one is not chain[0]]
    slides = _slides_without([one for one in chain if one not in beside], file, size, chain, count)
    if slides is None or not beside:
        return slides
    numbers = tuple(one.number for one in beside if one.number)
    first, *others = slides.slides
    first = replace(first, pages=tuple(sorted({*first.pages, *numbers}))) if count > 1 else first
    told = tuple(str(one.shows) for one in beside)
    return replace(slides, slides=(first, *others), beside=(*slides.beside, *told))


def _pictures_beside(chain: Sequence[_Found]) -> list[_Found]:
    """Return the pages that say that they lie beside a slide, and are smaller than it.

    A picture of labels of a whole image, as large as that, is none, unless its scanner says so.
    """
    whole = max((one.area for one in chain if one.shows is None), default=0)
    return [
        one
        for one in chain
        if one.scanner_says is not None or (one.shows is not None and one.area < whole)
    ]


def _pages_without(chain: Sequence[_Found], count: int) -> SlidePages | None:
    """Return the pages of a file of no slides without labels beside them; None where none are.

    ``count`` are its full images, also those of which no directory could be read.
    """
    if not chain or chain[0].own.entries.keys() & {*OF_THE_GROUND, *OF_GDAL}:
        return None
    beside = [one for one in _pictures_beside(chain) if one.number]
    if not beside:
        return None
    numbers = {one.number for one in beside}
    pages = tuple(number for number in range(1, count + 1) if number not in numbers)
    return SlidePages(slides=(), pages=pages, beside=tuple(str(one.shows) for one in beside))


def _slides_without(
    kept: Sequence[_Found], file: BinaryIO, size: int, whole: Sequence[_Found], count: int
) -> SlidePages | None:
    chain, first = kept, kept[0]
    if NDPI in first.own.entries:
        return _hamamatsu(chain, count)
    if first.description.startswith(APERIO) and SUB_IFDS not in first.own.entries:
        return _aperio(chain, count, second=whole[1] if whole[1:] else None)
    if any(found.own.integer(NEW_SUBFILE_TYPE) & MASK for found in chain):
        return None
    if SUB_IFDS in first.own.entries:
        return _with_levels_below(file, size, chain, count)
    return _pyramid(chain, count)


def _hamamatsu(chain: Sequence[_Found], count: int) -> SlidePages | None:
    """Return the slide of pages of one focal plane; None where there are several, or others."""
    levels = sorted(chain, key=lambda found: -found.area)
    if not all(_is_ndpi(found) and found.number_of(DEPTH) == 0 for found in levels):
        return None
    if any(found.number_of(LENS) <= 0 or not found.number for found in levels):
        return None
    for above, found in pairwise(levels):
        if not _is_level(found, above, levels[0]):
            return None
    own = [found.number for found in chain]
    return SlidePages(slides=(_of_pages(levels, own, count),))


def _aperio(chain: Sequence[_Found], count: int, second: _Found | None) -> SlidePages:
    levels, rest = [chain[0]], []
    for found in chain[1:]:
        if found.is_tiled and _is_level(found, levels[-1], chain[0]):
            levels.append(found)
        else:
            rest.append(found)
    beside, pages = [], []
    for found in rest:
        shown = found.shows
        if shown is not None:
            beside.append(shown)
        elif not found.is_tiled and found is second:
            beside.append("thumbnail")
        elif found.number:
            pages.append(found.number)
        else:
            beside.append(REDUCED_PAGE)
    own = [found.number for found in chain if found.number and found.number not in pages]
    return SlidePages(
        slides=(_of_pages(levels, own, count),), pages=tuple(pages), beside=tuple(beside)
    )


def _of_pages(levels: Sequence[_Found], own: Sequence[int], count: int) -> Slide:
    starts = tuple((found.start,) for found in levels)
    return Slide(page=1, levels=starts, below=False, pages=tuple(own) if count > 1 else ())


def _pyramid(chain: Sequence[_Found], count: int) -> SlidePages | None:
    """Return the slide of a chain of tiled pages, each smaller than the one before.

    Pages of the same form are no levels yet: each has to say that it is a reduced one (then it is
    no full image), or the first, in OME-XML, which of the pages are images.
    """
    names_images = is_ome(chain[0].description)
    levels = [chain[0]]
    for found in chain[1:]:
        is_reduced = not found.number or (names_images and found.image is None)
        if not is_reduced or not found.is_tiled or not _is_level(found, levels[-1], chain[0]):
            return None
        levels.append(found)
    if not 1 < len(levels) <= MAX_LEVELS:
        return None
    own = [found.number for found in chain if found.number]
    return SlidePages(slides=(_of_pages(levels, own, count),))


def _with_levels_below(
    file: BinaryIO, size: int, chain: Sequence[_Found], count: int
) -> SlidePages | None:
    """Return the slides of pages that have their levels below them; bands may be pages."""
    slides: list[Slide] = []
    pages: list[int] = []
    beside: list[str] = []
    pictures: list[int] = []
    open_pages: list[tuple[_Found, list[_Found]]] = []

    def close() -> None:
        if open_pages:
            columns = zip(*(below for _, below in open_pages), strict=True)
            levels = [[page for page, _ in open_pages], *columns]
            starts = tuple(tuple(found.start for found in level) for level in levels)
            own = tuple(page.number for page, _ in open_pages) if count > 1 else ()
            slides.append(Slide(page=open_pages[0][0].number, levels=starts, below=True, pages=own))
            open_pages.clear()

    if not _counts_bands_only(chain[0].description):
        return None
    for found in chain:
        below = _levels_below(file, size, found)
        if below is None or not found.number:
            if below is None and SUB_IFDS in found.own.entries:
                return None
            if (shown := found.shows) is not None:
                beside.append(shown)
                pictures += [found.number] if found.number else []
            elif found.number:
                pages.append(found.number)
            else:
                beside.append(REDUCED_PAGE)
            continue
        if open_pages and not _same_form(open_pages[0], (found, below)):
            close()
        open_pages.append((found, below))
        if len(open_pages) > MAX_BANDS:
            return None
    close()
    if not slides:
        return None
    slides[0] = replace(slides[0], pages=(*slides[0].pages, *pictures))
    return SlidePages(slides=tuple(slides), pages=tuple(pages), beside=tuple(beside))


_SIZES = re.compile(rb"""\bSize([ZT])\s*=\s*["'](\d{1,9})["']""")


def _counts_bands_only(description: bytes) -> bool:
    """Whether several pages are bands, as far as OME-XML tells, and neither depths nor times."""
    return all(int(number) == 1 for _, number in _SIZES.findall(description[: 2**20]))


def _levels_below(file: BinaryIO, size: int, page: _Found) -> list[_Found] | None:
    """Return the levels in a page's SubIFDs; None where there are none, or others."""
    starts = page.own.integers(SUB_IFDS).tolist()
    if not 0 < len(starts) <= MAX_LEVELS or not page.is_tiled or not _has_whole_samples(page):
        return None
    levels = [page]
    for start in starts:
        found = _Found(start, 0, directory_at(file, size, start, _LOOKED_AT))
        if not _is_level(found, levels[-1], page):
            return None
        levels.append(found)
    return levels[1:]


def _same_form(one: tuple[_Found, list[_Found]], other: tuple[_Found, list[_Found]]) -> bool:
    """Whether two pages with their levels may be bands of one slide.

    Pages of several samples are pictures, and those of another image of OME-XML are of it.
    """
    if one[0].own.integer(SAMPLES, 1) > 1 or one[0].image != other[0].image:
        return False
    pairs = [[page, *below] for page, below in (one, other)]
    return len(pairs[0]) == len(pairs[1]) and all(
        a.size == b.size and a.kind == b.kind for a, b in zip(*pairs, strict=True)
    )


def _is_level(found: _Found, above: _Found, first: _Found) -> bool:
    """Whether a directory shows all that the first one does, in fewer samples than ``above``."""
    (height, width), (whole_height, whole_width) = found.size, first.size
    if min(height, width) < 1 or found.kind != first.kind:
        return False
    if not (height <= above.size[0] and width <= above.size[1] and found.size != above.size):
        return False
    if found.own.entries.keys() & {COLOR_MAP, *OF_THE_GROUND}:
        return False
    down, across = whole_height / height, whole_width / width
    # sides are rounded, down or up, and to whole blocks of a factor
    return abs(down - across) <= max(down, across) * (0.01 + 1.5 / min(height, width))
