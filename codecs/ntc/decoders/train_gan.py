"""Train the adversarial decoder of ``ntc``: the same records, a decoder that makes up texture.

After HiFiC (Mentzer et al., 2020): encoder and context model stay as they are; first a net is
trained for squared error (``train``), then it is given noise and set against a discriminator that
sees patches of 5 × 5 cells, conditioned on what was decoded, with the non-saturating loss. Both see
coefficients, where corrections are of the order of a step whatever the image.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as nn_functional
from torch import nn

from tilepress.codecs.ntc.decoders.cells import COEFFICIENTS
from tilepress.codecs.ntc.decoders.net import ResidualNet, inputs_of
from tilepress.codecs.ntc.decoders.state import State
from tilepress.codecs.ntc.decoders.train import Pairs, descend, share_left
from tilepress.codecs.ntc.decoders.weights import INPUTS

__all__ = ["NOISE", "Discriminator", "train_gan"]

NOISE = 16
"""Channels of noise that the decoder is given."""
_RATE = 4e-4
_WEIGHT = 0.15
"""Of the adversarial loss beside the share of squared error (HiFiC's)."""
_SHARPNESS = 3.0
"""Corrections of a third of a step are where the discriminator's input bends."""


class Discriminator(nn.Module):
    """Says of every cell whether corrections around it look real, as logits (n, 1, y, x)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(COEFFICIENTS + INPUTS, channels, 1)
        self.wide = nn.ModuleList(
            nn.Conv2d(channels, channels, 3, padding=1, groups=channels) for _ in range(2)
        )
        self.mixed = nn.ModuleList(nn.Conv2d(channels, channels, 1) for _ in range(2))
        self.last = nn.Conv2d(channels, 1, 1)

    def forward(self, decoded: torch.Tensor, corrections: torch.Tensor) -> torch.Tensor:
        bend = torch.asinh(_SHARPNESS * corrections)
        x = nn_functional.leaky_relu(self.first(torch.cat([inputs_of(decoded), bend], 1)), 0.2)
        for wide, mixed in zip(self.wide, self.mixed, strict=True):
            x = x + nn_functional.leaky_relu(mixed(wide(x)), 0.2)
        out: torch.Tensor = self.last(x)
        return out


def with_noise(net: ResidualNet, seed: int) -> ResidualNet:
    """Return a net that is given noise beside, and does nearly as ``net`` does at first."""
    made = torch.Generator().manual_seed(seed)
    out = ResidualNet(net.channels, len(net.blocks), NOISE)
    weights = net.state_dict()
    fresh = 0.05 * torch.randn(net.channels, NOISE, 1, 1, generator=made)
    weights["first.weight"] = torch.cat([weights["first.weight"], fresh], 1)
    out.load_state_dict(weights)
    return out


def train_gan(
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
    """Return the running mean of a generator's weights, begun as ``net``; as ``train_net``."""
    torch.manual_seed(seed)
    generator = with_noise(net, seed).to(device)
    judge = Discriminator(net.channels).to(device)
    betas = (0.5, 0.9)
    own = torch.optim.AdamW(generator.parameters(), _RATE, betas, weight_decay=1e-4)
    other = torch.optim.AdamW(judge.parameters(), _RATE, betas, weight_decay=1e-4)
    nets = {"generator": generator, "judge": judge}
    state = State(nets, {"own": own, "other": other}, seed, checkpoint, progress)
    softplus = nn_functional.softplus
    fooled = 0.5
    while state.step < steps:
        state.set_rate(_RATE, steps)
        decoded, missing = pairs.drawn(batch, state.made, device)
        shape = (len(decoded), NOISE, *decoded.shape[2:])
        noise = (torch.rand(shape, generator=state.made) * 2 - 1).to(device) * 3**0.5
        with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
            given = generator(decoded, noise)
        given = given.float().clamp(-1, 1)
        with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
            real, made_up = judge(decoded, missing), judge(decoded, given.detach())
        descend((softplus(-real) + softplus(made_up)).float().mean(), judge, other)
        with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
            believed = judge(decoded, given)
        left = share_left(given, missing).mean()
        descend(left + _WEIGHT * softplus(-believed).float().mean(), generator, own)
        fooled += 0.005 * (float((made_up.detach() > 0).float().mean()) - fooled)
        state.done(float(left.detach()), f", {100 * fooled:.0f} % of cells taken for real")
    generator.load_state_dict(state.mean)
    return generator
