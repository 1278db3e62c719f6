"""Replace a store without removing it first: the new one is written beside it, in one folder.

    scene.zarr/0/image/c/0/1      a shard of the old store         } one separator of chunks each,
    scene.zarr/0/image/c.0.1      the same shard of the new store  } both are there
    scene.zarr/0/zarr.json        a document: the old store's until the new one's chunks are there
    scene.zarr/zarr.json          the root document: goes over to the new store last, in one step
    .tilepress/scene.zarr/<digest>/replaces.json
                                  which store is replaced, with its documents but the root's, and
                                  the keys that the new one can have

Whoever opened the old store finds its chunks until they are swept, and nothing at their keys from
then on: no reader takes a chunk of one store for one of the other. The root document tells which
store it is, and has a copy of all documents of its store. So a crash while the other documents are
going over leaves the old store whole for all that enter by the root. The same line goes on from
there; where the replacement is given up, the old documents are put back.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from tilepress.errors import DestinationConflict, StoreError
from tilepress.pipeline.archive.lease import LeaseLost
from tilepress.pipeline.archive.ledger import REPLACES, remove_plans
from tilepress.pipeline.archive.own_keys import OwnKeys
from tilepress.pipeline.archive.plan import ImagePlan, Replaced, ledger_folder
from tilepress.pipeline.image.names import stays_below
from tilepress.pipeline.storage.links import check_no_links_below
from tilepress.pipeline.storage.local import FolderPath
from tilepress.pipeline.storage.path import AnyPath, StoragePath, storage_path
from tilepress.pipeline.storage.retry import retried
from tilepress.pipeline.store.keys import (
    IMAGE,
    ROOT_DOCUMENT,
    SEPARATOR,
    SIGNATURE,
    Separator,
    document_key,
    is_chunk_of,
    is_document,
    is_shared,
    other_separator,
)
from tilepress.pipeline.store.manifest import sha256_hex
from tilepress.pipeline.store.reader import StoreReader
from tilepress.pipeline.store.signature import is_outdated

__all__ = [
    "Replacement",
    "begin_replacement",
    "clear_replaced",
    "give_up",
    "going_on",
    "pending",
    "put_documents_back",
    "replacements",
]

IMAGE_DOCUMENT = document_key(IMAGE)

BATCH = 100
"""Objects that are removed at a time, before the lease and the root document are looked at again:
a process that slept has another one's store before it when it wakes."""


@dataclass(frozen=True, slots=True)
class Replacement:
    """A store that is being replaced, or was and is not swept yet."""

    plan: str
    """Digest of the plan of the new store."""
    replaced: Replaced
    own: OwnKeys
    """Of the new store."""
    documents: dict[str, bytes]
    """The objects of what is replaced whose keys the new store can have, too: its documents but the
    root's, and chunks of arrays without axes."""
    kept: frozenset[str] = frozenset()
    """Other keys that the new store can have and that were there before, in no store of ours."""

    def has(self, key: str) -> bool:
        """Whether an object is the new store's, or half of one, while the old one is in its place.

        Documents of the old one that the new one's are written over are not meant.
        """
        if key == ROOT_DOCUMENT or key in self.documents or key in self.kept:
            return False
        return self.own.has(key)

    def excuses(self, key: str, digest: str) -> bool:
        """Whether an object of the old store may differ from ``digest``: the right one is kept."""
        data = self.documents.get(key)
        return data is not None and sha256_hex(data) == digest

    def to_json(self) -> bytes:
        fields = {
            "root": self.replaced.root,
            **self.own.to_json(),
            "kept": sorted(self.kept),
            "documents": {key: data.decode("latin-1") for key, data in self.documents.items()},
        }
        return json.dumps(fields, separators=(",", ":")).encode()

    @classmethod
    def from_json(cls, plan: str, data: bytes) -> Replacement:
        """Return what ``to_json`` wrote; ValueError or the like for what it writes for no store."""
        fields = json.loads(data)
        root, own = fields["root"], OwnKeys.from_json(fields)
        documents = {
            str(key): str(text).encode("latin-1") for key, text in fields["documents"].items()
        }
        for key in documents:  # they are put back: of an archive that somebody else has made, too
            if not (stays_below(key) and is_shared(key) and own.has(key)) or key == ROOT_DOCUMENT:
                raise ValueError("it names an object that is none of the store")
        return cls(
            plan=plan,
            replaced=Replaced(None if root is None else str(root)),
            own=own,
            kept=frozenset(str(key) for key in fields["kept"]),
            documents=documents,
        )


