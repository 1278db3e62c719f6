"""Tell of the samples of DICOM images what no attribute of a store does: what is padding, and which
stand for something."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tilepress.pipeline.dicom.pixels import PixelFormat
from tilepress.pipeline.image.info import ImageInfo
from tilepress.pipeline.image.source import ExportReader

__all__ = ["as_told", "padding_of", "refusal_of"]

_PADDING = {
    "pixel_padding_value": bytes.fromhex("28002001"),
    "pixel_padding_range_limit": bytes.fromhex("28002101"),
}
"""What pads, and its tag (0028,0120) or (0028,0121) as files have it, low byte first."""


def as_told(info: ImageInfo, reader: ExportReader) -> ImageInfo | None:
    """Return an image with its padding and why nothing may change its samples.

    None where files differ in it, which the image's attributes then leave out, and where headers
    are not kept.
    """
    if "dicom-headers" not in reader.source_names():
        return None
    headers, told = reader.source_bytes("dicom-headers"), info.attributes
    for name, tag in _PADDING.items():
        swapped = bytes((tag[1], tag[0], tag[3], tag[2]))
        if name not in told and (tag in headers or swapped in headers):
            return None
    if told.get("modality") == "SEG" and "segmentation_type" not in told:
        return None
    first = PixelFormat.from_config(reader.origin["instances"][0]["pixels"])
    return replace(info, padding=padding_of([told]), lossy_refusal=refusal_of(first, told))


def padding_of(files: list[Mapping[str, Any]]) -> tuple[int, int] | None:
    """Return the least and the largest value that one of the files pads with."""
    found = [told[name] for told in files for name in _PADDING if name in told]
    return (min(found), max(found)) if found else None


def refusal_of(pixels: PixelFormat, told: Mapping[str, Any]) -> str | None:
    """Say why near-lossless coding makes no sense; None where it does."""
    if pixels.photometric == "PALETTE COLOR":
        return "samples are indices into a palette"
    if pixels.allocated == 1:
        return "samples are bits of a mask"
    if told.get("segmentation_type") in ("LABELMAP", "BINARY"):
        return "samples are labels"
    return None
