"""Let Zarr v2-format arrays use TileCodec: the numcodecs codec ``tilepress_tile``."""

from __future__ import annotations

import json
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
from numcodecs.abc import Codec
from typing_extensions import Buffer

from tilepress.codecs.config import CodecConfig
from tilepress.codecs.decoded import decoded_chunks, key_of
from tilepress.codecs.numbers import shown
from tilepress.codecs.threads import run_chunk
from tilepress.codecs.tile import TileCodec, codec_of, encode_chunk
from tilepress.errors import UnsupportedArray, UnsupportedFormat

__all__ = ["TilepressTile"]

_TARGETS = ("quality", "psnr", "bits_per_sample", "peak")
_ARGUMENTS = {"codec", "max_error", "nodata", "tier", "model", *_TARGETS}
"""What a configuration that people write, without a version, may have."""


class TilepressTile(Codec):  # type: ignore[misc]
    """The compressor of a Zarr v2-format array whose chunks have at least two axes (…, y, x).

    Prefer v3 with sharding: this form has neither shards nor a checked dtype and shape. The array's
    byte order must be the machine's: a record keeps none, and Zarr v2 takes decoded bytes as they
    are.

    It imports no Zarr: that may be 2.18 here. What is decoded, the process keeps (decoded.py).
    """

    codec_id: ClassVar[str] = "tilepress_tile"

    def __init__(
        self,
        codec: str | None = None,
        *,
        max_error: float = 0,
        nodata: float | int | None = None,
        tier: str = "standard",
        model: str = "auto",
        **targets: float | None,
    ) -> None:
        """Take the arguments of TileCodec that configurations have; raises TypeError for others."""
        unknown = targets.keys() - set(_TARGETS)
        if unknown:
            raise TypeError(f"got an unexpected keyword argument {min(unknown)!r}")
        self._take(TileCodec(codec, max_error, nodata, tier, model, **_given(targets)).to_config())

    def _take(self, config: dict[str, Any]) -> None:
        self._configuration = json.dumps(config, sort_keys=True)
        codec_of(self._configuration)

    @property
    def _codec(self) -> TileCodec:
        return codec_of(self._configuration)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Take what ``get_config`` gave, or the arguments of the constructor."""
        if not isinstance(config, dict):
            raise UnsupportedFormat(f"reading a codec configuration: got {shown(config)}")
        if "version" not in config:
            if not all(isinstance(key, str) and key in _ARGUMENTS for key in config):
                raise UnsupportedFormat(
                    f"reading a codec configuration: got {shown(list(config))}, "
                    f"want some of {sorted(_ARGUMENTS)}"
                )
            return cls(**config)
        new = cls.__new__(cls)
        given = {k: v for k, v in config.items() if k != "id"}
        CodecConfig.parse(given)
        new._take(given)
        return new

    def get_config(self) -> dict[str, Any]:
        return {"id": self.codec_id, **self._codec.to_config()}

    def encode(self, buf: npt.ArrayLike) -> bytes:
        """Encode an array of ≥ 2 axes; one in Fortran order is coded as it lies in memory.

        Raises UnsupportedArray for a foreign byte order, which a v2 array would read back wrongly.
        """
        chunk = np.asarray(buf)
        if chunk.ndim < 2:
            raise UnsupportedArray(
                f"coding with {self.codec_id}: got {chunk.ndim} axes, want at least (y, x); "
                "no filter may come before this codec"
            )
        if not chunk.dtype.isnative:
            raise UnsupportedArray(
                f"coding with {self.codec_id}: dtype {chunk.dtype.str} has a foreign byte order, "
                "which a Zarr v2 array would read back wrongly; "
                f"want {chunk.dtype.newbyteorder('=').str}"
            )
        chunk = _as_it_lies(chunk)
        return run_chunk(lambda item: encode_chunk(self._codec, item), chunk)

    def decode(self, buf: Buffer, out: npt.NDArray[Any] | None = None) -> npt.NDArray[Any]:
        """Decode a record to (planes, y, x) or (y, x); fill ``out`` where one is given.

        Raises UnsupportedArray where ``out`` is no writable array of that dtype and shape; its
        leading axes count as planes, and Fortran order is filled as it lies in memory.
        """
        array = run_chunk(self._samples, memoryview(buf).cast("B"))
        if out is None:
            return array if array.flags.writeable else array.copy()
        _fill(out, array)
        return out

    def _samples(self, record: memoryview) -> npt.NDArray[Any]:
        chunks, key = decoded_chunks(), key_of(self._configuration, record)
        kept = chunks.get(key, record)
        return chunks.put(key, record, self._codec.decode(record)) if kept is None else kept

    def __repr__(self) -> str:
        config = self.get_config()
        return f"{type(self).__name__}(codec={config['codec']!r}, max_error={config['max_error']})"


def _given(targets: dict[str, float | None]) -> dict[str, Any]:
    return {name: value for name, value in targets.items() if value is not None}


def _as_it_lies(chunk: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return an array in Fortran order with its axes turned round, so that it is in C order."""
    if chunk.flags.f_contiguous and not chunk.flags.c_contiguous:
        return chunk.T
    return chunk


def _fill(out: npt.NDArray[Any], array: npt.NDArray[Any]) -> None:
    """Copy what was decoded into an array whose leading axes may not be flattened."""
    found = "no array" if not isinstance(out, np.ndarray) else f"{out.dtype.str} of {out.shape}"
    if isinstance(out, np.ndarray) and out.flags.writeable and out.dtype == array.dtype:
        lying = _as_it_lies(out)
        planes = (lying.size // (lying.shape[-2] * lying.shape[-1] or 1),) if lying.ndim > 2 else ()
        if lying.flags.c_contiguous and (*planes, *lying.shape[-2:]) == array.shape:
            lying.reshape(array.shape)[...] = array
            return
    raise UnsupportedArray(
        f"decoding with {TilepressTile.codec_id}: out is {found}, "
        f"want a writable, contiguous array {array.dtype.str} of {array.shape}"
    )
