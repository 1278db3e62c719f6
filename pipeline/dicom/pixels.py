"""Turn the pixel data of one DICOM instance into samples, and samples back into native bytes.

Words are what lies in the file (unsigned, ``BitsAllocated`` wide); samples are the stored values
that a store keeps (``BitsStored`` wide, sign-extended). Shapes are (B, Y, X): bands, rows, columns.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, cast

import imagecodecs
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
    ByteSource,
    Container,
    Fragment,
    PixelElement,
    foreign_errors,
    fragments,
    open_bytes,
    quiet_pydicom,
)
from tilepress.pipeline.dicom.codestreams import declared

__all__ = [
    "KNOWN_PHOTOMETRICS",
    "UNCUT_SYNTAXES",
    "FrameReader",
    "PixelFormat",
    "declared_precision",
    "ends_image",
    "is_known_uid",
    "is_pair_swapped",
    "pair_swapped",
    "require_syntax",
    "syntax_name",
]

MAX_FRAME_BYTES = 2 * 2**30
"""Decoded size of one frame at most; checked before anything is allocated."""
CACHE_BYTES = 256 * 2**20
"""Decoded frames of compressed pixel data that one reader keeps."""
DEFLATED_FRAMES = "1.2.840.10008.1.2.8.1"
UNCUT_SYNTAXES = frozenset((*JPEG2000TransferSyntaxes, *JPEGLSTransferSyntaxes))
"""Syntaxes whose decoded samples are as deep as the codestream says, whatever BitsStored is."""
_TWELVE_BIT_SYNTAXES = frozenset(f"1.2.840.10008.1.2.4.{n}" for n in (51, 53, 55))
"""JPEG processes 2 and 4, 6 and 8, 10 and 12 (the latter two retired)."""
_JPEG_XL = {
    "1.2.840.10008.1.2.4.110": "JPEG XL Lossless",
    "1.2.840.10008.1.2.4.111": "JPEG XL JPEG Recompression",
    "1.2.840.10008.1.2.4.112": "JPEG XL",
}
_CODESTREAM_HEAD_BYTES = 2**20

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
    return bool(text) and (UID(text).name != text or text in _JPEG_XL)


def syntax_name(syntax: str) -> str:
    """Return a transfer syntax as the standard names it, or its UID where that is one."""
    if is_known_uid(syntax):
        return _JPEG_XL.get(syntax) or str(UID(syntax).name)
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
    ours = (ENCAPSULATED_NATIVE, DEFLATED_FRAMES, RLELossless, *_TWELVE_BIT_SYNTAXES, *_JPEG_XL)
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


class FrameReader:
    """Reads windows of the frames of one instance. Not thread-safe."""

    def __init__(
        self,
        container: Container,
        element: PixelElement,
        pixels: PixelFormat,
        frames: int,
        offsets: bytes = b"",
    ) -> None:
        """``offsets`` is the value of ExtendedOffsetTable, or empty."""
        self._container = container
        self._element = element
        self._pixels = pixels
        self._frames = frames
        with foreign_errors("opening a DICOM file", container.path):
            self._source: ByteSource = open_bytes(container)
        self._order = "<" if container.little else ">"
        self._swapped = is_pair_swapped(container, element, pixels)
        self._cache: OrderedDict[int, npt.NDArray[Any]] = OrderedDict()
        self._index: list[list[Fragment]] = []
        self._photometric = pixels.photometric
        self._offsets = offsets

    def close(self) -> None:
        self._source.close()
        self._cache.clear()

    def read(self, frame: int, rows: slice, columns: slice) -> npt.NDArray[Any]:
        """Return samples (B, rows, columns) of one frame."""
        if self._element.encapsulated:
            return self._decoded(frame)[0][:, rows, columns]
        words = self.words(frame, rows.start, rows.stop)
        return self._pixels.samples_of(words[:, :, columns])

    def words(self, frame: int, top: int, bottom: int) -> npt.NDArray[Any]:
        """Return words (B, bottom − top, X) of a native frame."""
        with foreign_errors("reading native pixel data", self._container.path):
            return self._pixels.native_rows(self._value, frame, top, bottom, order=self._order)

    def decoded_photometric(self) -> str:
        """Return the photometric interpretation of what ``read`` gives."""
        if self._element.encapsulated and self._pixels.bands > 1:
            return self._decoded(0)[1]
        return "YBR_FULL" if self._pixels.halved else self._pixels.photometric

    def _value(self, offset: int, length: int) -> bytes:
        """Return bytes of the pixel value, 16-bit words of bytes put in order."""
        start = self._element.value_offset
        if not self._swapped:
            content = self._source.read(start + offset, length)
        else:
            first, last = offset & ~1, (offset + length + 1) & ~1
            content = pair_swapped(self._source.read(start + first, last - first))
            content = content[offset - first :][:length]
        if len(content) != length:
            raise DamagedSource(
                f"reading native pixel data: {length} bytes wanted at {offset}, got "
                f"{len(content)}, in {self._container.path}"
            )
        return content

    def _decoded(self, frame: int) -> tuple[npt.NDArray[Any], str]:
        cached = self._cache.get(frame)
        if cached is None:
            where = f"{self._container.path} (frame {frame})"
            with foreign_errors("decoding a compressed frame", where):
                cached, self._photometric = _decode(
                    self._codestream(frame), self._container.syntax, self._pixels, where
                )
            self._cache[frame] = cached
            room = max(1, CACHE_BYTES // max(1, self._pixels.array_bytes))
            while len(self._cache) > room:
                self._cache.popitem(last=False)
        else:
            self._cache.move_to_end(frame)
        return cached, self._photometric

    def _codestream(self, frame: int) -> bytes:
        if not self._index:
            self._index = self._frame_index()
        parts = self._index[frame]
        return b"".join(self._source.read(p.offset, p.length) for p in parts)

    def _frame_index(self) -> list[list[Fragment]]:
        """Return the fragments of every frame: by a table, one each, or by end-of-image marks."""
        table, *items = fragments(self._source, self._element.value_offset, self._container.path)
        for code, content in (
            ("Q", self._offsets),
            ("I", self._source.read(table.offset, table.length)),
        ):
            starts = struct.unpack(f"<{len(content) // struct.calcsize(code)}{code}", content)
            by_table = _grouped(items, starts) if len(starts) == self._frames else None
            if by_table is not None:
                return by_table
        if self._frames == 1 and items:
            return [items]
        if len(items) >= self._frames:
            ends = [i for i, p in enumerate(items) if ends_image(self._source, p)]
            if len(items) > self._frames and len(ends) == self._frames:
                return [items[a + 1 : b + 1] for a, b in pairwise([-1, *ends])]
            if len(items) == self._frames:
                return [[p] for p in items]
        raise DamagedSource(
            f"reading encapsulated pixel data: {len(items)} fragments for {self._frames} frames, "
            f"in {self._container.path}"
        )


def ends_image(source: ByteSource, part: Fragment) -> bool:
    """Whether a JPEG family's end-of-image marker lies in the last bytes of a fragment."""
    start = max(part.offset, part.offset + part.length - 10)
    return b"\xff\xd9" in source.read(start, part.offset + part.length - start)


