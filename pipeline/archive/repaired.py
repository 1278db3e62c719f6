"""What became of a store, or of the files beside stores, that was to be repaired."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

__all__ = ["StoreRepair"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreRepair:
    """What became of one store."""

    store: str
    state: Literal["sound", "repaired", "failed"]
    written: tuple[str, ...] = ()
    """Objects that were damaged or missing and are as they should be now."""
    resealed: bool = False
    """Whether the store was sealed anew: its root document is another one then."""
    left: tuple[str, ...] = ()
    """Objects that the store does not list. No reader looks at them; whose are they?"""
    reason: str | None = None
    """Why it failed."""

    @property
    def ok(self) -> bool:
        return self.state != "failed"

    def lines(self) -> list[str]:
        texts: list[str] = [self.state, *(f"{key}: written again" for key in self.written)]
        if self.resealed:
            texts.append("sealed anew")
        texts += [f"{key}: left alone, the store does not list it" for key in self.left]
        if self.reason is not None:
            texts.append(self.reason)
        return [f"{self.store}: {text}" for text in texts]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)
