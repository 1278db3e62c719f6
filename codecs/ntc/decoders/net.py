"""The residual network: what it adds to the coefficients of a plane's cells, in steps.

Per cell 63 coefficients and how the lowest differs from its four neighbours, through asinh, go to
C channels; blocks of 1 × 1 and depthwise 3 × 3 convolutions with a feed-forward part follow; 64
corrections come out. The lowest coefficients themselves stay unseen, so brightness plays no part.
"""

from __future__ import annotations

import torch
import torch.nn.functional as nn_functional
from torch import nn

from tilepress.codecs.ntc.decoders.cells import COEFFICIENTS
from tilepress.codecs.ntc.decoders.weights import INPUTS

__all__ = ["ResidualNet", "inputs_of"]


class _Block(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.a = nn.Conv2d(channels, channels, 1)
        self.d = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        self.b = nn.Conv2d(channels, channels, 1)
        self.f1 = nn.Conv2d(channels, 2 * channels, 1)
        self.f2 = nn.Conv2d(2 * channels, channels, 1)
        for last, spread in ((self.b, 1e-2), (self.f2, 1e-3)):
            nn.init.normal_(last.weight, std=spread)
            assert last.bias is not None
            nn.init.zeros_(last.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        relu = nn_functional.relu
        x = x + self.b(relu(self.d(relu(self.a(x)))))
        out: torch.Tensor = x + self.f2(relu(self.f1(x)))
        return out


class ResidualNet(nn.Module):
    """Corrections of coefficients: (n, 64, y, x) in steps to as many; begins as none at all.

    ``noise`` channels more are given beside, where samples are to be drawn rather than expected.
    """

    def __init__(self, channels: int, blocks: int, noise: int = 0) -> None:
        super().__init__()
        self.channels, self.noise = channels, noise
        self.first = nn.Conv2d(INPUTS + noise, channels, 1)
        self.blocks = nn.ModuleList(_Block(channels) for _ in range(blocks))
        self.last = nn.Conv2d(channels, COEFFICIENTS, 1)
        nn.init.zeros_(self.last.weight)
        assert self.last.bias is not None
        nn.init.zeros_(self.last.bias)

    def forward(self, cells: torch.Tensor, noise: torch.Tensor | None = None) -> torch.Tensor:
        x = inputs_of(cells)
        if noise is not None:
            x = torch.cat([x, noise], 1)
        x = self.first(x)
        for block in self.blocks:
            x = block(x)
        out: torch.Tensor = self.last(x)
        return out

    def kilo_macs(self) -> float:
        """Return thousands of multiply-adds a sample."""
        weights = sum(m.weight.numel() for m in self.modules() if isinstance(m, nn.Conv2d))
        return weights / COEFFICIENTS / 1000


def inputs_of(cells: torch.Tensor) -> torch.Tensor:
    """Return what the net is shown of coefficients (n, 64, y, x): (n, INPUTS, y, x)."""
    low = cells[:, :1]
    around = nn_functional.pad(low, (1, 1, 1, 1), mode="replicate")
    differences = [
        low - around[..., 1:-1, :-2],
        low - around[..., 1:-1, 2:],
        low - around[..., :-2, 1:-1],
        low - around[..., 2:, 1:-1],
    ]
    return torch.asinh(torch.cat([cells[:, 1:], *differences], 1))
