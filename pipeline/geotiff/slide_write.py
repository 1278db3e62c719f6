"""Write a slide of another format as OME-TIFF: tiles that are streams as they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tilepress.pipeline.geotiff.header import (
    BITS,
    COMPRESSION,
    LENGTH,
    PHOTOMETRIC,
    PLANAR,
    SAMPLE_FORMAT,
    SAMPLES,
    SUBSAMPLING,
    TILE_LENGTH,
    TILE_WIDTH,
    WIDTH,
    Entry,
)
from tilepress.pipeline.geotiff.slide_export import ICC_PROFILE, write_ome
from tilepress.pipeline.geotiff.slide_record import PageLayout, StoredSlide
from tilepress.pipeline.image.slide import LevelToWrite, SlideToWrite

__all__ = ["write_slide"]

COMPRESSIONS = {"jpeg": 7, "jpeg2000": 33005}
"""Of tiles that are kept; 33005 is Aperio's number for JPEG 2000 that decodes to R, G, B."""
DEFLATE = 8
MINISBLACK, RGB, YCBCR = 1, 2, 6


def write_slide(slide: SlideToWrite, out: Path) -> list[Path]:
    """Write one file, ``slide.ome.tif`` where ``out`` is a folder.

    Raises DestinationConflict where it is there, StoreError where it cannot be written.
    """
    levels = tuple(_pages(slide, level) for level in slide.levels)
    stored = StoredSlide(name="slide.ome.tif", big=False, order="<", below=True, levels=levels)
    return write_ome([level.reader for level in slide.levels], stored, out)


def _pages(slide: SlideToWrite, level: LevelToWrite) -> tuple[PageLayout, ...]:
    """Return a page of all colours, or one for each band."""
    bands = level.bands if slide.is_colour else 1
    page = PageLayout(
        height=level.height,
        width=level.width,
        bands=bands,
        dtype=level.reader.dtype.name,
        tiled=True,
        block=(level.rows, level.columns),
        apart=False,
        converted=level.ycbcr,
        entries=_entries(slide, level, bands),
    )
    return (page,) * (1 if slide.is_colour else level.bands)


def _entries(slide: SlideToWrite, level: LevelToWrite, bands: int) -> dict[int, Entry]:
    def short(*values: int) -> Entry:
        return Entry(3, len(values), np.array(values, "<u2").tobytes())

    def long(value: int) -> Entry:
        return Entry(4, 1, np.array([value], "<u4").tobytes())

    dtype = level.reader.dtype
    colours = (YCBCR if level.ycbcr else RGB) if slide.is_colour else MINISBLACK
    entries = {
        WIDTH: long(level.width),
        LENGTH: long(level.height),
        BITS: short(*[8 * dtype.itemsize] * bands),
        COMPRESSION: short(COMPRESSIONS.get(level.family or "", DEFLATE)),
        PHOTOMETRIC: short(colours),
        SAMPLES: short(bands),
        PLANAR: short(1),
        TILE_WIDTH: long(level.columns),
        TILE_LENGTH: long(level.rows),
        SAMPLE_FORMAT: short(*[{"u": 1, "i": 2, "f": 3}[dtype.kind]] * bands),
    }
    if level.ycbcr:
        entries[SUBSAMPLING] = short(*level.subsampling)
    if slide.icc_profile is not None:
        entries[ICC_PROFILE] = Entry(7, len(slide.icc_profile), slide.icc_profile)
    return entries
