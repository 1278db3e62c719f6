"""A scene larger than memory should be: every process of the command stays below 2 GB."""

from __future__ import annotations

import contextlib
import faulthandler
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import pytest
import rasterio
from affine import Affine
from rasterio.windows import Window

from tilepress.examples.data import landsat_bands
from tilepress.pipeline.image.grid import Box
from tilepress.pipeline.store.reader import StoreReader

LIMIT_BYTES = 2_000_000_000
"""What no process of the tree may hold at any time."""

SCENE_BYTES = float(os.environ.get("TILEPRESS_LARGE_BYTES", "4.1e9"))
"""Least size of the samples of the scene."""

WORKERS = 2
SAMPLE_SECONDS = 0.5


@dataclass
class Peak:
    """The most that one process of the tree held."""

    role: str
    sampled: int = 0
    """Largest resident set of all samples, bytes."""
    high_water: int = 0
    """The kernel's own peak (VmHWM) at the last sample, bytes; 0 where it keeps none."""

    @property
    def worst(self) -> int:
        return max(self.sampled, self.high_water)


def write_scene(path: Path, size: float) -> tuple[int, int]:
    """Write an uncompressed BigTIFF of real imagery of at least ``size`` bytes; return its shape.

    Each piece is one of the bundled Landsat crops, rolled by random offsets and raised by a random
    number, so that no two pieces are alike; their seams do not fall on tiles.
    """
    crops = []
    for band in landsat_bands():
        with rasterio.open(band) as dataset:
            crops.append(dataset.read(1))
            crs = dataset.crs
    side = crops[0].shape[0]
    pieces = math.ceil(math.sqrt(size / crops[0].itemsize) / side)
    dice = np.random.default_rng(4)
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        **{"width": pieces * side, "height": pieces * side, "count": 1, "dtype": "uint16"},
        **{"tiled": True, "blockxsize": 256, "blockysize": 256, "BIGTIFF": "YES"},
        crs=crs,
        transform=Affine(30, 0, 100_000, 0, -30, 9_000_000),
    ) as dataset:
        for row in range(pieces):
            strip = [
                np.roll(crops[dice.integers(len(crops))], dice.integers(side, size=2), (0, 1))
                + dice.integers(0, 64, dtype=np.uint16)
                for _ in range(pieces)
            ]
            window = Window(0, row * side, pieces * side, side)
            dataset.write(np.concatenate(strip, axis=1), 1, window=window)
    return pieces * side, pieces * side


def family(command: psutil.Process) -> Iterator[tuple[psutil.Process, str]]:
    """Yield every living process of the tree with what it does."""
    with contextlib.suppress(psutil.NoSuchProcess):
        yield command, "command"
        for child in command.children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                is_worker = "spawn_main" in " ".join(child.cmdline())
                yield child, "worker" if is_worker else "helper"


def high_water(pid: int) -> int:
    """Return the kernel's peak of the resident set, bytes; 0 where there is none to read."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0


def watch(command: subprocess.Popen[bytes]) -> tuple[list[Peak], list[float]]:
    """Sample the tree until the command ends; return a peak per process and the machine's loads."""
    root = psutil.Process(command.pid)
    peaks: dict[int, Peak] = {}
    loads = []
    while command.poll() is None:
        for process, role in family(root):
            with contextlib.suppress(psutil.NoSuchProcess):
                held = process.memory_info().rss
                peak = peaks.setdefault(process.pid, Peak(role))
                # a process that has just been forked does not look like what it becomes
                peak.role = role
                peak.sampled = max(peak.sampled, held)
                peak.high_water = max(peak.high_water, high_water(process.pid))
        loads.append(psutil.getloadavg()[0])
        time.sleep(SAMPLE_SECONDS)
    return list(peaks.values()), loads


def assert_windows_equal(scene: Path, store: Path, shape: tuple[int, int]) -> None:
    """Compare windows at random places; every record was compared when it was written."""
    dice = np.random.default_rng(5)
    reader = StoreReader.open(store)
    assert reader.shape == shape
    with rasterio.open(scene) as dataset:
        for _ in range(8):
            top, left = (int(dice.integers(0, n - 700)) for n in shape)
            expected = dataset.read(1, window=Window(left, top, 700, 700))
            found = reader.read(Box((top, left), (top + 700, left + 700)))
            np.testing.assert_array_equal(found, expected)


@pytest.mark.long
@pytest.mark.timeout(4 * 3600)
def test_a_large_scene_needs_less_than_two_gigabytes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    faulthandler.cancel_dump_traceback_later()  # minutes are no sign of a deadlock here
    scene, store, report = tmp_path / "scene.tif", tmp_path / "scene.zarr", tmp_path / "run.json"
    shape = write_scene(scene, SCENE_BYTES)
    line = ["compress", scene, store, "--workers", WORKERS, "--report", report, "--quiet"]
    log = tmp_path / "log.txt"
    try:
        with log.open("wb") as output:
            command = subprocess.Popen(
                [sys.executable, "-m", "tilepress", *map(str, line)], stdout=output, stderr=output
            )
            try:
                peaks, loads = watch(command)
            finally:
                command.terminate()
                command.wait()
        assert command.returncode == 0, log.read_text()
        image = json.loads(report.read_text())["images"][0]
        seconds = json.loads(report.read_text())["seconds"]
        with capsys.disabled():
            print(f"\nscene: {shape[0]} × {shape[1]} uint16, file of {scene.stat().st_size} bytes")
            for peak in peaks:
                print(
                    f"  {peak.role}: peak RSS {peak.sampled / 1e9:.3f} GB sampled, "
                    f"{peak.high_water / 1e9:.3f} GB by the kernel"
                )
            print(
                f"  {image['raw_bytes']} → {image['stored_bytes']} bytes "
                f"(ratio {image['ratio']:.3f}) in {seconds:.0f} s: "
                f"{image['raw_bytes'] / 1e6 / seconds:.2f} MB/s with {WORKERS} workers; load of "
                f"the machine {np.mean(loads):.1f} on average on {os.cpu_count()} processors"
            )
        assert image["raw_bytes"] >= SCENE_BYTES
        assert sum(peak.role == "worker" for peak in peaks) >= WORKERS
        assert max(peak.worst for peak in peaks) < LIMIT_BYTES
        assert_windows_equal(scene, store, shape)
    finally:
        scene.unlink(missing_ok=True)  # pytest keeps the folders of the last runs
