"""What lossy coding did to the images of a run, in one line."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

__all__ = ["Losses"]


class Losses:
    """Counts images that are coded lossily; holds none of them."""

    def __init__(self) -> None:
        self.count = 0
        self.least_db, self.most_db = math.inf, -math.inf
        """PSNR of the worst image and of the best; infinite where nothing differs."""
        self.largest = 0.0
        """The largest error of any sample."""
        self.bits = (math.inf, -math.inf)
        """The least bits a sample of an image, and the most."""

    def add(self, loss: Mapping[str, Any]) -> None:
        """Count an image, as ``ImageResult.loss`` tells of it."""
        self.count += 1
        psnr_db = math.inf if loss["psnr_db"] is None else loss["psnr_db"]
        self.least_db, self.most_db = min(self.least_db, psnr_db), max(self.most_db, psnr_db)
        self.largest = max(self.largest, loss["max_error"] or 0.0)
        bits = loss["bits_per_sample"]
        if bits is not None:
            self.bits = (min(self.bits[0], bits), max(self.bits[1], bits))

    @property
    def text(self) -> str:
        """E.g. "lossy: 3 images, PSNR 45.0 to 47.2 dB, 0.31 to 0.8 bits a sample, largest error
        12", or ""."""
        if not self.count:
            return ""
        images = "1 image" if self.count == 1 else f"{self.count} images"
        decibels = _span(self.least_db, self.most_db, ".1f")
        bits = f", {_span(*self.bits, '.3g')} bits a sample" if self.bits[0] <= self.bits[1] else ""
        if math.isinf(self.least_db):
            return f"lossy: {images}{bits}, no sample differs"
        return f"lossy: {images}, PSNR {decibels} dB{bits}, largest error {self.largest:g}"

    def to_json(self) -> dict[str, Any]:
        return {
            "images": self.count,
            "least_psnr_db": self.least_db if math.isfinite(self.least_db) else None,
            "largest_error": self.largest,
        }


def _span(low: float, high: float, form: str) -> str:
    texts = ["∞" if math.isinf(one) else format(one, form) for one in (low, high)]
    return texts[0] if texts[0] == texts[1] else " to ".join(texts)
