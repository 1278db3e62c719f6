"""Replace a store without removing it first: the new one is written beside it, in one folder.

    scene.zarr/0/image/c/0/1      a shard of the old store         } one separator of chunks each,
    scene.zarr/0/image/c.0.1      the same shard of the new store  } both are there
    scene.zarr/0/zarr.json        a document: the old store's until the new one's chunks are there
    scene.zarr/zarr.json          the root document: goes over to the new store last, in one step
    .tilepress/scene.zarr/<digest>/replaces.json
                                  which store is replaced, with its documents but the root's

Whoever opened the old store finds its chunks until they are swept, and nothing at their keys from
then on: no reader takes a chunk of one store for one of the other. The root document tells which
store it is, and has a copy of all documents of its store. So a crash while the other documents are
going over leaves the old store whole for all that enter by the root. The same line goes on from
there; where the replacement is given up, the old documents are put back.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from tilepress.errors import DestinationConflict, StoreError
from tilepress.pipeline.archive.ledger import ledger_folder
from tilepress.pipeline.archive.plan import ImagePlan, Replaced
from tilepress.pipeline.storage.atomic import is_partial
from tilepress.pipeline.storage.local import FolderPath
from tilepress.pipeline.storage.path import AnyPath, StoragePath, storage_path
from tilepress.pipeline.storage.retry import retried
from tilepress.pipeline.store.keys import (
    IMAGE,
    ROOT_DOCUMENT,
    SEPARATOR,
    SIGNATURE,
    Separator,
    is_chunk_of,
    is_document,
    is_shared,
    other_separator,
    shard_key,
)
from tilepress.pipeline.store.manifest import sha256_hex
from tilepress.pipeline.store.reader import StoreReader
from tilepress.pipeline.store.signature import is_outdated

__all__ = [
    "REPLACES",
    "Replacement",
    "begin_replacement",
    "clear_replaced",
    "give_up",
    "going_on",
    "pending",
    "put_documents_back",
    "replacements",
]

REPLACES = "replaces.json"
"""Object of a ledger that says which store is replaced."""


@dataclass(frozen=True, slots=True)
class Replacement:
    """A store that is being replaced, or was and is not swept yet."""

    plan: str
    """Digest of the plan of the new store."""
    replaced: Replaced
    separator: Separator
    """Of the new store."""
    documents: dict[str, bytes]
    """The objects of the old store whose keys the new one has, too, but its root document."""

    def has(self, key: str) -> bool:
        """Whether an object is the new store's, or half of one, while the old one is in its place.

        Documents of the old one that the new one's are written over are not meant.
        """
        if is_shared(key):
            return key != ROOT_DOCUMENT and key not in self.documents
        return is_chunk_of(key, self.separator) or is_partial(Path(key))

    def excuses(self, key: str, digest: str) -> bool:
        """Whether an object of the old store may differ from ``digest``: the right one is kept."""
        data = self.documents.get(key)
        return data is not None and sha256_hex(data) == digest

    def to_json(self) -> bytes:
        fields = {
            "root": self.replaced.root,
            "separator": self.separator,
            "documents": {key: data.decode("latin-1") for key, data in self.documents.items()},
        }
        return json.dumps(fields, separators=(",", ":")).encode()

    @classmethod
    def from_json(cls, plan: str, data: bytes) -> Replacement:
        fields = json.loads(data)
        root = fields["root"]
        return cls(
            plan=plan,
            replaced=Replaced(None if root is None else str(root)),
            separator="." if fields["separator"] == "." else SEPARATOR,
            documents={
                str(key): str(text).encode("latin-1") for key, text in fields["documents"].items()
            },
        )


def begin_replacement(plan: ImagePlan) -> ImagePlan:
    """Note that a store is to be replaced; return the plan of the one that is written beside it.

    The caller holds the lease, and has removed every other plan of the store. Nothing that is there
    is touched. Raises DestinationConflict where what is there is no folder.
    """
    store = storage_path(plan.store)
    if isinstance(store, FolderPath) and (store.path.is_symlink() or not store.path.is_dir()):
        raise DestinationConflict(f"replacing {store}: it is no folder; remove it yourself")
    root = _root(store)
    found = Replacement(
        plan=plan.digest,
        replaced=Replaced(_digest(root)),
        separator=_free_separator(store, root),
        documents=dict(_shared_objects(store)),
    )
    retried(lambda: _mark_of(plan.store, plan.digest).write(found.to_json()))
    return _planned(plan, found)


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
    one that ended the old store goes, its documents first.
    """
    where = storage_path(store)
    found = replacements(where)
    if not found:
        return True
    root = _digest(_root(where))
    for one in found:
        if one.replaced.root == root:
            _put_back(where, one, check)
            _remove(where, one.has, check)
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
    _remove(where, lambda key: key not in kept and not manifest.lists(key, separator), check)
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
        if some:
            check()
            retried(partial(store.remove_all, some))


def _mark_of(store: AnyPath, digest: str) -> StoragePath:
    return ledger_folder(store) / digest / REPLACES


def _read(mark: StoragePath, plan: str) -> Replacement | None:
    """Return what a mark says; None where there is none, or half of one."""
    try:
        return Replacement.from_json(plan, retried(mark.read))
    except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _planned(plan: ImagePlan, found: Replacement) -> ImagePlan:
    return replace(plan, separator=found.separator, replaced=found.replaced)


def _root(store: StoragePath) -> bytes | None:
    found = retried((store / ROOT_DOCUMENT).read_tagged)
    return None if found is None else found[0]


def _digest(root: bytes | None) -> str | None:
    return None if root is None else sha256_hex(root)


def _shared_objects(store: StoragePath) -> Iterator[tuple[str, bytes]]:
    for key, _ in store.walk():
        if is_shared(key) and key != ROOT_DOCUMENT:
            yield key, retried((store / key).read)


def _free_separator(store: StoragePath, root: bytes | None) -> Separator:
    """Return the separator that the chunks of what is there do not have."""
    with contextlib.suppress(ValueError, KeyError, TypeError, RecursionError):
        image = json.loads(root or b"{}")["consolidated_metadata"]["metadata"][IMAGE]
        found = image["chunk_key_encoding"]["configuration"]["separator"]
        return other_separator("." if found == "." else SEPARATOR)
    # no store of ours, or one whose root document is damaged
    first = store / shard_key("image", ())
    return other_separator(SEPARATOR) if first.is_folder() else SEPARATOR
