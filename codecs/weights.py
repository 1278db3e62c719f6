"""Find a model by the SHA-256 of its weights: inline, bundled, or in the user's model folder."""

from __future__ import annotations

import base64
import functools
import hashlib
import os
import re
import zlib
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np

from tilepress.codecs.compressai.checkpoint import converted, is_checkpoint, is_converted
from tilepress.codecs.limits import MAX_CHECKPOINT_BYTES, MAX_WEIGHTS_BYTES
from tilepress.codecs.numbers import shown
from tilepress.codecs.registry import DEFAULT_CODEC, check_weights, coder_class
from tilepress.errors import ModelError

__all__ = [
    "INLINE_LIMIT_BYTES",
    "NO_WEIGHTS",
    "Weights",
    "add_model",
    "bundled_decoders",
    "find_model",
    "inline_text",
    "keep",
    "known_models",
    "load_named",
    "model_card",
    "user_model_folder",
]

_SHA256 = re.compile("[0-9a-f]{64}", re.ASCII)
INLINE_LIMIT_BYTES = 48 * 1024
"""Weights up to this size travel inside the array's metadata (64 KiB of base64)."""


@dataclass(frozen=True, slots=True)
class Weights:
    """The bytes of a weights file, which name a model; its codec knows what they mean."""

    name: str
    data: bytes
    origin: str
    """"bundled", "user" or "inline"."""

    @property
    def sha256(self) -> str:
        return _sha256(self.data)

    @property
    def travels(self) -> bool:
        """Whether configurations carry them along: they are not bundled, and few."""
        return self.origin != "bundled" and len(self.data) <= INLINE_LIMIT_BYTES


@functools.lru_cache(maxsize=8)
def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


NO_WEIGHTS = Weights("none", b"", "inline")
"""What a codec has that needs no weights."""


def user_model_folder() -> Path:
    """Return ``$TILEPRESS_MODELS``, or ``~/.local/share/tilepress/models``."""
    named = os.environ.get("TILEPRESS_MODELS")
    return Path(named) if named else Path.home() / ".local" / "share" / "tilepress" / "models"


@functools.lru_cache(maxsize=1)
def _bundled() -> tuple[Weights, ...]:
    return _in_folder("")


def _in_folder(name: str) -> tuple[Weights, ...]:
    folder = resources.files("tilepress.codecs.models") / name
    files = sorted(
        (f for f in folder.iterdir() if f.name.endswith(".safetensors")), key=lambda f: f.name
    )
    return tuple(
        Weights(f.name.removesuffix(".safetensors"), f.read_bytes(), "bundled") for f in files
    )


@functools.lru_cache(maxsize=1)
def bundled_decoders() -> tuple[Weights, ...]:
    """Return the bundled weights of decoders: no store needs them, any reader may take them."""
    return _in_folder("decoders")


def known_models() -> list[Weights]:
    """Return every bundled and user model, bundled ones first."""
    folder = user_model_folder()
    files = sorted(folder.glob("*.safetensors")) if folder.is_dir() else []
    return [*_bundled(), *(Weights(f.stem, _read_file(f), "user") for f in files if f.is_file())]


def model_card(name: str) -> str:
    """Return the card of a bundled model (data, licences, command, figures), or what is known."""
    folder = resources.files("tilepress.codecs.models")
    for decoder in bundled_decoders():
        if decoder.name == name:
            return (folder / "decoders" / f"{name}.md").read_text(encoding="utf-8")
    weights = load_named(name)
    card = folder / f"{weights.name}.md"
    if weights.origin == "bundled" and card.is_file():
        return card.read_text(encoding="utf-8")
    return f"{weights.name}\nsha256 {weights.sha256}\n{len(weights.data)} bytes, {weights.origin}\n"


def load_named(model: str) -> Weights:
    """Return weights by ``auto`` (those of the default codec), name or path; raises ModelError."""
    name = str(coder_class(DEFAULT_CODEC).models["standard"]) if model == "auto" else model
    if name.endswith(".safetensors") or is_checkpoint(name):
        path = Path(name)
        data = converted(path) if is_checkpoint(name) else _read_file(path)
        weights = Weights(path.stem.removesuffix(".pth"), data, "inline")
        check_weights(weights.data)
        return weights
    for weights in known_models():
        if weights.name == name:
            return weights
    names = ", ".join(w.name for w in known_models())
    raise ModelError(f"loading a model: no model is called {shown(name)}; known: {names}")


