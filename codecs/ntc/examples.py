"""What the context model of ``ntc`` learns from: pieces of images, values of coefficients.

Coefficients are the codec's own, at steps that leave between a hundredth and two thirds of them
other than zero. Features come from native code: what is learned from is what will be seen.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tilepress.codecs.ntc.chunk import price_of
from tilepress.codecs.ntc.klt import analysis_matrix, fit
from tilepress.codecs.ntc.layout import (
    LAPPED,
    LAPPED_BANDS,
    NETS,
    WAVELET,
    WAVELET_BANDS,
)
from tilepress.codecs.ntc.model import NtcModel
from tilepress.codecs.ntc.plane import encode_plane, examine_plane, forward

__all__ = [
    "Crop",
    "Examples",
    "cut_crops",
    "draw_examples",
    "drawn_crops",
    "step_for",
    "values_of",
    "varied",
]

Floats = npt.NDArray[np.float32]

_SIDE = 256
_MOST_PLANES = 4


@dataclass(frozen=True, slots=True)
class Crop:
    """A piece of an image: (planes, y, x) that go together, bands turned apart."""

    group: str
    planes: Floats


def cut_crops(planes: npt.NDArray[np.generic], bands: int, group: str, seed: int) -> list[Crop]:
    """Return pieces of an image: single planes, and several that go together where there are."""
    rng = np.random.default_rng(seed)
    count, height, width = planes.shape
    if min(height, width) < 64:
        return []
    side_y, side_x = min(_SIDE, height), min(_SIDE, width)
    pieces = int(np.clip(height * width // 40_000, 2, 24))
    found = []
    for _ in range(pieces):
        y, x = int(rng.integers(0, height - side_y + 1)), int(rng.integers(0, width - side_x + 1))
        window = planes[:, y : y + side_y, x : x + side_x]
        if count > 1 and rng.random() < 0.5:
            first = int(rng.integers(0, max(1, count - _MOST_PLANES + 1)))
            if bands > 1:
                piece = _turned(window[: min(bands, 13)])
            else:
                piece = window[first : first + _MOST_PLANES].astype(np.float32)
            piece = piece[:_MOST_PLANES]
        else:
            at = int(rng.integers(0, count))
            piece = window[at : at + 1].astype(np.float32)
        if piece[0].std() > 0:
            found.append(
                Crop(group, np.ascontiguousarray(piece - piece.mean(axis=(1, 2))[:, None, None]))
            )
    return found


def _turned(planes: npt.NDArray[np.generic]) -> Floats:
    floats = planes.astype(np.float32)
    floats -= floats.mean(axis=(1, 2))[:, None, None]
    matrix = fit(floats)
    apart = analysis_matrix(matrix) @ floats.reshape(len(floats), -1).astype(np.float64)
    return apart.reshape(floats.shape).astype(np.float32)


@dataclass(slots=True)
class Examples:
    """What a net learns from."""

    features: npt.NDArray[np.int16]
    bands: npt.NDArray[np.int64]
    """Of band and plane before together: rows of ``bias``."""
    magnitudes: npt.NDArray[np.int64]
    quantisers: npt.NDArray[np.int64]
    """0 or 1: the one of whole steps, the one of halves."""
    weights: Floats


def varied(
    crops: Sequence[Crop], rng: np.random.Generator, side: int
) -> Iterator[tuple[Floats, float]]:
    """Yield planes of a crop, flipped and turned, and the share of coefficients to be kept.

    Without end; groups weigh alike by the square root of their sizes. Rows and columns are
    multiples of ``side``.
    """
    groups: dict[str, list[Crop]] = {}
    for crop in crops:
        groups.setdefault(crop.group, []).append(crop)
    names = sorted(groups)
    share = np.sqrt([len(groups[name]) for name in names])
    while True:
        mine = groups[names[int(rng.choice(len(names), p=share / share.sum()))]]
        planes = mine[int(rng.integers(0, len(mine)))].planes
        for axis in (1, 2):
            if rng.random() < 0.5:
                planes = np.flip(planes, axis)
        if rng.random() < 0.5:
            planes = planes.swapaxes(1, 2)
        height, width = (n // side * side for n in planes.shape[1:])
        planes = np.ascontiguousarray(planes[:, :height, :width])
        yield planes, math.exp(rng.uniform(math.log(0.006), math.log(0.7)))


def step_for(coefficients: Floats | npt.NDArray[np.float64], share: float) -> float:
    """Return the step at which about a share of coefficients is not 0."""
    return max(float(np.quantile(np.abs(coefficients), 1 - share)) / 0.6, 0.25)


def drawn_crops(
    crops: Sequence[Crop], rng: np.random.Generator
) -> Iterator[tuple[int, list[Floats], float]]:
    """Yield kind, coefficients of a crop's planes in steps, and the share kept, without end."""
    for planes, wanted in varied(crops, rng, 8):
        for kind in (LAPPED, WAVELET):
            coefficients = [plane.copy() for plane in planes]
            for plane in coefficients:
                forward(kind, plane)
            if kind == LAPPED:
                step = step_for(coefficients[0], wanted)
            yield kind, [plane / np.float32(step) for plane in coefficients], wanted


