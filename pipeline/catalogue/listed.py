"""One line of ``tilepress ls``: what a list tells of a store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from tilepress.codecs.loss import bounded
from tilepress.pipeline.store.summary import StoreSummary

__all__ = ["ListedStore", "listed_store"]

_UNSEALED_HINT = "unsealed: run its compress line again"
_MISSING_HINT = "in the catalogue, but gone"


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedStore:
    """A store of an archive, whatever its state."""

    path: str
    """Below the archive."""
    state: str
    """"sealed", "unsealed" (writing has not finished), "unreadable", or "missing": the catalogue
    has it, the archive has not."""
    axes: tuple[str, ...] = ()
    shape: tuple[int, ...] = ()
    dtype: str = ""
    raw_bytes: int = 0
    """Decoded size of the image."""
    stored_bytes: int = 0
    """All objects of the store, headers and documents included, as ``compress`` counts them."""
    max_error: float | None = 0.0
    """Largest error of a sample that coding may make, 0 is lossless; None: without a bound."""
    crs: str | None = None
    modality: str | None = None
    """DICOM modality, e.g. "CT"."""
    problem: str | None = None
    """Why the store cannot be read."""

    @property
    def ratio(self) -> float:
        return self.raw_bytes / max(1, self.stored_bytes)

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "ratio": round(self.ratio, 4)}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> ListedStore:
        """Return the summary that ``to_json`` was called on."""
        kept = {name: value for name, value in fields.items() if name != "ratio"}
        return cls(**kept | {"axes": tuple(kept["axes"]), "shape": tuple(kept["shape"])})

    def cells(self) -> tuple[str, ...]:
        """Return the columns of its line."""
        hints = {"unsealed": _UNSEALED_HINT, "missing": _MISSING_HINT}
        if self.state != "sealed":
            return (
                self.path,
                f"[{self.state}]",
                "",
                "",
                "",
                "",
                hints.get(self.state, self.problem or ""),
            )
        return (
            self.path,
            ",".join(self.axes),
            "×".join(map(str, self.shape)),
            self.dtype,
            f"{self.ratio:.2f}",
            _loss_cell(self.max_error),
            self.crs or self.modality or "",
        )


def _loss_cell(max_error: float | None) -> str:
    """Return what a list says of the loss: the largest error that a sample may have."""
    if max_error is None:
        return "lossy"
    loss = bounded(max_error)
    return str(loss) if loss.is_lossless else loss.bound


def listed_store(name: str, summary: StoreSummary) -> ListedStore:
    """Return the line of a sealed store."""
    return ListedStore(
        path=name,
        state="sealed",
        axes=summary.axes,
        shape=summary.shape,
        dtype=summary.dtype,
        raw_bytes=summary.raw_bytes,
        stored_bytes=summary.stored_bytes,
        max_error=summary.loss.max_error,
        crs=summary.crs,
        modality=summary.modality,
    )
