"""What became of a store that was verified."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

__all__ = ["Damage", "StoreCheck"]


@dataclass(frozen=True, slots=True)
class Damage:
    """One thing that is wrong with a store."""

    kind: str
    """"missing", "unexpected", "changed" (bytes), "undecodable" (a record), "samples" (decoded
    samples are not those sealed), "source" (they differ from the source), "damaged" (of an archive,
    in words) or "unknown" (nothing can be told). Append only."""
    key: str
    """The object below the root of what was verified: a store, or an archive."""
    detail: str
    """What was found; for records the chunk within the shard, for samples the box."""

    def __str__(self) -> str:
        return f"{self.key}: {self.kind}: {self.detail}"

    def to_json(self) -> dict[str, str]:
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreCheck:
    """What a verification of one store found."""

    store: str
    state: Literal["sound", "damaged", "unknown"]
    findings: tuple[str, ...] = ()
    """Each damage, or the reason why it cannot be told."""
    damages: tuple[Damage, ...] = ()
    """What of that is known by its key."""
    differs: bool = False
    """Whether all damage is that the source has other samples by now: the store itself is sound."""
    deidentified: bool = False
    """Whether it was compared with a source of which it keeps the samples alone, as it should."""
    files: int | None = None
    """Of what is no store but the files that an archive keeps beside them: how many there are."""

    def lines(self) -> list[str]:
        state: str = self.state
        if self.differs:
            state = "sound, and differs from its source"
        elif self.deidentified and self.state == "sound":
            state = "sound; its headers were de-identified, so that only samples were compared"
        if self.files is not None:
            several = f"{self.files} files that are no images"
            state += " (1 file that is no image)" if self.files == 1 else f" ({several})"
        if self.state == "unknown" and len(self.findings) == 1 and self.files is None:
            why = self.findings[0]
            for verb in ("opening", "open", "verifying"):
                why = why.removeprefix(f"{verb} {self.store}: ")
            return [f"{self.store}: {state}: {why}"]
        return [f"{self.store}: {text}" for text in (state, *self.findings)]

    def to_json(self) -> dict[str, Any]:
        told = asdict(self)
        del told["damages"]  # the findings tell them
        return told

    def damages_below(self, archive: str) -> list[Damage]:
        """Return what was found as damages of the archive; [] where all is sound."""
        if self.state == "sound" or self.damages:
            below = f"{self._key(archive)}/"
            return [replace(one, key=below + one.key) for one in self.damages]
        kind = "damaged" if self.state == "damaged" else "unknown"
        return [Damage(kind, self._key(archive), text) for text in self.findings]

    def _key(self, archive: str) -> str:
        return self.store.removeprefix(archive.rstrip("/") + "/")
