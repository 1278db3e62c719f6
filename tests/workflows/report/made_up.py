"""What a run tells, made up: plans, results and failures of images that nobody has."""

from __future__ import annotations

from typing import Any

import numpy as np

from tilepress.pipeline.archive.outcome import ImageFailure, ImageResult
from tilepress.pipeline.archive.plan import ImagePlan
from tilepress.pipeline.archive.stages import Stages
from tilepress.pipeline.image.grid import choose_grid
from tilepress.pipeline.image.info import ImageInfo
from tilepress.pipeline.image.source import SourceSpec
from tilepress.workflows.report.telling import (
    Discovered,
    Event,
    Failed,
    FilesKept,
    ImageDone,
    ImageStarted,
    Note,
    Progress,
    ShardStored,
    Workers,
)

SHAPE = (1000, 500)
RAW_BYTES = 1_000_000


def plan(number: int = 1, shape: tuple[int, ...] = SHAPE) -> ImagePlan:
    """Return the plan of image number ``number``: a megabyte of uint16 unless told otherwise."""
    return ImagePlan(
        digest=f"{number:064x}",
        store=f"/out/{number}.zarr",
        spec=SourceSpec(kind="array", paths=(f"/in/{number}.npy",)),
        info=ImageInfo(name=str(number), axes=("y", "x"), shape=shape, dtype=np.dtype(np.uint16)),
        grid=choose_grid(shape, 2, tile=512),
        mask_grid=None,
        codec_config={},
    )


def result(number: int = 1, **changes: Any) -> ImageResult:
    """Return the result of that image."""
    return ImageResult(
        **{
            "source": f"/in/{number}.npy",
            "store": f"/out/{number}.zarr",
            "status": "written",
            "axes": ("y", "x"),
            "shape": SHAPE,
            "dtype": "uint16",
            "raw_bytes": RAW_BYTES,
            "stored_bytes": RAW_BYTES // 2,
            "shards": 1,
            "shards_reused": 0,
            **changes,
        }
    )


def failure(number: int = 1, **changes: Any) -> ImageFailure:
    """Return the failure of that image."""
    return ImageFailure(
        **{
            "source": f"/in/{number}.npy",
            "kind": "damaged-source",
            "message": f"reading {number}.npy: it is cut",
            **changes,
        }
    )


def shard_stored(raw_bytes: int, stored_bytes: int, **more: Any) -> ShardStored:
    """Return the event of a shard."""
    return ShardStored(raw_bytes=raw_bytes, stored_bytes=stored_bytes, **more)


def every_event() -> list[Event]:
    """Return one of everything that a run tells."""
    stages = Stages(code_s=3, check_s=1)
    return [
        Note("weights are being tuned"),
        Discovered(3, 2, done=True),
        Workers(2),
        ImageStarted(plan(1)),
        shard_stored(900, 300, reused=False, stages=stages, store="s", shard="image-0.1"),
        shard_stored(90, 30, reused=True),
        ImageDone(result(1, stages=stages)),
        ImageDone(result(2, status="unchanged")),
        Failed(failure(3)),
        FilesKept(14, 5000, 3),
    ]


def tell_all(progress: Progress) -> None:
    """Tell one of everything."""
    for event in every_event():
        progress.tell(event)
