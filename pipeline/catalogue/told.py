"""Tell what a store or an archive holds, as values that notebooks show as tables."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tilepress.errors import UsageError
from tilepress.pipeline.catalogue.listed import ListedStore, listed_store
from tilepress.pipeline.catalogue.stores import COLUMNS, Totals, is_store, list_lines, list_stores
from tilepress.pipeline.read.tables import paragraph, table
from tilepress.pipeline.storage.path import AnyPath, storage_path
from tilepress.pipeline.storage.text import compared
from tilepress.pipeline.store.reader import StoreReader
from tilepress.pipeline.store.summary import read_summary

__all__ = ["Listing", "StoreInfo", "info", "ls", "short"]

SHOWN = 100
"""Stores of a listing that a notebook shows."""

SHOWN_AS_TEXT = 20
"""And that a prompt does."""

_TILE_CLASS_DB = 0.5
"""A tile's PSNR is less than this above that of its class (STORE.md, ``loss_measured``)."""


class Listing(list[ListedStore]):
    """The stores of an archive, whatever their state, in the order of their names."""

    @property
    def totals(self) -> Totals:
        """Numbers and sizes of all."""
        totals = Totals()
        for store in self:
            totals.add(store)
        return totals

    def __repr__(self) -> str:
        *lines, _ = list_lines(self[:SHOWN_AS_TEXT])
        hidden = len(self) - SHOWN_AS_TEXT
        more = [f"… and {hidden} more"] if hidden > 0 else []
        return "\n".join([*lines, *more, self.totals.line()])

    def _repr_html_(self) -> str:
        rows = [store.cells() for store in self[:SHOWN]]
        more = f"; the first {SHOWN} are shown" if len(self) > SHOWN else ""
        return table(rows, COLUMNS) + paragraph(self.totals.line() + more)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreInfo:
    """What a sealed store holds."""

    listed: ListedStore
    """Shape, type, sizes, loss, place."""
    path: str
    chunk: tuple[int, ...]
    levels: tuple[tuple[int, ...], ...]
    """Shapes of the levels of lower resolution."""
    bands: tuple[str, ...]
    """Names, or numbers from 1."""
    has_mask: bool
    source: tuple[str, ...]
    """Names of what is kept for export."""
    statement: Mapping[str, Any]
    """What the store says of itself: codec, model, loss, digests, versions."""
    attributes: Mapping[str, Any]
    """Those of the image."""

    def to_json(self) -> dict[str, Any]:
        """Return what ``tilepress info --json`` tells."""
        return {
            **self.listed.to_json(),
            "path": self.path,
            "chunk": list(self.chunk),
            "levels": list(map(list, self.levels)),
            "has_mask": self.has_mask,
            "source": list(self.source),
            "tilepress": dict(self.statement),
            "attributes": dict(self.attributes),
        }

    def __repr__(self) -> str:
        listed, count = self.listed, len(self.levels) + 1
        shape, chunk = ("×".join(map(str, sides)) for sides in (listed.shape, self.chunk))
        told = [
            f"{self.path}: {','.join(listed.axes)} {shape} {listed.dtype}",
            f"chunks {chunk}, levels {count}, {'with' if self.has_mask else 'without'} mask",
            f"bands {short(', '.join(self.bands), 100)}" if self.bands else "",
            ", ".join(filter(None, [*self._loss_words(), listed.crs, listed.modality])),
            f"tiles: {self.tiles}" if self.tiles else "",
            compared(listed.raw_bytes, listed.stored_bytes),
            "more in .statement, .attributes, .source",
        ]
        return "\n  ".join(filter(None, told))

    def _loss_words(self) -> Iterator[str]:
        """Yield what coding may have changed, and what it did."""
        if self.listed.max_error == 0:
            yield "lossless"
            return
        decibels = self.statement.get("psnr_db")
        if self.statement["loss"].get("target"):
            yield "lossy" if decibels is None else f"lossy (PSNR {decibels:.1f} dB)"
        if self.listed.max_error is not None:
            yield f"no sample off by more than {self.listed.max_error:g}"

    @property
    def tiles(self) -> str:
        """How good tiles are, each by itself, e.g. "12, PSNR 40.1 to 47.7 dB, half of them 43.3 or
        more, 2 without loss"; "" of a store that is not lossy, or of an earlier version.

        The PSNR of each lies within the range that is told: it is from the least that the worst may
        have to the most that the best may have."""
        told = self.statement.get("loss_measured", {}).get("tiles")
        if not told or not told["count"]:
            return ""
        words = [str(told["count"])]
        by_db = sorted((float(db), count) for db, count in told["psnr_db"].items())
        if by_db:
            words.append(f"PSNR {by_db[0][0]:.1f} to {by_db[-1][0] + _TILE_CLASS_DB:.1f} dB")
        better = told["exact"]
        for db, count in reversed(by_db if len(by_db) > 1 else []):
            better += count
            if 2 * better >= told["count"]:
                words.append(f"half of them {db:.1f} or more")
                break
        if told["exact"]:
            words.append(f"{told['exact']} without loss")
        return ", ".join(words)

    def _repr_html_(self) -> str:
        told = {k: v for k, v in self.to_json().items() if k not in ("tilepress", "attributes")}
        parts = [table((k, short(v)) for k, v in told.items() if v not in (None, {}, [], ""))]
        for name, values in (("tilepress", self.statement), ("attributes", self.attributes)):
            rows = table((key, short(value)) for key, value in values.items())
            parts.append(f"<details><summary>{name}</summary>{rows}</details>")
        return "".join(parts)


def info(store: AnyPath) -> StoreInfo | Listing:
    """Return what a store holds: shape, geometry, codec, loss statement, sizes.

    Of an archive that is what ``ls`` returns. Raises UsageError where there is neither, and what
    opening a store raises (UnsealedStore, DamagedStore, UnsupportedFormat, StoreError).
    """
    where = storage_path(store)
    if not where.exists():
        raise UsageError(f"opening {store}: no such file or folder")
    if where.is_folder() and not is_store(where):
        if listing := ls(store):
            return listing
        raise UsageError(f"opening {store}: it is no store, and there is none in it")
    reader, summary = StoreReader.open(where), read_summary(where)
    return StoreInfo(
        listed=listed_store(where.name, summary),
        path=str(store),
        chunk=reader.chunk,
        levels=tuple(reader.at_level(n).shape for n in range(1, reader.level_count)),
        bands=summary.bands,
        has_mask=reader.has_mask,
        source=tuple(sorted(reader.source_names())),
        statement=dict(reader.statement),
        attributes={k: v for k, v in reader.attrs.items() if k != "tilepress"},
    )


def ls(archive: AnyPath) -> Listing:
    """Return the stores of an archive; those that are unfinished, unreadable or gone say so.

    Raises UsageError where there is no folder.
    """
    return Listing(list_stores(archive))


def short(value: object, limit: int = 200) -> str:
    """Return a value as text that fits in a few lines."""
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= limit else f"{text[:limit]}…"
