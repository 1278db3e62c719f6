"""Tell which keys a planned store can have: nothing else is ever taken for a part of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tilepress.pipeline.archive.plan import ImagePlan
from tilepress.pipeline.storage.atomic import is_partial, whole_of
from tilepress.pipeline.store.conventions import auxiliary_arrays
from tilepress.pipeline.store.keys import (
    FULL_RESOLUTION,
    ROOT_MANIFEST,
    SEPARATOR,
    SOURCE,
    Separator,
    array_key,
    is_document,
    is_shared,
    shard_of,
)

__all__ = ["OwnKeys"]


@dataclass(frozen=True, slots=True)
class OwnKeys:
    """The keys that the store of one plan can have."""

    counts: Mapping[str, tuple[int, ...]]
    """Shards along each axis, by coded array: "image", those of levels, "mask" if there is one."""
    auxiliary: tuple[str, ...]
    """Names of the other arrays: coordinates, the CRS; those of a level with its number, "1/y"."""
    separator: Separator

    @classmethod
    def of(cls, plan: ImagePlan, separator: Separator) -> OwnKeys:
        """Return the keys that a plan's store has with this separator."""
        counts = {name: grid.counts for name, grid in plan.grids.items()}
        names = list(auxiliary_arrays(plan.info))
        for level in range(1, 1 + len(plan.info.levels)):
            names += (f"{level}/{name}" for name in auxiliary_arrays(plan.info.at_level(level)))
        return cls(counts, tuple(names), separator)

    def has(self, key: str) -> bool:
        """Whether it is the key of an object of the store, or of a half-written one."""
        if is_partial(Path(key)):
            key = Path(key).with_name(whole_of(Path(key))).as_posix()
        if is_shared(key):
            node = key.rpartition("/")[0]
            return self._is_group(node) if is_document(key) else self._is_array(node)
        return self._has_shard(key) or self._has_listed_chunk(key)

    def to_json(self) -> dict[str, Any]:
        return {
            "separator": self.separator,
            "arrays": {name: list(counts) for name, counts in self.counts.items()},
            "auxiliary": list(self.auxiliary),
        }

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> OwnKeys:
        """Return the keys that ``to_json`` was called on; KeyError or the like for other fields."""
        return cls(
            counts={
                str(name): tuple(int(n) for n in counts)
                for name, counts in fields["arrays"].items()
            },
            auxiliary=tuple(str(name) for name in fields["auxiliary"]),
            separator="." if fields["separator"] == "." else SEPARATOR,
        )

    def _is_group(self, node: str) -> bool:
        levels = {array_key(name).partition("/")[0] for name in self.counts}
        return node in ("", FULL_RESOLUTION, SOURCE, *levels) or self._is_array(node)

    def _is_array(self, node: str) -> bool:
        if node == ROOT_MANIFEST or node.startswith(f"{SOURCE}/"):
            return True
        return node in {array_key(name) for name in (*self.counts, *self.auxiliary)}

    def _has_shard(self, key: str) -> bool:
        found = shard_of(key, self.separator)
        if found is None:
            return False
        array, index = found
        counts = self.counts.get(array)
        if counts is None:
            return array in self.auxiliary
        return len(index) == len(counts) and all(i < n for i, n in zip(index, counts, strict=True))

    def _has_listed_chunk(self, key: str) -> bool:
        """Whether it is a chunk of the manifest or of an item of ``source/``: lists of bytes."""
        chunks, _, number = key.rpartition(self.separator)
        node = chunks.rpartition("/")[0]
        is_listed = node in (ROOT_MANIFEST, SOURCE) or node.startswith(f"{SOURCE}/")
        return is_listed and is_shared(chunks) and number.isdecimal()
