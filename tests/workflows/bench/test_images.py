"""Images that codecs are compared on are called by their paths, save those of patients."""

from __future__ import annotations

from pathlib import Path

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
