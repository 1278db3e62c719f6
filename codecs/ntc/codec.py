"""``ntc`` as one of the codecs: what it promises, its weights, and the coder of a chunk.

On a GPU planes of many chunks run together, and the networks of decoders. What is exact beside
lossy bands, and what is decoded at a scale, is the CPU's.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import numpy as np
import numpy.typing as npt

from tilepress.codecs.beside import ID_BYTES
from tilepress.codecs.budget import Budget
from tilepress.codecs.coder import (
    BASE,
    Coded,
    DecoderCoder,
    EstimatingCoder,
    ExactCoder,
    RivalledCoder,
    ScaledCoder,
)
from tilepress.codecs.levels import nominal_step
from tilepress.codecs.loss import AtLeast, AtMost, Loss, Quality
from tilepress.codecs.ntc.backend import CPU, Backend
from tilepress.codecs.ntc.chunk import Analysis, decode_chunk, encode_chunk
from tilepress.codecs.ntc.decoders.choose import is_generative, remake_of
from tilepress.codecs.ntc.lossless import encode_lossless
from tilepress.codecs.ntc.mixed import Chunk, Ours, encode_mixed
from tilepress.codecs.ntc.model import NtcModel
from tilepress.codecs.ntc.parts import NUMBER, decode_parts
from tilepress.codecs.ntc.rivals import Beaten, encode_rival, looks_drawn

if TYPE_CHECKING:
    from tilepress.codecs.ntc.decoders.remake import Remake
    from tilepress.codecs.ntc.device.backend import DeviceBackend

__all__ = ["NtcCoder", "parse_model"]

Array = npt.NDArray[Any]
Item = TypeVar("Item")
Result = TypeVar("Result")


@functools.lru_cache(maxsize=8)
def parse_model(data: bytes) -> NtcModel:
    """Return the model of a weights file; raises ModelError."""
    return NtcModel.from_bytes(data)


class NtcCoder(EstimatingCoder, ExactCoder, RivalledCoder, ScaledCoder, DecoderCoder):
    """The lossy codec of linear transforms and a learned context model."""

    losses: ClassVar[frozenset[type[Loss]]] = frozenset({Quality, AtLeast, AtMost})
    models: ClassVar[Mapping[str, str | None]] = MappingProxyType(
        {"standard": "ntc-3", "fast": "ntc-3", "max": "ntc-3"}
    )
    former_models: ClassVar[Mapping[str, Sequence[str]]] = MappingProxyType(
        {"standard": ("ntc-2", "ntc-1"), "fast": ("ntc-2", "ntc-1"), "max": ()}
    )
    exact_beside: ClassVar[bool] = True
    bounds_lossy: ClassVar[bool] = True
    on_device: ClassVar[bool] = True
    number = 6

    def __init__(self, loss: Loss, tier: str, weights: bytes, device: str) -> None:
        parse_model(weights)
        self._weights, self._bound, self._tier = weights, loss.max_error, tier
        self._model_id = hashlib.sha256(weights).digest()[:ID_BYTES]
        self._on_device = device == "cuda"
        if self._on_device:
            _open_device()  # refused here, not at the first chunk

    @staticmethod
    def check_weights(data: bytes) -> None:
        parse_model(data)

    @staticmethod
    def why_no_device() -> str | None:
        from tilepress.codecs.ntc.device.backend import why_no_device

        return why_no_device()

    def refusal(self, dtype: np.dtype[Any]) -> str | None:
        if dtype.kind not in "iu" or dtype.itemsize > 4:
            told = f"codec 'ntc' takes integers of 8 to 32 bits, the samples are {dtype}"
            others = "; choose codec 'jpeg2000' or 'mlp' for the target, or max_error alone"
            return told + others if dtype.kind == "f" else told
        return None

    def encode_at(
        self, samples: Array, absent: Array | None, bands: int, level: float, peak: float
    ) -> Coded | None:
        """Code with the step that a level means; by the lossless codec at ``EXACT``, and where
        samples span too much for that step."""
        return self.encode_beside(samples, absent, bands, level, peak, frozenset())

    def encode_beside(
        self,
        samples: Array,
        absent: Array | None,
        bands: int,
        level: float,
        peak: float,
        exact: frozenset[int],
    ) -> Coded | None:
        own = Ours(self.number, self._model_id, parse_model(self._weights), self._backend())
        return encode_mixed(
            Chunk(samples, absent, max(1, bands), exact, self._bound), level, peak, own
        )

    def estimate(
        self, samples: Array, absent: Array | None, bands: int, peak: float
    ) -> Callable[[float], tuple[float, float]] | None:
        """Tell what the chosen values cost and miss: neither words nor samples are made of them."""
        if self._bound is not None:
            return None
        group = bands if bands >= 1 and len(samples) % bands == 0 else 1
        analysis = Analysis.of(samples, absent, group, self._backend())
        if analysis is None:
            return None
        rounding = samples.size / 12  # samples are integers, what the probe measures is not

        def at(level: float) -> tuple[float, float]:
            probe = analysis.probe(nominal_step(level, peak), parse_model(self._weights))
            return probe.bits / 8, probe.squared + rounding

        return at

    @property
    def tries_every(self) -> bool:
        return self._tier == "max" and self._bound is None

    def looks_special(self, samples: Array) -> bool:
        return self._bound is None and looks_drawn(samples)

    def encode_smaller(
        self,
        samples: Array,
        absent: Array | None,
        bands: int,
        level: float,
        peak: float,
        found: tuple[int, float],
    ) -> Coded | None:
        """Code without loss, or by an established codec: not with a bound, for decoders of the
        latter differ, and the former was tried for it."""
        if self._bound is not None:
            return None
        size, squared = found
        kept = encode_lossless(samples, absent, bands, size)
        if self._tier == "fast":
            return kept
        size = size if kept is None else len(kept.payload)
        beaten = Beaten(size, squared, nominal_step(level, peak))
        every = self.tries_every
        return encode_rival(samples, absent, bands, peak, beaten, every=every) or kept

    def encode_step(
        self, samples: Array, absent: Array | None, bands: int, step: float
    ) -> tuple[bytes, Array] | None:
        """Code with a step of the quantiser, in units of samples; None where it cannot."""
        model = parse_model(self._weights)
        return encode_chunk(samples, absent, bands, step, model, backend=self._backend())

    def decode(
        self,
        payload: memoryview,
        shape: tuple[int, int, int],
        dtype: np.dtype[Any],
        planes: frozenset[int] | None,
        budget: Budget,
        number: int,
    ) -> Array:
        return self._decoded(payload, shape, dtype, planes, budget, number)

    def decode_scaled(
        self,
        payload: memoryview,
        shape: tuple[int, int, int],
        dtype: np.dtype[Any],
        planes: frozenset[int] | None,
        budget: Budget,
        number: int,
        scale: int,
    ) -> Array:
        return self._decoded(payload, shape, dtype, planes, budget, number, scale=scale)

    def check_decoder(self, decoder: str) -> None:
        self._remake(decoder)

    @staticmethod
    def makes_up(decoder: str) -> bool:
        return is_generative(decoder)

    def decode_by(
        self,
        decoder: str,
        payload: memoryview,
        shape: tuple[int, int, int],
        dtype: np.dtype[Any],
        planes: frozenset[int] | None,
        budget: Budget,
        number: int,
    ) -> Array:
        return self._decoded(payload, shape, dtype, planes, budget, number, decoder=decoder)

    def _decoded(
        self,
        payload: memoryview,
        shape: tuple[int, int, int],
        dtype: np.dtype[Any],
        planes: frozenset[int] | None,
        budget: Budget,
        number: int,
        *,
        scale: int = 1,
        decoder: str = BASE,
    ) -> Array:
        if number == NUMBER:
            own = (self, self._model_id)
            return decode_parts(payload, shape, dtype, own, budget, planes, scale, decoder)
        remake = None if decoder == BASE else self._remake(decoder)
        model = parse_model(self._weights)
        return decode_chunk(
            payload, shape, dtype, model, budget, planes, scale, remake, self._backend()
        )

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
        """On the CPU, in the process's pool; on a GPU, planes of many chunks run in batches."""
        return self._backend().map(function, items)

    def _backend(self) -> Backend:
        """Return the backend of this process; a coder may have come from another."""
        return _open_device() if self._on_device else CPU

    def _remake(self, decoder: str) -> Remake:
        return remake_of(decoder, _open_device() if self._on_device else None)


def _open_device() -> DeviceBackend:
    """Return the process's GPU; imported here, so that the CPU's way loads nothing of it."""
    from tilepress.codecs.ntc.device.backend import open_device

    return open_device()
