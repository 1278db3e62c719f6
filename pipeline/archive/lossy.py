"""State what lossy coding did to an image: PSNR, the largest error, that of most, bias."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from tilepress.codecs.difference import Difference
from tilepress.codecs.loss import Lossy
from tilepress.codecs.measured import Measured, Tiles
from tilepress.errors import CodecError
from tilepress.pipeline.archive.plan import ImagePlan, ShardRef
from tilepress.pipeline.store.kept import IRREVERSIBLE
from tilepress.pipeline.store.keys import level_of
from tilepress.pipeline.store.manifest import ShardEntry
from tilepress.pipeline.store.target import is_held

__all__ = ["DECODERS_DIFFER", "Tally", "first_band", "measured_loss", "told_loss"]

_MOST = 0.999
"""The share of errors that ``p999_error`` is not below."""
_DIGITS = 6
_ROUNDING, DECODERS_DIFFER = 0.001, 0.05
"""What sums of squares may be off by, and means in units of their roots: for numbers are stated
rounded, and decoders of lossy streams differ."""


def measured_loss(plan: ImagePlan, loss: Lossy, entries: Iterable[ShardEntry]) -> dict[str, Any]:
    """Return what a store's attributes say of all shards of the full resolution together.

    Raises CodecError where they are not as good as the target says.
    """
    difference, parts = [], []
    size = samples = 0
    for entry in entries:
        if level_of(entry.array) != 0 or entry.measured is None:
            continue  # masks, levels that are made of the image, and bands that are lossless
        assert entry.difference is not None, "every shard was measured"
        difference.append(entry.difference)
        size += entry.length
        samples += entry.raw_bytes // plan.info.dtype.itemsize
        parts.append((first_band(plan, ShardRef(entry.array, entry.index)), entry.measured))
    measured = Measured.total(parts, plan.info.band_count)
    total = Difference.total(difference)
    assert loss.peak is not None, "a plan has a peak"
    bits = 8 * size / max(1, samples)
    psnr_db = total.psnr_db(measured.present, loss.peak)
    if not is_held(loss, total, measured.present, bits):
        raise CodecError(
            f"sealing {plan.store}: it takes {bits:.4g} bits per sample at {_decibels(psnr_db)}, "
            f"want {loss}; ask for less, or choose another codec"
        )
    found: dict[str, Any] = {"max_error_measured": total.worst}
    if psnr_db is not None:
        found["psnr_db"] = round(psnr_db, 3)
    found["loss_measured"] = {
        "peak": loss.peak,
        "present_samples": measured.present,
        "p999_error": _rounded(min(measured.below(_MOST), total.worst)),
        "bias": [_rounded(one) for one in measured.bias],
    }
    if measured.tiles is not None:
        found["loss_measured"]["tiles"] = _told_tiles(measured.tiles, loss.peak)
    return found


def _told_tiles(tiles: Tiles, peak: float) -> dict[str, Any]:
    """Return how many tiles have which PSNR: as much of a store of one tile as of a million."""
    by_db = {f"{db:.1f}": count for db, count in tiles.by_psnr_db(peak).items()}
    return {"count": tiles.count, "exact": tiles.exact, "psnr_db": by_db}


def first_band(plan: ImagePlan, ref: ShardRef) -> int:
    """Return the first band of a shard of the image, from 0."""
    axes = plan.info.axes
    return plan.grid_of(ref).box(ref.index).start[axes.index("band")] if "band" in axes else 0


class Tally:
    """What a source and a lossy store differ by, added up shard by shard.

    That no sample is off by more than was measured tells little of a source that changed by less:
    that all are off by as much as was measured, in the mean and by their squares, tells more.
    """

    def __init__(self, bands: int) -> None:
        self._bands = bands
        self._differences: list[Difference] = []
        self._parts: list[tuple[int, Measured]] = []

    def add(self, first_band: int, difference: Difference, measured: Measured) -> None:
        """Count a shard."""
        self._differences.append(difference)
        self._parts.append((first_band, measured))

    def contradiction(self, statement: Mapping[str, Any]) -> str | None:
        """Tell how all shards together differ otherwise than a store states; None: they do not."""
        told = statement.get("loss_measured")
        if not isinstance(told, Mapping) or not self._parts:
            return None
        slack = DECODERS_DIFFER if IRREVERSIBLE in statement else _ROUNDING
        measured = Measured.total(self._parts, self._bands)
        squared = Difference.total(self._differences).squared
        stated_db, peak = statement.get("psnr_db"), float(told["peak"])
        count = max(1, measured.present)
        stated = 0.0 if stated_db is None else peak**2 * 10 ** (-stated_db / 10) * count
        if measured.present != told["present_samples"]:
            return (
                f"{measured.present} samples are present, and {told['present_samples']} were "
                "when it was coded"
            )
        if abs(squared - stated) > slack * stated:
            found = Difference(0.0, squared).psnr_db(count, peak)
            return (
                f"its PSNR against this source is {_decibels(found)}, and was "
                f"{_decibels(stated_db)} against that which it was coded from"
            )
        if len(told["bias"]) != len(measured.bias):
            return f"it states a mean of {len(told['bias'])} bands, and has {len(measured.bias)}"
        noise = slack * math.sqrt(stated / count)
        for band, (mean, was) in enumerate(zip(measured.bias, told["bias"], strict=True), 1):
            if abs(mean - was) > noise + slack * abs(was):
                return f"band {band} is off by {mean:.4g} in the mean, and was by {was:.4g}"
        return self._of_tiles(statement, told, measured.tiles)

    def _of_tiles(
        self, statement: Mapping[str, Any], told: Mapping[str, Any], found: Tiles | None
    ) -> str | None:
        """Tell how tiles differ otherwise than they did, each by itself; None: they do not."""
        stated = told.get("tiles")  # earlier versions said nothing of them
        if stated is None or found is None or IRREVERSIBLE in statement:
            return None
        if _told_tiles(found, float(told["peak"])) == stated:
            return None
        return (
            "its tiles have another PSNR against this source than against that which it was "
            "coded from"
        )


def _decibels(value: float | None) -> str:
    return "infinite" if value is None else f"{value:.3f} dB"


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
