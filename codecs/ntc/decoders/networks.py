"""Decoders that are networks: planes to cells, through torch, and back.

Sums of a network run in whatever order a library likes, so samples differ in the last bit between
machines: nothing that is compared with a checksum is ever made by one.
"""

from __future__ import annotations

import functools
from collections.abc import Hashable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from tilepress.codecs.ntc.decoders.cells import COEFFICIENTS, from_cells, to_cells
from tilepress.codecs.ntc.decoders.net import ResidualNet
from tilepress.codecs.ntc.decoders.remake import BasePlanes
from tilepress.codecs.ntc.decoders.view import hashed
from tilepress.codecs.ntc.decoders.weights import INPUTS, DecoderWeights
from tilepress.codecs.ntc.layout import NETS
from tilepress.codecs.owner import batches

if TYPE_CHECKING:
    from tilepress.codecs.ntc.device.backend import DeviceBackend

__all__ = ["Networks", "network_of"]

Floats = npt.NDArray[np.float32]

_CELLS = 2**16
"""That go through a network together: 4 million samples."""


class _Asked(NamedTuple):
    """Cells of a chunk."""

    kind: int
    cells: Floats
    """(n, 64, y, x)"""
    noise: Floats | None


class Networks:
    """The nets of both transforms.

    device : where they run, with cells of chunks that ask at the same time; None: here.
    """

    def __init__(self, weights: DecoderWeights, device: DeviceBackend | None = None) -> None:
        self._owner = device
        self._device = torch.device("cpu" if device is None else device.name)
        self._noise, self._generative = weights.noise, weights.decoder == "gan"
        self._channels = weights.channels
        self._nets: dict[int, ResidualNet] = {}
        for name, kind in NETS.items():
            net = ResidualNet(weights.channels, weights.blocks, weights.noise)
            given = {
                k: torch.from_numpy(v.astype(np.float32)) for k, v in weights.nets[name].items()
            }
            net.load_state_dict(given)
            self._nets[kind] = net.to(self._device).eval().requires_grad_(requires_grad=False)

    def memory(self, cells: int) -> int:
        widest = INPUTS + self._noise + COEFFICIENTS + 6 * self._channels
        return 4 * widest * min(-(-cells // COEFFICIENTS), 2 * _CELLS) + 12 * cells

    def __call__(self, base: BasePlanes) -> Floats:
        """Add to planes what the nets say; planes of nothing but zeros stay as they are."""
        _, height, width = base.planes.shape
        some = [k for k, plane in enumerate(base.planes) if plane.any()]
        per_batch = max(1, _CELLS * COEFFICIENTS // (height * width))
        for first in range(0, len(some), per_batch):
            chosen = some[first : first + per_batch]
            cells = np.stack([to_cells(base.kind, base.planes[k]) for k in chosen])
            noise = self._drawn([base.seeds[k] for k in chosen], cells.shape)
            for k, more in zip(chosen, self.corrections(base.kind, cells, noise), strict=True):
                base.planes[k] += from_cells(base.kind, more, height, width)
        return base.planes

    def corrections(self, kind: int, cells: Floats, noise: Floats | None) -> Floats:
        """Return what the net of a transform adds to cells (n, 64, y, x)."""
        asked = _Asked(kind, cells, noise)
        if self._owner is None:
            return self._run(asked)
        return self._owner.ask(self._run_together, asked)

    def _run_together(self, requests: list[_Asked]) -> list[Floats]:
        """Answer requests, those of one transform and size at once, as far as ``_CELLS`` go."""

        def alike(one: _Asked) -> Hashable:
            return one.kind, one.cells.shape[1:]

        answers: list[Any] = [None] * len(requests)
        for some in batches(requests, alike, lambda one: one.cells[:, 0].size, _CELLS):
            chosen = [requests[k] for k in some]
            cells = np.concatenate([one.cells for one in chosen])
            drawn = [one.noise for one in chosen if one.noise is not None]
            noise = np.concatenate(drawn) if drawn else None
            found = self._run(_Asked(chosen[0].kind, cells, noise))
            ends = np.cumsum([len(one.cells) for one in chosen])
            for k, more in zip(some, np.split(found, ends[:-1]), strict=True):
                answers[k] = more
        return answers

    def _run(self, asked: _Asked) -> Floats:
        with torch.inference_mode():
            given = torch.from_numpy(asked.cells).to(self._device)
            drawn = None if asked.noise is None else torch.from_numpy(asked.noise).to(self._device)
            out = self._nets[asked.kind](given, drawn)
            if self._generative:  # no coefficient leaves what was decoded by more than a step
                out = out.clamp(-1, 1)
            corrections: Floats = out.cpu().numpy()
        return corrections

    def _drawn(self, seeds: list[int], shape: tuple[int, ...]) -> Floats | None:
        """Return noise of variance 1 by plane and place, (n, noise, y, x); None for none."""
        if not self._noise:
            return None
        places = np.arange(self._noise * shape[2] * shape[3], dtype=np.int64)
        return np.stack([uniform(hashed(seed, places)) for seed in seeds]).reshape(
            len(seeds), self._noise, *shape[2:]
        )


def uniform(bits: npt.NDArray[np.uint32]) -> Floats:
    """Return numbers of mean 0 and variance 1, all alike likely within ±√3, of random bits."""
    out: Floats = ((bits.astype(np.float64) + 0.5) / 2**31 - 1).astype(np.float32)
    return out * np.float32(3**0.5)


@functools.lru_cache(maxsize=4)
def network_of(data: bytes, device: DeviceBackend | None) -> Networks:
    """Return the networks of a weights file; raises ModelError."""
    return Networks(DecoderWeights.from_bytes(data), device)


def as_halves(net: torch.nn.Module) -> dict[str, npt.NDArray[Any]]:
    """Return the parameters of a net as its file has them."""
    return {k: v.detach().cpu().numpy().astype(np.float16) for k, v in net.state_dict().items()}
