"""Fetch and decode single chunks of a coded array, with nothing of Zarr in between.

A patch of 224² is made in 50 µs; Zarr's way to one chunk takes a millisecond beside the decoding.
What is here can be pickled and forked: files are opened for each read, and no thread is kept.
"""

from __future__ import annotations

import math
import os
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tilepress.codecs.recent import Recent
from tilepress.codecs.record import crc32c
from tilepress.codecs.tile import codec_of, decode_chunk
from tilepress.errors import DamagedStore, UsageError
from tilepress.pipeline.image.grid import ShardGrid
from tilepress.pipeline.storage.local import FolderPath
from tilepress.pipeline.store.keys import Separator, shard_key
from tilepress.pipeline.store.reader import StoreReader

if TYPE_CHECKING:
    from tilepress.pipeline.storage.path import StoragePath

__all__ = ["Chunk", "CodedArray", "Records"]

Chunk = tuple[int, ...]
Array = npt.NDArray[Any]

INDEX_BYTES = 64 * 2**20
"""What a process keeps of the indexes of shards."""

_ABSENT = 2**64 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class CodedArray:
    """An array of a sealed store, and all that decoding one of its chunks takes. Picklable."""

    store: StoragePath
    where: str
    """The store as text, which is made once."""
    name: str
    """"image", "1/image" …, "mask"."""
    grid: ShardGrid
    dtype: np.dtype[Any]
    separator: Separator
    configuration: str
    """The codec configuration as JSON."""
    opener: int = field(default_factory=os.getpid, compare=False)
    """The process that opened it, which a fork of it is not."""

    @classmethod
    def of(cls, reader: StoreReader, name: str) -> CodedArray:
        """Return an array of an open store by its name."""
        dtype = np.dtype(np.uint8) if name == "mask" else reader.dtype
        return cls(
            store=reader.path,
            where=str(reader.path),
            name=name,
            grid=reader.grid(name),
            dtype=dtype,
            separator=reader.separator,
            configuration=reader.codec(name).configuration,
        )

    def __reduce__(self) -> tuple[Any, ...]:
        fields = {name: getattr(self, name) for name in self.__slots__ if name != "opener"}
        return _unpickled, (fields,)

    @property
    def most_bytes(self) -> int:
        """Bytes of a record at most (FORMAT.md §2), with room to spare."""
        return 2 * math.prod(self.grid.chunk) * self.dtype.itemsize + 2**20

    def key(self, shard: Chunk) -> str:
        return shard_key(self.name, shard, self.separator)

    def decode(self, record: bytes, planes: tuple[int, ...] | None = None) -> Array:
        """Return the samples of a record: of the whole chunk, or (planes, y, x) of some.

        Planes are numbered in C order of the chunk's leading axes.
        """
        codec, chunk = codec_of(self.configuration), self.grid.chunk
        if planes is None or len(chunk) == 2:
            return decode_chunk(codec, record, chunk, self.dtype)
        shape = (math.prod(chunk[:-2]), *chunk[-2:])
        return codec.decode(record, expect=(shape, self.dtype), planes=planes)


def _unpickled(fields: dict[str, Any]) -> CodedArray:
    return CodedArray(**fields)


class Records:
    """Records of chunks, fetched as they are asked for; the indexes of shards are kept."""

    def __init__(self) -> None:
        self._indexes: Recent[tuple[str, str], Array] = Recent(INDEX_BYTES, lambda one: one.nbytes)

    def get(self, array: CodedArray, chunk: Chunk) -> bytes:
        """Return the record of a chunk, by its number along each axis.

        Raises DamagedStore where it is not there, UsageError in a fork of a process that had opened
        a remote store: its connections do not survive that.
        """
        shard, inside = array.grid.place_of(chunk)
        key = array.key(shard)
        source = _File(array, key) if isinstance(array.store, FolderPath) else _Object(array, key)
        index = self._index(array, key, source)
        start, length = (int(number) for number in index[inside])
        if start == _ABSENT or start + length > 2**63 or length > array.most_bytes:
            raise DamagedStore(f"reading {array.store.name}: {key}: no record of chunk {chunk}")
        record = source.read(start, length)
        if len(record) != length:
            raise DamagedStore(f"reading {array.store.name}: {key} is cut")
        return record

    def _index(self, array: CodedArray, key: str, source: _File | _Object) -> Array:
        """Return offset and length of every record of a shard, (chunks of a shard…, 2)."""
        name = array.where, key
        index = self._indexes.get(name)
        if index is None:
            counts = array.grid.chunks_per_shard
            data = source.end(16 * math.prod(counts) + 4)
            found = int.from_bytes(data[-4:], "little")
            if len(data) != 16 * math.prod(counts) + 4 or crc32c(data[:-4]) != found:
                raise DamagedStore(f"reading {array.store.name}: {key} has a damaged index")
            index = np.frombuffer(data[:-4], "<u8").reshape(*counts, 2)
            self._indexes.put(name, index)
        return index


class _File:
    """A shard on this machine."""

    def __init__(self, array: CodedArray, key: str) -> None:
        self._path, self._what = str(array.store / key), f"{array.store.name}: {key}"

    def read(self, start: int, length: int) -> bytes:
        return self._read(lambda file: os.pread(file, length, start))

    def end(self, length: int) -> bytes:
        return self._read(
            lambda file: os.pread(file, length, max(0, os.fstat(file).st_size - length))
        )

    def _read(self, take: Any) -> bytes:  # noqa: ANN401  # what reads of an open file
        try:
            file = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except FileNotFoundError as error:
            text = f"reading {self._what} is missing, or the store was replaced: open it again"
            raise DamagedStore(text) from error
        try:
            if not stat.S_ISREG(os.fstat(file).st_mode):  # a pipe could be waited for for ever
                raise DamagedStore(f"reading {self._what} is no file")
            found: bytes = take(file)
        finally:
            os.close(file)
        return found


class _Object:
    """A shard in a bucket or on a web server."""

    def __init__(self, array: CodedArray, key: str) -> None:
        if array.opener != os.getpid():
            raise UsageError(
                f"reading {array.store}: the connections of the process that opened it do not "
                "survive a fork; give the DataLoader multiprocessing_context='spawn'"
            )
        self._key, self._what = key, f"{array.store.name}: {key}"
        store: Any = array.store.zarr_store()
        self._store = store.store

    def read(self, start: int, length: int) -> bytes:
        return self._get({"range": (start, start + length)})

    def end(self, length: int) -> bytes:
        return self._get({"range": {"suffix": length}})

    def _get(self, options: Any) -> bytes:  # noqa: ANN401  # as obstore has it
        import obstore
        from obstore.exceptions import BaseError

        try:
            return bytes(obstore.get(self._store, self._key, options=options).bytes())
        except FileNotFoundError as error:
            text = f"reading {self._what} is missing, or the store was replaced: open it again"
            raise DamagedStore(text) from error
        except BaseError as error:
            raise OSError(5, f"the server failed ({type(error).__name__})", self._what) from None
