"""Stand between the program and the disk: write down each operation, or make one fail.

The program changes files through ``os`` alone (``pathlib``, ``shutil`` and ``tempfile`` do, too);
its functions are replaced while ``watched`` is at work. From what was written down, the state of
the disk after a crash behind any operation is put together again, in one of three ways:

    intact   everything that was done is there
    lost     what was not synced is not: files are empty, names are as before
    torn     of what was not synced some is there: half a file, a later name without an earlier one

A name is synced by a sync of its folder, bytes by one of their file; nothing else is promised by
POSIX, and no file system keeps less. ``test_the_journal_is_complete`` holds this to the real disk.
"""

from __future__ import annotations

import contextlib
import os
import random
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

Damage = Literal["intact", "lost", "torn"]

DAMAGES: tuple[Damage, ...] = ("intact", "lost", "torn")

NEVER = 1 << 60

Tree = dict[str, bytes | None]
"""Content by path below the root; None for a folder."""


@dataclass(slots=True)
class Operation:
    """One change of the disk, or one sync."""

    kind: str
    """create, write, sync, rename, link, unlink, mkdir, rmdir or utime."""
    path: str
    """Below the root."""
    inode: int = 0
    """Number of the file in this journal; 0 for folders."""
    target: str = ""
    data: bytes = b""
    synced_at: int = NEVER
    """Number of the operation since which this one survives a power cut."""

    @property
    def changes_names(self) -> bool:
        return self.kind in ("create", "rename", "link", "unlink", "mkdir", "rmdir")


