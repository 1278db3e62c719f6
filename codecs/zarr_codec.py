"""Let Zarr v3 arrays use TileCodec: the array-to-bytes codec ``tilepress.tile``."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
from zarr.abc.codec import ArrayBytesCodec, ArrayBytesCodecPartialDecodeMixin
from zarr.registry import register_codec

from tilepress.codecs.coder import BASE
from tilepress.codecs.config import CodecConfig
from tilepress.codecs.decoded import decoded_chunks, key_of
from tilepress.codecs.numbers import shown
from tilepress.codecs.registry import has_decoders
from tilepress.codecs.threads import gather_chunks, run_chunk
from tilepress.codecs.tile import (
    CODEC_NAME,
    TileCodec,
    check_chunk,
    codec_of,
    decode_chunk,
    decode_planes,
    encode_chunk,
)
from tilepress.errors import UnsupportedFormat

if TYPE_CHECKING:
    from zarr.abc.store import ByteGetter
    from zarr.core.array_spec import ArraySpec
    from zarr.core.buffer import Buffer, NDBuffer
    from zarr.core.chunk_grids import ChunkGrid
    from zarr.core.common import JSON
    from zarr.core.dtype.wrapper import TBaseDType, TBaseScalar, ZDType
    from zarr.core.indexing import SelectorTuple

__all__ = ["ChosenDecoder", "TilepressTileV3", "read_by"]


def _as_dict(config: object) -> dict[str, Any]:
    """Return a configuration that is one, so that it can be text; raises as ``from_config``."""
    if not isinstance(config, Mapping):
        raise UnsupportedFormat(f"making a codec: got configuration {shown(config)}")
    CodecConfig.parse(dict(config))
    return dict(config)


Array = npt.NDArray[Any]


@dataclass(frozen=True, init=False)
class TilepressTileV3(ArrayBytesCodecPartialDecodeMixin, ArrayBytesCodec):
    """A Zarr v3 serializer; inside ``sharding_indexed`` or for whole chunks.

    What it decodes, the process keeps for the next window (decoded.py). Of a chunk of several
    planes of which a read wants half of them or fewer, only those are decoded the first time.

    It holds nothing but its configuration, so that a pickled array stays small: the TileCodec with
    its weights lives in a table of the process.
    """

    is_fixed_size: ClassVar[bool] = False  # type: ignore[misc]

    configuration: str
    """The codec configuration (FORMAT.md) as JSON text with sorted keys."""
    decoder: str
    """By what it decodes, as the reader chose: metadata of arrays never say it."""

    def __init__(
        self, codec: TileCodec | Mapping[str, Any] | None = None, decoder: str | None = None
    ) -> None:
        """Take a TileCodec, or its configuration; None means the lossless default.

        ``decoder`` is by default the TileCodec's, else "base".
        """
        codec = TileCodec() if codec is None else codec
        config = codec.to_config() if isinstance(codec, TileCodec) else _as_dict(codec)
        chosen = codec.decoder if isinstance(codec, TileCodec) else BASE
        object.__setattr__(self, "configuration", json.dumps(config, sort_keys=True))
        object.__setattr__(self, "decoder", chosen if decoder is None else decoder)
        _ = self.codec  # what cannot be made is refused here

    @property
    def codec(self) -> TileCodec:
        return codec_of(self.configuration, self.decoder)

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
        return spec.prototype.nd_buffer.from_numpy_array(self._samples(record, spec))

    def _decode_part(self, item: tuple[Buffer | None, SelectorTuple, ArraySpec]) -> NDBuffer | None:
        record, selection, spec = item
        if record is None:
            return None
        samples = self._samples(record, spec, _planes_of(selection, tuple(spec.shape)))
        return spec.prototype.nd_buffer.from_numpy_array(samples)[selection]

    def _samples(self, record: Buffer, spec: ArraySpec, planes: list[int] | None = None) -> Array:
        """Return the chunk that a record holds, as the process keeps it: not to be written to.

        Where only ``planes`` are wanted, the others may hold anything.
        """
        data = memoryview(record.as_numpy_array())  # type: ignore[arg-type]  # numpy < 2.5 stubs
        shape, dtype = tuple(spec.shape), spec.dtype.to_native_dtype()
        by = self.configuration if self.decoder == BASE else f"{self.configuration}{self.decoder}"
        chunks, key = decoded_chunks(), key_of(by, data, shape, dtype)
        kept = chunks.get(key, data)
        if kept is not None:
            return kept
        if planes is not None and not chunks.seen(key):
            return decode_planes(self.codec, data, shape, dtype, planes)
        return chunks.put(key, data, decode_chunk(self.codec, data, shape, dtype))

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

    async def _decode_partial_single(
        self, byte_getter: ByteGetter, selection: SelectorTuple, chunk_spec: ArraySpec
    ) -> NDBuffer | None:
        record = await byte_getter.get(chunk_spec.prototype)
        (part,) = await gather_chunks(self._decode_part, [(record, selection, chunk_spec)])
        return part

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


_CHOSEN_NAME = f"{CODEC_NAME}.chosen"


class ChosenDecoder(TilepressTileV3):
    """The codec of an array that is read by another decoder than the base.

    No store has it in its metadata: ``read_by`` puts it into documents on their way to Zarr, and
    Zarr knows it in processes alone that have imported this module.
    """

    @classmethod
    def from_dict(cls, data: dict[str, JSON]) -> Self:
        chosen: Any = data
        return cls(chosen["configuration"], chosen["decoder"])

    def to_dict(self) -> dict[str, JSON]:
        return {**super().to_dict(), "name": _CHOSEN_NAME, "decoder": self.decoder}


register_codec(_CHOSEN_NAME, ChosenDecoder)


def read_by(document: bytes, decoder: str) -> bytes:
    """Return a metadata document of which arrays of codecs with several decoders have this one."""

    def chosen(node: object) -> object:
        if isinstance(node, list):
            return [chosen(one) for one in node]
        if not isinstance(node, dict):
            return node
        config = node.get("configuration")
        if node.get("name") == CODEC_NAME and isinstance(config, dict):
            if not has_decoders(config.get("codec")):
                return node
            return {**node, "name": _CHOSEN_NAME, "decoder": decoder}
        return {key: chosen(value) for key, value in node.items()}

    return json.dumps(chosen(json.loads(document))).encode()


def _planes_of(selection: SelectorTuple, shape: tuple[int, ...]) -> list[int] | None:
    """Return which planes of a chunk a selection wants; None where that is most of them."""
    leading = shape[:-2]
    if not isinstance(selection, tuple) or len(selection) != len(shape):
        return None
    some = selection[: len(leading)]
    if not all(isinstance(one, int | np.integer | slice) for one in some):
        return None
    count = math.prod(leading)
    planes = np.arange(count).reshape(leading)[some]
    return [int(one) for one in np.ravel(planes)] if 2 * np.size(planes) <= count else None
