"""Train the context model of ``ntc``, read top to bottom.

1. Crops of the images are turned into coefficients by the codec's own transforms, at steps that
   leave between a hundredth and two thirds of them other than zero.
2. Native code gives the features of their values: what is learned from is what will be seen.
3. A net learns the scale of a Laplace distribution from them, then becomes integers.
4. With that model the encoder chooses values anew, of two quantisers along a trellis, as it will,
   and the net learns from these.
5. What the finished net's tables meet becomes their frequencies and offsets, of each quantiser.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from tilepress.codecs.ntc.chunk import DEPENDENT_PRICE, PRICE
from tilepress.codecs.ntc.examples import Crop, Examples, draw_examples, drawn_crops
from tilepress.codecs.ntc.layout import (
    FEATURES,
    HIDDEN,
    LAPPED_BANDS,
    NETS,
    OFFSETS,
    QUANTISERS,
    TABLE_BITS,
    TABLES,
    TOKENS,
    WAVELET_BANDS,
    raw_bits,
)
from tilepress.codecs.ntc.model import Net, NtcModel
from tilepress.codecs.ntc.plane import CodedPlane, encode_plane

__all__ = ["train_ntc"]

Floats = npt.NDArray[np.float32]

_COUNTING_PRICES = (PRICE, PRICE, DEPENDENT_PRICE, DEPENDENT_PRICE, DEPENDENT_PRICE)
"""Of a squared step of error, in bits, each time that tables are counted."""
_RATES = (1e-2, 4e-3, 2e-3)
"""Of the optimiser at the start of each round; a later round learns from what the last codes."""
_BATCH = 8192
_STEPS_PER_LOG2, _INDEX_OF_ONE = 5, 25
"""Tables are five to an octave; table 25 is that of scale 1."""
_ROWS = QUANTISERS * TABLES
_BANDS = {"lapped": LAPPED_BANDS, "wavelet": WAVELET_BANDS}


# --- the net ---------------------------------------------------------------------------------


def _laplace_bits(
    magnitudes: torch.Tensor, quantisers: torch.Tensor, log2_scale: torch.Tensor
) -> torch.Tensor:
    """Bits of a magnitude and its sign: what is nearest to it under a Laplace density.

    Of the first quantiser that is (k - 1/2, k + 1/2]; of the second, which has 0 and k - 1/2, the
    quarter of a step around 0, then what is left up to 1, then (k - 1, k].
    """
    inverse = torch.exp2(-log2_scale.clamp(-6, 14))
    edge = 0.5 - 0.25 * quantisers
    below = torch.maximum(magnitudes - 0.5 - 0.5 * quantisers, edge)
    width = magnitudes + 0.5 - 0.5 * quantisers - below
    zero = -torch.log2((1 - torch.exp(-edge * inverse)).clamp(min=1e-9))
    inside = torch.log2((1 - torch.exp(-width * inverse)).clamp(min=1e-9))
    other = below * inverse * math.log2(math.e) - inside + 1
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
    examples: Examples,
    steps: int,
    rate: float,
    seed: int,
    progress: Callable[[str], None],
) -> None:
    torch.set_flush_denormal(True)  # of this thread: moments become such, and take twice as long
    # shuffled once, so that a batch is a slice: to gather one takes as long as to learn from it
    order = np.random.default_rng(seed).permutation(len(examples.bands))
    features, bands = (torch.from_numpy(a[order]) for a in (examples.features, examples.bands))
    sizes, quantisers = (
        torch.from_numpy(a[order].astype(np.float32))
        for a in (examples.magnitudes, examples.quantisers)
    )
    weights = torch.from_numpy(examples.weights[order])
    optimiser = torch.optim.Adam(net.parameters(), rate, fused=True)
    batches = max(1, len(order) // _BATCH)
    run = 0.0
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = rate * (0.5 + 0.5 * math.cos(math.pi * step / steps)) + rate / 100
        at = slice(step % batches * _BATCH, (step % batches + 1) * _BATCH)
        scale = net(features[at].float() / 16, bands[at])
        bits = _laplace_bits(sizes[at], quantisers[at], scale)
        loss = (bits * weights[at]).sum() / weights[at].sum()
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        run = 0.99 * run + 0.01 * float(loss.detach())
        if step % 1000 == 999:
            progress(f"step {step + 1}: {run:.4f} bits")


def _integers(net: _FloatNet, examples: Examples) -> Net:
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
    """Return (_ROWS, TOKENS) probabilities of tokens under the Laplace scale of each table."""
    scale = 2.0 ** ((np.arange(TABLES) - _INDEX_OF_ONE) / _STEPS_PER_LOG2)
    starts = np.array(
        [t if t < 16 else (4 + t % 4) << raw_bits(t) for t in range(TOKENS)] + [2**22], float
    )
    found = []
    for quantiser in range(QUANTISERS):
        below = np.maximum(starts - 0.5 - 0.5 * quantiser, 0.5 - 0.25 * quantiser)
        beyond = np.exp(-below / scale[:, None])
        beyond[:, 0] = 1.0
        found.append(beyond[:, :-1] - beyond[:, 1:])
    return np.concatenate(found)


def _frequencies(counts: npt.NDArray[np.float64]) -> npt.NDArray[np.uint16]:
    """Return integer tables of counts and prior together; what is rarer than 2^-15 is escaped."""
    total = 1 << TABLE_BITS
    mixed = counts + 300 * _prior()
    shares = mixed / mixed.sum(axis=1, keepdims=True) * total
    out = np.zeros((_ROWS, TOKENS + 1), np.uint16)
    for row, share in enumerate(shares):
        used = max(1, int(np.flatnonzero(share >= 0.4)[-1]) + 1)
        whole = np.maximum(np.rint(np.append(share[:used], share[used:].sum())), 1).astype(int)
        whole[whole.argmax()] += total - whole.sum()
        out[row, : used + 1] = whole
    return out


def _measured(
    crops: Sequence[Crop], draws: int, seed: int, model: NtcModel, price: float
) -> tuple[npt.NDArray[np.uint16], npt.NDArray[np.int8]]:
    """Return tables and offsets of what the encoder writes with a model."""
    rng = np.random.default_rng(seed)
    counts = np.zeros((_ROWS, TOKENS))
    off, seen = np.zeros((_ROWS, OFFSETS)), np.zeros((_ROWS, OFFSETS))
    for (kind, planes, _), _ in zip(drawn_crops(crops, rng), range(draws), strict=False):
        before = None
        for plane in planes:
            given = np.full(plane.size, np.nan, np.float32)
            coded = encode_plane(kind, plane, before, model, price, given)
            _count(coded, given, 1 / (coded.bits / plane.size + 0.05) + 0.3, counts, off, seen)
            before = coded.maps
    offsets = np.clip(off / (seen + 30) * 256, -90, 90)
    return _frequencies(counts), np.rint(offsets).astype(np.int8)


def _count(
    coded: CodedPlane,
    given: Floats,
    weight: float,
    counts: npt.NDArray[np.float64],
    off: npt.NDArray[np.float64],
    seen: npt.NDArray[np.float64],
) -> None:
    """Add to (_ROWS, TOKENS) counts of tokens, (_ROWS, OFFSETS) sums of what values exceed."""
    behind = ~np.isnan(given[: len(coded.values)])
    values, tables = np.abs(coded.values[behind]), coded.tables[behind].astype(np.int64)
    octave = np.frexp(np.maximum(values, 1))[1] - 1
    tokens = np.where(values < 16, values, 4 * octave + ((values >> np.maximum(octave - 2, 0)) & 3))
    counts += weight * np.bincount(tables * TOKENS + tokens, minlength=_ROWS * TOKENS).reshape(
        _ROWS, TOKENS
    )
    some = values > 0
    cells = tables[some] * OFFSETS + np.minimum(values[some], OFFSETS) - 1
    stands_for = values[some] - 0.5 * (tables[some] >= TABLES)
    over = stands_for - given[: len(behind)][behind][some]
    off += np.bincount(cells, over, _ROWS * OFFSETS).reshape(_ROWS, OFFSETS)
    seen += np.bincount(cells, minlength=_ROWS * OFFSETS).reshape(_ROWS, OFFSETS)


def train_ntc(
    crops: Sequence[Crop],
    *,
    steps: int,
    examples: int,
    seed: int,
    progress: Callable[[str], None],
    start: NtcModel | None = None,
) -> NtcModel:
    """Train a model of dependent quantisation: ``steps`` of each net in each round, on so many
    examples of crops.

    start : a model to go on from, of this kind or of one quantiser: there is one round less then,
    for it chooses values already.
    """
    torch.manual_seed(seed)
    nets = {name: _FloatNet(_BANDS[name], seed) for name in NETS}
    frequencies, offsets = (
        _frequencies(np.zeros((_ROWS, TOKENS))),
        np.zeros((_ROWS, OFFSETS), np.int8),
    )
    model = start
    if start is not None:
        for name, net in nets.items():
            net.take(start.nets[name])
        if not start.is_dependent:
            progress("the model to go on from has one quantiser; the new one has two")
            model = _with_tables(crops, seed + 9, NtcModel(start.nets, frequencies, offsets))
    for turn, rate in enumerate(_RATES[start is not None :]):
        drawn = draw_examples(crops, examples, seed + turn, model)
        for name in NETS:
            progress(f"round {turn + 1}, {name}: {len(drawn[name].bands)} examples")
        with ThreadPoolExecutor(len(NETS)) as both:
            fits = {
                name: both.submit(
                    _fitted, name, nets[name], drawn[name], steps, rate, seed + turn, progress
                )
                for name in NETS
            }
            whole = {name: fit.result() for name, fit in fits.items()}
        model = _with_tables(crops, seed + 10 + turn, NtcModel(whole, frequencies, offsets))
        frequencies, offsets = model.frequencies, model.offsets
    assert model is not None
    return model


def _fitted(
    name: str,
    net: _FloatNet,
    examples: Examples,
    steps: int,
    rate: float,
    seed: int,
    progress: Callable[[str], None],
) -> Net:
    """Train a net, and return it in integers."""

    def tell(text: str) -> None:
        progress(f"{name}: {text}")

    _fit_net(net, examples, steps, rate, seed, tell)
    whole = _integers(net, examples)
    tell(f"{_rounding_loss(net, whole, examples):+.3f} % by integers")
    return whole


def _with_tables(crops: Sequence[Crop], seed: int, model: NtcModel) -> NtcModel:
    """Return a model with the tables and offsets of what it is made to write.

    Tables make values and values tables: few zeros at first stay few, so errors cost less then.
    """
    for price in _COUNTING_PRICES:
        model = NtcModel(model.nets, *_measured(crops, len(crops) // 2 + 50, seed, model, price))
    return model


def _rounding_loss(net: _FloatNet, whole: Net, examples: Examples) -> float:
    """Return by how many per cent integers cost more than the net with the nearest tables."""
    at = np.random.default_rng(1).choice(len(examples.bands), 200_000)
    features, bands = examples.features[at], examples.bands[at]
    sizes, quantisers, weights = (
        torch.from_numpy(part[at]).float()
        for part in (examples.magnitudes, examples.quantisers, examples.weights)
    )
    with torch.no_grad():
        scale = net(torch.from_numpy(features).float() / 16, torch.from_numpy(bands))
        near = ((scale * _STEPS_PER_LOG2).round() + _INDEX_OF_ONE).clamp(0, TABLES - 1)
        tables = torch.from_numpy(whole.tables(features, bands))
        scales = ((t.float() - _INDEX_OF_ONE) / _STEPS_PER_LOG2 for t in (near, tables))
        bits = [_laplace_bits(sizes, quantisers, scale) for scale in scales]
        cost = [float((b * weights).sum()) for b in bits]
    return 100 * (cost[1] / cost[0] - 1)
