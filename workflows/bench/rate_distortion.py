"""Measure lossy codecs on whole images: what they take at several qualities, and how good that is.

Images are cut into the tiles that a store would have, all at one level, as a shard is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tilepress.codecs.metrics import bd_rate, gmsd, ms_ssim, seam, spectral_angle_deg
from tilepress.errors import UnsupportedArray, UnsupportedFormat, UsageError
from tilepress.pipeline.formats import has_private_names
from tilepress.pipeline.image.info import ImageInfo
from tilepress.workflows.bench.images import FoundImage
from tilepress.workflows.bench.rate_codecs import (
    PEAK,
    PRESETS,
    RD_CODECS,
    TILE,
    Given,
    Rung,
    check_name,
    given_of,
    left_out,
    makes_up,
    read_given,
    refusal_of,
    rungs,
)
from tilepress.workflows.bench.rate_kinds import hounsfield_bias, ndvi_error

__all__ = ["TARGETS_DB", "Curve", "Picture", "Point", "RdBench", "RdImage", "run_rd"]

Samples = npt.NDArray[Any]
Plane = npt.NDArray[np.float64]

TARGETS_DB = (30.0, 34.0, 38.0, 42.0, 46.0, 50.0)
"""PSNR near which codecs are compared where nobody says."""

_PLANES = 12
"""Planes of an image that figures of pictures are the mean of, at most."""
_SHOWN = 1
"""Which point of each curve has pictures: the second coarsest."""
_SIDE = 512
"""Rows and columns of the pictures that are shown, at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A codec at one level."""

    level: float
    """As levels.py has it."""
    bits_per_sample: float
    bytes: int
    psnr_db: float | None
    """None where nothing differs."""
    ms_ssim: float
    gmsd: float
    max_error: float
    spectral_angle_deg: float | None
    """The mean angle between spectra of pixels (SAM); None for one band."""
    ndvi_error: float | None
    """The mean size of what the vegetation index is off by; None where no bands are called red and
    near infrared."""
    hounsfield_bias: float | None
    """What soft tissue is off by in the mean, in Hounsfield units; None where it is no CT."""
    seam: float | None
    """Error within 8 samples of borders of tiles over that in their interior; None for one tile."""


@dataclass(frozen=True, slots=True)
class Picture:
    """What is shown of an image: the middle of one plane, or of three, as it is and decoded."""

    codec: str
    """"" for the source."""
    samples: Samples
    """(y, x) or (y, x, 3)."""
    point: Point | None = None


@dataclass(slots=True)
class Curve:
    """A codec on one image."""

    codec: str
    points: list[Point] = field(default_factory=list)
    bd_rate_percent: float | None = None
    """Against the first codec; None for itself, and where they have no PSNR in common."""


@dataclass(slots=True)
class RdImage:
    """All codecs on one image."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    peak: float
    """Of its PSNR, as rate_codecs.py has it."""
    curves: list[Curve] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)


@dataclass(slots=True)
class RdBench:
    """What was measured."""

    codecs: tuple[str, ...]
    targets_db: tuple[float, ...]
    images: list[RdImage] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    """What a codec does not take, or what cannot run here."""
    failures: list[str] = field(default_factory=list)

    def mean_bd_rate(self, codec: str) -> tuple[float | None, int]:
        """Return the mean BD-rate of a codec in percent, and of how many images."""
        found = [
            curve.bd_rate_percent
            for image in self.images
            for curve in image.curves
            if curve.codec == codec and curve.bd_rate_percent is not None
        ]
        return (sum(found) / len(found) if found else None), len(found)

    def to_json(self) -> dict[str, Any]:
        """Return everything but the pictures."""
        return {
            "anchor": self.codecs[0],
            "codecs": list(self.codecs),
            "targets_db": list(self.targets_db),
            "psnr_over": PEAK,
            "mean_bd_rate_percent": {name: self.mean_bd_rate(name)[0] for name in self.codecs[1:]},
            "images": [
                {
                    "name": image.name,
                    "shape": list(image.shape),
                    "dtype": image.dtype,
                    "peak": image.peak,
                    "curves": [asdict(curve) for curve in image.curves],
                }
                for image in self.images
            ],
            "skipped": self.skipped,
            "failures": self.failures,
        }


