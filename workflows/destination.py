"""Decide where a store goes, and whether what lies there may be continued, kept or replaced."""

from __future__ import annotations

import contextlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tilepress.codecs.errors import DestinationConflict, TilepressError, UsageError
from tilepress.pipeline.discover import store_path
from tilepress.pipeline.source import SourceSpec
from tilepress.pipeline.store import StoreReader, is_sealed, remove_store
from tilepress.workflows.ledger import Ledger, remove_plans
from tilepress.workflows.plan import ImagePlan

__all__ = ["Destination", "prepare_store", "state_of_store"]

StoreState = Literal["absent", "begun", "sealed", "other"]


@dataclass(frozen=True, slots=True)
class Destination:
    """One store (``*.zarr``) or an archive: a folder of stores that mirrors the sources."""

    path: Path

    @property
    def is_store(self) -> bool:
        return self.path.suffix == ".zarr"

    @property
    def folder(self) -> Path:
        """The folder that the stores lie in or below."""
        return self.path.parent if self.is_store else self.path

    def store_of(self, spec: SourceSpec) -> Path:
        """Return the path of a discovered image's store."""
        if self.is_store:
            return self.path
        below = store_path(spec)
        return self.path / below.with_name(f"{below.name}.zarr")

    def holds_part(self, path: Path) -> bool:
        """Whether a path is a part of a store in here: our output, finished or not, is no input."""
        root, path = self.path.resolve(), path.resolve()
        if not path.is_relative_to(root):
            return False
        return self.is_store or any(
            part.endswith(".zarr") for part in path.relative_to(root).parts[:-1]
        )

    def check_writable(self) -> None:
        """Raise UsageError where nothing can be written here, before any work is done."""
        folder = self.folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if self.path.exists() and not self.path.is_dir():
                raise NotADirectoryError("a file of that name exists")
            handle, name = tempfile.mkstemp(prefix=".tilepress-", dir=folder)
            os.close(handle)
            os.unlink(name)
        except OSError as error:
            reason = error.strerror or str(error)
            raise UsageError(f"opening the destination: {reason}: {self.path}") from error


def state_of_store(plan: ImagePlan) -> StoreState:
    """Tell what lies where a plan's store goes.

    ``sealed`` and ``begun`` are this very plan, finished or not; ``other`` is anything else.
    """
    store = Path(plan.store)
    if not store.exists():
        return "absent"
    if is_sealed(store):
        return "sealed" if _sealed_digest(store) == plan.digest else "other"
    if Ledger(plan).exists:
        return "begun"
    return "absent" if store.is_dir() and not any(store.iterdir()) else "other"


def prepare_store(plan: ImagePlan, *, force: bool) -> Literal["write", "unchanged"]:
    """Make the way free for a plan; the caller holds the store's lease.

    Raises DestinationConflict where something else lies there and ``force`` does not say that it
    may go. An unfinished store of this plan is continued, with ``force`` too.
    """
    state = state_of_store(plan)
    if state == "sealed" and not force:
        return "unchanged"
    if state == "other" and not force:
        raise DestinationConflict(
            f"writing {plan.store}: it exists and holds another image, other options or an older "
            "version of the source; choose another destination or pass --force to replace it"
        )
    if state in ("sealed", "other"):
        _remove(Path(plan.store))
    if state != "begun":
        remove_plans(Path(plan.store))
    Ledger(plan).create()
    return "write"


def _sealed_digest(store: Path) -> str | None:
    """Return the digest of the plan that a sealed store was written by; None where unknown."""
    with contextlib.suppress(TilepressError, OSError, ValueError, KeyError):
        return str(StoreReader.open(store).statement.get("plan_digest"))
    return None


def _remove(store: Path) -> None:
    if not store.is_dir() or store.is_symlink():
        raise DestinationConflict(f"replacing {store}: it is no folder; remove it yourself")
    remove_store(store)
