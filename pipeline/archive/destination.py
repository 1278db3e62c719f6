"""Decide where a store goes, and whether what lies there may be continued, kept or replaced."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from tilepress.codecs.loss import Loss, Lossy
from tilepress.errors import (
    DestinationConflict,
    StoreError,
    TilepressError,
    UsageError,
)
from tilepress.pipeline.archive.digests import plan_digests
from tilepress.pipeline.archive.ledger import BEGUN, REPAIRS, REPLACES, Ledger, remove_plans
from tilepress.pipeline.archive.plan import ImagePlan, ledger_folder
from tilepress.pipeline.archive.private import archive_pseudonyms
from tilepress.pipeline.archive.replace import (
    begin_replacement,
    clear_replaced,
    going_on,
    pending,
    replacements,
)
from tilepress.pipeline.catalogue.stores import is_catalogue_object
from tilepress.pipeline.find.discover import store_path
from tilepress.pipeline.formats import has_private_names
from tilepress.pipeline.image.grid import ShardGrid
from tilepress.pipeline.image.made_levels import AUTO, MADE_LEVELS
from tilepress.pipeline.image.pseudonyms import UNNAMED, Pseudonyms
from tilepress.pipeline.image.source import SourceSpec
from tilepress.pipeline.kept.index import FolderIndex, is_kept
from tilepress.pipeline.privacy.profile import Profile
from tilepress.pipeline.privacy.recipe import DEIDENTIFIED, as_it_was, deidentified, renamed
from tilepress.pipeline.sources.levelled import with_made_levels
from tilepress.pipeline.sources.open import open_source
from tilepress.pipeline.storage.links import check_no_links_below
from tilepress.pipeline.storage.local import FolderPath
from tilepress.pipeline.storage.path import StoragePath, is_url, storage_path
from tilepress.pipeline.storage.s3 import BucketPath
from tilepress.pipeline.store.keys import (
    FULL_RESOLUTION,
    IMAGE,
    MANIFEST,
    ROOT_MANIFEST,
    array_key,
    document_key,
    level_image,
)
from tilepress.pipeline.store.reader import StoreReader
from tilepress.pipeline.store.salvage import Layout
from tilepress.pipeline.store.seal import is_sealed, read_root, remove_store, sealed_digest

__all__ = [
    "Destination",
    "Outlook",
    "check_prepared",
    "is_unchanged",
    "outlook",
    "prepare_store",
    "state_of_store",
    "what_stays",
]

Outlook = Literal["new", "begun", "replaced", "unchanged"]
"""What a run makes of an image: a store where none is, one that goes on, one in another's place."""

StoreState = Literal["absent", "begun", "replacing", "sealed", "other"]


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

    def deidentified(
        self, spec: SourceSpec, profile: Profile, pseudonyms: Pseudonyms
    ) -> SourceSpec:
        """Return the recipe of a discovered image de-identified, under a name that tells nothing.

        ``pseudonyms`` are those of ``deidentifying_pseudonyms``, for the folder here.
        """
        if not has_private_names(spec.kind) and not self.is_store:
            spec = renamed(spec, str(store_path(spec)), pseudonyms)
        return deidentified(spec, profile, pseudonyms, self.folder)

    def holds_part(self, source: str) -> bool:
        """Whether a source is a part of a store in here: our own output is no input."""
        below = _below(source, self.path)
        if below is None:
            return False
        if self.is_store or is_catalogue_object(below):
            return True
        return any(part.endswith(".zarr") for part in below.split("/")[:-1])

    def holds(self, source: str, known: dict[str, FolderIndex]) -> bool:
        """Whether a source is a part of a store in here, or a file that is kept beside them.

        ``known`` is for later calls.
        """
        if self.holds_part(source):
            return True
        below = None if self.is_store else _below(source, self.path)
        return below is not None and is_kept(self.path, below, known)

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
            here = os.path.realpath(root.path)  # and not resolve(), which links in circles end
            return Path(os.path.realpath(source)).relative_to(here).as_posix()
        return storage_path(source).relative_to(root)
    return None


def state_of_store(plan: ImagePlan) -> StoreState:
    """Tell what lies where a plan's store goes.

    ``sealed`` and ``begun`` are this very plan, finished or not; ``replacing`` is one that was
    begun beside something else, which is in its place; ``other`` is anything else.
    """
    store = storage_path(plan.store)
    if not store.exists():
        return "absent"
    if going_on(plan) is not None:
        return "replacing"
    if is_sealed(store):
        return "sealed" if sealed_digest(store) == plan.digest else "other"
    if Ledger(plan).exists:
        return "begun"
    return "absent" if store.is_folder() and next(store.walk(), None) is None else "other"


