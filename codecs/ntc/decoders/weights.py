"""The weights file of a decoder network: safetensors of halves, checked before anything is made.

A tensor is called ``lapped.NAME`` or ``wavelet.NAME``, after the transform whose cells it is for.
Metadata: ``format``, ``decoder`` ("net", or "gan" where samples are drawn), ``channels``,
``blocks``, ``noise``.
"""

from __future__ import annotations

import json
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

__all__ = ["DECODER_FORMAT", "INPUTS", "DecoderWeights", "shapes_of"]

DECODER_FORMAT = "tilepress-ntc-decoder-1"
INPUTS = COEFFICIENTS - 1 + 4
"""Channels that a net is shown of a cell: its coefficients but the lowest, and how the lowest
differs from its four neighbours."""
_MOST = {"channels": 512, "blocks": 32, "noise": 64}
_KINDS = ("net", "gan")


@dataclass(frozen=True, slots=True)
class DecoderWeights:
    """Weights of the nets of both transforms."""

    decoder: str
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
        sizes = {"channels": self.channels, "blocks": self.blocks, "noise": self.noise}
        told = {key: str(value) for key, value in sizes.items()}
        metadata = {"format": DECODER_FORMAT, "decoder": self.decoder, **told}
        return bytes(save_tensors(tensors, metadata=metadata))

    @classmethod
    def from_bytes(cls, data: bytes) -> DecoderWeights:
        """Parse a file, not trusted; raises ModelError unless every tensor is as it must be."""
        tensors = read_tensors(data)
        if format_of(data) != DECODER_FORMAT:
            raise ModelError("loading a decoder: the file is not one of a decoder of ntc")
        told = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]
        if told.get("decoder") not in _KINDS:
            raise ModelError(f"loading a decoder: got decoder {shown(told.get('decoder'))}")
        sizes = {key: _size(key, told.get(key)) for key in _MOST}
        want = shapes_of(**sizes)
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
        return cls(told["decoder"], **sizes, nets=nets)


def _size(key: str, value: object) -> int:
    least = 0 if key == "noise" else 1
    number = int(value) if isinstance(value, str) and value.isdecimal() and len(value) < 5 else -1
    if not least <= number <= _MOST[key]:
        raise ModelError(
            f"loading a decoder: got {key} {shown(value)}, want {least} … {_MOST[key]}"
        )
    return number


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
