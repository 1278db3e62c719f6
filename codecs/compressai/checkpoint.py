"""Checkpoints of CompressAI as weights files: safetensors, their entropy tables made.

A pickle is read by ``torch.load(weights_only=True)``, which makes tensors and nothing else. The
tables of the entropy coder are integers in the file: no reader makes them again.
"""

from __future__ import annotations

import json
import math
import zipfile
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
    except (
        ArithmeticError,
        LookupError,
        ValueError,
        TypeError,
        AttributeError,
        RecursionError,
    ) as e:
        raise ModelError("loading a model: not a safetensors file") from e
    if not isinstance(meta, dict) or meta.get("format") != FORMAT:
        raise ModelError("loading a model: it is no CompressAI model that tilepress converted")
    if not math.prod(shapes.get(_TABLES, (0,))) or len(shapes[_TABLES]) != 2:
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
    size = max(size, _unpacked(path))
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
    size = sum(v.numel() * v.element_size() for v in found.values())
    if size > MAX_CHECKPOINT_BYTES:  # a tensor may be many times what it is a view of
        raise ModelError(f"{doing}: {size} bytes of tensors, at most {MAX_CHECKPOINT_BYTES}")
    try:
        tensors = {k.removeprefix("module."): v.detach().contiguous().clone()
                   for k, v in found.items()}  # fmt: skip
        data = bytes(save(tensors, metadata={"format": FORMAT}))
    except Exception as error:  # sparse, quantised, without data, or with names that are no text
        raise ModelError(f"{doing}: it has tensors that are no plain arrays") from error
    try:
        check_file(data)
    except ModelError as error:
        raise ModelError(
            f"{doing}: {str(error).removeprefix('loading a model: ')}; call the model's update() "
            "before its state dict is saved"
        ) from error
    return data


def _unpacked(path: Path) -> int:
    """Return how many bytes the members of a zip archive become; 0 for what is none.

    torch packs none of them, and reads packed ones: some kilobytes may be any number of bytes.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return sum(member.file_size for member in archive.infolist())
    except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile):
        return 0
