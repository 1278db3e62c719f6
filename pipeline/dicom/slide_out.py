"""A slide of a DICOM series for whoever writes it as another format."""

from __future__ import annotations

import numpy as np
from pydicom.uid import JPEG2000, JPEG2000Lossless, JPEGBaseline8Bit

from tilepress.errors import UsageError
from tilepress.pipeline.dicom.slide_stored import StoredTiles, stored_tiles
from tilepress.pipeline.dicom.slide_tiles import sampling_of
from tilepress.pipeline.dicom.stored import StoredInstance, stored_instances
from tilepress.pipeline.image.grid import Box
from tilepress.pipeline.image.slide import LevelToWrite, SlideToWrite
from tilepress.pipeline.image.source import ExportReader, StoredLevels
from tilepress.pipeline.image.streams import KeptStreams

__all__ = ["slide_to_write"]

FAMILIES: dict[str, str] = {
    JPEGBaseline8Bit: "jpeg",
    JPEG2000: "jpeg2000",
    JPEG2000Lossless: "jpeg2000",
}


def slide_to_write(reader: ExportReader) -> SlideToWrite:
    """Return the levels of a store, their tiles and what the series says of them.

    Raises UsageError for what only DICOM can hold: focal planes, colours of several optical paths,
    Y, Cb, Cr whose streams are not kept. DamagedStore where ``source/`` contradicts itself.
    """
    instances, tiles = stored_instances(reader), stored_tiles(reader)
    assert isinstance(reader, StoredLevels), "asked before"
    first = instances[0]
    is_colour = first.pixels.bands == 3
    if "z" in reader.axes or (is_colour and reader.shape[0] != 3):
        what = "focal planes" if "z" in reader.axes else "optical paths of colours"
        raise UsageError(f"exporting a slide: it has several {what}; export to dicom")
    if first.photometric not in ("RGB", "MONOCHROME2", "YBR_FULL", "YBR_FULL_422"):
        raise UsageError(f"exporting a slide: its samples are {first.photometric}; export to dicom")
    size = reader.attrs.get("pixel_size_um")
    levels = tuple(
        _level(reader.at_level(number), cut, instances, is_ycbcr=first.photometric[:3] == "YBR")
        for number, cut in enumerate(tiles)
    )
    return SlideToWrite(
        levels=levels,
        is_colour=is_colour,
        pixel_size_um=None if size is None else (float(size[0]), float(size[1])),
        objective_power=None,
        taken_at=None,
        icc_profile=None,
    )


def _level(
    at: ExportReader, cut: StoredTiles, instances: list[StoredInstance], *, is_ycbcr: bool
) -> LevelToWrite:
    own = [one for one in instances if cut.first <= min(one.frames) < cut.end]
    families = {FAMILIES.get(one.syntax) for one in own}
    family = families.pop() if len(families) == 1 else None
    came_as, subsampling = family, (1, 1)
    if family is not None:
        stream = _first_stream(at) if _keeps_streams(at) else None
        family = family if stream is not None else None
        if stream is not None and family == "jpeg":
            subsampling = sampling_of(stream)
    if is_ycbcr and family is None:
        raise UsageError(
            "exporting a slide: its samples are Y, Cb, Cr, and the store keeps no streams of them; "
            "export to dicom"
        )
    return LevelToWrite(
        reader=at,
        rows=cut.rows,
        columns=cut.columns,
        family=family,
        came_as=came_as,
        ycbcr=is_ycbcr,
        subsampling=subsampling,
    )


def _keeps_streams(at: ExportReader) -> bool:
    """Whether all chunks of a level keep streams, or have only tiles that are absent."""
    sides = [-(-n // c) for n, c in zip(at.shape, at.chunk, strict=True)]
    return isinstance(at, KeptStreams) and all(
        at.keeps_streams(index) or not at.read(Box.of_chunk(index, at.chunk, at.shape)).any()
        for index in np.ndindex(*sides)
    )


def _first_stream(at: ExportReader) -> bytes | None:
    assert isinstance(at, KeptStreams), "asked before"
    sides = [-(-n // c) for n, c in zip(at.shape, at.chunk, strict=True)]
    kept = (index for index in np.ndindex(*sides) if at.keeps_streams(index))
    streams = (one for index in kept for one in at.streams(index))
    return next((one for one in streams if one is not None), None)