def is_unchanged(
    plan: ImagePlan, *, force: bool = False, prepared: bool = False, just_planned: bool = False
) -> bool:
    """Whether a plan need not be written: its store is sealed, and not to be replaced.

    ``prepared``: a replacement that was begun is one that parts were planned for. ``just_planned``:
    what was found there while it was planned is not looked at again.
    """
    store = storage_path(plan.store)
    known = just_planned and plan.seal_found == plan.digest
    if force or not (known or (is_sealed(store) and sealed_digest(store) == plan.digest)):
        return False
    return not (prepared and pending(store, plan.digest) is not None)


def prepare_store(plan: ImagePlan, *, force: bool) -> ImagePlan | None:
    """Make the way free for a plan; the caller holds the store's lease.

    Return the plan to write; None where its store is sealed already. With ``force`` nothing that is
    sealed, or not ours, is removed: the plan is one that is written beside it (``replace``). What
    was begun of this plan is continued. Raises DestinationConflict where something else lies there
    and ``force`` does not say that it may go, and where a folder in it is a link.
    """
    if is_unchanged(plan, force=force):
        return None
    check_no_links_below(storage_path(plan.store), storage_path(plan.store))
    state = state_of_store(plan)
    if state == "replacing" and force:
        return going_on(plan)
    if state in ("replacing", "other") and not force:
        raise DestinationConflict(f"writing {plan.store}: {_why_not(plan, state)}")
    if state == "sealed" and _has_replaced(plan):
        return None  # it was done but for the old store's rest
    if not clear_replaced(plan.store) and is_sealed(plan.store):
        raise DestinationConflict(
            f"replacing {plan.store}: it has replaced another one and is damaged; run tilepress "
            "repair first"
        )
    if state == "begun" and not replacements(plan.store):
        ledger = Ledger(plan)
        ledger.create()
        return replace(plan, separator=ledger.separator)
    if state != "absent" and not _is_rest(plan.store):
        plan = begin_replacement(plan)
        Ledger(plan).create()
        return plan
    remove_plans(plan.store)
    if state != "absent":
        _remove(storage_path(plan.store))  # the rest of another plan, which no reader can open
    Ledger(plan).create()
    return plan


def outlook(plan: ImagePlan, *, force: bool) -> Outlook:
    """Tell what ``prepare_store`` would come to, and write nothing. Raises as it does."""
    if is_unchanged(plan, force=force):
        return "unchanged"
    state = state_of_store(plan)
    if state in ("replacing", "other") and not force:
        raise DestinationConflict(f"writing {plan.store}: {_why_not(plan, state)}")
    if state in ("absent", "begun"):
        return "new" if state == "absent" else "begun"
    return "replaced"


def _has_replaced(plan: ImagePlan) -> bool:
    """Whether the sealed store of this plan has just replaced another one."""
    return any(one.plan == plan.digest for one in replacements(plan.store))


def check_prepared(plan: ImagePlan) -> ImagePlan:
    """Return the plan that a part writes, as the way was made free when the parts were planned.

    A part does not do so itself: others may be at work already. Raises DestinationConflict where
    the way is not free.
    """
    found = going_on(plan)
    if found is not None:
        return found
    if state_of_store(plan) == "other" or not Ledger(plan).exists:
        raise DestinationConflict(
            f"writing {plan.store}: it is not what was planned for parts; run tilepress plan again"
        )
    return replace(plan, separator=Ledger(plan).separator)


def what_stays(store: StoragePath, error: Exception) -> str:
    """Return what to say of a store that an error kept from being replaced; "" for nothing."""
    if isinstance(error, StoreError):
        return ""  # it says so itself, or another process has the store
    with contextlib.suppress(OSError):  # storage may be what failed
        if is_sealed(store):
            return "; the old store stays in its place"
    return ""


def _is_rest(store: str) -> bool:
    """Whether all that is there was begun in its own place and never was a store.

    A store whose root document is lost is none: it can be repaired. It has a manifest, or the
    document of its level where the manifest was in the root's, or a repair of it was begun.
    """
    folder, where = ledger_folder(store), storage_path(store)
    has_manifest = any((where / name).is_folder() for name in (MANIFEST, ROOT_MANIFEST))
    if is_sealed(store) or has_manifest or not folder.is_folder():
        return False
    if (where / document_key(FULL_RESOLUTION)).size() is not None:
        return False
    noted = {key.rpartition("/")[2] for key, _ in folder.walk()}
    return BEGUN in noted and not noted & {REPAIRS, REPLACES}


