"""Keep padding exact: samples beside what was imaged mean nothing but that."""

from __future__ import annotations

from dataclasses import replace

from tilepress.codecs.loss import Loss
from tilepress.pipeline.image.info import ImageInfo

__all__ = ["kept_padding"]


def kept_padding(info: ImageInfo, loss: Loss) -> tuple[ImageInfo, float | int | None, bool]:
    """Return what is told of an image, the codec's nodata, and whether coding must be lossless.

    The codec keeps one value exactly, and lets no other sample become it. Where padding is a range
    of values, or there is nodata beside it, no bound keeps all of them.
    """
    if loss.is_lossless or info.padding is None:
        return info, info.nodata, False
    low, high = info.padding
    if low == high and info.nodata in (None, low):
        return info, low, False
    reason = f"its padding is a range of values, {low} to {high}"
    if info.nodata is not None:
        reason = "it has nodata and padding"
    remark = f"it is lossless whatever the bound: {reason}"
    return replace(info, remarks=(*info.remarks, remark)), info.nodata, True
