"""What a store was forged to say comes into no answer and no trace."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from tilepress.pipeline.store.seal import with_seal
from tilepress.workflows.serve.app import build
from tilepress.workflows.serve.shelf import Shelf

TEXT = "DOE^JANE"


def _spacing(node: dict[str, Any]) -> None:
    node["attributes"]["pixel_spacing_mm"] = [TEXT, TEXT]


def _no_text(node: dict[str, Any]) -> None:
    node["attributes"]["units"] = TEXT + "\ud800"
    node["attributes"]["modality"] = TEXT + "\ud800"


def _chunks_of_nothing(node: dict[str, Any]) -> None:
    node["chunk_grid"]["configuration"]["chunk_shape"] = [0, 0, 0]


@pytest.mark.parametrize("forged", [_spacing, _no_text, _chunks_of_nothing])
def test_forged_stores(
    served: Path, tmp_path: Path, forged: Callable[[dict[str, Any]], None]
) -> None:
    store = shutil.copytree(served / "deep/volume.zarr", tmp_path / "volume.zarr")
    root = json.loads((store / "zarr.json").read_bytes())
    root["attributes"]["tilepress"]["seal"] = "0" * 64
    forged(root["consolidated_metadata"]["metadata"]["0/image"])
    (store / "zarr.json").write_bytes(with_seal(json.dumps(root, separators=(",", ":")).encode()))
    client = TestClient(build(Shelf(tmp_path)), base_url="http://127.0.0.1")  # raises what is ours
    answers = [
        client.get(f"/api/{what}/volume.zarr")
        for what in ("info", "thumb", "value/1/1", "plane/z/1")
    ]
    assert any(answer.status_code == 500 for answer in answers)
    for answer in answers:
        assert answer.status_code in (200, 500)
        assert answer.status_code == 200 or TEXT not in answer.json()["error"]
