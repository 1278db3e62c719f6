"""Verify one store or every store of an archive: sound, damaged, or unknown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from tilepress.errors import DamagedStore, InvalidRecord, TilepressError, UsageError
from tilepress.pipeline.catalogue.stores import find_stores, gone_stores
from tilepress.pipeline.find.match import Sources
from tilepress.pipeline.storage.path import Place, Where, place
from tilepress.pipeline.verify import verify

__all__ = ["StoreCheck", "check_stores"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreCheck:
    """What a verification of one store found."""

    store: str
    state: Literal["sound", "damaged", "unknown"]
    findings: tuple[str, ...] = ()
    """Each damage, or the reason why it cannot be told."""
    differs: bool = False
    """Whether all damage is that the source has other samples by now: the store itself is sound."""

    def lines(self) -> list[str]:
        state = "sound, and differs from its source" if self.differs else self.state
        return [f"{self.store}: {text}" for text in (state, *self.findings)]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def check_stores(
    path: Where, source: Sequence[str | Path] = (), stack: str | None = None
) -> Iterator[StoreCheck]:
    """Verify a store, or each of an archive; ``source`` is what all of them were made of.

    In an archive, images of ``source`` that have no store are listed as unknown at the end. What is
    no store and holds none is unknown; UsageError says that there is nothing at ``path``.
    """
    root = place(path)
    if not root.exists():
        raise UsageError(f"verifying {path}: no such file or folder")
    stores = [place(store) for store in find_stores(root)] if root.is_folder() else []
    if not stores:
        what = "it is a folder without tilepress stores" if root.is_folder() else "it is a file"
        text = f"verifying {path}: {what}, want a tilepress store"
        yield StoreCheck(store=str(path), state="unknown", findings=(text,))
        return
    archive = None if stores == [root] else root
    sources = Sources(source, stack=stack, archive=archive) if source else None
    for missing in sources.missing if sources is not None else ():
        raise UsageError(f"verifying against {missing.path}: {missing.error}")
    for store in stores:
        yield _check(store, sources, in_archive=archive is not None)
    if archive is not None:
        for gone, text in gone_stores(archive):
            yield StoreCheck(store=str(gone), state="damaged", findings=(text,))
    if sources is not None and archive is not None:
        for left in sources.left_over({store.relative_to(archive) for store in stores}):
            text = f"{path} holds no store of it"
            yield StoreCheck(store=left, state="unknown", findings=(text,))
        for failure in sources.failures:
            yield StoreCheck(store=failure.path, state="unknown", findings=(str(failure.error),))


def _check(store: Place, sources: Sources | None, *, in_archive: bool) -> StoreCheck:
    try:
        damages = verify(store, sources)
    except (DamagedStore, InvalidRecord) as error:
        return StoreCheck(store=str(store), state="damaged", findings=(str(error),))
    except TilepressError as error:
        if isinstance(error, UsageError) and not in_archive:
            raise
        return StoreCheck(store=str(store), state="unknown", findings=(str(error),))
    except OSError as error:
        text = f"reading {error.filename or store}: {error.strerror or type(error).__name__}"
        return StoreCheck(store=str(store), state="unknown", findings=(text,))
    state: Literal["sound", "damaged"] = "damaged" if damages else "sound"
    return StoreCheck(
        store=str(store),
        state=state,
        findings=tuple(map(str, damages)),
        differs=bool(damages) and all(damage.kind == "source" for damage in damages),
    )
