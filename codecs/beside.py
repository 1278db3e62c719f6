"""Code and decode by any coder, known by number and weights: what stands beside a codec's own.

A codec whose line in registry.py says so may have records, and parts of records, of other coders:
``ntc`` keeps exact bands by ``wave``, and tiles that an established codec makes smaller by that.
Their weights are those that are installed, by the first bytes of their hash.
"""

from __future__ import annotations

import functools

from tilepress.codecs.coder import ChunkCoder
from tilepress.codecs.loss import Loss, Lossless, bounded
from tilepress.codecs.registry import CODECS, DEFAULT_CODEC, coder_class
from tilepress.codecs.weights import NO_WEIGHTS, Weights, known_models, load_named
from tilepress.errors import UnsupportedFormat

__all__ = ["ID_BYTES", "bounded_coder", "coder_numbered", "weights_id"]

ID_BYTES = 8
"""Of the SHA-256 of a weights file, what names it in a record."""


def weights_id(weights: Weights) -> bytes:
    """Return what names weights in a record."""
    return bytes.fromhex(weights.sha256)[:ID_BYTES]


@functools.lru_cache(maxsize=16)
def coder_numbered(number: int, model_id: bytes) -> ChunkCoder:
    """Return a coder that decodes payloads of a number and weights.

    Raises UnsupportedFormat where there is none, or no such weights.
    """
    for codec, registered in CODECS.items():
        if number in registered.numbers:
            weights = _weights(codec, model_id)
            return coder_class(codec)(_any_loss(codec), "standard", weights.data, "cpu")
    raise UnsupportedFormat(f"decoding a record: coder {number} unknown")


@functools.lru_cache(maxsize=16)
def bounded_coder(model: str, max_error: float = 0) -> tuple[ChunkCoder, bytes]:
    """Return a coder of the default codec, and what records call its weights.

    model : a bundled one, named by whoever codes: the bytes that it makes must not change because
    another one becomes the default. max_error : 0 is lossless.
    """
    weights = load_named(model)
    coder = coder_class(DEFAULT_CODEC)(bounded(max_error), "standard", weights.data, "cpu")
    return coder, weights_id(weights)


def _weights(codec: str, model_id: bytes) -> Weights:
    if all(model is None for model in coder_class(codec).models.values()):
        if model_id == weights_id(NO_WEIGHTS):
            return NO_WEIGHTS
    else:
        for weights in known_models():
            if weights_id(weights) == model_id:
                return weights
    raise UnsupportedFormat(
        f"decoding a record: it needs model {model_id.hex()}…, which is not installed; "
        "get it with: tilepress models add STORE-OR-FILE"
    )


def _any_loss(codec: str) -> Loss:
    """Return some loss that a codec may be made for: decoders do not mind which."""
    losses = coder_class(codec).losses
    return Lossless() if Lossless in losses else min(losses, key=lambda one: one.__name__)(50.0)
