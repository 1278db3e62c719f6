"""The first picture does not wait for what could be loaded before."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from tilepress.workflows.serve.shelf import Shelf
from tilepress.workflows.serve.warm import warm, warm_beside

_DRAW = """
import sys
from starlette.testclient import TestClient
from tilepress.workflows.serve.app import build
from tilepress.workflows.serve.shelf import Shelf
from tilepress.workflows.serve.warm import warm
shelf = Shelf(sys.argv[1])
client = TestClient(build(shelf), base_url="http://127.0.0.1")
if sys.argv[2] == "warm":
    warm(shelf)
before = set(sys.modules)
assert client.get("/api/thumb/scene.zarr").status_code == 200
print(sorted(name.partition(".")[0] for name in set(sys.modules) - before))
"""


def _loaded(store: Path, how: str) -> str:
    """Return the packages that a first picture loads, of a server alone in a process."""
    command = [sys.executable, "-c", _DRAW, str(store), how]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


class TestTheFirstPicture:
    def test_loads_nothing_that_was_loaded_before(self, served: Path) -> None:
        assert "imagecodecs" in _loaded(served / "scene.zarr", "cold")
        assert "imagecodecs" not in _loaded(served / "scene.zarr", "warm")

    def test_of_a_raster_needs_no_gdal(self, served: Path) -> None:
        assert "rasterio" not in _loaded(served / "scene.zarr", "cold")


class TestWarming:
    def test_opens_the_first_store(self, served: Path) -> None:
        shelf = Shelf(served)
        warm_beside(shelf).join(60)
        first = next(shelf.stores())
        assert shelf.picture(first) is shelf.picture(first)

    def test_leaves_a_damaged_store_to_who_asks_for_it(self, served: Path, tmp_path: Path) -> None:
        shutil.copytree(served / "scene.zarr", tmp_path / "scene.zarr")
        shelf = Shelf(tmp_path / "scene.zarr")
        for shard in (tmp_path / "scene.zarr" / "0" / "image" / "c").rglob("*"):
            if shard.is_file():
                shard.write_bytes(b"")
        warm(shelf)
