"""Choose the options that GDAL creates a file with, after the layout of the source.

What GDAL cannot write (a codec that this build lacks, a predictor that the source names and its
samples do not allow) gives way: every image that was taken can be written.
"""

from __future__ import annotations

from typing import Any

from tilepress.pipeline.geotiff.part import FilePart

__all__ = ["creation_options", "has_palette", "plain_options"]

MAX_STRIP_BYTES = 32 * 2**20
"""A longer strip is written as several: GDAL holds a strip in memory until it is whole."""

CLASSIC_BYTES = 3_500_000_000
"""Raw size up to which a classic TIFF (4 GiB of offsets) is safe."""

_LOSSLESS = frozenset(
    [
        *("NONE", "LZW", "DEFLATE", "ZSTD", "LZMA", "PACKBITS"),
        *("CCITTRLE", "CCITTFAX3", "CCITTFAX4", "LERC", "LERC_DEFLATE", "LERC_ZSTD"),
    ]
)
_WITH_PREDICTOR = frozenset({"LZW", "DEFLATE", "ZSTD"})
_PHOTOMETRIC = {0: "MINISWHITE", 1: "MINISBLACK", 2: "RGB", 3: "PALETTE", 5: "CMYK"}


def creation_options(part: FilePart) -> dict[str, Any]:
    """Return GDAL's creation options for the source's layout."""
    layout = part.record["layout"]
    raw = part.height * part.width * len(part.bands) * part.sample_bytes
    big = layout["big"] or raw > CLASSIC_BYTES
    options: dict[str, Any] = {
        "BIGTIFF": "YES" if big else "NO",
        "ENDIANNESS": "BIG" if part.record["order"] == ">" else "LITTLE",
        "PHOTOMETRIC": _photometric(part),
        **_compression(part),
        **_blocks(part),
    }
    if len(part.bands) > 1:
        options["INTERLEAVE"] = "PIXEL" if part.is_pixel_interleaved else "BAND"
    if part.record["converted"] and "alpha" in part.per_band("colors"):
        options["ALPHA"] = "YES"
    if part.nbits and (part.nbits == 16 or not part.dtype.startswith("float")):
        options["NBITS"] = part.nbits
    return options


def plain_options(part: FilePart) -> dict[str, Any]:
    """Return options that every build of GDAL writes, where it refuses those of the source."""
    kept = ("BIGTIFF", "ENDIANNESS", "PHOTOMETRIC", "TILED", "BLOCKXSIZE", "BLOCKYSIZE")
    options = {k: v for k, v in creation_options(part).items() if k in (*kept, "INTERLEAVE")}
    half = {"NBITS": 16} if part.nbits and part.record["dtype"] == "float16" else {}
    return options | half | {"COMPRESS": "DEFLATE"}


def _compression(part: FilePart) -> dict[str, Any]:
    layout = part.record["layout"]
    name, predictor = layout["compress"].upper(), layout["predictor"]
    if name == "WEBP" and layout["reversible"] == "LOSSLESS" and part.has_all_bands:
        return {"COMPRESS": "WEBP", "WEBP_LOSSLESS": "YES"}
    if name not in _LOSSLESS:
        name, predictor = "DEFLATE", 3 if part.dtype.startswith("float") else 2
    if name == "NONE":
        return {}
    usable = name in _WITH_PREDICTOR and _takes_predictor(part, predictor)
    return {"COMPRESS": name} | ({"PREDICTOR": predictor} if usable else {})


def _takes_predictor(part: FilePart, predictor: int) -> bool:
    """Whether GDAL writes samples with a predictor: a file may name one that it has no use for."""
    half = part.nbits == 16 and part.dtype.startswith("float")
    if part.nbits is not None and not half:
        return False
    if predictor == 3:
        return part.dtype in ("float32", "float64")
    return predictor == 2 and part.sample_bytes <= 8


def _blocks(part: FilePart) -> dict[str, Any]:
    layout = part.record["layout"]
    rows, columns = layout["block"]
    if part.record["driver"] != "GTiff":
        return {"TILED": "YES", "BLOCKXSIZE": 256, "BLOCKYSIZE": 256}
    if layout["tiled"]:
        # TIFF 6.0 §15 wants multiples of 16; some writers did not
        up = [max(16, -(-size // 16) * 16) for size in (rows, columns)]
        return {"TILED": "YES", "BLOCKYSIZE": up[0], "BLOCKXSIZE": up[1]}
    row_bytes = part.width * part.sample_bytes
    row_bytes *= len(part.bands) if part.is_pixel_interleaved else 1
    return {"BLOCKYSIZE": max(1, min(rows, part.height, MAX_STRIP_BYTES // row_bytes or 1))}


def _photometric(part: FilePart) -> str:
    colors = part.per_band("colors")
    name = _PHOTOMETRIC.get(part.record["layout"]["photometric"], "")
    if name == "CMYK" and colors[:4] == ["cyan", "magenta", "yellow", "black"]:
        return name
    if colors[:3] == ["red", "green", "blue"] or (name == "RGB" and len(colors) >= 3):
        return "RGB"
    if has_palette(part):
        return "PALETTE"
    return "MINISWHITE" if name == "MINISWHITE" else "MINISBLACK"


def has_palette(part: FilePart) -> bool:
    """Whether samples are indices; for a TIFF its own tag tells from what GDAL makes up.

    GDAL writes a colour table for one band, with alpha or without.
    """
    is_tiff = part.record["driver"] == "GTiff"
    named = not is_tiff or _PHOTOMETRIC.get(part.record["layout"]["photometric"]) == "PALETTE"
    return named and part.per_band("colors")[0] == "palette" and len(part.bands) <= 2
