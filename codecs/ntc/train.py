"""Train the context model of ``ntc``, read top to bottom.

1. Crops of the images are turned into coefficients by the codec's own transforms, at steps that
   leave between a hundredth and two thirds of them other than zero.
2. Native code gives the features of their values: what is learned from is what will be seen.
3. A net learns the scale of a Laplace distribution from them, then becomes integers.
4. With that model the encoder chooses values anew, as it will, and the net learns from these.
5. What the finished net's tables meet becomes their frequencies and offsets.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from tilepress.codecs.ntc.klt import analysis_matrix, fit
from tilepress.codecs.ntc.layout import (
    FEATURES,
    HIDDEN,
    LAPPED,
    LAPPED_BANDS,
    NETS,
    OFFSETS,
    TABLE_BITS,
    TABLES,
    TOKENS,
    WAVELET,
    WAVELET_BANDS,
    raw_bits,
)
from tilepress.codecs.ntc.model import Net, NtcModel
from tilepress.codecs.ntc.plane import CodedPlane, encode_plane, examine_plane, forward

__all__ = ["PRICE", "Crop", "cut_crops", "drawn_crops", "train_ntc"]

Floats = npt.NDArray[np.float32]

PRICE = 8.0
"""Bits that a squared step of error counts as."""
_RATES = (1e-2, 4e-3, 2e-3)
"""Of the optimiser at the start of each round; a later round learns from what the last codes."""
_SIDE = 256
_MOST_PLANES = 4
_STEPS_PER_LOG2, _INDEX_OF_ONE = 5, 25
"""Tables are five to an octave; table 25 is that of scale 1."""
_BANDS = {"lapped": LAPPED_BANDS, "wavelet": WAVELET_BANDS}


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


# --- examples --------------------------------------------------------------------------------


@dataclass(slots=True)
class _Examples:
    """What a net learns from."""

    features: npt.NDArray[np.int16]
    bands: npt.NDArray[np.int64]
    """Of band and plane before together: rows of ``bias``."""
    magnitudes: npt.NDArray[np.int64]
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


def _examples(
    crops: Sequence[Crop], count: int, seed: int, model: NtcModel | None
) -> dict[str, _Examples]:
    """Draw about ``count`` examples for each net, from values as the encoder chooses them."""
    rng = np.random.default_rng(seed)
    parts: dict[str, list[tuple[npt.NDArray[np.generic], ...]]] = {name: [] for name in NETS}
    taken = dict.fromkeys(NETS, 0)
    for kind, planes, _ in drawn_crops(crops, rng):
        before = None
        for plane in planes:
            rounding = float(rng.uniform(0.36, 0.46))
            if model is not None:
                encode_plane(kind, plane, before, model, PRICE)
                plane, rounding = np.rint(plane), 0.5
            features, bands, values, maps = examine_plane(kind, plane, before, rounding)
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
                part = (features[drawn][mine], rows, magnitudes[drawn][mine], weights[mine])
                parts[name].append(part)
                taken[name] += len(rows)
            before = maps
        if min(taken.values()) >= count:
            break
    return {
        name: _Examples(*(np.concatenate(c) for c in zip(*part, strict=True)))
        for name, part in parts.items()
    }


# --- the net ---------------------------------------------------------------------------------


def _laplace_bits(magnitudes: torch.Tensor, log2_scale: torch.Tensor) -> torch.Tensor:
    """Bits of a magnitude and its sign: the bin around it under a Laplace density."""
    inverse = torch.exp2(-log2_scale.clamp(-6, 14))
    zero = -torch.log2((1 - torch.exp(-0.5 * inverse)).clamp(min=1e-9))
    inside = torch.log2((1 - torch.exp(-inverse)).clamp(min=1e-9))
    other = (magnitudes - 0.5).clamp(min=0) * inverse * math.log2(math.e) - inside + 1
    return torch.where(magnitudes < 0.5, zero, other).clamp(max=60)


class _FloatNet(nn.Module):
    def __init__(self, bands: int, seed: int) -> None:
        super().__init__()
        made = torch.Generator().manual_seed(seed)
        self.first = nn.Parameter(torch.randn(FEATURES, HIDDEN, generator=made) * 0.2)
        self.bias = nn.Embedding(2 * bands, HIDDEN)
        self.second = nn.Parameter(torch.randn(HIDDEN, generator=made) * 0.1)
        self.base = nn.Embedding(2 * bands, 1)
        with torch.no_grad():
            self.bias.weight.copy_(torch.randn(2 * bands, HIDDEN, generator=made) * 0.1)
            self.base.weight.fill_(-3.0)

    def take(self, whole: Net) -> None:
        """Become what ``_integers`` made these integers of."""
        hidden_shift, output_shift = (int(shift) for shift in whole.shifts)
        unit = 2.0**output_shift
        base = (whole.base.reshape(-1) / unit - 0.5 - _INDEX_OF_ONE) / _STEPS_PER_LOG2
        gain = np.maximum(np.abs(whole.first.astype(np.float64)).max(axis=0), 1)
        second = whole.second * 16 * gain / (_STEPS_PER_LOG2 * unit * 2.0**hidden_shift)
        found = {
            "first": whole.first / gain,
            "bias.weight": whole.bias.reshape(-1, HIDDEN) / (16 * gain),
            "second": second,
            "base.weight": base[:, None],
        }
        self.load_state_dict({name: torch.from_numpy(v).float() for name, v in found.items()})

    def forward(self, features: torch.Tensor, bands: torch.Tensor) -> torch.Tensor:
        hidden = torch.relu(features @ self.first + self.bias(bands))
        out: torch.Tensor = hidden @ self.second + self.base(bands)[:, 0]
        return out


def _fit_net(
    net: _FloatNet,
    examples: _Examples,
    steps: int,
    rate: float,
    seed: int,
    progress: Callable[[str], None],
) -> None:
    features = torch.from_numpy(examples.features)
    bands, sizes = torch.from_numpy(examples.bands), torch.from_numpy(examples.magnitudes)
    weights = torch.from_numpy(examples.weights)
    optimiser = torch.optim.Adam(net.parameters(), rate)
    made = torch.Generator().manual_seed(seed)
    run = 0.0
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = rate * (0.5 + 0.5 * math.cos(math.pi * step / steps)) + rate / 100
        at = torch.randint(0, len(sizes), (8192,), generator=made)
        scale = net(features[at].float() / 16, bands[at])
        bits = _laplace_bits(sizes[at].float(), scale)
        loss = (bits * weights[at]).sum() / weights[at].sum()
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        run = 0.99 * run + 0.01 * float(loss.detach())
        if step % 1000 == 999:
            progress(f"step {step + 1}: {run:.4f} bits")


def _integers(net: _FloatNet, examples: _Examples) -> Net:
    """Return the net in integers: units of relu say the same at any scale, so each has its own."""
    first, second = net.first.detach().double().numpy(), net.second.detach().double().numpy()
    bias, base = (
        net.bias.weight.detach().double().numpy(),
        net.base.weight.detach().double().numpy(),
    )
    gain = np.minimum(127 / np.maximum(np.abs(first).max(axis=0), 1e-9), 2000.0)
    whole = np.rint(first * gain).astype(np.int8)
    offsets = np.rint(bias * gain * 16).astype(np.int32)
    at = np.random.default_rng(0).choice(len(examples.bands), 100_000)
    sums = (
        examples.features[at].astype(np.int64) @ whole.astype(np.int64)
        + offsets[examples.bands[at]]
    )
    hidden_shift = max(0, int(sums.max()).bit_length() - 15)
    unscaled = second * _STEPS_PER_LOG2 * 2.0**hidden_shift / (16 * gain)
    output_shift = 0
    while (
        output_shift < 20 and np.abs(np.rint(unscaled * 2.0 ** (output_shift + 1))).sum() <= 32767
    ):
        output_shift += 1
    scaled = np.rint(unscaled * 2.0**output_shift).astype(np.int16)
    centred = (base[:, 0] * _STEPS_PER_LOG2 + _INDEX_OF_ONE) * 2.0**output_shift + 2.0 ** (
        output_shift - 1
    )
    rows = len(bias) // 2
    return Net(
        whole,
        offsets.reshape(2, rows, HIDDEN),
        scaled,
        np.rint(centred).astype(np.int32).reshape(2, rows),
        np.array([hidden_shift, output_shift], np.int32),
    )


# --- tables ----------------------------------------------------------------------------------


def _prior() -> npt.NDArray[np.float64]:
    """Return (TABLES, TOKENS) probabilities of tokens under the Laplace scale of each table."""
    scale = 2.0 ** ((np.arange(TABLES) - _INDEX_OF_ONE) / _STEPS_PER_LOG2)
    starts = np.array(
        [t if t < 16 else (4 + t % 4) << raw_bits(t) for t in range(TOKENS)] + [2**22], float
    )
    beyond = np.exp(-np.maximum(starts - 0.5, 0) / scale[:, None])
    beyond[:, 0] = 1.0
    return beyond[:, :-1] - beyond[:, 1:]


def _frequencies(counts: npt.NDArray[np.float64]) -> npt.NDArray[np.uint16]:
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


def _measured(
    crops: Sequence[Crop], draws: int, seed: int, model: NtcModel
) -> tuple[npt.NDArray[np.uint16], npt.NDArray[np.int8]]:
    """Return tables and offsets of what the encoder writes with a model."""
    rng = np.random.default_rng(seed)
    counts = np.zeros((TABLES, TOKENS))
    off, seen = np.zeros((TABLES, OFFSETS)), np.zeros((TABLES, OFFSETS))
    for (kind, planes, _), _ in zip(drawn_crops(crops, rng), range(draws), strict=False):
        before = None
        for plane in planes:
            given = np.full(plane.size, np.nan, np.float32)
            coded = encode_plane(kind, plane, before, model, PRICE, given)
            _count(coded, given, 1 / (coded.bits / plane.size + 0.05) + 0.3, counts, off, seen)
            before = coded.maps
    offsets = np.clip(off / (seen + 30) * 256, -40, 90)
    return _frequencies(counts), np.rint(offsets).astype(np.int8)


def _count(
    coded: CodedPlane,
    given: Floats,
    weight: float,
    counts: npt.NDArray[np.float64],
    off: npt.NDArray[np.float64],
    seen: npt.NDArray[np.float64],
) -> None:
    """Add to (TABLES, TOKENS) counts of tokens, (TABLES, OFFSETS) sums of what values exceed."""
    behind = ~np.isnan(given[: len(coded.values)])
    values, tables = np.abs(coded.values[behind]), coded.tables[behind].astype(np.int64)
    octave = np.frexp(np.maximum(values, 1))[1] - 1
    tokens = np.where(values < 16, values, 4 * octave + ((values >> np.maximum(octave - 2, 0)) & 3))
    counts += weight * np.bincount(tables * TOKENS + tokens, minlength=TABLES * TOKENS).reshape(
        TABLES, TOKENS
    )
    some = values > 0
    cells = tables[some] * OFFSETS + np.minimum(values[some], OFFSETS) - 1
    over = values[some] - given[: len(behind)][behind][some]
    off += np.bincount(cells, over, TABLES * OFFSETS).reshape(TABLES, OFFSETS)
    seen += np.bincount(cells, minlength=TABLES * OFFSETS).reshape(TABLES, OFFSETS)


def train_ntc(
    crops: Sequence[Crop],
    *,
    steps: int,
    examples: int,
    seed: int,
    progress: Callable[[str], None],
    start: NtcModel | None = None,
) -> NtcModel:
    """Train a model on crops: ``steps`` of each net in each round, of so many examples.

    start : a model to go on from: there is one round less then, for it chooses values already.
    """
    torch.manual_seed(seed)
    nets = {name: _FloatNet(_BANDS[name], seed) for name in NETS}
    model = start
    if start is not None:
        for name, net in nets.items():
            net.take(start.nets[name])
    frequencies, offsets = (
        _frequencies(np.zeros((TABLES, TOKENS))),
        np.zeros((TABLES, OFFSETS), np.int8),
    )
    for turn, rate in enumerate(_RATES[start is not None :]):
        drawn = _examples(crops, examples, seed + turn, model)
        whole = {}
        for name, net in nets.items():
            progress(f"round {turn + 1}, {name}: {len(drawn[name].bands)} examples")
            _fit_net(net, drawn[name], steps, rate, seed + turn, progress)
            whole[name] = _integers(net, drawn[name])
            progress(f"{name}: {_rounding_loss(net, whole[name], drawn[name]):+.3f} % by integers")
        model = NtcModel(whole, frequencies, offsets)
        for _ in range(2):
            frequencies, offsets = _measured(crops, len(crops) // 2 + 50, seed + 10 + turn, model)
            model = NtcModel(whole, frequencies, offsets)
    assert model is not None
    return model


def _rounding_loss(net: _FloatNet, whole: Net, examples: _Examples) -> float:
    """Return by how many per cent integers cost more than the net with the nearest tables."""
    at = np.random.default_rng(1).choice(len(examples.bands), 200_000)
    features, bands = examples.features[at], examples.bands[at]
    sizes, weights = (
        torch.from_numpy(examples.magnitudes[at]).float(),
        torch.from_numpy(examples.weights[at]),
    )
    with torch.no_grad():
        scale = net(torch.from_numpy(features).float() / 16, torch.from_numpy(bands))
        near = ((scale * _STEPS_PER_LOG2).round() + _INDEX_OF_ONE).clamp(0, TABLES - 1)
        tables = torch.from_numpy(whole.tables(features, bands))
        cost = [
            float(
                (
                    _laplace_bits(sizes, (t.float() - _INDEX_OF_ONE) / _STEPS_PER_LOG2) * weights
                ).sum()
            )
            for t in (near, tables)
        ]
    return 100 * (cost[1] / cost[0] - 1)
