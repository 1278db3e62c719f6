"""Turn the pixel data of one DICOM instance into samples, and samples back into native bytes.

Words are what lies in the file (unsigned, ``BitsAllocated`` wide); samples are the stored values
that a store keeps (``BitsStored`` wide, sign-extended). Shapes are (B, Y, X): bands, rows, columns.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import (
    UID,
    JPEG2000TransferSyntaxes,
    JPEGLSTransferSyntaxes,
    RLELossless,
)

from tilepress.errors import DamagedSource, UnsupportedSource
from tilepress.pipeline.dicom.bytes import (
    ENCAPSULATED_NATIVE,
    EXPLICIT_BIG,
    NATIVE_SYNTAXES,
    Container,
    PixelElement,
)

__all__ = [
    "DEFLATED_FRAMES",
    "JPEG_XL_SYNTAXES",
    "KNOWN_PHOTOMETRICS",
    "TWELVE_BIT_SYNTAXES",
    "UNCUT_SYNTAXES",
    "PixelFormat",
    "is_known_uid",
    "is_pair_swapped",
    "pair_swapped",
    "require_syntax",
    "syntax_name",
]

MAX_FRAME_BYTES = 2 * 2**30
"""Decoded size of one frame at most; checked before anything is allocated."""
DEFLATED_FRAMES = "1.2.840.10008.1.2.8.1"
UNCUT_SYNTAXES = frozenset((*JPEG2000TransferSyntaxes, *JPEGLSTransferSyntaxes))
"""Syntaxes whose decoded samples are as deep as the codestream says, whatever BitsStored is."""
TWELVE_BIT_SYNTAXES = frozenset(f"1.2.840.10008.1.2.4.{n}" for n in (51, 53, 55))
"""JPEG processes 2 and 4, 6 and 8, 10 and 12 (the latter two retired)."""
JPEG_XL_SYNTAXES = {
    "1.2.840.10008.1.2.4.110": "JPEG XL Lossless",
    "1.2.840.10008.1.2.4.111": "JPEG XL JPEG Recompression",
    "1.2.840.10008.1.2.4.112": "JPEG XL",
}

_PHOTOMETRICS = frozenset(
    {"MONOCHROME1", "MONOCHROME2", "PALETTE COLOR", "RGB", "YBR_FULL", "YBR_FULL_422"}
    | {"YBR_ICT", "YBR_RCT"}
)
KNOWN_PHOTOMETRICS = _PHOTOMETRICS | {"ARGB", "CMYK", "HSV", "XYB"}
KNOWN_PHOTOMETRICS |= {"YBR_PARTIAL_420", "YBR_PARTIAL_422"}
"""Terms of the standard, retired ones too (PS3.3 C.7.6.3.1.2): they may be told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelFormat:
    """The image pixel module of one instance (PS3.3 C.7.6.3), checked."""

    rows: int
    columns: int
    bands: int
    allocated: int
    """BitsAllocated: 1, 8, 16, 32 or 64."""
    stored: int
    high: int
    """HighBit of the file; ``stored - 1`` where it contradicts the rest."""
    signed: bool
    photometric: str
    planar: bool
    """Whether bands follow each other as planes (PlanarConfiguration 1)."""
    floating: bool

    @property
    def itemsize(self) -> int:
        return max(1, self.allocated // 8)

    @property
    def word_dtype(self) -> np.dtype[Any]:
        """Unsigned dtype of a word, native byte order."""
        return np.dtype(f"u{self.itemsize}")

    @property
    def dtype(self) -> np.dtype[Any]:
        """Dtype of a sample."""
        kind = "f" if self.floating else "i" if self.signed else "u"
        return np.dtype(f"{kind}{self.itemsize}")

    @property
    def halved(self) -> bool:
        """Whether native bytes share chroma between two columns (YBR_FULL_422)."""
        return self.photometric == "YBR_FULL_422"

    @property
    def frame_bits(self) -> int:
        """Bits of one native frame."""
        samples = self.rows * self.columns * (2 if self.halved else self.bands)
        return samples * self.allocated

    @property
    def array_bytes(self) -> int:
        """Bytes of one frame as samples."""
        return self.rows * self.columns * self.bands * self.itemsize

    @property
    def exact(self) -> bool:
        """Whether samples hold every bit of the words."""
        return self.floating or self.allocated == 1 or self.stored == self.allocated

    def pixel_bytes(self, frames: int) -> int:
        """Bytes of ``frames`` native frames without the padding to an even length."""
        return -(-self.frame_bits * frames // 8)

    @property
    def group(self) -> tuple[Any, ...]:
        """What instances of one image share."""
        bits = self.allocated, self.stored, self.signed, self.floating
        return self.rows, self.columns, self.bands, *bits, self.photometric

    def to_config(self) -> dict[str, Any]:
        """Return the fields as JSON has them."""
        return asdict(self)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> PixelFormat:
        """Return what ``to_config`` gave; TypeError where a field is missing or unknown."""
        return cls(**config)

    def check(self, path: str) -> None:
        """Raise ``UnsupportedSource`` for layouts that are not taken, before anything is read."""
        doing = "reading a DICOM image"
        if self.photometric not in _PHOTOMETRICS:
            found = (
                f"is {self.photometric!r}"
                if self.photometric
                else "is missing or no term of the standard"
            )
            listed = ", ".join(sorted(_PHOTOMETRICS))
            raise UnsupportedSource(
                f"{doing}: PhotometricInterpretation {found}, want one of {listed}, in {path}"
            )
        if self.allocated not in (1, 8, 16, 32, 64):
            raise UnsupportedSource(
                f"{doing}: BitsAllocated is {self.allocated}, want 1, 8, 16, 32 or 64, in {path}"
            )
        if not 1 <= self.stored <= self.allocated:
            raise DamagedSource(
                f"{doing}: BitsStored is {self.stored} of {self.allocated} allocated, in {path}"
            )
        if self.rows < 1 or self.columns < 1 or self.bands not in (1, 2, 3, 4):
            raise DamagedSource(
                f"{doing}: {self.rows} rows × {self.columns} columns × {self.bands} samples "
                f"per pixel, in {path}"
            )
        if self.halved and (self.allocated != 8 or self.bands != 3):
            raise UnsupportedSource(f"{doing}: YBR_FULL_422 that is not 3 × 8 bits, in {path}")
        if self.allocated == 1 and self.bands != 1:
            raise UnsupportedSource(f"{doing}: colour of 1 bit, in {path}")
        if self.array_bytes > MAX_FRAME_BYTES:
            raise UnsupportedSource(
                f"{doing}: a frame of {self.array_bytes} bytes, at most {MAX_FRAME_BYTES} are "
                f"taken, in {path}"
            )

    def samples_of(self, words: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the samples in ``words``: BitsStored bits below HighBit, sign-extended."""
        if self.exact:
            return words.view(self.dtype)
        unused = self.allocated - 1 - self.high
        samples = (words << unused).view(self.dtype)
        samples >>= self.allocated - self.stored
        return samples

    def words_of(self, samples: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return words for ``samples``; bits above them repeat the sign, bits below are 0."""
        words = samples.view(self.word_dtype)
        shift = self.high + 1 - self.stored
        return words << shift if shift else words

    def native_rows(
        self, read: Callable[[int, int], bytes], frame: int, top: int, bottom: int, *, order: str
    ) -> npt.NDArray[Any]:
        """Return words (B, bottom − top, X) of rows ``top`` … ``bottom`` of a native frame.

        ``read(offset, length)`` gives bytes of the pixel value; ``order`` is "<" or ">".
        """
        height = bottom - top
        if self.allocated == 1:
            first = (frame * self.rows + top) * self.columns
            last = first + height * self.columns
            packed = np.frombuffer(read(first // 8, -(-last // 8) - first // 8), np.uint8)
            bits = np.unpackbits(packed, bitorder="little")[first % 8 :][: last - first]
            return bits.reshape(1, height, self.columns)
        if self.halved:
            start = frame * self.frame_bits // 8 + top * self.columns * 2
            pairs = np.frombuffer(read(start, height * self.columns * 2), np.uint8)
            return _doubled(pairs.reshape(height, self.columns // 2, 4))
        dtype = self.word_dtype.newbyteorder(cast(Any, order))
        line = self.columns * self.itemsize
        start = frame * self.frame_bits // 8
        if self.planar or self.bands == 1:
            planes = [
                np.frombuffer(read(start + (b * self.rows + top) * line, height * line), dtype)
                for b in range(self.bands)
            ]
            words = np.stack(planes).reshape(self.bands, height, self.columns)
        else:
            line *= self.bands
            flat = np.frombuffer(read(start + top * line, height * line), dtype)
            words = flat.reshape(height, self.columns, self.bands).transpose(2, 0, 1)
        return np.ascontiguousarray(words, dtype=self.word_dtype)

    def native_bytes(self, words: npt.NDArray[Any], *, order: str) -> bytes:
        """Return one native frame of words (B, Y, X) (not of 1 bit: those share bytes)."""
        if self.halved:
            pairs = np.empty((self.rows, self.columns // 2, 4), np.uint8)
            pairs[..., 0], pairs[..., 1] = words[0, :, ::2], words[0, :, 1::2]
            pairs[..., 2], pairs[..., 3] = words[1, :, ::2], words[2, :, ::2]
            return pairs.tobytes()
        if not self.planar:
            words = words.transpose(1, 2, 0)
        return words.astype(self.word_dtype.newbyteorder(cast(Any, order)), copy=False).tobytes()


def _doubled(pairs: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return (3, Y, X) from (Y, X/2, 4) of Y1 Y2 Cb Cr (PS3.3 C.7.6.3.1.2)."""
    height, half, _ = pairs.shape
    words = np.empty((3, height, half, 2), np.uint8)
    words[0] = pairs[..., :2]
    words[1] = pairs[..., 2:3]
    words[2] = pairs[..., 3:4]
    return words.reshape(3, height, 2 * half)


def pair_swapped(content: bytes) -> bytes:
    """Return ``content`` (of even length) with the bytes of each 16-bit word swapped."""
    return np.frombuffer(content, np.uint16).byteswap().tobytes()


def is_known_uid(text: str) -> bool:
    """Whether the standard lists this UID: then it says nothing of anyone."""
    return bool(text) and (UID(text).name != text or text in JPEG_XL_SYNTAXES)


def syntax_name(syntax: str) -> str:
    """Return a transfer syntax as the standard names it, or its UID where that is one."""
    if is_known_uid(syntax):
        return JPEG_XL_SYNTAXES.get(syntax) or str(UID(syntax).name)
    return syntax if re.fullmatch(r"[0-9.]{1,64}", syntax) else "that is no UID"


def require_syntax(container: Container, *, encapsulated: bool) -> None:
    """Raise where the pixel data's transfer syntax cannot be decoded here."""
    syntax = container.syntax
    name = syntax_name(syntax)
    if (syntax in NATIVE_SYNTAXES) == encapsulated:
        found = "encapsulated" if encapsulated else "native"
        raise DamagedSource(
            f"reading a DICOM image: {found} pixel data under transfer syntax {name}, "
            f"in {container.path}"
        )
    ours = (
        ENCAPSULATED_NATIVE,
        DEFLATED_FRAMES,
        RLELossless,
        *TWELVE_BIT_SYNTAXES,
        *JPEG_XL_SYNTAXES,
    )
    if not encapsulated or syntax in ours:
        return
    try:
        available = get_decoder(UID(syntax)).is_available
    except NotImplementedError:
        available = False
    if not available:
        raise UnsupportedSource(
            f"reading a DICOM image: transfer syntax {name} cannot be decoded, in {container.path}"
        )


def is_pair_swapped(container: Container, element: PixelElement, pixels: PixelFormat) -> bool:
    """Whether bytes lie pairwise swapped: up to 8 bits as big-endian OW (PS3.5 8.1.2)."""
    return container.syntax == EXPLICIT_BIG and element.vr == "OW" and pixels.allocated <= 8
