"""What the decoders of ``ntc`` make of the same records, beside the base.

python -m tilepress.workflows.bench.decoders NAME=FILE[,FILE...]... [--volume NAME...]
    [--decoders net view gan FILE.safetensors]

Images are those of ``bench.lossy``: the middle of 512 × 512, at six steps. Of each decoder: the
rate at equal PSNR against the base (BD-rate), then means over the six steps of PSNR less the
base's, GMSD, spectrum, gradients and Fréchet distance (``textures``), the base's behind a stroke.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tilepress.codecs.budget import Budget
from tilepress.codecs.coder import BASE
from tilepress.codecs.metrics import gmsd
from tilepress.codecs.ntc.chunk import Analysis, decode_chunk
from tilepress.codecs.ntc.codec import NtcCoder, parse_model
from tilepress.codecs.ntc.decoders.choose import remake_of
from tilepress.codecs.weights import load_named
from tilepress.workflows.bench.lossy import Image, Samples, point_of, read, steps_of
from tilepress.workflows.bench.rd import Point, bd_rate
from tilepress.workflows.bench.textures import (
    frechet,
    gradient_distance,
    gradient_ratio,
    spectrum_distance_db,
)

__all__ = ["Figures", "compare", "main"]


class Figures(NamedTuple):
    """Of one decoder and image."""

    points: list[Point]
    rows: list[tuple[float, ...]]
    """By step: GMSD, spectrum in dB, ratio and distance of gradients, Fréchet distance."""
    megasamples: float
    """Decoded a second of processor time."""


def compare(image: Image, decoders: Sequence[str]) -> dict[str, Figures]:
    """Return the figures of each decoder."""
    model = parse_model(load_named(str(NtcCoder.models["standard"])).data)
    analysis = Analysis.of(image.samples, None, image.bands)
    assert analysis is not None, "images of the table are integers"
    found = {decoder: Figures([], [], 0.0) for decoder in decoders}
    spent = dict.fromkeys(decoders, 0.0)
    shape, dtype = image.samples.shape, image.samples.dtype
    for step in steps_of(image):
        payload, _ = analysis.encode(step, model)
        for decoder in decoders:
            remake = None if decoder == BASE else remake_of(decoder)
            begun = time.process_time()
            budget = Budget("", 2**33)
            decoded = decode_chunk(memoryview(payload), shape, dtype, model, budget, remake=remake)
            spent[decoder] += time.process_time() - begun
            squared = float(np.square(decoded.astype(np.float64) - image.samples).sum())
            found[decoder].points.append(point_of(image, len(payload), squared))
            found[decoder].rows.append(_looks(image.samples, decoded, image.peak))
    samples = len(steps_of(image)) * image.samples.size
    return {
        name: one._replace(megasamples=samples / 1e6 / max(spent[name], 1e-9))
        for name, one in found.items()
    }


def _looks(given: Samples, decoded: Samples, peak: float) -> tuple[float, ...]:
    pairs = zip(given.astype(np.float64), decoded.astype(np.float64), strict=True)
    return (
        float(np.mean([gmsd(a, b, peak) for a, b in pairs])),
        spectrum_distance_db(given, decoded),
        gradient_ratio(given, decoded),
        gradient_distance(given, decoded),
        frechet(given, decoded, peak),
    )


def _line(name: str, figures: Figures, base: Figures) -> str:
    rate = bd_rate(base.points, figures.points)
    psnr = np.mean([a.psnr - b.psnr for a, b in zip(figures.points, base.points, strict=True)])
    mine, theirs = np.mean(figures.rows, axis=0), np.mean(base.rows, axis=0)
    names = ("GMSD", "spectrum", "gradients", "their distance", "Fréchet")
    looks = "  ".join(f"{n} {a:.3f}|{b:.3f}" for n, a, b in zip(names, mine, theirs, strict=True))
    told = "–" if rate is None else f"{rate:+.2f} %"
    speed = f"{figures.megasamples:.1f}|{base.megasamples:.1f} Msamples/s"
    return f"  {name:<6} BD-rate {told}  {psnr:+.3f} dB  {looks}  {speed}"


def main(arguments: list[str] | None = None) -> int:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("images", nargs="+")
    parser.add_argument("--volume", nargs="*", default=[])
    parser.add_argument("--decoders", nargs="+", default=["net", "view", "gan"])
    given = parser.parse_args(arguments)
    for text in given.images:
        name, _, files = text.partition("=")
        image = read(name, files.split(","), name in given.volume)
        found = compare(image, [BASE, *given.decoders])
        sys.stdout.write(f"{name} {'×'.join(map(str, image.samples.shape))}\n")
        for decoder in given.decoders:
            sys.stdout.write(_line(decoder, found[decoder], found[BASE]) + "\n")
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
