"""What a run did: one result per image, one line per failure."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

__all__ = ["ImageFailure", "ImageResult", "Report"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageResult:
    """One sealed store."""

    source: str
    """Path of the first file of the image."""
    store: str
    status: Literal["written", "unchanged"]
    axes: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: str
    raw_bytes: int
    """Decoded size of the image, without its mask."""
    stored_bytes: int
    """Size of all shards, mask included; metadata and the copies in ``source/`` are not in it."""
    shards: int
    shards_reused: int
    """Shards that an earlier, interrupted run had finished."""
    remarks: tuple[str, ...] = ()
    files: int = 1
    """Files that the image was made of: a stack or a series has several."""
    tuned: bool | None = None
    """In a run that tunes: whether the tuned weights code the image, or those they came from."""
    tuning_saved_bytes: int | None = None
    """What they save, estimated while planning, the weights in the store counted."""

    @property
    def ratio(self) -> float:
        return self.raw_bytes / max(1, self.stored_bytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFailure:
    """One input that did not become a sealed store."""

    source: str
    kind: str
    """Stable name: ``TilepressError.kind``, "storage", "memory" or "internal"."""
    message: str
    """One line: what was being done, what was found, where."""
    shard: str | None = None
    """The shard that failed, where it was one."""

    @property
    def line(self) -> str:
        """One line that names the input."""
        shard = f", shard {self.shard}" if self.kind == "killed" else ""
        if Path(self.source).name in self.message:
            return self.message + shard
        return f"{self.source}{shard}: {self.message}"


@dataclass(slots=True, kw_only=True)
class Report:
    """The outcome of one run."""

    images: list[ImageResult] = field(default_factory=list)
    failures: list[ImageFailure] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether every input is now a sealed store."""
        return not self.failures

    @property
    def raw_bytes(self) -> int:
        return sum(image.raw_bytes for image in self.images)

    @property
    def stored_bytes(self) -> int:
        return sum(image.stored_bytes for image in self.images)

    @property
    def ratio(self) -> float:
        return self.raw_bytes / max(1, self.stored_bytes)

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON-able values."""
        return {
            "version": 1,
            "ok": self.ok,
            "seconds": round(self.seconds, 3),
            "raw_bytes": self.raw_bytes,
            "stored_bytes": self.stored_bytes,
            "ratio": round(self.ratio, 4),
            "images": [{**asdict(i), "ratio": round(i.ratio, 4)} for i in self.images],
            "failures": [asdict(f) for f in self.failures],
        }

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(self.to_json(), indent=2) + "\n", encoding="utf-8")
