"""What a guest may use for one request."""

from __future__ import annotations

import contextlib
import math
import os
from dataclasses import dataclass
from pathlib import Path

from tilepress.codecs.budget import parse_bytes
from tilepress.pipeline import formats
from tilepress.pipeline.image.info import ImageInfo
from tilepress.pipeline.image.source import SourceSpec
from tilepress.pipeline.storage.path import is_url

__all__ = ["Budget", "to_look", "to_open", "to_read"]

MAX_HELD_BYTES = 2**30
"""Size of a file up to which a reader may hold all of it, a few times over."""

HELD_TIMES = 4
"""Copies of what is read that a reader may hold at a time."""

MEMORY_VARIABLE = "TILEPRESS_GUEST_MEMORY"
"""Environment variable: what a guest may use beside what its request needs by its size, as 4 (GiB)
or "512MiB"."""

BASE_MEMORY_BYTES = 2**31
"""The same where the environment does not say."""

MIN_MEMORY_BYTES = 2**28
"""The least that it can say: no reader gets by with less."""

DECODER_BYTES = 12
"""Bytes that a decoder may use for each sample of a plane that lies in the file in one piece.

JPEG 2000 decoders hold samples as 32-bit integers, and that twice.
"""

PIECE_PER_BYTE = 100
"""Samples for which a byte of a file may stand where they lie in one piece: what claims more is
mostly nothing, and gets no more memory for it."""

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
    held = min(file_bytes, MAX_HELD_BYTES)
    return Budget(_memory(HELD_TIMES * held), _cpu(held))


def to_open(spec: SourceSpec, file_bytes: int) -> Budget:
    """Return the budget of opening an image of some files."""
    held = min(file_bytes, MAX_HELD_BYTES)
    cpu_s = _cpu(held) + math.ceil(CPU_S_PER_FILE * len(spec.paths))
    return Budget(_memory(HELD_TIMES * held) + _mapped(spec, file_bytes), cpu_s)


def to_read(info: ImageInfo, spec: SourceSpec, file_bytes: int, box_bytes: int) -> Budget:
    """Return the budget of reading samples: they may lie in pieces as large as whole planes."""
    plane = math.prod(info.shape[-2:]) * _bands(info)
    decoded = box_bytes + plane * info.dtype.itemsize
    if spec.kind in formats.ARRAY.kinds:  # chunks may be as deep as the array
        plane = math.prod(info.shape)
    piece = min(plane, PIECE_PER_BYTE * file_bytes)
    memory = _memory(DECODER_BYTES * piece + HELD_TIMES * box_bytes) + _mapped(spec, file_bytes)
    return Budget(memory, _cpu(decoded))


def _bands(info: ImageInfo) -> int:
    """Return how many planes lie together in a file at most: bands, not places or times."""
    sizes = dict(zip(info.axes, info.shape, strict=True))
    return sizes.get("band", 1) * sizes.get("component", 1)


def _mapped(spec: SourceSpec, file_bytes: int) -> int:
    """Return what counts as memory because a file is mapped."""
    return file_bytes if not is_url(spec.paths[0]) and spec.paths[0].endswith(".npy") else 0


def _memory(needed: int) -> int:
    base = _base_bytes()
    return min(base + needed, max(2 * base, _machine_bytes() // 2))


def _base_bytes() -> int:
    text = os.environ.get(MEMORY_VARIABLE, "").strip()
    if not text:
        return BASE_MEMORY_BYTES
    unit = "GiB" if text[-1].isdigit() else ""
    return max(parse_bytes(text + unit, MEMORY_VARIABLE), MIN_MEMORY_BYTES)


def _cpu(work_bytes: int) -> int:
    return min(BASE_CPU_S + math.ceil(work_bytes * CPU_S_PER_BYTE), MAX_CPU_S)


def _machine_bytes() -> int:
    """Return the memory of this machine, or of the group of processes that this one is in."""
    found = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with contextlib.suppress(OSError, ValueError):
        found = min(found, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    return found
