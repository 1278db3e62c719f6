"""Priors of the JPEG coder are learned from images of any kind, and written to a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import rasterio
from affine import Affine

from tilepress.codecs.jpeg.priors import fresh, read_priors
from tilepress.workflows.learn import jpeg


def test_from_a_folder(tmp_path: Path, capsys) -> None:
    y, x = np.mgrid[:220, :230]
    grey = (x * 3 + y * y // 40).astype(np.uint16)
    colour = np.stack([x, y, x ^ y]).astype(np.uint8)
    for name, planes in (("grey", grey[None]), ("colour", colour)):
        with rasterio.open(
            tmp_path / f"{name}.tif", "w", driver="GTiff", width=230, height=220,
            count=len(planes), dtype=planes.dtype.name, crs="EPSG:32633",
            transform=Affine(2, 0, 500000, 0, -2, 900000),
        ) as file:  # fmt: skip
            file.write(planes)
    out = tmp_path / "priors.safetensors"
    assert (
        jpeg.main([str(tmp_path / "grey.tif"), str(tmp_path / "colour.tif"), "--out", str(out)])
        == 0
    )
    assert capsys.readouterr().out.startswith("4 chunks")
    priors = read_priors(out.read_bytes())
    assert np.any(priors.slots[1] != fresh().slots[1])