def _why_not(plan: ImagePlan, state: StoreState) -> str:
    """Say what is there, and what to do: to replace it is right where only options differ."""
    if state == "replacing":
        return "the old store is in its place, its replacement is not finished; go on with --force"
    if not is_sealed(plan.store):
        return "it exists and was not begun by this command; choose another destination"
    with contextlib.suppress(TilepressError, OSError, ValueError, KeyError, TypeError):
        reader = StoreReader.open(plan.store)
        options = _other_options(plan, reader) if _is_same_source(plan) else None
        if options is not None:
            return f"{options}; choose another destination or pass --force to replace it"
        there = "its source has changed since (name, size, time or header)"
        if (reader.shape, reader.dtype) != (plan.info.shape, plan.info.dtype):
            there = (
                f"it holds another image ({_dimensions(reader.shape)} {reader.dtype}, this one is "
                f"{_dimensions(plan.info.shape)} {plan.info.dtype})"
            )
        return f"{there}; it stays as it is: choose another destination"
    return (
        "it is sealed and what it was made of cannot be read; run tilepress repair or choose "
        "another destination"
    )


def _is_same_source(plan: ImagePlan) -> bool:
    """Whether a sealed store was made of a plan's source as it is now, with whatever options.

    With those of the store the source gives the digest that the store names. Raises SourceError or
    OSError where the source cannot be read, StoreError where the store does not tell.
    """
    root = read_root(plan.store)
    node = root.content["consolidated_metadata"]["metadata"][IMAGE]
    image = Layout.parse(node)
    levels = list(_levels(root.content["consolidated_metadata"]["metadata"]))
    digest = str(root.statement.get("plan_digest", ""))
    if image is None or not digest:
        raise root.lacks("plan_digest")
    how = node.get("attributes", {}).get(DEIDENTIFIED)
    spec = as_it_was(plan.spec, how, storage_path(plan.store).parent)
    spec = with_made_levels(spec, node.get("attributes", {}).get(MADE_LEVELS))
    with contextlib.closing(open_source(spec)) as source:
        return digest in plan_digests(source, image.grid, image.config, image.exact, levels)


def _levels(nodes: Mapping[str, Any]) -> Iterator[ShardGrid]:
    """Yield the grids of a store's levels, from 1 on."""
    number = 1
    while (found := Layout.parse(nodes.get(array_key(level_image(number))))) is not None:
        yield found.grid
        number += 1


def _other_options(plan: ImagePlan, reader: StoreReader) -> str | None:
    """Say how a store of this image was coded otherwise; None where it was not."""
    config, there = plan.codec_config, reader.statement
    was, will = reader.attrs.get(DEIDENTIFIED), plan.info.attributes.get(DEIDENTIFIED)
    if was != will:
        return f"it is {_told_of(was)}, this run's would be {_told_of(will)}"
    for name in ("codec", "tier"):
        if there[name] != config[name]:
            return f"it was written with {name} {there[name]}, this run has {config[name]}"
    if reader.loss != plan.loss:
        return _other_loss(reader.loss, plan.loss)
    if reader.exact.keys() != plan.info.exact.keys():
        there_are, will_be = _bands(reader.exact), _bands(plan.info.exact)
        return f"its bands that are lossless are {there_are}, this run's {will_be}"
    if there["model"]["sha256"] != config["model"]["sha256"]:
        return f"it was written with model {there['model']['name']}"
    if reader.chunk != plan.grid.chunk:
        return "its tiles have another size"
    if reader.level_count != 1 + len(plan.info.levels):
        return _other_levels(reader, len(plan.info.levels))
    return None


def _other_levels(reader: StoreReader, here: int) -> str:
    """Say how many levels a store has, this run has another number, and which option has them."""
    count = reader.level_count - 1
    text = f"it has {count} further level{'s' * (count != 1)}, this run's {here}"
    if not count:
        return f"{text}; tilepress levels adds some"
    made = reader.attrs.get(MADE_LEVELS)
    if made is None:
        return text
    halves = list(made["factors"]) == [2**n for n in range(1, count + 1)]
    return f"{text}; --levels {count if halves else AUTO} takes it as it is"


def _other_loss(there: Loss, here: Loss) -> str:
    if isinstance(there, Lossy) or isinstance(here, Lossy):
        return f"it was written with {there}, this run has {here}"
    return f"its max error is {there.bound}, this run's {here.bound}"


def _told_of(deidentified: Mapping[str, Any] | None) -> str:
    if deidentified is None:
        return "as its source was"
    return f"de-identified by {','.join(map(str, deidentified['options']))}"


def _bands(exact: Mapping[int, str]) -> str:
    return ", ".join(str(band + 1) for band in sorted(exact)) or "none"


def _dimensions(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape))


def _remove(store: StoragePath) -> None:
    if isinstance(store, FolderPath) and (store.path.is_symlink() or not store.path.is_dir()):
        raise DestinationConflict(f"replacing {store}: it is no folder; remove it yourself")
    remove_store(store)