@dataclass(slots=True)
class Journal:
    """The operations below one folder, and what was there before."""

    root: Path
    before: Tree = field(default_factory=dict)
    operations: list[Operation] = field(default_factory=list)
    _names: dict[str, int] = field(default_factory=dict)
    _inodes: int = 0

    def __post_init__(self) -> None:
        self.before = read_tree(self.root)
        for path, content in self.before.items():
            if content is not None:
                self._names[path] = self._new_inode()

    def __len__(self) -> int:
        return len(self.operations)

    def add(self, kind: str, path: str, target: str = "", data: bytes = b"") -> None:
        names = self._names
        inode = self._new_inode() if kind == "create" else names.get(path, 0)
        if kind == "create":
            names[path] = inode
        elif kind == "rename":
            assert os.path.dirname(path) == os.path.dirname(target), "moved between folders"
            names[target] = names.pop(path)
        elif kind == "link":
            names[target] = inode
        elif kind == "unlink":
            del names[path]
        elif kind == "sync":
            self._settle(path, inode)
        self.operations.append(Operation(kind, path, inode, target, data))

    def after(self, count: int, damage: Damage) -> Tree:
        """Return what a crash right behind the first ``count`` operations leaves."""
        dice = random.Random(count)
        names, contents, folders = self._start()
        for operation in self.operations[:count]:
            kept = operation.synced_at <= count or damage == "intact"
            if operation.kind == "write":
                whole = operation.data
                torn = whole[: len(whole) // 2] if damage == "torn" else b""
                contents[operation.inode] = contents.get(operation.inode, b"") + (
                    whole if kept else torn
                )
            elif operation.changes_names and (kept or (damage == "torn" and dice.random() < 0.5)):
                _rename(operation, names, folders)
        tree: Tree = dict.fromkeys(folders)
        tree |= {path: contents.get(inode, b"") for path, inode in names.items()}
        return {path: tree[path] for path in sorted(tree) if _parents(path) <= folders}

    def _start(self) -> tuple[dict[str, int], dict[int, bytes], set[str]]:
        names: dict[str, int] = {}
        contents: dict[int, bytes] = {}
        folders: set[str] = set()
        for path, content in self.before.items():
            if content is None:
                folders.add(path)
            else:
                names[path] = len(names) + 1
                contents[names[path]] = content
        return names, contents, folders

    def _settle(self, path: str, inode: int) -> None:
        number = len(self.operations) + 1
        for operation in self.operations:
            own = operation.inode == inode and inode and operation.kind == "write"
            named = not inode and operation.changes_names and _folder(operation.path) == path
            if operation.synced_at == NEVER and (own or named):
                operation.synced_at = number

    def _new_inode(self) -> int:
        self._inodes += 1
        return self._inodes


def _rename(operation: Operation, names: dict[str, int], folders: set[str]) -> None:
    path, kind = operation.path, operation.kind
    if kind == "create":
        names[path] = operation.inode
    elif kind == "rename":
        names.pop(path, None)
        names[operation.target] = operation.inode
    elif kind == "link":
        names[operation.target] = operation.inode
    elif kind == "unlink":
        names.pop(path, None)
    elif kind == "mkdir":
        folders.add(path)
    else:
        folders.discard(path)
        for below in [key for key in (*names, *folders) if key.startswith(f"{path}/")]:
            names.pop(below, None)
            folders.discard(below)


def _folder(path: str) -> str:
    return os.path.dirname(path) or "."


def _parents(path: str) -> set[str]:
    return {parent.as_posix() for parent in Path(path).parents} - {"."}


def read_tree(root: Path) -> Tree:
    """Return what lies below a folder."""
    return {
        path.relative_to(root).as_posix(): None if path.is_dir() else path.read_bytes()
        for path in sorted(root.rglob("*"))
    }


def write_tree(root: Path, tree: Tree) -> None:
    """Put a tree on the disk."""
    root.mkdir(parents=True)
    for path, content in tree.items():
        if content is None:
            (root / path).mkdir()
        else:
            (root / path).write_bytes(content)


Fault = Callable[[str, str], None]
"""Called before an operation with its kind and path; what it raises is what the disk says."""


@contextlib.contextmanager
def watched(root: Path, fault: Fault = lambda kind, path: None) -> Iterator[Journal]:
    """Write down what happens below ``root``, from any thread."""
    root = root.resolve()
    disk = _Disk(Journal(root), fault)
    originals = {name: getattr(os, name) for name in disk.replaced}
    disk.real = originals
    for name in originals:
        setattr(os, name, getattr(disk, name))
    try:
        yield disk.journal
    finally:
        for name, original in originals.items():
            setattr(os, name, original)


class _Disk:
    """Stands in for some functions of ``os``."""

    replaced = (
        "open", "write", "fsync", "replace", "rename", "link", "unlink", "remove", "mkdir", "rmdir",
        "utime", "truncate", "ftruncate",
    )  # fmt: skip

    def __init__(self, journal: Journal, fault: Fault) -> None:
        self.journal = journal
        self._fault = fault
        self._lock = threading.RLock()
        self.real: dict[str, Callable[..., Any]] = {}

    def open(
        self, path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None
    ) -> int:  # fmt: skip
        key = self._key(path, dir_fd)
        if key is None or not flags & (os.O_CREAT | os.O_WRONLY | os.O_RDWR):
            return int(self.real["open"](path, flags, mode, dir_fd=dir_fd))
        assert flags & os.O_EXCL, f"{key} is opened for writing in place"
        return int(self._do("create", key, "", "open", path, flags, mode, dir_fd=dir_fd))

    def write(self, descriptor: int, data: Any) -> int:
        key = self._key_of(descriptor)
        if key is None:
            return int(self.real["write"](descriptor, data))
        with self._lock:
            try:
                self._fault("write", key)
            except OSError:
                self.real["write"](descriptor, bytes(data)[: len(data) // 2])
                raise
            count = int(self.real["write"](descriptor, data))
            self.journal.add("write", key, data=bytes(data)[:count])
        return count

    def fsync(self, descriptor: int) -> None:
        key = self._key_of(descriptor)
        if key is None:
            self.real["fsync"](descriptor)
        else:
            self._do("sync", key, "", "fstat", descriptor)

    def replace(self, old: Any, new: Any, **options: Any) -> None:
        self._two("rename", "replace", old, new, options)

    def rename(self, old: Any, new: Any, **options: Any) -> None:
        self._two("rename", "rename", old, new, options)

    def link(self, old: Any, new: Any, **options: Any) -> None:
        self._two("link", "link", old, new, options)

    def unlink(self, path: Any, *, dir_fd: int | None = None) -> None:
        self._one("unlink", "unlink", path, dir_fd)

    def remove(self, path: Any, *, dir_fd: int | None = None) -> None:
        self._one("unlink", "remove", path, dir_fd)

    def rmdir(self, path: Any, *, dir_fd: int | None = None) -> None:
        self._one("rmdir", "rmdir", path, dir_fd)

    def mkdir(self, path: Any, mode: int = 0o777, *, dir_fd: int | None = None) -> None:
        self._one("mkdir", "mkdir", path, dir_fd, mode)

    def utime(self, path: Any, *arguments: Any, **options: Any) -> None:
        key = self._key(path, None)
        if key is None:
            self.real["utime"](path, *arguments, **options)
        else:
            self._do("utime", key, "", "utime", path, *arguments, **options)

    def truncate(self, path: Any, length: int) -> None:
        assert isinstance(path, int) or self._key(path, None) is None, f"{path} is cut in place"
        self.real["truncate"](path, length)

    def ftruncate(self, descriptor: int, length: int) -> None:
        assert self._key_of(descriptor) is None, "a file is cut in place"
        self.real["ftruncate"](descriptor, length)

    def _one(self, kind: str, name: str, path: Any, dir_fd: int | None, *more: Any) -> None:
        key = self._key(path, dir_fd)
        if key is None:
            self.real[name](path, *more, dir_fd=dir_fd)
        else:
            self._do(kind, key, "", name, path, *more, dir_fd=dir_fd)

    def _two(self, kind: str, name: str, old: Any, new: Any, options: dict[str, Any]) -> None:
        keys = self._key(old, None), self._key(new, None)
        if keys == (None, None):
            self.real[name](old, new, **options)
            return
        assert None not in keys, "moved across the root"
        self._do(kind, keys[0], keys[1], name, old, new, **options)

    def _do(self, kind: str, key: str, target: str, name: str, *arguments: Any, **options: Any):
        """Perform an operation and write it down in one step; a sync itself is left out."""
        with self._lock:
            self._fault(kind, key)
            result = self.real.get(name, os.fstat)(*arguments, **options)
            self.journal.add(kind, key, target)
            return result

    def _key(self, path: Any, dir_fd: int | None) -> str | None:
        if isinstance(path, int):
            return self._key_of(path)
        base = os.getcwd() if dir_fd is None else os.readlink(f"/proc/self/fd/{dir_fd}")
        return self._below(os.path.normpath(os.path.join(base, os.fsdecode(path))))

    def _key_of(self, descriptor: int) -> str | None:
        try:
            return self._below(os.readlink(f"/proc/self/fd/{descriptor}"))
        except OSError:
            return None

    def _below(self, full: str) -> str | None:
        root = str(self.journal.root)
        if full == root:
            return "."
        return full[len(root) + 1 :] if full.startswith(f"{root}/") else None
