"""Files and folders of this machine: written whole, synced, renamed."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, cast

from tilepress.pipeline.storage.atomic import (
    PARTIAL_SUFFIX,
    file_lock,
    make_directory,
    sweep_partials,
    sync_directory,
    write_atomic,
    write_new,
)
from tilepress.pipeline.storage.regular import open_regular, read_regular

if TYPE_CHECKING:
    from zarr.abc.store import Store

__all__ = ["FolderPath"]


@dataclass(frozen=True, slots=True)
class FolderPath:
    """A file or folder of this machine."""

    conditional: ClassVar[bool] = False

    path: Path

    def __fspath__(self) -> str:
        return str(self.path)

    def __repr__(self) -> str:
        return f"FolderPath({str(self)!r})"

    def __str__(self) -> str:
        return str(self.path)

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def stem(self) -> str:
        return self.path.stem

    @property
    def suffix(self) -> str:
        return self.path.suffix

    @property
    def parent(self) -> FolderPath:
        return FolderPath(self.path.parent)

    def __truediv__(self, key: str) -> FolderPath:
        return FolderPath(self.path / key)

    def relative_to(self, other: object) -> str:
        if not isinstance(other, FolderPath):
            raise ValueError(f"{self} is not below {other}")  # noqa: TRY004  # as pathlib says it
        return self.path.relative_to(other.path).as_posix()

    def read(self, limit_bytes: int | None = None) -> bytes:
        if limit_bytes is not None:
            return read_regular(self.path, limit_bytes)
        with open_regular(self.path) as file:  # of an archive that somebody else has made: no pipe
            return file.read()

    def read_tagged(self) -> tuple[bytes, str] | None:
        try:
            with open_regular(self.path) as file:
                data = file.read()
        except FileNotFoundError:
            return None
        return data, hashlib.sha256(data).hexdigest()

    def size(self) -> int | None:
        try:
            return self.path.stat().st_size
        except (FileNotFoundError, NotADirectoryError):
            return None

    def tag(self) -> str | None:
        try:
            found = self.path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        return f"{found.st_size}-{found.st_mtime_ns}"

    def sha256(self) -> str | None:
        try:
            with open_regular(self.path) as file:
                return hashlib.file_digest(cast(BufferedReader, file), "sha256").hexdigest()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def write(self, data: bytes | memoryview) -> None:
        write_atomic(self.path, data)

    def create(self, data: bytes | memoryview) -> bool:
        return write_new(self.path, data)

    def swap(self, data: bytes | memoryview, tag: str) -> bool:
        with self.parent.guard():
            found = self.read_tagged()
            if found is None or found[1] != tag:
                return False
            write_atomic(self.path, data)
        return True

    def remove(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            self.path.unlink()
            sync_directory(self.path.parent)

    def remove_all(self, keys: Sequence[str]) -> None:
        folders = set()
        for key in keys:
            path = self.path / key
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
            folders.add(path.parent)
        for folder in folders:
            with contextlib.suppress(FileNotFoundError):
                sync_directory(folder)
        for folder in folders:
            self._remove_empty_above(folder)

    def _remove_empty_above(self, folder: Path) -> None:
        """Remove a folder and those above it where nothing is in them, but this one's own."""
        with contextlib.suppress(OSError):
            while folder != self.path:
                folder.rmdir()
                folder = folder.parent

    def remove_tree(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(self.path)

    def remove_empty(self) -> None:
        with contextlib.suppress(OSError):
            self.path.rmdir()

    def is_folder(self) -> bool:
        return self.path.is_dir()

    def exists(self) -> bool:
        return self.path.exists()

    def walk(self) -> Iterator[tuple[str, int]]:
        for folder, folders, files in os.walk(self.path):
            folders.sort()
            for file in sorted(files):
                path = Path(folder, file)
                with contextlib.suppress(FileNotFoundError):  # somebody else's temporary file
                    yield path.relative_to(self.path).as_posix(), path.lstat().st_size

    def folders(self) -> list[str]:
        with os.scandir(self.path) as entries:
            return sorted(e.name for e in entries if e.is_dir(follow_symlinks=False))

    def sweep(self) -> None:
        sweep_partials(self.path)

    def age_s(self) -> float | None:
        try:
            written = self.path.stat().st_mtime
        except FileNotFoundError:
            return None
        handle, name = tempfile.mkstemp(
            prefix=".clock-", suffix=PARTIAL_SUFFIX, dir=self.path.parent
        )
        try:
            return os.fstat(handle).st_mtime - written
        finally:
            os.close(handle)
            os.unlink(name)

    def touch(self) -> bool:
        try:
            os.utime(self.path)
        except FileNotFoundError:
            return False
        return True

    def check_writable(self) -> None:
        make_directory(self.path)
        handle, name = tempfile.mkstemp(prefix=".tilepress-", suffix=PARTIAL_SUFFIX, dir=self.path)
        os.close(handle)
        os.unlink(name)

    def make_folder(self) -> None:
        make_directory(self.path)

    @contextlib.contextmanager
    def guard(self) -> Iterator[None]:
        with file_lock(self.path):
            yield

    def zarr_store(self, *, read_only: bool = True) -> Store:
        from zarr.storage import LocalStore

        return LocalStore(self.path, read_only=read_only)
