"""Weights that follow a plane: as FORMAT.md §5.5 and §5.6 say, once more in plain Python."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tilepress.codecs.wave import wavefront
from tilepress.codecs.wave.backend import PlaneToEncode
from tilepress.codecs.wave.layout import FAR_CHOICES, FAR_TAPS, OWN_TAPS, SHEAR
from tilepress.codecs.wave.native.fitting import plane_features
from tilepress.codecs.wave.native.planes import predict_plane
from tilepress.codecs.wave.native.structures import Sheared

from .test_planes import Made, inputs_of, logarithm, made, on_each_instruction_set, plainly

__all__ = ["on_each_instruction_set"]

STRIP, SPAN, UNIT = 8, 16, 1 << 14


def weighed(values: np.ndarray, up: int, down: np.ndarray) -> np.ndarray:
    """What sums of products are of, −2047 … 2047."""
    scaled = (values << up if up >= 0 else values >> -up) >> down
    return np.clip(scaled, -2047, 2047)


def solved(system: np.ndarray) -> list[int]:
    """The weights of a system, (n, n + 1) doubles, upper triangle, last column the target's.

    In units of 2^−14; zeros where they are too large together.
    """
    n = len(system)
    a, x = system.copy(), np.zeros(n)
    trace = np.float64(0)
    for i in range(n):
        trace += a[i, i]
    ridge = trace * (1.0 / 1024 / n) + 1.0
    for i in range(n):
        a[i, i] += ridge
    inverse = np.zeros(n)
    for k in range(n):
        inverse[k] = 1.0 / a[k, k]
        for i in range(k + 1, n):
            a[i, i:] -= (a[k, i] * inverse[k]) * a[k, i:]
    for k in reversed(range(n)):
        total = a[k, n]
        for j in range(k + 1, n):
            total -= a[k, j] * x[j]
        x[k] = total * inverse[k]
    weights = [int(min(max(v * UNIT, -131071.0), 131071.0) + 131072.5) - 131072 for v in x]
    return weights if sum(map(abs, weights)) <= 1 << 17 else [0] * n


def followed(case: Made, first: int, top: int, absent: np.ndarray | None = None) -> np.ndarray:
    """Return the linear prediction of every sample, (y, x)."""
    plane, path = case.plane.astype(np.int64), case.asked.linear
    base = path
    if path.blended:
        base = replace(path, weights=path.weights[:1], set_of_cell=np.zeros_like(path.set_of_cell))
    fixed, _ = plainly(case.plane, case.refs, case.errors, first, base, top)
    base, inputs, _, activity = inputs_of(case.plane, case.refs, case.errors, first)
    far = [neighbour(plane, first, *tap) - base for tap in FAR_TAPS[: path.far].tolist()]
    regressors = np.stack([*inputs, *far])
    down = activity >> 4
    values = weighed(regressors, path.up, down)
    targets = weighed(64 * plane - fixed, path.up - 6, down)
    there = np.ones(plane.shape, bool) if absent is None else ~absent
    (height, width), n = plane.shape, len(regressors)
    strips, steps = -(-height // STRIP), width + SHEAR * (height - 1)
    y, x = np.indices(plane.shape)
    turn, strip = (x + SHEAR * y) // SPAN, y // STRIP
    sums, out = np.zeros((strips + 4, n, n + 1)), np.zeros(plane.shape, np.int64)
    for now in range(-(-steps // SPAN)):
        for s in range(strips):
            here = (turn == now) & (strip == s)
            if here.any():
                # sums[s + 2] is that of strip s; those outside are zeros
                system = sums[s + 2] + 0.75 * sums[s + 1] + 0.5 * sums[s] + 0.25 * sums[s + 3]
                added = (np.array(solved(system))[:, None] * regressors[:, here]).sum(0)
                out[here] = np.clip(fixed[here] + ((added + 128) >> 8), 0, 64 * top)
        for s in range(strips):
            here = (turn == now) & (strip == s) & there
            block = values[:, here] @ np.vstack([values[:, here], targets[here]]).T
            sums[s + 2] = sums[s + 2] * (path.memory / 16) + block
    if not path.blended:
        return out
    by_sets, _ = plainly(case.plane, case.refs, case.errors, first, path, top)
    sizes = [around(np.where(there, 64 * plane - linear, 0)) for linear in (by_sets, out)]
    share = np.clip(32 + 4 * (logarithm(sizes[1]) - logarithm(sizes[0])), 0, 64)
    return out + (((by_sets - out) * share + 32) >> 6)


def around(errors: np.ndarray) -> np.ndarray:
    """Sum of the errors around every sample as FORMAT.md §5.3 weighs them, "both"."""
    taps = [(0, -1), (-1, 0), *OWN_TAPS[:9].tolist(), (0, -3), (-3, 0)]  # the nearest two twice
    return sum(np.abs(neighbour(errors, 0, *tap)) for tap in taps)


def neighbour(plane: np.ndarray, first: int, dy: int, dx: int) -> np.ndarray:
    """What stands at (dy, dx) from every sample, margins as FORMAT.md §4.1 has them, 5 deep."""
    height, width = plane.shape
    out = np.full((height + 5, width + 10), first, np.int64)
    out[5:, 5:-5] = plane
    out[6:, :5] = plane[:-1, :1]
    out[5:, -5:] = plane[:, -1:]
    return out[5 + dy :, 5 + dx :][:height, :width]


def following(
    n_refs: int,
    far: int,
    top: int,
    memory: int = 6,
    up: int = 6,
    sets: int = 1,
    blended: bool = False,
) -> Made:
    case = made(n_refs, sets, top, 2**11, seed=far)
    path = replace(case.classes, memory=memory, far=far, up=up, blended=blended)
    return case._replace(asked=case.asked._replace(linear=path))


class TestPredictions:
    @pytest.mark.parametrize("n_refs", [0, 1, 2])
    @pytest.mark.parametrize("far", FAR_CHOICES)
    def test_are_the_formats(self, n_refs: int, far: int) -> None:
        case = following(n_refs, far, 300)
        wanted = followed(case, int(case.plane[0, 0]), 300)
        fixed, _ = plainly(*case[:3], int(case.plane[0, 0]), case.classes, 300)
        assert np.array_equal(predict_plane(case.asked).linears, wanted[case.order])
        assert (wanted != fixed).mean() > 0.5, "what is learned changes what is predicted"

    @pytest.mark.parametrize(
        ("top", "memory", "up", "sets"),
        [(1, 15, 11, 1), (9, 1, 8, 5), (65535, 13, -4, 1), (2**17 - 1, 6, -11, 16)],
    )
    def test_of_any_range(self, top: int, memory: int, up: int, sets: int) -> None:
        case = following(1, 8, top, memory, up, sets)
        wanted = followed(case, int(case.plane[0, 0]), top)
        for mode in (0, 1, 2):  # of kernel.h: how sums are worked out
            assert np.array_equal(predict_plane(case.asked, mode).linears, wanted[case.order])

    def test_of_absent_samples(self) -> None:
        """They are predicted from, but nothing is learned from them."""
        case = following(0, 8, 300)
        absent = np.random.default_rng(3).random(case.plane.shape) < 0.3
        mask = wavefront.shear(absent.astype(np.int32), 0).astype(np.uint8)
        found = predict_plane(case.asked._replace(mask=mask))
        wanted = followed(case, int(case.plane[0, 0]), 300, absent)
        there = ~absent[case.order]
        assert np.array_equal(found.linears, wanted[case.order][there])

    @pytest.mark.parametrize("shape", [(1, 70), (70, 1), (3, 3), (9, 17), (40, 5), (8, 16)])
    def test_of_any_shape(self, shape: tuple[int, int]) -> None:
        case = following(0, 14, 300)
        rng = np.random.default_rng(shape)
        plane = rng.integers(0, 301, shape).astype(np.int32)
        own = wavefront.shear(plane, int(plane[0, 0]))
        asked: PlaneToEncode = case.asked._replace(own=own, height=shape[0], width=shape[1])
        case = case._replace(plane=plane, asked=asked)
        wanted = followed(case, int(plane[0, 0]), 300)
        y, x = np.indices(shape)
        order = np.lexsort((y.ravel(), (x + SHEAR * y).ravel()))
        assert np.array_equal(predict_plane(asked).linears, wanted.ravel()[order])

    def test_training_sees_the_same_errors(self) -> None:
        case = following(2, 8, 300, sets=5)
        wanted = 64 * case.plane.astype(np.int64) - followed(case, int(case.plane[0, 0]), 300)
        _, facts = plane_features(Sheared.of(case.asked), 300, case.asked.linear)
        assert np.array_equal(facts[:, 0], wanted[case.order])


class TestBlends:
    """Two predictions of each sample, of which that weighs more which was nearer around it."""

    @pytest.mark.parametrize("n_refs", [0, 1, 2])
    @pytest.mark.parametrize("far", FAR_CHOICES)
    def test_are_the_formats(self, n_refs: int, far: int) -> None:
        case = following(n_refs, far, 300, sets=5, blended=True)
        wanted = followed(case, int(case.plane[0, 0]), 300)
        path = replace(case.asked.linear, blended=False)
        unblended = followed(
            case._replace(asked=case.asked._replace(linear=path)), int(case.plane[0, 0]), 300
        )
        assert np.array_equal(predict_plane(case.asked).linears, wanted[case.order])
        assert (wanted != unblended).mean() > 0.5

    @pytest.mark.parametrize(
        ("top", "memory", "up", "sets"),
        [(1, 15, 11, 2), (9, 1, 8, 5), (65535, 13, -4, 3), (2**17 - 1, 6, -11, 16)],
    )
    def test_of_any_range(self, top: int, memory: int, up: int, sets: int) -> None:
        case = following(1, 8, top, memory, up, sets, blended=True)
        wanted = followed(case, int(case.plane[0, 0]), top)
        for mode in (0, 1, 2):  # of kernel.h: how sums are worked out
            assert np.array_equal(predict_plane(case.asked, mode).linears, wanted[case.order])

    def test_of_absent_samples(self) -> None:
        """Their errors count as none."""
        case = following(0, 8, 300, sets=4, blended=True)
        absent = np.random.default_rng(3).random(case.plane.shape) < 0.3
        mask = wavefront.shear(absent.astype(np.int32), 0).astype(np.uint8)
        found = predict_plane(case.asked._replace(mask=mask))
        wanted = followed(case, int(case.plane[0, 0]), 300, absent)
        assert np.array_equal(found.linears, wanted[case.order][~absent[case.order]])

    @pytest.mark.parametrize("shape", [(1, 70), (70, 1), (3, 3), (9, 17), (40, 5), (8, 16)])
    def test_of_any_shape(self, shape: tuple[int, int]) -> None:
        case = following(0, 14, 300, sets=3, blended=True)
        plane = np.random.default_rng(shape).integers(0, 301, shape).astype(np.int32)
        own = wavefront.shear(plane, int(plane[0, 0]))
        asked: PlaneToEncode = case.asked._replace(own=own, height=shape[0], width=shape[1])
        wanted = followed(case._replace(plane=plane, asked=asked), int(plane[0, 0]), 300)
        y, x = np.indices(shape)
        order = np.lexsort((y.ravel(), (x + SHEAR * y).ravel()))
        assert np.array_equal(predict_plane(asked).linears, wanted.ravel()[order])

    def test_training_sees_the_same_errors(self) -> None:
        case = following(2, 8, 300, sets=5, blended=True)
        wanted = 64 * case.plane.astype(np.int64) - followed(case, int(case.plane[0, 0]), 300)
        _, facts = plane_features(Sheared.of(case.asked), 300, case.asked.linear)
        assert np.array_equal(facts[:, 0], wanted[case.order])


class TestWeightsThatAreTooLarge:
    @pytest.mark.parametrize(("weight", "taken"), [(-2, True), (-7, False)])
    def test_are_not_taken(self, weight: int, taken: bool) -> None:
        """What mends fixed weights of −7 twice would be 15, beyond what sums are made for."""
        case = following(0, 0, 4000)
        y, x = np.indices(case.plane.shape)
        plane = (40 * y + 25 * x + 90 * np.sin(x * y / 9)).astype(np.int32)
        path = replace(case.asked.linear, weights=np.zeros_like(case.classes.weights))
        path.weights[:, :2] = weight * UNIT
        own = wavefront.shear(plane, int(plane[0, 0]))
        case = case._replace(plane=plane, asked=case.asked._replace(own=own, linear=path))
        wanted = followed(case, int(plane[0, 0]), case.asked.top)
        fixed, _ = plainly(*case[:3], int(plane[0, 0]), path, case.asked.top)
        assert np.array_equal(predict_plane(case.asked).linears, wanted[case.order])
        assert (wanted != fixed).any() == taken