def _read_file(path: Path) -> bytes:
    """Return the bytes of a weights file; raises ModelError, also for one that is too large."""
    try:
        if not path.is_file():
            raise ModelError(f"loading a model: no file {shown(str(path))}")
        limit = MAX_WEIGHTS_BYTES
        with path.open("rb") as file:
            data = file.read(limit + 1)
            if len(data) > limit and is_converted(data):
                limit = MAX_CHECKPOINT_BYTES
                data += file.read(limit + 1 - len(data))
    except (OSError, ValueError) as error:  # ValueError: what no path may hold, as a zero byte
        what = error.strerror if isinstance(error, OSError) else "not a path"
        raise ModelError(f"loading a model: {shown(str(path))}: {what}") from error
    if len(data) > limit:
        raise ModelError(f"loading a model: {shown(str(path))} is larger than {limit} bytes")
    return data


def find_model(name: str, sha256: str, inline: str | None) -> Weights:
    """Return the weights that a codec configuration names.

    Raises ModelError when they are nowhere, or when inline weights are not what their hash says.
    """
    if not _SHA256.fullmatch(sha256):
        raise ModelError(
            f"loading {_called(name)}: got sha256 {shown(sha256)}, want 64 hexadecimal digits"
        )
    if inline is not None:
        data = _inline_bytes(name, inline)
        if hashlib.sha256(data).hexdigest() != sha256:
            raise ModelError(f"loading {_called(name)}: inline weights do not match their sha256")
        return Weights(name, data, "inline")
    for weights in known_models():
        if weights.sha256 == sha256:
            return weights
    raise ModelError(
        f"loading {_called(name)}: no weights with sha256 {sha256[:16]}… are installed; "
        "get them with: tilepress models add STORE-OR-FILE"
    )


@functools.lru_cache(maxsize=8)
def inline_text(data: bytes) -> str:
    """Return weights as text: base64 of the file or, where shorter, a patch of a bundled one.

    A patch is "SHA256:" and the base64 of the zlib stream of both files' exclusive or: weights that
    were tuned from a bundled model, its tables kept, take a kilobyte then.
    """
    texts = [base64.b64encode(data).decode()]
    for base in _bundled():
        if len(base.data) == len(data):
            patch = zlib.compress(_exclusive_or(base.data, data), 9)
            texts.append(f"{base.sha256}:{base64.b64encode(patch).decode()}")
    return min(texts, key=len)


def _inline_bytes(name: str, inline: str) -> bytes:
    """Return the weights file that ``inline_text`` made a text of; raises ModelError."""
    if len(inline) > 2 * MAX_WEIGHTS_BYTES:
        raise ModelError(f"loading {_called(name)}: {len(inline)} characters of inline weights")
    sha256, colon, text = inline.rpartition(":")
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError as error:  # binascii.Error, or letters beyond ASCII
        raise ModelError(f"loading {_called(name)}: inline weights are not base64") from error
    if not colon:
        return data
    base = find_model(f"that {name[:60]} was tuned from", sha256, None).data
    unpacker = zlib.decompressobj()
    try:
        difference = unpacker.decompress(data, len(base) + 1)
    except zlib.error as error:
        raise ModelError(f"loading {_called(name)}: inline weights are no zlib stream") from error
    if len(difference) != len(base) or not unpacker.eof or unpacker.unused_data:
        raise ModelError(f"loading {_called(name)}: inline weights do not fit the model they patch")
    return _exclusive_or(base, difference)


def _called(name: str) -> str:
    return f"model {shown(name)}"


def _exclusive_or(a: bytes, b: bytes) -> bytes:
    return (np.frombuffer(a, np.uint8) ^ np.frombuffer(b, np.uint8)).tobytes()


def add_model(path: Path) -> Weights:
    """Copy a weights file into the user's model folder after checking it."""
    return keep(load_named(str(path)))


def keep(weights: Weights) -> Weights:
    """Write weights to the user's model folder, where readers find them; raises ModelError."""
    folder = user_model_folder()
    target = folder / f"{weights.name}.safetensors"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if target.exists() and target.read_bytes() != weights.data:
            raise ModelError(f"adding a model: {target} exists and holds other weights")
        temporary = target.with_suffix(f".{os.getpid()}.partial")
        temporary.write_bytes(weights.data)
        temporary.replace(target)
    except OSError as error:
        raise ModelError(
            f"adding a model: {target}: {error.strerror}; TILEPRESS_MODELS names another folder"
        ) from error
    return Weights(weights.name, weights.data, "user")
