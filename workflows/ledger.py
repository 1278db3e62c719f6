"""Remember finished shards beside the store: one small JSON object per shard, no appends.

    ARCHIVE/scene.zarr/                        the store, without metadata until it is sealed
    ARCHIVE/.tilepress/scene.zarr/lease.json   who writes it now
    ARCHIVE/.tilepress/scene.zarr/<digest>/    what is done of the plan with this digest
        image-0.3.1.json                       one finished shard

The folder is named by the store, so that one lease guards a store against every other plan.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from tilepress.pipeline.atomic import write_atomic
from tilepress.workflows.plan import ImagePlan, ShardRef

__all__ = ["Ledger", "ShardEntry", "ledger_folder", "remove_plans"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardEntry:
    """What is known of one finished shard."""

    array: str
    index: tuple[int, ...]
    length: int
    """Bytes of the shard object."""
    sha256: str
    """Of the shard object, hexadecimal."""
    samples_sha256: str
    """Of the decoded samples, clipped to the image, C order, little-endian; hexadecimal."""
    raw_bytes: int
    """Decoded size in bytes, clipped to the image."""
    max_error: float
    """Largest |decoded - source| that the check after encoding found."""
    squared_error: float
    """Sum of the squares of those differences."""

    @property
    def ref(self) -> ShardRef:
        return ShardRef(self.array, self.index)


class Ledger:
    """The finished shards of one plan."""

    def __init__(self, plan: ImagePlan) -> None:
        self._folder = ledger_folder(Path(plan.store)) / plan.digest

    @property
    def exists(self) -> bool:
        """Whether this very plan was begun before and is not sealed."""
        return self._folder.is_dir()

    def create(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)

    def record(self, entry: ShardEntry) -> None:
        """Note a finished shard; on return it survives a power cut."""
        data = json.dumps(asdict(entry), separators=(",", ":")).encode("ascii")
        write_atomic(self._folder / f"{entry.ref.name}.json", data)

    def get(self, ref: ShardRef) -> ShardEntry | None:
        """Return the entry of a shard; None where it is missing or unreadable."""
        try:
            return _parse_entry((self._folder / f"{ref.name}.json").read_bytes())
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None

    def entries(self, plan: ImagePlan) -> Iterator[ShardEntry]:
        """Yield the entries of a plan's shards in their order; those without one are left out."""
        for ref in plan.shards():
            entry = self.get(ref)
            if entry is not None:
                yield entry

    def remove(self) -> None:
        """Forget everything: the store is sealed, or is to be written anew."""
        shutil.rmtree(self._folder, ignore_errors=True)


def ledger_folder(store: Path) -> Path:
    """Return the folder that holds the lease and the ledgers of a store."""
    return store.parent / ".tilepress" / store.name


def remove_plans(store: Path) -> None:
    """Forget every plan of a store: its files are about to be removed."""
    with contextlib.suppress(FileNotFoundError):
        for entry in ledger_folder(store).iterdir():
            if entry.is_dir():
                shutil.rmtree(entry, ignore_errors=True)


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
    )
