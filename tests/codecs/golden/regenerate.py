"""Write the golden records of the current format, on purpose only.

Run: python tests/codecs/golden/regenerate.py [FOLDER]

Records are never changed: the script adds those that are missing and refuses to touch the others.
``index.json`` holds, for each, the configuration to read it with, hashes of record and samples,
and the ways that it takes through the decoder. Together the records must take every way, and each
the one that it is there for: where the encoder chose otherwise, the script says so and stops.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

import numpy as np

from tilepress.codecs.limits import MAX_SPLITS, MAX_TREE_NODES, MAX_TREE_TABLES
from tilepress.codecs.tile import TileCodec
from tilepress.codecs.wave import bodies, choices, chunk, cpu, grow, plane_decode, plane_encode
from tilepress.codecs.wave.backend import LinearPath, PlaneToDecode, PlaneToEncode
from tilepress.codecs.wave.codec import WaveCoder, load_model
from tilepress.codecs.wave.colour import LESS_GREEN, YCBCR, YCOCG, Group, undone
from tilepress.codecs.wave.following import blended
from tilepress.codecs.wave.layout import OWN_PROPERTIES, PROPERTIES
from tilepress.codecs.wave.linear import up_of
from tilepress.codecs.wave.model import WaveModel
from tilepress.codecs.wave.native.fitting import plane_leaves, plane_properties
from tilepress.codecs.wave.native.structures import Sheared
from tilepress.codecs.weights import load_named

FOLDER = Path(__file__).parent / "v4"
VERSION = 2
"""Of the records: the major version of what is around payloads, byte 6."""
TUNED = "tuned.safetensors"
_MOST_RAW_BITS = 15
"""Raw bits of a token; only an escape has more."""

Case = tuple[str, dict[str, Any], np.ndarray, int, set[str]]
"""Name, codec arguments, array, bands, ways that it must take."""

FLAGS = ("replicated", "mask", "packed", "constant", "split", "raw", "fitted", "same-mask")
WAYS = {
    *FLAGS, "stored", "wave", "copy", "colour", "clamp", "patch", "clusters", "two-splits",
    "no-references", "one-reference", "two-references", "one-set", "several-sets",
    "match-flags", "no-match-flags", "exchanged-tables", "same-tables", "gain-0", "gain",
    "lanes-1", "lanes-4", "lanes-8", "lanes-32", "escapes", "no-network", "network",
    "inline-weights", "tree", "tree-flags", "tree-tables", "tree-model-tables", "tree-mask",
    "tree-one-reference", "tree-two-references", "tree-every-property", "tree-largest",
    "tree-most-tables", "rare-levels", "colour-0", "colour-1", "colour-2",
    "followed", "far-0", "far-8", "far-14", "far-28", "blended",
}  # fmt: skip
"""Every way that the records together take."""


def always(choice: Any) -> Callable[..., Any]:
    """Return a function that chooses the same whatever it is given."""
    return lambda *_: choice


def asking(splits: int) -> Callable[..., grow.GrownTree]:
    """Return what stands in for ``grow_tree``: nodes that ask for every property in turn.

    Each lets a few samples go, where the answer is no; the last two ask what all or none exceed.
    Leaves have tables of their own, as many as a body may have.
    """

    def apart(counts: np.ndarray) -> np.ndarray:
        return np.arange(len(counts)) % MAX_TREE_TABLES

    def grown(asked: PlaneToEncode, *found: Any) -> grow.GrownTree:
        errors, contexts, means, begins, tables, folded, candidates, costs, _ = found
        where, predicted = Sheared.of(asked), (errors, contexts, means, begins)
        values, _ = plane_properties(where, *predicted, 1)
        nodes = np.zeros((splits, 4), np.int32)
        left = np.ones(len(folded), bool)
        for k in range(splits - 2):
            row = values[k % len(values)]
            low = np.sort(row[left])
            nodes[k, :2] = k % len(values), low[len(low) * 2 // splits] if len(low) else k
            left &= row > nodes[k, 1]
        nodes[-2:, :2] = [[2, -MOST], [2, MOST]]
        nodes[:, 2] = ~np.arange(splits)
        nodes[:, 3] = np.append(np.arange(1, splits), ~splits)
        leaves = plane_leaves(where, *predicted, nodes)
        with mock.patch.multiple(grow, _merged=apart, _TABLE_BITS=0, _TOKEN_BITS=0):
            fitted = grow._fitted(nodes, leaves, tables, folded, candidates, costs)
        return fitted._replace(bits=0.0)

    return grown


def following(memory: int, far: int) -> Callable[..., LinearPath]:
    """Return what stands in for ``follows``: weights that follow each plane, with fixed ones."""

    def path(part: PlaneToEncode, fixed: LinearPath, *_: Any) -> LinearPath:
        return replace(fixed, memory=memory, far=far, up=up_of(fixed.thresholds))

    return path


def blending(memory: int, far: int) -> Callable[..., LinearPath]:
    """Return what stands in for ``follows``: such weights, blended with those that are fixed."""

    def path(part: PlaneToEncode, fixed: LinearPath, alone: LinearPath, *_: Any) -> LinearPath:
        up = up_of(fixed.thresholds)
        return blended(fixed, replace(alone, memory=memory, far=far, up=up))

    return path


MOST = 2**24 - 1
"""Threshold of the most bits."""
NO_TREE = (choices, "grow_tree", always(None))
FORCED: dict[str, list[tuple[ModuleType, str, Any]]] = {
    "colour-ycocg-near": [(bodies, "KINDS", {3: (YCOCG,), 4: (YCOCG,)})],
    "gain-0": [(choices, "choose_gain", always(0))],
    "gain-15": [(choices, "choose_gain", always(15))],
    **{f"lanes-{lanes}": [(cpu, "lanes_for", always(lanes))] for lanes in (1, 4, 8, 32)},
    "lanes-32-of-few": [(cpu, "lanes_for", always(32)), NO_TREE],
    "escapes": [NO_TREE],
    "match-flags": [NO_TREE],
    "sets-of-weights": [(plane_encode, "follows", always(None))],
    **{
        name: [(plane_encode, "follows", following(memory, far))]
        for name, memory, far in (
            ("followed-references", 13, 0),
            ("followed-16-bits", 15, 28),
            ("followed-4-bits", 1, 14),
            ("followed-replicated", 6, 8),
            ("followed-narrow", 6, 8),
        )
    },
    **{
        name: [(plane_encode, "follows", blending(memory, far))]
        for name, memory, far in (
            ("blended-references", 13, 8),
            ("blended-near", 6, 0),
            ("blended-16-bits", 15, 28),
            ("blended-4-bits", 1, 14),
            ("blended-replicated", 6, 8),
            ("blended-narrow", 6, 8),
        )
    },
    "tree-every-property": [(choices, "grow_tree", asking(29))],
    "tree-largest": [(choices, "grow_tree", asking(MAX_TREE_NODES))],
}
"""What the encoder is made to choose, by case: the format leaves it free, and readers follow.

