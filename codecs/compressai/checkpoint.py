"""Checkpoints of CompressAI as weights files: safetensors, their entropy tables made.

A pickle is read by ``torch.load(weights_only=True)``, which makes tensors and nothing else. The
tables of the entropy coder are integers in the file: no reader makes them again.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tilepress.codecs.limits import MAX_CHECKPOINT_BYTES
from tilepress.codecs.numbers import shown
from tilepress.errors import ModelError

__all__ = ["FORMAT", "SUFFIXES", "check_file", "converted", "is_checkpoint", "is_converted"]

FORMAT = "tilepress-compressai-1"
SUFFIXES = (".pth", ".pt", ".pth.tar", ".ckpt")
"""Ends of names of pickled checkpoints."""
_MOST_HEADER = 2**20
_TABLES = "entropy_bottleneck._quantized_cdf"


def is_checkpoint(name: str) -> bool:
    """Whether a path is that of a pickled checkpoint, by its name."""
    return name.endswith(SUFFIXES)


def is_converted(head: bytes) -> bool:
    """Whether a weights file, of which this is a long beginning, says that it is a checkpoint."""
    try:
        return bool(check_file(head))
    except ModelError:
        return False


def check_file(data: bytes) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a weights file's tensors, by name; raises ModelError. No torch."""
    size = int.from_bytes(data[:8], "little")
    if len(data) < 8 or size > min(_MOST_HEADER, len(data) - 8):
        raise ModelError("loading a model: not a safetensors file")
    try:
        header = json.loads(data[8 : 8 + size])
        meta = header.pop("__metadata__", None) or {}
        shapes = {str(k): tuple(int(n) for n in v["shape"]) for k, v in header.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ModelError("loading a model: not a safetensors file") from error
    if not isinstance(meta, dict) or meta.get("format") != FORMAT:
        raise ModelError("loading a model: it is no CompressAI model that tilepress converted")
    if not shapes.get(_TABLES, (0,))[0]:
        raise ModelError(f"loading a model: it has no entropy tables ({_TABLES})")
    return shapes


def converted(path: Path) -> bytes:
    """Return the weights file of a checkpoint: a state dict, alone or below ``state_dict``.

    Raises ModelError for a file that is none, or too large, and where torch is not installed.
    """
    doing = f"loading a model: {shown(str(path))}"
    try:
        size = path.stat().st_size
    except (OSError, ValueError) as error:
        raise ModelError(f"{doing}: no such file") from error
    if size > MAX_CHECKPOINT_BYTES:
        raise ModelError(f"{doing}: {size} bytes, at most {MAX_CHECKPOINT_BYTES}")
    try:
        import torch
        from safetensors.torch import save
    except ModuleNotFoundError as error:
        raise ModelError(f"{doing}: it needs torch; pip install 'tilepress[compressai]'") from error
    try:
        found: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # its errors are of many kinds, and quote the file
        raise ModelError(f"{doing}: not a checkpoint of tensors alone") from error
    if isinstance(found, dict) and isinstance(found.get("state_dict"), dict):
        found = found["state_dict"]
    if not isinstance(found, dict) or not all(
        isinstance(k, str) and isinstance(v, torch.Tensor) for k, v in found.items()
    ):
        raise ModelError(f"{doing}: want a state dict, or one below 'state_dict'")
    tensors = {k.removeprefix("module."): v.detach().contiguous().clone() for k, v in found.items()}
    data = bytes(save(tensors, metadata={"format": FORMAT}))
    if len(data) > MAX_CHECKPOINT_BYTES:
        raise ModelError(f"{doing}: {len(data)} bytes of tensors, at most {MAX_CHECKPOINT_BYTES}")
    try:
        check_file(data)
    except ModelError as error:
        raise ModelError(
            f"{doing}: {str(error).removeprefix('loading a model: ')}; call the model's update() "
            "before its state dict is saved"
        ) from error
    return data
