"""Decode the codestream of one frame to samples."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import UID, RLELossless

from tilepress.errors import DamagedSource, UnsupportedSource
from tilepress.pipeline.dicom.bytes import ENCAPSULATED_NATIVE, quiet_pydicom
from tilepress.pipeline.dicom.codestreams import CODESTREAM_HEAD_BYTES, declared
from tilepress.pipeline.dicom.pixels import (
    DEFLATED_FRAMES,
    JPEG_XL_SYNTAXES,
    TWELVE_BIT_SYNTAXES,
    PixelFormat,
)

__all__ = ["decode"]


def decode(
    codestream: bytes, syntax: str, pixels: PixelFormat, where: str
) -> tuple[npt.NDArray[Any], str]:
    """Return samples (B, Y, X) of one codestream and their photometric interpretation."""
    _check_declared(codestream, pixels, where)
    if syntax == DEFLATED_FRAMES:
        content = zlib.decompressobj(-zlib.MAX_WBITS).decompress(codestream, pixels.pixel_bytes(1))
        return _from_native(content, pixels), pixels.photometric
    if syntax == ENCAPSULATED_NATIVE:
        return _from_native(codestream, pixels), pixels.photometric
    if syntax == RLELossless:
        return _decode_rle(codestream, pixels), pixels.photometric
    if syntax in JPEG_XL_SYNTAXES:
        return _decode_jpeg_xl(codestream, pixels, where)
    if syntax in TWELVE_BIT_SYNTAXES and pixels.bands == 1:
        return _decode_twelve_bit(codestream, syntax, pixels), pixels.photometric
    samples, photometric = _decode_with_pydicom(codestream, syntax, pixels)
    want = (pixels.bands, pixels.rows, pixels.columns)
    if samples.shape != want:
        raise DamagedSource(
            f"decoding a compressed frame: shape {samples.shape}, want {want}, in {where}"
        )
    return samples, photometric


def _decode_with_pydicom(
    codestream: bytes, syntax: str, pixels: PixelFormat
) -> tuple[npt.NDArray[Any], str]:
    padded = codestream + b"\0" * (len(codestream) % 2)
    items = struct.pack("<HHIHHI", 0xFFFE, 0xE000, 0, 0xFFFE, 0xE000, len(padded)) + padded
    options: dict[str, Any] = {
        "rows": pixels.rows,
        "columns": pixels.columns,
        "samples_per_pixel": pixels.bands,
        "number_of_frames": 1,
        "bits_allocated": pixels.allocated,
        "bits_stored": pixels.stored,
        "pixel_representation": int(pixels.signed),
        "photometric_interpretation": pixels.photometric,
        "pixel_keyword": "PixelData",
    }
    if pixels.bands > 1:
        options["planar_configuration"] = int(pixels.planar)
    with quiet_pydicom():
        array, found = get_decoder(UID(syntax)).as_array(items, index=0, raw=True, **options)
    photometric = str(found["photometric_interpretation"])
    if photometric == "YBR_FULL_422":
        photometric = "YBR_FULL"  # decoders give chroma for every column
    bands_last = array if array.ndim == 3 else array[..., np.newaxis]
    samples = bands_last.transpose(2, 0, 1).astype(pixels.dtype, copy=False)
    return np.ascontiguousarray(samples), photometric


def _decode_twelve_bit(codestream: bytes, syntax: str, pixels: PixelFormat) -> npt.NDArray[Any]:
    """Decode grey JPEG of up to 12 bits: by pydicom's plug-in, else by libjpeg-turbo.

    The plug-in refuses sound streams whose blocks end unevenly, and progressive ones. What lossy
    decoding puts above BitsStored is clipped.
    """
    try:
        return _decode_with_pydicom(codestream, syntax, pixels)[0]
    except (RuntimeError, NotImplementedError):
        if pixels.signed:
            raise
    array = np.asarray(imagecodecs.jpeg_decode(codestream)).clip(max=(1 << pixels.stored) - 1)
    return array.astype(pixels.dtype).reshape(1, pixels.rows, pixels.columns)


def _decode_jpeg_xl(
    codestream: bytes, pixels: PixelFormat, where: str
) -> tuple[npt.NDArray[Any], str]:
    """Decode JPEG XL; its decoder gives RGB of whatever colour was coded."""
    doing = "decoding a compressed frame"
    if pixels.signed or pixels.floating:
        raise UnsupportedSource(f"{doing}: JPEG XL has no signed samples, in {where}")
    array = np.asarray(imagecodecs.jpegxl_decode(codestream))
    bands_last = array if array.ndim == 3 else array[..., np.newaxis]
    want = (pixels.rows, pixels.columns, pixels.bands)
    fits = array.dtype.kind == "u" and int(array.max(initial=0)) < 1 << pixels.stored
    if bands_last.shape != want or not fits:
        raise DamagedSource(
            f"{doing}: {bands_last.shape} samples of {array.dtype}, want {want} of "
            f"{pixels.stored} bits, in {where}"
        )
    samples = bands_last.transpose(2, 0, 1).astype(pixels.dtype)
    return np.ascontiguousarray(samples), "RGB" if pixels.bands == 3 else pixels.photometric


def _decode_rle(codestream: bytes, pixels: PixelFormat) -> npt.NDArray[Any]:
    """Decode PackBits segments (PS3.5 annex G): one per byte of a band's words, highest first.

    Not by the plug-in for pydicom, whose Rust code panics on damaged segments.
    """
    count, *starts = struct.unpack_from("<16I", codestream)
    if count != pixels.bands * pixels.itemsize or not all(s >= 64 for s in starts[:count]):
        raise ValueError("a segment table that contradicts the header")
    ends = [*starts[1:count], len(codestream)]
    size = pixels.pixel_bytes(1) // count if pixels.allocated > 1 else pixels.pixel_bytes(1)
    segments = np.empty((count, size), np.uint8)
    for segment, start, end in zip(segments, starts, ends, strict=False):
        content = imagecodecs.packbits_decode(codestream[start:end])[:size]
        segment[:] = np.frombuffer(content, np.uint8)  # ValueError where it is too short
    if pixels.allocated == 1:
        return _from_native(segments.tobytes(), pixels)
    shape = (pixels.bands, pixels.itemsize, pixels.rows, pixels.columns)
    highest_first = np.moveaxis(segments.reshape(shape), 1, -1)
    words = np.ascontiguousarray(highest_first).view(pixels.word_dtype.newbyteorder(">"))
    return pixels.samples_of(words[..., 0].astype(pixels.word_dtype))


def _from_native(content: bytes, pixels: PixelFormat) -> npt.NDArray[Any]:
    """Return samples of one frame that lies in ``content`` natively, little-endian."""
    words = pixels.native_rows(
        lambda offset, length: content[offset : offset + length], 0, 0, pixels.rows, order="<"
    )
    return pixels.samples_of(words)


def _check_declared(codestream: bytes, pixels: PixelFormat, where: str) -> None:
    """Compare the size that a codestream declares with the header, before a decoder allocates."""
    want = (pixels.rows, pixels.columns, pixels.bands)
    found = declared(codestream[:CODESTREAM_HEAD_BYTES])
    if found is None:
        return
    said = (found.rows, found.columns, found.bands or pixels.bands)
    if said != want:
        raise DamagedSource(
            f"decoding a compressed frame: the codestream declares {said} rows, columns "
            f"and samples, the header {want}, in {where}"
        )
