"""Sizes of ``ntc`` at equal error beside JPEG 2000, with a KLT across bands too, and JPEG XL.

python -m tilepress.workflows.bench.lossy NAME=FILE[,FILE...]... [--volume NAME...] [--model FILE]
    [--scales]

Files joined by a comma are the bands (or slices) of one image, whose middle of 512 × 512 is coded.
The anchors get more than they have in practice: JPEG 2000 codes each plane at twenty qualities, or
as its mean alone, and of all combinations those on the lower hull of bytes and error are taken,
which no rate control finds. Bands and slices go to it one by one, as components of a KLT, and as
those of the transform that ``ntc`` fits. Sizes are those of the libraries' streams. With --scales,
instead: how much of the time decoding at 1/2, 1/4 and 1/8 takes, and how near it is to means of
what all of it decodes to.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import imagecodecs
import numpy as np
import numpy.typing as npt

from tilepress.codecs.budget import Budget
from tilepress.codecs.ntc.chunk import Analysis, decode_chunk
from tilepress.codecs.ntc.joint import fit_joint
from tilepress.codecs.ntc.klt import analysis_matrix, fit
from tilepress.codecs.ntc.model import NtcModel
from tilepress.codecs.ntc.reduced import SCALES
from tilepress.codecs.reduce import reduced
from tilepress.workflows.bench.rd import Point, bd_rate
from tilepress.workflows.learn.train import images

__all__ = ["Image", "curves", "main", "point_of", "read", "steps_of"]

Samples = npt.NDArray[Any]
Floats = npt.NDArray[np.float32]
Matrix = npt.NDArray[np.int16]

_SIDE = 512
_TARGETS_DB = (32.0, 36.0, 40.0, 44.0, 48.0, 52.0)
_QUALITIES = 20
_AT_SCALES = 3
"""Which of the targets is decoded at scales: 44 dB."""
_ROUNDS = 5


class Image(NamedTuple):
    """What is coded."""

    name: str
    samples: Samples
    bands: int
    peak: float


def read(name: str, files: Sequence[str], volume: bool) -> Image:
    """Return the middle of an image."""
    parts = [planes for _, planes, _ in images([Path(f) for f in files], lambda line: None)]
    planes = np.concatenate(parts)
    y, x = (max(0, (n - _SIDE) // 2) for n in planes.shape[1:])
    planes = np.ascontiguousarray(planes[:16, y : y + _SIDE, x : x + _SIDE])
    peak = 255.0 if planes.dtype == np.uint8 else float(int(planes.max()) - int(planes.min()))
    return Image(name, planes, 1 if volume else len(planes), peak)


def point_of(image: Image, size: float, squared: float) -> Point:
    """Return rate and PSNR of a size in bytes and a sum of squared errors."""
    mean = max(squared / image.samples.size, 1e-9)
    return Point(8 * size / image.samples.size, 10 * math.log10(image.peak**2 / mean))


def steps_of(image: Image) -> list[float]:
    """Return the steps that the curve of an image is measured at."""
    return [image.peak * 10 ** (-db / 20) * math.sqrt(12) for db in _TARGETS_DB]


def ours(image: Image, model: NtcModel, kinds: Sequence[int] = (0, 1)) -> list[Point]:
    """Return the curve of ``ntc``, every payload decoded again."""
    analysis = Analysis.of(image.samples, None, image.bands)
    assert analysis is not None
    analysis.kinds = tuple(kinds)
    points = []
    for step in steps_of(image):
        payload, decoded = analysis.encode(step, model)
        shape, dtype = image.samples.shape, image.samples.dtype
        again = decode_chunk(memoryview(payload), shape, dtype, model, Budget("", 2**33))
        if not np.array_equal(again, decoded):
            raise AssertionError(f"{image.name}: decoded to other samples")
        squared = float(np.square(decoded.astype(np.float64) - image.samples).sum())
        points.append(point_of(image, len(payload), squared))
    return points


def _ladder(plane: npt.NDArray[np.float64], peak: float) -> list[tuple[float, float, Any]]:
    """Return bytes, squared error and decoded plane of a plane at many qualities of JPEG 2000."""
    whole = np.rint(plane).astype(np.int64)
    low, high = int(whole.min()), int(whole.max())
    bits = max(8, int(high - low).bit_length())
    shifted = (whole - low).astype(np.uint8 if bits <= 8 else np.uint16)
    mean = np.full_like(plane, plane.mean())
    found: list[tuple[float, float, Any]] = [(2, float(np.square(plane - mean).sum()), mean)]
    for k in range(_QUALITIES if high > low else 0):
        mse = (peak * 10 ** (-(26 + 34 * k / _QUALITIES) / 20)) ** 2
        level = 10 * math.log10((2**bits - 1) ** 2 / mse)
        if level < 1:
            continue
        data = imagecodecs.jpeg2k_encode(
            shifted,
            level=level,  # type: ignore[arg-type]  # dB, which need not be whole
            codecformat="j2k",
            reversible=False,
            bitspersample=bits,
        )
        decoded = imagecodecs.jpeg2k_decode(data).astype(np.float64) + low
        found.append((len(data), float(np.square(plane - decoded).sum()), decoded))
    return found


def _allocated(image: Image, ladders: list[Any], back: Callable[[Samples], Samples]) -> list[Point]:
    """Return points of the lower hull over all planes' qualities together."""
    points = []
    for db in np.arange(26.0, 60.0, 1.0):
        mse = (image.peak * 10 ** (-db / 20)) ** 2
        price = 1.0 / (mse * 2 * math.log(2))  # bits that an error of one is worth at this error
        best = [min(ladder, key=lambda one: 8 * one[0] + price * one[1]) for ladder in ladders]
        planes = back(np.stack([one[2] for one in best]))
        low, high = image.samples.min(), image.samples.max()
        off = np.clip(np.rint(planes), low, high) - image.samples
        point = point_of(image, sum(one[0] for one in best), float(np.square(off).sum()))
        points.append(point)
    return sorted(set(points))


