"""A Zarr store of somebody else's folder: regular files below it, and nothing else."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from zarr.abc.store import (
    ByteRequest,
    OffsetByteRequest,
    RangeByteRequest,
    SuffixByteRequest,
)
from zarr.storage import LocalStore

from tilepress.errors import DamagedSource
from tilepress.pipeline.storage.regular import open_regular

if TYPE_CHECKING:
    from zarr.core.buffer import Buffer, BufferPrototype

__all__ = ["ClosedStore"]


class ClosedStore(LocalStore):
    """Reads keys below a folder; a link may not lead out of it, and no pipe is waited for.

    A key that is refused raises DamagedSource: as a missing one, it would read as fill values.
    """

    def __init__(self, root: Path | str, *, read_only: bool = True) -> None:
        super().__init__(Path(root), read_only=True)

    async def get(
        self,
        key: str,
        prototype: BufferPrototype | None = None,
        byte_range: ByteRequest | None = None,
    ) -> Buffer | None:
        from zarr.core.buffer import default_buffer_prototype

        if not self._is_open:
            await self._open()
        wanted = prototype or default_buffer_prototype()
        data = await asyncio.to_thread(self._read, key, byte_range)
        return None if data is None else wanted.buffer.from_bytes(data)

    async def get_partial_values(
        self,
        prototype: BufferPrototype,
        key_ranges: Iterable[tuple[str, ByteRequest | None]],
    ) -> list[Buffer | None]:
        return [await self.get(key, prototype, part) for key, part in key_ranges]

    def get_sync(
        self,
        key: str,
        *,
        prototype: BufferPrototype | None = None,
        byte_range: ByteRequest | None = None,
    ) -> Buffer | None:
        from zarr.core.buffer import default_buffer_prototype

        data = self._read(key, byte_range)
        wanted = prototype or default_buffer_prototype()
        return None if data is None else wanted.buffer.from_bytes(data)

    def _read(self, key: str, part: ByteRequest | None) -> bytes | None:
        """Return a part of what lies under a key, all by default; None where nothing does."""
        path = self.root / key
        try:
            with open_regular(path, (self.root,)) as file:
                size = os.fstat(file.fileno()).st_size
                start, stop = _range(part, size)
                file.seek(start)
                return file.read(stop - start)
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
            if path.is_symlink():
                text = f"reading {self.root.name}: {key}: it is a link that leads to no file"
                raise DamagedSource(text) from error
            return None
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise DamagedSource(f"reading {self.root.name}: {key}: {reason}") from error


def _range(part: ByteRequest | None, size: int) -> tuple[int, int]:
    """Return the first byte of a part and the one after its last."""
    if isinstance(part, RangeByteRequest):
        return min(part.start, size), min(max(part.start, part.end), size)
    if isinstance(part, OffsetByteRequest):
        return min(part.offset, size), size
    if isinstance(part, SuffixByteRequest):
        return max(0, size - part.suffix), size
    return 0, size