def begin_replacement(plan: ImagePlan) -> ImagePlan:
    """Note that a store is to be replaced; return the plan of the one that is written beside it.

    The caller holds the lease. Every other plan of the store is forgotten; nothing that is there is
    touched. Raises DestinationConflict where what is there is no folder, or leaves no room.
    """
    store = storage_path(plan.store)
    if isinstance(store, FolderPath) and (store.path.is_symlink() or not store.path.is_dir()):
        raise DestinationConflict(f"replacing {store}: it is no folder; remove it yourself")
    found = _beside(plan, store)
    remove_plans(plan.store)
    retried(lambda: _mark_of(plan.store, plan.digest).write(found.to_json()))
    return _planned(plan, found)


def _beside(plan: ImagePlan, store: StoragePath) -> Replacement:
    """Return how a plan's store is written beside what is there."""
    keys = [key for key, _ in store.walk()]
    known = _separator_of_ours(store)
    own = OwnKeys.of(plan, _free_separator(store, plan, keys) if known is None else known)
    shared = {key for key in keys if own.has(key) and is_shared(key) and key != ROOT_DOCUMENT}
    # a store of ours lists what it consists of: no chunk with the other separator is its own
    others = () if known is not None else (key for key in keys if own.has(key))
    return Replacement(
        plan=plan.digest,
        replaced=Replaced(_digest(_root(store))),
        own=own,
        documents={key: retried((store / key).read) for key in sorted(shared)},
        kept=frozenset(others) - shared - {ROOT_DOCUMENT},
    )


def going_on(plan: ImagePlan) -> ImagePlan | None:
    """Return a plan as ``begin_replacement`` did, where its replacement was begun and not ended."""
    found = pending(plan.store, plan.digest)
    return None if found is None else _planned(plan, found)


def pending(store: AnyPath, digest: str) -> Replacement | None:
    """Return the replacement by the plan with this digest while the old store is in its place."""
    found = _read(_mark_of(store, digest), digest)
    if found is None or found.replaced.root != _digest(_root(storage_path(store))):
        return None
    return found


def replacements(store: AnyPath) -> list[Replacement]:
    """Return the replacements of a store that are not ended or not swept."""
    folder = ledger_folder(store)
    if not folder.is_folder():
        return []
    found = (_read(folder / name / REPLACES, name) for name in folder.folders())
    return [one for one in found if one is not None]


def clear_replaced(store: AnyPath, check: Callable[[], None] = lambda: None) -> bool:
    """Remove what is not of the store that is in its place now; False where that cannot be told.

    The caller holds the lease, as ``check`` raises where it does not. Of a replacement that was
    given up nothing stays: documents of the old store that were written over are put back first. Of
    one that ended the old store goes, its documents first. Raises DestinationConflict where folders
    of the store are links.
    """
    where = storage_path(store)
    found = replacements(where)
    if not found:
        return True
    check_no_links_below(where, where)
    root = _digest(_root(where))

    def still() -> None:
        check()
        if _digest(_root(where)) != root:
            raise LeaseLost(f"clearing {where}: another process has sealed it meanwhile")

    for one in found:
        if one.replaced.root == root:
            _put_back(where, one, still)
            _remove(where, one.has, still)
    if any(one.replaced.root == root for one in found):
        return True
    if root is None:
        return False  # the root document is lost that would tell
    try:
        reader = StoreReader.open(where)
        manifest, separator = reader.manifest, reader.separator
        kept = () if is_outdated(where) else (SIGNATURE,)  # one may have been signed since
    except StoreError:
        return False  # it is damaged: who knows what it lists
    _remove(where, lambda key: key not in kept and not manifest.lists(key, separator), still)
    return True


