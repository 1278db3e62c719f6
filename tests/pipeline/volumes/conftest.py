"""Series of slices in every attitude, and their stores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tilepress.workflows.run.compress import compress

from ..dicom.conftest import build, save

ATTITUDES = {
    "axial": (1, 0, 0, 0, 1, 0),
    "sagittal": (0, 1, 0, 0, 0, -1),
    "coronal": (1, 0, 0, 0, 0, -1),
    "oblique": (0.8, 0.6, 0, -0.36, 0.48, 0.8),
}

Write = Callable[..., Path]


def series(
    folder: Path,
    samples: np.ndarray,
    turn: Sequence[float],
    *,
    step: float = 2.5,
    places: Sequence[float] | None = None,
    shift: Sequence[float] = (0, 0, 0),
    each: Callable[[int], dict[str, Any]] | None = None,
    **elements: Any,
) -> Path:
    """Write slices (z, y, x) along the normal, in files whose names say nothing of their order."""
    normal = np.cross(turn[:3], turn[3:])
    places = [step * n for n in range(len(samples))] if places is None else places
    for number, (plane, place) in enumerate(zip(samples, places, strict=True)):
        position = np.array([-40.5, 12.25, 7.0]) + place * normal + number * np.array(shift)
        more = elements | (each(number) if each is not None else {})
        dataset = build(
            plane,
            instance=number + 1,
            **{
                "ImagePositionPatient": [float(n) for n in position],
                "ImageOrientationPatient": [float(n) for n in turn],
                "PixelSpacing": [0.75, 0.5],
                "SliceThickness": abs(step),
                "FrameOfReferenceUID": "1.2.3",
                **more,
            },
        )
        save(dataset, folder / f"{(number * 7) % 97:02}.dcm")
    return folder


@pytest.fixture
def stored(tmp_path: Path) -> Write:
    """Return what makes a store of a folder or file."""

    def write(source: Path, **coding: Any) -> Path:
        out = tmp_path / f"{source.name}.zarr"
        assert compress(source, out, workers=0, **coding).ok
        return out

    return write


def samples(size: tuple[int, ...] = (6, 20, 30), low: int = -1000, high: int = 2000) -> np.ndarray:
    return np.random.default_rng(3).integers(low, high, size).astype(np.int16)
