"""One door to every image, whatever its format and wherever it lies."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tilepress.errors import UnsupportedSource
from tilepress.pipeline.image.source import SourceSpec
from tilepress.pipeline.sources.open import open_source

from ..images import IMAGE, dicom, npy, tiff
from ..remote import WHOLE, spec_of

pytestmark = pytest.mark.usefixtures("scratch")


@pytest.mark.parametrize("write", [tiff, npy, lambda path: dicom(path, 1, 1)])
def test_an_image_of_any_format(tmp_path: Path, write) -> None:
    source = open_source(spec_of(str(write(tmp_path / "image"))))
    assert np.array_equal(source.read(WHOLE), IMAGE)
    source.close()


def test_kinds_that_nobody_knows_are_errors(scene: str, tmp_path: Path) -> None:
    for spec in (spec_of(scene), spec_of(str(tiff(tmp_path / "a.tif")))):
        with pytest.raises(UnsupportedSource, match="kind 'other' is unknown"):
            open_source(SourceSpec(kind="other", paths=spec.paths, options=spec.options))


def test_virtual_files_of_gdal_are_never_opened() -> None:
    for path in ("/vsicurl/http://host/a.tif", "//vsizip/a.zip/a.tif"):
        with pytest.raises(UnsupportedSource, match="virtual files"):
            open_source(SourceSpec(kind="geotiff", paths=(path,)))