def jpeg2000(image: Image) -> list[Point]:
    """Return the curve of JPEG 2000, plane by plane."""
    floats = image.samples.astype(np.float64)
    return _allocated(image, [_ladder(p, image.peak) for p in floats], lambda planes: planes)


def turned_jpeg2000(image: Image, fitted: Callable[[Floats], Matrix]) -> list[Point]:
    """Return the curve of JPEG 2000 on components of a transform across planes, fitted to their
    samples; those that do not pay are means."""
    floats = image.samples.astype(np.float64)
    means = floats.mean(axis=(1, 2))[:, None, None]
    turn = analysis_matrix(fitted((floats - means).astype(np.float32)))
    flat = (turn @ (floats - means).reshape(len(floats), -1)).reshape(floats.shape)
    undo = np.linalg.inv(turn)

    def back(planes: Samples) -> Samples:
        turned = undo @ planes.reshape(len(planes), -1)
        return np.asarray(turned.reshape(planes.shape) + means)

    return _allocated(image, [_ladder(p, image.peak) for p in flat], back)


def jpegxl(image: Image) -> list[Point]:
    """Return the curve of JPEG XL, effort 7: RGB together, other planes one by one."""
    points = []
    samples = image.samples
    together = image.bands == 3 and samples.dtype == np.uint8
    low = int(samples.min())
    shifted = samples if samples.dtype == np.uint8 else (samples.astype(np.int64) - low)
    scale = 1 if samples.dtype == np.uint8 else max(1, 65535 // max(1, int(image.peak)))
    for distance in 0.05 * 1.5 ** np.arange(15):
        size, squared = 0, 0.0
        for part in [shifted.transpose(1, 2, 0)] if together else list(shifted):
            given = np.ascontiguousarray(part * scale).astype(
                np.uint8 if samples.dtype == np.uint8 else np.uint16
            )
            data = imagecodecs.jpegxl_encode(given, distance=float(distance), effort=7)
            decoded = np.rint(imagecodecs.jpegxl_decode(data).astype(np.float64) / scale)
            size += len(data)
            squared += float(np.square(decoded.reshape(part.shape) - part).sum())
        points.append(point_of(image, size, squared))
    return sorted(points)


def at_scales(image: Image, model: NtcModel) -> list[tuple[float, float]]:
    """Return share of the time of decoding all, and PSNR against the means of that, by scale."""
    payload, decoded = _encoded(image, model)
    shape, dtype = image.samples.shape, image.samples.dtype

    def timed(scale: int) -> tuple[float, Samples]:
        seconds = math.inf
        for _ in range(_ROUNDS):
            begun = time.process_time()
            found = decode_chunk(
                memoryview(payload), shape, dtype, model, Budget("", 2**33), None, scale
            )
            seconds = min(seconds, time.process_time() - begun)
        return max(seconds, 1e-9), found

    whole_s, _ = timed(1)
    out = []
    for scale in SCALES:
        seconds, found = timed(scale)
        error = found.astype(np.float64) - reduced(decoded, scale, "average")
        point = 10 * math.log10(image.peak**2 / max(float(np.square(error).mean()), 1e-9))
        out.append((seconds / whole_s, point))
    return out


def _encoded(image: Image, model: NtcModel) -> tuple[bytes, Samples]:
    analysis = Analysis.of(image.samples, None, image.bands)
    assert analysis is not None, "it was read as integers"
    return analysis.encode(steps_of(image)[_AT_SCALES], model)


def curves(image: Image, model: NtcModel) -> dict[str, list[Point]]:
    """Return every codec's curve of an image."""
    found = {"ntc": ours(image, model), "jpeg2000": jpeg2000(image), "jpegxl": jpegxl(image)}
    if len(image.samples) > 1:
        found["klt+jpeg2000"] = turned_jpeg2000(image, fit)
        found["joint+jpeg2000"] = turned_jpeg2000(image, fit_joint)
    found["lapped"] = ours(image, model, (0,))
    found["wavelet"] = ours(image, model, (1,))
    return found


def main(arguments: list[str] | None = None) -> int:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("images", nargs="+")
    parser.add_argument("--volume", nargs="*", default=[])
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--scales", action="store_true")
    given = parser.parse_args(arguments)
    model = NtcModel.from_bytes(given.model.read_bytes())
    for text in given.images:
        name, _, files = text.partition("=")
        begun = time.process_time()
        image = read(name, files.split(","), name in given.volume)
        if given.scales:
            told = zip(SCALES, at_scales(image, model), strict=True)
            texts = [f"1/{scale} {share:.3f} {db:.1f} dB" for scale, (share, db) in told]
            sys.stdout.write(f"{name:<16} {'  '.join(texts)}\n")
            continue
        found = curves(image, model)
        line = [f"{name:<16} {'×'.join(map(str, image.samples.shape)):>12}"]
        for other in ("jpeg2000", "klt+jpeg2000", "joint+jpeg2000", "jpegxl", "lapped", "wavelet"):
            rate = bd_rate(found[other], found["ntc"]) if other in found else None
            line.append(f"{other} {'–' if rate is None else f'{rate:+.1f} %'}")
        line.append(" ".join(f"{p.rate:.3f}:{p.psnr:.2f}" for p in found["ntc"]))
        sys.stdout.write("  ".join(line) + f"  {time.process_time() - begun:.0f} s\n")
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
