"""A slide that came as DICOM becomes OME-TIFF: tiles as they are, levels below the first page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pydicom
import pytest
import rasterio
from pydicom.encaps import generate_frames

from tilepress.errors import DestinationConflict, UsageError
from tilepress.pipeline.export import export
from tilepress.pipeline.export_archive import export_archive
from tilepress.pipeline.geotiff.slide_source import SlideSource
from tilepress.pipeline.image.grid import Box
from tilepress.pipeline.image.source import SourceSpec
from tilepress.workflows.run.compress import compress

from ...helpers.slide_files import APERIO, picture, pyramid, tiles_of, write_slide
from ...helpers.wsi_files import tiles_of as cut
from ...helpers.wsi_files import write_levels, write_tiles

NOISE = np.random.default_rng(3).integers(0, 30, (3, 70, 90), np.uint8)
LEVELS = [one // 2 + NOISE[:, : one.shape[1], : one.shape[2]] for one in pyramid(70, 90, levels=2)]
TEXT = f"{APERIO}90x70|MPP = 0.5|AppMag = 20|Date = 12/29/09|Time = 09:59:15"

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TILEPRESS_GUESTS", "off")


def jpeg2000(tile: np.ndarray) -> bytes:
    return bytes(imagecodecs.jpeg2k_encode(tile, level=28, codecformat="j2k"))


def stored(source: Path, folder: Path) -> Path:
    (image,) = compress(source, folder, workers=0, tile=64).images
    return Path(image.store)


def samples(path: Path, levels: int = 2) -> list[np.ndarray]:
    with SlideSource(SourceSpec(kind="slide", paths=(str(path),), options={"pages": []})) as source:
        shapes = [source.info.at_level(n).shape for n in range(levels)]
        return [source.read_level(n, Box((0,) * len(s), s)) for n, s in enumerate(shapes)]


@pytest.mark.parametrize("more", [{"jpeg": True}, {"coding": (33005, jpeg2000)}, {}])
def test_from_tiff_through_dicom_and_back(tmp_path: Path, more: dict[str, Any]):
    path = write_slide(tmp_path / "a.svs", LEVELS, texts=[TEXT], **more)
    files = export(stored(path, tmp_path / "one"), tmp_path / "dcm", "dicom")
    (back,) = export(stored(tmp_path / "dcm", tmp_path / "two"), tmp_path / "back", "ome-tiff")
    assert back.name == "slide.ome.tif"
    for one, other in zip(samples(path), samples(back), strict=True):
        np.testing.assert_array_equal(one, other)
    with SlideSource(SourceSpec(kind="slide", paths=(str(back),), options={"pages": []})) as source:
        assert source.info.slide is not None
        assert source.info.slide.pixel_size_um == (0.5, 0.5)
    if more:
        for tiles, file in zip(tiles_of(back), files, strict=True):
            frames = generate_frames(pydicom.dcmread(file).PixelData, number_of_frames=len(tiles))
            assert [one.rstrip(b"\0") for one in tiles] == [one.rstrip(b"\0") for one in frames]


def test_of_grey_and_of_several_paths(tmp_path: Path):
    frames, names, places = [], [], []
    whole = picture(20, 30, bands=2)
    for number, name in enumerate("AB"):
        for at, tile in enumerate(cut(whole[number : number + 1], 16)):
            frames.append(tile)
            names.append(name)
            places.append((at // 2 * 16, at % 2 * 16))
    write_tiles(
        tmp_path / "in/a.dcm", frames, (20, 30), places=places, paths=("A", "B"), frame_paths=names
    )
    (back,) = export(stored(tmp_path / "in", tmp_path / "out"), tmp_path / "b.ome.tif", "ome-tiff")
    for number in (1, 2):  # of one level, its bands are pages
        with rasterio.open(f"GTIFF_DIR:{number}:{back}") as page:
            np.testing.assert_array_equal(page.read(1), whole[number - 1])


def test_what_is_refused(tmp_path: Path):
    planes = [picture(20, 30)[:, :16, :16] for _ in range(3)]
    write_tiles(
        tmp_path / "in/a.dcm", planes, (16, 16), places=[(0, 0)] * 3, depths=(0.0, 1.0, 2.0)
    )
    store = stored(tmp_path / "in", tmp_path / "out")
    with pytest.raises(UsageError, match="several focal planes; export to dicom"):
        export(store, tmp_path / "b", "ome-tiff")
    write_levels(tmp_path / "in2", LEVELS)
    compress(tmp_path / "in2", tmp_path / "out2", workers=0, tile=64)
    (told,) = export_archive(tmp_path / "out2", tmp_path / "b", "ome-tiff")
    assert told.problem is None
    (file,) = told.files
    for one, other in zip(samples(file), LEVELS, strict=True):
        np.testing.assert_array_equal(one, other)
    with pytest.raises(DestinationConflict, match="exists"):
        export(Path(tmp_path / "out2" / f"{file.parent.name}.zarr"), file.parent, "ome-tiff")
