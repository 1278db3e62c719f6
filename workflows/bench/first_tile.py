"""Measure how long the first picture of a store takes, of a server that has just been started.

``python -m tilepress.workflows.bench.first_tile STORE`` starts ``tilepress serve`` anew for every
repetition, asks for the picture of the whole image at 256 pixels (level 8), or with ``--zoom 8``
for the map tile in its middle, as soon as the server says its address, then for another, and prints
seconds of the clock and of the processor.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from tilepress.errors import UsageError
from tilepress.pipeline.store.reader import StoreReader

__all__ = ["Times", "measured", "middle_tile"]

Times = dict[str, tuple[float, float]]
"""Seconds of the clock, and of the processor, by what was waited for."""


def measured(store: Path, paths: dict[str, str], rest_s: float = 0.0) -> Times:
    """Return how long one fresh server takes to say its address, and for each path in turn.

    ``rest_s`` is waited before the first is asked for, as a person does who opens a page.
    """
    began = time.perf_counter()
    with _serving(store) as (address, server):
        found = {"start": (time.perf_counter() - began, _spent(server))}
        time.sleep(rest_s)
        for name, path in paths.items():
            began, spent = time.perf_counter(), _spent(server)
            with urllib.request.urlopen(f"{address}{path}") as answer:  # noqa: S310  # our server
                answer.read()
            found[name] = time.perf_counter() - began, _spent(server) - spent
    return found


def middle_tile(store: Path, zoom: int) -> tuple[int, int]:
    """Return column and row of the map tile that has the middle of an image."""
    from pyproj import Transformer

    reader = StoreReader.open(store)
    a, b, c, d, e, f = reader.attrs["spatial:transform"][:6]
    row, column = (side / 2 for side in reader.shape[-2:])
    to_map = Transformer.from_crs(reader.attrs["proj:code"], "EPSG:3857", always_xy=True)
    x, y = to_map.transform(a * column + b * row + c, d * column + e * row + f)
    half = math.pi * 6378137.0
    tile = 2 * half / 2**zoom
    return int((x + half) / tile), int((half - y) / tile)


@contextmanager
def _serving(store: Path) -> Iterator[tuple[str, psutil.Process]]:
    command = [sys.executable, "-u", "-m", "tilepress", "serve", str(store), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:  # noqa: S603
        try:
            assert server.stdout is not None
            said = re.search(r"http://\S+", server.stdout.readline())
            if said is None:
                raise UsageError(f"measuring {store}: tilepress serve did not start")
            yield said[0].rstrip("/"), psutil.Process(server.pid)
        finally:
            server.terminate()


def _spent(server: psutil.Process) -> float:
    times = server.cpu_times()
    return float(times.user + times.system)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print medians over servers as JSON: [seconds of the clock, of the processor]."""
    parser = argparse.ArgumentParser(prog="python -m tilepress.workflows.bench.first_tile")
    parser.add_argument("store", type=Path, help="a store of a large image")
    parser.add_argument("--repeat", type=int, default=5, help="servers that are started")
    parser.add_argument("--rest", type=float, default=0, help="seconds before the first picture")
    parser.add_argument("--zoom", type=int, help="of map tiles that are asked for instead")
    given: Any = parser.parse_args(arguments)
    name = given.store.name
    paths = {"first": f"/api/tile/8/0/0/{name}", "next": f"/api/tile/9/0/0/{name}"}
    if given.zoom is not None:
        column, row = middle_tile(given.store, given.zoom)
        paths = {
            "first": f"/api/xyz/{given.zoom}/{column}/{row}/{name}",
            "next": f"/api/xyz/{given.zoom}/{column}/{row + 1}/{name}",
        }
    runs = [measured(given.store.resolve(), paths, given.rest) for _ in range(given.repeat)]
    told = {
        name: [round(statistics.median(run[name][at] for run in runs), 3) for at in (0, 1)]
        for name in runs[0]
    }
    sys.stdout.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    main()
