"""What a run tells, made up: plans, results and failures of images that nobody has."""

from __future__ import annotations

from typing import Any

import numpy as np

from tilepress.pipeline.archive.outcome import ImageFailure, ImageResult
from tilepress.pipeline.archive.plan import ImagePlan
from tilepress.pipeline.image.grid import choose_grid
from tilepress.pipeline.image.source import ImageInfo, SourceSpec

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
