"""Objects of a bucket as images, and the copies of them on this machine."""

from __future__ import annotations

import os
from pathlib import Path

import obstore
import pytest
from obstore.store import S3Store

from tilepress.pipeline.find.discover import discover
from tilepress.pipeline.image.grid import Box
from tilepress.pipeline.image.source import SourceSpec

from ..helpers.s3 import S3Server
from .images import tiff

WHOLE = Box((0, 0), (20, 30))


@pytest.fixture
def scratch(bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder for copies, of this test alone."""
    monkeypatch.setenv("TILEPRESS_SCRATCH", str(tmp_path / "scratch"))
    monkeypatch.delenv("TILEPRESS_SCRATCH_LIMIT", raising=False)
    return tmp_path / "scratch" / f"tilepress-{os.getuid()}"


def put_object(bucket: str, key: str, data: bytes) -> None:
    obstore.put(S3Store(bucket.removeprefix("s3://")), key, data)


def spec_of(*sources: str) -> SourceSpec:
    (spec,) = discover(list(sources))
    assert isinstance(spec, SourceSpec), spec
    return spec


def copies_in(scratch: Path) -> list[Path]:
    return sorted(path for path in scratch.iterdir() if path.is_dir())


def gets(server: S3Server) -> int:
    return server.traffic().get("GET", 0)


@pytest.fixture
def scene(bucket: str, tmp_path: Path) -> str:
    """Return the address of a small raster."""
    put_object(bucket, "in/scene.tif", tiff(tmp_path / "scene.tif").read_bytes())
    return f"{bucket}/in/scene.tif"
