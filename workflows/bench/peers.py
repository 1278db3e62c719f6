"""Sizes that established codecs reach on the same samples, lossless or within the same bound.

Every peer gets what suits it best, so that a comparison is honest: whole planes instead of tiles,
the strongest settings that a person would still wait for, RGB as RGB as well as plane by plane
(the smaller counts), and the true bit depth where the format can say it. Every result is decoded
and compared: some codecs take a dtype and silently lose its low bits.

Samples that a peer cannot take as they are become ones that it can, without loss:

- bool → uint8;
- signed integers, and integers of more than 16 bits: offset by the plane's minimum;
- what then still has more than 16 bits, and floats (ordered bit-cast): planes of 16 bits each.
  JPEG XL takes float32 natively as well, LERC most dtypes; the smaller counts.

Near-lossless (``max_error`` k > 0): a lossless peer codes floor((x + k) / (2k + 1)), floats
round(x / 2k), which is what a person would do with it; JPEG-LS (NEAR = k) and LERC (max_z_error)
also code the samples themselves, and the smaller counts. Unlike tilepress, no peer has to keep
nodata apart from data there.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import imagecodecs
import jpeg_ls
import numpy as np
import numpy.typing as npt

from tilepress.codecs.loss import bounded

__all__ = [
    "BEST",
    "PEERS",
    "PeerSize",
    "SizeCache",
    "peer_size",
    "peer_sizes",
    "quantise",
    "usable_planes",
]

Samples = npt.NDArray[Any]
Measure = Callable[[Samples], int | None]
"""Returns verified bytes, or None where the codec refuses such samples or changes them."""

BEST = "best"
"""Not a codec: the smallest of all peers, plane by plane (RGB frame by RGB frame)."""

_CODEC_BITS = 16
"""Bits per sample that every peer takes."""
_MAX_NEAR = 255
"""Largest NEAR of JPEG-LS."""
_EXACT_FLOAT64 = 2.0**53
_RGB_BANDS = (3, 4)


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
    """Return the size that ``peer`` needs for an image, lossless; ValueError where it refuses it.

    See ``peer_sizes`` for the arguments.
    """
    sizes = peer_sizes((peer,), planes, bands=bands, cache=cache)
    if peer not in sizes:
        raise ValueError(f"measuring {peer}: it does not take {planes.dtype} {planes.shape}")
    return sizes[peer]


def peer_sizes(
    peers: Sequence[str],
    planes: Samples,
    *,
    bands: int = 1,
    max_error: float = 0,
    nodata: float | int | None = None,
    cache: SizeCache | None = None,
) -> dict[str, PeerSize]:
    """Return the size that every peer needs for an image, and ``BEST``; verified by decoding.

    Peers that do not take such samples are left out.

    Parameters
    ----------
    planes : ndarray, (planes, y, x), any bool, integer or float dtype
        The leading axes of the image, flattened in C order.
    bands : int
        Size of the innermost leading axis if that axis is ``band``. Of 3 or 4 bands the first
        three are also tried as one RGB image.
    max_error : float
        Largest error allowed; 0 is lossless.
    nodata : float or int
        Of floats near-lossless, such samples count as absent: the peers need not keep them.
    """
    cache = SizeCache() if cache is None else cache
    grid = quantise(planes, max_error, nodata) if max_error else planes
    step = bands if bands in _RGB_BANDS else 1
    totals: dict[str, int | None] = dict.fromkeys((*peers, BEST), 0)
    for first in range(0, len(planes), step):
        unit = slice(first, first + step)
        sizes = [PEERS[name].measure(planes[unit], grid[unit], max_error, cache) for name in peers]
        for name, size in (*zip(peers, sizes, strict=True), (BEST, _best_of(sizes))):
            totals[name] = _sum([totals[name], size.total])
    return {
        name: PeerSize(total, PEERS[name].remark(planes.dtype) if name in PEERS else "")
        for name, total in totals.items()
        if total is not None
    }


def quantise(planes: Samples, max_error: float, nodata: float | int | None = None) -> Samples:
    """Return the integers that a person would give a lossless codec to stay within ``max_error``.

    Integers keep their dtype. Floats become int32 or int64; what is not finite or is ``nodata``
    becomes one value below all others. Floats too large for exact steps, and bool, come back as
    they are. Raises ValueError if a sample would come back further off than ``max_error``.
    """
    if planes.dtype.kind == "f":
        return _quantise_floats(planes, max_error, nodata)
    if planes.dtype.kind not in "iu":
        return planes
    k = int(max_error)
    wide = planes if planes.dtype.itemsize == 8 else planes.astype(np.int64)
    step = wide.dtype.type(2 * k + 1)
    levels = wide // step + (wide % step + wide.dtype.type(k)) // step
    with np.errstate(over="ignore"):
        off = levels * step - wide  # of unsigned samples modulo 2^64
    if not (np.minimum(off, -off) if off.dtype.kind == "u" else abs(off)).max(initial=0) <= k:
        raise ValueError(f"quantising {planes.dtype}: a sample is off by more than {k}")
    return levels.astype(planes.dtype)


def _quantise_floats(planes: Samples, max_error: float, nodata: float | int | None) -> Samples:
    values = planes.astype(np.float64)
    absent = ~np.isfinite(values)
    if nodata is not None:
        absent |= planes == np.asarray(nodata).astype(planes.dtype)
    step = 2.0 * max_error
    levels = np.rint(np.where(absent, 0.0, values) / step)
    if not np.abs(levels).max(initial=0.0) < _EXACT_FLOAT64:
        return planes
    off = np.abs(levels * step - values)[~absent]
    slack = max_error * 1e-6 + np.abs(values[~absent]).max(initial=0.0) * 1e-15  # rounding
    if not off.max(initial=0.0) <= max_error + slack:
        raise ValueError(f"quantising {planes.dtype}: a sample is off by more than {max_error}")
    levels[absent] = levels.min(initial=0.0) - 1
    fits = np.abs(levels).max(initial=0.0) < 2**31
    return levels.astype(np.int32 if fits else np.int64)


# --- how samples are put ---------------------------------------------------------------------


def usable_planes(plane: Samples) -> list[Samples]:
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


def _least(sizes: Sequence[int | None]) -> int | None:
    return min((size for size in sizes if size is not None), default=None)


# --- the peers -------------------------------------------------------------------------------

Encode = Callable[[Samples], bytes]
Decode = Callable[[bytes], Samples]


def _verified(encode: Encode, decode: Decode, max_error: float = 0) -> Measure:
    """Return a function that measures samples, or gives None where they do not come back."""
    loss = bounded(max_error)

    def measure(samples: Samples) -> int | None:
        try:
            data = encode(samples)
            back = np.asarray(decode(data)).reshape(samples.shape)
        except (RuntimeError, ValueError):  # the codec's own way to refuse a dtype or size
            return None
        if back.dtype != samples.dtype or loss.forbidden(samples, back).any():
            return None
        return len(data)

    return measure


@dataclass(frozen=True, slots=True)
class _UnitSize:
    """What one peer needs for one plane, or for one frame of 3 or 4 bands."""

    rgb: int | None
    """The first three bands as one image; None where there are none or the peer cannot."""
    planes: tuple[int | None, ...]

    @property
    def total(self) -> int | None:
        if len(self.planes) == 1:
            return self.planes[0]
        return _sum([_least([self.rgb, _sum(self.planes[:3])]), *self.planes[3:]])


def _best_of(sizes: Sequence[_UnitSize]) -> _UnitSize:
    """Return the smallest of all peers for the RGB image and for every plane."""
    rgb = _least([size.rgb for size in sizes])
    planes = zip(*(size.planes for size in sizes), strict=True)
    return _UnitSize(rgb, tuple(_least(column) for column in planes))


def _no_settings(max_error: float) -> Mapping[str, Measure]:
    return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Peer:
    """One codec: settings for a plane (y, x), settings for an RGB image (y, x, 3)."""

    library: str
    plane: Mapping[str, Measure] = field(default_factory=dict)
    rgb: Mapping[str, Measure] = field(default_factory=dict)
    bounded: Callable[[float], Mapping[str, Measure]] = _no_settings
    """From the largest error to the settings that code samples themselves within it."""
    rgb_dtypes: tuple[type, ...] = (np.uint8, np.uint16)
    native: tuple[str, ...] = ()
    """Dtypes that it takes as they are, beside uint8 and uint16."""
    takes_all: bool = False
    """It codes bytes, whatever the dtype."""

    def measure(
        self, given: Samples, grid: Samples, max_error: float, cache: SizeCache
    ) -> _UnitSize:
        """Measure one plane or one frame of 3 or 4 bands, (planes, y, x).

        grid : what a lossless codec gets: ``given``, or its quantised form.
        """
        bounded = self.bounded(max_error) if max_error else {}
        planes = tuple(
            _least([self._plane(level, cache), self._bounded(plane, bounded, cache)])
            for plane, level in zip(given, grid, strict=True)
        )
        together = None
        if len(given) > 1 and given.dtype in self.rgb_dtypes and self.rgb:
            together = self._best(self.rgb, _as_rgb(grid), cache)
            if bounded:
                together = _least([together, self._best(bounded, _as_rgb(given), cache)])
        return _UnitSize(together, planes)

    def remark(self, dtype: np.dtype[Any]) -> str:
        """Say how samples of ``dtype`` reach this peer."""
        if self.takes_all:
            return ""
        if dtype.name in self.native:
            return f"{dtype} natively or in 16-bit parts" if dtype.kind == "f" else ""
        return _remark(dtype)

    def _plane(self, plane: Samples, cache: SizeCache) -> int | None:
        if self.takes_all:
            return self._best(self.plane, plane, cache)
        sizes = [_sum([self._best(self.plane, part, cache) for part in usable_planes(plane)])]
        if plane.dtype.name in self.native:
            sizes.append(self._best(self.plane, plane, cache))
        return _least(sizes)

    def _bounded(
        self, plane: Samples, settings: Mapping[str, Measure], cache: SizeCache
    ) -> int | None:
        """Measure the samples themselves: as they are, or offset to 16 bits."""
        if not settings:
            return None
        if plane.dtype.name in self.native:
            return self._best(settings, plane, cache)
        parts = usable_planes(plane) if plane.dtype.kind in "iu" else []
        return self._best(settings, parts[0], cache) if len(parts) == 1 else None

    def _best(
        self, settings: Mapping[str, Measure], samples: Samples, cache: SizeCache
    ) -> int | None:
        prefix = f"{self.library}-{version(self.library)}"
        return _least(
            [cache.get(samples, f"{prefix} {name}", run) for name, run in settings.items()]
        )


def _as_rgb(frame: Samples) -> Samples:
    """Return the first three bands of a frame as (y, x, 3)."""
    return np.ascontiguousarray(np.moveaxis(frame[:3], 0, -1))


def _jpegxl(effort: int) -> Measure:
    def encode(samples: Samples) -> bytes:
        return bytes(imagecodecs.jpegxl_encode(samples, lossless=True, effort=effort, numthreads=1))

    return _verified(encode, imagecodecs.jpegxl_decode)


def _jpegls(near: int = 0) -> Measure:
    """JPEG-LS with the true bit depth: its default thresholds follow from it."""

    def measure(samples: Samples) -> int | None:
        bits = max(2, int(samples.max()).bit_length())
        height, width, *components = samples.shape

        def encode(values: Samples) -> bytes:
            count = components[0] if components else 1
            mode = 2 if components else 0  # samples interleaved, or one plane
            data = values.tobytes()
            return bytes(jpeg_ls.encode_buffer(data, height, width, count, bits, near, mode))

        def decode(data: bytes) -> Samples:
            return np.asarray(imagecodecs.jpegls_decode(data)).astype(samples.dtype)

        if near > (2**bits - 1) // 2:
            return None
        return _verified(encode, decode, near)(samples)

    return measure


def _jpegls_near(max_error: float) -> Mapping[str, Measure]:
    near = int(max_error)
    return {f"jpegls near {near}": _jpegls(near)} if 0 < near <= _MAX_NEAR else {}


def _jpeg2000(*, mct: bool) -> Measure:
    """JPEG 2000, reversible 5/3, one tile; ``mct`` applies the reversible colour transform."""

    def encode(samples: Samples) -> bytes:
        return bytes(
            imagecodecs.jpeg2k_encode(
                samples, level=0, reversible=True, codecformat="j2k", mct=mct, numthreads=1
            )
        )

    return _verified(encode, imagecodecs.jpeg2k_decode)


def _htj2k() -> Measure:
    """High-throughput JPEG 2000 (OpenJPH), reversible 5/3; RGB with its colour transform."""

    def encode(samples: Samples) -> bytes:
        return bytes(imagecodecs.htj2k_encode(samples, reversible=True, rgb=samples.ndim == 3))

    return _verified(encode, imagecodecs.htj2k_decode)


def _lerc(max_error: float) -> Mapping[str, Measure]:
    """LERC by itself and with zstd behind it."""

    def setting(compression: Literal["zstd"] | None) -> Measure:
        def encode(samples: Samples) -> bytes:
            return bytes(imagecodecs.lerc_encode(samples, level=max_error, compression=compression))

        return _verified(encode, imagecodecs.lerc_decode, max_error)

    return {f"lerc {max_error:g}": setting(None), f"lerc {max_error:g} zstd": setting("zstd")}


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


_EFFORTS = {f"jpegxl e{effort}": _jpegxl(effort) for effort in (3, 7, 9)}
_LERC_DTYPES = ("int8", "int16", "int32", "uint32", "float32", "float64")

PEERS: Mapping[str, _Peer] = {
    "zstd": _Peer(library="imagecodecs", plane={"zstd 19 shuffle": _zstd}, takes_all=True),
    "jpegls": _Peer(
        library="pyjpegls",
        plane={"jpegls": _jpegls()},
        rgb={"jpegls": _jpegls()},
        bounded=_jpegls_near,
    ),
    "jpeg2000": _Peer(
        library="imagecodecs",
        plane={"jpeg2000": _jpeg2000(mct=False)},
        rgb={"jpeg2000 rct": _jpeg2000(mct=True)},
    ),
    "jpegxl": _Peer(library="imagecodecs", plane=_EFFORTS, rgb=_EFFORTS, native=("float32",)),
    "webp": _Peer(library="imagecodecs", rgb={"webp": _webp}, rgb_dtypes=(np.uint8,)),
    "lerc": _Peer(
        library="imagecodecs",
        plane=_lerc(0),
        rgb=_lerc(0),
        bounded=_lerc,
        native=_LERC_DTYPES,
    ),
    "htj2k": _Peer(library="imagecodecs", plane={"htj2k": _htj2k()}, rgb={"htj2k": _htj2k()}),
}
"""Established codecs by name; ``peer_sizes`` measures them."""