def run_rd(
    sources: Sequence[str | Path],
    codecs: Sequence[str] = RD_CODECS,
    targets_db: Sequence[float] = TARGETS_DB,
    *,
    tile: int = TILE,
    force_generative: bool = False,
    on_step: Callable[[str], None] | None = None,
) -> RdBench:
    """Measure every image below ``sources`` with every codec, near every target of PSNR.

    codecs : names as rate_codecs.py has them. The first is the anchor of BD-rates.
    force_generative : whether decoders that make up detail are tried on medical images, too, of
        which they are left out and said to be.
    """
    codecs = [name for one in codecs for name in PRESETS.get(one, (one,))]
    for name in codecs:
        check_name(name)
    if len(targets_db) < 2 or not all(0 < target <= 200 for target in targets_db):
        raise UsageError(
            f"comparing rates: got {list(targets_db)} dB, want two numbers or more, 0 to 200"
        )
    bench = RdBench(tuple(codecs), tuple(sorted(targets_db)))
    for found in read_given(sources):
        if found.info is None or found.samples is None:
            bench.failures.append(found.told)
            continue
        if (reason := refusal_of(found)) is not None:
            bench.skipped.append(f"{found.name}: {reason}")
            continue
        taken = bench.codecs
        if not force_generative and found.spec is not None and has_private_names(found.spec.kind):
            taken = tuple(name for name in taken if not makes_up(name))
            bench.skipped += [
                f"{found.name}: {name} makes up detail, which medical images must not have; "
                "--force-generative takes it all the same"
                for name in bench.codecs
                if name not in taken
            ]
        _measure(found, bench, taken, tile)
        if on_step is not None:
            on_step(found.name)
    return bench


def _measure(found: FoundImage, bench: RdBench, codecs: Sequence[str], tile: int) -> None:
    name = found.name
    given = given_of(found, tile)
    if given is None:
        bench.skipped.append(f"{name}: no sample is present")
        return
    info, samples = given.info, given.samples
    bench.skipped += [
        f"{name}: band {band + 1}, which loses nothing in any store ({reason})"
        for band, reason in left_out(found).items()
    ]
    image = RdImage(name, samples.shape, samples.dtype.name, given.peak)
    image.pictures.append(Picture("", _shown(info, samples)))
    for codec in codecs:
        try:
            curve = Curve(codec)
            for number, rung in enumerate(rungs(codec, given, bench.targets_db)):
                point = _point(given, rung)
                curve.points.append(point)
                if number == _SHOWN:
                    image.pictures.append(Picture(codec, _shown(info, rung.decoded), point))
        except (UnsupportedArray, UnsupportedFormat) as error:
            bench.skipped.append(f"{name}: {error}")
            continue
        image.curves.append(curve)
    for curve in image.curves:
        if curve.codec != bench.codecs[0] and image.curves[0].codec == bench.codecs[0]:
            curve.bd_rate_percent = bd_rate(*_ends(image.curves[0]), *_ends(curve))
    bench.images.append(image)


def _ends(curve: Curve) -> tuple[list[float], list[float]]:
    rates = [point.bits_per_sample for point in curve.points]
    return rates, [math.inf if p.psnr_db is None else p.psnr_db for p in curve.points]


def _point(given: Given, rung: Rung) -> Point:
    info, samples, present, peak = given.info, given.samples, given.present, given.peak
    planes = _planes(samples, rung.decoded, present)
    wide = rung.decoded[present].astype(np.float64) - samples[present].astype(np.float64)
    angle = None
    if "band" in info.axes and info.band_count > 1:
        axis = info.axes.index("band")
        one, other, there = (
            np.moveaxis(array, axis, 0).reshape(info.band_count, -1, samples.shape[-1])
            for array in (samples, rung.decoded, present)
        )
        angle = spectral_angle_deg(one, other, there)
    return Point(
        level=rung.level,
        bits_per_sample=8 * rung.size / samples.size,
        bytes=rung.size,
        psnr_db=rung.psnr_db if math.isfinite(rung.psnr_db) else None,
        ms_ssim=float(np.mean([ms_ssim(one, other, peak) for one, other in planes])),
        gmsd=float(np.mean([gmsd(one, other, peak) for one, other in planes])),
        max_error=float(np.abs(wide).max(initial=0.0)),
        spectral_angle_deg=angle,
        ndvi_error=ndvi_error(info, samples, rung.decoded, present),
        hounsfield_bias=hounsfield_bias(info, samples, rung.decoded, present),
        seam=seam(samples, rung.decoded, present, given.tile),
    )


def _planes(
    given: Samples, decoded: Samples, present: npt.NDArray[np.bool_]
) -> list[tuple[Plane, Plane]]:
    """Return pairs of planes (y, x), from all over the image, 0 where samples are absent."""
    one, other, there = (a.reshape(-1, *given.shape[-2:]) for a in (given, decoded, present))
    numbers = np.unique(np.linspace(0, len(one) - 1, min(len(one), _PLANES)).astype(int))
    return [
        (
            np.where(there[n], one[n], 0).astype(np.float64),
            np.where(there[n], other[n], 0).astype(np.float64),
        )
        for n in numbers
    ]


def _shown(info: ImageInfo, samples: Samples) -> Samples:
    """Return the middle of an image as it is shown: three bands as colours, or one plane."""
    flat = samples.reshape(-1, *samples.shape[-2:])
    colours = info.band_count >= 3 and info.axes[-3:-2] == ("band",)
    planes = flat[:3] if colours else flat[len(flat) // 2][None]
    tops = [max(0, (n - _SIDE) // 2) for n in samples.shape[-2:]]
    cut = planes[:, tops[0] : tops[0] + _SIDE, tops[1] : tops[1] + _SIDE]
    return np.ascontiguousarray(np.moveaxis(cut, 0, -1) if colours else cut[0])
