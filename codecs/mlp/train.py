"""Train the network of ``mlp`` and the model of its hidden units, read top to bottom.

1. Crops of the images are cut into blocks, at steps that leave between a hundredth and two thirds
   of their hidden units other than zero.
2. From a cosine transform on, torch makes the network better in bits and squared error together;
   each unit costs what a Laplace density of the scale around it says.
3. The network becomes integers. What the encoder then writes says which values around a unit tell
   its size: weights by least squares, parents by correlation.
4. Values whose surroundings look alike share the table that codes them in fewest bits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from tilepress.codecs.mlp.chunk import quantised_units
from tilepress.codecs.mlp.layout import (
    CLASSES,
    DECODER_UNITS,
    FEATURES,
    MATRIX_UNIT,
    PARENTS,
    TABLE_BITS,
    TABLES,
    TANH_UNIT,
    TOKENS,
    raw_bits,
)
from tilepress.codecs.mlp.model import MlpModel
from tilepress.codecs.mlp.network import blocks_of
from tilepress.codecs.mlp.plane import examine_units
from tilepress.codecs.ntc.examples import Crop, step_for, varied

__all__ = ["train_mlp"]

Doubles = npt.NDArray[np.float64]
Progress = Callable[[str], None]

PRICE = 8.0
"""Bits that a squared step of error counts as."""
_STEPS_PER_LOG2, _INDEX_OF_ONE = 5, 25
"""Tables are five to an octave; table 25 is that of scale 1."""
_RATE = 3e-4
_ESCAPE_BITS = 7


def train_mlp(
    crops: Sequence[Crop],
    *,
    block: int,
    units: int,
    steps: int,
    draws: int,
    seed: int,
    progress: Progress,
) -> MlpModel:
    """Train a network for blocks of ``block`` rows and columns, of so many hidden units.

    steps : of the optimiser. draws : crops that the model of the units is measured on.
    """
    torch.manual_seed(seed)
    net = _Net(block, units, seed)
    _fit(net, crops, steps, np.random.default_rng(seed), progress)
    return _measured(_integers(net), crops, draws, seed + 1, progress)


def _drawn(
    crops: Sequence[Crop], block: int, rng: np.random.Generator
) -> Iterator[tuple[npt.NDArray[np.float32], float]]:
    """Yield planes of a crop, of whole blocks, and a step, without end."""
    for planes, wanted in varied(crops, rng, block):
        turned = _cosines(block).T @ blocks_of(planes[0].astype(np.float64), block)
        yield planes, step_for(turned[1:], wanted)


def _cosines(block: int) -> Doubles:
    """Return the orthonormal cosine transform of blocks, (b², b²), the slowest units first."""
    at = np.arange(block)
    line = np.cos(np.pi * np.outer(2 * at + 1, at) / (2 * block)) * math.sqrt(2 / block)
    line[:, 0] = 1 / math.sqrt(block)
    order = sorted(range(block * block), key=lambda k: (k // block + k % block, k // block))
    found: Doubles = np.kron(line, line)[:, order].astype(np.float64)
    return found


# --- the network -----------------------------------------------------------------------------


class _Net(nn.Module):
    def __init__(self, block: int, units: int, seed: int) -> None:
        super().__init__()
        made = torch.Generator().manual_seed(seed)
        size = block * block
        self.block = block
        start = _cosines(block)[:, :units].astype(np.float32)
        self.dense = nn.Parameter(torch.from_numpy(np.ascontiguousarray(start)))
        self.first = nn.Parameter(torch.randn(DECODER_UNITS, units, generator=made) * 0.1)
        self.second = nn.Parameter(torch.zeros(size, DECODER_UNITS))

    def forward(self, blocks: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return hidden units and decoded blocks of blocks (n, b²), all in steps."""
        units = blocks @ self.dense
        sizes = units.abs()
        whole = torch.where(sizes < 0.62, torch.zeros_like(sizes), torch.floor(sizes + 0.42))
        values = units + (torch.sign(units) * whole - units).detach()
        hidden = (values @ self.first.T).clamp(-1, 1)
        return units, values @ self.dense.T + hidden @ self.second.T


