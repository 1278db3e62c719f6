"""Limits follow what a file is and what is asked of it, not what it claims."""

from __future__ import annotations

import numpy as np
import pytest

from tilepress.errors import UsageError
from tilepress.pipeline.guests import budget
from tilepress.pipeline.image.info import ImageInfo
from tilepress.pipeline.image.source import SourceSpec

SPEC = SourceSpec(kind="geotiff", paths=("/a.tif",))


def info(*shape: int) -> ImageInfo:
    axes = ("band", "y", "x")[-len(shape) :]
    return ImageInfo(name="a", axes=axes, shape=shape, dtype=np.dtype(np.uint16))


def test_a_small_file_gets_no_memory_for_a_large_claim():
    small = budget.to_read(info(10, 10), SPEC, 100, 200)
    claims = budget.to_read(info(100_000, 100_000), SPEC, 100, 200)
    assert claims.memory_bytes - small.memory_bytes < 2**20


def test_an_untiled_image_may_be_decoded_as_a_whole(monkeypatch):
    monkeypatch.setattr(budget, "_machine_bytes", lambda: 2**40)
    found = budget.to_read(info(3, 20_000, 20_000), SPEC, 10**9, 2**20)
    assert found.memory_bytes > 12 * 3 * 20_000**2


def test_no_limit_is_more_than_half_of_the_machine(monkeypatch):
    monkeypatch.setattr(budget, "_machine_bytes", lambda: 2**34)
    assert budget.to_read(info(10**6, 10**6), SPEC, 10**11, 2**27).memory_bytes == 2**33


def test_a_mapped_file_counts(monkeypatch):
    spec = SourceSpec(kind="array", paths=("/a.npy",))
    size = 10**12
    assert budget.to_open(spec, size).memory_bytes > size
    assert budget.to_open(SPEC, size).memory_bytes < size


def test_a_series_of_many_files_has_time_to_open():
    many = SourceSpec(kind="dicom", paths=tuple(f"/{n}" for n in range(10_000)))
    assert budget.to_open(many, 10**9).cpu_s > budget.to_open(SPEC, 10**9).cpu_s + 400


def test_the_wall_clock_leaves_room_for_a_busy_machine():
    found = budget.to_look(10)
    assert found.wall_s > 4 * found.cpu_s


def test_the_environment_says_how_much_memory_a_guest_has(monkeypatch):
    monkeypatch.setenv(budget.MEMORY_VARIABLE, "0.5")
    half = budget.to_look(0).memory_bytes
    monkeypatch.setenv(budget.MEMORY_VARIABLE, "3")
    assert budget.to_look(0).memory_bytes == 6 * half
    monkeypatch.setenv(budget.MEMORY_VARIABLE, "1.5GiB")
    assert budget.to_look(0).memory_bytes == 3 * half
    monkeypatch.setenv(budget.MEMORY_VARIABLE, "much")
    with pytest.raises(UsageError, match="TILEPRESS_GUEST_MEMORY: got 'much', want bytes"):
        budget.to_look(0)
