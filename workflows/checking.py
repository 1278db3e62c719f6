"""Verify one store or every store of an archive: sound, damaged, or unknown."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from tilepress.codecs.errors import DamagedStore, InvalidRecord, TilepressError, UsageError
from tilepress.pipeline.discover import discover, open_source
from tilepress.pipeline.source import SourceSpec, TileSource
from tilepress.pipeline.verify import verify
from tilepress.workflows.catalogue import find_stores
from tilepress.workflows.destination import store_name

__all__ = ["StoreCheck", "check_stores"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreCheck:
    """What a verification of one store found."""

    store: str
    state: Literal["sound", "damaged", "unknown"]
    findings: tuple[str, ...] = ()
    """Each damage, or the reason why it cannot be told."""

    def lines(self) -> list[str]:
        return [f"{self.store}: {text}" for text in (self.state, *self.findings)]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def check_stores(
    path: Path, source: Path | None = None, stack: str | None = None
) -> Iterator[StoreCheck]:
    """Verify a store, or each of an archive; ``source`` goes with one store only."""
    stores = find_stores(path)
    if not stores:
        raise UsageError(f"verifying: no stores in {path}")
    if source is not None and len(stores) > 1:
        raise UsageError(f"verifying {path}: --source goes with one store, got {len(stores)}")
    for store in stores:
        yield _check(store, source, stack)


def _check(store: Path, source: Path | None, stack: str | None) -> StoreCheck:
    try:
        if source is None:
            damages = verify(store)
        else:
            with contextlib.closing(_open_source(store, source, stack)) as opened:
                damages = verify(store, opened)
    except (DamagedStore, InvalidRecord) as error:
        return StoreCheck(store=str(store), state="damaged", findings=(str(error),))
    except UsageError:
        raise
    except TilepressError as error:
        return StoreCheck(store=str(store), state="unknown", findings=(str(error),))
    except OSError as error:
        text = f"reading {error.filename or store}: {error.strerror or type(error).__name__}"
        return StoreCheck(store=str(store), state="unknown", findings=(text,))
    state: Literal["sound", "damaged"] = "damaged" if damages else "sound"
    return StoreCheck(store=str(store), state=state, findings=tuple(map(str, damages)))


def _open_source(store: Path, path: Path, stack: str | None) -> TileSource:
    """Open the image below ``path`` that belongs to a store: the only one, or that of its name."""
    specs: list[SourceSpec] = []
    for item in discover([path], stack):
        if isinstance(item, SourceSpec):
            specs.append(item)
        elif Path(item.path) == path:
            raise item.error
    if len(specs) == 1:
        return open_source(specs[0])
    for spec in specs:
        source = open_source(spec)
        if store_name(spec, source.info) == store.stem:
            return source
        source.close()
    raise UsageError(
        f"verifying {store}: got {len(specs)} images in {path}, none of them named {store.stem}; "
        "name the image's file, and --stack where it is a stack"
    )