def is_pair_swapped(container: Container, element: PixelElement, pixels: PixelFormat) -> bool:
    """Whether bytes lie pairwise swapped: up to 8 bits as big-endian OW (PS3.5 8.1.2)."""
    return container.syntax == EXPLICIT_BIG and element.vr == "OW" and pixels.allocated <= 8


def _grouped(items: Sequence[Fragment], starts: Sequence[int]) -> list[list[Fragment]] | None:
    """Return the fragments from each start up to the next; None where a start is no item."""
    places = {p.item_offset: i for i, p in enumerate(items)}
    try:
        firsts = [places[s] for s in starts]
    except KeyError:
        return None
    if firsts != sorted(set(firsts)) or not firsts:
        return None
    return [list(items[a:b]) for a, b in pairwise([*firsts, len(items)])]


def _decode(
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
    if syntax in _JPEG_XL:
        return _decode_jpeg_xl(codestream, pixels, where)
    if syntax in _TWELVE_BIT_SYNTAXES and pixels.bands == 1:
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


def declared_precision(source: ByteSource, element: PixelElement) -> int:
    """Return the bits per sample that the first codestream declares; 0 where it does not tell."""
    head = source.read(element.value_offset, _CODESTREAM_HEAD_BYTES)
    if not element.encapsulated or len(head) < 16:
        return 0
    skip = 8 + struct.unpack_from("<I", head, 4)[0] + 8
    found = declared(head[skip:])
    return found.bits if found else 0


def _check_declared(codestream: bytes, pixels: PixelFormat, where: str) -> None:
    """Compare the size that a codestream declares with the header, before a decoder allocates."""
    want = (pixels.rows, pixels.columns, pixels.bands)
    found = declared(codestream[:_CODESTREAM_HEAD_BYTES])
    if found is None:
        return
    said = (found.rows, found.columns, found.bands or pixels.bands)
    if said != want:
        raise DamagedSource(
            f"decoding a compressed frame: the codestream declares {said} rows, columns "
            f"and samples, the header {want}, in {where}"
        )
