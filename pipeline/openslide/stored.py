"""A slide that OpenSlide has read, for whoever writes it as another format."""

from __future__ import annotations

from tilepress.pipeline.image.slide import LevelToWrite, SlideToWrite
from tilepress.pipeline.image.source import ExportReader, StoredLevels

__all__ = ["slide_to_write"]

ICC_PROFILE = "icc-profile"
TILE = 512
"""Sides of the tiles that are written: those of the source are coded by their samples."""


def slide_to_write(reader: ExportReader) -> SlideToWrite:
    """Return the levels of a store and what its source said of them."""
    assert isinstance(reader, StoredLevels), "stores of slides have levels"
    size, power = reader.attrs.get("pixel_size_um"), reader.attrs.get("objective_power")
    profile = reader.source_bytes(ICC_PROFILE) if ICC_PROFILE in reader.source_names() else None
    return SlideToWrite(
        levels=tuple(
            LevelToWrite(reader=reader.at_level(number), rows=TILE, columns=TILE, family=None)
            for number in range(reader.level_count)
        ),
        is_colour=True,
        pixel_size_um=None if size is None else (float(size[0]), float(size[1])),
        objective_power=None if power is None else float(power),
        taken_at=None,
        icc_profile=profile,
    )
