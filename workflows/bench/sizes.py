"""Sizes that established codecs reach on the same samples, lossless or within the same bound.

Every codec gets what suits it best, so that a comparison is honest: whole planes instead of tiles,
RGB as RGB as well as plane by plane (the smaller counts), samples that it cannot take as they are
put so that it can (see ``put``). JPEG XL takes float32 natively as well, LERC most dtypes; the
smaller counts.

Near-lossless a codec codes quantised samples; JPEG-LS (NEAR = k) and LERC (max_z_error) also code
the samples themselves, and the smaller counts. Unlike tilepress, none has to keep nodata apart from
data there.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import numpy as np

from tilepress.codecs.classical import anchor
from tilepress.codecs.classical.base import Anchor, Measure, Samples
from tilepress.codecs.classical.put import RGB_BANDS, as_rgb, quantise, remark, usable_planes

__all__ = ["BEST", "AnchorSize", "SizeCache", "anchor_size", "anchor_sizes"]

BEST = "best"
"""Not a codec: the smallest of all, plane by plane (RGB frame by RGB frame)."""


@dataclass(frozen=True, slots=True)
class AnchorSize:
    """What one codec makes of one image."""

    bytes: int
    remark: str = ""
    """How the samples were put so that the codec could take them; empty where as they are."""


@dataclass(slots=True)
class SizeCache:
    """Sizes by content and setting, kept in a JSON file so that a rerun measures nothing twice.

    The key holds the samples' sha256, their dtype and shape, the codec's setting and the version
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
        """Return the size of ``samples`` under ``setting``; None where the codec refuses them."""
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


def anchor_size(
    name: str, planes: Samples, *, bands: int = 1, cache: SizeCache | None = None
) -> AnchorSize:
    """Return the size that a codec needs for an image, lossless; ValueError where it refuses it.

    See ``anchor_sizes`` for the arguments.
    """
    sizes = anchor_sizes((name,), planes, bands=bands, cache=cache)
    if name not in sizes:
        raise ValueError(f"measuring {name}: it does not take {planes.dtype} {planes.shape}")
    return sizes[name]


def anchor_sizes(
    names: Sequence[str],
    planes: Samples,
    *,
    bands: int = 1,
    max_error: float = 0,
    nodata: float | int | None = None,
    cache: SizeCache | None = None,
) -> dict[str, AnchorSize]:
    """Return the size that every codec needs for an image, and ``BEST``; verified by decoding.

    Those that do not take such samples are left out.

    Parameters
    ----------
    names : of established codecs, out of ``ANCHORS``.
    planes : ndarray, (planes, y, x), any bool, integer or float dtype
        The leading axes of the image, flattened in C order.
    bands : int
        Size of the innermost leading axis if that axis is ``band``. Of 3 or 4 bands the first
        three are also tried as one RGB image.
    max_error : float
        Largest error allowed; 0 is lossless.
    nodata : float or int
        Of floats near-lossless, such samples count as absent: the codecs need not keep them.
    """
    cache = SizeCache() if cache is None else cache
    grid = quantise(planes, max_error, nodata) if max_error else planes
    step = bands if bands in RGB_BANDS else 1
    anchors = [anchor(name) for name in names]
    totals: dict[str, int | None] = dict.fromkeys((*names, BEST), 0)
    for first in range(0, len(planes), step):
        unit = slice(first, first + step)
        sizes = [_measure(one, planes[unit], grid[unit], max_error, cache) for one in anchors]
        for name, size in (*zip(names, sizes, strict=True), (BEST, _best_of(sizes))):
            totals[name] = _sum([totals[name], size.total])
    remarks = {name: remark(one, planes.dtype) for name, one in zip(names, anchors, strict=True)}
    return {
        name: AnchorSize(total, remarks.get(name, ""))
        for name, total in totals.items()
        if total is not None
    }


@dataclass(frozen=True, slots=True)
class _UnitSize:
    """What one codec needs for one plane, or for one frame of 3 or 4 bands."""

    rgb: int | None
    """The first three bands as one image; None where there are none or the codec cannot."""
    planes: tuple[int | None, ...]

    @property
    def total(self) -> int | None:
        if len(self.planes) == 1:
            return self.planes[0]
        return _sum([_least([self.rgb, _sum(self.planes[:3])]), *self.planes[3:]])


def _best_of(sizes: Sequence[_UnitSize]) -> _UnitSize:
    """Return the smallest of all codecs for the RGB image and for every plane."""
    rgb = _least([size.rgb for size in sizes])
    planes = zip(*(size.planes for size in sizes), strict=True)
    return _UnitSize(rgb, tuple(_least(column) for column in planes))


def _measure(
    codec: Anchor, given: Samples, grid: Samples, max_error: float, cache: SizeCache
) -> _UnitSize:
    """Measure one plane or one frame of 3 or 4 bands, (planes, y, x).

    grid : what a lossless codec gets: ``given``, or its quantised form.
    """
    bounded = codec.bounded(max_error) if max_error else {}
    planes = tuple(
        _least([_plane(codec, level, cache), _bounded(codec, plane, bounded, cache)])
        for plane, level in zip(given, grid, strict=True)
    )
    together = None
    if len(given) > 1 and given.dtype in codec.rgb_dtypes and codec.rgb:
        together = _best(codec, codec.rgb, as_rgb(grid), cache)
        if bounded:
            together = _least([together, _best(codec, bounded, as_rgb(given), cache)])
    return _UnitSize(together, planes)


def _plane(codec: Anchor, plane: Samples, cache: SizeCache) -> int | None:
    if codec.takes_all:
        return _best(codec, codec.plane, plane, cache)
    sizes = [_sum([_best(codec, codec.plane, part, cache) for part in usable_planes(plane)])]
    if plane.dtype.name in codec.native:
        sizes.append(_best(codec, codec.plane, plane, cache))
    return _least(sizes)


def _bounded(
    codec: Anchor, plane: Samples, settings: Mapping[str, Measure], cache: SizeCache
) -> int | None:
    """Measure the samples themselves: as they are, or offset to 16 bits."""
    if not settings:
        return None
    if plane.dtype.name in codec.native:
        return _best(codec, settings, plane, cache)
    parts = usable_planes(plane) if plane.dtype.kind in "iu" else []
    return _best(codec, settings, parts[0], cache) if len(parts) == 1 else None


def _best(
    codec: Anchor, settings: Mapping[str, Measure], samples: Samples, cache: SizeCache
) -> int | None:
    prefix = f"{codec.library}-{version(codec.library)}"
    return _least([cache.get(samples, f"{prefix} {name}", run) for name, run in settings.items()])


def _sum(sizes: Sequence[int | None]) -> int | None:
    """Add sizes up; None where one of them is not known."""
    known = [size for size in sizes if size is not None]
    return sum(known) if len(known) == len(sizes) else None


def _least(sizes: Sequence[int | None]) -> int | None:
    return min((size for size in sizes if size is not None), default=None)
