"""Train a ``wave`` model, read top to bottom.

1. Every plane of every image is prepared and its linear path fitted, by the encoder's own code.
2. Contexts of random samples are drawn from the predictor itself, so that what is trained on
   is what will be seen, bit for bit.
3. The network learns what to add to the linear prediction, and the scale and shape of what is left.
4. It finishes with rounded weights and activations (straight-through gradients).
5. The finished integer model codes every training plane once; its token counts, smoothed with the
   density it was trained on, become the static tables.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from tilepress.codecs.wave.backend import LinearPath, PlaneToEncode, TreeEffort
from tilepress.codecs.wave.choices import choose_flags, choose_gain, count_matches, count_tokens
from tilepress.codecs.wave.following import Following, may_follow
from tilepress.codecs.wave.layout import (
    FEATURES,
    FRACTION_BITS,
    MAX_RANGE,
    REGRESSORS,
    regressor_count,
)
from tilepress.codecs.wave.linear import fit_linear, up_of
from tilepress.codecs.wave.model import NO_NETWORK, TABLES, WaveModel
from tilepress.codecs.wave.native.fitting import plane_features
from tilepress.codecs.wave.native.planes import predict_plane
from tilepress.codecs.wave.native.structures import Sheared
from tilepress.codecs.wave.plane_format import residuals
from tilepress.codecs.wave.rans import TABLE_BITS
from tilepress.codecs.wave.structure import choose_references, used_levels
from tilepress.codecs.wave.symbols import (
    PHASED_CONTEXTS,
    PHASES,
    TOKENS,
    flag_probabilities,
    fold_plane,
    tokenise,
)
from tilepress.codecs.wave.wavefront import shear, shear_reference

__all__ = ["TrainingImage", "fine_tune", "linear_baseline", "train_wave"]

Progress = Callable[[str], None]

_TILE = 512
_LEVELS = 48
_NO_MASK = np.zeros(0, np.uint8)
STANDARD_HIDDEN = 24
"""Hidden units of the tier ``standard``: what two cores decode at the speed that it promises."""
_FOLLOWED = 0.4
"""Share of planes whose weights follow them."""
_TRIED = Following(0).tried
_HEAVY = (0.12, 0.5, 0.88)
"""Heaviness that stands for each of the three shapes when tables are smoothed."""


@dataclass(frozen=True, slots=True)
class TrainingImage:
    """One image to learn from."""

    name: str
    group: str
    """Images of one group share one weight in the training mix."""
    planes: npt.NDArray[Any]
    """(planes, y, x) of an integer dtype."""
    bands: int = 1
    """Planes that belong together (3 for RGB)."""


@dataclass(frozen=True, slots=True)
class _Plane:
    """A prepared plane: everything that the predictor needs, and its share of the training mix."""

    own: npt.NDArray[np.int32]
    refs: npt.NDArray[np.int32]
    ref_errors: npt.NDArray[np.int32]
    n_refs: int
    height: int
    width: int
    top: int
    linear: LinearPath
    weight: float


def _prior() -> npt.NDArray[np.int32]:
    prior = np.zeros(REGRESSORS, np.int32)
    prior[0] = prior[1] = 1 << 13
    return prior


def _variants(
    image: TrainingImage, rng: np.random.Generator
) -> Iterator[list[npt.NDArray[np.int32]]]:
    """Yield lists of prepared planes, 0 … top, that are coded as one chunk."""
    planes, height, width = image.planes.shape
    for z in range(0, planes, 16 if image.bands == 1 else 16 // image.bands * image.bands):
        for y in range(0, height, _TILE):
            for x in range(0, width, _TILE):
                group = image.planes[z : z + 16, y : y + _TILE, x : x + _TILE].astype(np.int64)
                if group.shape[1] < 16 or group.shape[2] < 16:
                    continue
                if image.bands >= 3 and len(group) >= 3:
                    order = [1, 0, 2, *range(3, len(group))]
                    group = group[order]
                    if rng.random() < 0.35:
                        green, red, blue = group[0], group[1], group[2]
                        co = red - blue
                        base = blue + (co >> 1)
                        cg = green - base
                        group = np.concatenate([np.stack([base + (cg >> 1), cg, co]), group[3:]])
                if rng.random() < 0.12:
                    k = int(rng.choice([1, 2, 4, 8]))
                    group = (group + k) // (2 * k + 1)
                out = []
                for plane in group:
                    p = plane - plane.min()
                    if p.max() >= MAX_RANGE:
                        p >>= int(p.max()).bit_length() - 17
                    p32 = p.astype(np.int32)
                    levels = used_levels(p32, None, int(p32.max()))
                    if levels is not None:
                        p32 = levels.ranks()[p32]
                    out.append(np.ascontiguousarray(p32))
                yield out


def _prepare(image: TrainingImage, weight: float, seed: int) -> Iterator[_Plane]:
    """Yield every plane of an image with and without references."""
    rng = np.random.default_rng(seed)
    for planes in _variants(image, rng):
        chosen = choose_references(planes, [list(range(i)) for i in range(len(planes))])
        height, width = planes[0].shape
        share = weight * height * width / image.planes.size
        sheared_refs: list[npt.NDArray[np.int32]] = []
        sheared_errors: list[npt.NDArray[np.int32]] = []
        for plane, refs in zip(planes, chosen, strict=True):
            top = int(plane.max())
            own = shear(plane, int(plane[0, 0]))
            for number, use in enumerate((refs, ()) if refs else ((),)):
                ref = np.zeros((2, *own.shape), np.int32)
                ref_errors = np.zeros_like(ref)
                for slot, index in enumerate(use):
                    ref[slot], ref_errors[slot] = sheared_refs[index], sheared_errors[index]
                bits = 12 if plane.size >= 1 << 16 else 10
                known = (own, ref, ref_errors, len(use), _NO_MASK, height, width, _prior(), bits)
                fitted = fit_linear(*known)
                if may_follow(height, width) and rng.random() < _FOLLOWED:
                    memory, far = _TRIED[int(rng.integers(len(_TRIED)))]
                    alone, up = fit_linear(*known, quick=True), up_of(fitted.thresholds)
                    fitted = replace(alone, memory=memory, far=far, up=up)
                prepared = _Plane(own, ref, ref_errors, len(use), height, width, top, fitted, share)
                if number == 0:
                    errors = linear_errors(prepared)
                if top > 0 and rng.random() < (1.0 if use or not refs else 0.5):
                    yield prepared
            sheared_refs.append(shear_reference(plane))
            sheared_errors.append(shear_reference(errors))


def linear_errors(plane: _Plane) -> npt.NDArray[np.int32]:
    """Return the linear path's residuals in whole steps, (y, x)."""
    found = predict_plane(_to_encode(plane, NO_NETWORK))
    return residuals(found.errors, plane.height, plane.width)


