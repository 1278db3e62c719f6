"""Remember finished shards beside the store: one small JSON object per shard, no appends.

    ARCHIVE/scene.zarr/                        the store, without metadata until it is sealed
    ARCHIVE/.tilepress/scene.zarr/lease.json   who writes it now
    ARCHIVE/.tilepress/scene.zarr/<digest>/    what is done of the plan with this digest
        begun                                  it was begun (buckets have no empty folders)
        image-0.3.1.json                       one finished shard
        image-0.3.2.tries                      how often a part began a shard without finishing it
        replaces.json, repair.json             what is there is a store that is being replaced, or
                                               one that is being sealed anew

The folder is named by the store, so that one lease guards a store against every other plan.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from itertools import islice

from tilepress.codecs.measured import Measured
from tilepress.pipeline.archive.plan import ImagePlan, ShardRef, ledger_folder
from tilepress.pipeline.storage.path import AnyPath
from tilepress.pipeline.storage.retry import retried
from tilepress.pipeline.store.keys import SEPARATOR, Separator
from tilepress.pipeline.store.manifest import ShardEntry

__all__ = ["BEGUN", "REPAIRS", "REPLACES", "Ledger", "remove_plans"]

BEGUN = "begun"
"""Object of a ledger that says that its plan was begun."""

REPLACES = "replaces.json"
"""Object of a ledger that says which store is replaced."""

REPAIRS = "repair.json"
"""Object of a ledger that says how a store was coded which is being sealed anew."""

READERS = 8
"""Entries that are read at a time: from a bucket each takes a round trip."""


class Ledger:
    """The finished shards of one plan."""

    def __init__(self, plan: ImagePlan) -> None:
        self._folder = ledger_folder(plan.store) / plan.digest
        self._plan_separator = plan.separator

    @property
    def exists(self) -> bool:
        """Whether this very plan was begun before and is not sealed."""
        return self._folder.is_folder()

    def create(self) -> None:
        """Begin; what separates the numbers in keys of chunks is noted where it is not "/"."""
        (self._folder / BEGUN).create(b"" if self._plan_separator == SEPARATOR else b".")

    @property
    def separator(self) -> Separator:
        """The separator of the chunks that were begun."""
        found = (self._folder / BEGUN).read_tagged()
        return "." if found is not None and found[0] == b"." else SEPARATOR

    def record(self, entry: ShardEntry) -> None:
        """Note a finished shard; on return it survives a power cut."""
        fields = asdict(entry)
        fields["measured"] = entry.measured and entry.measured.to_json()
        for name in ("measured", "irreversible", "recoded"):
            if not fields[name]:
                del fields[name]
        data = json.dumps(fields, separators=(",", ":")).encode("ascii")
        (self._folder / f"{ShardRef(entry.array, entry.index).name}.json").write(data)

    def get(self, ref: ShardRef) -> ShardEntry | None:
        """Return the entry of a shard; None where it is missing or unreadable."""
        try:
            return _parse_entry((self._folder / f"{ref.name}.json").read())
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None

    def entries(self, plan: ImagePlan) -> Iterator[ShardEntry]:
        """Yield the entries of a plan's shards in their order; those without one are left out."""
        refs = plan.shards()
        with ThreadPoolExecutor(READERS) as pool:
            while batch := list(islice(refs, 16 * READERS)):
                yield from (entry for entry in pool.map(self.get, batch) if entry is not None)

    def missing(self, refs: Iterable[ShardRef]) -> list[ShardRef]:
        """Return which of the shards have no entry."""
        names = {key for key, _ in self._folder.walk()}
        return [ref for ref in refs if f"{ref.name}.json" not in names]

    def begin(self, ref: ShardRef) -> int:
        """Note that a shard is begun; return how often it was begun before without an end."""
        mark = self._folder / f"{ref.name}.tries"
        found = mark.read_tagged()
        tries = int(found[0]) if found is not None and found[0].isdigit() else 0
        mark.write(b"%d" % (tries + 1))
        return tries

    def end(self, ref: ShardRef) -> None:
        """Take back ``begin``: the shard was written, or failed with an error."""
        (self._folder / f"{ref.name}.tries").remove()

    def remove(self) -> None:
        """Forget everything: the store is sealed. What storage keeps, a later run removes."""
        with contextlib.suppress(OSError):
            retried(self._folder.remove_tree)


def remove_plans(store: AnyPath) -> None:
    """Forget every plan of a store: its files are about to be removed."""
    folder = ledger_folder(store)
    if folder.is_folder():
        for name in folder.folders():
            (folder / name).remove_tree()


def _parse_entry(data: bytes) -> ShardEntry:
    fields = json.loads(data)
    return ShardEntry(
        array=str(fields["array"]),
        index=tuple(int(i) for i in fields["index"]),
        length=int(fields["length"]),
        sha256=str(fields["sha256"]),
        samples_sha256=str(fields["samples_sha256"]),
        raw_bytes=int(fields["raw_bytes"]),
        max_error=float(fields["max_error"]),
        squared_error=float(fields["squared_error"]),
        measured=Measured.from_json(fields["measured"]) if "measured" in fields else None,
        irreversible=fields.get("irreversible") is True,
        recoded=fields.get("recoded") is True,
    )