Module, function in it, what takes its place.
"""


def field(seed: int, shape: tuple[int, ...], top: float, noise: float = 1.0) -> np.ndarray:
    """A smooth field with noise, 0 … about ``top``, int64; the same on every machine."""
    rng = np.random.default_rng(seed)
    steps = rng.integers(-8, 9, shape).astype(np.int64)
    smooth = np.cumsum(np.cumsum(steps, -1), -2)
    smooth -= smooth.min()
    scaled = smooth * int(top) // max(1, int(smooth.max()))
    return scaled + rng.integers(0, int(noise) + 1, shape)


def of_types() -> Iterator[Case]:
    """Yield one case of each type, and of each way from samples to integers."""
    for dtype, top in (
        ("uint8", 200),
        ("int8", 100),
        ("uint16", 3000),
        ("int16", 3000),
        ("uint32", 90_000),
        ("int32", 10**6),
        ("uint64", 10**9),
        ("int64", 10**9),
    ):
        ways = {"split"} if top >= 10**6 else {"fitted", "no-references"}
        yield dtype, {}, field(1, (64, 61), top, 3).astype(dtype), 1, ways
    yield "bool", {}, field(2, (50, 40), 9) % 3 == 0, 1, set()
    yield "float16", {}, (field(3, (30, 31), 200) / 8).astype(np.float16), 1, set()
    decimal = (field(4, (40, 41), 9000) / 10_000).astype(np.float32)
    yield "float32-decimal", {}, decimal, 1, set()
    ordered = (field(5, (40, 41), 9000) * np.pi).astype(np.float32)
    yield "float32-ordered", {}, ordered, 1, {"split"}
    yield "float64-stored", {}, field(6, (12, 13), 9000) * np.pi, 1, {"stored"}
    odd = (field(7, (20, 21), 900) / 4).astype(np.float32)
    odd[3:9, 4:] = np.nan
    odd[0, 0] = -0.0
    yield "float32-nan", {"nodata": float("nan")}, odd, 1, {"mask"}
    yield "float32-bounded", {"nodata": float("nan"), "max_error": 0.25}, odd, 1, {"mask"}
    noise = np.random.default_rng(17).integers(0, 256, (33, 35))
    yield "stored", {}, noise.astype(np.uint8), 1, {"stored"}


def within_errors() -> Iterator[Case]:
    """Yield the near-lossless cases."""
    for k in (1, 2, 4, 16):
        array = field(8, (60, 64), 3000, 40).astype(np.uint16)
        yield f"near-{k}", {"max_error": k}, array, 1, {"clamp"}
    array = field(11, (40, 50), 900, 4).astype(np.uint16)
    yield "nodata-near", {"nodata": 450, "max_error": 2}, array, 1, {"patch"}


def of_structure() -> Iterator[Case]:
    """Yield what has structure besides its smoothness: holes, blocks, few levels, copies."""
    holes = field(10, (3, 40, 50), 900, 4).astype(np.uint16) + 1
    holes[:, 5:20, 8:30] = 0
    yield "nodata", {"nodata": 0}, holes, 1, {"mask", "same-mask"}
    ragged = field(21, (3, 40, 50), 900, 4).astype(np.int16)
    for index in range(3):
        ragged[index, 5 * index : 20 + index, 8 : 20 + 9 * index] = -32768
    yield "planes-with-masks", {"nodata": -32768}, ragged, 1, {"mask"}
    lone = np.where(field(22, (30, 40), 9) < 5, 7, 255).astype(np.uint8)
    yield "constant-and-nodata", {"nodata": 255}, lone, 1, {"constant", "mask"}
    yield "constant", {}, np.full((2, 30, 30), 7, np.uint16), 1, {"constant"}
    yield "fill-only", {}, np.zeros((2, 30, 30), np.uint16), 1, {"stored"}
    packed = (field(12, (64, 64), 700, 2) * 5).astype(np.uint16)
    yield "packed", {}, packed, 1, {"packed"}
    ramp = np.indices((96, 90))[1] * 150 // 89
    drawn = np.minimum(ramp + field(68, (96, 90), 8, 3), 150) * 5 // 3
    drawn[3:43, 2:5] = np.linspace(0, drawn.max(), 40).astype(np.int64)[:, None]
    yield "rare-levels", {}, drawn.astype(np.uint8), 1, {"packed", "rare-levels"}
    drawn[40:70, 30:60] = 255
    yield "rare-levels-nodata", {"nodata": 255}, drawn.astype(np.uint8), 1, {"rare-levels", "mask"}
    blocks = np.repeat(np.repeat(field(13, (20, 22), 900), 3, 0), 2, 1)[1:, :-1]
    yield "replicated", {}, blocks.astype(np.uint16), 1, {"replicated"}
    patched = np.repeat(np.repeat(field(23, (2, 20, 22), 900), 2, 1), 2, 2)
    patched[:, 8:20, 10:30] = 0
    yield "replicated-nodata", {"nodata": 0}, patched.astype(np.uint16), 1, {"replicated", "mask"}
    twice = field(9, (48, 50), 1500, 6).astype(np.int16) - 700
    yield "copied-planes", {}, np.stack([twice] * 3), 1, {"copy"}
    padded = np.zeros((3, 64, 64), np.uint16)
    padded[:2, :33, :47] = field(16, (2, 33, 47), 900, 3)
    yield "cropped-edges", {}, padded, 1, set()
    steps = (field(18, (64, 64), 40, 0) // 9 * 9).astype(np.uint8)
    yield "flat-and-steps", {}, steps, 1, set()
    flat = np.where(field(24, (90, 80), 9, 0) < 5, 17, field(25, (90, 80), 900, 9))
    yield "match-flags", {}, flat.astype(np.uint16), 1, {"match-flags"}
    late = np.random.default_rng(26).integers(-8, 9, (96, 90)).cumsum(0) > 0
    clusters = (300 + field(27, (96, 90), 40, 0)) * 274 // 10 + late
    yield "clusters", {}, clusters.astype(np.uint16), 1, {"clusters", "packed", "split"}
    clusters[20:50, 30:70] = 0
    yield "clusters-nodata", {"nodata": 0}, clusters.astype(np.uint16), 1, {"clusters", "mask"}
    far = field(28, (60, 50), 90, 3)
    far[np.random.default_rng(28).random(far.shape) < 0.01] = 60_000
    yield "escapes", {}, far.astype(np.uint16), 1, {"escapes"}
    noisy = np.stack(
        [field(29, (40, 41), 900), np.random.default_rng(29).integers(0, 4096, (40, 41))]
    )
    yield "raw", {}, noisy.astype(np.uint16), 1, {"raw"}
    yield "split-thrice", {}, field(30, (24, 25), 2**46, 2**20), 1, {"split", "two-splits"}
    wide = field(31, (2, 30, 31), 2**21, 9).astype(np.uint32) + 1
    wide[:, 4:12, 5:21] = 0
    yield "split-nodata", {"nodata": 0}, wide, 1, {"split", "mask"}


def of_planes() -> Iterator[Case]:
    """Yield what has several planes that tell of one another."""
    volume = field(9, (5, 48, 50), 1500, 6).astype(np.int16) - 700
    yield "volume", {}, volume, 1, set()
    slices = field(32, (1, 31, 29), 700, 0) + field(33, (7, 31, 29), 300, 9)
    yield "volume-of-primes", {}, slices.astype(np.uint16), 1, {"one-reference"}
    first, second = field(34, (60, 61), 900, 200), field(35, (60, 61), 900, 200)
    mixed = np.stack([first, second, (2 * first + 3 * second) // 5 + field(36, (60, 61), 9, 2)])
    yield "two-references", {}, mixed.astype(np.uint16), 1, {"two-references"}
    mixed = mixed + 1
    mixed[:, 10:30, 20:50] = 0
    yield (
        "two-references-nodata",
        {"nodata": 0},
        mixed.astype(np.uint16),
        1,
        {"two-references", "same-mask"},
    )
    rgb = np.stack(
        [field(14, (40, 44), 150, 2), field(14, (40, 44), 130, 2) + 9, field(15, (40, 44), 150)]
    )
    yield "rgb", {}, rgb.astype(np.uint8), 3, set()
    grey = field(37, (2, 1, 40, 44), 200, 20) + field(38, (2, 3, 40, 44), 9, 2)
    yield "rgb-frames", {}, grey.reshape(6, 40, 44).astype(np.uint8), 3, {"colour"}
    rgba = np.concatenate([grey[0], np.full((1, 40, 44), 255)])
    yield "rgba", {}, rgba.astype(np.uint8), 4, {"colour", "constant"}


def made_of(kind: int, seed: int, shape: tuple[int, int] = (44, 46)) -> np.ndarray:
    """Return red, green, blue that a transform makes of smooth planes, 0 … 255."""
    apart = [field(seed + k, shape, 40, 0) - 20 + 128 * (kind == YCBCR) for k in range(2)]
    coded = [apart[0], field(seed + 2, shape, 200, 30), apart[1]]
    rgb = [undone(Group(0, kind), k, dict(enumerate(coded))) for k in range(3)]
    return np.clip(np.stack(rgb), 0, 255)


def of_colours() -> Iterator[Case]:
    """Yield red, green and blue that are coded as something else."""
    for kind, name in ((YCOCG, "ycocg"), (YCBCR, "ycbcr"), (LESS_GREEN, "less-green")):
        rgb = made_of(kind, 70 + 3 * kind).astype(np.uint8)
        want = {f"colour-{kind}"}
        yield f"colour-{name}", {}, rgb, 3, want
        frames = np.concatenate([rgb, field(80 + kind, (1, 44, 46), 250), rgb[:, ::-1], rgb[:1]])
        yield f"colour-{name}-alpha", {}, frames.astype(np.uint8), 4, want
        holes = rgb.copy()
        holes[holes == 0] = 1
        holes[:, 10:30, 15:40] = 0
        yield f"colour-{name}-nodata", {"nodata": 0}, holes, 3, want | {"mask"}
        if kind == YCBCR:
            scattered = np.where(rgb == rgb[1, 9, 9], 0, rgb)
            yield f"colour-{name}-scattered-nodata", {"nodata": 0}, scattered, 3, want
        else:
            yield f"colour-{name}-near", {"max_error": 2}, rgb, 3, want | {"clamp"}
            wide = made_of(kind, 90 + kind).astype(np.uint16) * 200
            wide += field(93, (3, 44, 46), 190).astype(np.uint16)
            yield f"colour-{name}-uint16", {}, wide, 3, want
    clipped = np.clip(made_of(YCBCR, 95) * 2 - 128, 0, 255)
    clipped = np.where(clipped[:1] > 200, 255, made_of(YCBCR, 95))
    yield "colour-ycbcr-clipped", {}, clipped.astype(np.uint8), 3, {"colour-1"}


def striped(seed: int, shape: tuple[int, int]) -> np.ndarray:
    """Stripes, each with a walk and waves of its own: no few sets of weights suit all of them."""
    rng, (y, x) = np.random.default_rng(seed), np.indices(shape)
    out = 1500 * (((x * (5 + y // 37) + y * (9 - x // 29)) % 97 - 48) ** 2) // 2304
    for k in range(6):
        walk = rng.integers(-9, 10, shape).cumsum(0 if k % 2 else 1)
        out += np.where((x + y * (k + 1)) // 40 % 6 == k, walk * 40, 0)
    return out - out.min()


def of_following() -> Iterator[Case]:
    """Yield planes whose weights follow them."""
    plane = striped(0, (150, 170)).astype(np.uint16)
    yield "followed", {}, plane, 1, {"followed", "far-8"}
    holes = striped(1, (141, 150)).astype(np.int16) - 900
    holes[60:90, 20:100] = -9999
    options = {"nodata": -9999, "max_error": 2, "tier": "max"}
    yield "followed-near", options, holes, 1, {"followed", "mask", "clamp"}
    slices = np.stack([striped(2, (90, 77)), striped(2, (90, 77)) // 3, striped(3, (90, 77))])
    slices[2] += slices[0] // 2
    want = {"followed", "far-0", "one-reference", "several-sets"}
    yield "followed-references", {}, slices.astype(np.int32), 1, want
    wide = (striped(4, (70, 65)) * 65_535 // striped(4, (70, 65)).max()).astype(np.uint16)
    yield "followed-16-bits", {}, wide, 1, {"followed", "far-28"}
    few = striped(7, (64, 80))
    few = (few * 15 // few.max()).astype(np.uint8)
    yield "followed-4-bits", {}, few, 1, {"followed", "far-14"}
    blocks = striped(5, (66, 70)).repeat(2, 0).repeat(3, 1).astype(np.uint16)
    yield "followed-replicated", {}, blocks, 1, {"followed", "replicated"}
    narrow = striped(6, (1030, 4)).astype(np.uint16)
    yield "followed-narrow", {}, narrow, 1, {"followed", "far-8"}


def of_blends() -> Iterator[Case]:
    """Yield planes of two predictions that are blended."""
    plane = striped(10, (150, 170))
    plane[:, 80:] += np.random.default_rng(10).integers(0, 400, (150, 90))
    yield "blended", {}, plane.astype(np.uint16), 1, {"blended", "far-8"}
    holes = striped(11, (141, 150)).astype(np.int16) - 900
    holes[60:90, 20:100] = -9999
    options = {"nodata": -9999, "max_error": 2, "tier": "max"}
    yield "blended-near", options, holes, 1, {"blended", "far-0", "mask", "clamp"}
    first, second = striped(12, (90, 77)), striped(13, (90, 77))
    slices = np.stack([first, second, first // 3 + second // 2 + field(14, (90, 77), 60, 9)])
    want = {"blended", "two-references"}
    yield "blended-references", {}, slices.astype(np.int32), 1, want
    wide = (striped(15, (70, 65)) * 65_535 // striped(15, (70, 65)).max()).astype(np.uint16)
    yield "blended-16-bits", {}, wide, 1, {"blended", "far-28"}
    few = striped(16, (64, 80))
    few = (few * 15 // few.max()).astype(np.uint8)
    yield "blended-4-bits", {}, few, 1, {"blended", "far-14"}
    blocks = striped(17, (66, 70)).repeat(2, 0).repeat(3, 1).astype(np.uint16)
    yield "blended-replicated", {}, blocks, 1, {"blended", "replicated"}
    narrow = striped(18, (1030, 4)).astype(np.uint16)
    yield "blended-narrow", {}, narrow, 1, {"blended", "far-8"}


def of_shapes() -> Iterator[Case]:
    """Yield the sizes: from one sample to those that take every lane."""
    shapes = ((1, 1), (1, 37), (1, 131), (41, 1), (2, 3), (13, 17), (53, 47))
    for shape in shapes:
        array = field(19, shape, 500, 2).astype(np.uint16)
        yield f"size-{shape[0]}x{shape[1]}", {}, array, 1, set()
    for lanes in (1, 4, 8, 32):
        array = field(20, (57, 60), 2000, 20).astype(np.uint16)
        yield f"lanes-{lanes}", {}, array, 1, {f"lanes-{lanes}"}
    few = np.zeros((60, 60), np.uint16)
    few[50:55, 51:56] = field(20, (5, 5), 900, 2) + 1
    yield "lanes-32-of-few", {"nodata": 0}, few, 1, {"lanes-32", "mask"}


def of_models(tuned: Path) -> Iterator[Case]:
    """Yield one image for each tier and for a model of its own; and what the network is no use for.

    tuned : the weights file that travels in its configuration.
    """
    image = field(39, (1, 50, 46), 2000, 9) + field(40, (3, 50, 46), 400, 30)
    array = image.astype(np.int16)
    for tier in WaveCoder.models:
        want = {"no-network"} if tier == "fast" else {"network"}
        yield f"tier-{tier}", {"tier": tier}, array, 1, want | {"one-reference"}
    yield "tuned", {"model": str(tuned)}, array, 1, {"inline-weights", "network"}
    for gain in (0, 15):
        want = {"network", "gain-0" if gain == 0 else "gain"}
        yield f"gain-{gain}", {}, array[0], 1, want
    left = np.random.default_rng(41).integers(-40, 41, (150, 70)).cumsum(0)
    right = np.random.default_rng(42).integers(-2, 3, (150, 80)).cumsum(1)
    textures = np.concatenate([left - left.min(), right - right.min()], 1)
    yield "sets-of-weights", {}, textures.astype(np.uint16), 1, {"several-sets"}


def noisy_steps(seed: int, shape: tuple[int, ...]) -> np.ndarray:
    """Steps of which the brighter are noisy: what a sample is like, its level tells."""
    steps = field(seed, shape, 30, 0) // 6 * 6
    noise = np.random.default_rng(seed).integers(0, 3, shape)
    return steps + np.where(steps > 12, noise, 0)


def of_trees() -> Iterator[Case]:
    """Yield planes whose flags and tables a context tree chooses."""
    steps = noisy_steps(60, (67, 71))
    yield "tree-grey", {}, steps.astype(np.uint8), 1, {"tree", "tree-tables"}
    for tier in ("fast", "max"):
        yield f"tree-{tier}", {"tier": tier}, steps.astype(np.uint8), 1, {"tree"}
    rng = np.random.default_rng(61)
    patches = np.where(rng.random((67, 71)) < 0.03, rng.integers(0, 10, (67, 71)), steps // 6)
    want = {"tree", "tree-flags", "tree-model-tables"}
    yield "tree-flags", {}, patches.astype(np.uint8), 1, want
    frames = np.stack([steps, steps // 2 + (rng.random(steps.shape) < 0.02), 99 - steps])
    yield "tree-rgb", {}, frames.astype(np.uint8), 3, {"tree"}
    masked = noisy_steps(62, (61, 59)) * 40 + 1
    masked[10:40, 20:41] = 0
    masked[rng.random(masked.shape) < 0.03] = 0
    yield "tree-nodata", {"nodata": 0}, masked.astype(np.uint16), 1, {"tree", "tree-mask"}
    coarse = field(63, (71, 67), 3000, 0) // 300 * 300 + noisy_steps(63, (71, 67)) * 9
    near = {"max_error": 16}
    yield "tree-near-16", near, coarse.astype(np.uint16), 1, {"tree", "clamp"}
    for shape in ((1, 1201), (1009, 1), (2, 701)):
        line = noisy_steps(64, shape).astype(np.uint8)
        yield f"tree-{shape[0]}x{shape[1]}", {}, line, 1, {"tree"}
    where = rng.integers(0, 2, (2, 53, 59))
    told = where[0] * rng.integers(0, 3, (53, 59)) + where[1] * 3 * rng.integers(0, 2, (53, 59))
    pair = np.stack([where[0] * 9, 5 + where[0] * rng.integers(0, 3, (53, 59))])
    yield "tree-one-reference", {}, pair.astype(np.int16), 1, {"tree-one-reference"}
    three = np.stack([*where * 9, told + 20])
    yield "tree-two-references", {}, three.astype(np.int16), 1, {"tree-two-references"}
    blocks = noisy_steps(65, (50, 47)).repeat(2, 0).repeat(3, 1)
    yield "tree-replicated", {}, blocks.astype(np.uint8), 1, {"tree", "replicated"}
    wide = noisy_steps(66, (50, 53)) << 20
    wide += np.where(wide > 12 << 20, rng.integers(0, 5, wide.shape), 0)
    yield "tree-split", {}, wide.astype(np.int32), 1, {"tree", "split"}
    yield "tree-float32", {}, (steps / 4).astype(np.float32), 1, {"tree"}
    three += field(67, (3, 53, 59), 60, 9)
    want = {"tree-every-property", "tree-two-references"}
    yield "tree-every-property", {"tier": "max"}, three.astype(np.uint16), 1, want
    want = {"tree-largest", "tree-most-tables"}
    yield "tree-largest", {"tier": "max"}, three[:2].astype(np.uint16), 1, want


def of_whole_planes() -> Iterator[Case]:
    """Yield planes that ``max`` judges as a whole, without a tree, with one, its gain as well."""
    pair = np.stack([striped(70, (71, 83)), striped(70, (71, 83)) // 3 + field(71, (71, 83), 9, 4)])
    yield "whole-planes", {"tier": "max"}, pair.astype(np.uint16), 1, {"network", "one-reference"}
    steps = noisy_steps(72, (79, 73)).astype(np.uint8)
    yield "whole-plane-tree", {"tier": "max"}, steps, 1, {"tree"}
    rng = np.random.default_rng(73)
    patches = np.where(rng.random((81, 77)) < 0.03, rng.integers(0, 10, (81, 77)), 0)
    few = np.stack([noisy_steps(73, (81, 77)), noisy_steps(74, (81, 77)) // 6 + patches])
    yield "whole-plane-gain", {"tier": "max"}, few.astype(np.uint8), 1, {"tree", "tree-flags"}
    steps = noisy_steps(73, (127, 131)).astype(np.uint8)
    want = {"tree", "tree-tables", "lanes-4"}
    yield "whole-plane-shared-tables", {"tier": "max"}, steps, 1, want
    plane = striped(74, (140, 150)).astype(np.uint16)
    yield "whole-plane-more-taps", {"tier": "max"}, plane, 1, {"followed", "far-14", "lanes-4"}
    red = field(75, (60, 66), 180, 2)
    bands = np.stack([red, red // 9 * 4 + field(76, (60, 66), 20, 9), 220 - red])
    yield "bands-in-another-order", {"tier": "max"}, bands.astype(np.uint8), 3, {"one-reference"}


def cases(tuned: Path) -> Iterator[Case]:
    """Yield every golden case; ``tuned`` is the weights file of one of them."""
    yield from of_types()
    yield from within_errors()
    yield from of_structure()
    yield from of_planes()
    yield from of_colours()
    yield from of_shapes()
    yield from of_models(tuned)
    yield from of_trees()
    yield from of_following()
    yield from of_blends()
    yield from of_whole_planes()


def write_tuned(path: Path) -> None:
    """Write a model that nobody installs: the standard one with some of its numbers moved."""
    base = load_model(WaveCoder.models["standard"])
    weights, bias, shift = base.layers["hidden"]
    moved = np.where(weights > 40, weights - 3, weights).astype(np.int8)
    frequencies = base.frequencies.copy()
    frequencies[[10, 11]] = frequencies[[11, 10]]
    linear = base.linear.copy()
    linear[:, :2] += [[64, -64]]
    layers = {**base.layers, "hidden": (moved, bias + 5, shift)}
    path.write_bytes(WaveModel(layers, frequencies, linear).to_bytes())


def ways(
    name: str, codec: TileCodec, array: np.ndarray, bands: int
) -> tuple[bytes, np.ndarray, set[str]]:
    """Code and decode a case; return the record, the samples and the ways that both took."""
    seen: set[str] = {"inline-weights"} if codec.to_config()["model"]["weights"] else set()
    with contextlib.ExitStack() as patched:
        for room, what, choice in FORCED.get(name, []):
            patched.enter_context(mock.patch.object(room, what, choice))
        spy = _spied(cpu.symbols, seen, _of_symbols)
        patched.enter_context(mock.patch.object(cpu, "symbols", spy))
        record = codec.encode(array, bands=bands)
    spies = (
        (chunk, "decode_body", _of_body),
        (plane_decode, "decode_body", _of_body),
        (cpu, "decode_plane", _of_stream),
        (plane_decode, "Levels", lambda args, _: {"rare-levels"} if args[1].any() else set()),
        (plane_decode, "_decode_clusters", lambda *_: {"clusters"}),
        (
            plane_decode,
            "_decode_split",
            _of_split,
        ),
        (chunk, "undone", _of_group),
        (chunk, "_apply_patch", lambda *_: {"patch"}),
        (chunk, "read_index", _of_index),
    )
    with contextlib.ExitStack() as patched:
        for room, name, tell in spies:
            spy = _spied(getattr(room, name), seen, tell)
            patched.enter_context(mock.patch.object(room, name, spy))
        samples = codec.decode(record)
    return record, samples, seen | {"stored" if record[10] == 0 else "wave"}


def _spied(
    function: Callable[..., Any], seen: set[str], tell: Callable[..., set[str]]
) -> Callable[..., Any]:
    """Return the function, adding to ``seen`` what ``tell`` reads off its arguments and result."""

    def spy(*args: Any, **more: Any) -> Any:
        before = tell(args, None)
        result = function(*args, **more)
        seen.update(before, tell(args, result))
        return result

    return spy


def _of_symbols(_: tuple[Any, ...], result: Any) -> set[str]:
    escaped = result is not None and result[3].max(initial=0) > _MOST_RAW_BITS
    return {"escapes"} if escaped else set()


def _of_body(args: tuple[Any, ...], result: Any) -> set[str]:
    """Read the flags of a body before it is decoded; the reader moves on then."""
    if result is not None:
        return set()
    reader = args[0]
    flags = reader._data[reader._at]
    return {name for bit, name in enumerate(FLAGS) if flags >> bit & 1}


def _of_group(args: tuple[Any, ...], _: Any) -> set[str]:
    return {"colour", f"colour-{args[0].kind}"}


def _of_split(args: tuple[Any, ...], _: Any) -> set[str]:
    return {"two-splits"} if args[1].splits < MAX_SPLITS else set()


def _of_stream(args: tuple[Any, ...], result: Any) -> set[str]:
    if result is not None:
        return set()
    plane: PlaneToDecode = args[0]
    taken = {
        f"lanes-{len(plane.states)}",
        ("no-references", "one-reference", "two-references")[plane.n_refs],
        "one-set" if len(plane.linear.weights) == 1 else "several-sets",
        "gain" if plane.gain else "gain-0",
        "network" if len(plane.net[1]) else "no-network",
    }
    if plane.linear.memory:
        taken |= {"followed", f"far-{plane.linear.far}"}
        taken |= {"blended"} if plane.linear.blended else set()
    nodes = plane.tree.nodes
    if len(nodes):
        tables = plane.tree.leaf_tables[: len(nodes) + 1]
        return taken | _of_tree(nodes, tables, plane.flags, plane.mask)
    table_map = plane.table_map
    return taken | {
        "match-flags" if plane.flags.any() else "no-match-flags",
        "same-tables" if (table_map == np.arange(len(table_map))).all() else "exchanged-tables",
    }


def _of_tree(
    nodes: np.ndarray, tables: np.ndarray, flags: np.ndarray, mask: np.ndarray
) -> set[str]:
    asked = set(nodes[:, 0].tolist())
    found = {
        "tree": True,
        "tree-flags": flags.any(),
        "tree-tables": tables.any(),
        "tree-model-tables": (tables == 0).any(),
        "tree-mask": mask.size > 0,
        "tree-one-reference": max(asked) >= OWN_PROPERTIES,
        "tree-two-references": max(asked) >= OWN_PROPERTIES + 6,
        "tree-every-property": asked == set(range(PROPERTIES)),
        "tree-largest": len(nodes) == MAX_TREE_NODES,
        "tree-most-tables": tables.max() == MAX_TREE_TABLES,
    }
    return {way for way, is_so in found.items() if is_so}


def _of_index(_: tuple[Any, ...], result: Any) -> set[str]:
    if result is None:
        return set()
    entries = result[3]
    found = {"clamp"} if any(e.clamp for e in entries) else set()
    return found | ({"copy"} if any(e.copy for e in entries) else set())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, default=FOLDER)
    folder = parser.parse_args().folder
    for model in WaveCoder.models.values():
        load_named(model)  # none may be missing: fail before anything is written
    folder.mkdir(exist_ok=True)
    tuned = folder / TUNED
    if not tuned.exists():
        write_tuned(tuned)
    path = folder / "index.json"
    index = json.loads(path.read_text()) if path.exists() else {}
    faults = []
    for name, arguments, array, bands, wanted in cases(tuned):
        if name in index:
            continue
        codec = TileCodec(**arguments)
        record, samples, taken = ways(name, codec, array, bands)
        if record[6] != VERSION:
            raise SystemExit(f"{name}: records of version {record[6]}, not {VERSION}")
        if not wanted <= taken:
            faults.append(f"{name}: does not take {sorted(wanted - taken)}, but {sorted(taken)}")
            continue
        if not codec.max_error and samples.tobytes() != array.tobytes():
            raise SystemExit(f"{name}: other samples come back")
        (folder / f"{name}.tp").write_bytes(record)
        index[name] = {
            "configuration": codec.to_config(),
            "record_sha256": hashlib.sha256(record).hexdigest(),
            "dtype": samples.dtype.name,
            "shape": list(samples.shape),
            "samples_sha256": hashlib.sha256(np.ascontiguousarray(samples)).hexdigest(),
            "ways": sorted(taken),
        }
        print(name, len(record), "bytes:", *sorted(taken))
        path.write_text(json.dumps(index, indent=1, sort_keys=True) + "\n")
    missing = WAYS - {way for entry in index.values() for way in entry["ways"]}
    if missing:
        faults.append(f"no record takes {sorted(missing)}")
    if faults:
        raise SystemExit("\n".join(faults))
    print(len(index), "records take every way")


if __name__ == "__main__":
    main()
