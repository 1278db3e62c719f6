"""Let Zarr v3 arrays use TileCodec: the array-to-bytes codec ``tilepress.tile``."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
from zarr.abc.codec import ArrayBytesCodec

from tilepress.codecs.record import DTYPES
from tilepress.codecs.threads import gather_chunks, run_chunk
from tilepress.codecs.tile import TileCodec
from tilepress.errors import UnsupportedArray, UnsupportedFormat

if TYPE_CHECKING:
    from zarr.core.array_spec import ArraySpec
    from zarr.core.buffer import Buffer, NDBuffer
    from zarr.core.chunk_grids import ChunkGrid
    from zarr.core.common import JSON
    from zarr.core.dtype.wrapper import TBaseDType, TBaseScalar, ZDType

__all__ = ["CODEC_NAME", "TilepressTileV3", "decode_chunk", "encode_chunk"]

CODEC_NAME = "tilepress.tile"


def encode_chunk(codec: TileCodec, chunk: npt.NDArray[Any]) -> bytes:
    """Encode a chunk of ≥ 2 axes, (…, y, x), as one record.

    Leading axes are flattened to planes in C order; the last of them is told to the codec as the
    number of bands that go together.
    """
    check_chunk(chunk.shape, chunk.dtype)
    if chunk.ndim == 2:
        return codec.encode(np.ascontiguousarray(chunk))
    planes = np.ascontiguousarray(chunk).reshape(-1, *chunk.shape[-2:])
    return codec.encode(planes, bands=chunk.shape[-3])


def decode_chunk(
    codec: TileCodec, record: bytes | memoryview, shape: tuple[int, ...], dtype: np.dtype[Any]
) -> npt.NDArray[Any]:
    """Decode a record that must hold a chunk of this shape and dtype."""
    check_chunk(shape, dtype)
    wanted = shape if len(shape) == 2 else (math.prod(shape[:-2]), *shape[-2:])
    return codec.decode(record, expect=(wanted, dtype)).reshape(shape)


def check_chunk(shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    """Raise UnsupportedArray for a chunk that no record can hold."""
    if len(shape) < 2:
        raise UnsupportedArray(
            f"coding with {CODEC_NAME}: the array has {len(shape)} axes, want at least (y, x)"
        )
    if dtype.name not in DTYPES:
        raise UnsupportedArray(
            f"coding with {CODEC_NAME}: dtype {dtype} is not supported; "
            f"supported are {', '.join(DTYPES)}"
        )


@lru_cache(maxsize=64)
def _open_codec(configuration: str) -> TileCodec:
    return TileCodec.from_config(json.loads(configuration))


@dataclass(frozen=True, init=False)
class TilepressTileV3(ArrayBytesCodec):
    """A Zarr v3 serializer; inside ``sharding_indexed`` or for whole chunks.

    It holds nothing but its configuration, so that a pickled array stays small: the TileCodec with
    its weights lives in a table of the process.
    """

    is_fixed_size: ClassVar[bool] = False  # type: ignore[misc]

    configuration: str
    """The codec configuration (FORMAT.md) as JSON text with sorted keys."""

    def __init__(self, codec: TileCodec | Mapping[str, Any] | None = None) -> None:
        """Take a TileCodec, or its configuration; None means the lossless default."""
        codec = TileCodec() if codec is None else codec
        config = codec.to_config() if isinstance(codec, TileCodec) else dict(codec)
        object.__setattr__(self, "configuration", json.dumps(config, sort_keys=True))
        _open_codec(self.configuration)  # refuses what it does not understand

    @property
    def codec(self) -> TileCodec:
        return _open_codec(self.configuration)

    @classmethod
    def from_dict(cls, data: dict[str, JSON]) -> Self:
        config = data.get("configuration")
        if data.get("name") != CODEC_NAME or not isinstance(config, Mapping):
            raise UnsupportedFormat(
                f"reading a codec's metadata: got name {data.get('name')!r} with keys "
                f"{sorted(data)}, want {CODEC_NAME!r} with a configuration"
            )
        return cls(config)

    def to_dict(self) -> dict[str, JSON]:
        return {"name": CODEC_NAME, "configuration": json.loads(self.configuration)}

    def compute_encoded_size(self, input_byte_length: int, chunk_spec: ArraySpec) -> int:
        raise NotImplementedError("the size of a record depends on the samples")

    def evolve_from_array_spec(self, array_spec: ArraySpec) -> Self:
        check_chunk(tuple(array_spec.shape), array_spec.dtype.to_native_dtype())
        return self

    def validate(
        self,
        *,
        shape: tuple[int, ...],
        dtype: ZDType[TBaseDType, TBaseScalar],
        chunk_grid: ChunkGrid,
    ) -> None:
        check_chunk(tuple(shape), dtype.to_native_dtype())

    # One function each way; every method of Zarr's feeds it to the pool of threads.

    def _decode(self, item: tuple[Buffer | None, ArraySpec]) -> NDBuffer | None:
        record, spec = item
        if record is None:
            return None
        array = decode_chunk(
            self.codec,
            memoryview(record.as_numpy_array()),  # type: ignore[arg-type]  # numpy < 2.5 stubs
            tuple(spec.shape),
            spec.dtype.to_native_dtype(),
        )
        return spec.prototype.nd_buffer.from_numpy_array(array)

    def _encode(self, item: tuple[NDBuffer | None, ArraySpec]) -> Buffer | None:
        chunk, spec = item
        if chunk is None:
            return None
        record = encode_chunk(self.codec, chunk.as_numpy_array())
        return spec.prototype.buffer.from_bytes(record)

    async def decode(
        self, chunks_and_specs: Iterable[tuple[Buffer | None, ArraySpec]]
    ) -> Iterable[NDBuffer | None]:
        return await gather_chunks(self._decode, chunks_and_specs)

    async def encode(
        self, chunks_and_specs: Iterable[tuple[NDBuffer | None, ArraySpec]]
    ) -> Iterable[Buffer | None]:
        return await gather_chunks(self._encode, chunks_and_specs)

    async def _decode_single(self, chunk_data: Buffer, chunk_spec: ArraySpec) -> NDBuffer:
        (array,) = await gather_chunks(self._decode, [(chunk_data, chunk_spec)])
        assert array is not None
        return array

    async def _encode_single(self, chunk_data: NDBuffer, chunk_spec: ArraySpec) -> Buffer | None:
        (record,) = await gather_chunks(self._encode, [(chunk_data, chunk_spec)])
        return record

    def _decode_sync(self, chunk_data: Buffer, chunk_spec: ArraySpec) -> NDBuffer:
        array = run_chunk(self._decode, (chunk_data, chunk_spec))
        assert array is not None
        return array

    def _encode_sync(self, chunk_data: NDBuffer, chunk_spec: ArraySpec) -> Buffer | None:
        return run_chunk(self._encode, (chunk_data, chunk_spec))
