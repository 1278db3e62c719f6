"""List the stores of an archive: what is sealed, unfinished, unreadable or gone.

The catalogue remembers every store that was sealed when it was written, with a mark of the store's
root document. A store whose mark is the same is told from the catalogue, for one look at its root
document; any other is opened. So a list is quick, and a stale catalogue is never believed.
"""

from __future__ import annotations

import contextlib
import json
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from typing import TypeVar

from tilepress.errors import TilepressError, UnsealedStore, UsageError
from tilepress.pipeline.catalogue.index import Entry, Index, merged
from tilepress.pipeline.catalogue.item_keys import THUMBNAILS
from tilepress.pipeline.catalogue.listed import ListedStore, listed_store
from tilepress.pipeline.storage.path import AnyPath, StoragePath, storage_path
from tilepress.pipeline.store.keys import ROOT_DOCUMENT
from tilepress.pipeline.store.summary import read_summary

__all__ = [
    "CATALOGUE",
    "COLUMNS",
    "READERS",
    "Totals",
    "find_stores",
    "gone_stores",
    "is_catalogue_object",
    "is_store",
    "list_json",
    "list_lines",
    "list_stores",
    "several",
    "summarize",
    "walk_stores",
]

CATALOGUE = "catalogue"
"""The folder of an archive that holds its catalogue."""

READERS = 16
"""Stores that are looked at at a time: in a bucket every look is a round trip."""

WIDTH_ROWS = 500
"""Lines of a list that decide how wide its columns are."""

COLUMNS = ("store", "axes", "shape", "dtype", "ratio", "max error", "CRS / modality")
"""Heads of the columns that a store's ``cells`` fill."""

T = TypeVar("T")
R = TypeVar("R")


@dataclass(slots=True)
class Totals:
    """What a list adds up to; sizes are those of sealed stores."""

    states: Counter[str] = field(default_factory=Counter)
    raw_bytes: int = 0
    stored_bytes: int = 0

    def add(self, summary: ListedStore) -> None:
        self.states[summary.state] += 1
        if summary.state == "sealed":
            self.raw_bytes += summary.raw_bytes
            self.stored_bytes += summary.stored_bytes

    @property
    def ratio(self) -> float:
        return self.raw_bytes / max(1, self.stored_bytes)

    def line(self) -> str:
        """Return e.g. "3 stores (1 unsealed), 1.2 GB → 0.5 GB (ratio 2.40)"."""
        from tilepress.pipeline.storage.text import compared

        count = self.states.total() - self.states["missing"]
        others = [
            f"{self.states[state]} {state}"
            for state in ("unsealed", "unreadable", "missing")
            if self.states[state]
        ]
        told = f"{count} store{'' if count == 1 else 's'}"
        told += f" ({', '.join(others)})" if others else ""
        if not self.states["sealed"]:
            return told
        return f"{told}, {compared(self.raw_bytes, self.stored_bytes)}"


def is_store(path: AnyPath) -> bool:
    """Whether a path is one store rather than an archive, by name or by content."""
    where = storage_path(path)
    return where.suffix == ".zarr" or (where / ROOT_DOCUMENT).size() is not None


def is_catalogue_object(key: str) -> bool:
    """Whether an object below an archive, named by its key, is a part of the catalogue."""
    is_picture = key.startswith(f"{CATALOGUE}/{THUMBNAILS}/") and key.endswith(".webp")
    return is_picture or (key.startswith(f"{CATALOGUE}/") and key.endswith(".json"))


def find_stores(path: AnyPath) -> list[StoragePath]:
    """Return a store itself, or every store below an archive in the order of their names."""
    where = _existing(path)
    return [where] if is_store(where) else [where / key for key in walk_stores(where)]


def list_stores(archive: AnyPath) -> Iterator[ListedStore]:
    """Summarize every store of an archive in the order of their names, as a stream."""
    where = _existing(archive)
    if is_store(where):
        yield summarize(where, where.name)
        return
    pairs = merged(walk_stores(where), Index(where / CATALOGUE).entries())
    with ThreadPoolExecutor(READERS, thread_name_prefix="list") as pool:
        for summary in several(pool, lambda pair: _told(where, *pair), pairs):
            if summary is not None:
                yield summary


def gone_stores(archive: StoragePath) -> Iterator[tuple[StoragePath, str]]:
    """Yield the stores that the catalogue lists and the archive has no more, and what to do."""
    for summary in list_stores(archive):
        if summary.state == "missing":
            text = "the catalogue lists it, and it is gone; compress its source again"
            yield archive / summary.path, text


def summarize(store: AnyPath, name: str) -> ListedStore:
    """Read what one store says of itself; never raises for a damaged store."""
    try:
        return listed_store(name, read_summary(store))
    except UnsealedStore:
        return ListedStore(path=name, state="unsealed")
    except TilepressError as error:
        return ListedStore(path=name, state="unreadable", problem=str(error))
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        return ListedStore(path=name, state="unreadable", problem=f"reading {name}: {reason}")


def list_lines(summaries: Iterable[ListedStore]) -> Iterator[str]:
    """Yield a list as lines of text, column names first and totals last, as a stream.

    The first lines decide how wide the columns are; what is wider later pushes its line out.
    """
    totals = Totals()
    stream = iter(summaries)
    first = list(islice(stream, WIDTH_ROWS))
    rows = [COLUMNS, *(summary.cells() for summary in first)]
    widths = [max(map(len, column)) for column in zip(*(r for r in rows), strict=True)]
    yield _line(COLUMNS, widths)
    for summary in chain(first, stream):
        totals.add(summary)
        yield _line(summary.cells(), widths)
    yield totals.line()


def list_json(summaries: Iterable[ListedStore]) -> Iterator[str]:
    """Yield a list as the lines of one JSON array, as a stream."""
    opening = "["
    for summary in summaries:
        yield f"{opening} {json.dumps(summary.to_json())}"
        opening = ","
    yield "]" if opening == "," else "[]"


def walk_stores(archive: StoragePath) -> Iterator[str]:
    """Yield the keys of the stores below an archive, sorted part by part, as a stream.

    Stores are not looked into, hidden folders neither.
    """
    for name in _folders(archive):
        found = archive / name
        if is_store(found):
            yield name
        elif not name.startswith("."):
            yield from (f"{name}/{key}" for key in walk_stores(found))


def several(
    pool: ThreadPoolExecutor, function: Callable[[T], R], arguments: Iterable[T]
) -> Iterator[R]:
    """Yield the results in order, some calls ahead; memory does not grow with the arguments."""
    waiting: deque[Future[R]] = deque()
    try:
        for argument in arguments:
            waiting.append(pool.submit(function, argument))
            if len(waiting) > 4 * READERS:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()


def _told(archive: StoragePath, key: str, entry: Entry | None, present: bool) -> ListedStore | None:
    """Tell of one store, from the catalogue if that is still true."""
    if entry is not None:
        if not present:
            return replace(entry.summary, state="missing")
        with contextlib.suppress(OSError):
            if (archive / key / ROOT_DOCUMENT).tag() == entry.tag:
                return entry.summary
    summary = summarize(archive / key, key)
    if entry is None and summary.state == "unreadable" and not (archive / key).is_folder():
        return None  # removed while we looked
    return summary


def _existing(path: AnyPath) -> StoragePath:
    where = storage_path(path)
    if not where.is_folder():
        raise UsageError(f"looking for stores: no folder at {where}")
    return where


def _folders(where: StoragePath) -> list[str]:
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):  # removed while we looked
        return where.folders()
    return []


def _line(cells: tuple[str, ...], widths: list[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()