def _bits(units: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
    """Return about the bits of units (n, units) of blocks, n = rows · columns, a sample each."""
    maps = units.T.reshape(1, -1, rows, columns)
    sizes = maps.detach().abs()
    near = nn.functional.avg_pool2d(sizes, 3, 1, 1, count_include_pad=False)
    scale = 0.6 * near + 0.4 * sizes.mean(dim=(2, 3), keepdim=True) + 0.03
    noisy = (maps + torch.rand_like(maps) - 0.5).abs()
    low = torch.exp(-(noisy + 0.5) / scale)
    high = torch.where(
        noisy > 0.5,
        torch.exp(-(noisy - 0.5).clamp(min=0) / scale),
        2 - torch.exp(-(0.5 - noisy).clamp(min=0) / scale),
    )
    found: torch.Tensor = -torch.log2((0.5 * (high - low)).clamp(min=1e-7)).sum()
    return found


def _fit(
    net: _Net, crops: Sequence[Crop], steps: int, rng: np.random.Generator, progress: Progress
) -> None:
    parts = [(net.dense, _RATE / 10), (net.first, _RATE), (net.second, _RATE)]
    optimiser = torch.optim.Adam([{"params": [part], "lr": rate} for part, rate in parts])
    run = first = 0.0
    drawn = _drawn(crops, net.block, rng)
    start = net.dense.detach().clone()
    for number in range(steps):
        for group, (_, rate) in zip(optimiser.param_groups, parts, strict=True):
            group["lr"] = rate * (0.505 + 0.495 * math.cos(math.pi * number / steps))
        loss = torch.zeros(())
        for _ in range(4):
            planes, step = next(drawn)
            plane = planes[int(rng.integers(0, len(planes)))].astype(np.float64)
            rows, columns = (n // net.block for n in plane.shape)
            blocks = torch.from_numpy(blocks_of(plane / step, net.block).T.astype(np.float32))
            units, decoded = net(blocks)
            cost = _bits(units, rows, columns) + PRICE * (decoded - blocks).square().sum()
            with torch.no_grad():
                before = blocks @ start
                whole = torch.sign(before) * torch.floor(before.abs() + 0.4)
                base = _bits(before, rows, columns)
                base += PRICE * (whole @ start.T - blocks).square().sum()
            loss = loss + cost / (base + 0.02 * blocks.numel()) / 4
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        with torch.no_grad():
            net.dense.copy_(_orthonormal(net.dense))
        run = float(loss.detach()) if not number else 0.98 * run + 0.02 * float(loss.detach())
        first = first or run
        if number % 100 == 99:
            progress(f"step {number + 1}: {run:.4f} of a cosine transform's cost")


def _orthonormal(dense: torch.Tensor) -> torch.Tensor:
    """Return the nearest orthonormal columns, of which the first is the mean: it is so much larger
    than all else that no other may have a share of it."""
    size = len(dense)
    rest = dense[:, 1:] - dense[:, 1:].mean(dim=0)
    for _ in range(3):  # Newton and Schulz: each step doubles the digits of what is nearly so
        rest = 1.5 * rest - 0.5 * rest @ (rest.T @ rest)
    return torch.cat([torch.full((size, 1), size**-0.5), rest], dim=1)


def _integers(net: _Net) -> MlpModel:
    """Return the network in integers, with nothing known of what is around a value yet."""

    def whole(values: torch.Tensor, unit: float) -> npt.NDArray[np.int16]:
        scaled = np.rint(values.detach().double().numpy() * unit)
        return np.ascontiguousarray(np.clip(scaled, -32767, 32767).astype(np.int16))

    units = net.dense.shape[1]
    return MlpModel(
        dense=whole(net.dense, MATRIX_UNIT),
        first=whole(net.first, TANH_UNIT),
        second=whole(net.second, MATRIX_UNIT / TANH_UNIT),
        weights=np.zeros((2, units, FEATURES), np.int16),
        parents=np.full((units, PARENTS), -1, np.int16),
        classes=np.zeros((2, units, CLASSES), np.uint8),
        frequencies=_frequencies(np.zeros((TABLES, TOKENS))),
    )


# --- what is around a value ------------------------------------------------------------------


def _measured(
    model: MlpModel, crops: Sequence[Crop], draws: int, seed: int, progress: Progress
) -> MlpModel:
    """Return the network with what is around its units, and the tables that code them."""
    model = replace(model, parents=_parents(model, crops, draws // 3, seed))
    weights: Doubles | None = None
    for turn in range(2):
        weights = _regressed(model, crops, draws, seed, weights)
        progress(f"weights of what is around, round {turn + 1}")
    assert weights is not None
    whole = np.clip(np.rint(weights * 256), 0, 32767).astype(np.int16)
    model = replace(model, weights=whole)
    counts = _counted(model, crops, draws, seed)
    for _ in range(3):
        classes = _tables_of(counts, _costs(model.frequencies))
        model = replace(model, classes=classes)
        model = replace(model, frequencies=_frequencies(_by_table(counts, classes)))
    progress(f"{counts.sum():.3g} weighted values")
    return model


def _values(
    model: MlpModel, crops: Sequence[Crop], draws: int, seed: int
) -> Iterator[tuple[npt.NDArray[np.int32], bool, npt.NDArray[np.int32], float]]:
    """Yield features (units, blocks, FEATURES), whether a plane comes before, what is coded
    (units, blocks), and a weight."""
    rng = np.random.default_rng(seed)
    drawn = _drawn(crops, model.block, rng)
    for _ in range(draws):
        planes, step = next(drawn)
        found = quantised_units(planes.astype(np.float64), step, model, model.units)
        assert found is not None, "steps of crops are large"
        before = None
        for values in found.astype(np.int32):
            features, coded, maps = examine_units(values, before, model.parents)
            bits = float(2 * np.log2(1 + np.abs(coded)).mean())
            sides = (model.units, -1, FEATURES)
            told = coded.reshape(model.units, -1)
            yield features.reshape(sides), before is not None, told, 1 / (bits + 0.05) + 0.3
            before = maps


def _parents(
    model: MlpModel, crops: Sequence[Crop], draws: int, seed: int
) -> npt.NDArray[np.int16]:
    """Return for each unit those before whose logarithms go along with its own most."""
    units = model.units
    total = np.zeros((units, units))
    for _, _, coded, weight in _values(model, crops, draws, seed):
        logs = np.log2(1 + np.abs(coded))
        logs -= logs.mean(axis=1, keepdims=True)
        total += weight * (logs @ logs.T)
    spread = np.sqrt(np.maximum(np.diag(total), 1e-9))
    alike = total / spread / spread[:, None]
    parents = np.full((units, PARENTS), -1, np.int16)
    for unit in range(1, units):
        best = np.argsort(-alike[unit, :unit], kind="stable")[:PARENTS]
        parents[unit, : len(best)] = best
    return parents


def _regressed(
    model: MlpModel, crops: Sequence[Crop], draws: int, seed: int, known: Doubles | None
) -> Doubles:
    """Return weights, (2, units, FEATURES), by which features add up to expected magnitudes."""
    units = model.units
    gram = np.zeros((2, units, FEATURES, FEATURES))
    along = np.zeros((2, units, FEATURES))
    for features, follows, coded, weight in _values(model, crops, draws, seed):
        f = features.astype(np.float64)
        sizes = np.abs(coded).astype(np.float64)
        if known is None:
            about = f[..., :2].mean(axis=2) * 0.5 + sizes.mean(axis=1, keepdims=True) * 0.5
        else:
            about = (f @ known[int(follows)][..., None])[..., 0]
        scaled = f * (weight / (about + 0.08))[..., None]
        gram[int(follows)] += np.einsum("unf,ung->ufg", scaled, f, optimize=True)
        along[int(follows)] += np.einsum("unf,un->uf", scaled, sizes, optimize=True)
    out = np.zeros((2, units, FEATURES))
    for half in range(2):
        for unit in range(units):
            out[half, unit] = _positive(gram[half, unit], along[half, unit])
    return out


def _positive(gram: Doubles, along: Doubles) -> Doubles:
    """Return the solution of least squares without those of its numbers that would be below 0."""
    out = np.zeros(len(along))
    used = np.flatnonzero(np.diag(gram) > 0)
    while used.size:
        part = gram[np.ix_(used, used)]
        found = np.linalg.solve(part + np.diag(1e-3 * np.diag(part) + 1e-6), along[used])
        if found.min() >= 0:
            out[used] = found
            break
        used = used[found > found.min()]
    return out


def _counted(model: MlpModel, crops: Sequence[Crop], draws: int, seed: int) -> Doubles:
    """Return how often each token is met: (2, units, CLASSES, TOKENS)."""
    units = model.units
    counts = np.zeros((2, units * CLASSES * TOKENS))
    for features, follows, coded, weight in _values(model, crops, draws, seed + 1):
        weights = model.weights[int(follows)].astype(np.int64)
        sums = 1 + np.einsum("unf,uf->un", features.astype(np.int64), weights)
        octaves = np.frexp(sums.astype(np.float64))[1] - 1
        half = (sums >> np.maximum(octaves - 1, 0)) & np.where(octaves > 0, 1, 0)
        classes = np.minimum(2 * octaves + half, CLASSES - 1)
        cells = (np.arange(units)[:, None] * CLASSES + classes) * TOKENS + _tokens(coded)
        found = np.bincount(cells.reshape(-1), minlength=counts.shape[1])
        counts[int(follows)] += weight * found
    return counts.reshape(2, units, CLASSES, TOKENS)


def _tokens(values: npt.NDArray[np.int32]) -> npt.NDArray[np.int64]:
    sizes = np.abs(values.astype(np.int64))
    octave = np.frexp(np.maximum(sizes, 1).astype(np.float64))[1] - 1
    low = (sizes >> np.maximum(octave - 2, 0)) & 3
    found: npt.NDArray[np.int64] = np.where(sizes < 16, sizes, 4 * octave + low)
    return found


def _tables_of(counts: Doubles, costs: Doubles) -> npt.NDArray[np.uint8]:
    """Return the table, (2, units, CLASSES), that codes what each class met in fewest bits.

    What all units met counts a little, too, and least what a class says by itself.
    """
    pooled = counts.sum(axis=1, keepdims=True)
    pooled = pooled / np.maximum(pooled.sum(axis=3, keepdims=True), 1)
    index = np.clip((np.arange(CLASSES) / 2 - 8) * _STEPS_PER_LOG2 + _INDEX_OF_ONE, 0, TABLES - 1)
    alone = _prior()[index.astype(int)]
    total = (counts + 40 * pooled + 2 * alone) @ costs.T
    found: npt.NDArray[np.uint8] = total.argmin(axis=3).astype(np.uint8)
    return found


def _by_table(counts: Doubles, classes: npt.NDArray[np.uint8]) -> Doubles:
    out = np.zeros((TABLES, TOKENS))
    np.add.at(out, classes.reshape(-1), counts.reshape(-1, TOKENS))
    return out


def _costs(frequencies: npt.NDArray[np.uint16]) -> Doubles:
    """Return the bits of each token under each table, (TABLES, TOKENS); raw bits are left out."""
    used = np.count_nonzero(frequencies, axis=1) - 1
    share = np.maximum(frequencies[:, :TOKENS], 1) / (1 << TABLE_BITS)
    escape = frequencies[np.arange(TABLES), used] / (1 << TABLE_BITS)
    coded = np.arange(TOKENS) < used[:, None]
    costs: Doubles = np.where(coded, -np.log2(share), _ESCAPE_BITS - np.log2(escape)[:, None])
    return costs


def _prior() -> Doubles:
    """Return (TABLES, TOKENS) probabilities of tokens under the Laplace scale of each table."""
    scale = 2.0 ** ((np.arange(TABLES) - _INDEX_OF_ONE) / _STEPS_PER_LOG2)
    starts = [t if t < 16 else (4 + t % 4) << raw_bits(t) for t in range(TOKENS)]
    beyond = np.exp(-np.maximum(np.array([*starts, 2**22]) - 0.5, 0) / scale[:, None])
    beyond[:, 0] = 1.0
    return beyond[:, :-1] - beyond[:, 1:]


def _frequencies(counts: Doubles) -> npt.NDArray[np.uint16]:
    """Return integer tables of counts and prior together; what is rarer than 2^-15 is escaped."""
    total = 1 << TABLE_BITS
    mixed = counts + 300 * _prior()
    shares = mixed / mixed.sum(axis=1, keepdims=True) * total
    out = np.zeros((TABLES, TOKENS + 1), np.uint16)
    for row, share in enumerate(shares):
        used = max(1, int(np.flatnonzero(share >= 0.4)[-1]) + 1)
        whole = np.maximum(np.rint(np.append(share[:used], share[used:].sum())), 1).astype(int)
        whole[whole.argmax()] += total - whole.sum()
        out[row, : used + 1] = whole
    return out
