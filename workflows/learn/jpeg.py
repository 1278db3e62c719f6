"""Learn priors of the JPEG coder from images that are coded as JPEG for that, at many settings.

python -m tilepress.workflows.learn.jpeg TRAIN... --out jpeg-1.safetensors
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt

from tilepress.codecs.jpeg.planes import ALIKE, LUMINANCE
from tilepress.codecs.jpeg.priors import write_priors
from tilepress.codecs.jpeg.train import TrainingChunk, train_priors, training_chunk
from tilepress.pipeline.storage.atomic import write_atomic
from tilepress.workflows.learn.train import images

__all__ = ["main"]

_QUALITIES = (35, 50, 60, 70, 75, 75, 80, 85, 90, 92, 95)
_SUBSAMPLINGS = ("420", "420", "444", "422")
_SIDES = (480, 512, 768)
_SMALLEST = 200
"""Rows and columns of a piece at least."""
_PIECES = 4
"""Pieces of an image at most, each time."""
_TIMES = 3
"""How often an RGB image is cut: of these there are few, and they matter most."""
_ALIKE_SHARE = 0.2
"""Share of RGB pieces that are coded without a colour transform."""

Samples = npt.NDArray[Any]


def main(arguments: list[str] | None = None) -> int:
    """Train, and write the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sources", nargs="+", type=Path)
    parser.add_argument("--out", required=True, type=Path)
    given = parser.parse_args(arguments)
    rng = np.random.default_rng(7)
    chunks = [
        chunk
        for _, planes, bands in images(given.sources, lambda line: None)
        for chunk in _chunks(planes, bands, rng)
    ]
    priors = train_priors(chunks)
    data = write_priors(priors)
    write_atomic(given.out, data)
    sys.stdout.write(f"{len(chunks)} chunks, {len(data)} bytes\n")
    return 0


def _chunks(planes: Samples, bands: int, rng: np.random.Generator) -> Iterator[TrainingChunk]:
    """Yield JPEG streams of pieces of an image, as chunks."""
    if bands == 3 and planes.dtype == np.uint8:
        image = np.ascontiguousarray(planes[:3].transpose(1, 2, 0))
    else:
        image = _as_bytes(planes[len(planes) // 2])
    for _ in range(_TIMES if image.ndim == 3 else 1):
        for piece in _pieces(image, rng):
            quality = int(rng.choice(_QUALITIES))
            if image.ndim == 2:
                data = imagecodecs.jpeg_encode(piece, level=quality)
                yield training_chunk(bytes(data), LUMINANCE)
            elif rng.random() < _ALIKE_SHARE:
                data = imagecodecs.jpeg_encode(
                    piece, level=quality, colorspace="RGB", outcolorspace="RGB"
                )
                yield training_chunk(bytes(data), ALIKE)
            else:
                sampling = str(rng.choice(_SUBSAMPLINGS))
                data = imagecodecs.jpeg_encode(piece, level=quality, subsampling=sampling)
                yield training_chunk(bytes(data), LUMINANCE)


def _pieces(image: Samples, rng: np.random.Generator) -> Iterator[Samples]:
    side = int(rng.choice(_SIDES))
    places = [
        (y, x)
        for y in range(0, max(image.shape[0] - _SMALLEST, 1), side)
        for x in range(0, max(image.shape[1] - _SMALLEST, 1), side)
    ]
    for place in rng.permutation(len(places))[:_PIECES]:
        y, x = places[place]
        yield np.ascontiguousarray(image[y : y + side, x : x + side])


def _as_bytes(plane: Samples) -> Samples:
    """Return a plane in 8 bits, as a screen would show it."""
    if plane.dtype == np.uint8:
        return plane
    values = plane.astype(np.float64)
    values[~np.isfinite(values)] = 0
    low, high = np.percentile(values, (0.5, 99.7))
    scaled = (values - low) / max(high - low, 1e-9) * 255
    shown: Samples = np.clip(scaled, 0, 255).astype(np.uint8)
    return shown


if __name__ == "__main__":
    raise SystemExit(main())
