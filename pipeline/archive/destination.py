"""Decide where a store goes, and whether what lies there may be continued, kept or replaced."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tilepress.errors import DestinationConflict, TilepressError, UsageError
from tilepress.pipeline.archive.ledger import Ledger, remove_plans
from tilepress.pipeline.archive.plan import ImagePlan
from tilepress.pipeline.archive.private import archive_pseudonyms
from tilepress.pipeline.catalogue.stores import is_catalogue_object
from tilepress.pipeline.find.discover import store_path
from tilepress.pipeline.image.pseudonyms import UNNAMED, Pseudonyms
from tilepress.pipeline.image.source import SourceSpec
from tilepress.pipeline.storage.local import FolderPath
from tilepress.pipeline.storage.path import StoragePath, is_url, storage_path
from tilepress.pipeline.storage.s3 import BucketPath
from tilepress.pipeline.store.reader import StoreReader
from tilepress.pipeline.store.seal import is_sealed, remove_store

__all__ = ["Destination", "check_prepared", "prepare_store", "sealed_digest", "state_of_store"]

StoreState = Literal["absent", "begun", "sealed", "other"]


@dataclass(frozen=True, slots=True)
class Destination:
    """One store (``*.zarr``) or an archive: a folder of stores that mirrors the sources."""

    path: StoragePath

    @property
    def is_store(self) -> bool:
        return self.path.suffix == ".zarr"

    @property
    def folder(self) -> StoragePath:
        """The folder that the stores lie in or below."""
        return self.path.parent if self.is_store else self.path

    def store_of(self, spec: SourceSpec) -> StoragePath:
        """Return the place of a discovered image's store."""
        if self.is_store:
            return self.path
        return self.path / f"{store_path(spec)}.zarr"

    def pseudonyms(self) -> Pseudonyms:
        """Return what identifiers are hashed with here; an archive gets its key by and by."""
        return UNNAMED if self.is_store else archive_pseudonyms(self.path)

    def holds_part(self, source: str) -> bool:
        """Whether a source is a part of a store in here: our own output is no input."""
        below = _below(source, self.path)
        if below is None:
            return False
        if self.is_store or is_catalogue_object(below):
            return True
        return any(part.endswith(".zarr") for part in below.split("/")[:-1])

    def check_writable(self) -> None:
        """Raise UsageError where nothing can be written here, before any work is done."""
        try:
            if self.path.size() is not None and not self.path.is_folder():
                raise NotADirectoryError("a file of that name exists")
            self.folder.check_writable()
        except OSError as error:
            reason = error.strerror or str(error)
            raise UsageError(f"opening the destination: {reason}: {self.path}") from error


def _below(source: str, root: StoragePath) -> str | None:
    """Return the key of a source below ``root``; None where it is elsewhere."""
    if is_url(source) != isinstance(root, BucketPath):
        return None
    with contextlib.suppress(ValueError):
        if isinstance(root, FolderPath):
            return Path(source).resolve().relative_to(root.path.resolve()).as_posix()
        return storage_path(source).relative_to(root)
    return None


def state_of_store(plan: ImagePlan) -> StoreState:
    """Tell what lies where a plan's store goes.

    ``sealed`` and ``begun`` are this very plan, finished or not; ``other`` is anything else.
    """
    store = storage_path(plan.store)
    if not store.exists():
        return "absent"
    if is_sealed(store):
        return "sealed" if sealed_digest(store) == plan.digest else "other"
    if Ledger(plan).exists:
        return "begun"
    return "absent" if store.is_folder() and next(store.walk(), None) is None else "other"


def sealed_digest(store: StoragePath) -> str | None:
    """Return the digest of the plan that wrote a sealed store; None where that is not known."""
    with contextlib.suppress(TilepressError, OSError, ValueError, KeyError):
        return str(StoreReader.open(store).statement.get("plan_digest"))
    return None


def prepare_store(plan: ImagePlan, *, force: bool) -> Literal["write", "unchanged"]:
    """Make the way free for a plan; the caller holds the store's lease.

    Raises DestinationConflict where something else lies there and ``force`` does not say that it
    may go. An unfinished store of this plan is continued, with ``force`` too.
    """
    state = state_of_store(plan)
    if state == "sealed" and not force:
        return "unchanged"
    if state == "other" and not force:
        there = _what_is_there(plan)
        way = "run tilepress repair" if there == _UNREADABLE else "choose another destination"
        raise DestinationConflict(
            f"writing {plan.store}: {there}; {way} or pass --force to replace it"
        )
    if state in ("sealed", "other"):
        _remove(storage_path(plan.store))
    if state != "begun":
        remove_plans(plan.store)
    Ledger(plan).create()
    return "write"


def check_prepared(plan: ImagePlan) -> None:
    """Raise DestinationConflict unless the way was made free when the parts were planned.

    A part does not do so itself: others may be at work already.
    """
    if state_of_store(plan) == "other" or not Ledger(plan).exists:
        raise DestinationConflict(
            f"writing {plan.store}: it is not what was planned for parts; run tilepress plan again"
        )


_UNREADABLE = "it is sealed and cannot be read"


def _what_is_there(plan: ImagePlan) -> str:
    """Say how what is there differs from what would be written."""
    if not is_sealed(plan.store):
        return "it exists and was not begun by this command"
    with contextlib.suppress(TilepressError, OSError, ValueError, KeyError, TypeError):
        reader = StoreReader.open(plan.store)
        config, there = plan.codec_config, reader.statement
        if (reader.shape, reader.dtype) != (plan.info.shape, plan.info.dtype):
            return (
                f"it holds another image ({_dimensions(reader.shape)} {reader.dtype}, this one is "
                f"{_dimensions(plan.info.shape)} {plan.info.dtype})"
            )
        for name in ("codec", "tier"):
            if there[name] != config[name]:
                return f"it was written with {name} {there[name]}, this run has {config[name]}"
        if reader.loss != plan.loss:
            return f"its max error is {reader.loss.bound}, this run's {plan.loss.bound}"
        if there["model"]["sha256"] != config["model"]["sha256"]:
            return f"it was written with model {there['model']['name']}"
        if reader.chunk != plan.grid.chunk:
            return "its tiles have another size"
        return "its source has changed since (name, size, time or header)"
    return _UNREADABLE


def _dimensions(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape))


def _remove(store: StoragePath) -> None:
    if isinstance(store, FolderPath) and (store.path.is_symlink() or not store.path.is_dir()):
        raise DestinationConflict(f"replacing {store}: it is no folder; remove it yourself")
    remove_store(store)
