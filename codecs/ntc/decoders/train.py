"""Train the decoder networks of ``ntc``, read top to bottom.

1. Crops of the images are coded by the codec's encoder, as it will code them, at steps that leave
   between a fortieth and two thirds of their coefficients other than zero; below, flat crops would
   be all that is learned.
2. What is decoded, and what was there, become cells of 64 coefficients.
3. A net learns to add what is missing. Each crop counts by the share of its squared error that is
   left, so that all rates and kinds of image count alike.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from tilepress.codecs.ntc.chunk import price_of
from tilepress.codecs.ntc.decoders.cells import to_cells
from tilepress.codecs.ntc.decoders.net import ResidualNet
from tilepress.codecs.ntc.decoders.state import State
from tilepress.codecs.ntc.examples import Crop, drawn_crops
from tilepress.codecs.ntc.layout import NETS
from tilepress.codecs.ntc.model import NtcModel
from tilepress.codecs.ntc.plane import encode_plane, inverse

__all__ = ["Pairs", "descend", "make_pairs", "share_left", "train_net"]

Floats = npt.NDArray[np.float32]
Halves = npt.NDArray[np.float16]

_RATE = 1.2e-3
_SIDE = 16
"""Cells across a piece: 128 samples."""
_LEAST_SHARE = 0.025
_LEAST_ERROR = 0.002
"""Squared steps: pieces below are flat, and their share of error says nothing."""


@dataclass(frozen=True, slots=True)
class Pairs:
    """Decoded cells, (n, 64, 16, 16) float32, and what they lack, float16, in steps."""

    decoded: torch.Tensor
    missing: torch.Tensor

    def drawn(
        self, count: int, made: torch.Generator, device: str
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return some pieces on a device, as singles."""
        at = torch.randint(0, len(self.decoded), (count,), generator=made)
        return self.decoded[at].to(device), self.missing[at].to(device).float()


def make_pairs(crops: Sequence[Crop], model: NtcModel, pieces: int, seed: int) -> dict[str, Pairs]:
    """Return about so many pieces of crops for each transform, coded and as they were."""
    rng = np.random.default_rng(seed)
    found: dict[int, list[tuple[Floats, Halves]]] = {kind: [] for kind in NETS.values()}
    for kind, planes, wanted in drawn_crops(crops, rng):
        if wanted < _LEAST_SHARE:
            continue
        before = None
        for plane in planes:
            made, original = plane.copy(), plane.copy()
            before = encode_plane(kind, made, before, model, price_of(model)).maps
            if np.count_nonzero(made) < _LEAST_SHARE / 4 * made.size:
                continue
            cells = []
            for coefficients in (made, original):
                inverse(kind, coefficients)
                cells.append(to_cells(kind, coefficients))
            decoded, missing = cells[0], (cells[1] - cells[0]).astype(np.float16)
            _, down, across = decoded.shape
            for y in range(0, down - _SIDE + 1, _SIDE):
                for x in range(0, across - _SIDE + 1, _SIDE):
                    window = slice(None), slice(y, y + _SIDE), slice(x, x + _SIDE)
                    found[kind].append((decoded[window].copy(), missing[window].copy()))
        if min(len(some) for some in found.values()) >= pieces:
            break
    return {
        name: Pairs(
            torch.from_numpy(np.stack([a for a, _ in found[kind]])),
            torch.from_numpy(np.stack([b for _, b in found[kind]])),
        )
        for name, kind in NETS.items()
    }


def train_net(
    net: ResidualNet,
    pairs: Pairs,
    *,
    steps: int,
    seed: int,
    progress: Callable[[str], None],
    device: str = "cpu",
    batch: int = 12,
    checkpoint: Path | None = None,
) -> ResidualNet:
    """Return the running mean (EMA) of a net's weights after so many steps.

    On CUDA the network runs in bfloat16. With ``checkpoint``, training goes on from that file where
    there is one, and leaves one there now and then. On one device, and with one number of threads,
    a seed gives the same weights again, stopped in between or not.
    """
    net = net.to(device)
    optimiser = torch.optim.AdamW(net.parameters(), _RATE, weight_decay=1e-4)
    state = State({"net": net}, {"optimiser": optimiser}, seed, checkpoint, progress)
    while state.step < steps:
        state.set_rate(_RATE, steps)
        decoded, missing = pairs.drawn(batch, state.made, device)
        with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
            given = net(decoded)
        loss = share_left(given.float(), missing).mean()
        descend(loss, net, optimiser)
        state.done(float(loss.detach()))
    net.load_state_dict(state.mean)
    return net


def share_left(given: torch.Tensor, missing: torch.Tensor) -> torch.Tensor:
    """Return the share of each piece's squared error that corrections leave."""
    before = missing.square().mean((1, 2, 3)) + _LEAST_ERROR
    return ((given - missing).square().mean((1, 2, 3)) + _LEAST_ERROR) / before


def descend(loss: torch.Tensor, net: nn.Module, optimiser: torch.optim.Optimizer) -> None:
    """Take a step of a net's optimiser."""
    optimiser.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(net.parameters(), 1.0)
    optimiser.step()