def _to_encode(plane: _Plane, net: tuple[npt.NDArray[Any], ...]) -> PlaneToEncode:
    nothing = np.zeros(0, np.int32)
    return PlaneToEncode(
        plane.own,
        plane.refs,
        plane.ref_errors,
        plane.n_refs,
        _NO_MASK,
        plane.height,
        plane.width,
        plane.top,
        plane.linear,
        net,
        nothing,
        nothing,
        nothing,
        TreeEffort(0.0, 0),
    )


def _draw(
    plane: _Plane, rate: float, seed: int
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.int32]]:
    """Return features, (n, FEATURES), and facts, (n, 3), of random samples: see plane_features."""
    where = Sheared(
        plane.own, plane.refs, plane.ref_errors, plane.n_refs, _NO_MASK, plane.height, plane.width
    )
    features, facts = plane_features(where, plane.top, plane.linear)
    drawn = np.random.default_rng(seed).random(len(facts)) < rate
    return features[drawn], facts[drawn]


class _Rounded(torch.autograd.Function):
    """Round; the gradient passes as if nothing had happened."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return torch.floor(x + 0.5)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:
        return grad


def _rounded(x: torch.Tensor) -> torch.Tensor:
    rounded: torch.Tensor = _Rounded.apply(x)  # type: ignore[no-untyped-call]
    return rounded


class _Dense(nn.Module):
    """A dense layer over integers; with ``exact`` its weights and sums are what int8 will give."""

    def __init__(self, n_in: int, n_out: int, gain: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(n_out, n_in) * gain / math.sqrt(n_in))
        self.bias = nn.Parameter(torch.zeros(n_out))

    def shift(self) -> torch.Tensor:
        largest = self.weight.detach().abs().amax(1).clamp(min=1e-6)
        return torch.floor(torch.log2(63.49 / largest)).clamp(0, 16)

    def forward(self, x: torch.Tensor, exact: bool) -> torch.Tensor:
        if not exact:
            return x @ self.weight.T + self.bias
        scale = torch.exp2(self.shift())
        weight = _rounded(self.weight * scale[:, None]) / scale[:, None]
        return _rounded(x @ weight.T + self.bias)

    def load(
        self,
        weights: npt.NDArray[np.int8],
        bias: npt.NDArray[np.int32],
        shift: npt.NDArray[np.int32],
    ) -> None:
        scale = np.exp2(shift.astype(np.float64))
        with torch.no_grad():
            self.weight.copy_(torch.from_numpy(weights / scale[:, None]))
            self.bias.copy_(torch.from_numpy(bias / scale))

    def export(self) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.int32], npt.NDArray[np.int32]]:
        shift = self.shift()
        scale = torch.exp2(shift)
        weight = torch.floor(self.weight.detach() * scale[:, None] + 0.5).clamp(-63, 63)
        bias = torch.floor(self.bias.detach() * scale + 0.5).clamp(-(2**20), 2**20)
        return (
            weight.to(torch.int8).numpy(),
            bias.to(torch.int32).numpy(),
            shift.to(torch.int32).numpy(),
        )


def _activate(x: torch.Tensor) -> torch.Tensor:
    return x.clamp(0, 127)


def heavy_tailed(
    step_low: torch.Tensor, step_high: torch.Tensor, sigma: torch.Tensor, heavy: torch.Tensor
) -> torch.Tensor:
    """Mass between two offsets from the mean: three Gaussians of widths 1, 2.2 and 6 sigma."""
    shares = (0.75 * heavy + 0.03, 0.12 * heavy**2 + 0.003)
    mixture = ((1.0, 1 - shares[0] - shares[1]), (2.2, shares[0]), (6.0, shares[1]))
    total = torch.zeros_like(step_low)
    for width, share in mixture:
        s = sigma * width * math.sqrt(2)
        total = total + share * 0.5 * (torch.erf(step_high / s) - torch.erf(step_low / s))
    return total


class _Net(nn.Module):
    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.hidden = _Dense(FEATURES, hidden, 1.0)
        self.output = _Dense(hidden, 3, 0.3)

    def loss(self, x: torch.Tensor, facts: torch.Tensor, exact: bool) -> torch.Tensor:
        h = _activate(self.hidden(x, exact))
        out = self.output(h, exact)
        unit = torch.exp2(facts[:, 1].float() - 4 - FRACTION_BITS)
        centre = out[:, 0].clamp(-2047, 2047) * unit
        error = facts[:, 0].float() / 64 - centre
        level = (3 * facts[:, 2].float() + out[:, 1].clamp(-1023, 1023) / 2 - 129) / 8
        sigma = torch.exp2(level.clamp(0.0, 47.9) / 3 - 4)
        heavy = torch.sigmoid(out[:, 2] / 16)
        mass = heavy_tailed(error - 0.5, error + 0.5, sigma, heavy)
        return -torch.log2(mass + 2e-7).mean()


def _fit(
    net: _Net,
    features: npt.NDArray[np.int8],
    facts: npt.NDArray[np.int32],
    minutes: float,
    rate: float,
    progress: Progress,
    seed: int,
) -> None:
    """Descend; the last third of the time with integer weights and activations."""
    x, f = torch.from_numpy(features), torch.from_numpy(facts)
    optimiser = torch.optim.Adam(net.parameters(), lr=rate, betas=(0.9, 0.99))
    generator = torch.Generator().manual_seed(seed)
    start, said, step, average = time.monotonic(), 0.0, 0, None
    while (share := (time.monotonic() - start) / (60 * minutes)) < 1:
        exact = share > 0.6
        for group in optimiser.param_groups:
            group["lr"] = rate * (0.5 + 0.5 * math.cos(math.pi * share)) + rate * 0.01
        pick = torch.randint(len(x), (8192,), generator=generator)
        loss = net.loss(x[pick].float(), f[pick], exact)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        step += 1
        average = loss.item() if average is None else 0.995 * average + 0.005 * loss.item()
        if share - said > 0.05:
            said = share
            progress(f"step {step}, {share:.0%}, {average:.4f} bits{' (int8)' if exact else ''}")


def _draw_all(
    images: list[TrainingImage], weights: list[float], samples: int, seed: int
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.int32]]:
    features, facts = [], []
    for index, (image, weight) in enumerate(zip(images, weights, strict=True)):
        for number, plane in enumerate(_prepare(image, weight, seed + index)):
            rate = min(1.0, plane.weight * samples / (plane.height * plane.width))
            x, f = _draw(plane, rate, seed + 7919 * index + number)
            features.append(x)
            facts.append(f)
    return np.concatenate(features), np.concatenate(facts)


def _silent() -> dict[str, Any]:
    """Return the layers of a network without hidden units."""
    return {
        "hidden": (np.zeros((0, FEATURES), np.int8), np.zeros(0, np.int32), np.zeros(0, np.int32)),
        "output": (np.zeros((3, 0), np.int8), np.zeros(3, np.int32), np.zeros(3, np.int32)),
    }


def _parametric_tokens() -> npt.NDArray[np.float64]:
    """Return (TABLES, TOKENS) probabilities of tokens under the density trained with."""
    out = np.zeros((TABLES, TOKENS))
    for level in range(_LEVELS):
        sigma = 2 ** ((level + 0.5) / 3 - 4)
        reach = int(min(MAX_RANGE - 1, max(32, 40 * sigma)))
        residual = torch.arange(-reach, reach + 1, dtype=torch.float64)
        r = residual.numpy()
        tokens = tokenise(np.where(r > 0, 2 * r - 1, -2 * r).astype(np.int32))
        for shape, heavy in enumerate(_HEAVY):
            for phase in range(PHASES):
                mean = (phase + 0.5) / 8
                mass = heavy_tailed(
                    residual - mean - 0.5,
                    residual - mean + 0.5,
                    torch.tensor(sigma, dtype=torch.float64),
                    torch.tensor(heavy, dtype=torch.float64),
                ).numpy()
                context = level * 3 + shape
                if context < PHASED_CONTEXTS:
                    out[context * PHASES + phase] = np.bincount(tokens, mass, TOKENS)
                else:
                    out[PHASED_CONTEXTS * (PHASES - 1) + context] += np.bincount(
                        tokens, mass, TOKENS
                    )
    out /= out.sum(1, keepdims=True)
    return out


def _to_frequencies(probabilities: npt.NDArray[np.float64]) -> npt.NDArray[np.uint16]:
    """Turn rows of token probabilities into frequencies with an escape that sum to 2^15."""
    total = 1 << TABLE_BITS
    out = np.zeros((len(probabilities), TOKENS + 1), np.uint16)
    for row, p in enumerate(probabilities):
        tail = 1 - np.cumsum(p)
        n = int(np.clip(np.searchsorted(-tail, -0.6 / total) + 1, 2, TOKENS))
        ideal = np.append(p[:n], max(tail[n - 1], 0.0)) * total
        f = np.maximum(1, np.rint(ideal)).astype(np.int64)
        while (excess := int(f.sum()) - total) != 0:
            f[np.argmax(f)] -= np.clip(excess, -total // 4, f.max() // 2)
        out[row, : n + 1] = f
    return out


def _count_tokens(
    images: list[TrainingImage], weights: list[float], model: WaveModel, seed: int, samples: int
) -> npt.NDArray[np.float64]:
    """Return (TABLES, TOKENS) counts; each image counts by its share of the mix."""
    net = model.arrays()
    total = np.zeros((TABLES, TOKENS))
    for index, (image, weight) in enumerate(zip(images, weights, strict=True)):
        for plane in _prepare(image, weight, seed + index):
            found = predict_plane(_to_encode(plane, net))
            predicted = (found.linears, found.corrections)
            gain = choose_gain(*predicted, found.samples[0], found.begins)
            tables, folded, candidates = fold_plane(
                *predicted, found.contexts, found.samples, gain, plane.top, True
            )
            matches = found.patterns
            flags, _ = choose_flags(count_matches(tables, folded, matches, candidates, model.costs))
            counts = count_tokens(
                tables, folded, matches, candidates, flag_probabilities(flags), TABLES
            )
            total += counts * (plane.weight * samples / len(folded))
    return total


def _mean_linear(
    images: list[TrainingImage], weights: list[float], seed: int
) -> npt.NDArray[np.int32]:
    """Average the fitted linear weights by number of references: the prior of small planes."""
    total, mass = np.zeros((3, REGRESSORS)), np.full(3, 1e-9)
    for index, (image, weight) in enumerate(zip(images, weights, strict=True)):
        for plane in _prepare(image, weight, seed + index):
            total[plane.n_refs] += plane.linear.weights.mean(axis=0) * plane.weight
            mass[plane.n_refs] += plane.weight
    mean: npt.NDArray[np.int32] = np.rint(total / mass[:, None]).astype(np.int32)
    for n_refs in range(3):
        mean[n_refs, regressor_count(n_refs) :] = 0
    return mean


def train_wave(
    images: Iterable[TrainingImage],
    *,
    minutes: float,
    samples: int = 6_000_000,
    hidden: int = STANDARD_HIDDEN,
    base: WaveModel | None = None,
    seed: int = 0,
    progress: Progress = print,
) -> WaveModel:
    """Train on ``images`` for about ``minutes`` of descent and return the integer model.

    ``base`` is a model to go on from instead of random weights; it decides the hidden units then.
    """
    torch.manual_seed(seed)
    torch.set_num_threads(
        1
    )  # layers this small lose more to synchronising than a second core gives
    pool = list(images)
    weights = _mix(pool)
    progress(f"training on {len(pool)} images of {len({i.group for i in pool})} groups")
    blank = _blank_model()
    net = _Net(hidden if base is None else base.hidden)
    if base is not None:
        net.hidden.load(*base.layers["hidden"])
        net.output.load(*base.layers["output"])
    x, facts = _draw_all(pool, weights, samples, seed)
    progress(f"{len(x)} samples")
    _fit(net, x, facts, minutes, 3e-3 if base is None else 1e-3, progress, seed)
    layers = {"hidden": net.hidden.export(), "output": net.output.export()}
    model = WaveModel(layers, blank.frequencies, blank.linear)
    return _with_tables(model, pool, weights, seed, progress)


def fine_tune(
    base: WaveModel,
    images: Iterable[TrainingImage],
    *,
    seconds: float,
    samples: int = 1_000_000,
    seed: int = 0,
    progress: Progress = print,
) -> WaveModel:
    """Return ``base`` adapted to ``images`` in about ``seconds``: its network and its tables.

    What the images do not show stays as it was: the network starts from the base's, tables are
    counted on top of the base's, default linear weights are kept.
    """
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    started = time.monotonic()
    pool = list(images)
    weights = _mix(pool)
    layers = base.layers
    if base.hidden:
        net = _Net(base.hidden)
        net.hidden.load(*base.layers["hidden"])
        net.output.load(*base.layers["output"])
        x, facts = _draw_all(pool, weights, samples, seed)
        spent = time.monotonic() - started  # counting tokens will take about as long
        left = max(seconds - 2 * spent, seconds / 4)
        _fit(net, x, facts, left / 60, 1e-3, progress, seed)
        layers = {"hidden": net.hidden.export(), "output": net.output.export()}
    model = replace(base, layers=layers)
    progress("counting tokens for the tables")
    total = sum(image.planes.size for image in pool)
    counts = _count_tokens(pool, weights, model, seed + 2, total)
    smooth = counts + 400 * _known_tokens(base)
    return replace(model, frequencies=_to_frequencies(smooth / smooth.sum(1, keepdims=True)))


def _known_tokens(model: WaveModel) -> npt.NDArray[np.float64]:
    """Return (TABLES, TOKENS) probabilities of a model's tables, the escape's share spread."""
    coded = np.arange(TOKENS) < model.used[:, None]
    share = np.where(coded, model.frequencies[:, :TOKENS], 0) / (1 << TABLE_BITS)
    tail = np.where(coded, 0.0, _parametric_tokens() + 1e-9)
    missing = 1.0 - share.sum(axis=1, keepdims=True)
    known: npt.NDArray[np.float64] = (
        share + tail / np.maximum(tail.sum(axis=1, keepdims=True), 1e-12) * missing
    )
    known /= known.sum(axis=1, keepdims=True)
    return known


def linear_baseline(
    images: Iterable[TrainingImage], *, seed: int = 0, progress: Progress = print
) -> WaveModel:
    """Return the model whose network is silent: what the network must beat.

    The mean is the linear path's, the table follows from the errors around alone; tables are
    counted on the same images in the same way.
    """
    pool = list(images)
    return _with_tables(_blank_model(), pool, _mix(pool), seed, progress)


def _mix(pool: list[TrainingImage]) -> list[float]:
    """Return each image's share: groups by fourth root of size, images within by root."""
    groups: dict[str, float] = {}
    for image in pool:
        groups[image.group] = groups.get(image.group, 0.0) + math.sqrt(image.planes.size)
    mix = [math.sqrt(i.planes.size) / groups[i.group] * math.sqrt(groups[i.group]) for i in pool]
    return [m / sum(mix) for m in mix]


def _blank_model() -> WaveModel:
    tables = _to_frequencies(_parametric_tokens())
    return WaveModel(_silent(), tables, np.tile(_prior(), (3, 1)))


def _with_tables(
    model: WaveModel, pool: list[TrainingImage], weights: list[float], seed: int, progress: Progress
) -> WaveModel:
    """Return the model with tables and default linear weights counted on the training images."""
    progress("counting tokens for the tables")
    counts = _count_tokens(pool, weights, model, seed + 2, 40_000_000)
    smooth = counts + 300 * _parametric_tokens()
    tables = _to_frequencies(smooth / smooth.sum(1, keepdims=True))
    return replace(model, frequencies=tables, linear=_mean_linear(pool, weights, seed + 3))
