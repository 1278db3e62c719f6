"""What the coefficient coder knows before it has seen anything: slots and weights, and their file.

A file holds of each slot its probability, stretched and in 64 steps, and how often it counts as
seen (FORMAT.md §12.6). Records name the file by its SHA-256, as those of ``wave`` do.
"""

from __future__ import annotations

import functools
import hashlib
import zlib
from dataclasses import dataclass
from importlib import resources

import numpy as np
import numpy.typing as npt
import safetensors
import safetensors.numpy

from tilepress.codecs.jpeg.contexts import SLOTS, WEIGHT_SETS
from tilepress.codecs.jpeg.mixing import FRESH_SLOT, INPUTS, PROBABILITY_OF, stretched
from tilepress.errors import ModelError, UnsupportedFormat

__all__ = [
    "DEFAULT_PRIORS",
    "KINDS",
    "MOST_SEEN",
    "Priors",
    "bundled",
    "default_priors",
    "fresh",
    "load_priors",
    "priors_of",
    "read_priors",
    "write_priors",
]

KINDS = 4
"""Kinds of components: the first, two of colour, others that are alike the one before."""

DEFAULT_PRIORS = "jpeg-1"
"""The bundled file that records are coded with."""

MOST_SEEN = 7
"""How often a slot of a file counts as seen at most: what is learned of one image counts soon."""

_FOLDER = resources.files("tilepress.codecs.jpeg.models")
_SUFFIX = ".safetensors"
_UNSEEN = 32
"""Code of a slot that no training image has seen."""
_FORMAT = "tilepress-jpeg-1"
_WEIGHT_SHIFT = 4
"""Weights of a file are in units of 2^−12."""


@dataclass(frozen=True, slots=True)
class Priors:
    """Where the coder begins."""

    slots: npt.NDArray[np.uint32]
    """(KINDS, SLOTS)."""
    weights: npt.NDArray[np.int32]
    """(KINDS, WEIGHT_SETS, INPUTS), in units of 2^−16."""
    model_id: bytes = bytes(8)
    """First bytes of the SHA-256 of the file that they are from."""


def fresh() -> Priors:
    """Return the priors of who knows nothing."""
    return Priors(
        np.full((KINDS, SLOTS), FRESH_SLOT, np.uint32),
        np.full((KINDS, WEIGHT_SETS, INPUTS), 65536 * 3 // 10, np.int32),
    )


@functools.lru_cache(maxsize=1)
def bundled() -> dict[bytes, str]:
    """Return the names of all bundled files by the first bytes of their SHA-256."""
    names = (
        file.name.removesuffix(_SUFFIX) for file in _FOLDER.iterdir() if file.name.endswith(_SUFFIX)
    )
    return {hashlib.sha256(_bytes_of(name)).digest()[:8]: name for name in names}


@functools.lru_cache(maxsize=4)
def load_priors(name: str) -> Priors:
    """Return bundled priors by name."""
    return read_priors(_bytes_of(name))


def default_priors() -> Priors:
    """Return the priors that records are coded with."""
    return load_priors(DEFAULT_PRIORS)


def _bytes_of(name: str) -> bytes:
    return (_FOLDER / f"{name}{_SUFFIX}").read_bytes()


def priors_of(model_id: bytes) -> Priors:
    """Return the priors that a record names; raises UnsupportedFormat where they are nowhere."""
    name = bundled().get(model_id)
    if name is None:
        raise UnsupportedFormat(
            f"decoding a record of JPEG streams: it needs priors {model_id.hex()}…, which this "
            "tilepress does not have; a newer one may: pip install -U tilepress"
        )
    return load_priors(name)


def write_priors(priors: Priors) -> bytes:
    """Return the file of priors, rounded as it rounds."""
    says = stretched(priors.slots >> 20)
    steps = np.clip((says + 2048 + 32) >> 6, 0, 63)
    seen = np.minimum(priors.slots & 1023, MOST_SEEN)
    codes = np.where(seen > 0, seen * 64 + steps, _UNSEEN).astype("<u2")
    rounded = (priors.weights + (1 << (_WEIGHT_SHIFT - 1))) >> _WEIGHT_SHIFT
    weights = np.clip(rounded, -(2**15), 2**15 - 1).astype("<i2")
    return safetensors.numpy.save(
        {
            "slots.probability": _squeezed((codes & 63).astype(np.uint8)),
            "slots.seen": _squeezed((codes >> 6).astype(np.uint8)),
            "weights": _squeezed(weights),
        },
        {"format": _FORMAT},
    )


def read_priors(data: bytes) -> Priors:
    """Return the priors of a file, not trusted; raises ModelError."""
    try:
        tensors = safetensors.numpy.load(data)
    except (safetensors.SafetensorError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"reading priors of JPEG: no weights file ({error})") from error
    if set(tensors) != {"slots.probability", "slots.seen", "weights"}:
        raise ModelError(f"reading priors of JPEG: got tensors {sorted(tensors)}")
    shape = (KINDS, WEIGHT_SETS, INPUTS)
    steps = np.frombuffer(_unsqueezed(tensors["slots.probability"], KINDS * SLOTS), np.uint8)
    seen = np.frombuffer(_unsqueezed(tensors["slots.seen"], KINDS * SLOTS), np.uint8)
    packed = _unsqueezed(tensors["weights"], 2 * KINDS * WEIGHT_SETS * INPUTS)
    if steps.max() > 63 or seen.max() > MOST_SEEN:
        raise ModelError("reading priors of JPEG: a slot is out of range")
    slots = (PROBABILITY_OF[steps].astype(np.uint32) << 16) | seen
    weights = np.frombuffer(packed, "<i2").astype(np.int32) << _WEIGHT_SHIFT
    return Priors(
        np.where(seen > 0, slots, FRESH_SLOT).astype(np.uint32).reshape(KINDS, SLOTS),
        weights.reshape(shape),
        hashlib.sha256(data).digest()[:8],
    )


def _squeezed(array: npt.NDArray[np.generic]) -> npt.NDArray[np.uint8]:
    return np.frombuffer(zlib.compress(array.tobytes(), 9), np.uint8)


def _unsqueezed(tensor: npt.NDArray[np.generic], size: int) -> bytes:
    if tensor.dtype != np.uint8 or tensor.ndim != 1:
        raise ModelError(f"reading priors of JPEG: got a tensor of {tensor.dtype}, {tensor.shape}")
    unpacker = zlib.decompressobj()
    try:
        plain = unpacker.decompress(tensor.tobytes(), size + 1)
    except zlib.error as error:
        raise ModelError("reading priors of JPEG: a tensor is no zlib stream") from error
    if len(plain) != size or not unpacker.eof or unpacker.unused_data:
        raise ModelError(f"reading priors of JPEG: a tensor does not hold {size} bytes")
    return plain
