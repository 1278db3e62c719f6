"""A model of CompressAI at work: pictures of three channels to strings and back.

Everything runs in double precision on the CPU. A float32 sum differs from machine to machine in its
last bits, and where such a sum chooses an entropy table, one bit makes garbage of a tile: that is
why CompressAI itself supports no decoding on other devices. In doubles what differs is a billion
times smaller. It is no proof: records say who wrote them, and have checksums of their samples.
"""

from __future__ import annotations

import functools
import platform
from collections.abc import Callable
from contextlib import AbstractContextManager
from importlib import import_module
from importlib.metadata import version
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tilepress.codecs.compressai.checkpoint import check_file
from tilepress.errors import CodecError, ModelError, UnsupportedFormat

__all__ = ["ARCHITECTURES", "Strings", "compress", "decompress", "loaded", "writer"]

Picture = npt.NDArray[np.float64]

ARCHITECTURES: dict[str, str] = {
    "bmshj2018-factorized": "FactorizedPrior",
    "bmshj2018-factorized-relu": "FactorizedPriorReLU",
    "bmshj2018-hyperprior": "ScaleHyperprior",
    "mbt2018-mean": "MeanScaleHyperprior",
    "mbt2018": "JointAutoregressiveHierarchicalPriors",
    "cheng2020-anchor": "Cheng2020Anchor",
    "cheng2020-attn": "Cheng2020Attention",
}
"""Classes of ``compressai.models`` by the names that its zoo has."""

MULTIPLE = 64
"""Rows and columns of pictures are multiples of this."""
_SPARE = 64
_TABLE_SUM, _SMALLEST_TABLE = 2**16, 3
_FARTHEST = 2**24
"""Symbols that a table begins with are no further from 0."""


class Strings(NamedTuple):
    """A coded picture."""

    shape: tuple[int, int]
    """What the model calls so: rows and columns of its innermost latent."""
    strings: list[bytes]


@functools.lru_cache(maxsize=2)
def loaded(architecture: str, data: bytes) -> Any:  # noqa: ANN401  # a module of torch
    """Return a weights file's model; raises ModelError, UnsupportedFormat without CompressAI."""
    check_file(data)
    try:
        import torch
        from safetensors.torch import load

        models = import_module("compressai.models")
    except ModuleNotFoundError as error:
        raise UnsupportedFormat(
            f"making a codec: compressai needs the package {error.name}; "
            "pip install 'tilepress[compressai]'"
        ) from error
    try:
        net = getattr(models, ARCHITECTURES[architecture]).from_state_dict(load(data))
    except Exception as error:  # torch has many kinds, which name every tensor
        raise ModelError(f"loading a model: its tensors are not those of {architecture}") from error
    for part in net.modules():
        _check_tables(part)
    with torch.no_grad():
        return net.eval().double()


def _check_tables(part: Any) -> None:  # noqa: ANN401  # a module of torch
    """Raise ModelError for tables that lead the entropy coder, which checks nothing, astray."""
    if getattr(part, "_quantized_cdf", None) is None:
        return
    tables, sizes, offsets = (
        np.asarray(one, np.int64) for one in (part._quantized_cdf, part._cdf_length, part._offset)
    )
    if tables.ndim != 2 or not tables.size or not sizes.shape == offsets.shape == tables.shape[:1]:
        raise ModelError("loading a model: its entropy tables have the wrong shape")
    for row, size, offset in zip(tables, sizes, offsets, strict=True):
        sums = row[: max(size, 0)]
        if (
            not _SMALLEST_TABLE <= size <= len(row)
            or (sums[0], sums[-1]) != (0, _TABLE_SUM)
            or not (np.diff(sums) > 0).all()
            or abs(offset) > _FARTHEST
        ):
            raise ModelError("loading a model: an entropy table holds no sums of frequencies")


def writer() -> str:
    """Return what a record says of who wrote it."""
    versions = (f"{name} {version(name)}" for name in ("compressai", "torch"))
    return f"{', '.join(versions)}, {platform.machine()} cpu, float64"


def compress(net: Any, picture: Picture) -> tuple[Strings, Picture]:  # noqa: ANN401
    """Return the strings of a picture (3, y, x) of 0 to 1, and what they decode to here.

    What is decoded is compared with what the model reconstructs without an entropy coder: raises
    CodecError where they are apart, for then the strings mean something else to the decoder.
    """
    import torch

    given = torch.from_numpy(_padded(picture))[None]
    with torch.no_grad(), _doubles():
        found = net.compress(given)
        expected = net(given)["x_hat"][0].numpy()
    rows, columns = map(int, found["shape"])
    strings = Strings((rows, columns), [bytes(one[0]) for one in found["strings"]])
    whole = _decompressed(net, strings, given.shape[1:])
    size = given[0].numpy()
    there, here = (float(np.square(np.clip(one, 0, 1) - size).mean()) for one in (expected, whole))
    if not here <= 2.0 * there + (2.0 / 255) ** 2:
        raise CodecError(
            "checking a record: what compressai decoded is not what it coded; its entropy coder "
            "cannot be relied on here"
        )
    rows, columns = picture.shape[1:]
    return strings, whole[:, :rows, :columns]


def decompress(net: Any, strings: Strings, rows: int, columns: int) -> Picture:  # noqa: ANN401
    """Return the picture (3, rows, columns) of strings, not trusted; raises ValueError."""
    sides = (3, -(-rows // MULTIPLE) * MULTIPLE, -(-columns // MULTIPLE) * MULTIPLE)
    return _decompressed(net, strings, sides)[:, :rows, :columns]


def _decompressed(net: Any, strings: Strings, sides: tuple[int, ...]) -> Picture:  # noqa: ANN401
    import torch

    # its coder reads on where a string ends: zeros stand there, as many as it may want
    spare = bytes(_SPARE + 8 * net_symbols(net, sides))
    with torch.no_grad(), _doubles():
        found = net.decompress([[one + spare] for one in strings.strings], strings.shape)["x_hat"]
    if tuple(found.shape) != (1, *sides):
        raise ValueError(f"a picture of {tuple(found.shape)}")
    whole: Picture = found[0].numpy()
    return whole


def _doubles() -> AbstractContextManager[Any]:
    """Let arrays that models make of nothing be doubles, in this thread: serial ones make some."""
    import torch
    from torch.overrides import TorchFunctionMode

    class Doubles(TorchFunctionMode):
        def __torch_function__(
            self,
            function: Callable[..., object],
            types: object,
            args: tuple[object, ...] = (),
            kwargs: dict[str, object] | None = None,
        ) -> object:
            kwargs = kwargs or {}
            if function is torch.zeros and "dtype" not in kwargs:
                kwargs["dtype"] = torch.float64
            return function(*args, **kwargs)

    return Doubles()


def net_symbols(net: Any, sides: tuple[int, ...]) -> int:  # noqa: ANN401
    """Return how many numbers the latents of a picture have, at most."""
    channels = max(
        int(tensor.shape[0]) for tensor in net.state_dict().values() if tensor.dim() == 4
    )
    return channels * sides[1] * sides[2] // 64


def _padded(picture: Picture) -> Picture:
    rows, columns = picture.shape[1:]
    padding = ((0, 0), (0, -rows % MULTIPLE), (0, -columns % MULTIPLE))
    return np.pad(picture, padding, mode="edge")
