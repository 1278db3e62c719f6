"""What a store keeps of a slide's TIFF file beside samples: the directories of its levels.

Whoever exports lays samples, or the streams that are kept, out as a directory says, and writes its
entries again as they were: texts, resolution, colours.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tilepress.pipeline.geotiff.block_grid import BlockGrid
from tilepress.pipeline.geotiff.header import (
    COMPRESSION,
    JPEG_TABLES,
    LENGTH,
    PLANAR,
    STRIP_BYTES,
    STRIP_OFFSETS,
    SUB_IFDS,
    TILE_BYTES,
    TILE_LENGTH,
    TILE_OFFSETS,
    TILE_WIDTH,
    WIDTH,
    Entry,
    Page,
    read_header,
)
from tilepress.pipeline.geotiff.ndpi import NDPI_TILE, NdpiLevel, is_ndpi_level, long_entry
from tilepress.pipeline.geotiff.ndpi_scan import (
    OF_NDPI,
    NdpiScan,
    entries_from_json,
    entries_to_json,
)
from tilepress.pipeline.geotiff.raster_file import RasterFile
from tilepress.pipeline.geotiff.stream_blocks import FAMILIES

__all__ = ["PageLayout", "StoredSlide", "dump_slide", "parse_slide"]

RECORD_VERSION = 1
WITH_SCANS_VERSION = 2
"""Of a slide whose pages were JPEG streams of NDPI: exports of before would look for tiles."""

MAX_ENTRY_BYTES = 16 * 2**20
"""Longest value that is kept: OME-XML of some thousand planes has a few megabytes."""

_NOT_KEPT = frozenset(
    [
        *(STRIP_OFFSETS, STRIP_BYTES, TILE_OFFSETS, TILE_BYTES, SUB_IFDS),
        *(288, 289, 34665, 34853, 40965),
        *range(512, 522),
    ]
)
"""Entries that point elsewhere in the file."""

NDPI_LENS = 65421
"""The magnification, which pages of NDPI alone have."""

_PLAIN = frozenset(
    [
        *(254, 256, 257, 258, 259, 262, 266, 274, 277, 278, 282, 283, 284, 296, 317),
        *(322, 323, 338, 339, 529, 530, 531, 532, 32997),
    ]
)
"""Entries of numbers that say how samples are laid out and meant, and of nobody who they are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PageLayout:
    """One page of one level, as it lay in its file."""

    height: int
    width: int
    bands: int
    dtype: str
    tiled: bool
    block: tuple[int, int]
    """Rows and columns of a tile or strip."""
    apart: bool
    """Whether every band has blocks of its own (PlanarConfiguration 2)."""
    converted: bool
    """Whether samples are RGB that libtiff made of other colours."""
    entries: Mapping[int, Entry] = field(repr=False)
    scan: NdpiScan | None = field(default=None, repr=False)
    """Of a page of NDPI whose stream is kept: then the other fields say how it is written from
    samples."""

    @classmethod
    def of(cls, page: RasterFile, offset: int) -> PageLayout:
        """Return the layout of an open page, whose directory starts at an offset."""
        header = read_header(page.path, Page(0, offset))
        assert header is not None, "it was opened before"
        grid = BlockGrid.of(header.first)
        layout = page.record["layout"]
        rows, columns = layout["block"] if grid is None else (grid.rows, grid.columns)
        tiled = TILE_OFFSETS in header.first.entries
        scan: NdpiScan | None = None
        is_ndpi = is_ndpi_level(header)
        if is_ndpi:
            rows, columns, tiled = NDPI_TILE, NDPI_TILE, True
        entries = {
            tag: entry
            for tag, entry in header.first.entries.items()
            if tag not in _NOT_KEPT and len(entry.data) <= MAX_ENTRY_BYTES
        }
        if is_ndpi:  # it is written as a pyramid of tiles, and must not be taken for NDPI again
            if isinstance(page.decoded, NdpiLevel):
                scan = NdpiScan.of(page.decoded, header.first, MAX_ENTRY_BYTES)
            entries = {tag: one for tag, one in entries.items() if tag not in OF_NDPI}
            sizes = {LENGTH: page.record["height"], WIDTH: page.record["width"]}
            if any(header.first.integer(tag) != size for tag, size in sizes.items()):
                entries |= {tag: long_entry(n, header.order) for tag, n in sizes.items()}
            side = np.array([NDPI_TILE], f"{header.order}u2").tobytes()
            entries |= dict.fromkeys((TILE_WIDTH, TILE_LENGTH), Entry(3, 1, side))
        return cls(
            height=int(page.record["height"]),
            width=int(page.record["width"]),
            bands=page.count,
            dtype=page.dtype.name,
            tiled=tiled,
            block=(int(rows), int(columns)),
            apart=header.first.integer(PLANAR, 1) == 2 and page.count > 1,
            converted=bool(page.record["converted"]),
            entries=entries,
            scan=scan,
        )

    @property
    def has_streams(self) -> bool:
        """Whether its tiles are of a compression whose streams a store can keep."""
        entry = self.entries.get(COMPRESSION)
        if entry is None or entry.count != 1 or NDPI_LENS in self.entries:
            return False
        number = entry.data[:2]  # none of the numbers is another one in the other byte order
        return any(int.from_bytes(number, order) in FAMILIES for order in ("little", "big"))

    @property
    def grid_shape(self) -> tuple[int, int]:
        """Blocks of one plane: down, across."""
        return -(-self.height // self.block[0]), -(-self.width // self.block[1])

    def to_json(self) -> dict[str, Any]:
        told: dict[str, Any] = {
            name: getattr(self, name)
            for name in ("height", "width", "bands", "dtype", "tiled", "apart", "converted")
        }
        told |= {} if self.scan is None else {"scan": self.scan.to_json()}
        return {**told, "block": list(self.block), "entries": entries_to_json(self.entries)}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> PageLayout:
        """Return the layout that ``to_json`` was called on; ValueError or the like for others."""
        sizes = [fields[name] for name in ("height", "width", "bands")] + list(fields["block"])
        if not all(type(size) is int and size > 0 for size in sizes):
            raise ValueError("sizes of a page")
        rows, columns = fields["block"]
        scan = fields.get("scan")
        flags = {name: bool(fields[name]) for name in ("tiled", "apart", "converted")}
        return cls(
            height=fields["height"],
            width=fields["width"],
            bands=fields["bands"],
            dtype=str(fields["dtype"]),
            block=(rows, columns),
            entries=entries_from_json(fields["entries"]),
            scan=None if scan is None else NdpiScan.from_json(scan),
            **flags,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredSlide:
    """A slide's file, as a store tells of it."""

    name: str
    big: bool
    order: str
    """"<" or ">": of the values of entries."""
    below: bool
    """Whether further levels hang below the pages of the first."""
    levels: tuple[tuple[PageLayout, ...], ...]


def dump_slide(
    levels: Sequence[Sequence[PageLayout]],
    *,
    name: str,
    big: bool,
    order: str,
    below: bool,
    beside: Sequence[str],
    plain: bool,
) -> tuple[bytes, Counter[str]]:
    """Return the record as JSON, and what was left out of it, counted.

    ``plain`` leaves out what may tell of a person: all entries but some of numbers.
    """
    went: Counter[str] = Counter()
    told: list[list[dict[str, Any]]] = []
    for level in levels:
        told.append([])
        for page in level:
            fields = page.to_json()
            if plain:
                fields.pop("scan", None)
                dropped = [tag for tag in page.entries if tag not in _PLAIN]
                went.update(f"TIFF tag {tag}" for tag in dropped if tag != JPEG_TABLES)
                for tag in dropped:
                    del fields["entries"][str(tag)]
            told[-1].append(fields)
    has_scans = any("scan" in page for level in told for page in level)
    record = {
        "version": WITH_SCANS_VERSION if has_scans else RECORD_VERSION,
        "name": name,
        "big": big,
        "order": order,
        "below": below,
        "left_out": dict(sorted(Counter(beside).items())),
        "levels": told,
    }
    return json.dumps(record, sort_keys=True, separators=(",", ":")).encode(), went


def parse_slide(data: bytes) -> StoredSlide:
    """Return the record that ``dump_slide`` wrote. Raises ValueError for anything else."""
    try:
        record = json.loads(data)
        known = record["version"] in (RECORD_VERSION, WITH_SCANS_VERSION)
        if not known or record["order"] not in ("<", ">"):
            raise ValueError("another version")
        levels = tuple(tuple(map(PageLayout.from_json, level)) for level in record["levels"])
        if not levels or not all(levels) or len({len(level) for level in levels}) > 1:
            raise ValueError("levels of pages")
        return StoredSlide(
            name=str(record["name"]),
            big=bool(record["big"]),
            order=str(record["order"]),
            below=bool(record["below"]),
            levels=levels,
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError("no record of a slide") from error
