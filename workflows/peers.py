"""Sizes that established lossless codecs reach on the same samples.

Every peer gets what suits it best, so that a comparison is honest: whole planes instead of tiles,
the strongest settings that a person would still wait for, RGB as RGB as well as plane by plane
(the smaller counts), and the true bit depth where the format can say it. Every result is decoded
and compared: some codecs take a dtype and silently lose its low bits.

Samples that a peer cannot take as they are become ones that it can, without loss:

- bool → uint8;
- signed integers, and integers of more than 16 bits: offset by the plane's minimum;
- what then still has more than 16 bits, and floats (ordered bit-cast): planes of 16 bits each.
  JPEG XL takes float32 natively as well; the smaller counts.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import imagecodecs
import jpeg_ls
import numpy as np
import numpy.typing as npt

__all__ = ["PEERS", "PeerSize", "SizeCache", "peer_size"]

Samples = npt.NDArray[Any]

_CODEC_BITS = 16
"""Bits per sample that every peer takes."""


@dataclass(frozen=True, slots=True)
class PeerSize:
    """What one peer makes of one image."""

    bytes: int
    remark: str = ""
    """How the samples were put so that the peer could take them; empty where as they are."""


@dataclass(slots=True)
class SizeCache:
    """Sizes by content and setting, kept in a JSON file so that a rerun measures nothing twice.

    The key holds the samples' sha256, their dtype and shape, the peer's setting and the version
    of the library, so that a stale entry cannot be met.
    """

    path: Path | None = None
    sizes: dict[str, int | None] = field(default_factory=dict)
    _unsaved: int = 0

    @classmethod
    def load(cls, path: Path | None) -> SizeCache:
        if path is None or not path.exists():
            return cls(path)
        return cls(path, json.loads(path.read_text()))

    def get(
        self, samples: Samples, setting: str, measure: Callable[[Samples], int | None]
    ) -> int | None:
        """Return the size of ``samples`` under ``setting``; None where the peer refuses them."""
        digest = hashlib.sha256(np.ascontiguousarray(samples).data).hexdigest()[:32]
        shape = "x".join(map(str, samples.shape))
        key = f"{digest} {samples.dtype.str[1:]} {shape} {setting}"
        if key not in self.sizes:
            self.sizes[key] = measure(samples)
            self._unsaved += samples.nbytes
            if self._unsaved > 2**22:
                self.save()
        return self.sizes[key]

    def save(self) -> None:
        """Write the file, atomically."""
        if self.path is not None and self._unsaved:
            whole = json.dumps(self.sizes, indent=0, sort_keys=True)
            beside = self.path.with_name(self.path.name + ".new")
            beside.write_text(whole)
            beside.replace(self.path)
        self._unsaved = 0


def peer_size(
    peer: str, planes: Samples, *, bands: int = 1, cache: SizeCache | None = None
) -> PeerSize:
    """Return the size that ``peer`` needs for an image, verified by decoding.

    Parameters
    ----------
    planes : ndarray, (planes, y, x), any bool, integer or float dtype
        The leading axes of the image, flattened in C order.
    bands : int
        Size of the innermost leading axis if that axis is ``band``. Of 3 or 4 bands the first
        three are also tried as one RGB image.
    """
    return PEERS[peer](planes, bands, cache or SizeCache())


# --- how samples are put ---------------------------------------------------------------------


def _usable(plane: Samples) -> list[Samples]:
    """Return the uint8 or uint16 planes that stand for one plane, most significant first."""
    if plane.dtype == bool:
        return [plane.astype(np.uint8)]
    if plane.dtype in (np.uint8, np.uint16):
        return [plane]
    if plane.dtype.kind in "iu":
        low, high = int(plane.min()), int(plane.max())
        if high - low < 2**_CODEC_BITS:
            exact = (
                plane - plane.min() if plane.dtype.itemsize == 8 else plane.astype(np.int64) - low
            )
            return [exact.astype(np.uint8 if high - low < 256 else np.uint16)]
    return _split(_ordered_bits(plane))


def _remark(dtype: np.dtype[Any]) -> str:
    """Say how samples of ``dtype`` reach a peer."""
    if dtype.kind == "b":
        return "bool as uint8"
    if dtype in (np.uint8, np.uint16):
        return ""
    if dtype.kind == "f":
        return f"{dtype} in 16-bit parts"
    return "offset to unsigned" + (", in 16-bit parts if wider" if dtype.itemsize > 2 else "")


def _ordered_bits(planes: Samples) -> Samples:
    """Return unsigned integers in the order of the samples' values (bit for bit reversible)."""
    unsigned = np.dtype(f"u{planes.dtype.itemsize}")
    bits = planes.view(unsigned)
    sign = unsigned.type(1 << (8 * planes.dtype.itemsize - 1))
    if planes.dtype.kind == "f":
        return np.where(bits & sign, ~bits, bits | sign)
    return bits ^ sign if planes.dtype.kind == "i" else bits