def give_up(store: AnyPath, check: Callable[[], None]) -> None:
    """End every replacement of a store that can be ended, and forget it; the store is repaired."""
    found = replacements(store)
    if found and clear_replaced(store, check):
        for one in found:
            retried((ledger_folder(store) / one.plan).remove_tree)


def put_documents_back(plan: ImagePlan, check: Callable[[], None]) -> None:
    """Put the old store's documents back where a seal failed before the root document went over.

    Storage that failed may fail again: the next run does it then.
    """
    with contextlib.suppress(OSError, StoreError):
        found = pending(plan.store, plan.digest)
        if found is not None:
            _put_back(storage_path(plan.store), found, check)


def _put_back(store: StoragePath, given_up: Replacement, check: Callable[[], None]) -> None:
    for key, data in given_up.documents.items():
        if (store / key).sha256() != sha256_hex(data):
            check()
            retried(partial((store / key).write, data))


def _remove(store: StoragePath, unwanted: Callable[[str], bool], check: Callable[[], None]) -> None:
    keys = [key for key, _ in store.walk() if unwanted(key)]
    # without its documents nobody can open what is being removed, and take absence for fill value
    documents = [key for key in keys if is_document(key)]
    for some in (documents, [key for key in keys if not is_document(key)]):
        for start in range(0, len(some), BATCH):
            check()
            retried(partial(store.remove_all, some[start : start + BATCH]))


def _mark_of(store: AnyPath, digest: str) -> StoragePath:
    return ledger_folder(store) / digest / REPLACES


def _read(mark: StoragePath, plan: str) -> Replacement | None:
    """Return what a mark says; None where there is none, or half of one."""
    try:
        return Replacement.from_json(plan, retried(mark.read))
    except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _planned(plan: ImagePlan, found: Replacement) -> ImagePlan:
    return replace(plan, separator=found.own.separator, replaced=found.replaced)


def _root(store: StoragePath) -> bytes | None:
    found = retried((store / ROOT_DOCUMENT).read_tagged)
    return None if found is None else found[0]


def _digest(root: bytes | None) -> str | None:
    return None if root is None else sha256_hex(root)


def _separator_of_ours(store: StoragePath) -> Separator | None:
    """Return the separator that a store of ours has not; None where none is there, or damaged."""
    with contextlib.suppress(StoreError):
        return other_separator(StoreReader.open(store).separator)
    return None


def _free_separator(store: StoragePath, plan: ImagePlan, keys: Sequence[str]) -> Separator:
    """Return the separator that no chunk has of what is there, or at least none at a key of ours.

    Raises DestinationConflict where there is neither.
    """
    both: tuple[Separator, ...] = (SEPARATOR, other_separator(SEPARATOR))
    taken = {found for found in both if any(is_chunk_of(key, found) for key in keys)}
    if IMAGE_DOCUMENT in keys:  # a sparse array lacks chunks whose keys are its own
        taken |= _declared(retried((store / IMAGE_DOCUMENT).read))
    for separator in both:
        if separator not in taken:
            return separator
    for separator in both:
        own = OwnKeys.of(plan, separator)
        if not any(own.has(key) and not is_shared(key) for key in keys):
            return separator
    raise DestinationConflict(
        f"replacing {store}: it holds chunks of two stores, and no root document of ours tells "
        "which is which; run tilepress repair, or choose another destination"
    )


def _declared(document: bytes) -> set[Separator]:
    """Return the separator of chunks that an array's document names; {} where it is none."""
    with contextlib.suppress(ValueError, KeyError, TypeError, RecursionError):
        encoding = json.loads(document)["chunk_key_encoding"]
        found = encoding.get("configuration", {}).get("separator", SEPARATOR)
        return {"."} if found == "." else {SEPARATOR}
    return set()
