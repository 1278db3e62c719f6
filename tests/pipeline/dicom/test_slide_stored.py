"""Frames of a slide's instances come from its store, of which little is held at a time."""

from __future__ import annotations

from pathlib import Path

import pydicom
import pytest
from pydicom.encaps import generate_frames

from tilepress.errors import DamagedStore
from tilepress.pipeline.dicom import slide_stored
from tilepress.pipeline.dicom.slide_stored import SlidePlanes
from tilepress.pipeline.store.reader import StoreReader
from tilepress.workflows.run.compress import compress

from ...helpers.slide_files import pyramid
from ...helpers.wsi_files import write_levels


def test_streams_are_kept_within_bounds_of_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TILEPRESS_GUESTS", "off")
    folder = write_levels(tmp_path / "in", pyramid(70, 80, levels=2), jpeg=True)
    (image,) = compress(folder, tmp_path / "out", workers=0, tile=16).images
    given = []
    for number in (1, 2):
        one = pydicom.dcmread(folder / f"level{number}.dcm")
        given += generate_frames(one.PixelData, number_of_frames=one.NumberOfFrames)
    for most in (2**20, 3000, 1):
        monkeypatch.setattr(slide_stored, "MAX_STREAM_BYTES", most)
        planes, found = SlidePlanes(StoreReader.open(image.store)), []
        for number in range(len(given)):
            found.append(planes.stream(number))
            held = [one for streams in planes._streams.values() for one in streams if one]
            assert planes._stream_bytes == sum(64 + len(one) for one in held)
            assert planes._stream_bytes <= most or len(planes._streams) == 1
        assert [one + b"\0" * (len(one) % 2) for one in found] == given
    with pytest.raises(DamagedStore, match="does not have"):
        planes.stream(len(given))
