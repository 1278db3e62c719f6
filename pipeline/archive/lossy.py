"""State what lossy coding did to an image: PSNR, the largest error, that of most, bias."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tilepress.codecs.loss import Difference, Lossy
from tilepress.codecs.measured import Measured
from tilepress.errors import CodecError
from tilepress.pipeline.archive.plan import ImagePlan, ShardRef
from tilepress.pipeline.store.keys import is_image
from tilepress.pipeline.store.manifest import ShardEntry
from tilepress.pipeline.store.target import is_held

__all__ = ["measured_loss", "told_loss"]

_MOST = 0.999
"""The share of errors that ``p999_error`` is not below."""
_DIGITS = 6


def measured_loss(plan: ImagePlan, loss: Lossy, entries: Iterable[ShardEntry]) -> dict[str, Any]:
    """Return what a store's attributes say of all shards together.

    Raises CodecError where they are not as good as the target says.
    """
    difference, parts = [], []
    axis = plan.info.axes.index("band") if "band" in plan.info.axes else None
    for entry in entries:
        if not is_image(entry.array) or entry.measured is None:
            continue  # masks, and bands that are lossless
        assert entry.difference is not None, "every shard was measured"
        difference.append(entry.difference)
        grid = plan.grid_of(ShardRef(entry.array, entry.index))
        parts.append((0 if axis is None else grid.box(entry.index).start[axis], entry.measured))
    measured = Measured.total(parts, plan.info.band_count)
    total = Difference.total(difference)
    assert loss.peak is not None, "a plan has a peak"
    if not is_held(loss, total, measured.present):
        raise CodecError(f"sealing {plan.store}: its samples do not hold {loss}")
    psnr_db = total.psnr_db(measured.present, loss.peak)
    found: dict[str, Any] = {"max_error_measured": total.worst}
    if psnr_db is not None:
        found["psnr_db"] = round(psnr_db, 3)
    found["loss_measured"] = {
        "peak": loss.peak,
        "present_samples": measured.present,
        "p999_error": _rounded(min(measured.below(_MOST), total.worst)),
        "bias": [_rounded(one) for one in measured.bias],
    }
    return found


def told_loss(loss: Lossy, statement: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a report says of a sealed store's loss."""
    return {
        "target": str(loss),
        "psnr_db": statement.get("psnr_db"),
        "max_error": statement.get("max_error_measured"),
        "bits_per_sample": statement["loss"].get("bits_per_sample"),
        **statement.get("loss_measured", {}),
    }


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")
