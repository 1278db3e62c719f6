"""List the stores of an archive, sealed or not, with what people ask of them first."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tilepress.codecs.errors import TilepressError, UnsealedStore, UsageError
from tilepress.pipeline.store import StoreReader

__all__ = ["StoreSummary", "find_stores", "is_store", "list_stores", "summarize"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreSummary:
    """One line of ``tilepress ls``."""

    path: str
    """Below the archive."""
    state: str
    """"sealed", "unsealed" (writing has not finished) or "unreadable"."""
    axes: tuple[str, ...] = ()
    shape: tuple[int, ...] = ()
    dtype: str = ""
    raw_bytes: int = 0
    stored_bytes: int = 0
    max_error: float = 0.0
    """0 is lossless."""
    crs: str | None = None
    modality: str | None = None
    """DICOM modality, e.g. "CT"."""
    problem: str | None = None
    """Why the store cannot be read."""

    @property
    def ratio(self) -> float:
        return self.raw_bytes / max(1, self.stored_bytes)

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "ratio": round(self.ratio, 4)}


def is_store(path: Path) -> bool:
    """Whether a path is one store rather than an archive, by name or by content."""
    return path.suffix == ".zarr" or (path / "zarr.json").exists()


def find_stores(path: Path) -> list[Path]:
    """Return a store itself, or every store below an archive in the order of their names."""
    if not path.is_dir():
        raise UsageError(f"looking for stores: no folder at {path}")
    return [path] if is_store(path) else list(_walk(path))


def list_stores(archive: Path) -> Iterator[StoreSummary]:
    """Summarize every store of an archive."""
    for store in find_stores(archive):
        name = store.name if store == archive else str(store.relative_to(archive))
        yield summarize(store, name)


def summarize(store: Path, name: str) -> StoreSummary:
    """Read what one store says of itself; never raises for a damaged store."""
    try:
        reader = StoreReader.open(store)
        attributes = reader.attrs
        statement = reader.statement
        return StoreSummary(
            path=name,
            state="sealed",
            axes=tuple(reader.axes),
            shape=tuple(reader.shape),
            dtype=reader.dtype.name,
            raw_bytes=int(statement["raw_bytes"]),
            stored_bytes=int(statement["stored_bytes"]),
            max_error=float(reader.max_error),
            crs=_crs_name(attributes),
            modality=_text(attributes.get("modality")),
        )
    except UnsealedStore:
        return StoreSummary(path=name, state="unsealed")
    except TilepressError as error:
        return StoreSummary(path=name, state="unreadable", problem=str(error))
    except (OSError, ValueError, KeyError, TypeError) as error:
        return StoreSummary(
            path=name, state="unreadable", problem=f"reading {name}: {type(error).__name__}"
        )


def _walk(folder: Path) -> Iterator[Path]:
    """Yield stores below a folder without looking into them."""
    with os.scandir(folder) as entries:
        folders = sorted(e.name for e in entries if e.is_dir(follow_symlinks=False))
    for name in folders:
        path = folder / name
        if is_store(path):
            yield path
        elif not name.startswith("."):
            yield from _walk(path)


def _crs_name(attributes: Mapping[str, Any]) -> str | None:
    """Return e.g. "EPSG:32621"; "local" for a CRS without a code; None without a CRS."""
    code = attributes.get("proj:code")
    if code:
        return str(code)
    return "local" if attributes.get("proj:wkt2") else None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