def _entropy(mean: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return about the bits of a magnitude and its sign, geometric of this mean."""
    m = np.maximum(mean, 1e-6)
    bits: npt.NDArray[np.float64] = (1 + m) * np.log2(1 + m) - m * np.log2(m) + m / (1 + m)
    return bits


def draw_examples(
    crops: Sequence[Crop], count: int, seed: int, model: NtcModel | None
) -> dict[str, Examples]:
    """Draw about ``count`` examples for each net, from values as the encoder chooses them.

    Without a model they are rounded, all by the first quantiser.
    """
    rng = np.random.default_rng(seed)
    parts: dict[str, list[tuple[npt.NDArray[np.generic], ...]]] = {name: [] for name in NETS}
    taken = dict.fromkeys(NETS, 0)
    for kind, planes, _ in drawn_crops(crops, rng):
        before = None
        for plane in planes:
            features, bands, values, quantisers, maps = values_of(kind, plane, before, model, rng)
            magnitudes = np.abs(values).astype(np.int64)
            sums = np.bincount(bands, magnitudes, 96)
            counts = np.maximum(np.bincount(bands, minlength=96), 1)
            bits = float((_entropy(sums / counts) * counts).sum() / counts.sum())
            weight = 1 / (bits + 0.05) + 0.3
            quiet = (magnitudes == 0) & (features[:, :15].max(axis=1) < 12)
            keep = np.where(quiet, 0.02, 0.25)
            drawn = rng.random(len(keep)) < keep
            weights = (weight / keep[drawn]).astype(np.float32)
            for name, first, total in (
                ("lapped", 0, LAPPED_BANDS),
                ("wavelet", LAPPED_BANDS, WAVELET_BANDS),
            ):
                mine = (bands[drawn] >= first) & (bands[drawn] < first + total)
                rows = (
                    bands[drawn][mine].astype(np.int64)
                    - first
                    + (total if before is not None else 0)
                )
                parts[name].append(
                    (
                        features[drawn][mine],
                        rows,
                        magnitudes[drawn][mine],
                        quantisers[drawn][mine],
                        weights[mine],
                    )
                )
                taken[name] += len(rows)
            before = maps
        if min(taken.values()) >= count:
            break
    return {
        name: Examples(*(np.concatenate(c) for c in zip(*part, strict=True)))
        for name, part in parts.items()
    }


def values_of(
    kind: int,
    plane: Floats,
    before: npt.NDArray[np.uint16] | None,
    model: NtcModel | None,
    rng: np.random.Generator,
) -> tuple[
    npt.NDArray[np.int16],
    npt.NDArray[np.uint8],
    npt.NDArray[np.int32],
    npt.NDArray[np.int64],
    npt.NDArray[np.uint16],
]:
    """Return features (n, FEATURES), bands, values, their quantisers (n,), and maps of a plane.

    The plane, (y, x) in steps, is overwritten. Without a model values are rounded, all by the
    first quantiser, each plane by a threshold of its own.
    """
    quantisers = np.zeros(plane.size, np.uint8)
    if model is None:
        rounding = float(rng.uniform(0.36, 0.46))
        features, bands, values, maps = examine_plane(kind, plane, before, rounding)
    else:
        known = encode_plane(kind, plane, before, model, price_of(model)).values
        features, bands, values, maps = examine_plane(
            kind, plane, before, 0.0, known, quantisers=quantisers
        )
    return features, bands, values, quantisers[: len(values)].astype(np.int64), maps
