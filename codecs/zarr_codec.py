"""Let Zarr v3 arrays use TileCodec: the array-to-bytes codec ``tilepress.tile``."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, Self

from zarr.abc.codec import ArrayBytesCodec

from tilepress.codecs.config import CodecConfig
from tilepress.codecs.numbers import shown
from tilepress.codecs.threads import gather_chunks, run_chunk
from tilepress.codecs.tile import (
    CODEC_NAME,
    TileCodec,
    check_chunk,
    decode_chunk,
    encode_chunk,
)
from tilepress.errors import UnsupportedFormat

if TYPE_CHECKING:
    from zarr.core.array_spec import ArraySpec
    from zarr.core.buffer import Buffer, NDBuffer
    from zarr.core.chunk_grids import ChunkGrid
    from zarr.core.common import JSON
    from zarr.core.dtype.wrapper import TBaseDType, TBaseScalar, ZDType

__all__ = ["TilepressTileV3"]


@lru_cache(maxsize=64)
def _open_codec(configuration: str) -> TileCodec:
    return TileCodec.from_config(json.loads(configuration))


def _as_dict(config: object) -> dict[str, Any]:
    """Return a configuration that is one, so that it can be text; raises as ``from_config``."""
    if not isinstance(config, Mapping):
        raise UnsupportedFormat(f"making a codec: got configuration {shown(config)}")
    CodecConfig.parse(dict(config))
    return dict(config)


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
        config = codec.to_config() if isinstance(codec, TileCodec) else _as_dict(codec)
        object.__setattr__(self, "configuration", json.dumps(config, sort_keys=True))
        _open_codec(self.configuration)

    @property
    def codec(self) -> TileCodec:
        return _open_codec(self.configuration)

    @classmethod
    def from_dict(cls, data: dict[str, JSON]) -> Self:
        named = isinstance(data, Mapping) and data.get("name") == CODEC_NAME
        config = data.get("configuration") if named else None
        if not isinstance(config, Mapping):
            raise UnsupportedFormat(
                f"reading a codec's metadata: got {shown(data)}, "
                f"want name {CODEC_NAME!r} with a configuration"
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