def _split(bits: Samples) -> list[Samples]:
    """Return the 16-bit parts of unsigned samples, the most significant first."""
    parts = range(max(1, bits.dtype.itemsize * 8 // _CODEC_BITS))
    return [
        (bits >> bits.dtype.type(_CODEC_BITS * part)).astype(np.uint16) for part in reversed(parts)
    ]


def _sum(sizes: Sequence[int | None]) -> int | None:
    """Add sizes up; None where one of them is not known."""
    known = [size for size in sizes if size is not None]
    return sum(known) if len(known) == len(sizes) else None


# --- the peers -------------------------------------------------------------------------------

Encode = Callable[[Samples], bytes]
Decode = Callable[[bytes], Samples]


def _verified(encode: Encode, decode: Decode) -> Callable[[Samples], int | None]:
    """Return a function that measures samples, or gives None where they do not come back."""

    def measure(samples: Samples) -> int | None:
        try:
            data = encode(samples)
            back = np.asarray(decode(data)).reshape(samples.shape)
        except (RuntimeError, ValueError):  # the codec's own way to refuse a dtype or size
            return None
        same = back.dtype == samples.dtype and back.tobytes() == samples.tobytes()
        return len(data) if same else None

    return measure


@dataclass(frozen=True, slots=True)
class _Peer:
    """One codec: settings for a plane (y, x), settings for an RGB image (y, x, 3)."""

    library: str
    plane: Mapping[str, Callable[[Samples], int | None]]
    rgb: Mapping[str, Callable[[Samples], int | None]]
    rgb_dtypes: tuple[type, ...] = (np.uint8, np.uint16)
    native_float32: bool = False

    def __call__(self, planes: Samples, bands: int, cache: SizeCache) -> PeerSize:
        as_rgb = bands in (3, 4) and planes.dtype in self.rgb_dtypes and bool(self.rgb)
        if as_rgb:
            sizes = [
                self._frame(planes[first : first + bands], cache)
                for first in range(0, len(planes), bands)
            ]
        else:
            sizes = [self._plane(plane, cache) for plane in planes]
        total = _sum(sizes)
        if total is None:
            raise ValueError(f"measuring a peer: it does not take {planes.dtype} {planes.shape}")
        remark = _remark(planes.dtype)
        if self.native_float32 and planes.dtype == np.float32:
            remark = "float32 natively or in 16-bit parts"
        return PeerSize(total, remark)

    def _frame(self, frame: Samples, cache: SizeCache) -> int | None:
        """Measure 3 or 4 bands: the first three as RGB or apart, a fourth on its own."""
        rgb = np.ascontiguousarray(np.moveaxis(frame[:3], 0, -1))
        together = self._best(self.rgb, rgb, cache)
        apart = _sum([self._plane(plane, cache) for plane in frame[:3]])
        colours = min((size for size in (together, apart) if size is not None), default=None)
        return _sum([colours, *(self._plane(plane, cache) for plane in frame[3:])])

    def _plane(self, plane: Samples, cache: SizeCache) -> int | None:
        sizes = [_sum([self._best(self.plane, part, cache) for part in _usable(plane)])]
        if self.native_float32 and plane.dtype == np.float32:
            sizes.append(self._best(self.plane, plane, cache))
        return min((size for size in sizes if size is not None), default=None)

    def _best(
        self,
        settings: Mapping[str, Callable[[Samples], int | None]],
        samples: Samples,
        cache: SizeCache,
    ) -> int | None:
        prefix = f"{self.library}-{version(self.library)}"
        sizes = [cache.get(samples, f"{prefix} {name}", run) for name, run in settings.items()]
        return min((size for size in sizes if size is not None), default=None)


def _jpegxl(effort: int) -> Callable[[Samples], int | None]:
    def encode(samples: Samples) -> bytes:
        return bytes(imagecodecs.jpegxl_encode(samples, lossless=True, effort=effort, numthreads=1))

    return _verified(encode, imagecodecs.jpegxl_decode)


def _jpegls(samples: Samples) -> int | None:
    """JPEG-LS with the true bit depth: its default thresholds follow from it."""
    bits = max(2, int(samples.max()).bit_length())
    height, width, *components = samples.shape

    def encode(values: Samples) -> bytes:
        count = components[0] if components else 1
        mode = 2 if components else 0  # samples interleaved, or one plane
        return bytes(jpeg_ls.encode_buffer(values.tobytes(), height, width, count, bits, 0, mode))

    def decode(data: bytes) -> Samples:
        return np.asarray(imagecodecs.jpegls_decode(data)).astype(samples.dtype)

    return _verified(encode, decode)(samples)


def _jpeg2000(*, mct: bool) -> Callable[[Samples], int | None]:
    """JPEG 2000, reversible 5/3, one tile; ``mct`` applies the reversible colour transform."""

    def encode(samples: Samples) -> bytes:
        return bytes(
            imagecodecs.jpeg2k_encode(
                samples, level=0, reversible=True, codecformat="j2k", mct=mct, numthreads=1
            )
        )

    return _verified(encode, imagecodecs.jpeg2k_decode)


def _webp(samples: Samples) -> int | None:
    def encode(values: Samples) -> bytes:
        return bytes(imagecodecs.webp_encode(values, lossless=True, level=100, method=6))

    return _verified(encode, imagecodecs.webp_decode)(samples)


def _zstd(samples: Samples) -> int | None:
    """zstd 19 over the bytes as they are and byte-shuffled; the smaller counts."""
    raw = np.ascontiguousarray(samples).view(np.uint8).reshape(-1, samples.dtype.itemsize)
    layouts = [raw.tobytes()]
    if samples.dtype.itemsize > 1:
        layouts.append(np.ascontiguousarray(raw.T).tobytes())
    coded = [imagecodecs.zstd_encode(layout, level=19) for layout in layouts]
    if [imagecodecs.zstd_decode(data) for data in coded] != layouts:
        return None
    return min(map(len, coded))


def _zstd_peer(planes: Samples, bands: int, cache: SizeCache) -> PeerSize:
    """Measure zstd on the samples as they are: it takes every dtype."""
    setting = f"imagecodecs-{version('imagecodecs')} zstd 19 shuffle"
    total = _sum([cache.get(plane, setting, _zstd) for plane in planes])
    if total is None:
        raise ValueError(f"measuring zstd: it does not give {planes.dtype} {planes.shape} back")
    return PeerSize(total)


_EFFORTS = {f"jpegxl e{effort}": _jpegxl(effort) for effort in (3, 7, 9)}
_J2K_PLANE = {"jpeg2000": _jpeg2000(mct=False)}
_J2K_RGB = {"jpeg2000 rct": _jpeg2000(mct=True)}

PEERS: Mapping[str, Callable[[Samples, int, SizeCache], PeerSize]] = {
    "zstd": _zstd_peer,
    "jpegls": _Peer("pyjpegls", {"jpegls": _jpegls}, {"jpegls": _jpegls}),
    "jpeg2000": _Peer("imagecodecs", _J2K_PLANE, _J2K_RGB),
    "jpegxl": _Peer("imagecodecs", _EFFORTS, _EFFORTS, native_float32=True),
    "webp": _Peer("imagecodecs", {}, {"webp": _webp}, rgb_dtypes=(np.uint8,)),
}
"""Name → function from (planes, bands, cache) to a verified size; ValueError where not for such."""
