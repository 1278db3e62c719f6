"""Runs in this process, and an image of many shards."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import zarr

from tilepress.workflows.report.report import Report
from tilepress.workflows.run.compress import compress

from ...helpers.samples import smooth


def run(*arguments: object, **options: object) -> Report:
    *sources, destination = arguments
    return compress(sources, destination, **{"workers": 0, **options})  # type: ignore[arg-type]


def stored(store: Path) -> np.ndarray:
    return zarr.open_group(store, mode="r")["0/image"][...]


def shard_files(store: Path) -> dict[str, tuple[int, int]]:
    """Inode and time of every shard object: equal where it was not written again."""
    return {
        str(path.relative_to(store)): (path.stat().st_ino, path.stat().st_mtime_ns)
        for path in (store / "0" / "image" / "c").rglob("*")
        if path.is_file()
    }


@pytest.fixture
def many_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an array whose plan has sixteen tiny shards."""
    from tilepress.pipeline.archive import plan
    from tilepress.pipeline.image import grid as geometry

    def tiny(shape: tuple[int, ...], itemsize: int, *, tile: int) -> geometry.ShardGrid:
        return geometry.choose_grid(shape, itemsize, tile=tile, max_shard_bytes=4 * 64 * 64 * 2)

    monkeypatch.setattr(plan, "choose_grid", tiny)
    path = tmp_path / "many.npy"
    np.save(path, smooth((3, 250, 250)))
    return path
