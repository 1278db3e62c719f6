"""What a guest may use for one request, and what a file may claim to hold."""

from __future__ import annotations

import contextlib
import math
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tilepress.errors import UnsupportedSource
from tilepress.pipeline.image.info import ImageInfo
from tilepress.pipeline.image.source import SourceSpec
from tilepress.pipeline.storage.path import is_url

__all__ = ["EXPANSION", "Budget", "check_expansion", "to_look", "to_open", "to_read"]

EXPANSION = "max_expansion"
"""Option of a recipe: how many bytes of samples a byte of the file may stand for; 0: any number."""

MAX_EXPANSION = 1000
"""Deflate reaches 1032 and LZW 1500, both on samples that are all the same."""

FREE_BYTES = 2**30
"""Samples that a file of any size may hold."""

BASE_MEMORY_BYTES = 2**31
"""What a guest may use beside what its request needs by its size."""

DECODER_BYTES = 12
"""Bytes that a decoder may use for each sample of a plane that lies in the file in one piece.

JPEG 2000 decoders hold samples as 32-bit integers, and that twice.
"""

BASE_CPU_S = 60
CPU_S_PER_BYTE = 1 / 2e6
"""Decoders that are slower than 2 MB/s decode nothing."""
MAX_CPU_S = 1800
CPU_S_PER_FILE = 0.05

WALL_S_PER_CPU_S = 4
BASE_WALL_S = 300
"""A machine may be busy, and a file system slow."""


@dataclass(frozen=True, slots=True)
class Budget:
    """What one request may use."""

    memory_bytes: int
    """Address space beside that of an idle guest."""
    cpu_s: int

    @property
    def wall_s(self) -> float:
        return BASE_WALL_S + WALL_S_PER_CPU_S * self.cpu_s


def to_look(file_bytes: int) -> Budget:
    """Return the budget of reading what one file holds, without its samples."""
    return Budget(_memory(4 * min(file_bytes, FREE_BYTES)), _cpu(min(file_bytes, FREE_BYTES)))


def to_open(spec: SourceSpec, file_bytes: int) -> Budget:
    """Return the budget of opening an image of some files."""
    cpu_s = _cpu(min(file_bytes, FREE_BYTES)) + math.ceil(CPU_S_PER_FILE * len(spec.paths))
    return Budget(_memory(4 * min(file_bytes, FREE_BYTES)) + _mapped(spec, file_bytes), cpu_s)


def to_read(info: ImageInfo, spec: SourceSpec, file_bytes: int, box_bytes: int) -> Budget:
    """Return the budget of reading samples: they may lie in pieces as large as whole planes."""
    plane = math.prod(info.shape[-2:]) * _bands(info)
    decoded = box_bytes + plane * info.dtype.itemsize
    memory = _memory(DECODER_BYTES * plane + 4 * box_bytes) + _mapped(spec, file_bytes)
    return Budget(memory, _cpu(decoded))


def check_expansion(info: ImageInfo, spec: SourceSpec, file_bytes: int) -> None:
    """Raise UnsupportedSource where an image claims more samples than its files can tell of."""
    declared = math.prod(info.shape) * info.dtype.itemsize
    allowed = float(spec.options.get(EXPANSION, MAX_EXPANSION))
    if allowed and declared > max(FREE_BYTES, allowed * file_bytes):
        raise UnsupportedSource(
            f"opening {spec.paths[0]}: {file_bytes} bytes claim to hold {declared} bytes of "
            f"samples, over {allowed:.0f} times as many; if that is right, pass --max-expansion "
            f"{math.ceil(declared / max(file_bytes, 1))}"
        )


def bytes_of(paths: Sequence[str]) -> int:
    """Return the size of files and of all files in folders; links are not followed below them."""
    total = 0
    for path in paths:
        with contextlib.suppress(OSError):
            status = os.stat(path)
            total += _folder_bytes(path) if stat.S_ISDIR(status.st_mode) else status.st_size
    return total


def _folder_bytes(path: str) -> int:
    total = 0
    for folder, _, names in os.walk(path):
        for name in names:
            with contextlib.suppress(OSError):
                total += os.lstat(os.path.join(folder, name)).st_size
    return total


def _bands(info: ImageInfo) -> int:
    """Return how many planes lie together in a file at most: bands, not places or times."""
    sizes = dict(zip(info.axes, info.shape, strict=True))
    return sizes.get("band", 1) * sizes.get("component", 1)


def _mapped(spec: SourceSpec, file_bytes: int) -> int:
    """Return what counts as memory because a file is mapped."""
    return file_bytes if not is_url(spec.paths[0]) and spec.paths[0].endswith(".npy") else 0


def _memory(needed: int) -> int:
    return min(BASE_MEMORY_BYTES + needed, max(2 * BASE_MEMORY_BYTES, _machine_bytes() // 2))


def _cpu(work_bytes: int) -> int:
    return min(BASE_CPU_S + math.ceil(work_bytes * CPU_S_PER_BYTE), MAX_CPU_S)


def _machine_bytes() -> int:
    """Return the memory of this machine, or of the group of processes that this one is in."""
    found = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with contextlib.suppress(OSError, ValueError):
        found = min(found, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    return found
