"""Read a weights file: safetensors, and the tables of frequencies that models have in them."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load

from tilepress.codecs.limits import MAX_WEIGHTS_BYTES
from tilepress.codecs.numbers import shown
from tilepress.errors import ModelError

__all__ = ["format_of", "read_tensors", "unpack_tables"]


def read_tensors(data: bytes) -> dict[str, npt.NDArray[Any]]:
    """Return the tensors of a file, not trusted; raises ModelError where it is none."""
    if len(data) > MAX_WEIGHTS_BYTES:
        raise ModelError(f"loading a model: {len(data)} bytes, at most {MAX_WEIGHTS_BYTES}")
    try:
        return dict(load(data))
    except (SafetensorError, ValueError, KeyError) as error:
        what = shown(str(error))
        raise ModelError(f"loading a model: not a safetensors file ({what})") from error


def format_of(data: bytes) -> Any:  # noqa: ANN401  # whatever the file says
    """Return the format that the metadata of a safetensors file name; None where they name none."""
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    return (header.get("__metadata__") or {}).get("format")


def unpack_tables(
    flat: npt.NDArray[np.uint16], sizes: npt.NDArray[np.uint8], shape: tuple[int, int]
) -> npt.NDArray[np.uint16]:
    """Return tables one below another, filled up with zeros, of what stands joined in a file.

    ``sizes`` says how many entries each has. Raises ModelError.
    """
    tables, longest = shape
    if sizes.shape != (tables,) or sizes.max() > longest or flat.shape != (int(sizes.sum()),):
        raise ModelError("loading a model: tables have the wrong size")
    if np.any(flat == 0):
        raise ModelError("loading a model: a table has a frequency of 0")
    out = np.zeros(shape, np.uint16)
    out[np.arange(longest) < sizes[:, None]] = flat
    return out
