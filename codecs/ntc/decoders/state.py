"""What a training has come to: nets, optimisers, the running mean of weights, random numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

__all__ = ["EMA", "State"]

EMA = 0.002
"""Share of the newest weights in their running mean."""
_TOLD = 500
"""Steps between two lines of progress, and checkpoints."""


@dataclass(slots=True)
class State:
    """Nets in training, the first of which is wanted. It can be left in a file and gone on with."""

    nets: Mapping[str, nn.Module]
    optimisers: Mapping[str, torch.optim.Optimizer]
    seed: int
    checkpoint: Path | None
    progress: Callable[[str], None]
    step: int = 0
    run: float = 1.0
    """Running mean of the share of squared error that is left."""
    made: torch.Generator = field(init=False)
    mean: dict[str, torch.Tensor] = field(init=False)

    def __post_init__(self) -> None:
        self.made = torch.Generator().manual_seed(self.seed)
        self.mean = {name: value.clone() for name, value in self._wanted.state_dict().items()}
        if self.checkpoint is None or not self.checkpoint.exists():
            return
        device = next(self._wanted.parameters()).device
        saved = torch.load(self.checkpoint, map_location=device, weights_only=True)
        for name, net in self.nets.items():
            net.load_state_dict(saved[name])
        for name, optimiser in self.optimisers.items():
            optimiser.load_state_dict(saved[name])
        self.mean, self.step, self.run = saved["mean"], saved["step"], saved["run"]
        self.made.set_state(saved["random"].cpu())

    @property
    def _wanted(self) -> nn.Module:
        return next(iter(self.nets.values()))

    def set_rate(self, rate: float, steps: int) -> None:
        """Set learning rates: from nothing to ``rate`` in 50 steps, then down half a cosine."""
        share = min(1.0, (self.step + 1) / 50) * (0.5 + 0.5 * math.cos(math.pi * self.step / steps))
        for optimiser in self.optimisers.values():
            for group in optimiser.param_groups:
                group["lr"] = rate * share + rate / 100

    def done(self, left: float, told: str = "") -> None:
        """Count a step, which left a share of squared error."""
        self.step += 1
        with torch.no_grad():
            for name, value in self._wanted.state_dict().items():
                self.mean[name].lerp_(value, max(EMA, 1 / self.step))
        self.run += 0.005 * (left - self.run)
        if self.step % _TOLD == 0:
            left_over = f"{100 * self.run:.2f} % of the squared error left"
            self.progress(f"step {self.step}: {left_over}{told}")
            if self.checkpoint is not None:
                self._save(self.checkpoint)

    def _save(self, path: Path) -> None:
        told: dict[str, Any] = {"mean": self.mean, "step": self.step, "run": self.run}
        told |= {name: net.state_dict() for name, net in self.nets.items()}
        told |= {name: one.state_dict() for name, one in self.optimisers.items()}
        partial = path.with_suffix(".partial")
        torch.save({**told, "random": self.made.get_state()}, partial)
        partial.replace(path)
