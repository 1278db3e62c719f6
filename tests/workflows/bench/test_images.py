"""Images that codecs are compared on are called by their paths, save those of patients."""

from __future__ import annotations

from pathlib import Path

import pytest

from tilepress.workflows.bench.compare import run_bench
from tilepress.workflows.bench.images import read_images

from ...pipeline import images


def test_what_images_are_called(tmp_path: Path):
    scene = images.tiff(tmp_path / "scenes/a.tif")
    images.dicom(tmp_path / "DOE/1.dcm", 1, 1)
    cut = images.dicom(tmp_path / "DOE/DOE", 1, 2)
    cut.write_bytes(cut.read_bytes()[:-500])
    found = list(read_images([tmp_path]))
    assert str(scene) in {one.name for one in found}
    assert len(found) == 3
    assert sum(one.samples is not None for one in found) == 2
    assert not [one for one in found if "DOE" in one.name + one.failure]


def test_what_is_not_read_is_named_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.tif").write_text("no image")
    for name in ("bad.tif", "a"):
        (one,) = read_images([name])
        assert one.told.count(f"{one.name}: ") == 1


@pytest.mark.parametrize("name", ["a.dat", "a.vrt", "a.tif"])
def test_what_is_no_image_is_not_opened_with_other_drivers(tmp_path: Path, name: str):
    """A virtual raster may name any file: its samples came into the comparison."""
    secret = images.tiff(tmp_path / "out/secret.tif")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / name).write_text(
        '<VRTDataset rasterXSize="4" rasterYSize="4"><VRTRasterBand dataType="Byte" band="1">'
        f'<SimpleSource><SourceFilename relativeToVRT="0">{secret}</SourceFilename>'
        "<SourceBand>1</SourceBand></SimpleSource></VRTRasterBand></VRTDataset>"
    )
    bench = run_bench([tmp_path / "in"])
    assert len(bench.failures) == 1
    assert not [image for result in bench.results for image in result.images]
