"""A plan may lie in an archive that somebody else has made: what it is not is said in a line."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tilepress.errors import DamagedStore
from tilepress.pipeline.archive.destination import Destination
from tilepress.pipeline.archive.plan_file import PLAN_FILE_VERSION, PlanFile
from tilepress.pipeline.storage.path import storage_path

GRID = {"shape": [4, 4], "chunk": [4, 4], "shard": [4, 4]}
SPEC = {"kind": "array", "paths": ["/a.npy"], "options": {"name": "a", "relative": "a.npy"}}
LINE = {"spec": SPEC, "digest": "0" * 64, "raw_bytes": 16, "shards": 1, "grid": GRID,
        "mask_grid": None}  # fmt: skip
HEAD = {"version": PLAN_FILE_VERSION, "request": {}, "images": 1, "shards": 1, "raw_bytes": 16,
        "unchanged": 0, "objects": 1, "failures": []}  # fmt: skip
DEEP = b"[" * 100_000


@pytest.fixture
def written(tmp_path: Path) -> Callable[[bytes, dict[str, Any]], PlanFile]:
    def write(line: bytes, head: dict[str, Any]) -> PlanFile:
        plan = PlanFile(Destination(storage_path(tmp_path)))
        folder = Path(str(plan.folder))
        folder.mkdir(parents=True)
        (folder / "images-000000.jsonl").write_bytes(line)
        digest = hashlib.sha256(line).hexdigest()
        (folder / "head.json").write_text(json.dumps(HEAD | {"digest": digest} | head))
        return plan

    return write


def lines(plan: PlanFile) -> int:
    head = plan.head()
    assert head is not None
    return len(list(plan.images(head)))


def test_one_of_the_right_types_is_read(written):
    assert lines(written(json.dumps(LINE).encode() + b"\n", {})) == 1


@pytest.mark.parametrize(
    "line",
    [
        DEEP,
        b"5",
        json.dumps(LINE | {"raw_bytes": float("inf")}).encode(),
        json.dumps(LINE | {"shards": -1}).encode(),
        json.dumps(LINE | {"grid": GRID | {"chunk": [0, 0]}}).encode(),
        json.dumps(LINE | {"grid": GRID | {"shape": [4]}}).encode(),
        json.dumps(LINE | {"spec": SPEC | {"options": None}}).encode(),
        json.dumps(LINE | {"spec": SPEC | {"options": [1]}}).encode(),
        json.dumps(LINE | {"spec": SPEC | {"paths": [1, None]}}).encode(),
        json.dumps(LINE | {"spec": SPEC | {"paths": []}}).encode(),
        json.dumps(LINE | {"spec": SPEC | {"kind": [1]}}).encode(),
        json.dumps(LINE | {"spec": SPEC | {"images_in_files": 0}}).encode(),
    ],
)
def test_lines_of_other_types_are_damage(written, line: bytes):
    with pytest.raises(DamagedStore, match=r"images-000000\.jsonl is damaged; remove that folder"):
        lines(written(line, {}))


@pytest.mark.parametrize(
    "head",
    [{"request": 5}, {"objects": -1}, {"images": "many"}, {"failures": [5]}, {"digest": None}],
)
def test_so_is_a_head(written, head: dict[str, Any]):
    with pytest.raises(DamagedStore, match="remove that folder"):
        lines(written(json.dumps(LINE).encode(), head))


def test_brackets_without_end_are_no_head(written):
    plan = written(b"", {})
    (Path(str(plan.folder)) / "head.json").write_bytes(DEEP)
    with pytest.raises(DamagedStore, match="it is damaged"):
        plan.head()
