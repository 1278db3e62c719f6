"""The weights file of a decoder network: safetensors of halves, checked before anything is made.

A tensor is called ``lapped.NAME`` or ``wavelet.NAME``, after the transform whose cells it is for.
The metadata name the format alone, so that equal weights are equal bytes; sizes are the tensors'.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import save as save_tensors

from tilepress.codecs.ntc.decoders.cells import COEFFICIENTS
from tilepress.codecs.ntc.layout import NETS
from tilepress.codecs.numbers import shown
from tilepress.codecs.tensors import format_of, read_tensors
from tilepress.errors import ModelError

__all__ = ["INPUTS", "DecoderWeights", "shapes_of"]

FORMATS = {"net": "tilepress-ntc-net-1", "gan": "tilepress-ntc-gan-1"}
"""By the kind of decoder: one that comes closer to the original, one that makes texture up."""
INPUTS = COEFFICIENTS - 1 + 4
"""Channels that a net is shown of a cell: its coefficients but the lowest, and how the lowest
differs from its four neighbours."""
_MOST_CHANNELS, _MOST_BLOCKS, _MOST_NOISE = 512, 32, 64


@dataclass(frozen=True, slots=True)
class DecoderWeights:
    """Weights of the nets of both transforms."""

    decoder: str
    """One of ``FORMATS``."""
    channels: int
    blocks: int
    noise: int
    """Channels of noise that a net is given; 0 unless it draws."""
    nets: Mapping[str, Mapping[str, npt.NDArray[np.float16]]]
    """By the names of ``NETS``, then of parameters."""

    def to_bytes(self) -> bytes:
        tensors: dict[str, npt.NDArray[Any]] = {
            f"{name}.{key}": value for name, net in self.nets.items() for key, value in net.items()
        }
        return bytes(save_tensors(tensors, metadata={"format": FORMATS[self.decoder]}))

    @classmethod
    def from_bytes(cls, data: bytes) -> DecoderWeights:
        """Parse a file, not trusted; raises ModelError unless every tensor is as it must be."""
        tensors = read_tensors(data)
        told = format_of(data)
        decoder = next((name for name, value in FORMATS.items() if value == told), None)
        if decoder is None:
            raise ModelError(f"loading a decoder: got format {shown(told)}, which is none of ntc's")
        channels, blocks, noise = sizes = _sizes(tensors)
        want = shapes_of(*sizes)
        if set(tensors) != {f"{name}.{key}" for name in NETS for key in want}:
            raise ModelError("loading a decoder: tensors are not those of its nets")
        nets: dict[str, dict[str, npt.NDArray[np.float16]]] = {name: {} for name in NETS}
        for name in NETS:
            for key, shape in want.items():
                tensor = tensors[f"{name}.{key}"]
                if tensor.shape != shape or tensor.dtype != np.float16:
                    raise ModelError(f"loading a decoder: {name}.{key} has the wrong shape or type")
                if not np.isfinite(tensor).all():
                    raise ModelError(f"loading a decoder: {name}.{key} is not finite")
                nets[name][key] = tensor
        return cls(decoder, channels, blocks, noise, nets)


def _sizes(tensors: Mapping[str, npt.NDArray[Any]]) -> tuple[int, int, int]:
    """Return channels, blocks and channels of noise, as the first net of a file has them."""
    name = next(iter(NETS))
    first = tensors.get(f"{name}.first.weight")
    if first is None or first.ndim != 4:
        raise ModelError("loading a decoder: tensors are not those of its nets")
    blocks = sum(key.startswith(f"{name}.blocks.") for key in tensors) // 10
    channels, noise = first.shape[0], first.shape[1] - INPUTS
    if not (
        1 <= channels <= _MOST_CHANNELS
        and 1 <= blocks <= _MOST_BLOCKS
        and 0 <= noise <= _MOST_NOISE
    ):
        raise ModelError(
            f"loading a decoder: got {channels} channels, {blocks} blocks, {noise} of noise"
        )
    return channels, blocks, noise


def shapes_of(channels: int, blocks: int, noise: int) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a net's parameters."""
    c = channels
    layers = {"first": (c, INPUTS + noise, 1, 1), "last": (COEFFICIENTS, c, 1, 1)}
    for k in range(blocks):
        layers |= {
            f"blocks.{k}.a": (c, c, 1, 1),
            f"blocks.{k}.d": (c, 1, 3, 3),
            f"blocks.{k}.b": (c, c, 1, 1),
            f"blocks.{k}.f1": (2 * c, c, 1, 1),
            f"blocks.{k}.f2": (c, 2 * c, 1, 1),
        }
    found: dict[str, tuple[int, ...]] = {}
    for name, shape in layers.items():
        found[f"{name}.weight"], found[f"{name}.bias"] = shape, shape[:1]
    return found
