"""Code frames of DICOM losslessly in other transfer syntaxes; each is decoded before it is given.

JPEG-LS, JPEG 2000 and RLE are coded as pydicom's plug-ins do. High-Throughput JPEG 2000 is coded by
OpenJPH and decoded by OpenJPEG, so that two libraries agree on every stream.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt
from pydicom.encaps import encapsulate
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.encoders.base import get_encoder
from pydicom.uid import (
    UID,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from tilepress.errors import StoreError, UsageError

__all__ = ["NATIVE", "SYNTAXES", "FrameCodec"]

NATIVE = "native"
SYNTAXES: dict[str, UID] = {
    NATIVE: ExplicitVRLittleEndian,
    "jpegls": JPEGLSLossless,
    "jpeg2000": JPEG2000Lossless,
    "htj2k": HTJ2KLossless,
    "rle": RLELossless,
}
"""Transfer syntaxes by what users call them."""

_PLUGINS = {JPEGLSLossless: "pyjpegls", JPEG2000Lossless: "pylibjpeg", RLELossless: "pylibjpeg"}
_SIZ, _DEPTHS_AT = b"\xff\x51", 40
"""Marker of a codestream's sizes, and how far behind it the depths begin (ISO 15444-1, A.5.1)."""

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameCodec:
    """Codes the frames of one instance in a transfer syntax."""

    syntax: UID
    rows: int
    columns: int
    bands: int
    allocated: int
    """8 or 16."""
    stored: int
    signed: bool
    photometric: str
    """Of the samples."""

    @classmethod
    def of(cls, name: str, **layout: Any) -> FrameCodec:  # noqa: ANN401  # the fields above
        """Return the codec that users call so.

        Raises UsageError for a name that nobody knows, and for samples that it does not take.
        """
        if name not in SYNTAXES or name == NATIVE:
            listed = ", ".join(SYNTAXES)
            raise UsageError(f"exporting DICOM: transfer syntax {name!r}, want one of {listed}")
        found = cls(syntax=SYNTAXES[name], **layout)
        if found.allocated not in (8, 16) or found.bands not in (1, 3):
            text = f"{found.bands} × {found.allocated} bits"
            raise UsageError(
                f"exporting DICOM: {name} takes 8 or 16 bits of grey or RGB, got {text}"
            )
        if name == "jpegls" and found.stored < 2:
            raise UsageError("exporting DICOM: jpegls takes samples of 2 bits or more, got 1")
        return found

    @property
    def coded_photometric(self) -> str:
        """What the streams are, which a file says."""
        return "YBR_RCT" if self._has_transform else self.photometric

    def encode(self, samples: Array) -> bytes:
        """Return the stream of a frame (band, y, x).

        Raises StoreError where it does not decode to the same samples: nothing is written then.
        """
        pixels = np.ascontiguousarray(samples.transpose(1, 2, 0))
        if self.syntax == HTJ2KLossless:
            stream = self._htj2k(pixels)
        else:
            words = pixels.view(f"u{pixels.itemsize}")
            if self.syntax == JPEGLSLossless:  # a sign is not repeated above BitsStored
                words = words & words.dtype.type((1 << self.stored) - 1)
            encoder = get_encoder(self.syntax)
            stream = encoder.encode(
                words.astype(words.dtype.newbyteorder("<")).tobytes(),
                encoding_plugin=_PLUGINS[self.syntax],
                **self._layout(self.photometric),
            )
        if not np.array_equal(self.decode(stream), pixels):
            name = self.syntax.name
            raise StoreError(
                f"exporting DICOM: a frame does not come back from {name}; leave it out"
            )
        return stream

    def decode(self, stream: bytes) -> Array:
        """Return the samples (y, x, band) of a stream."""
        layout = self._layout(self.coded_photometric)
        decoder = get_decoder(self.syntax)
        found, _ = decoder.as_array(encapsulate([stream]), index=0, raw=True, **layout)
        return found.reshape(self.rows, self.columns, self.bands)

    def _htj2k(self, pixels: Array) -> bytes:
        """Return a codestream whose depth is BitsStored.

        OpenJPH is given the samples around zero, as JPEG 2000 codes them, as signed ones of the
        whole type, for which it shifts nothing; then the depth and sign are written that they have.
        """
        if self._has_transform:
            return bytes(imagecodecs.htj2k_encode(pixels, reversible=True, rgb=True))
        middle = 0 if self.signed else 1 << (self.stored - 1)
        centred = (pixels.astype(np.int32) - middle).astype(f"i{pixels.itemsize}")
        if self.bands == 1:
            centred = centred[..., 0]
        stream = bytearray(imagecodecs.htj2k_encode(centred, reversible=True, rgb=False))
        at = stream.index(_SIZ) + _DEPTHS_AT
        for band in range(self.bands):
            stream[at + 3 * band] = (self.stored - 1) | (0x80 if self.signed else 0)
        return bytes(stream)

    @property
    def _has_transform(self) -> bool:
        """Whether colours are transformed by the codec, which takes whole bytes of RGB."""
        is_rgb = self.photometric == "RGB" and (self.allocated, self.stored) == (8, 8)
        return self.syntax == HTJ2KLossless and is_rgb

    def _layout(self, photometric: str) -> dict[str, Any]:
        layout = {
            "rows": self.rows,
            "columns": self.columns,
            "samples_per_pixel": self.bands,
            "number_of_frames": 1,
            "bits_allocated": self.allocated,
            "bits_stored": self.stored,
            "pixel_representation": int(self.signed),
            "photometric_interpretation": photometric,
            "pixel_keyword": "PixelData",
        }
        return layout | ({"planar_configuration": 0} if self.bands > 1 else {})
